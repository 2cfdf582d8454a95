//! How it ends: in good order, at once, or killed, and what the next start makes of that.

use std::os::unix::process::ExitStatusExt;

use amishare::simulator::{Fault, FaultKind};

use crate::harness::{
    Setup, World, eventually,
    process::Operator,
    world::{IMAGE, SNAPSHOT},
};

const TWO_ACCOUNTS: &str = "  shareWith: {accountIds: [\"111122223333\", \"444455556666\"]}";
const BOTH: [&str; 2] = ["111122223333", "444455556666"];

/// Three snapshots, so that a change can be interrupted between them.
const THREE_SNAPSHOTS: &str = r#"
accounts: [{id: "999988887777"}]
images:
  - id: ami-0123456789abcdef0
    region: us-east-1
    owner: "999988887777"
    name: golden
    snapshots: [snap-0123456789abcdef0, snap-0123456789abcdef1, snap-0123456789abcdef2]
"#;
const SNAPSHOTS: [&str; 3] = [SNAPSHOT, "snap-0123456789abcdef1", "snap-0123456789abcdef2"];

async fn called(world: &World, action: &str, times: usize) {
    eventually(&format!("{action} is called"), || async {
        let calls = world.calls_by_action();
        if calls.get(action).is_some_and(|count| *count >= times) { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
}

#[tokio::test]
async fn asked_to_stop_it_finishes_what_is_under_way_and_says_meanwhile_that_it_is_not_ready() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &["--shutdown-grace=1m"]).await;
    world.aws.add_fault(Fault::new(FaultKind::Delay { milliseconds: 4000 }).on("ModifyImageAttribute").times(1));
    world.apply("base", TWO_ACCOUNTS).await;
    called(&world, "ModifyImageAttribute", 1).await;
    operator.process.signal("TERM");
    operator.readyz(503, "operator: stopping").await;
    assert_eq!(operator.get("/healthz").await.0, 200);
    assert!(world.status("base").await.shared_with.is_none(), "AWS has not answered yet");
    let Operator { mut process, .. } = operator;
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
    assert!(process.stderr().contains("\"message\":\"stopped\""), "{}", process.stderr());
    let left = world.status("base").await;
    assert_eq!(left.shared_with.unwrap().accounts, 2, "the answer of AWS has been reported");
    assert_eq!(world.calls_by_action()["ModifyImageAttribute"], 1);
}

#[tokio::test]
async fn work_that_outlasts_the_grace_is_left_to_the_next_start() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &["--shutdown-grace=1s"]).await;
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifyImageAttribute").times(1));
    world.apply("base", TWO_ACCOUNTS).await;
    called(&world, "ModifyImageAttribute", 1).await;
    operator.process.signal("TERM");
    let Operator { mut process, .. } = operator;
    assert_eq!(process.ended().await.code(), Some(0));
    let log = process.stderr();
    assert!(log.contains("stopping with work under way; the next start completes it"), "{log}");
    assert!(world.status("base").await.shared_with.is_none());
    let _next = Operator::of(&world, &[]).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.calls_by_action()["ModifyImageAttribute"], 1, "the first call had taken effect");
    world.wait_shared_with(&BOTH).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let world = World::without_operator(Setup::default()).await;
    // Longer than the test may take.
    let operator = Operator::of(&world, &["--shutdown-grace=1h", "--reconcile-deadline=1h"]).await;
    world.aws.add_fault(Fault::new(FaultKind::Stall));
    world.apply("base", TWO_ACCOUNTS).await;
    called(&world, "DescribeImages", 1).await;
    operator.process.signal("TERM");
    operator.process.logged("a second signal stops at once").await;
    operator.process.signal("TERM");
    let Operator { mut process, .. } = operator;
    let status = process.ended().await;
    assert_eq!((status.code(), status.signal()), (Some(130), None), "{}", process.stderr());
}

#[tokio::test]
async fn killed_between_two_calls_that_give_the_next_start_gives_the_rest_and_nothing_twice() {
    let world = World::without_operator(Setup { scenario: THREE_SNAPSHOTS, ..Setup::default() }).await;
    let operator = Operator::of(&world, &[]).await;
    // The first snapshot's call is answered; the second one takes effect and is never answered.
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifySnapshotAttribute").after(1));
    world.apply("base", &format!("{TWO_ACCOUNTS}\n  createVolumePermission: Accounts")).await;
    called(&world, "ModifySnapshotAttribute", 2).await;
    operator.process.kill();
    assert!(world.launch_permissions(IMAGE).is_empty(), "the snapshots come first");
    let given = SNAPSHOTS.iter().filter(|snapshot| !world.volume_permissions(snapshot).is_empty()).count();
    assert!((1..=3).contains(&given), "{given}");
    world.aws.clear_faults();
    world.aws.clear_calls();
    let _next = Operator::of(&world, &[]).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&BOTH).await;
    for snapshot in SNAPSHOTS {
        world.wait_volume_permissions(snapshot, &BOTH).await;
    }
    let calls = world.calls_by_action();
    assert_eq!(calls["ModifyImageAttribute"], 1);
    assert_eq!(calls.get("ModifySnapshotAttribute").copied().unwrap_or_default(), 3 - given, "{calls:?}");
}

#[tokio::test]
async fn killed_while_it_takes_back_the_next_start_takes_the_rest_and_lets_the_object_go() {
    let world = World::without_operator(Setup { scenario: THREE_SNAPSHOTS, ..Setup::default() }).await;
    let operator = Operator::of(&world, &[]).await;
    // Additive: only the record in the status tells whom to remove.
    world.apply("base", &format!("{TWO_ACCOUNTS}\n  createVolumePermission: Accounts\n  mode: Additive")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifyImageAttribute"));
    world.kubectl(&["delete", "amishare", "base", "--wait=false"]).await;
    called(&world, "ModifyImageAttribute", 1).await;
    operator.process.kill();
    assert!(world.launch_permissions(IMAGE).is_empty(), "the image is the first to go");
    assert!(world.shares().get_opt("base").await.unwrap().is_some(), "the finalizer is the last");
    world.aws.clear_faults();
    let _next = Operator::of(&world, &[]).await;
    world.wait_gone("base").await;
    for snapshot in SNAPSHOTS {
        assert!(world.volume_permissions(snapshot).is_empty(), "{snapshot}");
    }
}

#[tokio::test]
async fn killed_before_an_object_could_be_reported_the_next_start_reports_it() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &[]).await;
    world.aws.add_fault(Fault::new(FaultKind::ResetAfter).on("ModifyImageAttribute"));
    world.apply("base", TWO_ACCOUNTS).await;
    called(&world, "ModifyImageAttribute", 1).await;
    operator.process.kill();
    let granted = world.status("base").await.granted;
    assert!(!granted.is_empty(), "what is about to be given is recorded before it is given");
    world.aws.clear_faults();
    let _next = Operator::of(&world, &[]).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&BOTH).await;
}
