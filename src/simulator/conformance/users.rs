//! Sections 1.6 and 1.8: who uses an image, and what comes back when it was taken away too soon.

use jiff::SignedDuration;

use super::harness::{Aws, FRIEND, IMAGE, OWNER, REGION, SNAPSHOT, STRANGER, scenario};
use crate::simulator::{InstanceScenario, InstanceState, Scenario};

fn instance(number: u8, account: &str, state: InstanceState) -> InstanceScenario {
    InstanceScenario {
        id: format!("i-0123456789abcdef{number}"),
        region: REGION.into(),
        account: account.into(),
        image_id: IMAGE.into(),
        state,
    }
}

/// Two instances of a friend's, one that is gone, and one of the owner's.
fn with_instances() -> Aws {
    let instances = vec![
        instance(0, FRIEND, InstanceState::Running),
        instance(1, FRIEND, InstanceState::Stopped),
        instance(2, STRANGER, InstanceState::Terminated),
        instance(3, OWNER, InstanceState::Running),
    ];
    Aws::of(Scenario { instances, ..scenario() })
}

fn pass(aws: &Aws, time: SignedDuration) {
    aws.0.with_world(|world| world.clock.advance(time));
}

#[test]
fn an_account_sees_its_own_instances_by_image_and_state() {
    let aws = with_instances();
    let ids = |account: &str, more: &[(&str, &str)]| {
        let params = [&[("Filter.1.Name", "image-id"), ("Filter.1.Value.1", IMAGE)], more].concat();
        aws.ok(account, "DescribeInstances", &params).all("instanceId")
    };
    assert_eq!(ids(OWNER, &[]), ["i-0123456789abcdef3"]);
    let running = [("Filter.2.Name", "instance-state-name"), ("Filter.2.Value.1", "running")];
    assert_eq!(ids(FRIEND, &running), ["i-0123456789abcdef0"]);
    let answer = aws.ok(STRANGER, "DescribeInstances", &[]);
    assert_eq!((answer.one("code").as_deref(), answer.one("name").as_deref()), (Some("48"), Some("terminated")));
    let odd = [("Filter.1.Name", "vpc"), ("Filter.1.Value.1", "x")];
    assert_eq!(aws.ec2(OWNER, "DescribeInstances", &odd).refusal(), (400, "InvalidParameterValue".into()));
}

#[test]
fn the_owner_of_an_image_has_reports_made_of_which_other_accounts_use_it() {
    let aws = with_instances();
    let make = |more: &[(&str, &str)]| {
        let params = [&[("ImageId", IMAGE), ("ResourceType.1.ResourceType", "ec2:Instance")], more].concat();
        aws.ec2(OWNER, "CreateImageUsageReport", &params)
    };
    let report = make(&[("ClientToken", "one")]).one("reportId").unwrap();
    assert_eq!(make(&[("ClientToken", "one")]).one("reportId").unwrap(), report);
    let other = make(&[("ClientToken", "one"), ("AccountId.1", FRIEND)]);
    assert_eq!(other.refusal(), (400, "IdempotentParameterMismatch".into()));
    let of = [("ReportId.1", report.as_str())];
    let state = || aws.ok(OWNER, "DescribeImageUsageReports", &of).one("state");
    let entries = || aws.ok(OWNER, "DescribeImageUsageReportEntries", &of);
    assert_eq!(state().as_deref(), Some("pending"));
    assert!(entries().all("accountId").is_empty());
    pass(&aws, SignedDuration::from_secs(10));
    assert_eq!(state().as_deref(), Some("available"));
    assert_eq!(
        (entries().all("accountId"), entries().one("usageCount").as_deref()),
        (vec![FRIEND.to_owned()], Some("2"))
    );
    assert!(aws.ok(FRIEND, "DescribeImageUsageReports", &[]).all("reportId").is_empty());

    let narrow = make(&[("AccountId.1", STRANGER)]).one("reportId").unwrap();
    pass(&aws, SignedDuration::from_secs(10));
    let answer = aws.ok(OWNER, "DescribeImageUsageReportEntries", &[("ReportId.1", &narrow)]);
    assert!(answer.all("accountId").is_empty(), "an instance that is gone uses nothing");
    aws.ok(OWNER, "DeleteImageUsageReport", &[("ReportId", &narrow)]);
    assert_eq!(aws.ec2(OWNER, "DeleteImageUsageReport", &[("ReportId", &narrow)]).status, 400);
    pass(&aws, SignedDuration::from_hours(30 * 24));
    assert_eq!(state(), None, "it is kept for 30 days");
}

#[test]
fn a_report_is_for_the_owner_and_about_resources_that_there_are() {
    let aws = with_instances();
    let make = |account: &str, resource: &str| {
        let params = [("ImageId", IMAGE), ("ResourceType.1.ResourceType", resource)];
        aws.ec2(account, "CreateImageUsageReport", &params).refusal()
    };
    assert_eq!(make(FRIEND, "ec2:Instance"), (400, "AuthFailure".into()));
    assert_eq!(make(OWNER, "ec2:Volume"), (400, "InvalidParameterValue".into()));
    let nothing = [("ImageId", IMAGE)];
    assert_eq!(aws.ec2(OWNER, "CreateImageUsageReport", &nothing).refusal(), (400, "MissingParameter".into()));
}

#[test]
fn with_a_rule_an_image_and_its_snapshots_come_back_from_the_recycle_bin_as_they_were() {
    let aws = Aws::of(Scenario { recycle_bin_days: Some(7), ..scenario() });
    aws.share(IMAGE, FRIEND);
    let delete = [("ImageId", IMAGE), ("DeleteAssociatedSnapshots", "true")];
    aws.ok(OWNER, "DeregisterImage", &delete);
    assert!(aws.images(OWNER, &[("ImageId.1", IMAGE)]).is_empty());
    let listed = aws.ok(OWNER, "ListImagesInRecycleBin", &[]);
    assert_eq!(listed.all("imageId"), [IMAGE]);
    assert_eq!(listed.one("recycleBinExitTime").as_deref(), Some("2026-11-28T08:00:00.000Z"));
    assert_eq!(aws.ok(OWNER, "ListSnapshotsInRecycleBin", &[]).all("snapshotId"), [SNAPSHOT]);
    assert!(aws.ok(FRIEND, "ListImagesInRecycleBin", &[]).all("imageId").is_empty());
    assert_eq!(aws.ec2(FRIEND, "RestoreImageFromRecycleBin", &[("ImageId", IMAGE)]).status, 400);
    aws.ok(OWNER, "RestoreSnapshotFromRecycleBin", &[("SnapshotId", SNAPSHOT)]);
    aws.ok(OWNER, "RestoreImageFromRecycleBin", &[("ImageId", IMAGE)]);
    assert_eq!(aws.images(FRIEND, &[("ImageId.1", IMAGE)]), [IMAGE]);
    assert!(aws.ok(OWNER, "ListImagesInRecycleBin", &[]).all("imageId").is_empty());

    aws.ok(OWNER, "DeregisterImage", &delete);
    pass(&aws, SignedDuration::from_hours(7 * 24));
    assert!(aws.ok(OWNER, "ListSnapshotsInRecycleBin", &[]).all("snapshotId").is_empty());
    let gone = aws.ec2(OWNER, "RestoreImageFromRecycleBin", &[("ImageId", IMAGE)]);
    assert_eq!(gone.refusal(), (400, "InvalidAMIID.NotFound".into()));
}

#[test]
fn without_a_rule_nothing_comes_back() {
    let aws = Aws::new();
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", IMAGE), ("DeleteAssociatedSnapshots", "true")]);
    assert!(aws.ok(OWNER, "ListImagesInRecycleBin", &[]).all("imageId").is_empty());
    assert_eq!(aws.ec2(OWNER, "RestoreSnapshotFromRecycleBin", &[("SnapshotId", SNAPSHOT)]).status, 400);
}
