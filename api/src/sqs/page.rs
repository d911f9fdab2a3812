//! Pages of queue lists: bounds and next-tokens (12.6 and 12.7).
//!
//! A token names the last queue already listed and is bound to the other parameters of its request, so that a page
//! can be continued after queues came and went.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ErrorReply;

/// Longest page, and the length of one without MaxResults.
pub const PAGE_MAX: i64 = 1000;

const VERSION: &str = "1";

/// Which part of a sorted list a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Go on behind this name.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
    /// Hand out a token if more follow (only when MaxResults was given).
    pub gives_token: bool,
    scope: String,
}

impl Page {
    /// Reads MaxResults and NextToken. `scope` is the request's other parameter (prefix or queue name).
    pub fn parse(max_results: Option<i64>, token: Option<&str>, scope: &str) -> Result<Self, ErrorReply> {
        let max = max_results.unwrap_or(PAGE_MAX);
        if !(1..=PAGE_MAX).contains(&max) {
            return Err(ErrorReply::invalid_parameter(
                "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000.",
            ));
        }
        let after =
            token.filter(|token| !token.is_empty()).map(|token| read_token(token, scope)).transpose()?;
        Ok(Self { after, limit: max as usize, gives_token: max_results.is_some(), scope: scope.to_owned() })
    }

    /// The token of the next page, after this last name.
    pub fn token_after(&self, last_name: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}\n{}\n{last_name}", self.scope))
    }

    /// Takes this page's part of names sorted ascending, with the token of the next page if there is one.
    pub fn take<'n>(&self, names: impl Iterator<Item = &'n str>) -> (Vec<&'n str>, Option<String>) {
        let mut rest = names.skip_while(|name| self.after.as_deref().is_some_and(|after| *name <= after));
        let page: Vec<&str> = rest.by_ref().take(self.limit).collect();
        let more = self.gives_token && rest.next().is_some();
        let token = page.last().filter(|_| more).map(|last| self.token_after(last));
        (page, token)
    }
}

fn read_token(token: &str, scope: &str) -> Result<String, ErrorReply> {
    let invalid = || ErrorReply::invalid_parameter("Invalid or expired next token.");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    let mut parts = text.splitn(3, '\n');
    let (Some(VERSION), Some(token_scope), Some(after)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(invalid());
    };
    if token_scope != scope {
        return Err(ErrorReply::invalid_parameter(
            "Invalid NextToken value. If you are passing in NextToken, you must not change the other request \
             parameters.",
        ));
    }
    Ok(after.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_continue_behind_the_last_name() {
        let names = ["a", "b", "c"];
        let first = Page::parse(Some(2), None, "p").unwrap();
        let (page, token) = first.take(names.into_iter());
        assert_eq!(page, ["a", "b"]);
        let second = Page::parse(Some(2), token.as_deref(), "p").unwrap();
        assert_eq!(second.take(names.into_iter()), (vec!["c"], None));
    }

    #[test]
    fn without_max_results_there_is_no_token() {
        let names: Vec<String> = (0..1001).map(|n| format!("{n:05}")).collect();
        let (page, token) = Page::parse(None, None, "").unwrap().take(names.iter().map(String::as_str));
        assert_eq!((page.len(), token), (1000, None));
    }

    #[test]
    fn bounds_and_tokens_have_their_texts() {
        for bad in [0, 1001] {
            assert!(Page::parse(Some(bad), None, "").unwrap_err().message.ends_with("between 1 and 1000."));
        }
        let text = |token: &str| Page::parse(None, Some(token), "other").unwrap_err().message.into_owned();
        assert_eq!(text("*"), "Invalid or expired next token.");
        assert_eq!(text("AAAA"), "Invalid or expired next token.");
        let token = Page::parse(None, None, "p").unwrap().token_after("a");
        assert!(text(&token).starts_with("Invalid NextToken value."));
    }
}
