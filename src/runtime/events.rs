//! Kubernetes events: what happened to an object, told when it happened and only then.
//!
//! An event that cannot be stored is only logged: nothing depends on it. Events are made here and not with kube's recorder, which for
//! six minutes repeats the note of the first event of a kind: who was removed is the very thing that each of them tells.

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
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::{clock::Clock, metrics::Metrics};
use crate::lease::WritePermit;

/// What events name as the one who reports.
const CONTROLLER: &str = "amishare.dev/operator";

/// The longest that it may take to store one.
const DEADLINE: Duration = Duration::from_secs(15);

/// The longest note that an event may have.
const MAX_NOTE: usize = 1000;

/// One event about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look.
    pub warning: bool,
    /// The reason, in the vocabulary of events: `Shared`, `Revoked`, or a reason of the conditions.
    pub reason: &'static str,
    /// What was done, as a verb: `Share`, `Revoke`, `Correct`, `Reconcile`.
    pub action: &'static str,
    /// In words.
    pub note: String,
}

/// Tells events of one operator.
#[derive(Clone)]
pub struct Teller {
    /// The API server.
    pub client: Client,
    /// Where events are counted.
    pub metrics: Arc<Metrics>,
    /// The time of events.
    pub clock: Clock,
    /// What every write asks.
    pub permit: WritePermit,
}

impl Teller {
    /// Tells of something that happened to an object.
    pub async fn tell(&self, regarding: ObjectReference, notice: &Notice) {
        let Notice { warning, reason, action, note } = notice;
        let (namespace, name) =
            (regarding.namespace.clone().unwrap_or_default(), regarding.name.clone().unwrap_or_default());
        let object = format!("{namespace}/{name}");
        tracing::info!(object, reason, note, "event");
        let now = self.clock.now();
        let event = Event {
            metadata: ObjectMeta {
                // The API server wants unique names; generateName would make a second event when kube retries the POST.
                name: Some(event_name(&name, now.as_nanosecond(), note)),
                namespace: Some(namespace.clone()),
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
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams::default();
        let create = self.permit.within(api.create(&parameters, &event));
        match tokio::time::timeout(DEADLINE, create).await {
            Ok(Err(not_leading)) => tracing::debug!(object, reason, %not_leading, "no event"),
            Ok(Ok(Ok(_))) => self.metrics.kube_request("create", "events", 201),
            Ok(Ok(Err(error))) => {
                let (code, why) = match error {
                    kube::Error::Api(status) => (status.code, status.message),
                    error => (0, error.to_string()),
                };
                self.metrics.kube_request("create", "events", code);
                match code {
                    409 => {}
                    // A namespace that goes takes no events any more.
                    403 if why.contains("being terminated") => tracing::debug!(object, reason, why, "no event"),
                    _ => tracing::warn!(object, reason, why, "the event could not be stored"),
                }
            }
            Err(_) => tracing::warn!(object, reason, "the event could not be stored in time"),
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
