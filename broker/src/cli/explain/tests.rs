use std::collections::{BTreeMap, BTreeSet};

use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::grant::NewGrant;
use sealq_crypto::key_store::lifecycle::NewKey;
use sealq_crypto::key_store::{KeyId, KeyStore, Mutation};
use sealq_storage::{IoChoice, Log, LogOptions};

use super::*;
use crate::catalog::{QueueRecord, encode};
use crate::first_start::SecretsDirectory;
use crate::first_start::root_key_file::RootKeyFile;

const ORDERS: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const NOBODY: &str = "arn:aws:iam::000000000000:user/nobody";
const ROOT: &str = "arn:aws:iam::000000000000:root";
const WORKER: &str = "arn:aws:iam::111111111111:role/worker";
const NOW_MS: u64 = 1_767_323_045_000;

fn config(folder: &std::path::Path) -> Config {
    let text = format!(
        r#"
        data_dir = "{data}"
        secrets_dir = "{secrets}"
        [[account]]
        id = "000000000000"
        [[account.user]]
        name = "alice"
        policy = '{{"Version": "2012-10-17", "Statement": {{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}}}}'
        [[account.user]]
        name = "nobody"
        [[account]]
        id = "111111111111"
        [[account.role]]
        name = "worker"
        trust_policy = '{{"Version": "2012-10-17", "Statement": {{"Sid": "Trusted", "Effect": "Allow", "Principal": {{"AWS": "000000000000"}}, "Action": "sts:AssumeRole", "Condition": {{"StringEquals": {{"sts:ExternalId": "x"}}}}}}}}'
        policy = '{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}}}'
        "#,
        data = folder.join("data").display(),
        secrets = folder.join("secrets").display(),
    );
    let file = folder.join("sealq.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), std::iter::empty(), sealq_config::Overrides::default()).unwrap().config
}

fn ask(config: &Config, principal: &str, action: &str, resource: &str) -> Result<Answer, ExplainError> {
    ask_with(config, principal, action, resource, &[])
}

fn ask_with(
    config: &Config,
    principal: &str,
    action: &str,
    resource: &str,
    condition: &[(&str, &str)],
) -> Result<Answer, ExplainError> {
    let arguments = Arguments {
        principal: principal.to_owned(),
        action: action.to_owned(),
        resource: resource.to_owned(),
        source_ip: Ipv4Addr::LOCALHOST.into(),
        encryption_context: Vec::new(),
        condition: condition.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    decide(config, &arguments, Clock::system())
}

fn log(config: &Config) -> Log {
    let options = LogOptions {
        dir: config.data_dir.clone(),
        segment_bytes: 4 << 20,
        io: IoChoice::Threads,
        free_space_min_bytes: 0,
        tail_cache_bytes: 1 << 20,
        shard: 0,
    };
    Log::open(options).unwrap().0
}

fn store_queue(config: &Config, policy: &str) {
    let mut settings = sealq_api::sqs::attributes::QueueSettings::new(false, false);
    settings.policy = Some(policy.to_owned());
    let record = QueueRecord {
        account: "000000000000".into(),
        region: "us-east-1".into(),
        name: "orders".into(),
        stream: 1,
        created_at_ms: 1,
        modified_at_ms: 1,
        purged_at_ms: 0,
        dedup_by_group: false,
        settings,
        policy_ids: BTreeMap::new(),
        tags: BTreeMap::new(),
    };
    let mut log = log(config);
    log.put_catalog(&QueueRecord::key("000000000000", "orders"), &encode(&record)).unwrap();
    log.close().unwrap();
}

/// A key with this policy and a grant of Decrypt to the user nobody.
fn store_key(config: &Config, policy: &str) -> String {
    SecretsDirectory::open(config).unwrap();
    let root_keys = RootKeyFile::of(config).unwrap().open_or_make(&config.data_dir).unwrap();
    let loaded = KeyStore::load(root_keys.current, None, [], &mut SystemEntropy).unwrap();
    let (mut store, mut log) = (loaded.store, log(config));
    let mut keep = |store: &mut KeyStore, mutation: Mutation| {
        for (key, value) in &mutation.puts {
            log.put_catalog(key, value).unwrap();
        }
        store.commit(mutation);
    };
    keep(&mut store, loaded.pending);
    let scope = Scope { partition: "aws".into(), account: "000000000000".into(), region: "us-east-1".into() };
    let new = NewKey { policy: Some(policy.to_owned()), ..NewKey::default() };
    let made = store.prepare_create_key(&scope, new, NOW_MS, &mut SystemEntropy).unwrap();
    keep(&mut store, made.mutation);
    let grant = NewGrant {
        grantee: NOBODY.into(),
        grantee_id: None,
        retiring: None,
        retiring_id: None,
        operations: BTreeSet::from([GrantOperation::Decrypt]),
        constraint: None,
        name: None,
        issuing_account: "000000000000".into(),
    };
    let key = KeyId::parse(&made.reply.key_id).unwrap();
    let granted = store.prepare_create_grant(key, &grant, false, NOW_MS, &mut SystemEntropy).unwrap();
    keep(&mut store, granted.mutation);
    log.close().unwrap();
    made.reply.arn
}

fn text(answer: &Answer) -> String {
    answer.text("", "", "")
}

#[test]
fn own_policies_decide_where_the_queue_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let alice = ask(&config, ALICE, "sqs:SendMessage", ORDERS).unwrap();
    assert!(alice.is_allowed() && text(&alice).contains("All") && text(&alice).contains("no such queue"));
    assert!(!ask(&config, NOBODY, "sendmessage", ORDERS).unwrap().is_allowed());
    assert!(ask(&config, ROOT, "sqs:ListQueues", "*").unwrap().is_allowed());
}

#[test]
fn the_stored_queue_policy_decides_for_another_account() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let before = ask(&config, WORKER, "sqs:SendMessage", ORDERS).err().unwrap();
    assert!(matches!(before, ExplainError::NoQueue { .. }));
    let policy = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Sid": "In", "Effect": "Allow", "Principal": {{"AWS": "{WORKER}"}}, "Action": "sqs:SendMessage", "Resource": "{ORDERS}"}}}}"#
    );
    store_queue(&config, &policy);
    let session = "arn:aws:sts::111111111111:assumed-role/worker/one";
    for principal in [WORKER, session] {
        let answer = ask(&config, principal, "sqs:SendMessage", ORDERS).unwrap();
        assert!(
            answer.is_allowed() && text(&answer).contains("queue policy, statement \"In\""),
            "{answer:?}"
        );
        assert!(!ask(&config, principal, "sqs:ReceiveMessage", ORDERS).unwrap().is_allowed());
    }
    assert!(!ask(&config, "*", "sqs:SendMessage", ORDERS).unwrap().is_allowed());
}

#[test]
fn the_stored_key_policy_and_grants_decide_about_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let missing = ask(&config, ALICE, "kms:Decrypt", "alias/none").err().unwrap();
    assert!(matches!(missing, ExplainError::NoRootKey(_)), "{missing}");
    let via = "sqs.us-east-1.amazonaws.com";
    let key = store_key(
        &config,
        &format!(
            r#"{{"Version": "2012-10-17", "Statement": [
                {{"Sid": "Delegated", "Effect": "Allow", "Principal": {{"AWS": "000000000000"}}, "Action": "kms:DescribeKey", "Resource": "*"}},
                {{"Sid": "ThroughQueues", "Effect": "Allow", "Principal": {{"AWS": "{ALICE}"}}, "Action": "kms:GenerateDataKey", "Resource": "*",
                  "Condition": {{"StringEquals": {{"kms:ViaService": "{via}"}}}}}}]}}"#
        ),
    );
    let alice = ask(&config, ALICE, "kms:DescribeKey", &key).unwrap();
    assert!(alice.is_allowed() && text(&alice).contains("Delegated") && text(&alice).contains("All"));
    assert!(!ask(&config, NOBODY, "kms:DescribeKey", &key).unwrap().is_allowed());
    assert!(text(&ask(&config, NOBODY, "kms:Decrypt", &key).unwrap()).contains("by: grant"));
    assert!(!ask(&config, ALICE, "kms:GenerateDataKey", &key).unwrap().is_allowed());
    let through = ask_with(&config, ALICE, "kms:GenerateDataKey", &key, &[("kms:ViaService", via)]).unwrap();
    assert!(through.is_allowed() && text(&through).contains("ThroughQueues"));
    assert!(!ask(&config, "*", "kms:Decrypt", &key).unwrap().is_allowed());
    assert!(ask(&config, ALICE, "kms:CreateKey", "*").unwrap().is_allowed());
    let unknown = ask(&config, ALICE, "kms:Decrypt", "alias/none").err().unwrap();
    assert_eq!(unknown.exit(), Exit::Settings, "{unknown}");
}

#[test]
fn the_trust_policy_decides_who_assumes_a_role() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let assume = |principal, conditions: &[(&str, &str)]| {
        ask_with(&config, principal, "sts:AssumeRole", WORKER, conditions).unwrap()
    };
    let alice = assume(ALICE, &[("sts:ExternalId", "x")]);
    assert!(alice.is_allowed() && text(&alice).contains("trust policy, statement \"Trusted\""), "{alice:?}");
    assert!(!assume(ALICE, &[]).is_allowed());
    assert!(!assume(NOBODY, &[("sts:ExternalId", "x")]).is_allowed());
    assert!(!assume(ROOT, &[("sts:ExternalId", "x")]).is_allowed());
    assert!(ask(&config, NOBODY, "sts:GetCallerIdentity", "*").unwrap().is_allowed());
    assert!(!ask(&config, WORKER, "sts:GetSessionToken", "*").unwrap().is_allowed());
}

#[test]
fn what_cannot_be_asked_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for (principal, action, resource) in [
        ("arn:aws:iam::000000000000:user/gone", "sqs:SendMessage", ORDERS),
        (ROOT, "kms:Decrypt", "alias/a"),
        (ROOT, "sqs:Fly", ORDERS),
        (ROOT, "sqs:SendMessage", "orders"),
        (ALICE, "sts:AssumeRole", "arn:aws:iam::111111111111:role/gone"),
    ] {
        assert_eq!(ask(&config, principal, action, resource).err().unwrap().exit(), Exit::Settings);
    }
    assert!(pair("a=b=c").is_ok() && pair("=b").is_err() && pair("ab").is_err());
}
