//! Any text in an XML reply: it is read back as it was, and adds no markup.

use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::sqs::response::ReceivedMessage;
use sealq_api::sqs::{Protocol, Response};

/// One input.
pub fn xml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let message = ReceivedMessage {
        message_id: [1; 16],
        receipt_handle: text.into(),
        body_md5: [2; 16],
        body: text,
        system_attributes: vec![("SenderId", text.into())],
        attributes: Vec::new(),
    };
    let empty = ReceivedMessage {
        receipt_handle: "".into(),
        body: "",
        system_attributes: vec![("SenderId", "".into())],
        ..message.clone()
    };
    let markup = |message| {
        let mut out = Vec::new();
        Response::Received(vec![message]).encode(Protocol::Query, "id", &mut out);
        String::from_utf8(out).expect("replies are UTF-8")
    };
    let (with, without) = (markup(message), markup(empty));
    let count = |text: &str, character| text.matches(character).count();
    assert_eq!(count(&with, '<'), count(&without, '<'), "a text added markup");
    let body = with.split("<Body>").nth(1).and_then(|rest| rest.split("</Body>").next()).expect("a body");
    assert!(!body.contains('\r'), "a parser would turn it into a line feed");
    assert_eq!(unescaped(body), readable(text));
    let error = |text: &str| {
        let mut out = Vec::new();
        ErrorReply::new(ErrorCode::InvalidParameterValue, text.to_owned()).render(
            Protocol::Query,
            text,
            &mut out,
        );
        String::from_utf8(out).expect("replies are UTF-8")
    };
    assert_eq!(count(&error(text), '<'), count(&error(""), '<'), "an error text added markup");
}

/// What XML 1.0 can carry of a text.
fn readable(text: &str) -> String {
    let lost = |c: char| matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
    text.chars().map(|c| if lost(c) { '\u{FFFD}' } else { c }).collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#xD;", "\r")
        .replace("&amp;", "&")
}
