//! Sources that are found by name and tags.

use amishare::{
    runtime::clock::Clock,
    simulator::{Fault, FaultKind},
};
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::{
    EU, NEWER, children, counts, distributions, held, images, patch, start, status, target, wait_ready,
};
use crate::harness::{World, eventually, world::IMAGE};

const OWNER: &str = "999988887777";
const A: &str = "111122223333";
const NEWEST: &str = "ami-0bbbbbbbbbbbbbbb2";

/// Makes an image that is like [`IMAGE`], with another name and of another age.
fn appears(world: &World, id: &str, name: &str, age: SignedDuration) {
    world.aws.with_world(|aws| {
        let here = aws.regions.get_mut("us-east-1").unwrap();
        let mut image = here.images[IMAGE].clone();
        (image.id, image.name, image.created) = (id.into(), name.into(), Clock::wall().now() - age);
        here.images.insert(id.into(), image);
    });
}

/// Sets how old the images are that were there from the beginning.
fn grow_old(world: &World) {
    world.aws.with_world(|aws| {
        let here = aws.regions.get_mut("us-east-1").unwrap();
        for (id, days) in [(IMAGE, 20), (NEWER, 10)] {
            here.images.get_mut(id).unwrap().created = Clock::wall().now() - SignedDuration::from_hours(24 * days);
        }
    });
}

async fn create(world: &World, image: Value, rest: Value) {
    let mut spec = json!({
        "source": {"region": "us-east-1", "image": image}, "targets": [{"name": "eu", "region": EU}], "interval": "10s",
    });
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    super::world::create(world, "base", spec).await;
}

async fn wait_source(world: &World, id: &str) {
    eventually(&format!("the source is {id} and everything is ready"), || async {
        let seen = status(world, "base").await;
        let is_it = seen.source.as_ref().is_some_and(|source| source.id.as_str() == id);
        if is_it && seen.ready_targets.as_deref() == Some("1/1") { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    wait_ready(world, "base", "True", "Synced").await;
}

#[tokio::test]
async fn the_newest_image_of_a_name_is_copied_and_a_newer_one_takes_its_place() {
    let world = start().await;
    grow_old(&world);
    let rest = json!({"share": {"shareWith": {"accountIds": [A]}}, "retention": {"keepLast": 2, "gracePeriod": "1d"}});
    create(&world, json!({"name": "golden*", "newest": true}), rest).await;
    wait_source(&world, NEWER).await;
    let first = images(&world, EU).remove(0);
    appears(&world, "ami-0cccccccccccccccc", "silver", SignedDuration::ZERO);
    appears(&world, NEWEST, "golden-3", SignedDuration::ZERO);
    wait_source(&world, NEWEST).await;
    world.wait_event("base", "SourceChanged", &format!("the source is now {NEWEST}, and was {NEWER}")).await;
    assert_eq!(images(&world, EU).len(), 2);
    assert_eq!(held(&world, EU, &first.id), [A], "retention keeps two");
    let shown = world.kubectl(&["get", "amd", "base"]).await;
    assert!(shown.contains(NEWEST), "{shown}");
}

#[tokio::test]
async fn an_image_is_found_by_its_tags_and_several_are_an_error_unless_the_newest_is_meant() {
    let world = start().await;
    grow_old(&world);
    create(&world, json!({"tags": {"team": "plat*"}}), json!({})).await;
    wait_source(&world, IMAGE).await;
    appears(&world, NEWEST, "golden-3", SignedDuration::ZERO);
    let ready = wait_ready(&world, "base", "False", "ImageAmbiguous").await;
    assert!(ready.message.contains(NEWEST) && ready.message.contains("newest: true"), "{}", ready.message);
    let line = target(&world, "base", "eu").await;
    assert!(line.ready, "what there is stays: {line:?}");
    assert_eq!(counts(&world)["CopyImage"], 1);
    patch(&world, "base", json!({"spec": {"source": {"image": {"newest": true}}}})).await;
    wait_source(&world, NEWEST).await;
}

#[tokio::test]
async fn a_copy_that_a_distribution_has_made_is_never_found_whatever_its_name() {
    let world = start().await;
    grow_old(&world);
    appears(&world, NEWEST, "golden-3", SignedDuration::ZERO);
    let tag = [("ResourceId.1", NEWEST), ("Tag.1.Key", "amishare.dev/distribution"), ("Tag.1.Value", "another")];
    world.rogue(OWNER, "CreateTags", &tag);
    create(&world, json!({"name": "golden*", "newest": true}), json!({})).await;
    wait_source(&world, NEWER).await;
}

#[tokio::test]
async fn when_the_newest_is_withdrawn_the_copy_of_the_one_before_serves_again() {
    let world = start().await;
    grow_old(&world);
    create(&world, json!({"name": "golden*", "newest": true}), json!({})).await;
    wait_source(&world, NEWER).await;
    let first = images(&world, EU).remove(0);
    appears(&world, NEWEST, "golden-3", SignedDuration::ZERO);
    wait_source(&world, NEWEST).await;
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", NEWEST)]);
    wait_source(&world, NEWER).await;
    assert_eq!(target(&world, "base", "eu").await.image_id.unwrap().as_str(), first.id);
    assert_eq!(counts(&world)["CopyImage"], 2);
}

#[tokio::test]
async fn what_was_the_source_stays_it_while_nothing_can_be_found() {
    let world = start().await;
    grow_old(&world);
    let rest = json!({"share": {"shareWith": {"accountIds": [A]}}, "retention": {"keepLast": 1}});
    create(&world, json!({"name": "golden-2", "newest": true}), rest).await;
    wait_source(&world, NEWER).await;
    let copy = images(&world, EU).remove(0);
    world.aws.add_fault(Fault { region: Some("us-east-1".into()), ..Fault::new(FaultKind::AccessDenied) });
    wait_ready(&world, "base", "False", "AccessDenied").await;
    world.aws.clear_faults();
    wait_source(&world, NEWER).await;
    patch(&world, "base", json!({"spec": {"source": {"image": {"name": "nothing"}}}})).await;
    let ready = wait_ready(&world, "base", "False", "ImageNotFound").await;
    assert!(ready.message.contains("name nothing"), "{}", ready.message);
    assert_eq!(held(&world, EU, &copy.id), [A]);
    assert_eq!(status(&world, "base").await.source.unwrap().id.as_str(), NEWER);
}

#[tokio::test]
async fn a_source_that_is_shared_where_it_is_stays_shared_while_nothing_can_be_found() {
    let world = start().await;
    grow_old(&world);
    let rest = json!({
        "targets": [{"name": "home", "region": "us-east-1"}], "share": {"shareWith": {"accountIds": [A]}},
        "deletionPolicy": "Delete", "retention": {"keepLast": 1},
    });
    create(&world, json!({"name": "golden-2"}), rest).await;
    wait_source(&world, NEWER).await;
    patch(&world, "base", json!({"spec": {"source": {"image": {"name": "nothing"}}}})).await;
    wait_ready(&world, "base", "False", "ImageNotFound").await;
    // Another round of it, which everything that the first one has begun comes before.
    world.kubectl(&["annotate", "amd", "base", "reconcile.amishare.dev/requestedAt=now"]).await;
    eventually("that is heard", || async {
        let seen = status(&world, "base").await;
        if seen.last_handled_reconcile_at.as_deref() == Some("now") { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    assert_eq!((held(&world, "us-east-1", NEWER), children(&world).await.len()), (vec![A.to_owned()], 1));
}

#[tokio::test]
async fn who_never_had_a_source_is_told_that_there_is_none() {
    let world = start().await;
    create(&world, json!({"name": "nothing"}), json!({})).await;
    wait_ready(&world, "base", "False", "ImageNotFound").await;
    assert!(images(&world, EU).is_empty());
    grow_old(&world);
    appears(&world, NEWEST, "nothing", SignedDuration::ZERO);
    wait_source(&world, NEWEST).await;
}

#[tokio::test]
async fn sources_that_are_shared_where_they_are_stay_shared_as_long_as_retention_says() {
    let world = start().await;
    grow_old(&world);
    let rest = json!({
        "targets": [{"name": "home", "region": "us-east-1"}], "share": {"shareWith": {"accountIds": [A]}},
    });
    create(&world, json!({"name": "golden*", "newest": true}), rest).await;
    wait_source(&world, NEWER).await;
    appears(&world, NEWEST, "golden-3", SignedDuration::ZERO);
    wait_source(&world, NEWEST).await;
    for image in [NEWER, NEWEST] {
        assert_eq!(held(&world, "us-east-1", image), [A]);
    }
    assert_eq!(children(&world).await.len(), 2);
    patch(&world, "base", json!({"spec": {"retention": {"keepLast": 1}}})).await;
    eventually("the former source is not shared any more", || async {
        let held = held(&world, "us-east-1", NEWER);
        if held.is_empty() { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    assert_eq!(held(&world, "us-east-1", NEWEST), [A]);
    assert!(images(&world, "us-east-1").iter().any(|image| image.id == NEWER), "it is not ours to delete");
}

#[tokio::test]
async fn a_source_that_is_named_in_two_ways_or_in_none_is_refused_when_it_is_applied() {
    let world = super::world::without_operator().await;
    let refused = |image: Value| {
        let world = &world;
        async move {
            let spec =
                json!({"source": {"region": "us-east-1", "image": image}, "targets": [{"name": "eu", "region": EU}]});
            let object = json!({
                "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": "base"}, "spec": spec,
            });
            let object = serde_json::from_value(object).unwrap();
            let error = distributions(world).create(&kube::api::PostParams::default(), &object).await.unwrap_err();
            error.to_string()
        }
    };
    for image in [json!({}), json!({"id": IMAGE, "name": "golden"}), json!({"newest": true})] {
        let error = refused(image.clone()).await;
        assert!(error.contains("name the image in exactly one way"), "{image}: {error}");
    }
    for image in [json!({"id": IMAGE, "newest": true}), json!({"id": IMAGE, "owner": "amazon"})] {
        let error = refused(image.clone()).await;
        assert!(error.contains("owner and newest are for images that are found"), "{image}: {error}");
    }
}
