use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use sealq_api::sigv4::SignedTime;
use sealq_config::{Config, Secret};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::*;
use crate::caller::CallerKind;
use crate::identity::UniqueIds;
use crate::session::{Claims, Issued};

const NOW_S: u64 = 1_767_323_045;
const ACCOUNT: &str = "000000000000";
const ALICE: (&str, &str) = ("AKIAALICE00000000000", "alice's secret");
const RETIRED: (&str, &str) = ("AKIARETIRED000000000", "retired's secret");
const TOPIC: (&str, &str) = ("AKIATOPIC00000000000", "topic's secret");
const EVERYBODY: &str = r#"
    [[account]]
    id = "000000000000"
    [[account.user]]
    name = "alice"
    access_key_id = "AKIAALICE00000000000"
    secret_access_key = "alice's secret"
    [[account.user]]
    name = "retired"
    access_key_id = "AKIARETIRED000000000"
    secret_access_key = "retired's secret"
    status = "Inactive"
    [[account.role]]
    name = "worker"
    trust_policy = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}'
    [[service]]
    principal = "sns.amazonaws.com"
    access_key_id = "AKIATOPIC00000000000"
    secret_access_key = "topic's secret"
    source_arn = "arn:aws:sns:us-east-1:000000000000:topic"
    source_account = "000000000000"
"#;

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sealq.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), std::iter::empty(), sealq_config::Overrides::default()).unwrap().config
}

struct Bench {
    authenticator: Authenticator,
    ids: UniqueIds,
    now_ms: Arc<AtomicU64>,
}

impl Bench {
    fn new(require_signatures: bool) -> Self {
        let config = config(EVERYBODY);
        let mut ids = UniqueIds::new();
        let root = ("AKIAROOT000000000000", Secret::new("root's secret"));
        let identities = Identities::build(&config, root, &mut ids).unwrap();
        let (clock, now_ms) = Clock::by_hand(NOW_S * 1_000);
        let sessions = SessionTokens::new(Zeroizing::new([7; 32]));
        let authenticator =
            Authenticator::new(identities, sessions, config.identity, require_signatures, 900, clock);
        Self { authenticator, ids, now_ms }
    }

    /// What SIGHUP does with settings that say `text`.
    fn reload(&mut self, text: &str) {
        let root = ("AKIAROOT000000000000", Secret::new("root's secret"));
        let identities = Identities::build(&config(text), root, &mut self.ids).unwrap();
        self.authenticator.replace(identities);
    }

    fn ask(&self, inbound: &Inbound) -> Result<Caller, SigV4FailureKind> {
        self.authenticator.authenticate(inbound, "sqs", &"id".into()).map_err(|refused| match refused {
            Unauthenticated::Failed(failure) | Unauthenticated::OtherScheme(failure) => failure.kind,
        })
    }

    fn session(&self, owner: &str) -> Issued {
        let owner_id = self.authenticator.identities().unique_id(owner).unwrap().to_owned();
        let claims = Claims {
            owner_arn: owner.into(),
            owner_id,
            session_name: "s1".into(),
            policies: Vec::new(),
            tags: Vec::new(),
            of_service: false,
            issued_at_s: NOW_S,
            expires_at_s: NOW_S + 900,
        };
        self.authenticator.sessions().issue(&claims).unwrap()
    }

    fn signing_keys(&self, signed: &Inbound) -> bool {
        let parts =
            RequestParts { method: "POST", path: "/", query: "", headers: &signed.headers, authority: None };
        let Ok(Presented::Signed(signed)) = Presented::from_request(&parts) else { panic!("not signed") };
        // With a secret that nobody has: only a key that is kept already lets this pass.
        let known = self.authenticator.known.load();
        known.with_signing_key(&signed, "no secret", |key| signed.verify(key, &parts, BODY)).is_ok()
    }
}

const BODY: &[u8] = b"{}";

fn unsigned() -> Inbound {
    Inbound {
        method: Method::POST,
        uri: "/".parse().unwrap(),
        headers: HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("broker:9324"))]),
        body: BODY.into(),
        secure: true,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        version: Version::HTTP_11,
    }
}

fn signed(key: (&str, &str)) -> Inbound {
    signed_with(key, None, NOW_S)
}

fn session_signed(session: &Issued) -> Inbound {
    signed_with((&session.access_key_id, &session.secret_access_key), Some(&session.session_token), NOW_S)
}

/// Signs by the book (auth contract, section 2.3), owing nothing to the verifying side.
fn signed_with((id, secret): (&str, &str), token: Option<&str>, at_s: u64) -> Inbound {
    let mut inbound = unsigned();
    let time = SignedTime::from_epoch_s(at_s);
    let mut lines = vec![("host", "broker:9324".to_owned()), ("x-amz-date", time.basic().to_owned())];
    lines.extend(token.map(|token| ("x-amz-security-token", token.to_owned())));
    for (name, value) in &lines {
        let (name, value) = (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(value).unwrap());
        inbound.headers.insert(name, value);
    }
    let names = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let values: String = lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let canonical = format!("POST\n/\n\n{values}\n{names}\n{}", hash(BODY));
    let date = &time.basic()[..8];
    let scope = format!("{date}/us-east-1/sqs/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", time.basic(), hash(canonical.as_bytes()));
    let key = [date, "us-east-1", "sqs", "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex::encode(hmac(&key, text.as_bytes()));
    let value =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    inbound.headers.insert(http::header::AUTHORIZATION, value.try_into().unwrap());
    inbound
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn auth_18_every_kind_of_principal_is_recognised() {
    let bench = Bench::new(true);
    let alice = bench.ask(&signed(ALICE)).unwrap();
    assert_eq!((&*alice.arn, &*alice.account), ("arn:aws:iam::000000000000:user/alice", ACCOUNT));
    let service = bench.ask(&signed(TOPIC)).unwrap();
    assert!(matches!(service.kind, CallerKind::Service { .. }) && service.account.is_empty());
    let session = bench.session("arn:aws:iam::000000000000:role/worker");
    let worker = bench.ask(&session_signed(&session)).unwrap();
    assert_eq!(&*worker.arn, "arn:aws:sts::000000000000:assumed-role/worker/s1");
    assert_eq!(worker.token_issued_at_s, Some(NOW_S));
    assert!(bench.ask(&unsigned()).unwrap().is_anonymous());
}

#[test]
fn auth_9_keys_and_tokens_that_do_not_hold_are_refused() {
    use SigV4FailureKind::{DoesNotMatch, ExpiredToken, InvalidToken};
    let bench = Bench::new(true);
    let one = bench.session("arn:aws:iam::000000000000:user/alice");
    let other = bench.session("arn:aws:iam::000000000000:user/alice");
    let with = |session: &Issued, token| {
        signed_with((&session.access_key_id, &session.secret_access_key), token, NOW_S)
    };
    let altered = format!("{}x", one.session_token);
    for (case, inbound, kind) in [
        ("unknown key", signed(("AKIAUNKNOWN000000000", "x")), InvalidToken),
        ("inactive key", signed(RETIRED), InvalidToken),
        ("wrong secret", signed((ALICE.0, "x")), DoesNotMatch),
        ("token missing", with(&one, None), InvalidToken),
        ("token altered", with(&one, Some(&altered)), InvalidToken),
        ("token of another key", with(&one, Some(&other.session_token)), InvalidToken),
        ("token with a long-term key", signed_with(ALICE, Some(&one.session_token), NOW_S), InvalidToken),
    ] {
        assert_eq!(bench.ask(&inbound).err(), Some(kind), "{case}");
    }
    assert!(bench.ask(&session_signed(&one)).is_ok());
    bench.now_ms.store((NOW_S + 900) * 1_000, Ordering::SeqCst);
    for session in [&one, &other] {
        let late = (&*session.access_key_id, session.secret_access_key.as_str());
        let late = signed_with(late, Some(&session.session_token), NOW_S + 900);
        assert_eq!(bench.ask(&late).err(), Some(ExpiredToken), "opened before, and not");
    }
}

#[test]
fn a_signing_key_is_derived_once_and_only_a_good_signature_keeps_it() {
    let bench = Bench::new(true);
    let good = signed(ALICE);
    assert!(bench.ask(&signed((ALICE.0, "x"))).is_err());
    assert!(!bench.signing_keys(&good));
    assert!(bench.ask(&good).is_ok());
    assert!(bench.signing_keys(&good));
    let session = bench.session("arn:aws:iam::000000000000:role/worker");
    let good = session_signed(&session);
    assert!(bench.authenticator.known.load().session(&session.session_token).is_none());
    assert!(bench.ask(&good).is_ok());
    assert!(bench.signing_keys(&good));
    let opened = bench.authenticator.known.load().session(&session.session_token).unwrap();
    let again = bench.ask(&good).unwrap();
    assert!(Arc::ptr_eq(&opened.caller.arn, &again.arn), "the token is opened once");
}

#[test]
fn auth_22_a_reload_forgets_who_is_gone_and_a_namesake_is_another() {
    let mut bench = Bench::new(true);
    let before = bench.ask(&signed(ALICE)).unwrap();
    let session = bench.session("arn:aws:iam::000000000000:user/alice");
    assert!(bench.ask(&session_signed(&session)).is_ok());
    bench.reload(&EVERYBODY.replace("alice's secret", "another secret"));
    assert_eq!(bench.ask(&signed(ALICE)).err(), Some(SigV4FailureKind::DoesNotMatch));
    let same = bench.ask(&signed((ALICE.0, "another secret"))).unwrap();
    assert_eq!(same.unique_id, before.unique_id, "a new secret makes no new user");
    assert!(bench.ask(&session_signed(&session)).is_ok(), "nor does it end sessions");
    bench.reload(&EVERYBODY.replace("\"alice\"", "\"bob\""));
    assert!(bench.ask(&session_signed(&session)).is_err(), "a session ends with its user");
    bench.reload(EVERYBODY);
    let anew = bench.ask(&signed(ALICE)).unwrap();
    assert!(anew.arn == before.arn && anew.unique_id != before.unique_id);
    assert!(bench.ask(&session_signed(&session)).is_err(), "a namesake does not inherit it");
}

#[test]
fn without_required_signatures_the_unsigned_are_root_and_bad_signatures_stay_bad() {
    let bench = Bench::new(false);
    let caller = bench.ask(&unsigned()).unwrap();
    assert_eq!((&caller.kind, &*caller.arn), (&CallerKind::Root, "arn:aws:iam::000000000000:root"));
    assert!(caller.access_key_id.is_empty(), "encrypted queues still refuse it");
    assert_eq!(bench.ask(&signed(ALICE)).unwrap().kind, CallerKind::User);
    assert!(bench.ask(&signed((ALICE.0, "x"))).is_err());
}
