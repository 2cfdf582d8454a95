//! Modes: what a share may change, and what it protects.

use amishare::api::ConditionType;
use serde_json::json;

use crate::harness::{
    Setup, World,
    world::{IMAGE, SNAPSHOT},
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const STRANGER: &str = "666666666666";

/// [`IMAGE`], which somebody has shared with [`STRANGER`] before.
const SHARED_BEFORE: &str = r#"
accounts: [{id: "999988887777"}]
images:
  - id: ami-0123456789abcdef0
    region: us-east-1
    owner: "999988887777"
    snapshots: [snap-0123456789abcdef0]
    launchPermissions: ["666666666666"]
"#;

async fn shared_before() -> World {
    World::start(Setup { scenario: SHARED_BEFORE, ..Setup::default() }).await
}

#[tokio::test]
async fn an_authoritative_share_removes_whom_no_share_lists_in_the_call_that_adds() {
    let world = shared_before().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A]).await;
    assert_eq!(world.changes().len(), 1, "{:?}", world.changes());
    world.wait_event("base", "DriftCorrected", "from 666666666666, whom no AmiShare lists").await;
}

#[tokio::test]
async fn an_additive_share_never_takes_what_it_did_not_give_and_takes_back_what_it_gave() {
    let world = shared_before().await;
    let record = world.record().await;
    let spec = json!({"mode": "Additive", "shareWith": {"accountIds": [A, B, STRANGER]}});
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B, STRANGER]).await;

    world.change("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, STRANGER]).await;

    world.delete("base").await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[STRANGER]).await;
    record.check().await;
}

#[tokio::test]
async fn an_additive_share_inherits_what_another_share_gave_and_the_last_of_them_takes_it_back() {
    for (first, last) in [("whole", "part"), ("part", "whole")] {
        let world = World::start(Setup::default()).await;
        world.create("whole", json!({"shareWith": {"accountIds": [A, B]}})).await;
        world.wait_ready("whole", "True", "Synced").await;
        world.create("part", json!({"mode": "Additive", "shareWith": {"accountIds": [B]}})).await;
        world.wait_ready("part", "True", "Synced").await;
        world.delete(first).await;
        world.wait_gone(first).await;
        world.wait_shared_with(if last == "part" { &[B] } else { &[A, B] }).await;
        world.delete(last).await;
        world.wait_gone(last).await;
        world.wait_shared_with(&[]).await;
    }
}

#[tokio::test]
async fn an_observing_share_changes_nothing_and_says_what_it_would_change() {
    let world = shared_before().await;
    let record = world.record().await;
    let spec = json!({"mode": "Observe", "createVolumePermission": "Accounts", "shareWith": {"accountIds": [A]}});
    world.create("audit", spec).await;
    let message = world.wait_ready("audit", "False", "ChangesPending").await;
    let launch = format!("give launch permission on {IMAGE} to {A} and take it from {STRANGER}");
    let volumes = format!("give createVolumePermission on {SNAPSHOT} to {A}");
    assert!(message.contains(&launch) && message.contains(&volumes), "{message}");
    let status = world.status("audit").await;
    assert_eq!(status.pending_changes, [volumes, launch], "in the order in which they would be made");
    assert_eq!(status.granted, []);
    assert!(world.share("audit").await.metadata.finalizers.is_none(), "it has nothing to take back");

    // What it would do, somebody else does.
    world.stranger_gives(&[A]);
    world.stranger_takes(&[STRANGER]);
    let parameters =
        [("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission"), ("CreateVolumePermission.Add.1.UserId", A)];
    world.rogue(crate::harness::world::OWNER, "ModifySnapshotAttribute", &parameters);
    world.check_now("audit").await;
    world.wait_ready("audit", "True", "Synced").await;
    assert!(world.status("audit").await.pending_changes.is_empty());

    world.delete("audit").await;
    world.wait_gone("audit").await;
    world.wait_shared_with(&[A]).await;
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    record.check().await;
}

#[tokio::test]
async fn whom_an_observing_share_lists_is_not_removed_by_another_until_it_is_gone() {
    let world = World::start(Setup { scenario: SHARED_BEFORE, more_namespaces: 1, ..Setup::default() }).await;
    let spec = json!({"mode": "Observe", "shareWith": {"accountIds": [STRANGER]}});
    world.create("audit", spec).await;
    world.wait_ready("audit", "True", "Synced").await;
    let there = world.namespaces[1].clone();
    world.create_in(&there, "owner", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_condition(&there, "owner", "Ready", "True", "Synced").await;
    world.wait_shared_with(&[A, STRANGER]).await;
    world.wait_ready("audit", "True", "Synced").await;
    world.delete("audit").await;
    world.wait_shared_with(&[A]).await;
}

#[tokio::test]
async fn a_mode_takes_effect_when_it_is_set_and_ends_when_it_is_set_back() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;

    world.change("base", json!({"mode": "Observe", "shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("base", "False", "ChangesPending").await;
    world.stranger_gives(&[STRANGER]);
    world.check_now("base").await;
    world.wait_shared_with(&[A, STRANGER]).await;

    // It still knows what it gave before, and takes back that and nothing else.
    world.change("base", json!({"mode": "Additive"})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[B, STRANGER]).await;
    assert!(world.status("base").await.pending_changes.is_empty());

    world.change("base", json!({"mode": "Authoritative", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A]).await;
    assert!(world.condition("base", ConditionType::Stalled).await.is_none());
    record.check().await;
}

#[tokio::test]
async fn a_share_that_observes_when_it_moves_to_another_image_says_what_is_left_on_the_old_one() {
    let world = World::start(Setup { scenario: crate::moving::TWO_IMAGES, ..Setup::default() }).await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.change("base", json!({"mode": "Observe", "image": {"id": crate::moving::OTHER_IMAGE}})).await;
    // It waits for a person, who has to say that changes may be made: it is not under way.
    world.wait_ready("base", "False", "ChangesPending").await;
    let pending = world.status("base").await.pending_changes.join("; ");
    assert!(pending.contains(&format!("give launch permission on {} to {A}", crate::moving::OTHER_IMAGE)), "{pending}");
    assert!(pending.contains(&format!("take back what was given on {IMAGE}")), "{pending}");
    assert!(world.changes().is_empty(), "{:?}", world.changes());

    world.change("base", json!({"mode": "Authoritative"})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[]).await;
    world.wait_launch_permissions(crate::moving::OTHER_IMAGE, &[A]).await;
    record.check().await;
}
