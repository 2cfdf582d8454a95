//! Sections 1.7, 2.1 and 2.2: what of an image can be shared with whom, and how much.

use super::harness::{
    Aws, DEFAULT_KEY_IMAGE, FRIEND, IMAGE, KEY_IMAGE, ORGANIZATION, OWNER, REGION, SOLD_IMAGE, STRANGER, scenario,
};
use crate::simulator::Image;

const MODIFY: &str = "ModifyImageAttribute";
const EVERYONE: (&str, &str) = ("LaunchPermission.Add.1.Group", "all");

fn add(account: &str) -> (&str, &str) {
    ("LaunchPermission.Add.1.UserId", account)
}

#[test]
fn block_public_access_is_on_until_it_is_switched_off() {
    let aws = Aws::new();
    let state = || aws.ok(OWNER, "GetImageBlockPublicAccessState", &[]).one("imageBlockPublicAccessState");
    assert_eq!(state().as_deref(), Some("block-new-sharing"));
    let blocked = aws.ec2(OWNER, MODIFY, &[("ImageId", IMAGE), EVERYONE]);
    assert_eq!((blocked.status, blocked.code().as_deref()), (400, Some("OperationNotPermitted")));
    aws.ok(OWNER, "DisableImageBlockPublicAccess", &[]);
    assert_eq!(state().as_deref(), Some("unblocked"));
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), EVERYONE]);
    assert_eq!(aws.launch_permissions(IMAGE), ["all"]);
}

#[test]
fn block_public_access_lets_public_images_stay_public() {
    let aws = Aws::new();
    aws.share(IMAGE, "all");
    aws.ok(OWNER, "EnableImageBlockPublicAccess", &[("ImageBlockPublicAccessState", "block-new-sharing")]);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), add(FRIEND)]);
    assert_eq!(aws.launch_permissions(IMAGE), ["all", FRIEND]);
    assert_eq!(aws.images(STRANGER, &[]), [IMAGE]);
}

#[test]
fn block_public_access_is_per_account_and_region() {
    let aws = Aws::new();
    aws.ok(FRIEND, "DisableImageBlockPublicAccess", &[]);
    aws.send(OWNER, "eu-west-1", "2016-11-15", "DisableImageBlockPublicAccess", &[]);
    let blocked = aws.ec2(OWNER, MODIFY, &[("ImageId", IMAGE), EVERYONE]);
    assert_eq!(blocked.code().as_deref(), Some("OperationNotPermitted"));
}

#[test]
fn an_image_under_the_default_key_is_shared_with_nobody() {
    let text = "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot.";
    for entry in [add(FRIEND), EVERYONE, ("LaunchPermission.Add.1.OrganizationArn", ORGANIZATION)] {
        Aws::new().refused(OWNER, MODIFY, &[("ImageId", DEFAULT_KEY_IMAGE), entry], "InvalidParameter", text);
    }
}

#[test]
fn permissions_on_an_image_under_the_default_key_can_be_taken() {
    let aws = Aws::new();
    aws.share(DEFAULT_KEY_IMAGE, FRIEND);
    aws.ok(OWNER, MODIFY, &[("ImageId", DEFAULT_KEY_IMAGE), ("LaunchPermission.Remove.1.UserId", FRIEND)]);
    assert!(aws.launch_permissions(DEFAULT_KEY_IMAGE).is_empty());
}

#[test]
fn an_image_under_a_customer_key_is_shared_with_accounts_and_not_with_everyone() {
    let aws = Aws::new();
    aws.ok(OWNER, "DisableImageBlockPublicAccess", &[]);
    aws.ok(OWNER, MODIFY, &[("ImageId", KEY_IMAGE), add(FRIEND)]);
    let refused = aws.ec2(OWNER, MODIFY, &[("ImageId", KEY_IMAGE), EVERYONE]);
    assert_eq!((refused.status, refused.code().as_deref()), (400, Some("InvalidParameter")));
    assert_eq!(aws.launch_permissions(KEY_IMAGE), [FRIEND]);
}

#[test]
fn an_image_with_product_codes_cannot_be_made_public() {
    let aws = Aws::new();
    aws.ok(OWNER, "DisableImageBlockPublicAccess", &[]);
    aws.ok(OWNER, MODIFY, &[("ImageId", SOLD_IMAGE), add(FRIEND)]);
    let refused = aws.ec2(OWNER, MODIFY, &[("ImageId", SOLD_IMAGE), EVERYONE]);
    assert_eq!(refused.code().as_deref(), Some("OperationNotPermitted"));
}

#[test]
fn five_images_can_be_public() {
    let aws = Aws::new();
    aws.ok(OWNER, "DisableImageBlockPublicAccess", &[]);
    aws.0.with_world(|world| {
        let images = &mut world.regions.get_mut(REGION).unwrap().images;
        for number in 1..=6 {
            let id = format!("ami-000000000000000b{number}");
            images.insert(id.clone(), Image { id, ..images[IMAGE].clone() });
        }
    });
    for number in 1..=5 {
        aws.ok(OWNER, MODIFY, &[("ImageId", &format!("ami-000000000000000b{number}")), EVERYONE]);
    }
    let text = "You have reached your quota of 5 for the number of public images allowed in this Region.";
    let sixth = [("ImageId", "ami-000000000000000b6"), EVERYONE];
    aws.refused(OWNER, MODIFY, &sixth, "ResourceLimitExceeded", text);
    aws.ok(OWNER, MODIFY, &[("ImageId", "ami-000000000000000b1"), ("LaunchPermission.Remove.1.Group", "all")]);
    aws.ok(OWNER, MODIFY, &sixth);
}

#[test]
fn an_image_is_shared_with_at_most_a_thousand_entities() {
    let aws = Aws::new();
    let accounts: Vec<(String, String)> =
        (1..=1000).map(|index| (format!("LaunchPermission.Add.{index}.UserId"), format!("{index:012}"))).collect();
    let mut params: Vec<(&str, &str)> = accounts.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    params.push(("ImageId", IMAGE));
    aws.ok(OWNER, MODIFY, &params);
    let more = [("ImageId", IMAGE), ("LaunchPermission.Add.1.OrganizationArn", ORGANIZATION)];
    assert_eq!(aws.ec2(OWNER, MODIFY, &more).refusal(), (400, "ResourceLimitExceeded".into()));
    let swap = [more[0], more[1], ("LaunchPermission.Remove.1.UserId", "000000000001")];
    aws.ok(OWNER, MODIFY, &swap);
    assert_eq!(aws.0.launch_permissions(REGION, IMAGE).len(), 1000);
}

#[test]
fn quotas_are_the_scenarios_and_everyone_is_no_entity() {
    let mut scenario = scenario();
    scenario.quotas.sharing_entities_per_image = 1;
    let aws = Aws::of(scenario);
    aws.ok(OWNER, "DisableImageBlockPublicAccess", &[]);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), add(FRIEND)]);
    aws.ok(OWNER, MODIFY, &[("ImageId", IMAGE), EVERYONE]);
    let second = aws.ec2(OWNER, MODIFY, &[("ImageId", IMAGE), add(STRANGER)]);
    assert_eq!(second.code().as_deref(), Some("ResourceLimitExceeded"));
}
