//! Suspension and expiry.

use amishare::api::ConditionType;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::harness::{
    Setup, World,
    actions::in_seconds,
    world::{IMAGE, OWNER, SNAPSHOT},
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const STRANGER: &str = "666666666666";

#[tokio::test]
async fn a_suspended_share_is_left_alone_until_it_is_not() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"suspend": true})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.wait_event("base", "Suspended", "nothing is checked or changed").await;
    world.aws.clear_calls();
    world.stranger_gives(&[STRANGER]);
    world.change("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.check_now("base").await;
    assert!(world.aws.calls().is_empty(), "{:?}", world.aws.calls());
    world.wait_shared_with(&[A, STRANGER]).await;

    world.change("base", json!({"suspend": false})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    record.check().await;
}

#[tokio::test]
async fn whom_a_suspended_share_lists_is_not_removed_by_another() {
    let world = World::start(Setup { more_namespaces: 1, ..Setup::default() }).await;
    let there = world.namespaces[1].clone();
    world.create("base", json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"suspend": true})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    let spec = json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [B]}});
    world.create_in(&there, "other", spec).await;
    world.wait_condition(&there, "other", "Ready", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    world.wait_volume_permissions(SNAPSHOT, &[A, B]).await;
    // But it does not give back what it lists either.
    world.stranger_takes(&[A]);
    world.shares_in(&there).delete("other", &DeleteParams::default()).await.unwrap();
    world.wait_shared_with(&[]).await;
}

#[tokio::test]
async fn a_suspended_share_that_is_deleted_takes_back_what_it_gave() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"suspend": true})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.delete("base").await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[]).await;
}

#[tokio::test]
async fn a_share_that_begins_suspended_gives_nothing_and_holds_nothing() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"suspend": true, "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    assert!(world.share("base").await.metadata.finalizers.is_none());
    assert!(world.aws.calls().is_empty(), "{:?}", world.aws.calls());
    world.delete("base").await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn a_share_ends_when_its_time_is_over_and_begins_again_when_it_is_prolonged() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    let spec = json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}});
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    let end = in_seconds(4);
    world.change("base", json!({"expiresAt": end})).await;
    let message = world.wait_ready("base", "False", "Expired").await;
    assert!(message.contains("gives nobody anything"), "{message}");
    world.wait_condition(world.namespace(), "base", "Expired", "True", "Expired").await;
    assert!(world.launch_permissions(IMAGE).is_empty() && world.volume_permissions(SNAPSHOT).is_empty());
    for change in world.changes() {
        let late = change.time.as_second() - end.as_second();
        // Generous for a slow machine, and far from the interval of ten minutes.
        assert!((0..30).contains(&late), "{} {late} seconds after the end", change.action);
    }
    world.wait_event("base", "Revoked", A).await;
    assert_eq!(world.status("base").await.shared_with.unwrap().accounts, 0);

    world.change("base", json!({"expiresAt": in_seconds(3600)})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    assert!(world.condition("base", ConditionType::Expired).await.is_none());
    record.check().await;
}

#[tokio::test]
async fn what_was_given_on_the_snapshots_of_a_disabled_image_is_taken_back_when_it_is_listed_no_more() {
    let world = World::start(Setup::default()).await;
    let lists =
        |accounts: &[&str]| json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": accounts}});
    world.create("base", lists(&[A, B])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.rogue(OWNER, "DisableImage", &[("ImageId", IMAGE)]);
    world.change("base", json!({"shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("base", "False", "ImageDisabled").await;
    world.wait_volume_permissions(SNAPSHOT, &[B]).await;
    world.change("base", json!({"expiresAt": in_seconds(-1)})).await;
    world.wait_ready("base", "False", "Expired").await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
    assert!(world.status("base").await.granted.is_empty());
}

#[tokio::test]
async fn a_share_whose_time_was_over_before_it_came_gives_nothing() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"expiresAt": in_seconds(-1), "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "False", "Expired").await;
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    world.change("base", json!({"expiresAt": Value::Null})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A]).await;
    record.check().await;
}

#[tokio::test]
async fn whom_another_share_lists_keeps_access_when_one_expires() {
    let world = World::start(Setup::default()).await;
    world.create("ends", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.create("stays", json!({"mode": "Additive", "shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("ends", "True", "Synced").await;
    world.wait_ready("stays", "True", "Synced").await;
    world.change("ends", json!({"expiresAt": in_seconds(-1)})).await;
    world.wait_ready("ends", "False", "Expired").await;
    world.wait_shared_with(&[B]).await;
}

#[tokio::test]
async fn a_share_that_is_over_takes_back_what_it_lists_and_has_no_say_over_what_others_give() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"expiresAt": in_seconds(-1)})).await;
    world.wait_ready("base", "False", "Expired").await;
    world.wait_shared_with(&[]).await;
    world.stranger_gives(&[STRANGER]);
    world.check_now("base").await;
    world.wait_ready("base", "False", "Expired").await;
    world.wait_shared_with(&[STRANGER]).await;
    // Valid again, it decides again.
    world.change("base", json!({"expiresAt": null})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn an_additive_share_that_expires_takes_back_only_what_it_gave() {
    let world = World::start(Setup::default()).await;
    world.stranger_gives(&[STRANGER]);
    world.create("base", json!({"mode": "Additive", "shareWith": {"accountIds": [A, STRANGER]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"expiresAt": in_seconds(-1)})).await;
    world.wait_ready("base", "False", "Expired").await;
    world.wait_shared_with(&[STRANGER]).await;
}

#[tokio::test]
async fn a_share_does_not_expire_while_it_is_suspended_and_does_as_soon_as_it_is_not() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"suspend": true, "expiresAt": in_seconds(-1)})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.wait_shared_with(&[A]).await;
    world.change("base", json!({"suspend": false})).await;
    world.wait_ready("base", "False", "Expired").await;
    world.wait_shared_with(&[]).await;
}
