//! Statements of the kind that the IAM, SQS and KMS guides show, each with a request and what it says of it.

use super::{ALICE_SENDS, Example, Said};

const QUEUE_POLICY_OF_A_TOPIC: &str = r#"{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"arn:aws:sqs:us-east-1:111111111111:q","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:111111111111:t*"}}}"#;
const TLS_ONLY: &str = r#"{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;
const OFFICE_ONLY: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]},"DateLessThan":{"aws:CurrentTime":"2026-06-01T00:00:00Z"}}}"#;
const OUTSIDE_THE_OFFICE: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}"#;
const QUEUES_OF_ONES_OWN: &str =
    r#"{"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:*:111111111111:${aws:username}"}"#;
const ALL_BUT_ALICE: &str = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111111111111:user/alice"},"Action":"sqs:*","Resource":"*"}"#;
const ALL_BUT_DELETING: &str =
    r#"{"Effect":"Allow","NotAction":["sqs:DeleteQueue","sqs:Purge*"],"Resource":"*"}"#;
const ALL_BUT_SENDING: &str = r#"{"Effect":"Allow","NotAction":"sqs:Send*","Resource":"*"}"#;
const OTHER_QUEUES: &str =
    r#"{"Effect":"Deny","Action":"sqs:*","NotResource":"arn:aws:sqs:us-east-1:111111111111:q"}"#;
const TAGGED: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":["blue","green"]},"Null":{"aws:ResourceTag/locked":"true"}}}"#;
const WITH_MFA: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}"#;
const FRESH_MFA: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}"#;
const ONE_ENDPOINT: &str = r#"{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}"#;
const NAMED_LIKE: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"StringLike":{"aws:username":"a?i*"}}}"#;
const EQUAL_IS_NO_PATTERN: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"StringEquals":{"aws:username":"a*"}}}"#;
const IGNORING_CASE: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"aws:username":"ALICE"}}}"#;
const ALL_TAGS: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}}"#;
const ANY_TAG: &str = r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":"a*"}}}"#;
const FROM_ACCOUNT: &str =
    r#"{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sqs:*","Resource":"*"}"#;
const AFTER: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThanEquals":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}}}"#;
const IN_SECONDS: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThanEquals":{"aws:CurrentTime":"1767225600"}}}"#;
const OF_A_ROLE: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::111111111111:assumed-role/worker/s1"},"Action":"sqs:*","Resource":"*"}"#;
const ASSUMED_WITH_ID: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:user/bob"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"secret"}}}"#;

/// One of a table: who, with which keys, and what is said.
const fn row(
    statement: &'static str,
    asker: &'static str,
    keys: &'static [(&'static str, &'static [&'static str])],
    says: Said,
) -> Example {
    Example { asker, keys, statement, says, ..ALICE_SENDS }
}

const ALICE: &str = "user/alice";
const BOB: &str = "user/bob";
const SNS: &str = "sns.amazonaws.com";
const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:topic";

pub(super) const ROWS: &[Example] = &[
    row(QUEUE_POLICY_OF_A_TOPIC, SNS, &[("aws:sourcearn", &[TOPIC])], Said::Allow),
    row(
        QUEUE_POLICY_OF_A_TOPIC,
        SNS,
        &[("aws:sourcearn", &["arn:aws:sns:us-east-1:222222222222:topic"])],
        Said::Nothing,
    ),
    row(QUEUE_POLICY_OF_A_TOPIC, SNS, &[], Said::Nothing),
    row(QUEUE_POLICY_OF_A_TOPIC, ALICE, &[("aws:sourcearn", &[TOPIC])], Said::Nothing),
    row(TLS_ONLY, ALICE, &[("aws:securetransport", &["false"])], Said::Deny),
    row(TLS_ONLY, ALICE, &[("aws:securetransport", &["true"])], Said::Nothing),
    row(TLS_ONLY, SNS, &[("aws:securetransport", &["false"])], Said::Deny),
    row(TLS_ONLY, ALICE, &[], Said::Nothing),
    row(
        OFFICE_ONLY,
        ALICE,
        &[("aws:sourceip", &["10.9.8.7"]), ("aws:currenttime", &["2026-05-31T23:59:59Z"])],
        Said::Allow,
    ),
    row(
        OFFICE_ONLY,
        ALICE,
        &[("aws:sourceip", &["2001:db8::7"]), ("aws:currenttime", &["2026-05-31T23:59:59Z"])],
        Said::Allow,
    ),
    row(
        OFFICE_ONLY,
        ALICE,
        &[("aws:sourceip", &["10.9.8.7"]), ("aws:currenttime", &["2026-06-01T00:00:00Z"])],
        Said::Nothing,
    ),
    row(
        OFFICE_ONLY,
        ALICE,
        &[("aws:sourceip", &["11.9.8.7"]), ("aws:currenttime", &["2026-05-31T23:59:59Z"])],
        Said::Nothing,
    ),
    row(OFFICE_ONLY, ALICE, &[("aws:sourceip", &["10.9.8.7"])], Said::Nothing),
    row(OUTSIDE_THE_OFFICE, ALICE, &[("aws:sourceip", &["11.0.0.1"])], Said::Deny),
    row(OUTSIDE_THE_OFFICE, ALICE, &[("aws:sourceip", &["10.255.255.255"])], Said::Nothing),
    row(OUTSIDE_THE_OFFICE, ALICE, &[], Said::Deny),
    row(QUEUES_OF_ONES_OWN, ALICE, &[("aws:username", &["q"])], Said::Allow),
    row(QUEUES_OF_ONES_OWN, ALICE, &[("aws:username", &["alice"])], Said::Nothing),
    row(QUEUES_OF_ONES_OWN, ALICE, &[("aws:username", &["*"])], Said::Nothing),
    row(QUEUES_OF_ONES_OWN, ALICE, &[], Said::Nothing),
    row(ALL_BUT_ALICE, ALICE, &[], Said::Nothing),
    row(ALL_BUT_ALICE, BOB, &[], Said::Deny),
    row(ALL_BUT_ALICE, SNS, &[], Said::Deny),
    row(ALL_BUT_ALICE, "anonymous", &[], Said::Deny),
    row(ALL_BUT_DELETING, ALICE, &[], Said::Allow),
    row(ALL_BUT_SENDING, ALICE, &[], Said::Nothing),
    row(OTHER_QUEUES, ALICE, &[], Said::Nothing),
    row(TAGGED, ALICE, &[("aws:resourcetag/team", &["green"])], Said::Allow),
    row(TAGGED, ALICE, &[("aws:resourcetag/team", &["red"])], Said::Nothing),
    row(
        TAGGED,
        ALICE,
        &[("aws:resourcetag/team", &["green"]), ("aws:resourcetag/locked", &["yes"])],
        Said::Nothing,
    ),
    row(WITH_MFA, ALICE, &[("aws:multifactorauthpresent", &["false"])], Said::Deny),
    row(WITH_MFA, ALICE, &[("aws:multifactorauthpresent", &["true"])], Said::Nothing),
    row(WITH_MFA, ALICE, &[], Said::Deny),
    row(FRESH_MFA, ALICE, &[("aws:multifactorauthage", &["3599"])], Said::Allow),
    row(FRESH_MFA, ALICE, &[("aws:multifactorauthage", &["3600"])], Said::Nothing),
    row(FRESH_MFA, ALICE, &[], Said::Nothing),
    row(ONE_ENDPOINT, ALICE, &[("aws:sourcevpce", &["vpce-1"])], Said::Nothing),
    row(ONE_ENDPOINT, ALICE, &[("aws:sourcevpce", &["vpce-2"])], Said::Deny),
    row(ONE_ENDPOINT, ALICE, &[], Said::Deny),
    row(NAMED_LIKE, ALICE, &[("aws:username", &["alice"])], Said::Allow),
    row(NAMED_LIKE, ALICE, &[("aws:username", &["Alice"])], Said::Nothing),
    row(NAMED_LIKE, ALICE, &[("aws:username", &["ai"])], Said::Nothing),
    row(EQUAL_IS_NO_PATTERN, ALICE, &[("aws:username", &["alice"])], Said::Nothing),
    row(EQUAL_IS_NO_PATTERN, ALICE, &[("aws:username", &["a*"])], Said::Allow),
    row(IGNORING_CASE, ALICE, &[("aws:username", &["alice"])], Said::Allow),
    row(ALL_TAGS, ALICE, &[("aws:tagkeys", &["a", "b"])], Said::Allow),
    row(ALL_TAGS, ALICE, &[("aws:tagkeys", &["a", "c"])], Said::Nothing),
    row(ALL_TAGS, ALICE, &[], Said::Allow),
    row(ANY_TAG, ALICE, &[("aws:tagkeys", &["b", "ab"])], Said::Allow),
    row(ANY_TAG, ALICE, &[("aws:tagkeys", &["b"])], Said::Nothing),
    row(ANY_TAG, ALICE, &[], Said::Nothing),
    row(FROM_ACCOUNT, ALICE, &[], Said::Allow),
    row(FROM_ACCOUNT, BOB, &[], Said::Nothing),
    row(FROM_ACCOUNT, SNS, &[], Said::Nothing),
    row(AFTER, ALICE, &[("aws:tokenissuetime", &["2026-01-01T00:00:00Z"])], Said::Deny),
    row(AFTER, ALICE, &[("aws:tokenissuetime", &["2025-12-31T23:59:59Z"])], Said::Nothing),
    row(IN_SECONDS, ALICE, &[("aws:currenttime", &["2026-01-01T00:00:00Z"])], Said::Deny),
    row(IN_SECONDS, ALICE, &[("aws:currenttime", &["2026-01-01T00:00:01Z"])], Said::Nothing),
    row(OF_A_ROLE, "assumed-role/worker/s1", &[], Said::Allow),
    row(OF_A_ROLE, "assumed-role/visitor/s1", &[], Said::Nothing),
    row(ASSUMED_WITH_ID, BOB, &[("sts:externalid", &["secret"])], Said::Allow),
    row(ASSUMED_WITH_ID, BOB, &[("sts:externalid", &["Secret"])], Said::Nothing),
    row(ASSUMED_WITH_ID, ALICE, &[("sts:externalid", &["secret"])], Said::Nothing),
];
