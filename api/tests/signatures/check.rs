//! What must hold of a signed request: it verifies, and no change of it does.

use sealq_api::sigv4::{Presented, RequestParts, ScopeRules, SigV4Failure, SigningKey};

use crate::exchange::Exchange;
use crate::signer::{DATE, NOW_MS, SECRET, SignedRequest, sign};

/// Signs, verifies, and changes one thing of each kind.
pub(crate) fn check(exchange: &Exchange) {
    let request = sign(exchange);
    assert_eq!(verify(&request), Ok(()), "{request:#?}");
    let mut changed = vec![
        SignedRequest { body: [&request.body[..], b"x"].concat(), ..request.clone() },
        SignedRequest { path: format!("{}/x", request.path), ..request.clone() },
        SignedRequest { query: with_pair(&request.query, "added=1"), ..request.clone() },
        SignedRequest { method: "PUT", ..request.clone() },
    ];
    for name in request.headers.keys().filter(|name| *name != "authorization") {
        let mut other = request.clone();
        other.headers.insert(name.clone(), "another value".parse().expect("a header"));
        changed.push(other);
    }
    let mut unsigned = request.clone();
    unsigned.headers.insert("x-amz-extra", "1".parse().expect("a header"));
    changed.push(unsigned);
    for other in changed {
        assert!(verify(&other).is_err(), "{other:#?}");
    }
    // Another signer's key opens nothing.
    let key = SigningKey::derive("another secret", DATE, "us-east-2", "sqs");
    assert!(verify_with(&request, &key).is_err());
}

pub(crate) fn verify(request: &SignedRequest) -> Result<(), SigV4Failure> {
    verify_with(request, &SigningKey::derive(SECRET, DATE, "us-east-2", "sqs"))
}

fn verify_with(request: &SignedRequest, key: &SigningKey) -> Result<(), SigV4Failure> {
    let parts = RequestParts {
        method: request.method,
        path: &request.path,
        query: &request.query,
        headers: &request.headers,
        authority: None,
    };
    let Presented::Signed(signed) = Presented::from_request(&parts)? else { panic!("{request:#?}") };
    signed.check_scope(&ScopeRules { region: &|region| region == "us-east-2", service: "sqs" })?;
    signed.check_time(NOW_MS, 900)?;
    signed.verify(key, &parts, &request.body)
}

fn with_pair(query: &str, pair: &str) -> String {
    if query.is_empty() { pair.to_owned() } else { format!("{query}&{pair}") }
}
