//! Snapshots that are a part of several images, and operators that do not own what they look at.

use serde_json::json;

use crate::harness::{
    Setup, World,
    world::{IMAGE, SNAPSHOT},
};

const OTHER_IMAGE: &str = "ami-0fedcba9876543210";

/// Two images that were registered from one snapshot.
const ONE_SNAPSHOT: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;

fn share(image: &str, account: &str) -> serde_json::Value {
    json!({"image": {"id": image}, "createVolumePermission": "Accounts", "shareWith": {"accountIds": [account]}})
}

#[tokio::test]
async fn shares_of_two_images_with_one_snapshot_do_not_take_from_each_other() {
    let world = World::start(Setup { scenario: ONE_SNAPSHOT, ..Setup::default() }).await;
    world.create("one", share(IMAGE, "111122223333")).await;
    world.create("other", share(OTHER_IMAGE, "444455556666")).await;
    world.wait_ready("one", "True", "Synced").await;
    world.wait_ready("other", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &["111122223333", "444455556666"]).await;
    world.aws.clear_calls();
    for name in ["one", "other", "one"] {
        world.check_now(name).await;
    }
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    world.delete("one").await;
    world.wait_gone("one").await;
    world.wait_volume_permissions(SNAPSHOT, &["444455556666"]).await;
}

#[tokio::test]
async fn an_operator_with_the_credentials_of_another_account_forgets_nothing_of_what_was_given() {
    let mut world = World::start(Setup::default()).await;
    let mut spec = share(IMAGE, "111122223333");
    spec["mode"] = json!("Additive");
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    let granted = world.status("base").await.granted;
    world.stop_operator().await;
    world.start_operator_as("123412341234").await;
    world.check_now("base").await;
    world.wait_ready("base", "False", "NotOwner").await;
    assert_eq!(world.status("base").await.granted, granted);
    world.stop_operator().await;
    world.start_operator().await;
    world.wait_ready("base", "True", "Synced").await;
    world.delete("base").await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[]).await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
}
