//! Any text as a session token: none opens that was not issued, and no other access key opens one that was. Any bytes as
//! what a token says: a session that comes of them belongs to somebody known, and has not ended.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealq_broker::identity::{Identities, UniqueIds};
use sealq_broker::session::{Claims, Issued, SessionTokens};
use sealq_config::{Config, Secret};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::root_key::RootKey;
use zeroize::Zeroizing;

const KEY: [u8; 32] = [5; 32];
const NOW_S: u64 = 1_764_000_000;
const ACCESS_KEY_ID: &str = "ASIAAAAAAAAAAAAAAAAA";
const ROOT_ARN: &str = "arn:aws:iam::000000000000:root";

struct Bench {
    tokens: SessionTokens,
    identities: Identities,
    issued: Issued,
}

/// A broker's root account, and one session of it.
fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let root = ("AKIAROOT", Secret::new("secret"));
        let identities = Identities::build(&Config::default(), root, &mut UniqueIds::new())
            .expect("the default settings have no policies");
        let tokens = SessionTokens::new(Zeroizing::new(KEY));
        let claims = Claims {
            owner_arn: ROOT_ARN.into(),
            owner_id: "000000000000".into(),
            session_name: String::new(),
            policies: Vec::new(),
            tags: Vec::new(),
            of_service: false,
            issued_at_s: NOW_S,
            expires_at_s: NOW_S + 900,
        };
        let issued = tokens.issue(&claims).expect("short claims fit a token");
        Bench { tokens, identities, issued }
    })
}

/// One input.
pub fn session_token(input: &[u8]) {
    let Bench { tokens, identities, issued } = bench();
    let open = |token: &str, id: &str| tokens.open(token, id, NOW_S * 1_000, identities);
    let (token, id) = (issued.session_token.as_str(), issued.access_key_id.as_str());
    assert!(open(token, id).is_ok());
    if let Ok(text) = std::str::from_utf8(input) {
        assert_eq!(open(text, id).is_ok(), text == token, "a forged token was accepted");
        assert_eq!(open(token, text).is_ok(), text == id, "a token was accepted of another access key");
    }
    // The input laid over the true token.
    let mut changed = token.as_bytes().to_vec();
    for (byte, change) in changed.iter_mut().zip(input) {
        *byte ^= change;
    }
    if let Ok(changed) = std::str::from_utf8(&changed) {
        assert_eq!(open(changed, id).is_ok(), changed == token, "a changed token was accepted");
    }
    // The input as claims that the broker has sealed itself.
    let sealed = RootKey::from_bytes(&KEY)
        .wrap(ACCESS_KEY_ID.as_bytes(), input, &mut SystemEntropy)
        .expect("the system gives random bytes");
    if let Ok(session) = open(&URL_SAFE_NO_PAD.encode(sealed), ACCESS_KEY_ID) {
        assert_eq!(&*session.caller.arn, ROOT_ARN, "a session of nobody");
        assert!(session.check_end(NOW_S * 1_000).is_ok(), "a session that has ended");
    }
}
