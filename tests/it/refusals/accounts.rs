//! Accounts that AWS refuses: closed, mistyped, or the owner's own.

use super::{accounts, changes, is, with_accounts, without};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER, SNAPSHOT},
};

/// Two of the accounts that [`accounts`] makes are closed, and one that somebody gave the image to while it was open.
const CLOSED: &str = r#"
closedAccounts: ["000000000007", "000000000013", "444455556666"]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0],
     launchPermissions: ["444455556666"]}
"#;

const WHY: &str =
    "AWS refuses it: the account is closed or mistyped, or the ARN names nothing; remove it from the spec";

async fn world() -> World {
    World::start(Setup { scenario: CLOSED, ..Setup::default() }).await
}

#[tokio::test]
async fn the_owners_own_account_is_refused_by_name_and_the_others_are_served() {
    let world = World::start(Setup::default()).await;
    let listed = with_accounts(&["111122223333", OWNER]);
    world.apply("base", &format!("{listed}\n  createVolumePermission: Accounts")).await;
    let message = world.wait_ready("base", "False", "OwnerAccountListed").await;
    assert_eq!(
        message,
        "not given to 999988887777: owns the image and may launch it anyway; remove it from accountIds"
    );
    world.wait_shared_with(&["111122223333"]).await;
    world.wait_volume_permissions(SNAPSHOT, &["111122223333"]).await;
    world.wait_condition(world.namespace(), "base", "SnapshotPermissionsSynced", "True", "Synced").await;
    assert_eq!(changes(&world), 2, "AWS is not asked for what has no effect");
}

#[tokio::test]
async fn a_closed_account_among_twelve_is_the_only_one_that_goes_without() {
    let (world, all) = (world().await, accounts(12));
    world.apply("base", &with_accounts(&all)).await;
    let message = world.wait_ready("base", "False", "PrincipalRefused").await;
    assert_eq!(message, format!("not given to 000000000007: {WHY}"));
    world.wait_shared_with(&without(&all, &["000000000007"])).await;
    assert!(is(&world, "base", "Stalled").await);
    let status = world.status("base").await;
    assert_eq!(status.shared_with.unwrap().accounts, 11);
    let record = &status.granted[0].launch_permission;
    assert!(record.iter().all(|p| p.to_string() != "000000000007"), "who got nothing is on record: {record:?}");
    world.wait_condition(world.namespace(), "base", "ImageAvailable", "True", "Available").await;
    world.wait_event("base", "PrincipalRefused", "not given to 000000000007").await;
}

#[tokio::test]
async fn several_closed_accounts_are_found_and_named_together() {
    let (world, all) = (world().await, accounts(20));
    world.apply("base", &with_accounts(&all)).await;
    let message = world.wait_ready("base", "False", "PrincipalRefused").await;
    assert_eq!(message, format!("not given to 000000000007, 000000000013: {WHY}"));
    world.wait_shared_with(&without(&all, &["000000000007", "000000000013"])).await;
    assert_eq!(
        changes(&world),
        4,
        "AWS names one in each refusal, and what is taken away does not wait for the second"
    );
}

#[tokio::test]
async fn closed_accounts_are_left_out_for_snapshots_too() {
    let (world, all) = (world().await, accounts(20));
    world.apply("base", &(with_accounts(&all) + "\n  createVolumePermission: Accounts")).await;
    let message = world.wait_ready("base", "False", "PrincipalRefused").await;
    assert_eq!(message, format!("not given to 000000000007, 000000000013: {WHY}"), "said once, not once per target");
    let served = without(&all, &["000000000007", "000000000013"]);
    world.wait_shared_with(&served).await;
    world.wait_volume_permissions(SNAPSHOT, &served).await;
    let part = "SnapshotPermissionsSynced";
    world.wait_condition(world.namespace(), "base", part, "False", "PrincipalRefused").await;
}

#[tokio::test]
async fn a_removal_in_the_same_change_as_a_closed_account_goes_through() {
    let (world, all) = (world().await, accounts(12));
    world.apply("base", &(with_accounts(&all[..3]) + "\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&without(&all[..3], &[])).await;
    world.apply("base", &(with_accounts(&all[2..]) + "\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "False", "PrincipalRefused").await;
    let served = without(&all[2..], &["000000000007"]);
    world.wait_shared_with(&served).await;
    world.wait_volume_permissions(SNAPSHOT, &served).await;
}

#[tokio::test]
async fn an_account_that_was_closed_after_it_got_the_image_is_removed_like_any_other() {
    let world = world().await;
    assert!(world.launch_permissions(IMAGE).contains("444455556666"));
    world.apply("base", &with_accounts(&["111122223333"])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&["111122223333"]).await;
}

#[tokio::test]
async fn an_account_that_was_closed_after_it_got_the_image_may_stay_listed() {
    let world = world().await;
    world.apply("base", &with_accounts(&["111122223333", "444455556666"])).await;
    assert_eq!(world.wait_ready("base", "True", "Synced").await, "shared with 2 accounts");
}

#[tokio::test]
async fn an_account_that_one_share_mistypes_is_no_concern_of_another_share_of_the_image() {
    let world = world().await;
    world.apply("typo", &with_accounts(&["000000000007", "111122223333"])).await;
    world.apply("well", &with_accounts(&["222233334444"])).await;
    world.wait_ready("typo", "False", "PrincipalRefused").await;
    assert_eq!(world.wait_ready("well", "True", "Synced").await, "shared with 1 account");
    world.wait_shared_with(&["111122223333", "222233334444"]).await;
}

/// AWS names the account that it refuses, as far as anybody has seen. If it does not, halving finds it.
#[tokio::test]
async fn a_refusal_that_names_nobody_is_narrowed_down_until_everybody_else_is_served() {
    let scenario = r#"
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
faults: [{kind: {type: error, status: 400, code: InvalidAMIAttributeItemValue, message: "Invalid item."}, action: ModifyImageAttribute, count: 4}]
"#;
    let world = World::start(Setup { scenario, ..Setup::default() }).await;
    let all = accounts(8);
    world.apply("base", &with_accounts(&all)).await;
    // Refused are all eight, the first four, the first two, and the first.
    let message = world.wait_ready("base", "False", "PrincipalRefused").await;
    assert_eq!(message, format!("not given to 000000000001: {WHY}"));
    world.wait_shared_with(&without(&all, &["000000000001"])).await;
}
