//! What is stored, every version of it, and how it is written.

use std::{collections::BTreeMap, sync::Arc};

use amishare::runtime::clock::Clock;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    API_VERSION, GROUP, Sort,
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
    managers: Managed,
}

/// Who manages which field: of the spec, and of the status.
#[derive(Clone, Default, PartialEq)]
struct Managed {
    spec: Managers,
    status: Managers,
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
    pub(super) sort: Sort,
    objects: BTreeMap<Key, Record>,
    events: BTreeMap<Key, Value>,
    history: Vec<Version>,
    revision: u64,
    uids: u64,
    /// Nobody is told of versions up to this one any more.
    pub(super) compacted: u64,
}

impl Stored {
    pub(super) fn new(clock: Clock, sort: Sort) -> Self {
        Self {
            clock,
            sort,
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

    /// The names of all objects.
    pub fn names(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
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
        object["metadata"]["uid"] = format!("0000000{}-0000-4000-8000-{:012x}", self.sort as u8, self.uids).into();
        object["metadata"]["creationTimestamp"] = now.into();
    }

    fn store(&mut self, kind: Kind, by: &str, key: &Key, mut object: Value, managers: Managed) -> Arc<Value> {
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

    /// Creates an object.
    pub fn create(&mut self, namespace: &str, object: Value) -> Answer {
        self.create_by(SOMEBODY, namespace, object, Managers::new())
    }

    fn create_by(&mut self, by: &str, namespace: &str, mut object: Value, spec: Managers) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (namespace.to_owned(), name.clone());
        if self.objects.contains_key(&key) {
            return Answer::already_exists(GROUP, self.sort.plural(), &name);
        }
        object.as_object_mut().unwrap().remove("status");
        schema::conform(schema::field(schema::of(self.sort), "spec"), &mut object["spec"]);
        (object["apiVersion"], object["kind"]) = (API_VERSION.into(), self.sort.kind().into());
        self.identify(&mut object, namespace);
        object["metadata"]["generation"] = 1.into();
        Answer::new(
            201,
            self.store(Kind::Added, by, &key, object, Managed { spec, ..Managed::default() }).as_ref().clone(),
        )
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

    /// Reads an object.
    pub fn get(&self, namespace: &str, name: &str) -> Answer {
        let missing = || Answer::not_found(self.sort, name);
        self.object(namespace, name).map_or_else(missing, |o| Answer::new(200, o.as_ref().clone()))
    }

    /// Patches an object. What is applied is created where there is none.
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
        let schema = schema::of(self.sort);
        let spec = schema::field(schema, "spec");
        let Some(record) = self.objects.get(&key) else {
            if (part, form) != (Part::Main, Form::Apply) {
                return Answer::not_found(self.sort, name);
            }
            let managers = Managers::from([(manager.to_owned(), fields::fields(spec, &patch["spec"]))]);
            return self.create_by(manager, namespace, patch.clone(), managers);
        };
        let (live, mut managers) = (Arc::clone(&record.object), record.managers.clone());
        if let Some(refusal) = precondition(self.sort, name, part, &live, patch) {
            return refusal;
        }
        let mut new = live.as_ref().clone();
        match part {
            Part::Main => {
                match form {
                    Form::Merge => merge(&mut new, patch),
                    Form::Apply => {
                        // Of metadata only what nobody else sets is applied.
                        merge(&mut new["metadata"], &patch["metadata"]);
                        new["spec"] = fields::apply(spec, &live["spec"], &patch["spec"], manager, &mut managers.spec);
                    }
                }
                restore(&mut new, &live);
                schema::conform(spec, &mut new["spec"]);
                if form == Form::Merge {
                    fields::update(spec, &live["spec"], &new["spec"], &updating(manager), &mut managers.spec);
                }
                if new["spec"] != live["spec"] {
                    new["metadata"]["generation"] = (live["metadata"]["generation"].as_i64().unwrap() + 1).into();
                }
            }
            Part::Status => {
                patch_status(schema::field(schema, "status"), &mut new, &mut managers.status, form, manager, patch);
            }
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

    /// Deletes an object, or marks it as deleted while it has finalizers.
    pub fn delete(&mut self, namespace: &str, name: &str) -> Answer {
        self.delete_if(namespace, name, None)
    }

    /// The same, if it has this uid.
    pub(super) fn delete_if(&mut self, namespace: &str, name: &str, uid: Option<&str>) -> Answer {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(record) = self.objects.get(&key) else { return Answer::not_found(self.sort, name) };
        let (mut object, managers) = (record.object.as_ref().clone(), record.managers.clone());
        let there = object["metadata"]["uid"].as_str().unwrap();
        if let Some(wanted) = uid.filter(|wanted| *wanted != there) {
            return Answer::deletes_another(self.sort, name, wanted, there);
        }
        if !has_finalizers(&object) {
            let mut about = details(self.sort, name);
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

impl Stored {
    /// The objects that belong to others, none of which is there.
    pub(super) fn belonging_to_none_of(&self, owners: &Self) -> Vec<Key> {
        if owners.uids == 0 {
            // There never was one.
            return Vec::new();
        }
        let is_there = |uid: &Value| owners.objects.values().any(|owner| owner.object["metadata"]["uid"] == *uid);
        let is_orphaned = |object: &Value| {
            let references = object["metadata"]["ownerReferences"].as_array();
            object["metadata"]["deletionTimestamp"].is_null()
                && references.is_some_and(|all| all.iter().all(|reference| !is_there(&reference["uid"])))
        };
        self.objects.iter().filter(|(_, record)| is_orphaned(&record.object)).map(|(key, _)| key.clone()).collect()
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Why a patch is refused: it was decided on another version or on another object. An apply of a status looks only at the
/// version.
fn precondition(sort: Sort, name: &str, part: Part, live: &Value, patch: &Value) -> Option<Answer> {
    let differs = |field: &str| {
        let wanted = &patch["metadata"][field];
        (!wanted.is_null() && *wanted != live["metadata"][field])
            .then(|| wanted.as_str().unwrap_or_default().to_owned())
    };
    if differs("resourceVersion").is_some() {
        return Some(Answer::modified(sort, name));
    }
    differs("uid").filter(|_| part == Part::Main).map(|wanted| Answer::another(sort, name, &wanted))
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

fn patch_status(schema: &Value, new: &mut Value, managers: &mut Managers, form: Form, manager: &str, patch: &Value) {
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
        fields::update(schema, &old, &status, &updating(manager), managers);
    }
    if status.is_null() && form == Form::Merge {
        new.as_object_mut().unwrap().remove("status");
    } else {
        new["status"] = status;
    }
}

/// Who applies and updates under one name manages as two.
fn updating(manager: &str) -> String {
    format!("{manager}, without applying")
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
