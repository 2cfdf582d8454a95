//! Section 1.11: KMS keys and grants, over KMS's own protocol.

use std::time::Duration;

use hyper::header::HeaderName;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::advance;

use super::harness::{Aws, CLOSED, FRIEND, OWNER, REGION, STRANGER, headers, scenario};
use crate::simulator::{Fault, FaultKind, KeyGrant, KeyScenario, KeyState, Scenario, Throttling};

pub(super) const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/22222222-3333-4444-8555-666666666666";
const DEFAULT_KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-4333-8444-555555555555";
const MULTI: &str = "arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef";
const REPLICA: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef";
const READER: &str = "arn:aws:iam::444455556666:role/path/reader";

/// Status and content of the answer to a call of KMS.
pub(super) fn kms(aws: &Aws, account: &str, region: &str, action: &str, content: &Value) -> (u16, Value) {
    let mut headers = headers(account, region);
    let target = format!("TrentService.{action}");
    headers.insert(HeaderName::from_static("x-amz-target"), target.parse().unwrap());
    let answer = aws.send_with(&headers, &content.to_string());
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// A call of the owner in the usual Region that has to succeed.
#[track_caller]
fn ok(aws: &Aws, action: &str, content: &Value) -> Value {
    let (status, answer) = kms(aws, OWNER, REGION, action, content);
    assert_eq!(status, 200, "{action}: {answer}");
    answer
}

/// The error of a call that has to be refused with status 400.
#[track_caller]
fn refusal(aws: &Aws, account: &str, action: &str, content: &Value) -> (String, String) {
    let (status, answer) = kms(aws, account, REGION, action, content);
    assert_eq!(status, 400, "{action}: {answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("__type"), text("message"))
}

fn root(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// What a request for a grant to the account says.
pub(super) fn grant(key: &str, grantee: &str, name: &str) -> Value {
    let operations = [
        "CreateGrant",
        "Decrypt",
        "DescribeKey",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    ];
    json!({"KeyId": key, "GranteePrincipal": grantee, "Operations": operations, "Name": name})
}

fn grants(aws: &Aws) -> Vec<Value> {
    ok(aws, "ListGrants", &json!({"KeyId": KEY}))["Grants"].as_array().unwrap().clone()
}

#[test]
fn a_key_is_described_by_id_and_arn_and_says_who_looks_after_it() {
    let aws = Aws::new();
    for (name, manager) in [(KEY, "CUSTOMER"), (DEFAULT_KEY, "AWS"), (KEY.rsplit('/').next().unwrap(), "CUSTOMER")] {
        let metadata = &ok(&aws, "DescribeKey", &json!({"KeyId": name}))["KeyMetadata"];
        assert_eq!((&metadata["KeyManager"], &metadata["KeyState"]), (&json!(manager), &json!("Enabled")));
        assert_eq!(metadata["MultiRegion"], false);
    }
    let unknown = json!({"KeyId": "33333333-3333-4444-8555-666666666666"});
    assert_eq!(refusal(&aws, OWNER, "DescribeKey", &unknown).0, "NotFoundException");
    let elsewhere = json!({"KeyId": KEY.replace("us-east-1", "eu-west-1")});
    assert_eq!(refusal(&aws, OWNER, "DescribeKey", &elsewhere).0, "InvalidArnException");
}

#[test]
fn an_alias_names_a_key_for_describing_and_for_nothing_else() {
    let aws = Aws::new();
    aws.0.with_world(|world| world.key_mut(KEY).unwrap().aliases.insert("alias/images".into()));
    for name in ["alias/images", "arn:aws:kms:us-east-1:111122223333:alias/images"] {
        assert_eq!(ok(&aws, "DescribeKey", &json!({"KeyId": name}))["KeyMetadata"]["Arn"], KEY);
        assert_eq!(refusal(&aws, OWNER, "ListGrants", &json!({"KeyId": name})).0, "NotFoundException");
    }
    assert_eq!(refusal(&aws, OWNER, "DescribeKey", &json!({"KeyId": "alias/other"})).0, "NotFoundException");
}

#[test]
fn a_multi_region_key_has_one_id_and_grants_of_its_own_in_each_region() {
    let keys = [MULTI, REPLICA].map(|arn| KeyScenario { arn: arn.into(), ..KeyScenario::default() });
    let aws = Aws::of(Scenario { keys: keys.into(), ..scenario() });
    let metadata = &ok(&aws, "DescribeKey", &json!({"KeyId": MULTI}))["KeyMetadata"];
    assert_eq!(metadata["MultiRegion"], true);
    let regions = &metadata["MultiRegionConfiguration"];
    let [primary, replica] = [&regions["PrimaryKey"]["Arn"], &regions["ReplicaKeys"][0]["Arn"]].map(Value::to_string);
    assert_eq!(
        std::collections::BTreeSet::from([primary, replica]),
        [MULTI, REPLICA].map(|arn| format!("\"{arn}\"")).into()
    );

    ok(&aws, "CreateGrant", &grant(MULTI, &root(FRIEND), "a"));
    let there = kms(&aws, OWNER, "eu-west-1", "ListGrants", &json!({"KeyId": REPLICA})).1;
    assert_eq!(there["Grants"], json!([]));
}

#[test]
fn a_grant_is_listed_as_it_was_made_until_it_is_revoked() {
    let aws = Aws::new();
    let made = ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "amishare:1"));
    let id = made["GrantId"].as_str().unwrap();
    assert_eq!(id.len(), 64);
    let [listed] = &grants(&aws)[..] else { panic!() };
    assert_eq!(listed["GrantId"], id);
    assert_eq!((&listed["Name"], &listed["KeyId"]), (&json!("amishare:1"), &json!(KEY)));
    assert_eq!((&listed["GranteePrincipal"], &listed["IssuingAccount"]), (&json!(root(FRIEND)), &json!(root(OWNER))));
    assert_eq!(listed["Operations"].as_array().unwrap().len(), 7);
    assert!(listed["CreationDate"].is_number());

    ok(&aws, "RevokeGrant", &json!({"KeyId": KEY, "GrantId": id}));
    assert!(grants(&aws).is_empty());
    assert_eq!(refusal(&aws, OWNER, "RevokeGrant", &json!({"KeyId": KEY, "GrantId": id})).0, "NotFoundException");
}

#[test]
fn the_same_request_with_the_same_name_gives_the_same_grant_and_any_other_gives_another() {
    let aws = Aws::new();
    let make = |request: &Value| ok(&aws, "CreateGrant", request)["GrantId"].to_string();
    let named = grant(KEY, &root(FRIEND), "a");
    let first = make(&named);
    assert_eq!(make(&named), first);
    let mut fewer = named.clone();
    fewer["Operations"] = json!(["Decrypt"]);
    assert_ne!(make(&fewer), first, "other operations");
    assert_ne!(make(&grant(KEY, &root(FRIEND), "b")), first, "another name");
    let mut unnamed = named;
    unnamed.as_object_mut().unwrap().remove("Name");
    assert_ne!(make(&unnamed), make(&unnamed), "without a name every call makes one");
    assert_eq!(grants(&aws).len(), 5);
}

#[test]
fn a_grant_can_be_given_to_accounts_roles_and_sessions_that_exist() {
    let aws = Aws::new();
    let session = "arn:aws:sts::444455556666:assumed-role/reader/test";
    for grantee in [&root(FRIEND), READER, session, "arn:aws:iam::444455556666:user/simulator"] {
        ok(&aws, "CreateGrant", &grant(KEY, grantee, "a"));
    }
    let unknown = "arn:aws:iam::444455556666:role/unknown";
    for (grantee, text) in [
        (unknown, format!("ARN does not refer to a valid principal: {unknown}")),
        (&root(CLOSED), format!("ARN does not refer to a valid principal: {}", root(CLOSED))),
        (FRIEND, format!("ARN is not valid: {FRIEND}")),
        (
            "arn:aws:organizations::111122223333:organization/o-abcdefghij",
            "ARN does not refer to a valid principal: arn:aws:organizations::111122223333:organization/o-abcdefghij"
                .into(),
        ),
    ] {
        let found = refusal(&aws, OWNER, "CreateGrant", &grant(KEY, grantee, "a"));
        assert_eq!(found, ("InvalidArnException".into(), text));
    }
}

#[test]
fn what_cannot_be_in_a_grant_is_refused() {
    let aws = Aws::new();
    let with = |name: &str, value: Value| {
        let mut request = grant(KEY, &root(FRIEND), "a");
        request[name] = value;
        refusal(&aws, OWNER, "CreateGrant", &request).0
    };
    for (name, value) in [
        ("Operations", json!([])),
        ("Operations", json!(["Launch"])),
        ("Operations", json!(["Sign"])),
        ("Name", json!("with space")),
        ("Name", json!("n".repeat(257))),
        ("GranteePrincipal", json!("arn:aws:iam::444455556666:role/with space")),
    ] {
        assert_eq!(with(name, value.clone()), "ValidationException", "{name}: {value}");
    }
    assert_eq!(with("Nonsense", json!("x")), "UnknownParameter");
    assert_eq!(with("GranteeServicePrincipal", json!("ec2.amazonaws.com")), "UnsupportedOperation");
    assert!(grants(&aws).is_empty());
}

#[test]
fn listings_come_in_pages_and_can_ask_for_one_grantee() {
    let aws = Aws::new();
    for number in 0..120 {
        ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), &format!("n-{number}")));
    }
    ok(&aws, "CreateGrant", &grant(KEY, &root(STRANGER), "other"));
    let (mut sizes, mut marker) = (Vec::new(), Value::Null);
    loop {
        let page = ok(&aws, "ListGrants", &json!({"KeyId": KEY, "Marker": marker}));
        sizes.push(page["Grants"].as_array().unwrap().len());
        marker = page["NextMarker"].clone();
        assert_eq!(page["Truncated"], !marker.is_null());
        if marker.is_null() {
            break;
        }
    }
    assert_eq!(sizes, [50, 50, 21]);
    let of = |content: &Value| ok(&aws, "ListGrants", content)["Grants"].as_array().unwrap().len();
    assert_eq!(of(&json!({"KeyId": KEY, "Limit": 100})), 100);
    assert_eq!(of(&json!({"KeyId": KEY, "GranteePrincipal": root(STRANGER)})), 1);
    assert_eq!(refusal(&aws, OWNER, "ListGrants", &json!({"KeyId": KEY, "Limit": 101})).0, "ValidationException");
    assert_eq!(refusal(&aws, OWNER, "ListGrants", &json!({"KeyId": KEY, "Marker": "x"})).0, "InvalidMarkerException");
}

#[test]
fn a_key_that_cannot_be_used_gives_no_grant_and_lets_go_of_those_it_has() {
    let aws = Aws::new();
    for (state, code) in
        [(KeyState::Disabled, "DisabledException"), (KeyState::PendingDeletion, "KMSInvalidStateException")]
    {
        let id = ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "a"))["GrantId"].clone();
        aws.0.with_world(|world| world.key_mut(KEY).unwrap().state = state);
        assert_eq!(refusal(&aws, OWNER, "CreateGrant", &grant(KEY, &root(FRIEND), "b")).0, code);
        assert_eq!(grants(&aws).len(), 1);
        ok(&aws, "RevokeGrant", &json!({"KeyId": KEY, "GrantId": id}));
        aws.0.with_world(|world| world.key_mut(KEY).unwrap().state = KeyState::Enabled);
    }
}

#[test]
fn the_owner_disables_enables_and_deletes_a_key_and_nobody_changes_the_one_of_aws() {
    let aws = Aws::new();
    let state = || ok(&aws, "DescribeKey", &json!({"KeyId": KEY}))["KeyMetadata"]["KeyState"].clone();
    let key = json!({"KeyId": KEY});
    for (action, then) in [
        ("DisableKey", "Disabled"),
        ("EnableKey", "Enabled"),
        ("ScheduleKeyDeletion", "PendingDeletion"),
        ("CancelKeyDeletion", "Disabled"),
    ] {
        ok(&aws, action, &key);
        assert_eq!(state(), then, "{action}");
    }
    let soon = json!({"KeyId": KEY, "PendingWindowInDays": 6});
    assert_eq!(refusal(&aws, OWNER, "ScheduleKeyDeletion", &soon).0, "ValidationException");
    // Its policy lets nobody do that.
    assert_eq!(refusal(&aws, OWNER, "DisableKey", &json!({"KeyId": DEFAULT_KEY})).0, "AccessDeniedException");
    assert_eq!(refusal(&aws, OWNER, "CreateGrant", &grant(DEFAULT_KEY, &root(FRIEND), "a")).0, "AccessDeniedException");
}

#[test]
fn a_key_has_as_many_grants_as_its_quota_and_a_repeated_request_needs_no_room() {
    let mut scenario = scenario();
    scenario.quotas.grants_per_key = 1;
    let aws = Aws::of(scenario);
    ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "a"));
    ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "a"));
    assert_eq!(refusal(&aws, OWNER, "CreateGrant", &grant(KEY, &root(FRIEND), "b")).0, "LimitExceededException");
}

#[test]
fn other_accounts_do_with_a_key_what_its_policy_or_a_grant_lets_them() {
    let aws = Aws::new();
    let (describe, list) = (json!({"KeyId": KEY}), json!({"KeyId": KEY}));
    let (code, text) = refusal(&aws, FRIEND, "DescribeKey", &describe);
    assert_eq!(code, "AccessDeniedException");
    assert!(text.contains("kms:DescribeKey on this resource because"), "{text}");

    ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "a"));
    assert_eq!(kms(&aws, FRIEND, REGION, "DescribeKey", &describe).0, 200, "by the grant");
    assert_eq!(refusal(&aws, FRIEND, "ListGrants", &list).0, "AccessDeniedException");
    let lesser = json!({"KeyId": KEY, "GranteePrincipal": READER, "Operations": ["Decrypt"], "Name": "mine"});
    assert_eq!(kms(&aws, FRIEND, REGION, "CreateGrant", &lesser).0, 200, "by the grant's CreateGrant");
    let more = json!({"KeyId": KEY, "GranteePrincipal": READER, "Operations": ["Encrypt"], "Name": "mine"});
    assert_eq!(refusal(&aws, FRIEND, "CreateGrant", &more).0, "AccessDeniedException", "more than it has itself");

    let policy = json!({"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": root(OWNER)}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": STRANGER}, "Action": "kms:ListGrants", "Resource": "*"},
    ]});
    ok(&aws, "PutKeyPolicy", &json!({"KeyId": KEY, "Policy": policy.to_string()}));
    assert_eq!(kms(&aws, STRANGER, REGION, "ListGrants", &list).0, 200, "by the policy");
    assert_eq!(refusal(&aws, STRANGER, "GetKeyPolicy", &list).0, "AccessDeniedException");
    let read = ok(&aws, "GetKeyPolicy", &list)["Policy"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), policy);
}

#[test]
fn a_policy_can_keep_the_keys_own_account_out() {
    let aws = Aws::new();
    aws.0.with_world(|world| world.key_mut(KEY).unwrap().policy = json!({"Statement": []}).to_string());
    let (code, text) = refusal(&aws, OWNER, "CreateGrant", &grant(KEY, &root(FRIEND), "a"));
    assert_eq!(code, "AccessDeniedException");
    assert!(text.contains(&format!("kms:CreateGrant on resource: {KEY}")), "{text}");
}

#[test]
fn a_grant_is_retired_by_whom_it_names_for_that() {
    let aws = Aws::new();
    let mut request = grant(KEY, &root(FRIEND), "a");
    request["RetiringPrincipal"] = json!(root(STRANGER));
    let id = ok(&aws, "CreateGrant", &request)["GrantId"].clone();
    let retire = json!({"KeyId": KEY, "GrantId": id});
    assert_eq!(refusal(&aws, FRIEND, "RetireGrant", &retire).0, "AccessDeniedException");
    assert_eq!(kms(&aws, STRANGER, REGION, "RetireGrant", &retire).0, 200);
    assert!(grants(&aws).is_empty());
}

#[test]
fn a_grant_takes_a_while_to_show_and_to_have_an_effect() {
    let aws = Aws::of(Scenario { grant_delay_milliseconds: 5000, ..scenario() });
    let request = grant(KEY, &root(FRIEND), "a");
    let id = ok(&aws, "CreateGrant", &request)["GrantId"].clone();
    assert!(grants(&aws).is_empty());
    assert_eq!(refusal(&aws, FRIEND, "DescribeKey", &json!({"KeyId": KEY})).0, "AccessDeniedException");
    assert_eq!(ok(&aws, "CreateGrant", &request)["GrantId"], id, "a repeated request knows it at once");
    aws.0.with_world(|world| world.clock.advance(SignedDuration::from_secs(5)));
    assert_eq!(grants(&aws).len(), 1);
    assert_eq!(kms(&aws, FRIEND, REGION, "DescribeKey", &json!({"KeyId": KEY})).0, 200);
}

#[test]
fn a_dry_run_changes_nothing() {
    let aws = Aws::new();
    let mut request = grant(KEY, &root(FRIEND), "a");
    request["DryRun"] = json!(true);
    let (status, answer) = kms(&aws, OWNER, REGION, "CreateGrant", &request);
    assert_eq!((status, &answer["__type"]), (412, &json!("DryRunOperationException")));
    assert!(grants(&aws).is_empty());
}

#[test]
fn faults_have_the_words_of_kms() {
    let aws = Aws::new();
    let list = json!({"KeyId": KEY});
    for (kind, status, code) in [
        (FaultKind::Throttle, 400, "ThrottlingException"),
        (FaultKind::AccessDenied, 400, "AccessDeniedException"),
        (FaultKind::ServerError { status: 500, html: false }, 500, "KMSInternalException"),
    ] {
        aws.0.add_fault(Fault::new(kind).on("ListGrants").times(1));
        let (found, answer) = kms(&aws, OWNER, REGION, "ListGrants", &list);
        assert_eq!((found, &answer["__type"]), (status, &json!(code)));
    }
    assert_eq!(refusal(&aws, OWNER, "Encrypt", &list).0, "UnknownOperationException");
    assert_eq!(refusal(&aws, CLOSED, "ListGrants", &list).0, "UnrecognizedClientException");
}

#[tokio::test(start_paused = true)]
async fn kms_has_request_rates_too() {
    let throttling = Throttling { enabled: true, ..Throttling::default() };
    let aws = Aws::of(Scenario { throttling, ..scenario() });
    let revoke = json!({"KeyId": KEY, "GrantId": "none"});
    let burst =
        || (0..1000).take_while(|_| refusal(&aws, OWNER, "RevokeGrant", &revoke).0 == "NotFoundException").count();
    assert_eq!(burst(), 50);
    advance(Duration::from_millis(200)).await;
    assert_eq!(burst(), 10);
}

#[test]
fn the_record_of_calls_has_those_of_kms_with_flat_parameters() {
    let aws = Aws::new();
    ok(&aws, "CreateGrant", &grant(KEY, &root(FRIEND), "a"));
    let [call] = &aws.0.calls()[..] else { panic!() };
    assert_eq!((call.action.as_str(), call.status), ("CreateGrant", 200));
    assert_eq!(call.params["Operations.1"], "CreateGrant");
    assert_eq!(call.params["GranteePrincipal"], root(FRIEND));
}

#[test]
fn an_actor_behind_the_operators_back_makes_grants_too() {
    let aws = Aws::new();
    let params = [("KeyId", KEY), ("GranteePrincipal", "arn:aws:iam::444455556666:root"), ("Operations.1", "Decrypt")];
    let answer = aws.0.call(OWNER, REGION, "CreateGrant", &params).unwrap();
    let id = serde_json::from_str::<Value>(&answer).unwrap()["GrantId"].as_str().unwrap().to_owned();
    let of_ebs = |grant: &KeyGrant| grant.id == id && grant.name.is_none();
    assert!(aws.0.with_world(|world| world.key(KEY).unwrap().grants.values().all(of_ebs)));
}
