//! Facts of Amazon's published Signature Version 4 test suite: what was signed, and the signature.

use http::{HeaderMap, HeaderName, HeaderValue};
use sealq_api::sigv4::{Presented, RequestParts, SigningKey};

/// Everything in the suite is signed with this secret, for this scope, at this time, to this host.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SCOPE: &str = "20150830/us-east-1/service/aws4_request";
const TIME: &str = "20150830T123600Z";
const HOST: &str = "example.amazonaws.com";

const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// (name, request line, headers besides host and x-amz-date, body, signature)
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

fn verifies((name, line, more, body, signature): Case<'_>) {
    let (method, target) = line.split_once(" ").expect("a request line");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    let mut names = vec!["host", "x-amz-date"];
    for (name, value) in [("host", HOST), ("x-amz-date", TIME)].iter().chain(more) {
        headers.append(
            HeaderName::try_from(*name).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    let mut names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    names.sort_unstable();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{SCOPE}, SignedHeaders={}, Signature={signature}",
        names.join(";")
    );
    headers.insert("authorization", authorization.parse().expect("a value"));
    let parts = RequestParts { method, path, query, headers: &headers, authority: None };
    let Ok(Presented::Signed(signed)) = Presented::from_request(&parts) else { panic!("{name}") };
    let key = SigningKey::derive(SECRET, "20150830", "us-east-1", "service");
    assert_eq!(signed.verify(&key, &parts, body.as_bytes()), Ok(()), "{name}");
}

#[test]
fn auth_1_the_published_signatures_verify() {
    let unreserved_path = format!("GET /{UNRESERVED}");
    let unreserved_query = format!("GET /?{UNRESERVED}={UNRESERVED}");
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let post = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    let cases: [Case<'_>; 23] = [
        ("get-vanilla", "GET /", &[], "", vanilla),
        ("get-slash", "GET //", &[], "", vanilla),
        ("get-slash-dot-slash", "GET /./", &[], "", vanilla),
        ("get-relative", "GET /example/..", &[], "", vanilla),
        ("get-relative-relative", "GET /example1/example2/../..", &[], "", vanilla),
        (
            "get-slash-pointless-dot",
            "GET /./example",
            &[],
            "",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "get-space",
            "GET /example space/",
            &[],
            "",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "get-utf8",
            "GET /\u{1234}",
            &[],
            "",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "get-unreserved",
            &unreserved_path,
            &[],
            "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-vanilla-query-unreserved",
            &unreserved_query,
            &[],
            "",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET /?Param2=value2&Param1=value1",
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-empty-query-key",
            "GET /?Param1=value1",
            &[],
            "",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "get-vanilla-utf8-query",
            "GET /?%E1%88%B4=bar",
            &[],
            "",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        ("post-vanilla", "POST /", &[], "", post),
        (
            "post-vanilla-query",
            "POST /?Param1=value1",
            &[],
            "",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
        (
            "post-header-key-sort",
            "POST /",
            &[("My-Header1", "value1")],
            "",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "post-header-value-case",
            "POST /",
            &[("My-Header1", "VALUE1")],
            "",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "get-header-value-trim",
            "GET /",
            &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            "",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "get-header-key-duplicate",
            "GET /",
            &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            "",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "get-header-value-order",
            "GET /",
            &[
                ("My-Header1", "value4"),
                ("My-Header1", "value1"),
                ("My-Header1", "value3"),
                ("My-Header1", "value2"),
            ],
            "",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "post-x-www-form-urlencoded",
            "POST /",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        ("get-slashes", "GET //example//..", &[], "", vanilla),
        ("post-header-key-case", "POST /", &[], "", post),
    ];
    for case in cases {
        verifies(case);
    }
}
