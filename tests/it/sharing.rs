//! What a share does: gives, takes, corrects, and reports it.

use crate::harness::{
    Setup, World,
    world::{OWNER, SNAPSHOT},
};

const TWO_ACCOUNTS: &str = r#"  shareWith: {accountIds: ["111122223333", "444455556666"]}"#;

#[tokio::test]
async fn an_applied_share_gives_launch_permissions_and_becomes_ready() {
    let world = World::start(Setup::default()).await;
    world.apply("base", TWO_ACCOUNTS).await;
    let message = world.wait_ready("base", "True", "Synced").await;
    assert_eq!(message, "shared with 2 accounts");
    world.wait_shared_with(&["111122223333", "444455556666"]).await;
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    let status = world.status("base").await;
    assert_eq!(status.shared_with.unwrap().accounts, 2);
    assert_eq!(status.image.unwrap().owner_id.unwrap().to_string(), OWNER);
    world.wait_event("base", "Shared", "111122223333, 444455556666").await;
}

#[tokio::test]
async fn a_deleted_share_takes_back_what_it_gave_before_it_goes() {
    let world = World::start(Setup::default()).await;
    world.apply("base", &format!("{TWO_ACCOUNTS}\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &["111122223333", "444455556666"]).await;
    world.kubectl(&["delete", "amishare", "base"]).await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(crate::harness::world::IMAGE).is_empty());
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
}
