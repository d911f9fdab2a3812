//! Refusals of the edge, in the form the client reads: JSON or query XML. Nothing of the request is looked at but
//! the two header fields that tell the forms apart.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::Full;

/// Why the edge refused a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The byte budget is spent: 503, to be tried again.
    Overloaded,
    /// As many connections are open as may be: 503, to be tried again on another one.
    TooManyConnections,
    /// The body is larger than the listener reads: 413.
    BodyTooLarge,
    /// The body did not come in time: 408.
    BodyTooSlow,
}

const RETRY_AFTER_SECONDS: u16 = 1;

impl Refusal {
    /// Label of the metric.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::TooManyConnections => "too_many_connections",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
        }
    }

    /// Status, query code, JSON type, fault, text.
    fn parts(self) -> (StatusCode, &'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "com.amazon.coral.service#ServiceUnavailableException",
                "Receiver",
                "The server is working on as many bytes as it may. Try again.",
            ),
            Self::TooManyConnections => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "com.amazon.coral.service#ServiceUnavailableException",
                "Receiver",
                "The server has as many open connections as limits.connections allows. Try again.",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "com.amazon.coral.service#RequestEntityTooLargeException",
                "Sender",
                "The request body is larger than 8 MiB.",
            ),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "com.amazon.coral.service#RequestTimeoutException",
                "Sender",
                "The request body did not arrive in time.",
            ),
        }
    }

    /// The reply to a request with `headers`. The rest of the body is unread, so an HTTP/1 connection ends with it
    /// unless it was `drained`.
    pub(super) fn reply(self, headers: &HeaderMap, version: Version, drained: bool) -> Response<Full<Bytes>> {
        let (status, code, shape, fault, message) = self.parts();
        let request_id = request_id();
        let json = json_type(headers);
        let body = if json.is_some() {
            format!("{{\"__type\":\"{shape}\",\"message\":\"{message}\"}}")
        } else {
            format!(
                "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>\
                 <Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message><Detail/></Error>\
                 <RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, json.unwrap_or(HeaderValue::from_static("text/xml")));
        if let Ok(id) = HeaderValue::try_from(request_id) {
            fields.insert("x-amzn-requestid", id);
        }
        if let Ok(query_error) = HeaderValue::try_from(format!("{code};{fault}")) {
            fields.insert("x-amzn-query-error", query_error);
        }
        if matches!(self, Self::Overloaded | Self::TooManyConnections) {
            fields.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if (!drained || self == Self::TooManyConnections) && version < Version::HTTP_2 {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Only tells replies apart: without randomness they all look alike, which is no reason to refuse to refuse.
fn request_id() -> String {
    let mut random = [0; 16];
    let _ = getrandom::fill(&mut random);
    uuid::Builder::from_random_bytes(random).into_uuid().to_string()
}

/// The content type of the JSON protocol that the client speaks; `None` when it speaks query.
fn json_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if said.starts_with("application/x-amz-json-1.1") {
        return Some(HeaderValue::from_static("application/x-amz-json-1.1"));
    }
    let json = said.starts_with("application/x-amz-json-1.0") || headers.contains_key("x-amz-target");
    json.then(|| HeaderValue::from_static("application/x-amz-json-1.0"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn text(response: Response<Full<Bytes>>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_overloaded_broker_asks_to_be_tried_again_in_the_callers_protocol() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
        let json = Refusal::Overloaded.reply(&headers, Version::HTTP_11, true);
        assert_eq!(json.status(), 503);
        assert_eq!(json.headers()["retry-after"], "1");
        assert_eq!(json.headers()["x-amzn-query-error"], "ServiceUnavailable;Receiver");
        assert!(!json.headers().contains_key("connection"));
        let body: serde_json::Value = serde_json::from_str(&text(json).await).unwrap();
        assert_eq!(body["__type"], "com.amazon.coral.service#ServiceUnavailableException");

        let query = Refusal::Overloaded.reply(&HeaderMap::new(), Version::HTTP_11, false);
        assert_eq!(query.headers()["content-type"], "text/xml");
        assert_eq!(query.headers()["connection"], "close");
        assert!(text(query).await.contains("<Code>ServiceUnavailable</Code>"));
    }
}
