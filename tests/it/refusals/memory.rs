//! Whom AWS refused is remembered for a while, and then tried again.

use super::{accounts, changes, with_accounts, without};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER},
};

const CLOSED: &str = r#"
closedAccounts: ["000000000002"]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
"#;

/// A world whose share of three accounts, of which one is closed, has been acted on.
async fn refused(flags: &'static [&'static str], more: &str) -> World {
    let world = World::start(Setup { scenario: CLOSED, flags, ..Setup::default() }).await;
    world.apply("base", &format!("{}{more}", with_accounts(&accounts(3)))).await;
    world.wait_ready("base", "False", "PrincipalRefused").await;
    world.wait_shared_with(&without(&accounts(3), &["000000000002"])).await;
    world
}

fn reopen(world: &World) {
    world.aws.with_world(|aws| aws.closed_accounts.clear());
}

async fn is_healed(world: &World) {
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&without(&accounts(3), &[])).await;
}

#[tokio::test]
async fn a_check_does_not_try_again_whom_aws_has_just_refused() {
    // The shortest interval that there is: two checks by themselves.
    let world = refused(&[], "\n  interval: 10s").await;
    reopen(&world);
    world.aws.clear_calls();
    super::wait_calls(&world, "DescribeImageAttribute", 2).await;
    assert_eq!(changes(&world), 0);
    world.wait_ready("base", "False", "PrincipalRefused").await;
    assert!(!world.launch_permissions(IMAGE).contains("000000000002"));
}

#[tokio::test]
async fn drift_is_corrected_without_trying_again_whom_aws_has_refused() {
    let world = refused(&[], "\n  interval: 10s").await;
    world.aws.clear_calls();
    world.rogue(
        OWNER,
        "ModifyImageAttribute",
        &[("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", "000000000003")],
    );
    world.wait_shared_with(&["000000000001", "000000000003"]).await;
    let sent = world.aws.calls().into_iter().filter(|call| call.action.starts_with("Modify"));
    let sent: Vec<String> = sent.flat_map(|call| call.params.into_values()).collect();
    assert!(sent.contains(&"000000000003".to_owned()) && !sent.contains(&"000000000002".to_owned()), "{sent:?}");
}

#[tokio::test]
async fn whom_aws_refused_is_tried_again_by_itself_when_the_time_is_over() {
    let world = refused(&["--refused-retry=1s"], "").await;
    world.aws.clear_calls();
    super::wait_calls(&world, "ModifyImageAttribute", 2).await;
    world.wait_ready("base", "False", "PrincipalRefused").await;
    reopen(&world);
    is_healed(&world).await;
    // Nobody is left to be tried: the checks are ten minutes apart again.
    world.wait_event("base", "Shared", "gave launch permission on ami-0123456789abcdef0 to 000000000002").await;
}

#[tokio::test]
async fn a_new_generation_tries_again_at_once() {
    let world = refused(&[], "").await;
    reopen(&world);
    world.apply("base", &(with_accounts(&accounts(3)) + "\n  interval: 20m")).await;
    is_healed(&world).await;
}

#[tokio::test]
async fn whoever_asks_for_a_check_has_everybody_tried_again() {
    let world = refused(&[], "").await;
    reopen(&world);
    world.check_now("base").await;
    is_healed(&world).await;
}

#[tokio::test]
async fn another_share_of_the_image_tries_again_too() {
    let world = refused(&[], "").await;
    reopen(&world);
    world.apply("other", &with_accounts(&["111122223333"])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&["000000000001", "000000000002", "000000000003", "111122223333"]).await;
}

#[tokio::test]
async fn an_operator_that_starts_anew_tries_everybody() {
    let mut world = refused(&[], "").await;
    world.stop_operator().await;
    reopen(&world);
    world.start_operator().await;
    is_healed(&world).await;
}
