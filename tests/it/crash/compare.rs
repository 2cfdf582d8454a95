//! What is left in the end: everything in AWS and every object, without what differs between any two runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use amishare::{
    api::{AmiShare, REQUESTED_AT},
    simulator::{Key, Simulator},
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::{Value, json};

/// Who holds which permission in AWS, by image and snapshot, and whom grants name, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings(BTreeMap<String, BTreeSet<String>>);

impl Holdings {
    /// What is held now, on everything there is.
    pub fn of(aws: &Simulator) -> Self {
        aws.with_world(|world| {
            let regions = || world.regions.values();
            let images = regions().flat_map(|r| &r.images).map(|(id, i)| (id, i.launch_permissions.to_strings()));
            let snapshots = regions().flat_map(|r| &r.snapshots);
            let snapshots = snapshots.map(|(id, s)| (id, s.create_volume_permissions.to_strings()));
            let grantees = |key: &Key| key.grants.values().map(|grant| grant.grantee.clone()).collect();
            let keys = regions().flat_map(|r| r.keys.values()).map(|key| (&key.arn, grantees(key)));
            Self(images.chain(snapshots).chain(keys).map(|(id, held)| (id.clone(), held)).collect())
        })
    }

    /// Who holds a permission on an image or a snapshot.
    pub fn on(&self, id: &str) -> BTreeSet<&str> {
        self.0.get(id).into_iter().flatten().map(String::as_str).collect()
    }

    /// These hold these permissions, and nobody else any.
    pub fn these(held: &[(&str, &[&str])]) -> Self {
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self(held.iter().map(|(id, who)| ((*id).to_owned(), text(who))).collect())
    }

    fn is_held(&self, id: &str, who: &str) -> bool {
        self.0.get(id).is_some_and(|held| held.contains(who))
    }
}

/// Finds who held a permission for a moment that they have neither before nor after nor may have `meanwhile`, or lost one that they
/// have both before and after. `moments` are those after each write to AWS.
pub fn strays(before: &[Holdings], after: &Holdings, meanwhile: &Holdings, moments: &[Holdings]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, moment) in moments.iter().enumerate() {
        for (id, held) in &moment.0 {
            let stray = |who: &&String| !before.iter().chain([after, meanwhile]).any(|there| there.is_held(id, who));
            found.extend(held.iter().filter(stray).map(|who| format!("write {number}: {who} got {id} by mistake")));
        }
        for (id, who) in after.0.iter().flat_map(|(id, held)| held.iter().map(move |who| (id, who))) {
            if before.iter().all(|there| there.is_held(id, who)) && !moment.is_held(id, who) {
                found.push(format!("write {number}: {who} lost {id} for a moment"));
            }
        }
    }
    found
}

/// Everything that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What is held in AWS.
    pub held: Holdings,
    /// Every AmiShare, by name, without times, ids and versions.
    pub objects: BTreeMap<String, Value>,
}

impl State {
    /// What there is now.
    pub async fn of(client: &Client, namespace: &str, aws: &Simulator) -> Self {
        let shares: Api<AmiShare> = Api::namespaced(client.clone(), namespace);
        let objects = shares.list(&ListParams::default()).await.unwrap().items;
        let objects = objects.into_iter().map(|share| (share.name_any(), comparable(&share, namespace)));
        Self { held: Holdings::of(aws), objects: objects.collect() }
    }

    /// An object, or nothing.
    pub fn object(&self, name: &str) -> &Value {
        self.objects.get(name).unwrap_or(&Value::Null)
    }

    /// The condition `Ready` of an object, as `True Synced`.
    pub fn ready(&self, name: &str) -> String {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        ready(self.object(name)).map(|c| text(&c["status"]) + " " + &text(&c["reason"])).unwrap_or_default()
    }

    /// Whether every object has been seen to as it is now; or which one has not.
    pub fn at_rest(&self) -> Result<(), String> {
        for (name, object) in &self.objects {
            let (generation, status) = (&object["metadata"]["generation"], &object["status"]);
            let ready = ready(object).ok_or_else(|| format!("{name} has no Ready"))?;
            let is_handled = object["metadata"]["annotations"].get(REQUESTED_AT).is_none_or(|at| at == HANDLED);
            if object["metadata"]["deleting"] == true
                || &status["observedGeneration"] != generation
                || &ready["observedGeneration"] != generation
                || ready["reason"] == "Progressing"
                || !is_handled
            {
                return Err(format!("{name} is not at rest: {object}"));
            }
        }
        Ok(())
    }

    /// Whether this is `other`; or in what it differs.
    pub fn is(&self, other: &Self) -> Result<(), String> {
        let mut text = String::new();
        let ids = self.held.0.keys().chain(other.held.0.keys()).collect::<BTreeSet<_>>();
        for id in ids {
            let (ours, theirs) = (self.held.0.get(id), other.held.0.get(id));
            if ours != theirs {
                let _ = writeln!(text, "  {id}: {ours:?}\n  instead of {theirs:?}");
            }
        }
        let names = self.objects.keys().chain(other.objects.keys()).collect::<BTreeSet<_>>();
        for name in names {
            let (ours, theirs) = (self.object(name), other.object(name));
            if ours != theirs {
                let _ = writeln!(text, "  {name}: {ours}\n  instead of {theirs}");
            }
        }
        if text.is_empty() { Ok(()) } else { Err(text) }
    }
}

/// In the place of the value of a request for a check that has been handled.
const HANDLED: &str = "handled";

fn ready(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

/// An object without what differs between any two runs: times, ids, versions, the name of the namespace.
fn comparable(share: &AmiShare, namespace: &str) -> Value {
    let text = serde_json::to_string(share).unwrap().replace(namespace, "here");
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let metadata = &object["metadata"];
    let mut kept = json!({"deleting": metadata["deletionTimestamp"].is_string()});
    for field in ["annotations", "finalizers", "generation", "labels"] {
        kept[field] = metadata[field].clone();
    }
    object["metadata"] = kept;
    if object["spec"]["expiresAt"].is_string() {
        object["spec"]["expiresAt"] = "set".into();
    }
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    let asked = object["metadata"]["annotations"][REQUESTED_AT].clone();
    if asked.is_string() && object["status"]["lastHandledReconcileAt"] == asked {
        object["metadata"]["annotations"][REQUESTED_AT] = HANDLED.into();
        object["status"]["lastHandledReconcileAt"] = HANDLED.into();
        let searched = &mut object["status"]["selected"];
        if searched["lastHandledReconcileAt"] == asked {
            searched["lastHandledReconcileAt"] = HANDLED.into();
        }
    }
    object
}
