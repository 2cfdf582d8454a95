//! Writes to the Kubernetes API: status, finalizer, events.
//!
//! Every write of an object carries the resource version that it was decided on: what was decided on an old version is refused
//! by the API server and decided again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    claim::{ObjectKey, images, named},
    store::Shares,
};
use crate::{
    api::{AmiShare, AmiShareStatus, FINALIZER, ImageRef, ON_DELETE, stored::Stored},
    lease::{NotLeading, WritePermit},
    planted::{self, Flaw},
    runtime::{
        events::{Notice, Teller},
        metrics::Metrics,
    },
};

/// The name under which the operator owns fields.
pub const FIELD_MANAGER: &str = "amishare";

/// The longest that a write may take. kube retries by itself for minutes, and a connection that is dead hangs for ever.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object has changed since it was read: read again and decide anew.
    #[error("{0} has changed meanwhile")]
    Conflict(ObjectKey),
    /// The object is no more.
    #[error("{0} is no more")]
    Gone(ObjectKey),
    /// Another replica leads, or may lead by now.
    #[error("{0}")]
    NotLeading(#[from] NotLeading),
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

/// When what is known of an object is as good as what the API server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// It is the same version: for what is decided on the whole object.
    Version,
    /// It lists the same: for what is decided on whom it lists. Its status changes with every reconcile of its own image.
    Lists,
}

impl Sameness {
    fn holds(self, one: &Stored, other: &Stored) -> bool {
        let lists = |object: &Stored| {
            let leaves = object.annotations().get(ON_DELETE).cloned();
            (object.metadata.generation, object.metadata.deletion_timestamp.is_some(), leaves)
        };
        one.metadata.uid == other.metadata.uid
            && match self {
                Self::Version => one.metadata.resource_version == other.metadata.resource_version,
                Self::Lists => lists(one) == lists(other),
            }
    }
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
    /// Where events are told.
    pub teller: Teller,
    /// The namespaces that are watched; none for all of them.
    pub scopes: Vec<Option<String>>,
    /// What every write asks.
    pub permit: WritePermit,
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
            "metadata": {"name": key.name, "uid": object.metadata.uid, "resourceVersion": version(object)},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.api(&key), Patch::Apply(&patch));
        let (action, resource) = ("write the status of", "amishares/status");
        let stored = self.write(action, resource, object, api.patch_status(&key.name, &params, &patch)).await?;
        if stored.known_status().is_some_and(|stored| stored.granted == status.granted) {
            return Ok(stored);
        }
        // Entries that somebody else owns too stay when we leave them out. Of all that a status says, the record has to be as we
        // say: what is on it is taken back again and again.
        let granted = if status.granted.is_empty() { Value::Null } else { json!(status.granted) };
        let metadata = json!({"uid": stored.metadata.uid, "resourceVersion": version(&stored)});
        let patch = json!({"metadata": metadata, "status": {"granted": granted}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        self.write(action, resource, &stored, api.patch_status(&key.name, &params, &patch)).await
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
            "uid": object.metadata.uid, "resourceVersion": version(object), "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let action = if hold { "add the finalizer to" } else { "take the finalizer from" };
        let (api, patch) = (self.api(&key), Patch::Merge(&patch));
        self.write(action, "amishares", object, api.patch(&key.name, &params, &patch)).await
    }

    /// Sends a write, with the deadline and the error classes that all of them share, and takes its answer into the store.
    async fn write(
        &self,
        action: &'static str,
        resource: &'static str,
        object: &Stored,
        write: impl Future<Output = kube::Result<Stored>>,
    ) -> Result<Stored, WriteError> {
        let key = ObjectKey::of(object);
        let Ok(result) = tokio::time::timeout(DEADLINE, self.permit.within(write)).await else {
            self.metrics.kube_request("patch", resource, 0);
            let message = format!("no answer within {} s", DEADLINE.as_secs());
            return Err(WriteError::Refused { action, key, message });
        };
        match result? {
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
                        self.shares.no_more(object);
                        Err(WriteError::Gone(key))
                    }
                    409 => {
                        if let Err(error) = self.read_again(object).await {
                            tracing::debug!(%error, "what has changed is not known yet");
                        }
                        Err(WriteError::Conflict(key))
                    }
                    _ => {
                        let message =
                            if let kube::Error::Api(status) = error { status.message } else { error.to_string() };
                        Err(WriteError::Refused { action, key, message })
                    }
                }
            }
        }
    }

    /// Whether `known` are the newest versions of all objects that name an image, as the API server has them now. Whatever is
    /// newer is taken in.
    ///
    /// A watch can be behind, or silently dead for minutes. What is decided on its word alone can cut off whom a claim lists that
    /// has not been told of, or give back what a newer spec no longer lists.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn is_newest(
        &self,
        images_asked: &BTreeSet<ImageRef>,
        known: &[Arc<Stored>],
        same: Sameness,
    ) -> Result<bool, WriteError> {
        // A key can be that of hundreds of images: one list of everything in a Region costs less than hundreds that are searched for.
        let Some(one) = images_asked.first() else { return Ok(true) };
        let fields = match images_asked.len() {
            1 => format!("spec.image.id={},spec.region={}", one.id, one.region()),
            _ => format!("spec.region={}", one.region()),
        };
        let mut newest = Vec::new();
        for (watch, scope) in self.scopes.iter().enumerate() {
            let api: Api<Stored> = match scope {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            let list = async {
                match api.list(&ListParams::default().fields(&fields)).await {
                    // An older definition has no selectable fields.
                    Err(kube::Error::Api(status)) if status.code == 400 => api.list(&ListParams::default()).await,
                    result => result,
                }
            };
            let refused = |message: String| WriteError::Refused {
                action: "list",
                key: ObjectKey { namespace: scope.clone().unwrap_or_default(), name: fields.clone() },
                message,
            };
            match tokio::time::timeout(DEADLINE, list).await {
                Ok(Ok(list)) => {
                    let concerned = list.items.into_iter().filter(|object| !images(object).is_disjoint(images_asked));
                    newest.extend(concerned.map(|object| (watch, object)));
                }
                Ok(Err(error)) => return Err(refused(error.to_string())),
                Err(_) => return Err(refused(format!("no answer within {} s", DEADLINE.as_secs()))),
            }
        }
        let mut is_newest = true;
        let mut known: BTreeMap<ObjectKey, &Arc<Stored>> =
            known.iter().map(|object| (ObjectKey::of(object.as_ref()), object)).collect();
        for (watch, object) in newest {
            let known = known.remove(&ObjectKey::of(&object));
            if !known.is_some_and(|known| same.holds(known, &object)) {
                is_newest = false;
                self.shares.read(object, Some(watch));
            }
        }
        let names_one =
            |object: &Stored| named(object).is_some_and(|id| images_asked.iter().any(|image| image.id == *id));
        // Those that name another image by now, but have something on record for this one, are not in the list. They list nobody.
        let left = known.into_values().filter(|object| same == Sameness::Version || names_one(object));
        for object in left {
            let newest = self.read_again(object).await?;
            is_newest &= newest.is_some_and(|newest| same.holds(object, &newest));
        }
        Ok(is_newest)
    }

    /// Takes in the newest version of an object, and returns it if the object is there. The watch will bring it too, but it may be
    /// behind, or down: without this, the next try would be decided on the old version again.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    async fn read_again(&self, object: &Stored) -> Result<Option<Stored>, WriteError> {
        let key = ObjectKey::of(object);
        let message = match tokio::time::timeout(DEADLINE, self.api(&key).get_opt(&key.name)).await {
            Ok(Ok(Some(newest))) => {
                self.shares.read(newest.clone(), None);
                return Ok(Some(newest));
            }
            Ok(Ok(None)) => {
                self.shares.no_more(object);
                return Ok(None);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        };
        Err(WriteError::Refused { action: "get", key, message })
    }

    /// Tells of something that happened to an object.
    pub async fn tell(&self, object: &Stored, notice: &Notice) {
        self.teller.tell(object.object_ref(&()), notice).await;
    }
}

/// The version on which a write of an object is decided.
fn version(object: &Stored) -> Option<&str> {
    object.metadata.resource_version.as_deref().filter(|_| !planted::has(Flaw::WritesUnconditionally))
}
