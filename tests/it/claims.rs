//! Several shares of one image: what they give together, and what is left when one goes.

use std::collections::BTreeSet;

use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Setup, World, world::SNAPSHOT};

const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";

async fn two_namespaces() -> World {
    World::start(Setup { more_namespaces: 1, ..Setup::default() }).await
}

#[tokio::test]
async fn shares_of_one_image_from_two_namespaces_add_up_and_one_that_goes_takes_only_its_difference() {
    let world = two_namespaces().await;
    let (here, there) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    world.create_in(&here, "mine", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_condition(&here, "mine", "Ready", "True", "Synced").await;
    world.create_in(&there, "theirs", json!({"shareWith": {"accountIds": [B, C]}})).await;
    let message = world.wait_condition(&there, "theirs", "Ready", "True", "Synced").await;
    assert_eq!(message, "shared with 2 accounts", "each share counts whom it lists itself");
    world.wait_shared_with(&[A, B, C]).await;

    let other = world.shares_in(&there).get("theirs").await.unwrap();
    world.delete("mine").await;
    world.wait_gone("mine").await;
    assert_eq!(world.launch_permissions(crate::harness::world::IMAGE), BTreeSet::from([B.into(), C.into()]));
    let left = world.shares_in(&there).get("theirs").await.unwrap();
    assert_eq!(left.metadata.resource_version, other.metadata.resource_version, "what it has did not change");
}

#[tokio::test]
async fn an_account_that_leaves_one_share_stays_while_another_lists_it_and_aws_is_not_called_to_change_anything() {
    let world = two_namespaces().await;
    let there = world.namespaces[1].clone();
    world.create("mine", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.create_in(&there, "theirs", json!({"shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("mine", "True", "Synced").await;
    world.wait_condition(&there, "theirs", "Ready", "True", "Synced").await;
    world.aws.clear_calls();
    world.change("mine", json!({"shareWith": {"accountIds": [A]}})).await;
    assert_eq!(world.wait_ready("mine", "True", "Synced").await, "shared with 1 account");
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    world.wait_shared_with(&[A, B]).await;
    world.shares_in(&there).delete("theirs", &DeleteParams::default()).await.unwrap();
    world.wait_shared_with(&[A]).await;
}

#[tokio::test]
async fn in_whatever_order_shares_come_and_go_aws_is_their_union() {
    let world = World::start(Setup::default()).await;
    let lists = [("a", vec![A, B]), ("b", vec![B, C]), ("c", vec![C, A])];
    for (round, [first, second, third]) in
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate()
    {
        let name = |index: usize| format!("{}{round}", lists[index].0);
        let mut there: Vec<usize> = Vec::new();
        for index in [first, second, third] {
            there.push(index);
            world.create(&name(index), json!({"shareWith": {"accountIds": lists[index].1}})).await;
            world.wait_ready(&name(index), "True", "Synced").await;
            world.wait_shared_with(&union(&lists, &there)).await;
        }
        // Once as they came, once the other way round.
        let mut leaving = vec![first, second, third];
        if round % 2 == 0 {
            leaving.reverse();
        }
        for index in leaving {
            there.retain(|other| *other != index);
            world.delete(&name(index)).await;
            world.wait_gone(&name(index)).await;
            world.wait_shared_with(&union(&lists, &there)).await;
        }
    }
}

fn union<'a>(lists: &[(&str, Vec<&'a str>)], there: &[usize]) -> Vec<&'a str> {
    let all: BTreeSet<&str> = there.iter().flat_map(|index| lists[*index].1.iter().copied()).collect();
    all.into_iter().collect()
}

#[tokio::test]
async fn a_share_that_asks_for_volumes_gives_them_only_to_its_own_accounts() {
    let world = World::start(Setup::default()).await;
    world.create("launch", json!({"shareWith": {"accountIds": [A, B]}})).await;
    let spec = json!({"shareWith": {"accountIds": [B]}, "createVolumePermission": "Accounts"});
    world.create("copy", spec).await;
    world.wait_ready("launch", "True", "Synced").await;
    world.wait_ready("copy", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    world.wait_volume_permissions(SNAPSHOT, &[B]).await;
    world.delete("copy").await;
    world.wait_gone("copy").await;
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn a_share_that_cannot_be_carried_out_does_not_hold_back_another_of_the_same_image() {
    let world = two_namespaces().await;
    let there = world.namespaces[1].clone();
    world.create_in(&there, "public", json!({"shareWith": {"public": true}})).await;
    world.create("mine", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("mine", "True", "Synced").await;
    world.wait_condition(&there, "public", "Ready", "False", "GuardrailDenied").await;
    world.wait_shared_with(&[A]).await;
}
