//! The errors a client can see, with their codes, statuses and texts in both protocols.
//!
//! Holds the one table of codes (SQS API contract, section 3). Knows no reason why an error was chosen.

use std::borrow::Cow;

use crate::json::push_json_string;
use crate::sqs::protocol::Protocol;
use crate::xml::push_xml_text;

mod code;
pub use code::{ErrorCode, Fault};

/// Text of `QueueDoesNotExist` in JSON.
pub const QUEUE_MISSING_JSON: &str = "The specified queue does not exist.";
/// The same in Query: the only text that differs between the protocols.
pub const QUEUE_MISSING_QUERY: &str = "The specified queue does not exist for this wsdl version.";

/// Longest text, bytes. Texts quote what a client sent, and that may be megabytes long.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// XML namespace of SQS replies.
pub const SQS_XMLNS: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// A text, cut after [`TEXT_BYTES_MAX`].
pub(crate) fn bounded_text(text: impl Into<Cow<'static, str>>) -> Cow<'static, str> {
    let text = text.into();
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    Cow::Owned(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned())
}

/// An error as it is sent to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// What kind of error.
    pub code: ErrorCode,
    /// Text for people; clients sometimes match it.
    pub message: Cow<'static, str>,
}

impl ErrorReply {
    /// An error with a text.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: bounded_text(message) }
    }

    /// The queue does not exist (or the caller may not learn that it does).
    pub fn queue_missing() -> Self {
        Self::new(ErrorCode::QueueDoesNotExist, QUEUE_MISSING_JSON)
    }

    /// A required parameter is absent.
    pub fn missing_parameter(name: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::MissingParameter, format!("The request must contain the parameter {name}."))
    }

    /// `InvalidParameterValue` with this text.
    pub fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    /// The usual sentence about one parameter.
    pub fn invalid_value(value: impl std::fmt::Display, parameter: &str, reason: &str) -> Self {
        Self::invalid_parameter(format!(
            "Value {value} for parameter {parameter} is invalid. Reason: {reason}"
        ))
    }

    /// The handle is not one of ours, or of another queue.
    pub fn receipt_handle_invalid(handle: &str) -> Self {
        Self::new(
            ErrorCode::ReceiptHandleIsInvalid,
            format!("The input receipt handle \"{handle}\" is not a valid receipt handle."),
        )
    }

    /// The delivery that the handle stands for is over (FIFO).
    pub fn receipt_handle_expired(handle: &str) -> Self {
        Self::invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
    }

    /// The message of a visibility change is gone.
    pub fn message_unavailable(handle: &str) -> Self {
        Self::invalid_value(
            handle,
            "ReceiptHandle",
            "Message does not exist or is not available for visibility timeout change.",
        )
    }

    /// A visibility change would pass twelve hours in total.
    pub fn visibility_beyond_limit(seconds: i64) -> Self {
        Self::invalid_value(
            seconds,
            "VisibilityTimeout",
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        )
    }

    /// Something of ours failed.
    pub fn internal() -> Self {
        Self::new(
            ErrorCode::InternalFailure,
            "The request processing has failed because of an unknown error.",
        )
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The text in this protocol.
    pub fn text(&self, protocol: Protocol) -> &str {
        let missing = self.code == ErrorCode::QueueDoesNotExist && self.message == QUEUE_MISSING_JSON;
        if missing && protocol != Protocol::Json { QUEUE_MISSING_QUERY } else { &self.message }
    }

    /// Value of the `x-amzn-query-error` header, which every JSON error carries.
    pub fn query_error_header(&self) -> String {
        format!("{};{}", self.code.query_code(), self.code.fault().as_str())
    }

    /// `Content-Type` of the error body.
    pub fn content_type(&self, protocol: Protocol) -> &'static str {
        match self.code {
            ErrorCode::UnknownOperation => Protocol::Query.content_type(),
            _ => protocol.content_type(),
        }
    }

    /// Appends the error body.
    pub fn render(&self, protocol: Protocol, request_id: &str, out: &mut Vec<u8>) {
        if self.code == ErrorCode::UnknownOperation {
            out.extend_from_slice(b"<UnknownOperationException/>");
            return;
        }
        match protocol {
            Protocol::Json => self.render_json(out),
            Protocol::Query => self.render_xml(SQS_XMLNS, request_id, out),
            Protocol::QueryJson => self.render_query_json(request_id, out),
        }
    }

    fn render_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"__type\":\"");
        out.extend_from_slice(self.code.json_type().as_bytes());
        // Recorded from the live service: only this one is capitalised.
        let key: &[u8] =
            if self.code == ErrorCode::AccessDenied { b"\",\"Message\":" } else { b"\",\"message\":" };
        out.extend_from_slice(key);
        push_json_string(self.text(Protocol::Json), out);
        out.push(b'}');
    }

    fn render_query_json(&self, request_id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"Error\":{\"Type\":");
        push_json_string(self.code.fault().as_str(), out);
        out.extend_from_slice(b",\"Code\":");
        push_json_string(self.code.query_code(), out);
        out.extend_from_slice(b",\"Message\":");
        push_json_string(self.text(Protocol::QueryJson), out);
        out.extend_from_slice(b",\"Detail\":null},\"RequestId\":");
        push_json_string(request_id, out);
        out.push(b'}');
    }

    /// Appends the XML form under another namespace (STS uses its own).
    pub fn render_xml(&self, xmlns: &str, request_id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\"?><ErrorResponse xmlns=\"");
        out.extend_from_slice(xmlns.as_bytes());
        out.extend_from_slice(b"\"><Error><Type>");
        out.extend_from_slice(self.code.fault().as_str().as_bytes());
        out.extend_from_slice(b"</Type><Code>");
        out.extend_from_slice(self.code.query_code().as_bytes());
        out.extend_from_slice(b"</Code><Message>");
        push_xml_text(self.text(Protocol::Query), out);
        out.extend_from_slice(b"</Message><Detail/></Error><RequestId>");
        push_xml_text(request_id, out);
        out.extend_from_slice(b"</RequestId></ErrorResponse>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(error: &ErrorReply, protocol: Protocol) -> String {
        let mut out = Vec::new();
        error.render(protocol, "rid", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn missing_queue_text_differs_in_query_only() {
        let error = ErrorReply::queue_missing();
        assert_eq!(
            rendered(&error, Protocol::Json),
            r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#
        );
        assert_eq!(
            rendered(&error, Protocol::Query),
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>\
             <Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue \
             does not exist for this wsdl version.</Message><Detail/></Error><RequestId>rid</RequestId></ErrorResponse>"
        );
        assert_eq!(
            rendered(&error, Protocol::QueryJson),
            r#"{"Error":{"Type":"Sender","Code":"AWS.SimpleQueueService.NonExistentQueue","Message":"The specified queue does not exist for this wsdl version.","Detail":null},"RequestId":"rid"}"#
        );
        assert_eq!(error.query_error_header(), "AWS.SimpleQueueService.NonExistentQueue;Sender");
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let quoted = format!("x{}", "é".repeat(TEXT_BYTES_MAX));
        let error = ErrorReply::receipt_handle_invalid(&quoted);
        assert!(error.message.len() <= TEXT_BYTES_MAX && error.message.len() > TEXT_BYTES_MAX - 4);
        assert_eq!(ErrorReply::invalid_parameter("a".repeat(TEXT_BYTES_MAX)).message.len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn access_denied_has_a_capital_message() {
        let error = ErrorReply::new(ErrorCode::AccessDenied, "no \"x\"");
        assert_eq!(
            rendered(&error, Protocol::Json),
            r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no \"x\""}"#
        );
    }

    #[test]
    fn unknown_operation_is_xml_even_in_json() {
        let error = ErrorReply::new(ErrorCode::UnknownOperation, "");
        assert_eq!(rendered(&error, Protocol::Json), "<UnknownOperationException/>");
        assert_eq!((error.status(), error.content_type(Protocol::Json)), (404, "text/xml"));
    }
}
