//! Targets and distributions that are deleted.

use serde_json::json;

use super::world::{
    EU, children, create, delete, held, images, patch, snapshots, start, status, wait_gone, wait_ready,
};
use crate::harness::{eventually, world::IMAGE};

const A: &str = "111122223333";
const TWO: &str = r#"[{"name": "eu", "region": "eu-west-1"}, {"name": "us", "region": "us-west-2"}]"#;

#[tokio::test]
async fn a_distribution_that_deletes_its_copies_takes_back_what_they_were_shared_with_and_leaves_nothing() {
    let world = start().await;
    let targets: serde_json::Value = serde_json::from_str(TWO).unwrap();
    let spec = json!({"targets": targets, "deletionPolicy": "Delete", "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    delete(&world, "base").await;
    wait_gone(&world, "base").await;
    for region in [EU, "us-west-2"] {
        assert!(images(&world, region).is_empty() && snapshots(&world, region).is_empty(), "{region}");
    }
    assert!(children(&world).await.is_empty());
    assert!(images(&world, "us-east-1").iter().any(|image| image.id == IMAGE), "never the source");
}

#[tokio::test]
async fn copies_that_are_retained_stay_and_stay_shared() {
    let world = start().await;
    let spec = json!({"targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    delete(&world, "base").await;
    wait_gone(&world, "base").await;
    eventually("its AmiShare is gone", || async {
        let left = children(&world).await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left}")) }
    })
    .await;
    let copies = images(&world, EU);
    assert_eq!(held(&world, EU, &copies[0].id), [A]);
}

#[tokio::test]
async fn a_target_that_is_removed_goes_with_its_copy_and_the_others_stay() {
    let world = start().await;
    let targets: serde_json::Value = serde_json::from_str(TWO).unwrap();
    let spec = json!({"targets": targets, "deletionPolicy": "Delete", "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    patch(&world, "base", json!({"spec": {"targets": [{"name": "us", "region": "us-west-2"}]}})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    assert!(images(&world, EU).is_empty());
    assert_eq!(images(&world, "us-west-2").len(), 1);
    let seen = status(&world, "base").await;
    assert_eq!(seen.targets.len(), 1);
    assert_eq!(seen.ready_targets.as_deref(), Some("1/1"));
}

#[tokio::test]
async fn kubernetes_deletes_the_amishares_of_a_distribution_that_is_abandoned() {
    let world = start().await;
    let spec = json!({
        "targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}, "deletionPolicy": "Delete",
    });
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    world.kubectl(&["annotate", "amd", "base", "amishare.dev/on-delete=abandon"]).await;
    delete(&world, "base").await;
    wait_gone(&world, "base").await;
    eventually("its AmiShare is collected", || async {
        let left = children(&world).await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left}")) }
    })
    .await;
    assert_eq!(images(&world, EU).len(), 1, "AWS stays as it is");
}
