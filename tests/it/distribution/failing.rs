//! Copies that fail.

use serde_json::json;

use super::world::{EU, counts, create, images, snapshots, target, wait_ready};
use crate::harness::{Setup, World};

const TROUBLED: &str = r#"
accounts: [{id: "999988887777"}]
copies: {milliseconds: 300, troubles: [{times: 1, message: "the disk was eaten"}]}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
"#;

#[tokio::test]
async fn a_copy_that_fails_says_why_is_cleaned_up_and_made_again_when_that_is_asked_for() {
    let world = World::start(Setup { scenario: TROUBLED, ..Setup::default() }).await;
    create(&world, "base", json!({"targets": [{"name": "eu", "region": EU}]})).await;
    let ready = wait_ready(&world, "base", "False", "CopyFailed").await;
    assert!(ready.message.contains("the disk was eaten"), "{}", ready.message);
    world.wait_event("base", "CopyFailed", "the disk was eaten").await;
    crate::harness::eventually("what has failed is gone", || async {
        if images(&world, EU).is_empty() && snapshots(&world, EU).is_empty() {
            Ok(())
        } else {
            Err("still there".to_owned())
        }
    })
    .await;
    let line = target(&world, "base", "eu").await;
    assert_eq!((line.failures, line.attempt), (1, 2));
    world.kubectl(&["annotate", "amd", "base", "reconcile.amishare.dev/requestedAt=now"]).await;
    wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!(images(&world, EU).len(), 1);
    assert_eq!(counts(&world)["CopyImage"], 2);
    assert_eq!(target(&world, "base", "eu").await.failures, 0);
}
