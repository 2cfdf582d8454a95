//! Section 1.6: registering, deregistering, disabling, deprecating and protecting images.

use jiff::SignedDuration;

use super::harness::{Aws, FRIEND, IMAGE, KEY_IMAGE, KEY_SNAPSHOT, OWNER, REGION, SNAPSHOT};

fn register(aws: &Aws, name: &str) -> super::harness::Answer {
    let params = [
        ("Name", name),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", SNAPSHOT),
    ];
    aws.ec2(OWNER, "RegisterImage", &params)
}

#[test]
fn an_image_is_registered_of_a_snapshot() {
    let aws = Aws::new();
    let id = register(&aws, "mine").one("imageId").unwrap();
    let answer = aws.ok(OWNER, "DescribeImages", &[("ImageId.1", &id)]);
    assert_eq!((answer.one("snapshotId").as_deref(), answer.one("name").as_deref()), (Some(SNAPSHOT), Some("mine")));
}

#[test]
fn a_name_is_unique_until_its_image_is_deregistered() {
    let aws = Aws::new();
    register(&aws, "base").is_error(
        400,
        "InvalidAMIName.Duplicate",
        &format!("AMI name base is already in use by AMI {IMAGE}"),
    );
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    assert_eq!(register(&aws, "base").status, 200);
}

#[test]
fn a_name_has_3_to_128_characters_of_a_fixed_set() {
    for name in ["ab", "a*b", &"a".repeat(129)] {
        assert_eq!(register(&Aws::new(), name).refusal(), (400, "InvalidAMIName.Malformed".into()), "{name}");
    }
}

#[test]
fn the_snapshot_of_a_new_image_has_to_exist_and_be_mapped_to_the_root_device() {
    let aws = Aws::new();
    let mut params = [
        ("Name", "mine"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", super::harness::UNKNOWN_SNAPSHOT),
    ];
    assert_eq!(aws.ec2(OWNER, "RegisterImage", &params).code().as_deref(), Some("InvalidSnapshot.NotFound"));
    params[3].1 = SNAPSHOT;
    params[1].1 = "/dev/sda1";
    assert_eq!(aws.ec2(OWNER, "RegisterImage", &params).code().as_deref(), Some("InvalidParameterValue"));
}

#[test]
fn deregistering_twice_says_that_the_image_is_no_longer_available() {
    let aws = Aws::new();
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    let text = format!("The image ID '{IMAGE}' is no longer available");
    aws.refused(OWNER, "DeregisterImage", &[("ImageId", IMAGE)], "InvalidAMIID.Unavailable", &text);
}

#[test]
fn deregistering_leaves_snapshots_unless_asked_and_those_that_others_need() {
    let aws = Aws::new();
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", KEY_IMAGE)]);
    assert!(aws.0.with_world(|world| world.snapshot(REGION, KEY_SNAPSHOT).is_some()));

    let second = register(&aws, "second").one("imageId").unwrap();
    let deregister = |id: &str| {
        let answer = aws.ok(OWNER, "DeregisterImage", &[("ImageId", id), ("DeleteAssociatedSnapshots", "true")]);
        (answer.one("snapshotId").unwrap(), answer.one("returnCode").unwrap())
    };
    assert_eq!(deregister(&second), (SNAPSHOT.to_owned(), "skipped".to_owned()));
    assert_eq!(deregister(IMAGE), (SNAPSHOT.to_owned(), "success".to_owned()));
    assert!(aws.0.with_world(|world| world.snapshot(REGION, SNAPSHOT).is_none()));
}

#[test]
fn disabling_removes_all_permissions_and_enabling_does_not_bring_them_back() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.share(IMAGE, "all");
    aws.ok(OWNER, "DisableImage", &[("ImageId", IMAGE)]);
    assert!(aws.0.launch_permissions(REGION, IMAGE).is_empty());
    assert!(aws.images(FRIEND, &[("IncludeDisabled", "true")]).is_empty());
    let again = aws.ec2(OWNER, "DisableImage", &[("ImageId", IMAGE)]);
    assert_eq!(again.refusal(), (400, "IncorrectState".into()));
    aws.ok(OWNER, "EnableImage", &[("ImageId", IMAGE)]);
    assert!(aws.launch_permissions(IMAGE).is_empty());
    assert!(aws.images(OWNER, &[]).contains(&IMAGE.to_owned()));
}

#[test]
fn a_deprecation_is_rounded_to_the_minute_and_can_be_undone() {
    let aws = Aws::new();
    let enable = |at| aws.ec2(OWNER, "EnableImageDeprecation", &[("ImageId", IMAGE), ("DeprecateAt", at)]);
    assert_eq!(enable("2027-01-15T08:00:29.5Z").status, 200);
    let shown = || aws.ok(OWNER, "DescribeImages", &[("ImageId.1", IMAGE)]).one("deprecationTime");
    assert_eq!(shown().as_deref(), Some("2027-01-15T08:00:00.000Z"));
    assert_eq!(enable("2020-01-01T00:00:00Z").code().as_deref(), Some("InvalidParameterValue"));
    assert_eq!(enable("2037-01-01T00:00:00Z").code().as_deref(), Some("InvalidParameterValue"));
    aws.ok(OWNER, "DisableImageDeprecation", &[("ImageId", IMAGE)]);
    assert_eq!(shown(), None);
    aws.share(IMAGE, "all");
    assert_eq!(enable("2029-01-01T00:00:00Z").code().as_deref(), Some("InvalidParameterValue"));
}

#[test]
fn a_protected_image_is_not_deregistered_and_with_cooldown_for_a_day_longer() {
    let aws = Aws::new();
    let deregister = || aws.ec2(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    aws.ok(OWNER, "EnableImageDeregistrationProtection", &[("ImageId", IMAGE), ("WithCooldown", "true")]);
    assert_eq!(deregister().refusal(), (400, "OperationNotPermitted".into()));
    aws.ok(OWNER, "DisableImageDeregistrationProtection", &[("ImageId", IMAGE)]);
    assert_eq!(deregister().refusal(), (400, "OperationNotPermitted".into()));
    aws.0.with_world(|world| world.clock.advance(SignedDuration::from_hours(24)));
    assert_eq!(deregister().status, 200);
}

#[test]
fn an_image_is_not_registered_of_a_snapshot_that_is_not_complete() {
    let aws = Aws::new();
    aws.0.with_world(|world| {
        world.snapshot_mut(REGION, SNAPSHOT).unwrap().state = crate::simulator::SnapshotState::Pending;
    });
    assert_eq!(register(&aws, "mine").refusal(), (400, "IncorrectState".into()));
}
