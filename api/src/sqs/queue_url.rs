//! From a queue URL to the queue it names (SQS API contract, 1.3).

use crate::arn::is_account_id;
use crate::error::{ErrorCode, ErrorReply};
use crate::queue_name::is_queue_name;

/// The queue a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLocator<'a> {
    /// Owner; the caller's account when absent (bare names).
    pub account: Option<&'a str>,
    /// Name.
    pub name: &'a str,
}

/// Resolves a URL of any accepted style, a path, or a bare name. The host is ignored: it may be anything, and must
/// decide nothing.
pub fn locate_queue(url: &str) -> Result<QueueLocator<'_>, ErrorReply> {
    let path = match url.split_once("://") {
        Some(("http" | "https", rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        Some(_) => return Err(ErrorReply::queue_missing()),
        None => url.strip_prefix('/').unwrap_or(url),
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_bare = !url.contains('/');
    match path.split_once('/') {
        None if is_bare && is_queue_name(path) => Ok(QueueLocator { account: None, name: path }),
        Some((account, name)) if is_queue_name(name) => {
            if !is_account_id(account) {
                return Err(ErrorReply::new(
                    ErrorCode::InvalidAddress,
                    format!("The address {url} is not valid for this endpoint."),
                ));
            }
            Ok(QueueLocator { account: Some(account), name })
        }
        _ => Err(ErrorReply::queue_missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_resolves() {
        for url in [
            "https://sqs.us-east-1.amazonaws.com/000000000000/q.fifo",
            "https://us-east-1.queue.amazonaws.com/000000000000/q.fifo",
            "https://queue.amazonaws.com/000000000000/q.fifo",
            "http://localhost:9324/000000000000/q.fifo",
            "/000000000000/q.fifo",
        ] {
            assert_eq!(
                locate_queue(url),
                Ok(QueueLocator { account: Some("000000000000"), name: "q.fifo" }),
                "{url}"
            );
        }
        assert_eq!(locate_queue("q"), Ok(QueueLocator { account: None, name: "q" }));
    }

    #[test]
    fn malformed_urls_name_no_queue() {
        for url in
            ["", "/", "https://host", "https://host/", "https://host/q", "ftp://h/000000000000/q", "a b"]
        {
            assert_eq!(locate_queue(url), Err(ErrorReply::queue_missing()), "{url}");
        }
        assert_eq!(locate_queue("https://h/12/q").unwrap_err().code, ErrorCode::InvalidAddress);
    }
}
