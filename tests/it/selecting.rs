//! AmiShares whose image is found by its name and tags.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Setup, World,
    actions::in_seconds,
    eventually,
    world::{IMAGE, OWNER},
};
use crate::ownership::wipe_status;

const NEWER: &str = "ami-0aaaaaaaaaaaaaaa1";
const NEWEST: &str = "ami-0bbbbbbbbbbbbbbb2";
/// One that nobody can share.
const ENCRYPTED: &str = "ami-0ccccccccccccccc3";
const A: &str = "111111111111";
const B: &str = "222222222222";

/// Images of which two have yet to be published: their names are not yet what they are found by.
const IMAGES: &str = r#"
accounts: [{id: "999988887777"}]
snapshots:
  - {id: snap-0ccccccccccccccc3, region: us-east-1, owner: "999988887777", encryption: defaultKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden-1, snapshots: [snap-0123456789abcdef0], tags: {team: platform}, created: "2026-01-01T00:00:00Z"}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", name: golden-2, snapshots: [snap-0aaaaaaaaaaaaaaa1], created: "2026-02-01T00:00:00Z"}
  - {id: ami-0bbbbbbbbbbbbbbb2, region: us-east-1, owner: "999988887777", name: next, snapshots: [snap-0bbbbbbbbbbbbbbb2], created: "2026-03-01T00:00:00Z"}
  - {id: ami-0ccccccccccccccc3, region: us-east-1, owner: "999988887777", name: failed, snapshots: [snap-0ccccccccccccccc3], created: "2026-03-01T00:00:00Z"}
"#;

async fn start() -> World {
    World::start(Setup { scenario: IMAGES, ..Setup::default() }).await
}

/// Publishes an image, by its name.
fn rename(world: &World, id: &str, name: &str) {
    world.aws.with_world(|aws| {
        aws.regions.get_mut("us-east-1").unwrap().images.get_mut(id).unwrap().name = name.into();
    });
}

/// Publishes an image that is newer than all others.
fn publish(world: &World, id: &str) {
    rename(world, id, "golden-3");
}

async fn create(world: &World, image: Value, rest: Value) {
    let mut spec = json!({"image": image, "interval": "10s", "shareWith": {"accountIds": [A]}});
    spec["image"]["id"] = Value::Null;
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    world.create("base", spec).await;
}

fn newest() -> Value {
    json!({"name": "golden*", "newest": true})
}

async fn wait_shared(world: &World, id: &str) {
    eventually(&format!("{id} is shared"), || async {
        let status = world.status("base").await;
        let seen = status.image.as_ref().is_some_and(|image| image.id.as_str() == id);
        let ready = world.ready_now("base").await;
        if seen && ready == Some(("True".into(), "Synced".into())) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

fn only(account: &str) -> BTreeSet<String> {
    BTreeSet::from([account.to_owned()])
}

#[tokio::test]
async fn the_newest_image_of_a_name_is_shared_and_a_newer_one_takes_its_place() {
    let world = start().await;
    let record = world.record().await;
    create(&world, newest(), json!({"createVolumePermission": "Accounts"})).await;
    wait_shared(&world, NEWER).await;
    world.wait_event("base", "ImageSelected", &format!("the image with name golden* is {NEWER}")).await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    publish(&world, NEWEST);
    wait_shared(&world, NEWEST).await;
    assert_eq!(world.launch_permissions(NEWEST), only(A));
    assert!(world.launch_permissions(NEWER).is_empty(), "Ready means that the image before is taken back");
    world.wait_event("base", "ImageSelected", &format!("is now {NEWEST}, and was {NEWER}")).await;
    let shown = world.kubectl(&["get", "ams", "base", "-o", "wide"]).await;
    assert!(shown.contains("golden*") && shown.contains(NEWEST), "{shown}");
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(NEWEST).is_empty());
    record.check().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_shared_does_not_take_the_place_of_the_one_before() {
    let world = start().await;
    create(&world, newest(), json!({"shareWith": {"accountIds": [A, B]}})).await;
    wait_shared(&world, NEWER).await;
    publish(&world, ENCRYPTED);
    world.wait_ready("base", "False", "DefaultKmsKeyNotShareable").await;
    assert_eq!(world.launch_permissions(NEWER), BTreeSet::from([A.into(), B.into()]), "production goes on");
    // Who is not listed any more loses it all the same.
    world.change("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_launch_permissions(NEWER, &[A]).await;
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", ENCRYPTED)]);
    wait_shared(&world, NEWER).await;
    assert_eq!(world.launch_permissions(NEWER), only(A));
}

#[tokio::test]
async fn who_has_no_image_yet_is_told_so_and_shares_it_as_soon_as_there_is_one() {
    let world = start().await;
    create(&world, json!({"name": "silver"}), json!({})).await;
    let message = world.wait_ready("base", "False", "ImageNotFound").await;
    assert!(message.contains("no image of self in us-east-1 has name silver"), "{message}");
    assert!(world.changes().is_empty());
    rename(&world, NEWER, "silver");
    wait_shared(&world, NEWER).await;
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(NEWER).is_empty());
}

#[tokio::test]
async fn a_share_that_never_had_an_image_can_be_deleted_and_suspended() {
    let world = start().await;
    create(&world, json!({"tags": {"team": "nobody"}}), json!({})).await;
    world.wait_ready("base", "False", "ImageNotFound").await;
    world.change("base", json!({"suspend": true})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    world.delete("base").await;
    world.wait_gone("base").await;
}

#[tokio::test]
async fn several_images_are_an_error_and_the_one_that_was_found_stays_shared() {
    let world = start().await;
    create(&world, json!({"name": "golden*", "tags": {"team": "plat*"}}), json!({})).await;
    wait_shared(&world, IMAGE).await;
    world.rogue(OWNER, "CreateTags", &[("ResourceId.1", NEWER), ("Tag.1.Key", "team"), ("Tag.1.Value", "platform")]);
    let message = world.wait_ready("base", "False", "ImageAmbiguous").await;
    assert!(message.contains("newest: true") && message.contains("stays shared"), "{message}");
    assert_eq!(world.launch_permissions(IMAGE), only(A));
    // The spec still has its effect on that.
    world.change("base", json!({"shareWith": {"accountIds": [B]}})).await;
    world.wait_launch_permissions(IMAGE, &[B]).await;
    world.change("base", json!({"image": {"newest": true}})).await;
    wait_shared(&world, NEWER).await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn what_the_spec_says_of_another_image_is_not_done_on_the_one_before() {
    let world = start().await;
    create(&world, newest(), json!({"shareWith": {"accountIds": [A]}})).await;
    wait_shared(&world, NEWER).await;
    world.change("base", json!({"image": {"name": "silver"}, "shareWith": {"accountIds": [A, B]}})).await;
    let message = world.wait_ready("base", "False", "ImageNotFound").await;
    assert!(message.contains(NEWER) && message.contains("keeps that until then"), "{message}");
    assert_eq!(world.launch_permissions(NEWER), only(A), "B is to launch another image");
    world.change("base", json!({"shareWith": {"accountIds": [B]}})).await;
    world.wait_launch_permissions(NEWER, &[]).await;
    rename(&world, IMAGE, "silver");
    wait_shared(&world, IMAGE).await;
    assert_eq!(world.launch_permissions(IMAGE), only(B));
}

#[tokio::test]
async fn a_share_without_its_image_takes_back_what_it_gave_when_it_is_over_or_deleted() {
    let world = start().await;
    create(&world, newest(), json!({})).await;
    wait_shared(&world, NEWER).await;
    world.change("base", json!({"image": {"name": "silver"}, "expiresAt": in_seconds(4)})).await;
    world.wait_ready("base", "False", "ImageNotFound").await;
    world.wait_launch_permissions(NEWER, &[]).await;
    world.delete("base").await;
    world.wait_gone("base").await;

    create(&world, newest(), json!({})).await;
    wait_shared(&world, NEWER).await;
    world.change("base", json!({"image": {"name": "silver"}})).await;
    world.wait_ready("base", "False", "ImageNotFound").await;
    assert_eq!(world.launch_permissions(NEWER), only(A));
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(NEWER).is_empty());
}

#[tokio::test]
async fn a_share_that_retains_leaves_the_image_before_as_it_is() {
    let world = start().await;
    create(&world, newest(), json!({"deletionPolicy": "Retain"})).await;
    wait_shared(&world, NEWER).await;
    publish(&world, NEWEST);
    wait_shared(&world, NEWEST).await;
    assert_eq!(world.launch_permissions(NEWER), only(A));
    assert!(world.on_record("base", NEWER).await.is_empty());
}

#[tokio::test]
async fn an_image_can_be_named_by_its_id_from_now_on_and_by_what_it_is_found_by_again() {
    let world = start().await;
    create(&world, newest(), json!({})).await;
    wait_shared(&world, NEWER).await;
    world.change("base", json!({"image": {"id": IMAGE, "name": null, "newest": null}})).await;
    wait_shared(&world, IMAGE).await;
    assert!(world.launch_permissions(NEWER).is_empty());
    assert_eq!(world.status("base").await.selected, None);
    world.change("base", json!({"image": {"id": null, "name": "golden-2"}})).await;
    wait_shared(&world, NEWER).await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_status_that_is_wiped_is_written_again_and_nothing_is_forgotten() {
    let world = start().await;
    create(&world, newest(), json!({})).await;
    wait_shared(&world, NEWER).await;
    wipe_status(&world, "base").await;
    wait_shared(&world, NEWER).await;
    assert_eq!(world.on_record("base", NEWER).await, only(A));
    // Somebody who writes there which image was found does not make it so.
    let other = json!({"by": {"name": "golden*", "newest": true}, "imageId": IMAGE});
    let status = json!({"status": {"selected": other}});
    let (params, patch) = (kube::api::PatchParams::default(), kube::api::Patch::Merge(&status));
    world.shares().patch_status("base", &params, &patch).await.unwrap();
    wait_shared(&world, NEWER).await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(NEWER).is_empty());
}

#[tokio::test]
async fn an_operator_that_starts_anew_goes_on_where_the_other_one_was() {
    let mut world = start().await;
    create(&world, newest(), json!({})).await;
    wait_shared(&world, NEWER).await;
    world.stop_operator().await;
    publish(&world, NEWEST);
    world.start_operator().await;
    wait_shared(&world, NEWEST).await;
    assert!(world.launch_permissions(NEWER).is_empty());
}

#[tokio::test]
async fn two_shares_on_one_image_are_claims_on_it_however_they_name_it() {
    let world = start().await;
    create(&world, newest(), json!({})).await;
    world.create("other", json!({"image": {"id": NEWER}, "shareWith": {"accountIds": [B]}})).await;
    wait_shared(&world, NEWER).await;
    world.wait_launch_permissions(NEWER, &[A, B]).await;
    publish(&world, NEWEST);
    wait_shared(&world, NEWEST).await;
    assert_eq!((world.launch_permissions(NEWEST), world.launch_permissions(NEWER)), (only(A), only(B)));
}

#[tokio::test]
async fn while_aws_cannot_be_asked_the_image_stays_and_who_has_none_is_told_why() {
    use amishare::simulator::{Fault, FaultKind};
    let world = start().await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("DescribeImages"));
    create(&world, newest(), json!({})).await;
    let message = world.wait_ready("base", "False", "AccessDenied").await;
    assert!(message.contains("DescribeImages"), "{message}");
    world.aws.clear_faults();
    wait_shared(&world, NEWER).await;
}

#[tokio::test]
async fn every_way_to_name_an_image_there_and_back_leaves_aws_as_it_was() {
    let world = start().await;
    let by_id = json!({"id": IMAGE, "name": null, "tags": null, "owner": null, "newest": null});
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    wait_shared(&world, IMAGE).await;
    for (image, found) in [
        (json!({"name": "golden-2"}), NEWER),
        (json!({"tags": {"team": "platform"}}), IMAGE),
        (json!({"name": "golden-?", "newest": true}), NEWER),
        (json!({"name": "golden-2", "owner": OWNER}), NEWER),
        (json!({"name": "golden-*", "newest": true, "tags": {"team": "*"}, "owner": "self"}), IMAGE),
    ] {
        let mut there = by_id.clone();
        there["id"] = Value::Null;
        there.as_object_mut().unwrap().extend(image.as_object().unwrap().clone());
        world.change("base", json!({"image": there})).await;
        wait_shared(&world, found).await;
        let everything = [IMAGE, NEWER].map(|id| world.launch_permissions(id));
        assert_eq!(everything, [IMAGE, NEWER].map(|id| if id == found { only(A) } else { BTreeSet::new() }), "{image}");
        world.change("base", json!({"image": by_id})).await;
        wait_shared(&world, IMAGE).await;
        assert_eq!((world.launch_permissions(IMAGE), world.launch_permissions(NEWER)), (only(A), BTreeSet::new()));
    }
}

#[tokio::test]
async fn who_asks_for_a_check_is_answered_when_the_image_has_been_looked_for() {
    let world = start().await;
    create(&world, newest(), json!({"interval": "24h"})).await;
    wait_shared(&world, NEWER).await;
    publish(&world, NEWEST);
    world.check_now("base").await;
    let status = world.status("base").await;
    assert_eq!(status.selected.unwrap().image_id.unwrap().as_str(), NEWEST);
    assert_eq!(world.launch_permissions(NEWEST), only(A));
}
