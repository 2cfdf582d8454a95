//! The ownership record: it is stored before the call that gives, so that nothing is ever given that nobody answers for.

use std::collections::BTreeSet;

use amishare::{
    api::ConditionType,
    simulator::{Fault, FaultKind},
};
use serde_json::json;

use crate::harness::{
    Setup, World, eventually,
    world::{IMAGE, SNAPSHOT},
};

const A: &str = "111111111111";
const B: &str = "222222222222";

fn both() -> BTreeSet<String> {
    BTreeSet::from([A.into(), B.into()])
}

/// A world whose operator does not wait for work under way when it is stopped: as near to a crash as one process gets.
async fn that_can_crash() -> World {
    World::start(Setup { flags: &["--shutdown-grace=0s"], ..Setup::default() }).await
}

/// Waits until a call that gives launch permissions has reached AWS.
async fn wait_change(world: &World) {
    eventually("a change reaches AWS", || async { if world.changes().is_empty() { Err("none") } else { Ok(()) } })
        .await;
}

#[tokio::test]
async fn what_is_given_is_on_record_before_aws_is_called() {
    let world = World::start(Setup::default()).await;
    // The call takes effect and its answer never comes: the operator does not know yet that it has given anything.
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifyImageAttribute").times(1));
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_shared_with(&[A, B]).await;
    assert_eq!(world.on_record("base", IMAGE).await, both());
    let share = world.share("base").await;
    assert_eq!(share.metadata.finalizers.unwrap(), [amishare::api::FINALIZER], "and nobody can delete it unnoticed");
    let ready = world.condition("base", amishare::api::ConditionType::Ready).await.unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("Unknown", "Progressing"));
}

#[tokio::test]
async fn what_was_given_in_a_call_without_an_answer_is_taken_back_after_a_crash() {
    let mut world = that_can_crash().await;
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifyImageAttribute").times(1));
    world.create("base", json!({"mode": "Additive", "shareWith": {"accountIds": [A, B]}})).await;
    world.wait_shared_with(&[A, B]).await;
    world.stop_operator().await;
    world.delete("base").await;
    world.start_operator().await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[]).await;
}

#[tokio::test]
async fn a_crash_before_the_call_leaves_a_record_that_the_next_start_fulfils() {
    let mut world = that_can_crash().await;
    world.aws.add_fault(Fault::new(FaultKind::ResetBefore).on("ModifyImageAttribute"));
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    wait_change(&world).await;
    assert_eq!(world.on_record("base", IMAGE).await, both());
    world.stop_operator().await;
    world.aws.clear_faults();
    world.wait_shared_with(&[]).await;
    world.start_operator().await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn a_record_of_what_was_never_given_does_not_hold_up_a_deletion() {
    let mut world = that_can_crash().await;
    world.aws.add_fault(Fault::new(FaultKind::ResetBefore).on("ModifyImageAttribute"));
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    wait_change(&world).await;
    world.stop_operator().await;
    world.aws.clear_faults();
    world.aws.clear_calls();
    world.delete("base").await;
    world.start_operator().await;
    world.wait_gone("base").await;
    // AWS may show late what was given, so what is on record is taken back once, seen or not.
    assert_eq!(world.changes().len(), 1, "{:?}", world.changes());
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_call_that_took_effect_without_an_answer_is_not_undone_and_not_repeated_for_ever() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.aws.add_fault(Fault::new(FaultKind::ResetAfter).on("ModifyImageAttribute").times(1));
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    assert_eq!(world.on_record("base", IMAGE).await, both());
    world.aws.clear_calls();
    world.check_now("base").await;
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    record.check().await;
}

#[tokio::test]
async fn what_aws_denied_is_not_reported_as_given_and_is_given_once_it_is_allowed() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("ModifyImageAttribute"));
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    let message = world.wait_ready("base", "False", "AccessDenied").await;
    assert!(message.contains(&format!("not given to {A}, {B}: ModifyImageAttribute was refused")), "{message}");
    assert_eq!(world.status("base").await.shared_with.unwrap().accounts, 0);
    world.aws.clear_faults();
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    record.check().await;
}

#[tokio::test]
async fn a_check_that_is_denied_as_the_one_before_writes_nothing() {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("ModifyImageAttribute"));
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "False", "AccessDenied").await;
    // A second share, so that the first is checked without a write that the request itself asks for.
    world.create("other", json!({"mode": "Observe", "shareWith": {"accountIds": []}})).await;
    world.settled("other").await;
    world.check_now("other").await;
    let before = world.version("base").await;
    world.check_now("other").await;
    world.check_now("other").await;
    assert_eq!(world.version("base").await, before);
}

#[tokio::test]
async fn what_is_given_at_the_second_attempt_was_not_drift() {
    let world = World::start(Setup::default()).await;
    // More than the SDK tries by itself.
    world
        .aws
        .add_fault(Fault::new(FaultKind::ServerError { status: 503, html: true }).on("ModifyImageAttribute").times(3));
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "False", "AwsUnavailable").await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_event("base", "Synced", "shared with 1 account").await;
    let events = world.events("base").await;
    assert!(events.iter().all(|(_, reason, _)| reason != "DriftCorrected"), "nobody changed AWS: {events:?}");
    world.wait_event("base", "Shared", A).await;
    assert_eq!(world.metric("amishare_drift_corrected_total"), 0);
}

#[tokio::test]
async fn twenty_accounts_are_given_in_one_call_and_exchanged_for_others_in_one_call() {
    let world = World::start(Setup::default()).await;
    let accounts = |from: u64| (from..from + 20).map(|n| format!("{n:012}")).collect::<Vec<_>>();
    world.create("base", json!({"shareWith": {"accountIds": accounts(1)}})).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.changes().len(), 1, "{:?}", world.changes());
    let reads = world.calls_by_action();

    world.aws.clear_calls();
    world.change("base", json!({"shareWith": {"accountIds": accounts(11)}})).await;
    world.wait_ready("base", "True", "Synced").await;
    let changes = world.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let named = |prefix: &str| changes[0].params.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((named("LaunchPermission.Add."), named("LaunchPermission.Remove.")), (10, 10));
    assert_eq!(world.launch_permissions(IMAGE), accounts(11).into_iter().collect());
    assert_eq!(reads.values().sum::<usize>(), 3, "two to look and one to change: {reads:?}");
}

/// Wipes the status of a share, as a restore from a backup without statuses does.
pub async fn wipe_status(world: &World, name: &str) {
    let patch = ["patch", "amishare", name, "--subresource=status", "--type=merge", "--patch", r#"{"status": null}"#];
    world.kubectl(&patch).await;
}

/// A world without an operator, whose share has given the image and its snapshot and does not know it any more.
async fn after_losing_a_record() -> World {
    let mut world = World::start(Setup::default()).await;
    let spec = json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}});
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    world.stop_operator().await;
    wipe_status(&world, "base").await;
    world
}

#[tokio::test]
async fn a_status_that_is_wiped_is_written_anew_at_once() {
    let world = World::start(Setup::default()).await;
    world.create("base", json!({"interval": "24h", "shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    wipe_status(&world, "base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.on_record("base", IMAGE).await, both());
}

#[tokio::test]
async fn an_authoritative_share_that_lost_its_record_takes_back_whom_it_lists_when_it_is_deleted() {
    let mut world = after_losing_a_record().await;
    world.delete("base").await;
    world.start_operator().await;
    world.wait_gone("base").await;
    world.wait_shared_with(&[]).await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
}

#[tokio::test]
async fn a_lost_record_is_not_taken_for_an_empty_one_when_aws_cannot_be_asked_at_first() {
    let mut world = after_losing_a_record().await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("DescribeImages"));
    world.start_operator().await;
    let says = |reason: &'static str| {
        let world = &world;
        eventually(reason, move || async move {
            let ready = world.condition("base", ConditionType::Ready).await.map(|ready| ready.reason);
            if ready.as_deref() == Some(reason) { Ok(()) } else { Err(format!("{ready:?}")) }
        })
    };
    says("AccessDenied").await;
    world.delete("base").await;
    says("DeletionBlocked").await;
    world.aws.clear_faults();
    world.wait_gone("base").await;
    world.wait_shared_with(&[]).await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
}
