//! Images that cannot be shared: not ours, not there, not yet, not any more.

use amishare::simulator::ImageState;

use super::{is, with_accounts};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER, REGION},
};

/// Besides the image that everything is well with, one of every kind that there is trouble with.
const IMAGES: &str = r#"
accounts: [{id: "999988887777"}]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-00000000000000a01, region: us-east-1, owner: "555566667777"}
  - {id: ami-00000000000000a02, region: us-east-1, owner: "555566667777", launchPermissions: ["999988887777"]}
  - {id: ami-00000000000000a03, region: us-east-1, owner: "999988887777", state: pending}
  - {id: ami-00000000000000a04, region: us-east-1, owner: "999988887777", state: failed}
  - {id: ami-00000000000000a05, region: us-east-1, owner: "999988887777", launchPermissions: ["111122223333"]}
"#;

const ACCOUNT: &str = "111122223333";

/// A manifest of another image than [`IMAGE`], shared with one account.
fn share_of(image: &str) -> String {
    World::manifest("trouble", &with_accounts(&[ACCOUNT])).replace(IMAGE, image)
}

/// A world with a share of an image that there is trouble with, and one of another image, which must be served.
async fn world_with(image: &str) -> World {
    let world = World::start(Setup { scenario: IMAGES, ..Setup::default() }).await;
    world.apply_in(world.namespace(), &share_of(image)).await.unwrap();
    world.apply("well", &with_accounts(&[ACCOUNT])).await;
    world.wait_ready("well", "True", "Synced").await;
    world.wait_shared_with(&[ACCOUNT]).await;
    world
}

/// The share of the image is refused for this reason; gives the message. All its parts say the same.
async fn refused(world: &World, reason: &str) -> String {
    let message = world.wait_ready("trouble", "False", reason).await;
    for part in ["ImageAvailable", "LaunchPermissionsSynced"] {
        let said = world.wait_condition(world.namespace(), "trouble", part, "False", reason).await;
        assert_eq!(said, message, "{part}");
    }
    assert_eq!(world.status("trouble").await.granted, []);
    if reason != "ImagePending" {
        world.wait_event("trouble", reason, &message).await;
    }
    message
}

#[tokio::test]
async fn a_private_image_of_another_account_is_not_ours_to_share() {
    let world = world_with("ami-00000000000000a01").await;
    let message = refused(&world, "NotOwner").await;
    assert!(message.starts_with("ami-00000000000000a01 in us-east-1 belongs to another account, and only its owner"));
    assert!(is(&world, "trouble", "Stalled").await);
    assert!(world.launch_permissions("ami-00000000000000a01").is_empty());
}

#[tokio::test]
async fn an_image_that_another_account_shares_with_us_is_not_ours_to_share_and_its_owner_is_named() {
    let world = world_with("ami-00000000000000a02").await;
    let message = refused(&world, "NotOwner").await;
    assert!(message.contains("belongs to account 555566667777, and only its owner can share it"), "{message}");
    assert_eq!(world.launch_permissions("ami-00000000000000a02").len(), 1, "what its owner gave stays");
    assert_eq!(world.status("trouble").await.image.unwrap().owner_id.unwrap().to_string(), "555566667777");
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_not_found() {
    let world = world_with("ami-00000000000000aff").await;
    assert_eq!(
        refused(&world, "ImageNotFound").await,
        "no image ami-00000000000000aff exists in us-east-1; check the id and the Region"
    );
    assert!(is(&world, "trouble", "Stalled").await);
}

#[tokio::test]
async fn a_pending_image_is_shared_by_itself_once_it_is_available() {
    let world = world_with("ami-00000000000000a03").await;
    let message = refused(&world, "ImagePending").await;
    assert_eq!(message, "ami-00000000000000a03 in us-east-1 is pending; it is shared once it is available");
    assert!(is(&world, "trouble", "Reconciling").await, "nobody has to do anything");
    assert!(!is(&world, "trouble", "Stalled").await);
    world.aws.with_world(|aws| {
        aws.image_mut(REGION, "ami-00000000000000a03").unwrap().state = ImageState::Available;
    });
    world.wait_ready("trouble", "True", "Synced").await;
    world.wait_launch_permissions("ami-00000000000000a03", &[ACCOUNT]).await;
    assert!(!is(&world, "trouble", "Reconciling").await);
}

#[tokio::test]
async fn a_failed_image_is_not_usable() {
    let world = world_with("ami-00000000000000a04").await;
    assert_eq!(
        refused(&world, "ImageNotUsable").await,
        "ami-00000000000000a04 in us-east-1 is in state failed and cannot be shared"
    );
}

#[tokio::test]
async fn a_disabled_image_says_how_to_enable_it_and_is_shared_again_afterwards() {
    let image = "ami-00000000000000a05";
    let world = world_with(image).await;
    world.wait_ready("trouble", "True", "Synced").await;
    world.rogue(OWNER, "DisableImage", &[("ImageId", image)]);
    world.check_now("trouble").await;
    let message = world.wait_ready("trouble", "False", "ImageDisabled").await;
    assert!(
        message.contains("which removed all its launch permissions; enable it (aws ec2 enable-image)"),
        "{message}"
    );
    assert_eq!(world.status("trouble").await.shared_with.unwrap().accounts, 0, "nobody holds anything now");
    world.rogue(OWNER, "EnableImage", &[("ImageId", image)]);
    world.check_now("trouble").await;
    world.wait_ready("trouble", "True", "Synced").await;
    world.wait_launch_permissions(image, &[ACCOUNT]).await;
}

#[tokio::test]
async fn a_deregistered_image_says_so_and_its_share_can_be_deleted() {
    let image = "ami-00000000000000a05";
    let world = world_with(image).await;
    world.wait_ready("trouble", "True", "Synced").await;
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", image)]);
    world.check_now("trouble").await;
    let message = world.wait_ready("trouble", "False", "ImageDeregistered").await;
    assert_eq!(message, format!("{image} in us-east-1 has been deregistered; name another image"));
    world.kubectl(&["delete", "ams", "trouble"]).await;
    world.wait_gone("trouble").await;
}
