//! Any bytes as a form: read or refused, and the same whether they stand in the body or in the query string.

use sealq_api::sqs::{Protocol, WireRequest, parse};

/// One input.
pub fn query(form: &[u8]) {
    let wire = |method, query, body| WireRequest {
        protocol: Protocol::Query,
        method,
        path: "/000000000000/q",
        query,
        target: None,
        body,
    };
    let posted = wire("POST", "", form);
    let in_body = parse(&posted);
    let Ok(text) = std::str::from_utf8(form) else { return };
    let got = wire("GET", text, b"");
    let in_query = parse(&got);
    assert_eq!(in_body.is_ok(), in_query.is_ok());
    if let (Ok(one), Ok(other)) = (in_body, in_query) {
        assert_eq!(one.action(), other.action());
        assert_eq!(one.queue_url(), other.queue_url());
    }
}
