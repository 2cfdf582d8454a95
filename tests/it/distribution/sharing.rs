//! The AmiShares of a distribution.

use serde_json::json;

use super::world::{EU, children, create, held, images, patch, start, target, wait_ready};
use crate::harness::eventually;

const A: &str = "111122223333";
const B: &str = "444455556666";

#[tokio::test]
async fn a_child_that_is_edited_or_deleted_by_hand_is_put_right() {
    let world = start().await;
    let spec = json!({"targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let copy = images(&world, EU)[0].id.clone();
    let child = children(&world).await.remove(0).metadata.name.unwrap();
    assert!(child.starts_with("base-eu-"), "{child}");
    world
        .change(
            &child,
            json!({"shareWith": {"accountIds": [A, B]}, "suspend": true, "expiresAt": "2036-01-01T00:00:00Z"}),
        )
        .await;
    eventually("the child is as it was", || async {
        let spec = world.share(&child).await.spec;
        let is_right = !spec.suspend && spec.expires_at.is_none() && spec.share_with.account_ids.len() == 1;
        if is_right { Ok(()) } else { Err(format!("{spec:?}")) }
    })
    .await;
    world.delete(&child).await;
    eventually("the child is back", || async {
        let share = world.shares().get_opt(&child).await.unwrap();
        if share.is_some_and(|share| share.metadata.deletion_timestamp.is_none()) {
            Ok(())
        } else {
            Err("no".to_owned())
        }
    })
    .await;
    wait_ready(&world, "base", "True", "Synced").await;
    eventually("the copy is shared", || async {
        let held = held(&world, EU, &copy);
        if held == [A] { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_target_may_be_shared_otherwise_and_changes_are_followed() {
    let world = start().await;
    let targets = json!([
        {"name": "eu", "region": EU, "share": {"shareWith": {"accountIds": [B]}}}, {"name": "us", "region": "us-west-2"},
    ]);
    create(&world, "base", json!({"targets": targets, "share": {"shareWith": {"accountIds": [A]}}})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let held = |region: &str| held(&world, region, &images(&world, region)[0].id);
    assert_eq!((held(EU), held("us-west-2")), (vec![B.to_owned()], vec![A.to_owned()]));
    patch(&world, "base", json!({"spec": {"share": {"shareWith": {"accountIds": [A, B]}}}})).await;
    eventually("the other one is shared with both", || async {
        let now = held("us-west-2");
        if now.len() == 2 { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    assert!(target(&world, "base", "eu").await.ready);
    assert_eq!(held(EU), [B]);
}
