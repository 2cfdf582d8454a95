//! How an AmiShare looks to kubectl.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{document, spec, world};
use crate::harness::World;

/// An AmiShare whose status somebody has written who is not the operator.
async fn reported(world: &World, name: &str, spec: &str) {
    world.apply_in(world.namespace(), &document(name, spec)).await.unwrap();
    let status = json!({"status": {
        "sharedWith": {"accounts": 2, "organizations": 0, "organizationalUnits": 0, "public": false},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Synced", "message": "shared with 2 accounts",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }],
    }});
    world.shares().patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

/// The cells of a table that kubectl prints.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[tokio::test]
async fn kubectl_get_shows_what_is_shared_and_whether_it_works() {
    let world = world().await;
    reported(&world, "base", &spec("{}", "")).await;
    let table = world.kubectl(&["get", "amishare"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(cells(lines[0]), ["NAME", "IMAGE", "REGION", "ACCOUNTS", "READY", "REASON", "AGE"]);
    assert_eq!(cells(lines[1])[..6], ["base", "ami-12345678", "us-east-1", "2", "True", "Synced"]);
    let table = world.kubectl(&["get", "amishare", "-o", "wide"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(cells(lines[0])[7..], ["SELECTED", "MODE", "IDENTITY", "MESSAGE"]);
    assert_eq!(cells(lines[1])[7..], ["Authoritative", "default", "shared with 2 accounts"]);
}

#[tokio::test]
async fn it_answers_to_its_short_name_its_plural_and_its_category() {
    let world = world().await;
    reported(&world, "base", &spec("{}", "")).await;
    for name in ["ams", "amishares", "amishares.amishare.dev", "amishare"] {
        assert_eq!(world.kubectl(&["get", name, "-o", "name"]).await, "amishare.amishare.dev/base\n", "{name}");
    }
    let listed = world.kubectl(&["api-resources", "--categories=amishare", "-o", "name"]).await;
    assert!(listed.lines().any(|line| line == "amishares.amishare.dev"), "{listed}");
}

#[tokio::test]
async fn it_can_be_selected_by_image_region_and_mode() {
    let world = world().await;
    reported(&world, "one", &spec("{}", ", mode: Observe")).await;
    let other = "{region: eu-west-1, image: {id: ami-87654321}, shareWith: {}}";
    reported(&world, "other", other).await;
    for (selector, wanted) in [
        ("spec.region=us-east-1", "one"),
        ("spec.region=eu-west-1", "other"),
        ("spec.image.id=ami-87654321", "other"),
        ("spec.mode=Observe", "one"),
        ("spec.region!=us-east-1", "other"),
    ] {
        let found = world.kubectl(&["get", "ams", "--field-selector", selector, "-o", "name"]).await;
        assert_eq!(found, format!("amishare.amishare.dev/{wanted}\n"), "{selector}");
    }
    let arguments = ["get", "ams", "--field-selector", "spec.suspend=true"];
    let refusal = world.kubectl_in(world.namespace(), &arguments, "").await.unwrap_err();
    assert!(refusal.contains("field label not supported: spec.suspend"), "{refusal}");
}

#[tokio::test]
async fn kubectl_explain_tells_what_to_write() {
    let world = world().await;
    let explained = world.kubectl(&["explain", "amishare.spec.shareWith.accountIds"]).await;
    let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("FIELD: accountIds <[]string>"), "{explained}");
    assert!(words.contains("twelve digits each, in quotes, because leading zeros count"), "{explained}");
    let explained = world.kubectl(&["explain", "ams.spec", "--recursive"]).await;
    for field in ["createVolumePermission", "image\t<Object> -required-", "enum: Authoritative, Additive, Observe"] {
        assert!(explained.contains(field), "{field}: {explained}");
    }
}

#[tokio::test]
async fn the_status_is_written_on_its_own_and_neither_side_changes_the_other() {
    let world = world().await;
    let file = document("split", &spec("{}", "")) + "status: {observedGeneration: 7}\n";
    world.apply_in(world.namespace(), &file).await.unwrap();
    let api: Api<amishare::api::AmiShare> = world.shares();
    assert_eq!(api.get("split").await.unwrap().status, None, "kubectl apply has written a status");
    let both = json!({"spec": {"suspend": true}, "status": {"observedGeneration": 1}});
    api.patch_status("split", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    let share = api.get("split").await.unwrap();
    assert_eq!(share.status.unwrap().observed_generation, Some(1));
    assert!(!share.spec.suspend, "a write of the status has changed the spec");
    assert_eq!(share.metadata.generation, Some(1), "a write of the status counts as a new generation");
}

#[tokio::test]
async fn a_status_beyond_its_bounds_is_refused() {
    let world = world().await;
    world.apply_in(world.namespace(), &document("bounded", &spec("{}", ""))).await.unwrap();
    let condition = |status: &str| {
        json!({"status": {"conditions": [{
            "type": "Ready", "status": status, "reason": "Synced", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}})
    };
    let pending: Vec<String> = (0..21).map(|n| format!("change {n}")).collect();
    for (status, with) in [
        (condition("Maybe"), "Unsupported value: \"Maybe\""),
        (json!({"status": {"pendingChanges": pending}}), "status.pendingChanges: Too many: 21"),
        (json!({"status": {"granted": [{"imageId": "ami-1"}]}}), "status.granted[0].imageId: Invalid value: \"ami-1\""),
    ] {
        let patched = world.shares().patch_status("bounded", &PatchParams::default(), &Patch::Merge(&status)).await;
        let refusal = patched.unwrap_err().to_string();
        assert!(refusal.contains(with), "{refusal}");
    }
}
