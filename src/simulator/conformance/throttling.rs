//! EC2's token buckets. Time is paused in all of these tests: it passes when a test says so.

use std::time::Duration;

use tokio::time::advance;

use super::harness::{Answer, Aws, FRIEND, IMAGE, OWNER, REGION, scenario};
use crate::simulator::{Fault, FaultKind, ForeignLoad, Scenario, Throttling};

const PERMISSIONS: &[(&str, &str)] = &[("ImageId", IMAGE), ("Attribute", "launchPermission")];
const ADD: &[(&str, &str)] = &[("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", FRIEND)];

fn throttled(throttling: Throttling) -> Aws {
    Aws::of(Scenario { throttling, ..scenario() })
}

fn load(calls_per_second: f64) -> ForeignLoad {
    ForeignLoad::new(OWNER, REGION, "DescribeImageAttribute", calls_per_second)
}

/// How many calls pass until one is refused, which has to be for lack of a token.
#[track_caller]
fn burst(aws: &Aws, account: &str, region: &str, action: &str, params: &[(&str, &str)]) -> usize {
    for passed in 0..1000 {
        let answer: Answer = aws.send(account, region, "2016-11-15", action, params);
        if answer.status == 503 {
            answer.is_error(503, "RequestLimitExceeded", "Request limit exceeded.");
            return passed;
        }
    }
    panic!("{action} is not throttled");
}

fn reads(aws: &Aws) -> usize {
    burst(aws, OWNER, REGION, "DescribeImageAttribute", PERMISSIONS)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_throttled_unless_it_is_asked_for() {
    let aws = Aws::new();
    for _ in 0..200 {
        aws.ok(OWNER, "DescribeImageAttribute", PERMISSIONS);
    }
    assert_eq!(aws.0.throttled_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_exactly_the_documented_capacity_passes() {
    let aws = throttled(Throttling::documented());
    for (action, capacity) in [
        ("DescribeImages", 100),
        ("DescribeImageAttribute", 100),
        ("DescribeSnapshotAttribute", 100),
        ("GetImageBlockPublicAccessState", 100),
        ("ModifyImageAttribute", 100),
        ("ModifySnapshotAttribute", 100),
        ("DeregisterImage", 100),
        ("CreateTags", 100),
        ("ResetImageAttribute", 50),
        ("RegisterImage", 50),
        ("EnableImageDeprecation", 50),
        ("EnableImageBlockPublicAccess", 1),
    ] {
        assert_eq!(burst(&aws, OWNER, REGION, action, &[]), capacity, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_come_back_at_the_documented_rate_up_to_the_capacity() {
    let aws = throttled(Throttling::documented());
    for (action, per_ten_seconds, capacity) in [
        ("DescribeTags", 100, 100),
        ("CreateTags", 100, 100),
        ("ModifyImageAttribute", 50, 100),
        ("EnableImage", 50, 50),
    ] {
        burst(&aws, OWNER, REGION, action, &[]);
        advance(Duration::from_secs(10)).await;
        assert_eq!(burst(&aws, OWNER, REGION, action, &[]), per_ten_seconds, "{action}");
        advance(Duration::from_hours(1)).await;
        assert_eq!(burst(&aws, OWNER, REGION, action, &[]), capacity, "{action}");
    }
    burst(&aws, OWNER, REGION, "EnableImageBlockPublicAccess", &[]);
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(burst(&aws, OWNER, REGION, "EnableImageBlockPublicAccess", &[]), 0);
    advance(Duration::from_millis(1)).await;
    assert_eq!(burst(&aws, OWNER, REGION, "EnableImageBlockPublicAccess", &[]), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_keeps_to_the_refill_rate_is_never_refused() {
    let aws = throttled(Throttling::documented().with_bucket("DescribeImageAttribute", 1, 10.0));
    for call in 0..1000 {
        let answer = aws.ec2(OWNER, "DescribeImageAttribute", PERMISSIONS);
        assert_eq!(answer.status, 200, "call {call}");
        // In parts that are no binary fractions, each of which is added by itself.
        for part in [30, 70] {
            advance(Duration::from_millis(part)).await;
            aws.0.set_foreign_load(Vec::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_account_and_region_has_a_bucket_of_its_own() {
    let aws = throttled(Throttling::documented());
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeImages", &[]), 100);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeImageAttribute", PERMISSIONS), 100);
    assert_eq!(burst(&aws, FRIEND, REGION, "DescribeImages", &[]), 100);
    assert_eq!(burst(&aws, OWNER, "eu-west-1", "DescribeImages", &[]), 100);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeImages", &[]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_a_role_takes_from_the_buckets_of_the_roles_account() {
    let aws = throttled(Throttling::documented());
    burst(&aws, FRIEND, REGION, "DescribeTags", &[]);
    let role = [("RoleArn", "arn:aws:iam::444455556666:role/anyone"), ("RoleSessionName", "test")];
    let session = aws.sts(OWNER, "AssumeRole", &role);
    let mut headers = super::harness::headers(&session.one("AccessKeyId").unwrap(), REGION);
    headers.insert("x-amz-security-token", session.one("SessionToken").unwrap().parse().unwrap());
    let answer = aws.send_with(&headers, &super::harness::form("2016-11-15", "DescribeTags", &[]));
    assert_eq!(answer.code().as_deref(), Some("RequestLimitExceeded"));
}

#[tokio::test(start_paused = true)]
async fn listing_all_snapshots_takes_from_a_smaller_bucket() {
    let aws = throttled(Throttling::documented());
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeSnapshots", &[]), 50);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeSnapshots", &[("Owner.1", "self")]), 0);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeSnapshots", &[("MaxResults", "5")]), 100);
    advance(Duration::from_secs(1)).await;
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeSnapshots", &[]), 10);
    let filter = [("Filter.1.Name", "status"), ("Filter.1.Value.1", "completed")];
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeSnapshots", &filter), 20);
}

#[tokio::test(start_paused = true)]
async fn refused_calls_take_a_token_too_and_those_without_an_identity_or_an_action_do_not() {
    let aws = throttled(Throttling::documented().with_bucket("*", 1, 0.0));
    for _ in 0..3 {
        assert_eq!(aws.ec2("nobody", "DescribeImages", &[]).code().as_deref(), Some("InvalidClientTokenId"));
        assert_eq!(aws.ec2(OWNER, "DescribeDreams", &[]).code().as_deref(), Some("InvalidAction"));
        assert_eq!(aws.sts(OWNER, "GetCallerIdentity", &[]).status, 200);
    }
    assert_eq!(
        aws.ec2(OWNER, "DescribeImages", &[("ImageId.1", "x")]).code().as_deref(),
        Some("InvalidAMIID.Malformed")
    );
    assert_eq!(aws.ec2(OWNER, "DescribeImages", &[]).code().as_deref(), Some("RequestLimitExceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_changes_nothing_and_is_on_record_and_counted() {
    let aws = throttled(Throttling::documented().with_bucket("ModifyImageAttribute", 1, 1.0));
    aws.ok(OWNER, "ModifyImageAttribute", ADD);
    let remove = [("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", FRIEND)];
    assert_eq!(aws.ec2(OWNER, "ModifyImageAttribute", &remove).status, 503);
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
    let [passed, refused, _] = &aws.0.calls()[..] else { panic!("three calls") };
    assert!(!passed.throttled);
    assert!(refused.throttled);
    assert_eq!((refused.status, refused.code.as_deref()), (503, Some("RequestLimitExceeded")));
    assert_eq!((refused.fault, refused.params["ImageId"].as_str()), (None, IMAGE));
    assert_eq!(aws.0.throttled_calls(), 1);
    aws.0.clear_calls();
    assert_eq!(aws.0.throttled_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn throttled_calls_are_marked_in_the_calls_file_and_counted_without_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calls");
    let aws = throttled(Throttling::documented().with_bucket("*", 1, 0.0));
    let aws = Aws(aws.0.without_memory_of_calls().with_calls_file(&path).unwrap());
    aws.ec2(OWNER, "DescribeImages", &[]);
    aws.ec2(OWNER, "DescribeImages", &[]);
    let text = std::fs::read_to_string(&path).unwrap();
    let marks: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["throttled"].clone())
        .collect();
    assert_eq!(marks, [serde_json::Value::Null, serde_json::Value::Bool(true)]);
    assert_eq!(aws.0.throttled_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_meets_no_fault_and_a_lost_one_takes_no_token() {
    let aws = throttled(Throttling::documented().with_bucket("ModifyImageAttribute", 1, 1.0));
    aws.0.add_fault(Fault::new(FaultKind::ResetBefore).times(1));
    aws.ec2(OWNER, "ModifyImageAttribute", ADD);
    aws.0.add_fault(Fault::new(FaultKind::AccessDenied).after(1).times(1));
    aws.ok(OWNER, "ModifyImageAttribute", ADD);
    assert_eq!(share(&aws), Some("RequestLimitExceeded".to_owned()));
    advance(Duration::from_secs(1)).await;
    assert_eq!(share(&aws), Some("UnauthorizedOperation".to_owned()));
    assert_eq!(share(&aws), Some("RequestLimitExceeded".to_owned()), "a call that is denied takes a token");
    let faults: Vec<Option<&str>> = aws.0.calls().iter().map(|call| call.fault).collect();
    assert_eq!(faults, [Some("resetBefore"), None, None, Some("accessDenied"), None]);
}

fn share(aws: &Aws) -> Option<String> {
    aws.ec2(OWNER, "ModifyImageAttribute", ADD).code()
}

#[tokio::test(start_paused = true)]
async fn an_actor_off_the_wire_takes_no_tokens() {
    let aws = throttled(Throttling::documented().with_bucket("*", 1, 0.0));
    for _ in 0..3 {
        aws.0.call(OWNER, REGION, "DescribeImages", &[]).unwrap();
    }
    aws.ok(OWNER, "DescribeImages", &[]);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_load_starves_callers_and_they_recover_when_it_ends() {
    let aws = throttled(Throttling::documented().with_foreign_load(load(120.0)));
    // 100 tokens and 20 more each second against 120: nothing is left after one second, and nothing later.
    advance(Duration::from_millis(500)).await;
    assert_eq!(reads(&aws), 50);
    for _ in 0..10 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(reads(&aws), 0);
    }
    aws.0.set_foreign_load(Vec::new());
    assert_eq!(reads(&aws), 0);
    advance(Duration::from_secs(1)).await;
    assert_eq!(reads(&aws), 20, "the load leaves no debt");
    aws.0.set_foreign_load(vec![load(5.0), load(10.0)]);
    advance(Duration::from_secs(10)).await;
    assert_eq!(reads(&aws), 50, "several loads add up, and leave what they do not take");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_load_drains_its_own_bucket_only_also_before_the_first_call() {
    let aws = throttled(Throttling::documented());
    aws.0.set_foreign_load(vec![load(1000.0)]);
    advance(Duration::from_hours(1000)).await;
    assert_eq!(reads(&aws), 0);
    assert_eq!(burst(&aws, FRIEND, REGION, "DescribeImageAttribute", &[]), 100);
    assert_eq!(burst(&aws, OWNER, "eu-west-1", "DescribeImageAttribute", &[]), 100);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeImages", &[]), 100);
}

#[tokio::test(start_paused = true)]
async fn throttling_is_switched_off_and_on_again_with_full_buckets() {
    let aws = throttled(Throttling::documented());
    assert_eq!(reads(&aws), 100);
    aws.0.set_throttling(Throttling::default());
    aws.0.set_foreign_load(vec![load(1000.0)]);
    for _ in 0..200 {
        aws.ok(OWNER, "DescribeImageAttribute", PERMISSIONS);
    }
    aws.0.set_throttling(Throttling::documented().with_bucket("Describe*", 7, 1.0).with_bucket("*", 3, 1.0));
    assert_eq!(reads(&aws), 7);
    assert_eq!(burst(&aws, OWNER, REGION, "ModifyImageAttribute", ADD), 3);
}

#[tokio::test(start_paused = true)]
async fn a_scenario_names_buckets_that_differ_and_loads() {
    let text = r#"
throttling:
  enabled: true
  buckets:
    - {action: ModifyImageAttribute, capacity: 3, refillPerSecond: 0.5}
    - {action: "*ImageAttribute", capacity: 10, refillPerSecond: 2}
  foreignLoad:
    - {account: "111122223333", region: us-east-1, action: DescribeImageAttribute, callsPerSecond: 1}
"#;
    let throttling = Scenario::from_yaml(text).unwrap().throttling;
    assert_eq!(throttling.foreign_load, [load(1.0)]);
    let aws = throttled(throttling);
    assert_eq!(burst(&aws, OWNER, REGION, "ModifyImageAttribute", ADD), 3);
    assert_eq!(reads(&aws), 10);
    assert_eq!(burst(&aws, OWNER, REGION, "DescribeImages", &[]), 100);
    advance(Duration::from_secs(4)).await;
    assert_eq!(burst(&aws, OWNER, REGION, "ModifyImageAttribute", ADD), 2);
    assert_eq!(reads(&aws), 4);
    let off = Scenario::from_yaml(&text.replace("enabled: true", "enabled: false")).unwrap().throttling;
    let aws = throttled(off);
    for _ in 0..20 {
        aws.ok(OWNER, "ModifyImageAttribute", ADD);
    }
}

#[test]
fn mistakes_in_a_scenarios_throttling_are_named_with_their_field() {
    let bucket = |fields: &str| format!("throttling: {{enabled: true, buckets: [{{{fields}}}]}}");
    let foreign = |fields: &str| format!("throttling: {{enabled: true, foreignLoad: [{{{fields}}}]}}");
    let load = |account: &str, region: &str, action: &str, rate: &str| {
        foreign(&format!("account: '{account}', region: {region}, action: {action}, callsPerSecond: {rate}"))
    };
    for (text, expected) in [
        ("throttling: {}".to_owned(), "missing field `enabled`"),
        ("throttling: {enabled: true, bucket: []}".to_owned(), "unknown field `bucket`"),
        (bucket("action: X, capacity: 1, refillPerSecond: 1"), "throttling.buckets: X: action: no action"),
        (bucket("action: GetCallerIdentity, capacity: 1, refillPerSecond: 1"), "GetCallerIdentity: action: no action"),
        (
            bucket("action: EnableImage, capacity: 0, refillPerSecond: 1"),
            "EnableImage: capacity: a bucket holds at least",
        ),
        (bucket("action: EnableImage, capacity: -1, refillPerSecond: 1"), "capacity"),
        (
            bucket("action: EnableImage, capacity: 1, refillPerSecond: -1"),
            "EnableImage: refillPerSecond: write a number",
        ),
        (
            bucket("action: EnableImage, capacity: 1, refillPerSecond: .nan"),
            "EnableImage: refillPerSecond: write a number",
        ),
        (bucket("action: EnableImage, capacity: 1"), "missing field `refillPerSecond`"),
        (load("1", "us-east-1", "EnableImage", "1"), "throttling.foreignLoad: EnableImage: account: an account id"),
        (load(OWNER, "mars-1", "EnableImage", "1"), "EnableImage: region: the Region 'mars-1' is not enabled"),
        (load(OWNER, REGION, "Enable", "1"), "throttling.foreignLoad: Enable: action: this is no action"),
        (load(OWNER, REGION, "EnableImage", ".inf"), "EnableImage: callsPerSecond: write a number"),
        ("latencyMilliseconds: soon".to_owned(), "latencyMilliseconds"),
        ("latencyJitterMilliseconds: -1".to_owned(), "latencyJitterMilliseconds"),
    ] {
        let problem = Scenario::from_yaml(&text).unwrap_err().to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
