//! What is stored, every version of it, and how it is written.

use std::{collections::BTreeMap, sync::Arc};

use amishare::runtime::clock::Clock;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    API_VERSION, GROUP, KIND, PLURAL,
    answer::{Answer, details},
    fields::{self, Managers},
    schema,
};

/// The namespace and name of an object.
pub type Key = (String, String);

/// Who writes without saying a name.
pub(super) const SOMEBODY: &str = "somebody";

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Added,
    Modified,
    Deleted,
}

/// One version of one object.
#[derive(Clone, Debug)]
pub struct Version {
    pub revision: u64,
    /// When it was stored.
    pub at: Instant,
    pub kind: Kind,
    /// Who wrote it.
    pub by: String,
    pub key: Key,
    pub object: Arc<Value>,
}

struct Record {
    object: Arc<Value>,
    managers: Managers,
}

/// What a patch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// Only the status.
    Status,
}

/// How a patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Merge,
    /// Server-side, with force.
    Apply,
}

/// Everything that is stored.
pub struct Stored {
    clock: Clock,
    objects: BTreeMap<Key, Record>,
    events: BTreeMap<Key, Value>,
    history: Vec<Version>,
    revision: u64,
    uids: u64,
    /// Nobody is told of versions up to this one any more.
    pub(super) compacted: u64,
}

impl Stored {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            objects: BTreeMap::new(),
            events: BTreeMap::new(),
            history: Vec::new(),
            revision: 100,
            uids: 0,
            compacted: 100,
        }
    }

    /// The number of the last write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Every version so far, oldest first.
    pub fn history(&self) -> &[Version] {
        &self.history
    }

    /// The versions after a revision.
    pub(super) fn since(&self, revision: u64) -> &[Version] {
        &self.history[self.history.partition_point(|version| version.revision <= revision)..]
    }

    /// The object, if there is one.
    pub fn object(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(&(namespace.to_owned(), name.to_owned())).map(|record| Arc::clone(&record.object))
    }

    /// Every object as it was at a revision, in the order of their names.
    pub(super) fn objects_at(&self, revision: u64) -> BTreeMap<Key, Arc<Value>> {
        if revision >= self.revision {
            return self.objects.iter().map(|(key, record)| (key.clone(), Arc::clone(&record.object))).collect();
        }
        let mut objects = BTreeMap::new();
        for version in self.history.iter().take_while(|version| version.revision <= revision) {
            match version.kind {
                Kind::Deleted => drop(objects.remove(&version.key)),
                Kind::Added | Kind::Modified => drop(objects.insert(version.key.clone(), Arc::clone(&version.object))),
            }
        }
        objects
    }

    /// The events that were stored.
    pub fn events(&self) -> impl Iterator<Item = &Value> {
        self.events.values()
    }

    fn now(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn identify(&mut self, object: &mut Value, namespace: &str) {
        self.uids += 1;
        let now = self.now();
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.uids).into();
        object["metadata"]["creationTimestamp"] = now.into();
    }

    fn store(&mut self, kind: Kind, by: &str, key: &Key, mut object: Value, managers: Managers) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(object);
        if kind == Kind::Deleted {
            self.objects.remove(key);
        } else {
            self.objects.insert(key.clone(), Record { object: Arc::clone(&object), managers });
        }
        let told = Arc::clone(&object);
        self.history.push(Version {
            revision: self.revision,
            at: Instant::now(),
            kind,
            by: by.to_owned(),
            key: key.clone(),
            object: told,
        });
        object
    }

    /// Creates an AmiShare.
    pub fn create(&mut self, namespace: &str, mut object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (namespace.to_owned(), name.clone());
        if self.objects.contains_key(&key) {
            return Answer::already_exists(GROUP, PLURAL, &name);
        }
        object.as_object_mut().unwrap().remove("status");
        schema::conform(schema::field(schema::amishare(), "spec"), &mut object["spec"]);
        (object["apiVersion"], object["kind"]) = (API_VERSION.into(), KIND.into());
        self.identify(&mut object, namespace);
        object["metadata"]["generation"] = 1.into();
        Answer::new(201, self.store(Kind::Added, SOMEBODY, &key, object, Managers::new()).as_ref().clone())
    }

    /// Stores an event.
    pub(super) fn create_event(&mut self, namespace: &str, mut event: Value) -> Answer {
        let name = event["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (namespace.to_owned(), name.clone());
        if self.events.contains_key(&key) {
            return Answer::already_exists("events.k8s.io", "events", &name);
        }
        self.identify(&mut event, namespace);
        (event["deprecatedFirstTimestamp"], event["deprecatedLastTimestamp"]) = (Value::Null, Value::Null);
        event["deprecatedSource"] = json!({});
        self.revision += 1;
        event["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.events.insert(key, event.clone());
        Answer::new(201, event)
    }

    /// Reads an AmiShare.
    pub fn get(&self, namespace: &str, name: &str) -> Answer {
        self.object(namespace, name).map_or_else(|| Answer::not_found(name), |o| Answer::new(200, o.as_ref().clone()))
    }

    /// Patches an AmiShare.
    pub fn patch(
        &mut self,
        namespace: &str,
        name: &str,
        part: Part,
        form: Form,
        manager: &str,
        patch: &Value,
    ) -> Answer {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(record) = self.objects.get(&key) else { return Answer::not_found(name) };
        let (live, mut managers) = (Arc::clone(&record.object), record.managers.clone());
        if let Some(refusal) = precondition(name, part, &live, patch) {
            return refusal;
        }
        let mut new = live.as_ref().clone();
        match part {
            Part::Main => {
                assert!(form == Form::Merge, "nobody applies more than a status");
                merge(&mut new, patch);
                restore(&mut new, &live);
                schema::conform(schema::field(schema::amishare(), "spec"), &mut new["spec"]);
                if new["spec"] != live["spec"] {
                    new["metadata"]["generation"] = (live["metadata"]["generation"].as_i64().unwrap() + 1).into();
                }
            }
            Part::Status => patch_status(&mut new, &mut managers, form, manager, patch),
        }
        if new == *live && managers == record.managers {
            return Answer::new(200, new);
        }
        if !new["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&new) {
            // The answer still has the number of the version that was deleted. Watches are told of a new one, in which nothing
            // else is new.
            self.store(Kind::Deleted, manager, &key, live.as_ref().clone(), managers);
            return Answer::new(200, new);
        }
        Answer::new(200, self.store(Kind::Modified, manager, &key, new, managers).as_ref().clone())
    }

    /// Deletes an AmiShare, or marks it as deleted while it has finalizers.
    pub fn delete(&mut self, namespace: &str, name: &str) -> Answer {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(record) = self.objects.get(&key) else { return Answer::not_found(name) };
        let (mut object, managers) = (record.object.as_ref().clone(), record.managers.clone());
        if !has_finalizers(&object) {
            let mut about = details(name);
            about["uid"] = object["metadata"]["uid"].clone();
            self.store(Kind::Deleted, SOMEBODY, &key, object, managers);
            let body =
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about});
            return Answer::new(200, body);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = self.now().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap() + 1).into();
            object = self.store(Kind::Modified, SOMEBODY, &key, object, managers).as_ref().clone();
        }
        Answer::new(200, object)
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Why a patch is refused: it was decided on another version or on another object. An apply of a status looks only at the
/// version.
fn precondition(name: &str, part: Part, live: &Value, patch: &Value) -> Option<Answer> {
    let differs = |field: &str| {
        let wanted = &patch["metadata"][field];
        (!wanted.is_null() && *wanted != live["metadata"][field])
            .then(|| wanted.as_str().unwrap_or_default().to_owned())
    };
    if differs("resourceVersion").is_some() {
        return Some(Answer::modified(name));
    }
    differs("uid").filter(|_| part == Part::Main).map(|wanted| Answer::another(name, &wanted))
}

/// What no patch of the main part changes.
fn restore(new: &mut Value, live: &Value) {
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp", "namespace", "name"]
    {
        match live["metadata"].get(field) {
            Some(value) => new["metadata"][field] = value.clone(),
            None => drop(new["metadata"].as_object_mut().unwrap().remove(field)),
        }
    }
    let is_empty =
        |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    new["metadata"].as_object_mut().unwrap().retain(|_, value| !is_empty(value));
    match live.get("status") {
        Some(status) => new["status"] = status.clone(),
        None => drop(new.as_object_mut().unwrap().remove("status")),
    }
}

fn patch_status(new: &mut Value, managers: &mut Managers, form: Form, manager: &str, patch: &Value) {
    let schema = schema::field(schema::amishare(), "status");
    let old = new.get("status").cloned().unwrap_or(Value::Null);
    let mut status = match form {
        Form::Apply => fields::apply(schema, &old, &patch["status"], manager, managers),
        Form::Merge => {
            let mut status = old.clone();
            match patch.get("status") {
                Some(Value::Null) => status = Value::Null,
                Some(patch) => merge(&mut status, patch),
                None => {}
            }
            status
        }
    };
    schema::conform(schema, &mut status);
    if form == Form::Merge {
        fields::update(schema, &old, &status, manager, managers);
    }
    if status.is_null() && form == Form::Merge {
        new.as_object_mut().unwrap().remove("status");
    } else {
        new["status"] = status;
    }
}

/// RFC 7386.
pub(super) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let into = into.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            into.remove(name);
        } else {
            merge(into.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
