//! What changes while an image is shared.

use amishare::simulator::{Encryption, Fault, FaultKind};

use super::{
    ENCRYPTED, KEY, LEAN, ONE, ONE_KEY_EACH, OTHER_IMAGE, OTHER_KEY, TWO, TWO_KEYS, can_launch, grantees, granting,
    granting_only, operations, roots, wait_grantees,
};
use crate::harness::{
    Setup, World, eventually,
    world::{IMAGE, REGION, SNAPSHOT},
};

#[tokio::test]
async fn other_operations_are_a_new_grant_before_the_old_one_goes() {
    let world = World::start(Setup { scenario: ENCRYPTED, ..Setup::default() }).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.apply("base", &granting_only(LEAN)).await;
    world.wait_ready("base", "True", "Synced").await;
    eventually("only the new grant is there", || async {
        let found = operations(&world);
        if found == [LEAN] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let calls: Vec<String> = world.aws.calls().into_iter().map(|call| call.action).collect();
    let position = |action: &str| calls.iter().position(|call| call == action).unwrap();
    assert!(position("CreateGrant") < position("RevokeGrant"));
    assert!(can_launch(&world, ONE));
}

#[tokio::test]
async fn a_grant_stays_as_long_as_the_one_that_is_to_replace_it_is_refused() {
    let world = World::start(Setup { scenario: ENCRYPTED, ..Setup::default() }).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("CreateGrant"));
    world.apply("base", &granting_only(LEAN)).await;
    world.wait_ready("base", "False", "AccessDenied").await;
    assert!(can_launch(&world, ONE));
    world.aws.clear_faults();
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(operations(&world), [LEAN]);
}

#[tokio::test]
async fn grants_that_are_too_few_for_a_launch_are_made_and_said_to_be() {
    let world = World::start(Setup { scenario: ENCRYPTED, ..Setup::default() }).await;
    world.apply("base", &granting_only("Decrypt, DescribeKey")).await;
    let message = world.wait_ready("base", "False", "KmsAccessMissing").await;
    assert!(message.contains(ONE), "{message}");
    assert_eq!(operations(&world), ["Decrypt, DescribeKey"]);
    assert!(!can_launch(&world, ONE));
}

#[tokio::test]
async fn a_share_that_asks_for_grants_no_more_revokes_them() {
    let world = World::start(Setup { scenario: ENCRYPTED, ..Setup::default() }).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.apply("base", &granting(&[ONE]).replace("Accounts}", "None}")).await;
    world.wait_ready("base", "False", "KmsAccessMissing").await;
    assert!(grantees(&world, KEY).is_empty());
    world.wait_shared_with(&[ONE]).await;
}

#[tokio::test]
async fn a_share_that_moves_to_an_image_with_another_key_opens_that_and_closes_the_one_before() {
    let world = World::start(Setup { scenario: ONE_KEY_EACH, ..Setup::default() }).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!((grantees(&world, KEY), grantees(&world, OTHER_KEY)), (roots(&[ONE, TWO]), roots(&[])));
    let patch = format!("{{\"spec\": {{\"image\": {{\"id\": \"{OTHER_IMAGE}\"}}}}}}");
    world.kubectl(&["patch", "ams", "base", "--type=merge", "--patch", &patch]).await;
    world.wait_ready("base", "True", "Synced").await;
    wait_grantees(&world, KEY, &[]).await;
    assert_eq!(grantees(&world, OTHER_KEY), roots(&[ONE, TWO]));
    assert!(world.launch_permissions(IMAGE).is_empty() && !can_launch(&world, ONE));
    assert!(world.aws.can_launch(REGION, OTHER_IMAGE, ONE).is_ok());
    let keys = world.status("base").await.image.unwrap().kms_key_arns;
    assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [OTHER_KEY]);
}

#[tokio::test]
async fn an_image_that_takes_the_place_of_another_has_its_keys_opened_and_those_of_the_other_closed() {
    let mut world = World::start(Setup { scenario: TWO_KEYS, ..Setup::default() }).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    // Which key a snapshot has never changes: an operator that was told otherwise is started anew.
    world.stop_operator().await;
    world.aws.with_world(|aws| {
        aws.snapshot_mut(REGION, SNAPSHOT).unwrap().encryption = Encryption::CustomerKey(OTHER_KEY.into());
    });
    world.start_operator().await;
    world.check_now("base").await;
    wait_grantees(&world, KEY, &[]).await;
    assert_eq!(grantees(&world, OTHER_KEY), roots(&[ONE]));
    assert!(can_launch(&world, ONE));
}
