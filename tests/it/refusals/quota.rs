//! The quota of entities that one image can be shared with.

use super::{accounts, changes, with_accounts};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER},
};

const FIVE: &str = r#"
quotas: {sharingEntitiesPerImage: 5}
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", launchPermissions: ["444455556666"]}]
"#;
const KNOWN: &[&str] = &["--launch-permission-quota=5"];

async fn world(flags: &'static [&'static str]) -> World {
    World::start(Setup { scenario: FIVE, flags, ..Setup::default() }).await
}

fn texts(accounts: &[String]) -> Vec<&str> {
    accounts.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn those_that_fit_are_served_and_the_others_are_named() {
    let (world, all) = (world(KNOWN).await, accounts(7));
    world.apply("many", &with_accounts(&all)).await;
    let message = world.wait_ready("many", "False", "QuotaExceeded").await;
    assert_eq!(
        message,
        "not given to 000000000006, 000000000007: the image would be shared with more than 5 entities; share with an \
         organization instead, or have AWS raise the quota and set --launch-permission-quota"
    );
    world.wait_shared_with(&texts(&all[..5])).await;
    assert_eq!(world.status("many").await.shared_with.unwrap().accounts, 5);
    assert_eq!(changes(&world), 1, "the stranger goes and the five come in one call that AWS does not refuse");
}

#[tokio::test]
async fn without_a_flag_the_quota_is_that_of_aws_and_the_account_after_the_thousandth_is_named() {
    let (world, all) = (World::start(Setup::default()).await, accounts(1001));
    world.apply("many", &with_accounts(&all)).await;
    let message = world.wait_ready("many", "False", "QuotaExceeded").await;
    assert!(
        message.starts_with("not given to 000000001001: the image would be shared with more than 1000"),
        "{message}"
    );
    world.wait_shared_with(&texts(&all[..1000])).await;
    assert_eq!(changes(&world), 1, "AWS has not been asked for more than it gives");
}

#[tokio::test]
async fn whoever_leaves_makes_room_for_whoever_waits() {
    let (world, all) = (world(KNOWN).await, accounts(7));
    world.apply("many", &with_accounts(&all)).await;
    world.wait_ready("many", "False", "QuotaExceeded").await;
    world.apply("many", &with_accounts(&all[2..])).await;
    world.wait_ready("many", "True", "Synced").await;
    world.wait_shared_with(&texts(&all[2..])).await;
}

#[tokio::test]
async fn what_an_additive_share_must_leave_alone_counts() {
    let (world, all) = (world(KNOWN).await, accounts(5));
    world.apply("many", &(with_accounts(&all) + "\n  mode: Additive")).await;
    let message = world.wait_ready("many", "False", "QuotaExceeded").await;
    assert!(message.starts_with("not given to 000000000005: "), "{message}");
    let mut held = texts(&all[..4]);
    held.push("444455556666");
    world.wait_shared_with(&held).await;
    world.rogue(
        OWNER,
        "ModifyImageAttribute",
        &[("ImageId", IMAGE), ("LaunchPermission.Remove.1.UserId", "444455556666")],
    );
    world.check_now("many").await;
    world.wait_ready("many", "True", "Synced").await;
    world.wait_shared_with(&texts(&all)).await;
}

#[tokio::test]
async fn an_image_that_is_shared_with_more_than_the_quota_can_still_be_taken_from() {
    let (world, all) = (world(&["--launch-permission-quota=1"]).await, accounts(2));
    world.apply("many", &with_accounts(&["444455556666", &all[0]])).await;
    world.wait_ready("many", "False", "QuotaExceeded").await;
    world.apply("many", &with_accounts(&all)).await;
    let message = world.wait_ready("many", "False", "QuotaExceeded").await;
    assert!(message.starts_with("not given to 000000000002: "), "{message}");
    world.wait_shared_with(&texts(&all[..1])).await;
}

#[tokio::test]
async fn a_quota_that_is_smaller_than_the_flag_says_holds_back_no_removal() {
    let (world, all) = (world(&[]).await, accounts(7));
    world.apply("many", &with_accounts(&all)).await;
    let message = world.wait_ready("many", "False", "QuotaExceeded").await;
    assert!(message.contains("have AWS raise it or share with an organization"), "{message}");
    assert!(!world.launch_permissions(IMAGE).contains("444455556666"), "the stranger is still there");
    world.apply("many", &with_accounts(&all[..5])).await;
    world.wait_ready("many", "True", "Synced").await;
    world.wait_shared_with(&texts(&all[..5])).await;
}
