//! KMS makes a grant known late: what needs it waits until it is.

use super::{ENCRYPTED, KEY, LEAN, ONE, TWO, can_launch, granting, granting_only, operations, wait_grantees};
use crate::harness::{Setup, World, eventually, world::IMAGE};

/// The image, in a Region where a grant has no effect, and is not shown, for so many milliseconds.
fn delayed(milliseconds: u32) -> Setup {
    Setup { scenario: format!("grantDelayMilliseconds: {milliseconds}\n{ENCRYPTED}").leak(), ..Setup::default() }
}

/// Looks all the time whether whoever holds a launch permission can use it, until the share is ready.
async fn watch_until_ready(world: &World, name: &str) {
    eventually("the share is ready, and nobody holds what they cannot use meanwhile", || async {
        let holders = world.launch_permissions(IMAGE);
        for holder in holders {
            assert!(can_launch(world, &holder), "{holder} holds a launch permission and cannot use it");
        }
        let ready = world.ready_now(name).await;
        if ready == Some(("True".to_owned(), "Synced".to_owned())) { Ok(()) } else { Err(format!("{ready:?}")) }
    })
    .await;
}

#[tokio::test]
async fn nobody_is_given_a_launch_permission_before_kms_shows_the_grant_that_it_takes() {
    let world = World::start(delayed(4000)).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    wait_grantees(&world, KEY, &[ONE, TWO]).await;
    let message = world.wait_ready("base", "False", "Progressing").await;
    let words = format!("waits until KMS shows the new grant on {KEY}, which can take five minutes");
    assert!(message.contains(&words), "{message}");
    assert!(world.launch_permissions(IMAGE).is_empty());
    watch_until_ready(&world, "base").await;
    assert_eq!(world.launch_permissions(IMAGE).len(), 2);
    let calls = world.calls_by_action();
    assert_eq!(calls["CreateGrant"], 2, "{calls:?}");
    assert!(calls["ListGrants"] <= 12, "{calls:?}");
}

#[tokio::test]
async fn an_old_grant_stays_until_kms_shows_the_new_one() {
    let world = World::start(delayed(4000)).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.apply("base", &granting_only(LEAN)).await;
    eventually("the new grant is made", || async {
        let found = operations(&world);
        if found.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    watch_until_ready(&world, "base").await;
    eventually("the old one is gone, and whoever could launch the image can do so all the time", || async {
        assert!(can_launch(&world, ONE));
        let found = operations(&world);
        if found == [LEAN] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_starts_while_a_grant_is_not_shown_yet_makes_no_second_one_and_waits_for_it_too() {
    let mut world = World::start(delayed(4000)).await;
    world.apply("base", &granting(&[ONE])).await;
    wait_grantees(&world, KEY, &[ONE]).await;
    world.stop_operator().await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    world.start_operator().await;
    watch_until_ready(&world, "base").await;
    assert_eq!(operations(&world).len(), 1);
}
