//! What the chart renders is on record, so that a change of a template shows what it changes.
//!
//! `make generate` writes the records anew.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::render::{chart, everything, helm, must_be, objects, said, template};

fn record(name: &str, arguments: &[&str]) {
    // The definitions are on record in crds/.
    let text = template(&[&["--set", "crds.enabled=false"], arguments].concat()).unwrap();
    must_be(&format!("tests/it/chart/golden/{name}.yaml"), &text);
}

#[test]
fn the_defaults_render_as_recorded() {
    record("default", &[]);
}

#[test]
fn everything_at_once_renders_as_recorded() {
    record("everything", &["--values", &everything()]);
}

#[test]
fn one_replica_without_leader_election_renders_as_recorded() {
    let alone = "replicaCount=1,leaderElection.enabled=false,podDisruptionBudget.enabled=false";
    record("alone", &["--set", alone]);
}

#[test]
fn watched_namespaces_render_as_recorded() {
    record("namespaces", &["--set", "settings.watchNamespaces={images,platform}"]);
}

#[test]
fn an_account_and_roles_of_ones_own_render_as_recorded() {
    record("own-account", &["--set", "serviceAccount.create=false,serviceAccount.name=mine,rbac.create=false"]);
}

#[test]
fn the_linter_has_nothing_to_complain_about() {
    let (chart, everything) = (chart(), everything());
    for values in [vec![], vec!["--values", &everything]] {
        let said = said(&mut helm(&[vec!["lint", "--strict", &chart], values].concat())).unwrap();
        assert!(!said.contains("[WARNING]") && said.contains("0 chart(s) failed"), "{said}");
    }
}

#[test]
fn the_definitions_are_those_of_the_types_and_are_kept_unless_asked_otherwise() {
    let definitions = |arguments: &[&str]| {
        let mut all = objects(&template(arguments).unwrap());
        all.retain(|object| object["kind"] == "CustomResourceDefinition");
        all
    };
    let types = amishare::api::crd::all();
    let rendered = definitions(&[]);
    assert_eq!(rendered.len(), types.len());
    for (rendered, (name, expected)) in rendered.into_iter().zip(types) {
        let rendered: CustomResourceDefinition = serde_json::from_value(rendered).unwrap();
        assert!(rendered.spec == expected.spec, "{name}: `make generate` copies it into the chart");
        assert_eq!(rendered.metadata.name, expected.metadata.name);
        assert_eq!(rendered.metadata.annotations.unwrap()["helm.sh/resource-policy"], "keep");
    }
    for rendered in definitions(&["--set", "crds.keep=false"]) {
        assert!(rendered["metadata"]["annotations"].is_null(), "{}", rendered["metadata"]);
    }
    assert!(definitions(&["--set", "crds.enabled=false"]).is_empty());
}
