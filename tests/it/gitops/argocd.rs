//! The health of our kinds in Argo CD: of recorded objects, and of those that the operator writes to a real API server.

use std::{collections::BTreeSet, fs};

use amishare::{
    api::{ConditionType::Ready, conditions::find},
    simulator::{Fault, FaultKind},
};
use serde_json::json;

use super::health::{Health, KINDS, cases, customization, health, health_of, read, said_by};
use crate::harness::{Setup, World, actions::in_seconds, world::IMAGE};

const A: &str = "111111111111";
const B: &str = "222222222222";

const NOT_SEEN: &str = "Waiting for the operator to look at it";
const STALE: &str = "Waiting for the operator to act on the last change of the spec";

fn is(status: &str, message: &str) -> Health {
    Health { status: status.into(), message: message.into() }
}

#[tokio::test]
async fn the_health_script_says_of_every_recorded_object_what_health_test_expects() {
    for kind in KINDS {
        let folder = customization(kind);
        let cases = cases(kind);
        let recorded: BTreeSet<String> = fs::read_dir(folder.join("testdata"))
            .unwrap()
            .map(|entry| format!("testdata/{}", entry.unwrap().file_name().into_string().unwrap()))
            .collect();
        let expected: BTreeSet<String> = cases.iter().map(|case| case.input_path.clone()).collect();
        assert_eq!(recorded, expected, "every file of testdata has its case");
        let files = cases.iter().map(|case| folder.join(&case.input_path));
        let said = said_by(&folder.join("health.lua"), files).await.unwrap();
        assert_eq!(said.len(), cases.len());
        for (case, said) in cases.iter().zip(said) {
            assert_eq!(said, case.health_status, "{}", case.input_path);
        }
        let states: BTreeSet<&str> = cases.iter().map(|case| case.health_status.status.as_str()).collect();
        assert_eq!(states, BTreeSet::from(["Healthy", "Progressing", "Degraded", "Suspended"]));
    }
}

#[tokio::test]
async fn the_recorded_objects_are_ones_that_the_api_server_can_have_stored() {
    let world = World::without_operator(Setup::default()).await;
    let mut all = Vec::new();
    let folders = KINDS.map(|kind| fs::read_dir(customization(kind).join("testdata")).unwrap());
    for entry in folders.into_iter().flatten() {
        let path = entry.unwrap().path();
        let mut object = read(&path);
        let name = path.file_stem().unwrap().to_str().unwrap().replace('_', "-");
        object["metadata"] = json!({"name": name});
        all.push(object.to_string());
    }
    // The main resource does not take a status, and the other way round.
    for part in [&["apply"][..], &["apply", "--subresource=status"]] {
        let arguments = [part, &["--server-side", "--validate=strict", "--filename=-"]].concat();
        let output = world.kubectl_output(world.namespace(), &arguments, &all.join("\n---\n")).await;
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{arguments:?}: {complaints}");
    }
}

#[tokio::test]
async fn the_tests_give_a_health_script_no_more_than_argo_cd_does() {
    let folder = tempfile::tempdir().unwrap();
    let lua = folder.path().join("health.lua");
    let object = [customization("AmiShare").join("testdata/healthy.yaml")];
    fs::write(&lua, "return {status = 'Healthy', message = tostring(#obj.status.conditions)}").unwrap();
    assert_eq!(said_by(&lua, &object).await.unwrap(), [is("Healthy", "4")]);
    for withheld in
        ["string.upper('x')", "('x'):upper()", "math.max(1)", "io.open('x')", "require('string').upper('x')"]
    {
        fs::write(&lua, format!("return {{status = 'Healthy', message = {withheld}}}")).unwrap();
        let refusal = said_by(&lua, &object).await.unwrap_err();
        assert!(refusal.contains("LuaError"), "{withheld}: {refusal}");
    }
    for wrong in ["return {status = 'Fine'}", "return {message = 'x'}", "return 'Healthy'", "local x = 1"] {
        fs::write(&lua, wrong).unwrap();
        let refusal = said_by(&lua, &object).await.unwrap_err();
        assert!(refusal.contains("AssertionError"), "{wrong}: {refusal}");
    }
}

#[tokio::test]
async fn a_share_is_healthy_when_its_present_spec_is_in_force_and_at_no_other_time() {
    let mut world = World::without_operator(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    assert_eq!(health(&world, "base").await, is("Progressing", NOT_SEEN));
    world.start_operator().await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(health(&world, "base").await, is("Healthy", "shared with 1 account"));

    world.stop_operator().await;
    world.change("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    assert_eq!(health(&world, "base").await, is("Progressing", STALE));
    world.start_operator().await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(health(&world, "base").await, is("Healthy", "shared with 2 accounts"));

    // Not only when a test looks: in every version that was ever stored.
    let versions = record.check().await;
    let said = health_of("AmiShare", versions.iter().map(|version| serde_json::to_string(version).unwrap())).await;
    for (version, said) in versions.iter().zip(&said) {
        let (generation, status) = (version.metadata.generation, version.status.clone().unwrap_or_default());
        let in_force = status.observed_generation == generation
            && find(&status.conditions, Ready)
                .is_some_and(|c| c.status == "True" && c.observed_generation == generation);
        assert_eq!(said.status == "Healthy", in_force, "{said:?}: {}", serde_json::to_string(version).unwrap());
    }
    let states: BTreeSet<&str> = said.iter().map(|said| said.status.as_str()).collect();
    assert_eq!(states, BTreeSet::from(["Healthy", "Progressing"]));
}

/// An image for each share of the next test, and an account that is closed.
const IMAGES: &str = r#"
accounts: [{id: "999988887777"}]
closedAccounts: ["000000000007"]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}
  - {id: ami-00000000000000c01, region: us-east-1, owner: "999988887777", state: pending}
  - {id: ami-00000000000000c02, region: us-east-1, owner: "999988887777"}
  - {id: ami-00000000000000c03, region: us-east-1, owner: "999988887777"}
  - {id: ami-00000000000000c04, region: us-east-1, owner: "999988887777"}
  - {id: ami-00000000000000c05, region: us-east-1, owner: "999988887777", launchPermissions: ["111111111111"]}
"#;

#[tokio::test]
async fn each_state_that_the_operator_reports_has_its_health() {
    let world = World::start(Setup { scenario: IMAGES, ..Setup::default() }).await;
    let shares = [
        ("refused", IMAGE, json!({"shareWith": {"accountIds": [A, "000000000007"]}})),
        ("pending", "ami-00000000000000c01", json!({})),
        ("suspended", "ami-00000000000000c02", json!({"suspend": true})),
        ("expired", "ami-00000000000000c03", json!({"expiresAt": in_seconds(-1)})),
        ("observes", "ami-00000000000000c04", json!({"mode": "Observe"})),
        ("observed", "ami-00000000000000c05", json!({"mode": "Observe"})),
    ];
    for (name, image, besides) in shares {
        let mut spec = json!({"image": {"id": image}, "shareWith": {"accountIds": [A]}});
        spec.as_object_mut().unwrap().extend(besides.as_object().unwrap().clone());
        world.create(name, spec).await;
    }
    for (name, ready, reason, health_is, begins) in [
        (
            "refused",
            "False",
            "PrincipalRefused",
            "Degraded",
            "PrincipalRefused: not given to 000000000007: AWS refuses it",
        ),
        (
            "pending",
            "False",
            "ImagePending",
            "Progressing",
            "ImagePending: ami-00000000000000c01 in us-east-1 is pending",
        ),
        ("suspended", "Unknown", "Suspended", "Suspended", "suspended: nothing is checked or changed"),
        ("expired", "False", "Expired", "Suspended", "expiresAt has passed: the share gives nobody"),
        ("observes", "False", "ChangesPending", "Suspended", "mode is Observe; it would give launch permission on"),
        ("observed", "True", "Synced", "Healthy", "shared with 1 account"),
    ] {
        world.wait_ready(name, ready, reason).await;
        let Health { status, message } = health(&world, name).await;
        assert_eq!(status, health_is, "{name}: {message}");
        assert!(message.starts_with(begins), "{name}: {message}");
    }
}

#[tokio::test]
async fn a_deletion_is_progressing_while_the_operator_tries_and_degraded_once_somebody_has_to_act() {
    let outage = FaultKind::ServerError { status: 503, html: true };
    for (fault, expected) in [(outage, "Progressing"), (FaultKind::AccessDenied, "Degraded")] {
        let mut world = World::start(Setup::default()).await;
        world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
        world.wait_ready("base", "True", "Synced").await;
        world.stop_operator().await;
        world.delete("base").await;
        let waits = is("Progressing", "Pending deletion: what it gave is being taken back");
        assert_eq!(health(&world, "base").await, waits);

        world.aws.add_fault(Fault::new(fault).on("Modify*"));
        world.start_operator().await;
        world.wait_ready("base", "False", "DeletionBlocked").await;
        let Health { status, message } = health(&world, "base").await;
        assert_eq!(status, expected, "{message}");
        let begins = format!("DeletionBlocked: what was given to {A} is not yet taken back");
        assert!(message.starts_with(&begins) && message.contains("amishare.dev/on-delete=abandon"), "{message}");
    }
}

#[tokio::test]
async fn a_distribution_is_progressing_while_it_copies_and_healthy_once_everything_is_there() {
    use crate::distribution::world::{EU, create, start, wait_ready};
    let world = start().await;
    create(&world, "base", json!({"targets": [{"name": "eu", "region": EU}]})).await;
    let health = async || {
        let object = world.kubectl(&["get", "amd", "base", "--output=json"]).await;
        health_of("AmiDistribution", [object]).await.remove(0)
    };
    wait_ready(&world, "base", "False", "Progressing").await;
    let Health { status, message } = health().await;
    assert!(status == "Progressing" || message == "1 of 1 targets are ready", "{status}: {message}");
    wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!(health().await, is("Healthy", "1 of 1 targets are ready"));
}
