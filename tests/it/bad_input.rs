//! Objects that are no AmiShares of this version, as an older schema or a careless hand leaves them in etcd: they stop nobody
//! else, protect whom they list, and can be corrected and deleted.
//!
//! The API server refuses to store them, so these tests have one of their own whose definition lets everything through.

use std::sync::{Arc, OnceLock};

use amishare::api::{AmiShare, crd};
use envtest::ControlPlane;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{
    Setup, World, definition_of, eventually, own_cluster,
    world::{IMAGE, REGION},
};

const WELL: &str = "111122223333";
const LISTED: &str = "222233334444";
const STRANGER: &str = "444455556666";

/// An image that somebody has shared with an account that a malformed object lists, and with one that nobody lists.
const HELD: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", launchPermissions: ["222233334444", "444455556666"]}
"#;

/// The definition of a kind as it is, but for the schema, which lets everything through.
pub fn lax(kind: &str) -> String {
    let (_, definition) = crd::all().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    let mut definition = serde_json::to_value(definition).unwrap();
    let version = &mut definition["spec"]["versions"][0];
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    version["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "properties": {"spec": anything, "status": anything}});
    version.as_object_mut().unwrap().remove("selectableFields");
    definition.to_string()
}

/// The control plane that the tests here share. It ends with this process.
async fn lax_cluster() -> Arc<ControlPlane> {
    static CLUSTER: OnceLock<Arc<ControlPlane>> = OnceLock::new();
    tokio::task::spawn_blocking(|| {
        Arc::clone(CLUSTER.get_or_init(|| own_cluster([lax("AmiShare"), definition_of("AmiDistribution")])))
    })
    .await
    .unwrap()
}

fn objects(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), world.namespace(), &ApiResource::erase::<AmiShare>(&()))
}

/// Stores an object with this spec, whatever it is.
async fn store(world: &World, name: &str, spec: &Value) {
    let object =
        json!({"apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": name}, "spec": spec});
    objects(world).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A spec of [`IMAGE`] that lists [`LISTED`] and others who hold nothing, and that cannot be read.
fn eager() -> Value {
    json!({
        "region": REGION, "image": {"id": IMAGE}, "mode": "Eager",
        "shareWith": {"accountIds": [LISTED, "333344445555", 5, "nonsense"]},
    })
}

/// Waits until the object, which need not be an AmiShare, is not ready for this reason; gives the message.
async fn wait_not_ready(world: &World, name: &str, reason: &str) -> String {
    eventually(&format!("{name} is not ready: {reason}"), || async {
        let object = objects(world).get(name).await.map_err(|e| e.to_string())?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|c| c["type"] == "Ready" && c["status"] == "False" && c["reason"] == reason);
        let stalled = conditions.iter().any(|c| c["type"] == "Stalled" && c["status"] == "True");
        match ready {
            Some(ready) if stalled && ready["observedGeneration"] == json!(object.metadata.generation) => {
                Ok(ready["message"].as_str().unwrap().to_owned())
            }
            _ => Err(object.data.to_string()),
        }
    })
    .await
}

async fn wait_gone(world: &World, name: &str) {
    eventually(&format!("{name} is gone"), || async {
        match objects(world).get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(object) => Err(format!("{object:?}")),
        }
    })
    .await;
}

/// A world on the lax cluster with malformed objects of every kind, whose operator is yet to be started.
async fn malformed() -> World {
    let world = World::on(lax_cluster().await, Setup { scenario: HELD, ..Setup::default() }).await;
    store(&world, "eager", &eager()).await;
    store(&world, "text", &json!("share it with everybody")).await;
    store(&world, "nothing", &Value::Null).await;
    store(&world, "no-image", &json!({"region": REGION, "image": {}, "shareWith": {}})).await;
    store(&world, "numbers", &json!({"region": 5, "image": {"id": 7}, "shareWith": [1, 2, 3]})).await;
    store(
        &world,
        "endless",
        &json!({"region": REGION, "image": {"id": IMAGE}, "shareWith": {}, "interval": "for ever"}),
    )
    .await;
    world
}

async fn well(world: &World) {
    let spec = json!({"region": REGION, "image": {"id": IMAGE}, "shareWith": {"accountIds": [WELL]}});
    store(world, "well", &spec).await;
}

#[tokio::test]
async fn malformed_objects_do_not_stop_a_share_of_the_same_image_in_the_same_namespace() {
    let mut world = malformed().await;
    well(&world).await;
    world.start_operator().await;
    assert_eq!(world.wait_ready("well", "True", "Synced").await, "shared with 1 account");
    // The stranger goes; whom the malformed object lists stays, and gets nothing that it does not have.
    world.wait_shared_with(&[WELL, LISTED]).await;
}

#[tokio::test]
async fn malformed_objects_that_come_later_do_not_stop_the_watch() {
    let mut world = World::on(lax_cluster().await, Setup { scenario: HELD, ..Setup::default() }).await;
    world.start_operator().await;
    store(&world, "eager", &eager()).await;
    store(&world, "text", &json!("?")).await;
    wait_not_ready(&world, "eager", "InvalidSpec").await;
    wait_not_ready(&world, "text", "InvalidSpec").await;
    well(&world).await;
    world.wait_ready("well", "True", "Synced").await;
    world.wait_shared_with(&[WELL, LISTED]).await;
}

#[tokio::test]
async fn every_malformed_object_says_what_is_wrong_with_it() {
    let mut world = malformed().await;
    world.start_operator().await;
    for (name, says) in [
        ("eager", "unknown variant `Eager`"),
        ("text", "invalid type: string \"share it with everybody\""),
        ("nothing", "spec"),
        ("no-image", "spec.image names no image in a way that this operator knows: set spec.image.id, name or tags"),
        ("numbers", "invalid type: integer `7`, expected a string"),
        ("endless", "\"for ever\" is not a length of time, such as 10m or 1h30m"),
    ] {
        let message = wait_not_ready(&world, name, "InvalidSpec").await;
        assert!(message.contains(says), "{name}: {message}");
        assert!(message.contains("correct it; nothing is changed for it"), "{name}: {message}");
    }
    assert_eq!(world.launch_permissions(IMAGE).len(), 2, "nothing is changed for any of them");
    world.wait_event("eager", "InvalidSpec", "Eager").await;
}

#[tokio::test]
async fn malformed_objects_can_be_deleted_and_no_longer_protect_anybody() {
    let mut world = malformed().await;
    well(&world).await;
    world.start_operator().await;
    world.wait_shared_with(&[WELL, LISTED]).await;
    for name in ["eager", "text", "nothing", "no-image", "numbers", "endless"] {
        world.kubectl(&["delete", "ams", name, "--wait=false"]).await;
        wait_gone(&world, name).await;
    }
    world.wait_shared_with(&[WELL]).await;
}

#[tokio::test]
async fn a_malformed_object_that_is_corrected_is_acted_on() {
    let mut world = malformed().await;
    world.start_operator().await;
    wait_not_ready(&world, "eager", "InvalidSpec").await;
    let spec = json!({"spec": {"mode": "Authoritative", "shareWith": {"accountIds": [LISTED, "333344445555"]}}});
    objects(&world).patch("eager", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    assert_eq!(world.wait_ready("eager", "True", "Synced").await, "shared with 2 accounts");
    world.wait_shared_with(&[LISTED, "333344445555"]).await;
}

#[tokio::test]
async fn a_share_that_becomes_malformed_keeps_what_it_gave_and_takes_it_back_when_it_is_deleted() {
    let mut world = World::on(lax_cluster().await, Setup { scenario: HELD, ..Setup::default() }).await;
    world.start_operator().await;
    let additive = json!({
        "region": REGION, "image": {"id": IMAGE}, "mode": "Additive",
        "shareWith": {"accountIds": [WELL]}, "createVolumePermission": "None",
    });
    store(&world, "turns", &additive).await;
    world.wait_ready("turns", "True", "Synced").await;
    world.wait_shared_with(&[WELL, LISTED, STRANGER]).await;
    let broken = json!({"spec": {"mode": "Eager", "shareWith": {"accountIds": []}}});
    objects(&world).patch("turns", &PatchParams::default(), &Patch::Merge(&broken)).await.unwrap();
    wait_not_ready(&world, "turns", "InvalidSpec").await;
    // Whom it gave the image is protected, even from a share that knows better.
    let other = json!({"region": REGION, "image": {"id": IMAGE}, "shareWith": {}});
    store(&world, "strict", &other).await;
    world.wait_ready("strict", "True", "Synced").await;
    world.wait_shared_with(&[WELL]).await;
    world.kubectl(&["delete", "ams", "strict", "turns", "--wait=false"]).await;
    wait_gone(&world, "turns").await;
    wait_gone(&world, "strict").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_share_that_lost_its_region_names_whom_it_gave_and_goes_when_it_is_abandoned() {
    let mut world = World::on(lax_cluster().await, Setup { scenario: HELD, ..Setup::default() }).await;
    world.start_operator().await;
    well(&world).await;
    world.wait_ready("well", "True", "Synced").await;
    objects(&world).patch("well", &PatchParams::default(), &Patch::Merge(&json!({"spec": "lost"}))).await.unwrap();
    wait_not_ready(&world, "well", "InvalidSpec").await;
    world.kubectl(&["delete", "ams", "well", "--wait=false"]).await;
    let message = wait_not_ready(&world, "well", "DeletionBlocked").await;
    assert!(message.contains(&format!("what was given to {WELL} is not yet taken back")), "{message}");
    world.kubectl(&["annotate", "ams", "well", "amishare.dev/on-delete=abandon"]).await;
    wait_gone(&world, "well").await;
    assert_eq!(world.launch_permissions(IMAGE).into_iter().collect::<Vec<_>>(), [WELL]);
}

/// Puts the real definition in the place of the lax one, as an upgrade does.
async fn become_strict(world: &World) {
    let (_, definition) = crd::all().into_iter().find(|(_, crd)| crd.spec.names.kind == "AmiShare").unwrap();
    let definition = serde_json::to_string(&definition).unwrap();
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    world.kubectl_in(world.namespace(), &arguments, &definition).await.unwrap();
    eventually("the schema is in force", || async {
        let manifest = World::manifest("probe", "  shareWith: {}\n  mode: Eager");
        let arguments = ["create", "--dry-run=server", "-f", "-"];
        match world.kubectl_in(world.namespace(), &arguments, &manifest).await {
            Ok(accepted) => Err(accepted),
            Err(_) => Ok(()),
        }
    })
    .await;
}

/// The API server refuses to store even a status in objects that its schema does not know: an event says what is wrong.
#[tokio::test]
async fn under_the_real_definition_old_objects_are_reported_protect_and_can_be_deleted() {
    let plane =
        tokio::task::spawn_blocking(|| own_cluster([lax("AmiShare"), definition_of("AmiDistribution")])).await.unwrap();
    let mut world = World::on(plane, Setup { scenario: HELD, ..Setup::default() }).await;
    world.start_operator().await;
    let gave = json!({"region": REGION, "image": {"id": IMAGE}, "shareWith": {"accountIds": ["555566667777"]}, "mode": "Additive"});
    store(&world, "gave", &gave).await;
    world.wait_ready("gave", "True", "Synced").await;
    world.stop_operator().await;
    let broken = json!({"spec": {"mode": "Eager"}});
    objects(&world).patch("gave", &PatchParams::default(), &Patch::Merge(&broken)).await.unwrap();
    store(&world, "eager", &eager()).await;
    store(&world, "text", &json!("share it with everybody")).await;
    well(&world).await;
    become_strict(&world).await;

    world.start_operator().await;
    world.wait_ready("well", "True", "Synced").await;
    world.wait_shared_with(&[WELL, LISTED, "555566667777"]).await;
    for (name, says) in [("eager", "`Eager`"), ("gave", "`Eager`"), ("text", "share it with everybody")] {
        world.wait_event(name, "InvalidSpec", says).await;
    }
    let notes = format!("{:?}", world.events("eager").await);
    assert!(notes.contains("refused to write the status of") && !notes.contains("Status {"), "{notes}");
    world.check_now("well").await;
    world.check_now("well").await;
    assert_eq!(world.events("eager").await.len(), 1, "said once, not at every look");
    for name in ["eager", "text", "gave"] {
        world.kubectl(&["delete", "ams", name, "--wait=false"]).await;
        wait_gone(&world, name).await;
    }
    world.wait_shared_with(&[WELL]).await;
}
