//! Drift: changes by others are found and put right, on time, when asked, and without noise.

use std::collections::BTreeSet;

use amishare::simulator::Call;
use serde_json::json;

use crate::harness::{
    Setup, World, eventually,
    world::{IMAGE, OWNER, SNAPSHOT},
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const STRANGER: &str = "666666666666";

#[tokio::test]
async fn drift_is_put_right_in_one_call_and_events_say_what_was_changed() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.stranger_gives(&[STRANGER]);
    world.stranger_takes(&[B]);
    world.check_now("base").await;
    world.wait_shared_with(&[A, B]).await;
    assert_eq!(world.changes().len(), 1, "{:?}", world.changes());
    let image = format!("launch permission on {IMAGE}");
    world.wait_event("base", "DriftCorrected", &format!("gave {image} back to {B}, who had lost it")).await;
    world.wait_event("base", "DriftCorrected", &format!("took {image} from {STRANGER}, whom no AmiShare lists")).await;
    let shared: Vec<_> = world.events("base").await.into_iter().filter(|(_, reason, _)| reason == "Shared").collect();
    assert_eq!(shared.len(), 1, "only what is newly given is shared: {shared:?}");
    assert_eq!(world.metric("amishare_drift_corrected_total"), 2);

    let versions = record.check().await;
    let ready = |v: &&amishare::api::AmiShare| {
        v.status.as_ref().is_some_and(|s| s.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    let flickers = versions.iter().skip_while(|v| !ready(v)).filter(|v| !ready(v)).count();
    assert_eq!(flickers, 0, "a share whose drift is put right stays Ready");
}

#[tokio::test]
async fn drift_of_a_snapshot_is_put_right_too() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    let base = [("SnapshotId", SNAPSHOT), ("Attribute", "createVolumePermission")];
    let change = |parameter| [base[0], base[1], parameter];
    world.rogue(OWNER, "ModifySnapshotAttribute", &change(("CreateVolumePermission.Add.1.UserId", STRANGER)));
    world.rogue(OWNER, "ModifySnapshotAttribute", &change(("CreateVolumePermission.Remove.1.UserId", B)));
    world.check_now("base").await;
    world.wait_volume_permissions(SNAPSHOT, &[A, B]).await;
    let snapshot = format!("createVolumePermission on {SNAPSHOT}");
    world.wait_event("base", "DriftCorrected", &format!("gave {snapshot} back to {B}, who had lost it")).await;
    world.wait_event("base", "DriftCorrected", &format!("took {snapshot} from {STRANGER}")).await;
}

#[tokio::test]
async fn events_tell_what_was_shared_and_what_was_revoked() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    let image = format!("launch permission on {IMAGE}");
    for (reason, note) in [
        ("Shared", format!("gave {image} to {A}")),
        ("Shared", format!("gave {image} to {B}")),
        ("Revoked", format!("took {image} from {A}")),
    ] {
        world.wait_event("base", reason, &note).await;
    }
    let events = world.events("base").await;
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events.iter().all(|(kind, ..)| kind == "Normal"), "{events:?}");
}

#[tokio::test]
async fn a_share_is_checked_at_its_interval_without_any_event() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"interval": "10s", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.stranger_gives(&[STRANGER]);
    world.wait_shared_with(&[A]).await;
    // And it goes on.
    world.stranger_takes(&[A]);
    world.wait_shared_with(&[A]).await;
    let looks = looks(&world, IMAGE);
    let gap = looks[1].time.as_second() - looks[0].time.as_second();
    assert!((8..=30).contains(&gap), "{gap} seconds between two checks");
}

/// The calls that look at the launch permissions of an image.
fn looks(world: &World, image: &str) -> Vec<Call> {
    let about = |call: &Call| call.params.get("ImageId").is_some_and(|id| id == image);
    world.aws.calls().into_iter().filter(|c| c.action == "DescribeImageAttribute" && about(c)).collect()
}

#[tokio::test]
async fn a_shorter_interval_takes_effect_at_once() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"interval": "24h", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"interval": "10s"})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.stranger_gives(&[STRANGER]);
    world.wait_shared_with(&[A]).await;
}

#[tokio::test]
async fn of_several_shares_of_one_image_the_shortest_interval_counts() {
    let world = World::start(Setup::default()).await;
    world.create("often", json!({"interval": "10s", "mode": "Observe", "shareWith": {"accountIds": [A]}})).await;
    world.create("seldom", json!({"interval": "24h", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("often", "True", "Synced").await;
    world.wait_ready("seldom", "True", "Synced").await;
    world.stranger_gives(&[STRANGER]);
    world.wait_shared_with(&[A]).await;
}

#[tokio::test]
async fn the_annotation_has_a_share_checked_now_and_is_echoed() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"interval": "24h", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.status("base").await.last_handled_reconcile_at, None);
    world.stranger_gives(&[STRANGER]);
    world.kubectl(&["annotate", "amishare", "base", "reconcile.amishare.dev/requestedAt=2026-11-21T10:00:00Z"]).await;
    eventually("the request is echoed", || async {
        let echo = world.status("base").await.last_handled_reconcile_at;
        if echo.as_deref() == Some("2026-11-21T10:00:00Z") { Ok(()) } else { Err(format!("{echo:?}")) }
    })
    .await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([A.into()]), "it is echoed once it is done");
}

#[tokio::test]
async fn nothing_is_asked_of_aws_and_nothing_written_when_nothing_is_due() {
    let world = World::start(Setup { scenario: crate::moving::TWO_IMAGES, ..Setup::default() }).await;
    world.create("quiet", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("quiet", "True", "Synced").await;
    // What its own writes may still ask for is over when a check on request is.
    world.check_now("quiet").await;
    let mut last = (world.version("quiet").await, looks(&world, IMAGE).len());
    let mut round = 0;
    let mut calm = 0;
    // Another share comes and goes, again and again: meanwhile the quiet one is left alone.
    while calm < 3 {
        round += 1;
        assert!(round < 10, "it is still busy after {round} rounds");
        let name = format!("busy-{round}");
        let image = crate::moving::OTHER_IMAGE;
        world.create(&name, json!({"image": {"id": image}, "shareWith": {"accountIds": [B]}})).await;
        world.wait_ready(&name, "True", "Synced").await;
        world.delete(&name).await;
        world.wait_gone(&name).await;
        let now = (world.version("quiet").await, looks(&world, IMAGE).len());
        assert_eq!(now.0, last.0, "nothing is written");
        calm = if now == last { calm + 1 } else { 0 };
        last = now;
    }
    let changes: Vec<Call> = world.changes().into_iter().filter(|c| c.params["ImageId"] == IMAGE).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(world.events("quiet").await.len(), 1);
}

#[tokio::test]
async fn a_check_that_finds_nothing_writes_nothing() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}})).await;
    world.create("more", json!({"mode": "Additive", "shareWith": {"accountIds": [B]}})).await;
    world.create("audit", json!({"mode": "Observe", "shareWith": {"accountIds": [A, STRANGER]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_ready("more", "True", "Synced").await;
    world.wait_ready("audit", "False", "ChangesPending").await;
    world.check_now("base").await;
    let before = (world.version("more").await, world.version("audit").await, world.events("base").await.len());
    world.aws.clear_calls();
    world.check_now("base").await;
    let after = (world.version("more").await, world.version("audit").await, world.events("base").await.len());
    assert_eq!(after, before);
    assert!(world.changes().is_empty(), "{:?}", world.changes());
}

#[tokio::test]
async fn a_restart_of_the_operator_changes_nothing_in_aws_and_nothing_in_kubernetes() {
    let mut world = World::start(Setup::default()).await;
    world.create("base", json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}})).await;
    world.create("audit", json!({"mode": "Observe", "shareWith": {"accountIds": [STRANGER]}})).await;
    world.create("off", json!({"suspend": true, "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_ready("audit", "False", "ChangesPending").await;
    world.wait_ready("off", "Unknown", "Suspended").await;
    world.check_now("base").await;
    world.stop_operator().await;
    let versions = async || [world.version("base").await, world.version("audit").await, world.version("off").await];
    let before = versions().await;
    world.aws.clear_calls();
    let reconciles = world.reconciles();
    world.start_operator().await;
    world.wait_reconcile_after(reconciles).await;
    assert!(!looks(&world, IMAGE).is_empty(), "it has looked");
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    assert_eq!([world.version("base").await, world.version("audit").await, world.version("off").await], before);
}

#[tokio::test]
async fn drift_that_came_while_the_operator_was_away_is_put_right_when_it_is_back() {
    let mut world = World::start(Setup::default()).await;
    world.create("base", json!({"interval": "10s", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.stop_operator().await;
    world.stranger_gives(&[STRANGER]);
    world.start_operator().await;
    world.wait_shared_with(&[A]).await;
}
