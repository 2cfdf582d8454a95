//! What `kubectl apply` accepts and refuses, with which words, and how an AmiShare looks to kubectl.
//!
//! No operator runs here: the API server alone answers.

mod bounds;
mod definition;
mod names;
mod partitions;
mod printing;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{Setup, World};

/// What the API server says of several manifests, by the name of the object.
#[derive(Debug, Default)]
struct Answers {
    accepted: BTreeSet<String>,
    refused: BTreeMap<String, String>,
}

impl Answers {
    /// The refusal of an object contains this text.
    #[track_caller]
    fn refuses(&self, name: &str, with: &str) {
        match self.refused.get(name) {
            Some(message) => assert!(message.contains(with), "{name}: {message}\ndoes not contain: {with}"),
            None => panic!("{name} is not refused: {self:?}"),
        }
    }

    #[track_caller]
    fn accepts(&self, name: &str) {
        assert!(self.accepted.contains(name), "{name}: {:?}", self.refused.get(name));
    }
}

/// A namespace without an operator.
async fn world() -> World {
    World::without_operator(Setup::default()).await
}

/// One document of YAML with an AmiShare: `spec` is YAML in one line.
fn document(name: &str, spec: &str) -> String {
    format!("---\napiVersion: amishare.dev/v1alpha1\nkind: AmiShare\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// A spec in one line with an image in `us-east-1`, and `more` fields, each with a comma before it.
fn spec(share_with: &str, more: &str) -> String {
    format!("{{region: us-east-1, image: {{id: ami-12345678}}, shareWith: {share_with}{more}}}")
}

/// What `kubectl apply` says of AmiShares with these names and specs, all in one file. Nothing is stored.
async fn judge(world: &World, specs: &[(&str, String)]) -> Answers {
    let file: String = specs.iter().map(|(name, spec)| document(name, spec)).collect();
    let output = world.kubectl_output(world.namespace(), &["apply", "--dry-run=server", "-f", "-"], &file).await;
    let mut answers = Answers::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line.strip_prefix("amishare.amishare.dev/").and_then(|rest| rest.split(' ').next()).unwrap();
        answers.accepted.insert(name.to_owned());
    }
    // With one error, kubectl prints a list over several lines; with several errors, one line each.
    let mut current = None;
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        if let Some((before, _)) = line.split_once("\" is invalid:") {
            current = before.rsplit_once('"').map(|(_, name)| name.to_owned());
        }
        let name = current.clone().unwrap_or_else(|| panic!("{line}"));
        *answers.refused.entry(name).or_default() += line;
    }
    assert_eq!(answers.accepted.len() + answers.refused.len(), specs.len(), "{answers:?}");
    answers
}

/// Has the API server check an AmiShare with this spec, without kubectl, which would take long for hundreds.
async fn check(world: &World, spec: Value) -> Result<(), String> {
    let resource = ApiResource::erase::<amishare::api::AmiShare>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), world.namespace(), &resource);
    let object = serde_json::from_value(json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": "checked"}, "spec": spec
    }));
    match api.create(&PostParams { dry_run: true, field_manager: None }, &object.unwrap()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}
