//! Section 1.3: how launch permissions are given and taken.

use super::harness::{Aws, CLOSED, FRIEND, IMAGE, ORGANIZATION, OWNER, PENDING_IMAGE, STRANGER, UNIT, UNKNOWN_IMAGE};

const MODIFY: &str = "ModifyImageAttribute";
const ADD: &str = "LaunchPermission.Add.1.UserId";

#[test]
fn the_canonical_form_adds_and_removes_in_one_call() {
    let aws = Aws::new();
    aws.share(IMAGE, STRANGER);
    let params = [
        ("ImageId", IMAGE),
        ("LaunchPermission.Add.1.UserId", FRIEND),
        ("LaunchPermission.Add.2.OrganizationArn", ORGANIZATION),
        ("LaunchPermission.Add.10.OrganizationalUnitArn", UNIT),
        ("LaunchPermission.Remove.1.UserId", STRANGER),
    ];
    let answer = aws.ok(OWNER, MODIFY, &params);
    assert_eq!(answer.one("return").as_deref(), Some("true"));
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND, ORGANIZATION, UNIT]);
}

#[test]
fn the_legacy_form_adds_or_removes_accounts_groups_and_organizations() {
    let aws = Aws::new();
    let with = |operation, image| {
        [
            ("ImageId", image),
            ("Attribute", "launchPermission"),
            ("OperationType", operation),
            ("UserId.1", FRIEND),
            ("UserId.2", STRANGER),
            ("OrganizationArn.1", ORGANIZATION),
            ("OrganizationalUnitArn.1", UNIT),
        ]
    };
    aws.ok(OWNER, MODIFY, &with("add", IMAGE));
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND, STRANGER, ORGANIZATION, UNIT]);
    aws.ok(OWNER, MODIFY, &with("remove", IMAGE));
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn giving_what_is_given_and_taking_what_is_not_succeed() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), (ADD, FRIEND)]);
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", STRANGER)]);
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
}

#[test]
fn the_owner_can_be_given_its_own_image_and_is_listed() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), (ADD, OWNER)]);
    assert_eq!(aws.launch_permissions(IMAGE), [OWNER]);
}

#[test]
fn one_wrong_item_fails_the_whole_call_in_the_words_of_its_kind() {
    let organization = "arn:aws:organizations::111122223333:organization/abc";
    for (field, value, kind) in [
        ("UserId", "123 ", "userId"),
        ("UserId", CLOSED, "userId"),
        ("UserId", "1234-5678-9012", "userId"),
        ("Group", "everyone", "UserGroup"),
        ("OrganizationArn", organization, "OrganizationArn"),
        ("OrganizationalUnitArn", ORGANIZATION, "OrganizationalUnitArn"),
    ] {
        let aws = Aws::new();
        let name = format!("LaunchPermission.Add.2.{field}");
        let params = [("ImageId", IMAGE), (ADD, FRIEND), (name.as_str(), value)];
        let text = format!("Invalid attribute item value \"{value}\" for {kind} item type.");
        aws.refused(OWNER, MODIFY, &params, "InvalidAMIAttributeItemValue", &text);
        assert!(aws.launch_permissions(IMAGE).is_empty());
    }
}

#[test]
fn an_account_that_was_closed_since_can_be_removed() {
    let aws = Aws::new();
    aws.share(IMAGE, CLOSED);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", CLOSED)]);
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn a_call_without_attributes_is_refused() {
    let code = "InvalidParameterCombination";
    for params in [&[("ImageId", IMAGE)][..], &[("ImageId", IMAGE), ("Attribute", "launchPermission")]] {
        Aws::new().refused(OWNER, MODIFY, params, code, "No attributes specified.");
    }
}

#[test]
fn a_call_is_about_one_kind_of_attribute() {
    let params = [("ImageId", IMAGE), ("Description.Value", "x"), ("ImdsSupport.Value", "v2.0")];
    let text = "Fields for multiple attribute types specified: description, imdsSupport";
    Aws::new().refused(OWNER, MODIFY, &params, "InvalidParameterCombination", text);
}

#[test]
fn the_description_is_modified_in_both_forms() {
    let aws = Aws::new();
    for (params, expected) in [
        (&[("ImageId", IMAGE), ("Description.Value", "one <&>")][..], "one <&>"),
        (&[("ImageId", IMAGE), ("Attribute", "description"), ("Value", "two")], "two"),
    ] {
        aws.ok(OWNER, MODIFY, params);
        let answer = aws.ok(OWNER, "DescribeImages", &[("ImageId.1", IMAGE)]);
        assert_eq!(answer.one("description").as_deref(), Some(expected));
    }
}

#[test]
fn an_image_of_somebody_else_cannot_be_modified() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    let text = format!("Not authorized for image:{IMAGE}");
    aws.refused(FRIEND, MODIFY, &[("ImageId", IMAGE), (ADD, STRANGER)], "AuthFailure", &text);
    aws.refused(FRIEND, "DeregisterImage", &[("ImageId", IMAGE)], "AuthFailure", &text);
    let reset = [("ImageId", IMAGE), ("Attribute", "launchPermission")];
    aws.refused(FRIEND, "ResetImageAttribute", &reset, "AuthFailure", &text);
}

#[test]
fn an_image_that_never_was_cannot_be_modified() {
    let text = format!("The image id '[{UNKNOWN_IMAGE}]' does not exist");
    Aws::new().refused(OWNER, MODIFY, &[("ImageId", UNKNOWN_IMAGE), (ADD, FRIEND)], "InvalidAMIID.NotFound", &text);
}

#[test]
fn pending_disabled_and_deregistered_images_cannot_be_modified() {
    let aws = Aws::new();
    let modify = |id| aws.ec2(OWNER, MODIFY, &[("ImageId", id), (ADD, FRIEND)]).code();
    assert_eq!(modify(PENDING_IMAGE).as_deref(), Some("InvalidAMIID.Unavailable"));
    aws.ok(OWNER, "DisableImage", &[("ImageId", IMAGE)]);
    assert_eq!(modify(IMAGE).as_deref(), Some("InvalidAMIID.Unavailable"));
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    let text = format!("The image ID '{IMAGE}' is no longer available");
    aws.refused(OWNER, MODIFY, &[("ImageId", IMAGE), (ADD, FRIEND)], "InvalidAMIID.Unavailable", &text);
}

#[test]
fn reset_takes_everything() {
    let aws = Aws::new();
    for grantee in [FRIEND, "all", UNIT] {
        aws.share(IMAGE, grantee);
    }
    aws.ok(OWNER, "ResetImageAttribute", &[("ImageId", IMAGE), ("Attribute", "launchPermission")]);
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn other_attributes_cannot_be_reset() {
    let params = [("ImageId", IMAGE), ("Attribute", "description")];
    Aws::new().refused(OWNER, "ResetImageAttribute", &params, "InvalidRequest", "The request received was invalid.");
}

#[test]
fn a_recipient_gives_up_its_own_permission_and_no_other() {
    let aws = Aws::new();
    for grantee in [FRIEND, ORGANIZATION, "all"] {
        aws.share(IMAGE, grantee);
    }
    aws.ok(FRIEND, "CancelImageLaunchPermission", &[("ImageId", IMAGE)]);
    assert_eq!(aws.launch_permissions(IMAGE), [ORGANIZATION, "all"]);
    let again = aws.ec2(STRANGER, "CancelImageLaunchPermission", &[("ImageId", IMAGE)]);
    assert_eq!(again.code().as_deref(), Some("AuthFailure"));
}

#[test]
fn the_two_forms_do_not_go_together() {
    let params = [("ImageId", IMAGE), (ADD, FRIEND), ("OperationType", "add"), ("UserId.1", STRANGER)];
    let answer = Aws::new().ec2(OWNER, MODIFY, &params);
    assert_eq!(answer.code().as_deref(), Some("InvalidParameterCombination"));
}

/// As Cloud Custodian sends it, and its users share images with it.
#[test]
fn an_operation_beside_the_canonical_form_has_no_effect() {
    let aws = Aws::new();
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), (ADD, FRIEND), ("OperationType", "add")]);
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
    aws.ok(
        OWNER,
        MODIFY,
        &[("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", FRIEND), ("OperationType", "remove")],
    );
    assert!(aws.launch_permissions(IMAGE).is_empty());
}

#[test]
fn the_legacy_form_needs_an_operation() {
    let text = "The request must contain the parameter OperationType";
    Aws::new().refused(OWNER, MODIFY, &[("ImageId", IMAGE), ("UserId.1", FRIEND)], "MissingParameter", text);
}

#[test]
fn who_is_added_and_removed_in_one_call_does_not_get_access() {
    let aws = Aws::new();
    let params = [("ImageId", IMAGE), (ADD, FRIEND), ("LaunchPermission.Remove.1.UserId", FRIEND)];
    aws.ok(OWNER, MODIFY, &params);
    assert!(aws.launch_permissions(IMAGE).is_empty());
}
