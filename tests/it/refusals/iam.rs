//! Calls that IAM denies: each is named, what can be done without it is done, and it gets well once IAM allows it.

use amishare::simulator::FaultKind;

use super::{always, is, with_accounts};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER, SNAPSHOT},
};

const ACCOUNT: &str = "111122223333";

/// A world in which IAM denies an action, with a share that needs every action.
async fn denied(action: &str) -> World {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(always(FaultKind::AccessDenied, action));
    world.apply("base", &(with_accounts(&[ACCOUNT]) + "\n  createVolumePermission: Accounts")).await;
    let message = world.wait_ready("base", "False", "AccessDenied").await;
    assert!(
        message.contains(&format!("{action} was refused: UnauthorizedOperation: You are not authorized")),
        "{message}"
    );
    assert!(
        message.contains(&format!("because no identity-based policy allows the ec2:{action} action.")),
        "{message}"
    );
    assert!(!message.contains("Encoded"), "the blob differs from call to call: {message}");
    assert!(is(&world, "base", "Stalled").await, "somebody has to change the policy");
    world.wait_event("base", "AccessDenied", action).await;
    world
}

/// IAM allows everything again, and the share has everything.
async fn allowed(world: &World) {
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[ACCOUNT]).await;
    world.wait_volume_permissions(SNAPSHOT, &[ACCOUNT]).await;
    assert!(!is(world, "base", "Stalled").await);
}

#[tokio::test]
async fn without_leave_to_describe_the_image_nothing_is_known_and_it_is_looked_at_again_by_itself() {
    for action in ["DescribeImages", "DescribeImageAttribute"] {
        let world = denied(action).await;
        for part in ["ImageAvailable", "LaunchPermissionsSynced", "SnapshotPermissionsSynced"] {
            world.wait_condition(world.namespace(), "base", part, "Unknown", "AccessDenied").await;
        }
        assert!(world.launch_permissions(IMAGE).is_empty());
        world.aws.clear_faults();
        allowed(&world).await;
    }
}

#[tokio::test]
async fn without_leave_to_modify_the_image_its_snapshots_are_still_shared() {
    let world = denied("ModifyImageAttribute").await;
    world.wait_volume_permissions(SNAPSHOT, &[ACCOUNT]).await;
    world.wait_condition(world.namespace(), "base", "ImageAvailable", "True", "Available").await;
    world.wait_condition(world.namespace(), "base", "LaunchPermissionsSynced", "False", "AccessDenied").await;
    world.wait_condition(world.namespace(), "base", "SnapshotPermissionsSynced", "True", "Synced").await;
    world.aws.clear_faults();
    world.check_now("base").await;
    allowed(&world).await;
}

#[tokio::test]
async fn without_leave_to_read_or_modify_snapshots_the_image_is_still_shared() {
    for action in ["ModifySnapshotAttribute", "DescribeSnapshotAttribute"] {
        let world = denied(action).await;
        world.wait_shared_with(&[ACCOUNT]).await;
        world.wait_condition(world.namespace(), "base", "LaunchPermissionsSynced", "True", "Synced").await;
        let part = "SnapshotPermissionsSynced";
        let message = world.wait_condition(world.namespace(), "base", part, "False", "AccessDenied").await;
        assert!(message.contains(action), "{message}");
        world.aws.clear_faults();
        world.check_now("base").await;
        allowed(&world).await;
    }
}

#[tokio::test]
async fn what_cannot_be_taken_from_a_snapshot_does_not_hold_back_what_is_taken_from_the_image() {
    let world = World::start(Setup::default()).await;
    let volumes = "\n  createVolumePermission: Accounts";
    world.apply("base", &(with_accounts(&[ACCOUNT, "444455556666"]) + volumes)).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.add_fault(always(FaultKind::AccessDenied, "ModifySnapshotAttribute"));
    world.apply("base", &(with_accounts(&[ACCOUNT]) + volumes)).await;
    let message = world.wait_ready("base", "False", "AccessDenied").await;
    assert!(message.starts_with("still held by 444455556666: ModifySnapshotAttribute was refused"), "{message}");
    world.wait_shared_with(&[ACCOUNT]).await;
    world.aws.clear_faults();
    world.check_now("base").await;
    allowed(&world).await;
}

#[tokio::test]
async fn a_deletion_waits_for_leave_to_take_back_and_says_for_what() {
    let world = World::start(Setup::default()).await;
    world.apply("base", &with_accounts(&[ACCOUNT])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.add_fault(always(FaultKind::AccessDenied, "ModifyImageAttribute"));
    world.kubectl(&["delete", "ams", "base", "--wait=false"]).await;
    let message = world.wait_ready("base", "False", "DeletionBlocked").await;
    assert!(message.contains("ModifyImageAttribute was refused: UnauthorizedOperation"), "{message}");
    assert!(message.contains("annotate it with amishare.dev/on-delete=abandon"), "{message}");
    world.aws.clear_faults();
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_region_that_is_not_opted_in_to_is_a_matter_of_access() {
    let scenario = r#"
disabledRegions: [me-south-1]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
"#;
    let world = World::start(Setup { scenario, ..Setup::default() }).await;
    let manifest = World::manifest("far", &with_accounts(&[ACCOUNT])).replace("us-east-1", "me-south-1");
    world.apply_in(world.namespace(), &manifest).await.unwrap();
    world.apply("near", &with_accounts(&[ACCOUNT])).await;
    let message = world.wait_ready("far", "False", "AccessDenied").await;
    assert!(
        message.contains("OptInRequired: You are not subscribed to this service in the Region me-south-1"),
        "{message}"
    );
    world.wait_ready("near", "True", "Synced").await;
    assert_eq!(world.launch_permissions(IMAGE).len(), 1, "{OWNER}'s image in the other Region is shared");
}
