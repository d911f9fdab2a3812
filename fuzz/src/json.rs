//! `Action NUL body` as a JSON request: read or refused.

use sealq_api::sqs::{Protocol, WireRequest, parse};

/// One input.
pub fn json(input: &[u8]) {
    let cut = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(action) = std::str::from_utf8(&input[..cut]) else { return };
    let target = format!("AmazonSQS.{action}");
    let wire = WireRequest {
        protocol: Protocol::Json,
        method: "POST",
        path: "/",
        query: "",
        target: Some(&target),
        body: input.get(cut + 1..).unwrap_or_default(),
    };
    if let Ok(request) = parse(&wire) {
        assert!(action.starts_with(&format!("{:?}", request.action())), "read as another action");
    }
}
