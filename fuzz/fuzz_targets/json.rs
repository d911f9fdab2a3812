//! `Action NUL body` as a JSON request: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealq_api::sqs::{Protocol, WireRequest, parse};

fuzz_target!(|input: &[u8]| {
    let cut = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(action) = str::from_utf8(&input[..cut]) else { return };
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
});
