use super::*;

fn parse(pairs: &[(&'static str, &str)], context: AttributeContext) -> Result<AttributeChanges, ErrorReply> {
    let given: GivenAttributes<'_> =
        pairs.iter().map(|(n, v)| (Cow::Borrowed(*n), Some(Cow::Owned((*v).to_owned())))).collect();
    AttributeChanges::parse(&given, context)
}

const SET: AttributeContext = AttributeContext::Set { fifo: false };
const SET_FIFO: AttributeContext = AttributeContext::Set { fifo: true };

fn refusal(pairs: &[(&'static str, &str)], context: AttributeContext) -> (ErrorCode, String) {
    let error = parse(pairs, context).unwrap_err();
    (error.code, error.message.into_owned())
}

fn live() -> LiveAttributes {
    LiveAttributes {
        arn: QueueArn::parse("arn:aws:sqs:us-east-1:000000000000:q").unwrap(),
        visible: 1,
        not_visible: 2,
        delayed: 3,
        created_at_s: 4,
        modified_at_s: 5,
    }
}

fn names(settings: &QueueSettings) -> Vec<&'static str> {
    settings.render(RequestedAttributes::ALL, &live()).into_iter().map(|(name, _)| name).collect()
}

fn value(settings: &QueueSettings, name: &str) -> Option<String> {
    let all = settings.render(RequestedAttributes::ALL, &live());
    all.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[test]
fn all_on_a_new_queue_is_exactly_the_recorded_set() {
    assert_eq!(
        names(&QueueSettings::new(false, true)),
        [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
            "CreatedTimestamp",
            "DelaySeconds",
            "LastModifiedTimestamp",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "QueueArn",
            "ReceiveMessageWaitTimeSeconds",
            "SqsManagedSseEnabled",
            "VisibilityTimeout",
        ]
    );
    let fifo = names(&QueueSettings::new(true, true));
    for name in ["ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit"] {
        assert!(fifo.contains(&name));
    }
    assert_eq!(fifo.len(), 16);
}

#[test]
fn requested_names_select_and_unknown_ones_are_refused() {
    let settings = QueueSettings::new(false, true);
    let wanted = RequestedAttributes::parse(&["Policy".into(), "DelaySeconds".into()]).unwrap();
    assert_eq!(settings.render(wanted, &live()), [("DelaySeconds", "0".to_owned())]);
    let nothing = RequestedAttributes::parse(&[]).unwrap();
    assert!(settings.render(nothing, &live()).is_empty());
    assert_eq!(
        RequestedAttributes::parse(&["Foobar".into()]).unwrap_err(),
        ErrorReply::new(ErrorCode::InvalidAttributeName, "Unknown Attribute Foobar.")
    );
}

#[test]
fn numbers_pass_at_their_bounds_and_fail_one_past_them() {
    for (name, low, high) in [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1024, 1_048_576),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, 43_200),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ] {
        for good in [low, high] {
            assert!(parse(&[(name, &good.to_string())], SET).is_ok(), "{name} {good}");
        }
        for bad in [(low - 1).to_string(), (high + 1).to_string(), "x".into(), String::new(), "1.5".into()] {
            assert_eq!(
                refusal(&[(name, &bad)], SET),
                (ErrorCode::InvalidAttributeValue, format!("Invalid value for the parameter {name}.")),
                "{name} {bad}"
            );
        }
    }
}

#[test]
fn fifo_attributes_are_refused_on_standard_queues() {
    for (name, value, text) in [
        ("FifoQueue", "false", "Unknown Attribute FifoQueue."),
        ("ContentBasedDeduplication", "true", "Unknown Attribute ContentBasedDeduplication."),
        (
            "DeduplicationScope",
            "queue",
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        ),
        (
            "FifoThroughputLimit",
            "perQueue",
            "You can specify the FifoThroughputLimit only when FifoQueue is set to true.",
        ),
        ("QueueArn", "x", "Unknown Attribute QueueArn."),
        ("Foobar", "x", "Unknown Attribute Foobar."),
    ] {
        assert_eq!(refusal(&[(name, value)], SET), (ErrorCode::InvalidAttributeName, text.into()));
    }
    assert!(parse(&[("QueueArn", "x")], AttributeContext::Create).unwrap().given.is_empty());
    assert_eq!(
        refusal(&[("FifoQueue", "False")], SET_FIFO),
        (
            ErrorCode::InvalidAttributeValue,
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
                .into()
        )
    );
    assert!(parse(&[("FifoQueue", "TRUE")], SET_FIFO).is_ok());
}

#[test]
fn per_group_throughput_needs_group_scope_now_or_before() {
    let queue = QueueSettings::new(true, true);
    let throughput = parse(&[("FifoThroughputLimit", "perMessageGroupId")], SET_FIFO).unwrap();
    let error = queue.apply(&throughput).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidAttributeValue);
    let scope = parse(&[("DeduplicationScope", "messageGroup")], SET_FIFO).unwrap();
    let after = queue.apply(&scope).unwrap().apply(&throughput).unwrap();
    assert_eq!(value(&after, "FifoThroughputLimit").as_deref(), Some("perMessageGroupId"));
}

/// One row of the state table: what was, what is given, then mode and key.
type SseRow = (SseMode, &'static [(&'static str, &'static str)], SseMode, Option<&'static str>);

#[test]
fn sse_state_changes_follow_the_table() {
    use SseMode::{Kms, Managed, Off};
    const KEY: (&str, &str) = ("KmsMasterKeyId", "testKeyId");
    const NO_KEY: (&str, &str) = ("KmsMasterKeyId", "");
    const ON: (&str, &str) = ("SqsManagedSseEnabled", "True");
    const OFF: (&str, &str) = ("SqsManagedSseEnabled", "false");
    const PERIOD: (&str, &str) = ("KmsDataKeyReusePeriodSeconds", "60");
    let rows: &[SseRow] = &[
        (Managed, &[], Managed, None),
        (Managed, &[KEY], Kms, Some("testKeyId")),
        (Off, &[KEY], Kms, Some("testKeyId")),
        (Managed, &[KEY, OFF], Kms, Some("testKeyId")),
        (Off, &[KEY, OFF], Kms, Some("testKeyId")),
        (Kms, &[KEY, OFF], Kms, Some("testKeyId")),
        (Kms, &[ON], Managed, None),
        (Kms, &[NO_KEY], Off, None),
        (Kms, &[NO_KEY, PERIOD], Off, None),
        (Kms, &[NO_KEY, ON], Managed, None),
        (Managed, &[OFF], Off, None),
        (Managed, &[NO_KEY], Managed, None),
        (Off, &[PERIOD], Off, None),
        (Managed, &[PERIOD], Managed, None),
        (Kms, &[OFF], Kms, Some("before")),
        (Off, &[ON], Managed, None),
    ];
    for (before, given, mode, key) in rows {
        let queue = QueueSettings {
            sse: *before,
            kms_master_key_id: (*before == Kms).then(|| "before".into()),
            ..QueueSettings::new(false, true)
        };
        let after = queue.apply(&parse(given, SET).unwrap()).unwrap();
        assert_eq!((after.sse, after.kms_master_key_id.as_deref()), (*mode, *key), "{before:?} {given:?}");
        let managed = if *mode == Managed { "true" } else { "false" };
        assert_eq!(value(&after, "SqsManagedSseEnabled").as_deref(), Some(managed));
        assert_eq!(value(&after, "KmsMasterKeyId").as_deref(), *key);
        assert_eq!(value(&after, "KmsDataKeyReusePeriodSeconds").is_some(), *mode == Kms);
    }
}

#[test]
fn sse_defaults_depend_on_transport_and_on_what_create_gives() {
    let create = |pairs: &[(&'static str, &str)], over_tls| {
        QueueSettings::create(&parse(pairs, AttributeContext::Create).unwrap(), over_tls).unwrap().sse
    };
    assert_eq!(create(&[], true), SseMode::Managed);
    assert_eq!(create(&[], false), SseMode::Off);
    assert_eq!(create(&[("KmsMasterKeyId", "alias/x")], false), SseMode::Kms);
    assert_eq!(create(&[("SqsManagedSseEnabled", "false")], true), SseMode::Off);
    assert_eq!(create(&[("SqsManagedSseEnabled", "true")], false), SseMode::Managed);
}

#[test]
fn both_kinds_of_sse_and_a_null_key_are_refused() {
    assert_eq!(
        refusal(&[("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")], SET),
        (
            ErrorCode::InvalidAttributeName,
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS \
             SSE."
                .into()
        )
    );
    let null = AttributeChanges::parse(&vec![("KmsMasterKeyId".into(), None)], SET).unwrap_err();
    assert_eq!(null.code, ErrorCode::InvalidAttributeValue);
}

#[test]
fn keys_and_policies_are_returned_exactly_as_given() {
    let policy = " {\"Statement\": [ ]}\n";
    let given = parse(&[("KmsMasterKeyId", " alias/x "), ("Policy", policy)], SET).unwrap();
    let after = QueueSettings::new(false, true).apply(&given).unwrap();
    assert_eq!(value(&after, "KmsMasterKeyId").as_deref(), Some(" alias/x "));
    assert_eq!(value(&after, "Policy").as_deref(), Some(policy));
    assert!(parse(&[("DelaySeconds", " 5")], SET).is_err());
}

#[test]
fn a_reuse_period_set_before_the_key_is_used_with_it() {
    let queue = QueueSettings::new(false, true);
    let period = queue.apply(&parse(&[("KmsDataKeyReusePeriodSeconds", "60")], SET).unwrap()).unwrap();
    let kms = period.apply(&parse(&[("KmsMasterKeyId", "k")], SET).unwrap()).unwrap();
    assert_eq!(value(&kms, "KmsDataKeyReusePeriodSeconds").as_deref(), Some("60"));
    let plain = queue.apply(&parse(&[("KmsMasterKeyId", "k")], SET).unwrap()).unwrap();
    assert_eq!(value(&plain, "KmsDataKeyReusePeriodSeconds").as_deref(), Some("300"));
}

#[test]
fn creating_again_compares_normalised_values_of_what_is_given() {
    let first = [("DelaySeconds", "30"), ("Policy", r#"{"Statement":[],"Version":"2012-10-17"}"#)];
    let queue = QueueSettings::create(&parse(&first, AttributeContext::Create).unwrap(), true).unwrap();
    for same in [
        &[][..],
        &[("DelaySeconds", "030")],
        &[("Policy", r#"{ "Version": "2012-10-17", "Statement": [] }"#)],
        &[("SqsManagedSseEnabled", "TRUE"), ("KmsMasterKeyId", "")],
    ] {
        assert_eq!(queue.check_same(&parse(same, AttributeContext::Create).unwrap()), Ok(()), "{same:?}");
    }
    for (other, name) in [
        (&[("DelaySeconds", "31"), ("VisibilityTimeout", "1")][..], "DelaySeconds"),
        (&[("DelaySeconds", "30"), ("VisibilityTimeout", "1")], "VisibilityTimeout"),
        (&[("KmsMasterKeyId", "k")], "KmsMasterKeyId"),
        (&[("SqsManagedSseEnabled", "false")], "SqsManagedSseEnabled"),
        (&[("Policy", "")], "Policy"),
    ] {
        assert_eq!(
            queue.check_same(&parse(other, AttributeContext::Create).unwrap()),
            Err(ErrorReply::new(
                ErrorCode::QueueNameExists,
                format!(
                    "A queue already exists with the same name and a different value for attribute {name}"
                )
            ))
        );
    }
}

const DLQ: &str = "arn:aws:sqs:us-east-1:000000000000:dlq";

#[test]
fn redrive_policies_are_normalised() {
    for sent in [
        format!(r#"{{"deadLetterTargetArn":"{DLQ}","maxReceiveCount":5}}"#),
        format!(r#"{{ "maxReceiveCount": "5", "deadLetterTargetArn": "{DLQ}" }}"#),
    ] {
        let changes = parse(&[("RedrivePolicy", &sent)], SET).unwrap();
        let after = QueueSettings::new(false, true).apply(&changes).unwrap();
        assert_eq!(
            value(&after, "RedrivePolicy").unwrap(),
            format!(r#"{{"deadLetterTargetArn":"{DLQ}","maxReceiveCount":5}}"#)
        );
        for nothing in ["", "{}"] {
            let cleared = after.apply(&parse(&[("RedrivePolicy", nothing)], SET).unwrap()).unwrap();
            assert_eq!(cleared.redrive_policy, None);
        }
    }
}

#[test]
fn broken_redrive_policies_have_their_texts() {
    assert_eq!(
        refusal(&[("RedrivePolicy", "[1]")], SET),
        (
            ErrorCode::InvalidAttributeValue,
            "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."
                .into()
        )
    );
    for (sent, reason) in [
        (
            format!(r#"{{"deadLetterTargetArn":"{DLQ}"}}"#),
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        ),
        (
            r#"{"maxReceiveCount":1}"#.into(),
            "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.",
        ),
        (
            format!(r#"{{"deadLetterTargetArn":"{DLQ}","maxReceiveCount":1,"x":1}}"#),
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
        (
            format!(r#"{{"deadLetterTargetArn":"{DLQ}","maxReceiveCount":0}}"#),
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            format!(r#"{{"deadLetterTargetArn":"{DLQ}","maxReceiveCount":"1001"}}"#),
            "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            r#"{"deadLetterTargetArn":"dlq","maxReceiveCount":1}"#.into(),
            "Dead-letter target ARN should be fully qualified ARN.",
        ),
        (
            r#"{"deadLetterTargetArn":"arn:aws:sns:us-east-1:000000000000:t","maxReceiveCount":1}"#.into(),
            "Only SQS queues are valid resources for deadLetterTargetArn.",
        ),
    ] {
        assert_eq!(
            refusal(&[("RedrivePolicy", &sent)], SET),
            (
                ErrorCode::InvalidParameterValue,
                format!("Value {sent} for parameter RedrivePolicy is invalid. Reason: {reason}")
            )
        );
    }
}

#[test]
fn redrive_targets_are_checked_against_the_source() {
    let source = |text: &str| QueueArn::parse(text).unwrap();
    let own = source("arn:aws:sqs:us-east-1:000000000000:q");
    let policy = RedrivePolicy { dead_letter_target: source(DLQ), max_receive_count: 1 };
    let plain = |_: &QueueArn| Some(DeadLetterTarget { allow: None });
    assert_eq!(policy.check_target("T", &own, plain), Ok(()));
    let reason = |own: &QueueArn, target: Option<DeadLetterTarget>| {
        let text = policy.check_target("T", own, |_| target).unwrap_err().message.into_owned();
        text.strip_prefix("Value T for parameter RedrivePolicy is invalid. Reason: ").unwrap().to_owned()
    };
    let target = |allow| Some(DeadLetterTarget { allow });
    assert_eq!(
        reason(&source("arn:aws:sqs:us-east-1:111111111111:q"), target(None)),
        "Dead-letter target owner should be same as the source."
    );
    assert_eq!(reason(&own, None), "Dead letter target does not exist.");
    assert_eq!(
        reason(&source("arn:aws:sqs:eu-west-1:000000000000:q"), target(None)),
        "Dead letter target does not exist."
    );
    assert_eq!(
        reason(&source("arn:aws:sqs:us-east-1:000000000000:q.fifo"), target(None)),
        "Dead-letter queue must be same type of queue as the source.."
    );
    let deny = RedriveAllowPolicy { permission: RedrivePermission::DenyAll, source_queue_arns: vec![] };
    assert!(reason(&own, target(Some(deny))).contains("does not allow"));
    let by_queue = RedriveAllowPolicy {
        permission: RedrivePermission::ByQueue,
        source_queue_arns: vec![own.to_string()],
    };
    assert!(policy.check_target("T", &own, |_| target(Some(by_queue))).is_ok());
}

#[test]
fn redrive_allow_policies_are_checked() {
    let arns = |count: usize| vec![format!("\"{DLQ}\""); count].join(",");
    let by_queue =
        |count| format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":[{}]}}"#, arns(count));
    let after = QueueSettings::new(false, true)
        .apply(&parse(&[("RedriveAllowPolicy", &by_queue(10))], SET).unwrap())
        .unwrap();
    assert_eq!(value(&after, "RedriveAllowPolicy").unwrap(), by_queue(10));
    for (sent, reason) in [
        (
            "x".to_owned(),
            "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.",
        ),
        (
            format!(r#"{{"redrivePermission":"denyAll","sourceQueueArns":[{}]}}"#, arns(1)),
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (
            by_queue(0),
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        ),
        (by_queue(11), "The maximum number of source queue ARNs you can specify is 10."),
    ] {
        assert_eq!(
            refusal(&[("RedriveAllowPolicy", &sent)], SET).1,
            format!("Invalid value for the parameter RedriveAllowPolicy. Reason: {reason}")
        );
    }
}

#[test]
fn policies_are_limited_in_size_and_statements() {
    let statements = |count: usize| format!(r#"{{"Statement":[{}]}}"#, vec!["{}"; count].join(","));
    assert!(parse(&[("Policy", &statements(20))], SET).is_ok());
    assert_eq!(
        refusal(&[("Policy", &statements(22))], SET),
        (ErrorCode::OverLimit, "22 statements were found in the submitted policy, max allowed is 20".into())
    );
    let sized = |bytes: usize| format!(r#"{{"Id":"{}","Statement":[]}}"#, "x".repeat(bytes - 24));
    assert_eq!(sized(8192).len(), 8192);
    assert!(parse(&[("Policy", &sized(8192))], SET).is_ok());
    for bad in [sized(8193).as_str(), "x", "[]", "{}"] {
        assert_eq!(
            refusal(&[("Policy", bad)], SET),
            (ErrorCode::InvalidAttributeValue, "Invalid value for the parameter Policy.".into())
        );
    }
}
