//! Section 1.4: snapshots and their create-volume permissions.

use super::harness::{
    Aws, CLOSED, DEFAULT_KEY_SNAPSHOT, FRIEND, KEY_SNAPSHOT, OWNER, REGION, SNAPSHOT, STRANGER, UNKNOWN_SNAPSHOT,
};

const MODIFY: &str = "ModifySnapshotAttribute";
const ADD: &str = "CreateVolumePermission.Add.1.UserId";
const EVERYONE: (&str, &str) = ("CreateVolumePermission.Add.1.Group", "all");
const NOT_FOUND: &str = "InvalidSnapshot.NotFound";

fn permissions(aws: &Aws, snapshot: &str) -> Vec<String> {
    aws.0.create_volume_permissions(REGION, snapshot).into_iter().collect()
}

fn does_not_exist(id: &str) -> String {
    format!("The snapshot '{id}' does not exist.")
}

#[test]
fn what_is_not_there_and_what_is_not_shared_are_not_found_alike() {
    let aws = Aws::new();
    for (account, id) in [(OWNER, UNKNOWN_SNAPSHOT), (FRIEND, SNAPSHOT)] {
        aws.refused(account, "DescribeSnapshots", &[("SnapshotId.1", id)], NOT_FOUND, &does_not_exist(id));
        let attribute = [("SnapshotId", id), ("Attribute", "createVolumePermission")];
        aws.refused(account, "DescribeSnapshotAttribute", &attribute, NOT_FOUND, &does_not_exist(id));
        aws.refused(account, MODIFY, &[("SnapshotId", id), (ADD, STRANGER)], NOT_FOUND, &does_not_exist(id));
        aws.refused(account, "ResetSnapshotAttribute", &attribute, NOT_FOUND, &does_not_exist(id));
    }
}

#[test]
fn a_recipient_sees_the_snapshot_and_not_its_permissions() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, FRIEND)]);
    let answer = aws.ok(FRIEND, "DescribeSnapshots", &[("SnapshotId.1", SNAPSHOT)]);
    assert_eq!(answer.one("ownerId").as_deref(), Some(OWNER));
    let attribute = [("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")];
    aws.refused(FRIEND, "DescribeSnapshotAttribute", &attribute, NOT_FOUND, &does_not_exist(SNAPSHOT));
    assert_eq!(aws.ok(OWNER, "DescribeSnapshotAttribute", &attribute).all("userId"), [FRIEND]);
}

#[test]
fn restorable_by_selects_by_who_was_given_the_snapshot() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, FRIEND)]);
    let ids = |account, by| aws.ok(account, "DescribeSnapshots", &[("RestorableBy.1", by)]).all("snapshotId");
    assert_eq!(ids(OWNER, FRIEND), [SNAPSHOT]);
    assert_eq!(ids(FRIEND, "self"), [SNAPSHOT]);
    assert!(ids(OWNER, STRANGER).is_empty());
    assert!(ids(OWNER, "all").is_empty());
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), EVERYONE]);
    assert_eq!(ids(STRANGER, "all"), [SNAPSHOT]);
    assert_eq!(aws.ok(OWNER, "DescribeSnapshots", &[("Owner.1", "self")]).all("snapshotId").len(), 4);
}

#[test]
fn encryption_and_its_key_are_described() {
    let answer = Aws::new().ok(OWNER, "DescribeSnapshots", &[("SnapshotId.1", KEY_SNAPSHOT)]);
    assert_eq!(answer.one("encrypted").as_deref(), Some("true"));
    assert!(answer.one("kmsKeyId").unwrap().starts_with("arn:aws:kms:us-east-1:111122223333:key/"));
}

#[test]
fn there_are_two_errors_for_ids_that_cannot_be_one() {
    let text = "Value (x) for parameter snapshotId is invalid. Expected: 'snap-...'.";
    let aws = Aws::new();
    aws.refused(OWNER, "DescribeSnapshots", &[("SnapshotId.1", "x")], "InvalidParameterValue", text);
    let code = "InvalidSnapshotID.Malformed";
    aws.refused(OWNER, "DescribeSnapshots", &[("SnapshotId.1", "snap-x")], code, "Invalid id: \"snap-x\"");
}

#[test]
fn adding_and_removing_in_one_call_is_refused() {
    let text = "One and only one operation type may be specified for createVolumePermissions";
    let both = [("SnapshotId", SNAPSHOT), (ADD, FRIEND), ("CreateVolumePermission.Remove.1.UserId", STRANGER)];
    Aws::new().refused(OWNER, MODIFY, &both, "InvalidParameterCombination", text);
}

#[test]
fn both_forms_give_and_take_and_doing_it_again_succeeds() {
    let aws = Aws::new();
    let legacy = |operation, account| {
        [
            ("SnapshotId", SNAPSHOT),
            ("Attribute", "createVolumePermission"),
            ("OperationType", operation),
            ("UserId.1", account),
        ]
    };
    for _ in 0..2 {
        aws.ok(OWNER, MODIFY, &legacy("add", FRIEND));
        aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, STRANGER)]);
        assert_eq!(permissions(&aws, SNAPSHOT), [FRIEND, STRANGER]);
    }
    for _ in 0..2 {
        aws.ok(OWNER, MODIFY, &legacy("remove", FRIEND));
        aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), ("CreateVolumePermission.Remove.1.UserId", STRANGER)]);
        assert!(permissions(&aws, SNAPSHOT).is_empty());
    }
}

#[test]
fn the_owners_own_id_is_accepted_and_not_listed() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, OWNER)]);
    assert!(permissions(&aws, SNAPSHOT).is_empty());
}

#[test]
fn five_hundred_entries_fit_into_one_call_duplicates_included() {
    let call = |count: u32| {
        let entries: Vec<(String, &str)> =
            (1..=count).map(|index| (format!("CreateVolumePermission.Add.{index}.UserId"), FRIEND)).collect();
        let mut params: Vec<(&str, &str)> = entries.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        params.push(("SnapshotId", SNAPSHOT));
        Aws::new().ec2(OWNER, MODIFY, &params)
    };
    assert_eq!(call(500).status, 200);
    call(501).is_error(400, "InvalidParameterValue", "Modification size must not be greater than 500.");
}

#[test]
fn a_wrong_account_is_named_differently_in_the_two_forms_and_fails_the_whole_call() {
    let aws = Aws::new();
    let code = "InvalidAMIAttributeItemValue";
    for account in ["123", CLOSED] {
        let canonical = [("SnapshotId", SNAPSHOT), (ADD, FRIEND), ("CreateVolumePermission.Add.2.UserId", account)];
        aws.refused(OWNER, MODIFY, &canonical, code, &format!("UserId {account}"));
        let legacy = [("SnapshotId", SNAPSHOT), ("OperationType", "add"), ("UserId.1", FRIEND), ("UserId.2", account)];
        aws.refused(OWNER, MODIFY, &legacy, code, &format!("UserId ({account}) is invalid."));
    }
    assert!(permissions(&aws, SNAPSHOT).is_empty());
}

#[test]
fn a_snapshot_under_the_default_key_is_shared_with_nobody() {
    let text = "Encrypted snapshots with EBS default key cannot be shared";
    for entry in [(ADD, FRIEND), EVERYONE] {
        let params = [("SnapshotId", DEFAULT_KEY_SNAPSHOT), entry];
        Aws::new().refused(OWNER, MODIFY, &params, "OperationNotPermitted", text);
    }
}

#[test]
fn a_snapshot_under_a_customer_key_is_shared_with_accounts_and_not_with_everyone() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", KEY_SNAPSHOT), (ADD, FRIEND)]);
    let text = "Encrypted snapshots cannot be shared publicly.";
    aws.refused(OWNER, MODIFY, &[("SnapshotId", KEY_SNAPSHOT), EVERYONE], "OperationNotPermitted", text);
    assert_eq!(permissions(&aws, KEY_SNAPSHOT), [FRIEND]);
}

#[test]
fn snapshots_have_no_permissions_for_organizations() {
    let params =
        [("SnapshotId", SNAPSHOT), ("CreateVolumePermission.Add.1.OrganizationArn", super::harness::ORGANIZATION)];
    assert_eq!(Aws::new().ec2(OWNER, MODIFY, &params).code().as_deref(), Some("UnknownParameter"));
}

#[test]
fn block_public_access_is_about_everyone_only_and_at_its_strictest_hides_what_was_public() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), EVERYONE]);
    let seen = || aws.ok(STRANGER, "DescribeSnapshots", &[]).all("snapshotId").len();
    assert_eq!(seen(), 1);
    aws.ok(OWNER, "EnableSnapshotBlockPublicAccess", &[("State", "block-new-sharing")]);
    assert_eq!(seen(), 1);
    aws.ok(OWNER, "EnableSnapshotBlockPublicAccess", &[("State", "block-all-sharing")]);
    assert_eq!(seen(), 0);
    aws.ok(OWNER, "ResetSnapshotAttribute", &[("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")]);
    let public = aws.ec2(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), EVERYONE]);
    assert_eq!(public.code().as_deref(), Some("OperationNotPermitted"));
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, FRIEND)]);
    let state = aws.ok(OWNER, "GetSnapshotBlockPublicAccessState", &[]).one("state");
    assert_eq!(state.as_deref(), Some("block-all-sharing"));
    aws.ok(OWNER, "DisableSnapshotBlockPublicAccess", &[]);
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), EVERYONE]);
}

#[test]
fn reset_takes_everything() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), (ADD, FRIEND)]);
    aws.ok(OWNER, "ResetSnapshotAttribute", &[("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")]);
    assert!(permissions(&aws, SNAPSHOT).is_empty());
}

#[test]
fn a_snapshot_of_an_image_cannot_be_deleted() {
    let aws = Aws::new();
    let text = format!("The snapshot {SNAPSHOT} is currently in use by ami-0123456789abcdef0");
    aws.refused(OWNER, "DeleteSnapshot", &[("SnapshotId", SNAPSHOT)], "InvalidSnapshot.InUse", &text);
    aws.ok(OWNER, "DisableImage", &[("ImageId", "ami-0123456789abcdef0")]);
    aws.refused(OWNER, "DeleteSnapshot", &[("SnapshotId", SNAPSHOT)], "InvalidSnapshot.InUse", &text);
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", "ami-0123456789abcdef0")]);
    aws.ok(OWNER, "DeleteSnapshot", &[("SnapshotId", SNAPSHOT)]);
    aws.refused(OWNER, "DescribeSnapshots", &[("SnapshotId.1", SNAPSHOT)], NOT_FOUND, &does_not_exist(SNAPSHOT));
}

#[test]
fn a_snapshot_is_created_of_any_volume_with_its_tags() {
    let aws = Aws::new();
    let params = [
        ("VolumeId", "vol-0123456789abcdef0"),
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "a"),
        ("TagSpecification.1.Tag.1.Value", "b"),
    ];
    let id = aws.ok(OWNER, "CreateSnapshot", &params).one("snapshotId").unwrap();
    let answer = aws.ok(OWNER, "DescribeSnapshots", &[("Filter.1.Name", "tag:a"), ("Filter.1.Value.1", "b")]);
    assert_eq!((answer.all("snapshotId"), answer.one("status").as_deref()), (vec![id], Some("completed")));
}

#[test]
fn ids_and_max_results_exclude_each_other() {
    let text = "The parameter snapshotSet cannot be used with the parameter maxResults";
    let params = [("SnapshotId.1", SNAPSHOT), ("MaxResults", "5")];
    Aws::new().refused(OWNER, "DescribeSnapshots", &params, "InvalidParameterCombination", text);
}

#[test]
fn the_only_group_is_everyone() {
    let params = [("SnapshotId", SNAPSHOT), ("OperationType", "add"), ("UserGroup.1", "friends")];
    let text = "Invalid attribute item value \"friends\" for UserGroup item type.";
    Aws::new().refused(OWNER, MODIFY, &params, "InvalidAMIAttributeItemValue", text);
}

#[test]
fn a_call_that_gives_and_takes_nothing_is_refused() {
    let answer = Aws::new().ec2(OWNER, MODIFY, &[("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")]);
    assert_eq!(answer.code().as_deref(), Some("InvalidParameterCombination"));
}

#[test]
fn a_volume_id_that_cannot_be_one_is_malformed() {
    let params = [("VolumeId", "vol-1")];
    Aws::new().refused(OWNER, "CreateSnapshot", &params, "InvalidVolumeID.Malformed", "Invalid id: \"vol-1\"");
}
