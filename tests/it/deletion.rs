//! Deletion: it takes back exactly what was given, and it always ends.

use std::collections::BTreeSet;

use amishare::{
    api::{ConditionType, FINALIZER},
    simulator::{Fault, FaultKind},
};
use serde_json::json;

use crate::harness::{
    Setup, World, eventually,
    world::{IMAGE, OWNER, SNAPSHOT},
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const STRANGER: &str = "666666666666";

/// A world with a share that has given everything it can to two accounts.
async fn given(deletion_policy: &str) -> World {
    let world = World::start(Setup::default()).await;
    let spec = json!({
        "deletionPolicy": deletion_policy, "createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]},
    });
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    world
}

fn deny_changes() -> Fault {
    Fault::new(FaultKind::AccessDenied).on("Modify*")
}

#[tokio::test]
async fn a_deleted_share_takes_back_what_it_gave_and_nothing_that_somebody_else_did() {
    let mut world = given("Revoke").await;
    world.stop_operator().await;
    // After the last check: an authoritative share would remove it, but this one only goes.
    world.stranger_gives(&[STRANGER]);
    world.delete("base").await;
    world.start_operator().await;
    world.wait_gone("base").await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([STRANGER.into()]));
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    world
        .wait_event(
            "base",
            "Revoked",
            "took launch permission on ami-0123456789abcdef0 from 111111111111, 222222222222",
        )
        .await;
}

#[tokio::test]
async fn a_deleted_share_closes_the_image_before_its_snapshots() {
    let world = given("Revoke").await;
    world.aws.clear_calls();
    world.delete("base").await;
    world.wait_gone("base").await;
    let order: Vec<String> = world.changes().into_iter().map(|call| call.action).collect();
    assert_eq!(order, ["ModifyImageAttribute", "ModifySnapshotAttribute"]);
}

#[tokio::test]
async fn a_share_that_retains_leaves_aws_as_it_is_and_does_not_even_ask() {
    let world = given("Retain").await;
    world.aws.clear_calls();
    world.delete("base").await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[A, B]).await;
    world.wait_volume_permissions(SNAPSHOT, &[A, B]).await;
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    world.wait_event("base", "Retained", &format!("{A}, {B} keep what they were given")).await;
}

#[tokio::test]
async fn a_share_of_an_image_that_never_existed_can_be_deleted() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"image": {"id": "ami-00000000000000000"}, "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "False", "ImageNotFound").await;
    world.delete("base").await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn a_share_of_an_image_that_has_been_deregistered_can_be_deleted_and_its_snapshots_are_closed() {
    let world = given("Revoke").await;
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.volume_permissions(SNAPSHOT).is_empty(), "the snapshot outlives its image");
}

#[tokio::test]
async fn a_share_whose_image_and_snapshots_are_gone_can_be_deleted() {
    let world = given("Revoke").await;
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", IMAGE)]);
    world.rogue(OWNER, "DeleteSnapshot", &[("SnapshotId", SNAPSHOT)]);
    world.delete("base").await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn a_share_that_never_gave_anything_can_be_deleted_even_when_aws_denies_everything() {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied));
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "False", "AccessDenied").await;
    world.delete("base").await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn a_deletion_that_aws_denies_says_so_and_ends_once_it_is_allowed() {
    let world = given("Revoke").await;
    let record = world.record().await;
    world.aws.add_fault(deny_changes());
    world.delete("base").await;
    let message = world.wait_ready("base", "False", "DeletionBlocked").await;
    for part in [A, B, "ModifyImageAttribute", "UnauthorizedOperation", "amishare.dev/on-delete=abandon"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    world.wait_event("base", "DeletionBlocked", "ModifyImageAttribute").await;
    world.wait_shared_with(&[A, B]).await;

    world.aws.clear_faults();
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    record.check().await;
}

#[tokio::test]
async fn a_deletion_that_waits_for_aws_to_answer_is_under_way_and_not_stalled() {
    let world = given("Revoke").await;
    let record = world.record().await;
    world.aws.add_fault(Fault::new(FaultKind::ServerError { status: 503, html: true }).on("Modify*"));
    world.delete("base").await;
    world.wait_ready("base", "False", "DeletionBlocked").await;
    assert!(world.condition("base", ConditionType::Reconciling).await.is_some());
    assert!(world.condition("base", ConditionType::Stalled).await.is_none());
    world.aws.clear_faults();
    world.wait_gone("base").await;
    record.check().await;
}

#[tokio::test]
async fn a_deletion_is_blocked_as_well_when_the_image_cannot_be_looked_at() {
    let world = given("Revoke").await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("DescribeImage*"));
    world.delete("base").await;
    let message = world.wait_ready("base", "False", "DeletionBlocked").await;
    assert!(message.contains("DescribeImages was refused"), "{message}");
    world.aws.clear_faults();
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn the_annotation_is_the_way_out_of_a_deletion_that_is_blocked() {
    let world = given("Revoke").await;
    world.aws.add_fault(deny_changes());
    world.delete("base").await;
    world.wait_ready("base", "False", "DeletionBlocked").await;
    // Any other value means nothing.
    world.kubectl(&["annotate", "amishare", "base", "amishare.dev/on-delete=please"]).await;
    let before = world.reconciles();
    world.wait_reconcile_after(before).await;
    world.wait_ready("base", "False", "DeletionBlocked").await;

    world.kubectl(&["annotate", "--overwrite", "amishare", "base", "amishare.dev/on-delete=abandon"]).await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn what_cannot_be_taken_from_the_image_is_still_taken_from_its_snapshots() {
    let world = given("Revoke").await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("ModifyImageAttribute"));
    world.delete("base").await;
    world.wait_ready("base", "False", "DeletionBlocked").await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn a_finalizer_of_somebody_else_is_kept_when_ours_comes_and_when_it_goes() {
    const THEIRS: &str = "example.com/keep";
    let world = World::start(Setup::default()).await;
    let share = world.create("base", json!({"shareWith": {"accountIds": []}})).await;
    assert!(share.metadata.finalizers.is_none());
    world.patch("base", json!({"metadata": {"finalizers": [THEIRS]}})).await;
    world.change("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.share("base").await.metadata.finalizers.unwrap(), [THEIRS, FINALIZER]);

    world.delete("base").await;
    eventually("only the other finalizer is left", || async {
        let finalizers = world.share("base").await.metadata.finalizers.unwrap_or_default();
        if finalizers == [THEIRS] { Ok(()) } else { Err(finalizers.join(", ")) }
    })
    .await;
    assert!(world.launch_permissions(IMAGE).is_empty(), "our finalizer goes after the last revocation");
    world.patch("base", json!({"metadata": {"finalizers": []}})).await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn our_finalizer_that_somebody_takes_away_is_put_back_while_there_is_something_to_take_back() {
    let world = given("Revoke").await;
    world.patch("base", json!({"metadata": {"finalizers": []}})).await;
    wait_held(&world).await;
}

#[tokio::test]
async fn a_suspended_share_gets_its_finalizer_back_too_so_that_its_deletion_takes_back_what_it_gave() {
    let world = given("Revoke").await;
    world.change("base", json!({"suspend": true})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.patch("base", json!({"metadata": {"finalizers": []}})).await;
    wait_held(&world).await;
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

async fn wait_held(world: &World) {
    eventually("the finalizer is back", || async {
        let finalizers = world.share("base").await.metadata.finalizers.unwrap_or_default();
        if finalizers == [FINALIZER] { Ok(()) } else { Err(finalizers.join(", ")) }
    })
    .await;
}

#[tokio::test]
async fn a_share_deleted_while_the_operator_was_away_is_cleaned_up_when_it_is_back() {
    let mut world = given("Revoke").await;
    world.stop_operator().await;
    world.delete("base").await;
    assert!(world.share("base").await.metadata.deletion_timestamp.is_some());
    world.start_operator().await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
}

#[tokio::test]
async fn a_share_made_anew_under_the_same_name_owes_nothing_to_the_old_one() {
    let world = given("Retain").await;
    world.delete("base").await;
    world.wait_gone("base").await;
    world.create("base", json!({"mode": "Additive", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.delete("base").await;
    world.wait_gone("base").await;
    // What the first one retained is nobody's any more.
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn the_shares_of_a_deleted_namespace_take_back_what_they_gave() {
    let world = World::start(Setup { more_namespaces: 1, ..Setup::default() }).await;
    let there = world.namespaces[1].clone();
    world.create("stays", json!({"shareWith": {"accountIds": [A]}})).await;
    world.create_in(&there, "goes", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("stays", "True", "Synced").await;
    world.wait_condition(&there, "goes", "Ready", "True", "Synced").await;
    world.kubectl(&["delete", "namespace", &there, "--wait=false"]).await;
    eventually("the share in the deleted namespace is gone", || async {
        match world.shares_in(&there).get_opt("goes").await.unwrap() {
            None => Ok(()),
            Some(share) => Err(serde_json::to_string(&share).unwrap()),
        }
    })
    .await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([A.into()]));
}
