//! Statements about grants.

use super::super::grant::{GrantCaller, GrantConstraint, GrantOperation, Held, NewGrant};
use super::*;

pub(super) fn new_grant(constraint: Option<GrantConstraint>, name: Option<&str>) -> NewGrant {
    NewGrant {
        grantee: GRANTEE.into(),
        grantee_id: Some("AIDAANN".into()),
        retiring: Some(RITA.into()),
        retiring_id: Some("AIDARITA".into()),
        operations: [GrantOperation::Encrypt, GrantOperation::Decrypt, GrantOperation::CreateGrant].into(),
        constraint,
        name: name.map(Into::into),
        issuing_account: scope().account,
    }
}

pub(super) fn create_grant(bench: &mut Bench, key: KeyId, new: &NewGrant) -> grant::CreatedGrant {
    let prepared = bench.store.prepare_create_grant(key, new, false, NOW_MS, &mut SystemEntropy).unwrap();
    bench.commit(prepared.mutation);
    prepared.reply
}

fn caller(arn: &str) -> GrantCaller<'_> {
    let unique_id = if arn == GRANTEE { "AIDAANN" } else { "AIDARITA" };
    GrantCaller { arn, role_arn: None, unique_id, account: "111122223333", is_account_root: false }
}

fn by_itself(held: Option<Held>) -> bool {
    assert_ne!(held, Some(Held::ByAccount));
    held.is_some()
}

#[test]
fn kms_13_a_grant_allows_its_operations_in_its_contexts_until_retired_or_revoked() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let subset = GrantConstraint::Subset(BTreeMap::from([("a".into(), "1".into())]));
    let made = create_grant(&mut bench, key, &new_grant(Some(subset), None));
    bench.restart();
    let met: EncryptionContext = [("a", "1"), ("b", "2")].into_iter().collect();
    let unmet: EncryptionContext = [("A", "1")].into_iter().collect();
    let allows = |bench: &Bench, arn: &str, operation, context: &EncryptionContext| {
        by_itself(bench.store.grant_allows(key, &caller(arn), operation, context))
    };
    assert!(allows(&bench, GRANTEE, GrantOperation::Decrypt, &met));
    assert!(!allows(&bench, GRANTEE, GrantOperation::Decrypt, &unmet));
    assert!(allows(&bench, GRANTEE, GrantOperation::CreateGrant, &unmet));
    assert!(!allows(&bench, GRANTEE, GrantOperation::DescribeKey, &met));
    assert!(!allows(&bench, "arn:aws:iam::111122223333:user/bob", GrantOperation::Decrypt, &met));

    let grant = bench.store.grant_of_token(&made.grant_token).unwrap().clone();
    // The account that made it may retire it: whoever of it has the right.
    assert_eq!(grant.may_be_retired_by(&caller(GRANTEE)), Some(Held::ByAccount));
    assert_eq!(grant.may_be_retired_by(&caller(RITA)), Some(Held::ByItself));
    let stranger = GrantCaller { account: OTHER_ACCOUNT, ..caller("arn:aws:iam::999988887777:user/eve") };
    assert_eq!(grant.may_be_retired_by(&stranger), None);
    let retired = bench.store.prepare_remove_grant(key, grant.id, false, &mut SystemEntropy).unwrap();
    bench.commit(retired);
    assert!(!allows(&bench, GRANTEE, GrantOperation::Decrypt, &met));
    assert_eq!(bench.store.grant_of_token(&made.grant_token).unwrap_err(), KmsError::InvalidGrantToken);
    assert!(grant::check_grant_token(&made.grant_token).is_ok(), "a token stays a token");
    assert_eq!(grant::check_grant_token("bogus"), Err(KmsError::InvalidGrantToken));

    let made = create_grant(&mut bench, key, &new_grant(None, None));
    assert!(allows(&bench, GRANTEE, GrantOperation::Decrypt, &unmet));
    let id = bench.store.grant(key, &made.grant_id).unwrap().id;
    let revoked = bench.store.prepare_remove_grant(key, id, false, &mut SystemEntropy).unwrap();
    bench.commit(revoked);
    assert_eq!(bench.store.grant(key, &made.grant_id).unwrap_err().name(), "NotFoundException");
    bench.restart();
    assert!(!allows(&bench, GRANTEE, GrantOperation::Decrypt, &unmet));
    assert!(bench.store.list_grants(key, None, None, &page()).unwrap().entries.is_empty());
}

#[test]
fn auth_22_a_grant_is_for_the_principal_and_not_for_a_namesake() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let _ = create_grant(&mut bench, key, &new_grant(None, None));
    let allows = |caller: &GrantCaller<'_>| {
        bench.store.grant_allows(key, caller, GrantOperation::Encrypt, &queue_context())
    };
    assert_eq!(allows(&caller(GRANTEE)), Some(Held::ByItself));
    assert_eq!(allows(&GrantCaller { unique_id: "AIDANEW", ..caller(GRANTEE) }), None);
}

#[test]
fn kms_13_a_grant_to_an_account_leaves_it_to_the_accounts_policies() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    for grantee in ["arn:aws:iam::111122223333:root", "999988887777"] {
        let new = NewGrant { grantee: grantee.into(), grantee_id: None, ..new_grant(None, None) };
        let _ = create_grant(&mut bench, key, &new);
    }
    let held = |caller: GrantCaller<'_>| {
        bench.store.grant_allows(key, &caller, GrantOperation::Encrypt, &queue_context())
    };
    assert_eq!(held(caller(RITA)), Some(Held::ByAccount));
    assert_eq!(held(GrantCaller { is_account_root: true, ..caller(RITA) }), Some(Held::ByItself));
    assert_eq!(held(GrantCaller { account: OTHER_ACCOUNT, ..caller(RITA) }), Some(Held::ByAccount));
    assert_eq!(held(GrantCaller { account: "000000000000", ..caller(RITA) }), None);
}

#[test]
fn kms_13_a_name_makes_grant_creation_repeatable() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let first = create_grant(&mut bench, key, &new_grant(None, Some("n")));
    assert_eq!(create_grant(&mut bench, key, &new_grant(None, Some("n"))), first);
    let equals = GrantConstraint::Equals(BTreeMap::from([("a".into(), "1".into())]));
    assert_ne!(create_grant(&mut bench, key, &new_grant(Some(equals), Some("n"))), first);
    assert_ne!(create_grant(&mut bench, key, &new_grant(None, None)), first);
    assert_ne!(
        create_grant(&mut bench, key, &new_grant(None, None)),
        create_grant(&mut bench, key, &new_grant(None, None))
    );
    assert_eq!(bench.store.list_grants(key, None, Some(GRANTEE), &page()).unwrap().entries.len(), 5);
}

#[test]
fn kms_13_equals_is_exact_and_a_grant_of_a_grant_is_never_wider() {
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let equals = GrantConstraint::Equals(pairs(&[("a", "1")]));
    assert!(equals.matches(&[("a", "1")].into_iter().collect()));
    assert!(!equals.matches(&[("a", "1"), ("b", "2")].into_iter().collect()));
    assert!(!equals.matches(&EncryptionContext::new()));

    let mut bench = Bench::new();
    let key = bench.create_key();
    let parent = GrantConstraint::Subset(pairs(&[("a", "1")]));
    let _ = create_grant(&mut bench, key, &new_grant(Some(parent.clone()), None));
    let allows = |new: &NewGrant| by_itself(bench.store.grant_allows_grant(key, &caller(GRANTEE), new));
    assert!(allows(&new_grant(Some(parent), None)));
    assert!(allows(&new_grant(Some(equals), None)));
    assert!(allows(&new_grant(Some(GrantConstraint::Subset(pairs(&[("a", "1"), ("b", "2")]))), None)));
    assert!(!allows(&new_grant(None, None)));
    assert!(!allows(&new_grant(Some(GrantConstraint::Subset(pairs(&[("b", "2")]))), None)));
    let mut more = new_grant(Some(GrantConstraint::Equals(pairs(&[("a", "1")]))), None);
    more.operations.insert(GrantOperation::DescribeKey);
    assert!(!allows(&more));
}
