use proptest::prelude::*;

use super::*;

const ROLE: &str = "RoleArn=arn:aws:iam::111122223333:role/team/reader";

fn parse(body: &str) -> Result<StsRequest, StsErrorReply> {
    StsRequest::parse(b"", body.as_bytes())
}

fn refusal(body: &str) -> (StsErrorCode, String) {
    let refusal = parse(body).unwrap_err();
    (refusal.code, refusal.message.into_owned())
}

#[test]
fn query_string_and_body_are_read_together() {
    let request =
        StsRequest::parse(b"Action=GetSessionToken&Version=2011-06-15", b"DurationSeconds=900").unwrap();
    assert_eq!(
        request,
        StsRequest::GetSessionToken(GetSessionToken { duration_s: 900, duration_given: true })
    );
    assert_eq!(parse("Action=GetCallerIdentity").unwrap(), StsRequest::GetCallerIdentity);
    assert_eq!(refusal("Action=Nothing").0, StsErrorCode::InvalidAction);
    assert_eq!(refusal("Action=GetCallerIdentity&Version=1").0, StsErrorCode::InvalidAction);
    assert_eq!(refusal("").0, StsErrorCode::MissingAction);
}

#[test]
fn session_tags_are_distinct_and_none_is_reserved() {
    let tagged = |first: &str, second: &str| {
        let tags = format!("Tags.member.1.Key={first}&Tags.member.2.Key={second}");
        parse(&format!("Action=AssumeRole&{ROLE}&RoleSessionName=s1&{tags}")).map_err(|refusal| refusal.code)
    };
    assert!(tagged("team", "stage").is_ok());
    assert_eq!(tagged("team", "Team"), Err(StsErrorCode::ValidationError));
    assert_eq!(tagged("team", "AWS:x"), Err(StsErrorCode::ValidationError));
}

#[test]
fn auth_17_a_bad_session_name_has_the_recorded_text() {
    assert_eq!(
        refusal(&format!("Action=AssumeRole&{ROLE}&RoleSessionName=Session1:2")),
        (
            StsErrorCode::ValidationError,
            "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w+=,.@-]*"
                .into()
        )
    );
}

#[test]
fn auth_17_durations_end_at_their_limits() {
    let role =
        |seconds| parse(&format!("Action=AssumeRole&{ROLE}&RoleSessionName=s1&DurationSeconds={seconds}"));
    let token = |seconds| parse(&format!("Action=GetSessionToken&DurationSeconds={seconds}"));
    assert!(role(900).is_ok() && role(43_200).is_ok() && token(129_600).is_ok());
    assert!(role(899).is_err() && role(43_201).is_err() && token(129_601).is_err() && token(-1).is_err());
    assert_eq!(refusal("Action=GetSessionToken&DurationSeconds=x").0, StsErrorCode::MalformedInput);
}

#[test]
fn auth_17_a_bad_role_arn_is_invalid() {
    for arn in [
        "arn:aws:iam::111122223333:user/u",
        "arn:aws:iam::1111222233:role/reader",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let body = format!("Action=AssumeRole&RoleArn={arn}&RoleSessionName=s1");
        assert_eq!(refusal(&body), (StsErrorCode::ValidationError, format!("{arn} is invalid")));
    }
    let text = refusal("Action=AssumeRole").1;
    assert!(text.starts_with("2 validation errors detected: Value null at 'roleArn'"), "{text}");
}

#[test]
fn lists_and_tags_of_a_session_are_read() {
    let body = format!(
        "Action=AssumeRole&{ROLE}&RoleSessionName=s1&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/X\
         &Tags.member.1.Key=k&Tags.member.1.Value=v&TransitiveTagKeys.member.1=k&ExternalId=ex"
    );
    let Ok(StsRequest::AssumeRole(request)) = parse(&body) else { panic!("refused") };
    assert_eq!(request.policy_arns, ["arn:aws:iam::aws:policy/X"]);
    assert_eq!(request.tags, [("k".into(), "v".into())]);
    assert_eq!(request.transitive_tag_keys, ["k"]);
    assert_eq!((request.external_id.as_deref(), request.duration_s), (Some("ex"), 3_600));
}

#[test]
fn replies_and_errors_carry_the_namespace() {
    let credentials = Credentials {
        access_key_id: "ASIAX".into(),
        secret_access_key: String::from("secret").into(),
        session_token: "token".into(),
        expires_at_s: 1_767_323_045,
    };
    let text = String::from_utf8(credentials.render("rid")).unwrap();
    assert_eq!(
        text,
        "<GetSessionTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetSessionTokenResult>\
         <Credentials><AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token\
         </SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration></Credentials></GetSessionTokenResult>\
         <ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></GetSessionTokenResponse>"
    );
    assert!(!format!("{credentials:?}").contains("secret"));
    let denied =
        StsErrorReply::assume_role_denied("arn:aws:iam::111122223333:user/u", "arn:aws:iam::1:role/<r>");
    assert_eq!(denied.status(), 403);
    assert_eq!(
        String::from_utf8(denied.render("rid")).unwrap(),
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>\
         AccessDenied</Code><Message>User: arn:aws:iam::111122223333:user/u is not authorized to perform: \
         sts:AssumeRole on resource: arn:aws:iam::1:role/&lt;r&gt;</Message></Error><RequestId>rid</RequestId>\
         </ErrorResponse>"
    );
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_not_fatal(query in any::<Vec<u8>>(), body in any::<Vec<u8>>()) {
        let _ = StsRequest::parse(&query, &body);
    }
}
