//! Copies that grow old: deprecated, protected, and let go.

use amishare::simulator::{DeregistrationProtection, Fault, FaultKind, Image, Instance, InstanceState};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::world::{
    EU, NEWER, children, create, delete, held, images, patch, snapshots, start, target, wait_gone, wait_ready,
};
use crate::harness::{World, eventually};

const OWNER: &str = "999988887777";
const A: &str = "111122223333";
const B: &str = "444455556666";

/// A distribution to one Region, shared with one account, whose source changes once the first copy is there. Gives the first copy.
async fn with_an_older_copy(world: &World, rest: Value) -> Image {
    let mut spec = json!({
        "targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}, "interval": "10s",
    });
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    create(world, "base", spec).await;
    wait_ready(world, "base", "True", "Synced").await;
    let first = images(world, EU).remove(0);
    patch(world, "base", json!({"spec": {"source": {"image": {"id": NEWER}}}})).await;
    wait_ready(world, "base", "True", "Synced").await;
    first
}

/// Waits until the status says this of an older copy.
async fn wait_said(world: &World, image: &str, words: &str) {
    eventually(&format!("of {image} it is said: {words}"), || async {
        let line = target(world, "base", "eu").await;
        match line.older.iter().find(|older| older.image_id.as_str() == image) {
            Some(older) if older.message.contains(words) => Ok(()),
            _ => Err(format!("{line:?}")),
        }
    })
    .await;
}

async fn wait_images(world: &World, count: usize) {
    eventually(&format!("{count} images are in {EU}"), || async {
        let there = images(world, EU).len();
        if there == count { Ok(()) } else { Err(there.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn an_older_copy_is_first_taken_from_everybody_then_deleted_with_its_snapshots() {
    let world = start().await;
    let retention = json!({"retention": {"keepLast": 1, "gracePeriod": "1d"}});
    let first = with_an_older_copy(&world, retention).await;
    wait_said(&world, &first.id, "deleted 1d after that began").await;
    assert!(held(&world, EU, &first.id).is_empty(), "its shares go first, although copies are retained");
    assert_eq!(images(&world, EU).len(), 2, "it can still be undone");

    patch(&world, "base", json!({"spec": {"retention": {"gracePeriod": "0m"}}})).await;
    wait_images(&world, 1).await;
    let left = images(&world, EU).remove(0);
    assert_eq!(held(&world, EU, &left.id), [A]);
    assert_eq!(snapshots(&world, EU), left.snapshot_ids().map(ToOwned::to_owned).collect::<Vec<_>>());
    wait_ready(&world, "base", "True", "Synced").await;
    assert!(target(&world, "base", "eu").await.older.is_empty());
}

#[tokio::test]
async fn until_it_is_deleted_an_older_copy_comes_back_when_more_are_to_be_kept() {
    let world = start().await;
    let first = with_an_older_copy(&world, json!({"retention": {"keepLast": 1, "gracePeriod": "1d"}})).await;
    wait_said(&world, &first.id, "deleted 1d after that began").await;
    patch(&world, "base", json!({"spec": {"retention": {"keepLast": 2}}})).await;
    eventually("it is shared again", || async {
        let held = held(&world, EU, &first.id);
        if held == [A] { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!((children(&world).await.len(), images(&world, EU).len()), (2, 2));
}

#[tokio::test]
async fn an_older_copy_that_is_used_or_shared_by_others_stays() {
    let world = start().await;
    let instance = |image: &str, account: &str| Instance {
        id: "i-0123456789abcdef0".into(),
        account: account.into(),
        image: image.into(),
        state: InstanceState::Stopped,
    };
    let set = |instance: Option<Instance>| {
        world.aws.with_world(|aws| {
            let here = aws.regions.get_mut(EU).unwrap();
            here.instances = instance.into_iter().map(|one| (one.id.clone(), one)).collect();
        });
    };
    let keep_all = json!({"retention": {"keepLast": 2, "gracePeriod": "0m"}});
    let first = with_an_older_copy(&world, keep_all).await;
    set(Some(instance(&first.id, OWNER)));
    patch(&world, "base", json!({"spec": {"retention": {"keepLast": 1}}})).await;
    wait_said(&world, &first.id, "its account has instances of it").await;
    assert_eq!(held(&world, EU, &first.id), [A], "nothing is taken back of a copy that stays");

    // Another team shares it, too.
    let share = json!({"region": EU, "image": {"id": first.id}, "shareWith": {"accountIds": [B]}, "mode": "Additive"});
    world.create("theirs", share).await;
    world.wait_ready("theirs", "True", "Synced").await;
    set(None);
    wait_said(&world, &first.id, &format!("shared with {B}, and not by this object")).await;

    set(Some(instance(&first.id, A)));
    world.delete("theirs").await;
    world.wait_gone("theirs").await;
    wait_said(&world, &first.id, &format!("in use by {A}")).await;
    assert_eq!(images(&world, EU).len(), 2);
}

#[tokio::test]
async fn copies_are_deprecated_and_protected_and_that_is_taken_back_when_the_spec_does_not_say_so() {
    let world = start().await;
    let spec = json!({"deprecateAfter": "180d", "deregistrationProtection": "Enabled"});
    let first = with_an_older_copy(&world, spec).await;
    let seen = || images(&world, EU);
    for image in seen() {
        let day = |time: Timestamp| time.as_second() / 86_400;
        assert_eq!(image.deprecate_at.map(day), Some(day(image.created) + 180), "{image:?}");
        assert_eq!(image.protection, DeregistrationProtection::Enabled { cooldown: false });
    }
    // What somebody else changes is put back.
    world.rogue_in(EU, OWNER, "DisableImageDeprecation", &[("ImageId", &first.id)]);
    eventually("it is deprecated again", || async {
        if seen().iter().all(|image| image.deprecate_at.is_some()) { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;

    patch(&world, "base", json!({"spec": {"deprecateAfter": null, "deregistrationProtection": null}})).await;
    eventually("it is as it was", || async {
        let is_bare =
            |image: &Image| image.deprecate_at.is_none() && image.protection == DeregistrationProtection::Disabled;
        if seen().iter().all(is_bare) { Ok(()) } else { Err(format!("{:?}", seen())) }
    })
    .await;
}

#[tokio::test]
async fn protected_copies_go_with_their_distribution_once_their_protection_has_cooled_down() {
    let world = start().await;
    let spec = json!({"deletionPolicy": "Delete", "deregistrationProtection": "Enabled"});
    with_an_older_copy(&world, spec).await;
    delete(&world, "base").await;
    wait_gone(&world, "base").await;
    assert!(images(&world, EU).is_empty() && snapshots(&world, EU).is_empty());
}

#[tokio::test]
async fn what_aws_refuses_is_said_of_the_target_and_holds_up_no_other() {
    let world = start().await;
    let denied = Fault::new(FaultKind::AccessDenied);
    world.aws.add_fault(Fault { region: Some(EU.into()), ..denied }.on("EnableImageDeprecation"));
    let targets = json!([{"name": "eu", "region": EU}, {"name": "us", "region": "us-west-2"}]);
    create(&world, "base", json!({"targets": targets, "deprecateAfter": "180d"})).await;
    wait_ready(&world, "base", "False", "AccessDenied").await;
    let line = target(&world, "base", "eu").await;
    assert!(line.message.starts_with("could not have ami-") && line.message.contains("deprecated at"), "{line:?}");
    assert!(target(&world, "base", "us").await.ready);
    assert!(images(&world, "us-west-2")[0].deprecate_at.is_some());
}
