//! Snapshots that cannot be shared, and images that cannot be shared for the sake of their snapshots.

use super::{changes, is, with_accounts};
use crate::harness::{
    Setup, World,
    world::{REGION, SNAPSHOT},
};

const SECOND: &str = "snap-0123456789abcdef1";

/// An image with two snapshots, of which the first is encrypted with the key `aws/ebs`; two accounts hold both from before.
const DEFAULT_KEY: &str = r#"
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: defaultKey,
     createVolumePermissions: ["111122223333", "444455556666"]}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777",
     snapshots: [snap-0123456789abcdef0, snap-0123456789abcdef1], launchPermissions: ["111122223333", "444455556666"]}
  - {id: ami-0123456789abcdef1, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef1]}
"#;

const TWO_SNAPSHOTS: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777",
     snapshots: [snap-0123456789abcdef0, snap-0123456789abcdef1]}
"#;

async fn world(scenario: &'static str) -> World {
    World::start(Setup { scenario, ..Setup::default() }).await
}

#[tokio::test]
async fn the_default_key_refuses_everybody_new_and_holds_back_no_removal() {
    let world = world(DEFAULT_KEY).await;
    world.apply("base", &with_accounts(&["111122223333", "222233334444", "333344445555"])).await;
    let message = world.wait_ready("base", "False", "DefaultKmsKeyNotShareable").await;
    assert!(message.starts_with("not given to 222233334444, 333344445555: "), "{message}");
    assert!(message.contains("encrypted with the AWS managed key aws/ebs; copy the image with a customer managed key"));
    world.wait_shared_with(&["111122223333"]).await;
    assert!(is(&world, "base", "Stalled").await);
    assert_eq!(changes(&world), 1, "nobody is asked for what cannot be given");
    assert_eq!(world.status("base").await.shared_with.unwrap().accounts, 1);
}

#[tokio::test]
async fn a_snapshot_with_the_default_key_is_refused_and_the_other_snapshot_is_served() {
    let world = world(DEFAULT_KEY).await;
    let listed = with_accounts(&["111122223333", "222233334444"]);
    world.apply("base", &format!("{listed}\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "False", "DefaultKmsKeyNotShareable").await;
    let part = "SnapshotPermissionsSynced";
    let message = world.wait_condition(world.namespace(), "base", part, "False", "DefaultKmsKeyNotShareable").await;
    assert!(message.starts_with("not given to 222233334444: snap-0123456789abcdef0 cannot be shared"), "{message}");
    world.wait_volume_permissions(SNAPSHOT, &["111122223333"]).await;
    world.wait_volume_permissions(SECOND, &["111122223333", "222233334444"]).await;
    world.wait_shared_with(&["111122223333"]).await;
}

#[tokio::test]
async fn the_share_gets_well_once_it_names_a_copy_without_that_key() {
    let world = world(DEFAULT_KEY).await;
    world.apply("base", &with_accounts(&["111122223333", "222233334444"])).await;
    world.wait_ready("base", "False", "DefaultKmsKeyNotShareable").await;
    let copy = "ami-0123456789abcdef1";
    world.change("base", serde_json::json!({"image": {"id": copy}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_launch_permissions(copy, &["111122223333", "222233334444"]).await;
}

#[tokio::test]
async fn a_snapshot_that_is_gone_is_named_and_everything_else_is_shared() {
    let world = world(TWO_SNAPSHOTS).await;
    world.aws.with_world(|aws| aws.regions.get_mut(REGION).unwrap().snapshots.remove(SNAPSHOT).unwrap());
    world.apply("base", &(with_accounts(&["111122223333"]) + "\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "False", "SnapshotNotFound").await;
    let part = "SnapshotPermissionsSynced";
    let message = world.wait_condition(world.namespace(), "base", part, "False", "SnapshotNotFound").await;
    assert_eq!(message, "not given to 111122223333: the snapshot is gone or belongs to another account");
    world.wait_condition(world.namespace(), "base", "LaunchPermissionsSynced", "True", "Synced").await;
    world.wait_shared_with(&["111122223333"]).await;
    world.wait_volume_permissions(SECOND, &["111122223333"]).await;
}

#[tokio::test]
async fn a_share_whose_snapshot_has_gone_can_be_deleted() {
    let world = world(TWO_SNAPSHOTS).await;
    world.apply("base", &(with_accounts(&["111122223333"]) + "\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.with_world(|aws| aws.regions.get_mut(REGION).unwrap().snapshots.remove(SNAPSHOT).unwrap());
    world.kubectl(&["delete", "ams", "base"]).await;
    world.wait_gone("base").await;
    assert!(world.volume_permissions(SECOND).is_empty());
}
