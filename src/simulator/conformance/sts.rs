//! Section 1.12: identities and roles.

use jiff::SignedDuration;

use super::harness::{Answer, Aws, FRIEND, OWNER, STRANGER, form, headers};

const READER: &str = "arn:aws:iam::444455556666:role/path/reader";
const ANYONE: &str = "arn:aws:iam::444455556666:role/anyone";

fn assume(aws: &Aws, account: &str, arn: &str, external_id: &str) -> Answer {
    aws.sts(account, "AssumeRole", &[("RoleArn", arn), ("RoleSessionName", "test"), ("ExternalId", external_id)])
}

/// Sends a call with the credentials that assuming a role gave.
fn as_session(aws: &Aws, assumed: &Answer, action: &str, params: &[(&str, &str)], token: &str) -> Answer {
    let mut headers = headers(&assumed.one("AccessKeyId").unwrap(), "us-east-1");
    headers.insert("x-amz-security-token", token.parse().unwrap());
    aws.send_with(&headers, &form("2011-06-15", action, params))
}

#[test]
fn the_access_key_id_says_which_account_calls() {
    let answer = Aws::new().sts(OWNER, "GetCallerIdentity", &[]);
    assert_eq!(answer.one("Account").as_deref(), Some(OWNER));
    assert_eq!(answer.one("Arn").as_deref(), Some("arn:aws:iam::111122223333:user/simulator"));
}

#[test]
fn a_role_is_assumed_and_its_session_acts_in_the_roles_account() {
    let aws = Aws::new();
    let assumed = assume(&aws, OWNER, READER, "secret");
    assert_eq!(assumed.one("Expiration").as_deref(), Some("2026-11-21T09:00:00Z"));
    let token = assumed.one("SessionToken").unwrap();
    let who = as_session(&aws, &assumed, "GetCallerIdentity", &[], &token);
    assert_eq!(who.one("Account").as_deref(), Some(FRIEND));
    assert_eq!(who.one("Arn").as_deref(), Some("arn:aws:sts::444455556666:assumed-role/reader/test"));
    let wrong = as_session(&aws, &assumed, "GetCallerIdentity", &[], "other");
    assert_eq!(wrong.code().as_deref(), Some("InvalidClientTokenId"));
}

#[test]
fn a_session_expires() {
    let aws = Aws::new();
    let assumed = assume(&aws, OWNER, READER, "secret");
    let token = assumed.one("SessionToken").unwrap();
    aws.0.with_world(|world| world.clock.advance(SignedDuration::from_hours(1)));
    let late = as_session(&aws, &assumed, "GetCallerIdentity", &[], &token);
    assert_eq!(late.refusal(), (400, "RequestExpired".into()));
}

#[test]
fn a_role_is_denied_to_whom_it_does_not_trust_and_without_its_external_id() {
    let aws = Aws::new();
    let unknown = "arn:aws:iam::444455556666:role/unknown";
    for (account, arn, external_id) in [(STRANGER, READER, "secret"), (OWNER, READER, "guess"), (OWNER, unknown, "x")] {
        let text = format!(
            "User: arn:aws:iam::{account}:user/simulator is not authorized to perform: sts:AssumeRole on resource: {arn}"
        );
        let answer = assume(&aws, account, arn, external_id);
        answer.is_error(403, "AccessDenied", &text);
        assert!(
            answer.body.contains(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>"
            )
        );
    }
}

#[test]
fn a_session_is_no_longer_than_the_role_allows_and_a_sessions_session_than_an_hour() {
    let aws = Aws::new();
    let params = |seconds| [("RoleArn", ANYONE), ("RoleSessionName", "test"), ("DurationSeconds", seconds)];
    let code = |seconds| aws.sts(STRANGER, "AssumeRole", &params(seconds)).code();
    assert_eq!(code("7200"), None);
    for seconds in ["7201", "899"] {
        assert_eq!(code(seconds).as_deref(), Some("ValidationError"));
    }
    let assumed = assume(&aws, OWNER, READER, "secret");
    let token = assumed.one("SessionToken").unwrap();
    let chained = |seconds| as_session(&aws, &assumed, "AssumeRole", &params(seconds), &token).code();
    assert_eq!(chained("3600"), None);
    assert_eq!(chained("3601").as_deref(), Some("ValidationError"));
}

#[test]
fn a_session_has_a_name_and_what_would_limit_it_is_refused() {
    let aws = Aws::new();
    for name in ["x", "a b", &"n".repeat(65)] {
        let answer = aws.sts(OWNER, "AssumeRole", &[("RoleArn", ANYONE), ("RoleSessionName", name)]);
        assert_eq!(answer.code().as_deref(), Some("ValidationError"), "{name}");
    }
    let policy = [("RoleArn", ANYONE), ("RoleSessionName", "test"), ("Policy", "{}")];
    assert_eq!(aws.sts(OWNER, "AssumeRole", &policy).code().as_deref(), Some("UnsupportedOperation"));
}

#[test]
fn sts_has_its_own_words_for_a_region_that_is_not_opted_in_to() {
    let answer = Aws::new().send(OWNER, "af-south-1", "2011-06-15", "GetCallerIdentity", &[]);
    assert_eq!((answer.status, answer.code().as_deref()), (403, Some("RegionDisabledException")));
}
