//! Distributions that cannot be read as such: they stop nobody else, and can be corrected and deleted.

use std::sync::{Arc, OnceLock};

use amishare::api::AmiDistribution;
use envtest::ControlPlane;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::world::{EU, QUICK, children, create, images, wait_ready};
use crate::{
    bad_input::lax,
    harness::{Setup, World, definition_of, eventually, own_cluster},
};

const A: &str = "111122223333";

async fn start() -> World {
    static CLUSTER: OnceLock<Arc<ControlPlane>> = OnceLock::new();
    let own = || Arc::clone(CLUSTER.get_or_init(|| own_cluster([definition_of("AmiShare"), lax("AmiDistribution")])));
    let cluster = tokio::task::spawn_blocking(own).await.unwrap();
    let mut world = World::on(cluster, Setup { scenario: QUICK, ..Setup::default() }).await;
    world.start_operator().await;
    world
}

fn objects(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), world.namespace(), &ApiResource::erase::<AmiDistribution>(&()))
}

async fn patch(world: &World, patch: Value) {
    objects(world).patch("base", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Waits until the object says of itself that it cannot be read, and something besides.
async fn wait_unread(world: &World, words: &str) {
    eventually(&format!("base is not ready: {words}"), || async {
        let object = objects(world).get("base").await.map_err(|error| error.to_string())?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default();
        let is_it = ready["reason"] == "InvalidSpec" && message.contains("cannot be read") && message.contains(words);
        if is_it { Ok(()) } else { Err(object.data.to_string()) }
    })
    .await;
}

/// A distribution that has its copy, and cannot be read any more.
async fn broken() -> World {
    let world = start().await;
    let spec = json!({
        "targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}, "deletionPolicy": "Delete",
    });
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    patch(&world, json!({"spec": {"targets": "nonsense"}})).await;
    wait_unread(&world, "nonsense").await;
    world
}

#[tokio::test]
async fn a_distribution_that_cannot_be_read_says_so_stops_no_other_and_goes_on_once_it_can_be() {
    let world = broken().await;
    create(&world, "well", json!({"targets": [{"name": "us", "region": "us-west-2"}]})).await;
    wait_ready(&world, "well", "True", "Synced").await;
    assert_eq!((images(&world, EU).len(), children(&world).await.len()), (1, 1), "what it has made stays");
    patch(&world, json!({"spec": {"targets": [{"name": "eu", "region": EU}]}})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!(images(&world, EU).len(), 1);
}

#[tokio::test]
async fn a_distribution_that_cannot_be_read_is_deleted_when_it_is_abandoned() {
    let world = broken().await;
    objects(&world).delete("base", &DeleteParams::default()).await.unwrap();
    wait_unread(&world, "amishare.dev/on-delete=abandon").await;
    patch(&world, json!({"metadata": {"annotations": {"amishare.dev/on-delete": "abandon"}}})).await;
    eventually("it is gone, and its AmiShare with it", || async {
        let there = (objects(&world).get_opt("base").await.unwrap().is_some(), children(&world).await.len());
        if there == (false, 0) { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
    assert_eq!(images(&world, EU).len(), 1, "copies stay");
}
