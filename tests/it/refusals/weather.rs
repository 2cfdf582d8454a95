//! Bad weather: throttling, server errors, broken connections. The share gets over it by itself.

use amishare::simulator::{Fault, FaultKind};

use super::{always, is, wait_calls, with_accounts};
use crate::harness::{
    Setup, World,
    world::{IMAGE, SNAPSHOT},
};

const ACCOUNT: &str = "111122223333";

/// The attempts that the SDK makes before it reports a failure.
const ATTEMPTS: u32 = 3;

/// A world with this fault and a share that needs every action.
async fn world_with(fault: Fault) -> World {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(fault);
    world.apply("base", &(with_accounts(&[ACCOUNT]) + "\n  createVolumePermission: Accounts")).await;
    world
}

/// The share has become ready by itself, and AWS and the record are as they should be.
async fn is_over_it(world: &World) {
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[ACCOUNT]).await;
    world.wait_volume_permissions(SNAPSHOT, &[ACCOUNT]).await;
    let status = world.status("base").await;
    assert_eq!(status.granted.len(), 1);
    assert_eq!(status.granted[0].launch_permission.iter().count(), 1);
    assert_eq!(status.granted[0].create_volume_permission.len(), 1);
    assert!(!is(world, "base", "Reconciling").await && !is(world, "base", "Stalled").await);
}

/// A share that is ready gets something new to do while a fault lasts: it says so, and that nobody need do anything, tries again
/// by itself, and gets well when the fault is over.
async fn gets_over(kind: FaultKind, action: &str, reason: &str, says: &str) {
    let world = World::start(Setup::default()).await;
    world.apply("base", &with_accounts(&["444455556666"])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.add_fault(always(kind, action));
    world.aws.clear_calls();
    world.apply("base", &(with_accounts(&[ACCOUNT]) + "\n  createVolumePermission: Accounts")).await;
    let message = world.wait_ready("base", "False", reason).await;
    assert!(message.contains(says), "{message}");
    assert!(is(&world, "base", "Reconciling").await, "nobody has to do anything");
    assert!(!is(&world, "base", "Stalled").await);
    wait_calls(&world, action, ATTEMPTS as usize + 1).await;
    world.aws.clear_faults();
    is_over_it(&world).await;
}

#[tokio::test]
async fn it_gets_over_throttling_of_reads() {
    let says = "DescribeImages was refused: RequestLimitExceeded: Request limit exceeded.";
    gets_over(FaultKind::Throttle, "DescribeImages", "Throttled", says).await;
}

#[tokio::test]
async fn it_gets_over_throttling_of_writes() {
    let says = "ModifyImageAttribute was refused: RequestLimitExceeded";
    gets_over(FaultKind::Throttle, "ModifyImageAttribute", "Throttled", says).await;
}

#[tokio::test]
async fn it_gets_over_throttling_of_what_snapshots_are_read_with() {
    let says = "DescribeSnapshotAttribute was refused: RequestLimitExceeded";
    gets_over(FaultKind::Throttle, "DescribeSnapshotAttribute", "Throttled", says).await;
}

#[tokio::test]
async fn it_gets_over_server_errors_with_a_code() {
    let fault = FaultKind::ServerError { status: 500, html: false };
    gets_over(fault, "ModifySnapshotAttribute", "AwsUnavailable", "ModifySnapshotAttribute was refused: InternalError")
        .await;
}

#[tokio::test]
async fn it_gets_over_the_web_page_of_a_load_balancer() {
    let fault = FaultKind::ServerError { status: 503, html: true };
    gets_over(
        fault,
        "DescribeImageAttribute",
        "AwsUnavailable",
        "DescribeImageAttribute got no answer: HTTP status 503",
    )
    .await;
}

#[tokio::test]
async fn it_gets_over_a_connection_that_is_reset_before_the_call_takes_effect() {
    let says = "ModifyImageAttribute got no answer: AWS could not be reached";
    gets_over(FaultKind::ResetBefore, "ModifyImageAttribute", "AwsUnavailable", says).await;
}

#[tokio::test]
async fn a_call_that_took_effect_without_an_answer_is_seen_at_the_next_look() {
    for action in ["ModifyImageAttribute", "ModifySnapshotAttribute"] {
        let world = world_with(Fault::new(FaultKind::ResetAfter).on(action).times(ATTEMPTS)).await;
        is_over_it(&world).await;
        let calls = world.aws.calls();
        let hit: Vec<_> = calls.iter().filter(|call| call.action == action).collect();
        assert!(hit.len() == 3 && hit.iter().all(|call| call.fault == Some("resetAfter")), "{hit:?}");
    }
}

#[tokio::test]
async fn a_removal_without_an_answer_is_not_forgotten() {
    let world = world_with(Fault::new(FaultKind::ResetBefore).on("GetCallerIdentity")).await;
    is_over_it(&world).await;
    world.aws.add_fault(Fault::new(FaultKind::ResetBefore).on("ModifyImageAttribute").times(ATTEMPTS));
    world.kubectl(&["delete", "ams", "base", "--wait=false"]).await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty() && world.volume_permissions(SNAPSHOT).is_empty());
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let world = world_with(Fault::new(FaultKind::Delay { milliseconds: 1500 }).times(4)).await;
    is_over_it(&world).await;
    assert!(world.aws.calls().iter().all(|call| call.attempt == Some(1)), "nothing had to be tried twice");
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_asked_for_again() {
    for action in ["DescribeImages", "ModifyImageAttribute"] {
        let world = world_with(Fault::new(FaultKind::Stall).on(action).times(1)).await;
        is_over_it(&world).await;
        assert_eq!(world.calls_by_action()[action], 2, "{action}");
    }
}
