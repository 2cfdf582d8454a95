//! Writes to the Kubernetes API: status, finalizer, events.
//!
//! Every write of an object carries the resource version that it was decided on: what was decided on an old version is refused
//! by the API server and decided again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{claim::ObjectKey, notices::Notice, store::Shares};
use crate::{
    api::{AmiShare, AmiShareStatus, FINALIZER, stored::Stored},
    runtime::{clock::Clock, metrics::Metrics},
};

/// The name under which the operator owns fields.
pub const FIELD_MANAGER: &str = "amishare";

/// What events name as the one who reports.
const CONTROLLER: &str = "amishare.dev/operator";

/// The longest that a write may take. kube retries by itself for minutes, and a connection that is dead hangs for ever.
const DEADLINE: Duration = Duration::from_secs(15);

/// The longest note that an event may have.
const MAX_NOTE: usize = 1000;

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object has changed since it was read: read again and decide anew.
    #[error("{0} has changed meanwhile")]
    Conflict(ObjectKey),
    /// The object is no more.
    #[error("{0} is no more")]
    Gone(ObjectKey),
    /// The API server refused, or could not be reached.
    #[error("the Kubernetes API refused to {action} {key}: {message}")]
    Refused {
        /// What was to be written.
        action: &'static str,
        /// Of which object.
        key: ObjectKey,
        /// The answer.
        message: String,
    },
}

/// Writes objects of one operator.
#[derive(Clone)]
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Where answers go.
    pub shares: Shares,
    /// Where writes are counted.
    pub metrics: Arc<Metrics>,
    /// The time of events.
    pub clock: Clock,
}

impl Writer {
    fn api(&self, key: &ObjectKey) -> Api<Stored> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Stores a status, as it is to be as a whole.
    ///
    /// # Errors
    /// When the object has changed since it was read, is no more, or the API server refuses.
    pub async fn status(&self, object: &Stored, status: &AmiShareStatus) -> Result<Stored, WriteError> {
        let key = ObjectKey::of(object);
        let patch = json!({
            "apiVersion": AmiShare::api_version(&()),
            "kind": AmiShare::kind(&()),
            "metadata": {"name": key.name, "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.api(&key), Patch::Apply(&patch));
        self.write("write the status of", "amishares/status", &key, api.patch_status(&key.name, &params, &patch)).await
    }

    /// Adds our finalizer, or takes it away.
    ///
    /// # Errors
    /// When the object has changed since it was read, is no more, or the API server refuses.
    pub async fn finalizer(&self, object: &Stored, hold: bool) -> Result<Stored, WriteError> {
        let key = ObjectKey::of(object);
        let mut finalizers: Vec<&str> =
            object.finalizers().iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
        finalizers.extend(hold.then_some(FINALIZER));
        let patch = json!({"metadata": {
            "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version, "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let action = if hold { "add the finalizer to" } else { "take the finalizer from" };
        let (api, patch) = (self.api(&key), Patch::Merge(&patch));
        self.write(action, "amishares", &key, api.patch(&key.name, &params, &patch)).await
    }

    /// Sends a write, with the deadline and the error classes that all of them share, and takes its answer into the store.
    async fn write(
        &self,
        action: &'static str,
        resource: &'static str,
        key: &ObjectKey,
        write: impl Future<Output = kube::Result<Stored>>,
    ) -> Result<Stored, WriteError> {
        let Ok(result) = tokio::time::timeout(DEADLINE, write).await else {
            self.metrics.kube_request("patch", resource, 0);
            let message = format!("no answer within {} s", DEADLINE.as_secs());
            return Err(WriteError::Refused { action, key: key.clone(), message });
        };
        match result {
            Ok(object) => {
                self.metrics.kube_request("patch", resource, 200);
                self.shares.written(object.clone());
                Ok(object)
            }
            Err(error) => {
                let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
                self.metrics.kube_request("patch", resource, code);
                match code {
                    404 => {
                        self.shares.no_more(key);
                        Err(WriteError::Gone(key.clone()))
                    }
                    409 => {
                        self.read_again(key).await;
                        Err(WriteError::Conflict(key.clone()))
                    }
                    _ => Err(WriteError::Refused { action, key: key.clone(), message: error.to_string() }),
                }
            }
        }
    }

    /// Takes in the newest version of an object. The watch will bring it too, but it may be behind, or down: without this, the
    /// next try would be decided on the old version again.
    async fn read_again(&self, key: &ObjectKey) {
        match tokio::time::timeout(DEADLINE, self.api(key).get_opt(&key.name)).await {
            Ok(Ok(Some(object))) => self.shares.written(object),
            Ok(Ok(None)) => self.shares.no_more(key),
            Ok(Err(error)) => tracing::debug!(share = %key, %error, "could not be read again"),
            Err(_) => tracing::debug!(share = %key, "could not be read again in time"),
        }
    }

    /// Tells of something that happened to an object. An event that cannot be stored is only logged: nothing depends on it.
    ///
    /// Events are made here and not with kube's recorder, which for six minutes repeats the note of the first event of a kind:
    /// who was removed is the very thing that each of them tells.
    pub async fn tell(&self, object: &Stored, notice: &Notice) {
        let key = ObjectKey::of(object);
        let Notice { warning, reason, action, note } = notice;
        tracing::info!(share = %key, reason, note, "event");
        let now = self.clock.now();
        let regarding: ObjectReference = object.object_ref(&());
        let event = Event {
            metadata: ObjectMeta {
                // The API server wants unique names; generateName would make a second event when kube retries the POST.
                name: Some(event_name(&key.name, now.as_nanosecond(), note)),
                namespace: Some(key.namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some((*action).into()),
            event_time: Some(MicroTime(now)),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            reason: Some((*reason).into()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some("amishare".into()),
            type_: Some(if *warning { "Warning" } else { "Normal" }.into()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
        match tokio::time::timeout(DEADLINE, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => self.metrics.kube_request("create", "events", 201),
            Ok(Err(error)) => {
                let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
                self.metrics.kube_request("create", "events", code);
                if code != 409 {
                    tracing::warn!(share = %key, reason, %error, "the event could not be stored");
                }
            }
            Err(_) => tracing::warn!(share = %key, reason, "the event could not be stored in time"),
        }
    }
}

/// A name that differs between the events of one object, within the length and alphabet of names.
fn event_name(object: &str, nanoseconds: i128, note: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (nanoseconds, note).hash(&mut hasher);
    let prefix: String = object.chars().take(200).collect();
    format!("{}.{:x}", prefix.trim_end_matches(['.', '-']), hasher.finish())
}
