//! Faults: which calls they befall, and what the caller and the record see of them.

use super::harness::{Answer, Aws, FRIEND, IMAGE, OWNER, SNAPSHOT, scenario};
use crate::simulator::{Fault, FaultKind};

const ADD: &[(&str, &str)] = &[("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", FRIEND)];

fn share(aws: &Aws) -> Answer {
    aws.ec2(OWNER, "ModifyImageAttribute", ADD)
}

#[test]
fn throttling_is_503_from_ec2_and_400_from_sts() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::Throttle));
    share(&aws).is_error(503, "RequestLimitExceeded", "Request limit exceeded.");
    aws.sts(OWNER, "GetCallerIdentity", &[]).is_error(400, "Throttling", "Rate exceeded");
    aws.0.clear_faults();
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn access_denied_is_403_in_the_words_of_each_service() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::AccessDenied));
    let answer = share(&aws);
    assert_eq!((answer.status, answer.code().as_deref()), (403, Some("UnauthorizedOperation")));
    let text = answer.one("Message").unwrap();
    let begins = "You are not authorized to perform this operation. User: arn:aws:iam::111122223333:user/simulator is not \
                  authorized to perform: ec2:ModifyImageAttribute on resource:";
    assert!(text.starts_with(begins), "{text}");
    let answer = aws.sts(OWNER, "GetCallerIdentity", &[]);
    assert_eq!((answer.status, answer.code().as_deref()), (403, Some("AccessDenied")));
}

/// What is there and whose it is is looked at before IAM, for snapshots: aws.md section 1.0.
#[test]
fn who_does_not_own_a_snapshot_is_told_that_it_does_not_exist_whatever_iam_says() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::AccessDenied));
    let params = [("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")];
    let ask = |account| aws.ec2(account, "DescribeSnapshotAttribute", &params).refusal();
    assert_eq!(ask(FRIEND), (400, "InvalidSnapshot.NotFound".into()));
    assert_eq!(ask(OWNER), (403, "UnauthorizedOperation".into()));
}

#[test]
fn server_errors_come_with_a_code_or_as_a_web_page_without_one() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::ServerError { status: 500, html: false }).times(1));
    aws.0.add_fault(Fault::new(FaultKind::ServerError { status: 502, html: true }).times(1));
    assert_eq!(share(&aws).refusal(), (500, "InternalError".into()));
    let page = share(&aws);
    assert_eq!((page.status, page.code()), (502, None));
    assert!(page.body.starts_with("<html>"));
    assert_eq!(aws.0.calls()[1].code, None);
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn a_fault_is_selected_by_action_account_and_region() {
    let aws = Aws::new();
    let fault = || Fault::new(FaultKind::Throttle);
    let is_hit = |fault: Fault| {
        aws.0.clear_faults();
        aws.0.add_fault(fault);
        aws.ec2(OWNER, "DescribeImages", &[]).status == 503
    };
    assert!(is_hit(fault().on("DescribeImages").by(OWNER).in_region("us-east-1")));
    assert!(is_hit(fault().on("Describe*")));
    assert!(!is_hit(fault().on("Modify*")));
    assert!(!is_hit(fault().by(FRIEND)));
    assert!(!is_hit(fault().in_region("eu-west-1")));
}

#[test]
fn a_fault_skips_calls_then_hits_its_number_and_ends() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::Throttle).on("DescribeImages").after(1).times(2));
    let statuses: Vec<u16> = (0..5).map(|_| aws.ec2(OWNER, "DescribeImages", &[]).status).collect();
    assert_eq!(statuses, [200, 503, 503, 200, 200]);
}

#[test]
fn the_draws_of_a_fault_follow_from_the_seed() {
    let draws = |seed| -> Vec<u16> {
        let aws = Aws::of(crate::simulator::Scenario { seed: Some(seed), ..scenario() });
        aws.0.add_fault(Fault::new(FaultKind::Throttle).with_probability(0.5));
        (0..64).map(|_| aws.ec2(OWNER, "DescribeImages", &[]).status).collect()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    let hits = draws(1).iter().filter(|status| **status == 503).count();
    assert!((16..48).contains(&hits), "{hits} of 64");
}

#[test]
fn a_scenario_without_a_seed_gets_one_to_print() {
    let simulator = crate::simulator::Simulator::new(crate::simulator::Scenario::default());
    let again = crate::simulator::Scenario { seed: Some(simulator.seed()), ..Default::default() };
    assert_eq!(crate::simulator::Simulator::new(again).seed(), simulator.seed());
}

#[test]
fn a_reset_is_before_or_after_the_effect_and_recorded_without_an_answer() {
    for (kind, has_effect) in [(FaultKind::ResetBefore, false), (FaultKind::ResetAfter, true)] {
        let aws = Aws::new();
        let name = kind.name();
        aws.0.add_fault(Fault::new(kind).times(1));
        share(&aws);
        let [call] = &aws.0.calls()[..] else { panic!("one call") };
        assert_eq!((call.status, call.fault), (0, Some(name)));
        assert_eq!(!aws.launch_permissions(IMAGE).is_empty(), has_effect, "{name}");
    }
}

#[test]
fn any_error_can_be_asked_for() {
    let aws = Aws::new();
    let kind = FaultKind::Error { status: 400, code: "PendingVerification".to_owned(), message: "wait".to_owned() };
    aws.0.add_fault(Fault::new(kind));
    share(&aws).is_error(400, "PendingVerification", "wait");
}
