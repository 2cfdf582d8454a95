//! Sections 1.0 and 1.2: which images an account sees, and what of them.

use super::harness::{
    Aws, CLOSED, DEFAULT_KEY_IMAGE, FRIEND, IMAGE, KEY_IMAGE, ORGANIZATION, OWNER, PENDING_IMAGE, REGION, SOLD_IMAGE,
    STRANGER, UNIT, UNKNOWN_IMAGE,
};
use crate::simulator::ImageState;

#[test]
fn an_id_that_never_was_is_not_found() {
    let text = format!("The image id '[{UNKNOWN_IMAGE}]' does not exist");
    Aws::new().refused(OWNER, "DescribeImages", &[("ImageId.1", UNKNOWN_IMAGE)], "InvalidAMIID.NotFound", &text);
}

#[test]
fn one_unknown_id_among_several_fails_the_call() {
    let params = [("ImageId.1", IMAGE), ("ImageId.2", UNKNOWN_IMAGE)];
    let answer = Aws::new().ec2(OWNER, "DescribeImages", &params);
    assert_eq!(answer.code().as_deref(), Some("InvalidAMIID.NotFound"));
}

#[test]
fn a_private_image_of_somebody_else_is_an_empty_set_by_id() {
    let answer = Aws::new().ok(FRIEND, "DescribeImages", &[("ImageId.1", IMAGE)]);
    assert!(answer.body.contains("<imagesSet/>"), "{}", answer.body);
}

#[test]
fn a_deregistered_image_is_an_empty_set_by_id() {
    let aws = Aws::new();
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    assert!(aws.images(OWNER, &[("ImageId.1", IMAGE)]).is_empty());
}

#[test]
fn an_id_that_cannot_be_one_is_malformed() {
    for id in ["ami-00000000000000000", "ami-11111111111111111", "ami-12", "snap-0123456789abcdef0"] {
        let text = format!("Invalid id: \"{id}\"");
        Aws::new().refused(OWNER, "DescribeImages", &[("ImageId.1", id)], "InvalidAMIID.Malformed", &text);
        Aws::new().refused(OWNER, "DisableImage", &[("ImageId", id)], "InvalidAMIID.Malformed", &text);
    }
}

#[test]
fn images_are_seen_by_their_owner_and_by_whom_a_permission_covers() {
    for (grantee, viewer) in [(FRIEND, FRIEND), ("all", FRIEND), (ORGANIZATION, STRANGER), (UNIT, STRANGER)] {
        let aws = Aws::new();
        assert!(aws.images(viewer, &[]).is_empty());
        aws.share(IMAGE, grantee);
        assert_eq!(aws.images(viewer, &[]), [IMAGE], "{grantee}");
    }
    assert_eq!(Aws::new().images(OWNER, &[]).len(), 5);
}

#[test]
fn images_of_another_region_do_not_exist_here() {
    let aws = Aws::new();
    let answer = aws.send(OWNER, "eu-west-1", "2016-11-15", "DescribeImages", &[("ImageId.1", IMAGE)]);
    assert_eq!(answer.code().as_deref(), Some("InvalidAMIID.NotFound"));
}

#[test]
fn executable_by_self_is_explicit_or_through_the_organization_but_not_public() {
    let aws = Aws::new();
    aws.share(IMAGE, UNIT);
    aws.share(SOLD_IMAGE, "all");
    aws.share(KEY_IMAGE, STRANGER);
    assert_eq!(aws.images(STRANGER, &[("ExecutableBy.1", "self")]), [IMAGE, KEY_IMAGE]);
    assert_eq!(aws.images(STRANGER, &[("ExecutableBy.1", STRANGER)]), [IMAGE, KEY_IMAGE]);
    assert_eq!(aws.images(STRANGER, &[("ExecutableBy.1", "all")]), [SOLD_IMAGE]);
}

#[test]
fn executable_by_another_account_is_what_the_caller_owns_and_shares_with_it_explicitly() {
    let aws = Aws::new();
    aws.share(IMAGE, UNIT);
    aws.share(KEY_IMAGE, STRANGER);
    aws.share(KEY_IMAGE, FRIEND);
    assert_eq!(aws.images(OWNER, &[("Owner.1", "self"), ("ExecutableBy.1", STRANGER)]), [KEY_IMAGE]);
    assert!(aws.images(FRIEND, &[("ExecutableBy.1", STRANGER)]).is_empty());
}

#[test]
fn owners_select_by_account_self_and_alias() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.0.with_world(|world| world.image_mut(REGION, IMAGE).unwrap().owner_alias = Some("amazon".to_owned()));
    assert_eq!(aws.images(FRIEND, &[("Owner.1", OWNER)]), [IMAGE]);
    assert_eq!(aws.images(FRIEND, &[("Owner.1", "amazon")]), [IMAGE]);
    assert!(aws.images(FRIEND, &[("Owner.1", "self")]).is_empty());
    assert!(aws.images(FRIEND, &[("Owner.1", CLOSED)]).is_empty());
    aws.refused(FRIEND, "DescribeImages", &[("Owner.1", "me")], "InvalidUserID.Malformed", "Invalid user id: \"me\"");
}

#[test]
fn disabled_images_are_left_out_unless_they_are_asked_for() {
    let aws = Aws::new();
    aws.ok(OWNER, "DisableImage", &[("ImageId", IMAGE)]);
    assert!(aws.images(OWNER, &[("ImageId.1", IMAGE)]).is_empty());
    assert_eq!(aws.images(OWNER, &[("ImageId.1", IMAGE), ("IncludeDisabled", "true")]), [IMAGE]);
}

#[test]
fn deprecated_images_are_seen_by_the_owner_and_else_by_id_or_on_request() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.0.with_world(|world| {
        let now = world.now();
        world.image_mut(REGION, IMAGE).unwrap().deprecate_at = Some(now);
    });
    assert!(aws.images(OWNER, &[]).contains(&IMAGE.to_owned()));
    assert!(aws.images(FRIEND, &[]).is_empty());
    assert_eq!(aws.images(FRIEND, &[("ImageId.1", IMAGE)]), [IMAGE]);
    assert_eq!(aws.images(FRIEND, &[("IncludeDeprecated", "true")]), [IMAGE]);
}

#[test]
fn an_image_is_described_with_its_volumes_and_the_owners_view_has_more() {
    let aws = Aws::new();
    aws.share(KEY_IMAGE, FRIEND);
    let answer = aws.ok(OWNER, "DescribeImages", &[("ImageId.1", KEY_IMAGE)]);
    let field = |name: &str| answer.one(name).unwrap();
    assert_eq!(field("imageLocation"), format!("{OWNER}/{KEY_IMAGE}"));
    assert_eq!(field("creationDate"), "2026-11-21T08:00:00.000Z");
    assert_eq!((field("snapshotId"), field("encrypted")), ("snap-0aaaabbbbccccdddd".to_owned(), "true".to_owned()));
    assert_eq!((field("isPublic"), field("imageState")), ("false".to_owned(), "available".to_owned()));
    assert_eq!(
        (field("platformDetails"), field("usageOperation")),
        ("Linux/UNIX".to_owned(), "RunInstances".to_owned())
    );
    assert_eq!(field("deregistrationProtection"), "disabled");
    let answer = aws.ok(FRIEND, "DescribeImages", &[("ImageId.1", KEY_IMAGE)]);
    assert_eq!(answer.one("deregistrationProtection"), None);
}

#[test]
fn attributes_of_an_image_are_for_its_owner_even_when_it_is_shared() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    let params = [("ImageId", IMAGE), ("Attribute", "launchPermission")];
    let text = format!("Not authorized for image:{IMAGE}");
    aws.refused(FRIEND, "DescribeImageAttribute", &params, "AuthFailure", &text);
    aws.refused(STRANGER, "DescribeImageAttribute", &params, "AuthFailure", &text);
}

#[test]
fn an_image_without_permissions_has_an_empty_list_of_them() {
    let params = [("ImageId", IMAGE), ("Attribute", "launchPermission")];
    let answer = Aws::new().ok(OWNER, "DescribeImageAttribute", &params);
    assert!(answer.body.contains("<launchPermission/>"), "{}", answer.body);
}

#[test]
fn the_block_device_mapping_attribute_is_restricted() {
    let params = [("ImageId", IMAGE), ("Attribute", "blockDeviceMapping")];
    let text = "Unauthorized attempt to access restricted resource";
    Aws::new().refused(OWNER, "DescribeImageAttribute", &params, "AuthFailure", text);
}

#[test]
fn other_attributes_are_described_with_their_value() {
    let aws = Aws::new();
    let value =
        |attribute| aws.ok(OWNER, "DescribeImageAttribute", &[("ImageId", SOLD_IMAGE), ("Attribute", attribute)]);
    assert_eq!(value("deregistrationProtection").one("value").as_deref(), Some("disabled"));
    assert_eq!(value("productCodes").one("productCode").as_deref(), Some("abc"));
    assert!(value("description").body.contains("<description/>"));
}

#[test]
fn every_state_is_described_by_its_name() {
    let aws = Aws::new();
    for state in
        [ImageState::Pending, ImageState::Failed, ImageState::Invalid, ImageState::Error, ImageState::Transient]
    {
        aws.0.with_world(|world| world.image_mut(REGION, PENDING_IMAGE).unwrap().state = state);
        let answer = aws.ok(OWNER, "DescribeImages", &[("ImageId.1", PENDING_IMAGE)]);
        assert_eq!(answer.one("imageState").as_deref(), Some(state.as_str()));
    }
}

#[test]
fn a_public_image_is_deprecated_two_years_after_its_creation() {
    let aws = Aws::new();
    aws.share(DEFAULT_KEY_IMAGE, "all");
    let answer = aws.ok(OWNER, "DescribeImages", &[("ImageId.1", DEFAULT_KEY_IMAGE)]);
    assert_eq!(answer.one("deprecationTime").as_deref(), Some("2028-11-20T08:00:00.000Z"));
}
