//! Writes to the Kubernetes API: status and finalizer of distributions, and the AmiShares that they own.
//!
//! Every write of a distribution carries the resource version that it was decided on: what was decided on an old version is refused
//! by the API server and decided again.

use std::sync::Arc;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{children::Child, controller::Object, mirror::Mirror};
use crate::{
    api::{AmiDistribution, AmiDistributionStatus, AmiShare, FINALIZER, ami_share::DeletionPolicy},
    lease::WritePermit,
    runtime::{events::Teller, metrics::Metrics},
    share::{
        claim::ObjectKey,
        writer::{DEADLINE, FIELD_MANAGER, WriteError},
    },
};

/// Writes distributions and their children.
#[derive(Clone)]
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Where answers about distributions go.
    pub distributions: Mirror<Object>,
    /// Where answers about children go.
    pub children: Mirror<AmiShare>,
    /// Where writes are counted.
    pub metrics: Arc<Metrics>,
    /// Where events are told.
    pub teller: Teller,
    /// What every write asks.
    pub permit: WritePermit,
}

impl Writer {
    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Stores a status, as it is to be as a whole. Returns the object as it is stored.
    ///
    /// # Errors
    /// When the object has changed since it was read, is no more, or the API server refuses.
    pub async fn status(
        &self,
        object: &AmiDistribution,
        status: &AmiDistributionStatus,
    ) -> Result<AmiDistribution, WriteError> {
        let key = ObjectKey::of(object);
        let patch = json!({
            "apiVersion": AmiDistribution::api_version(&()),
            "kind": AmiDistribution::kind(&()),
            "metadata": {"name": key.name, "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.api::<AmiDistribution>(&key.namespace), Patch::Apply(&patch));
        let write = api.patch_status(&key.name, &params, &patch);
        self.write("patch", "write the status of", "amidistributions/status", object, write).await
    }

    /// Adds our finalizer, or takes it away.
    ///
    /// # Errors
    /// When the object has changed since it was read, is no more, or the API server refuses.
    pub async fn finalizer(&self, object: &AmiDistribution, hold: bool) -> Result<AmiDistribution, WriteError> {
        let key = ObjectKey::of(object);
        let mut finalizers: Vec<&str> =
            object.finalizers().iter().map(String::as_str).filter(|f| *f != FINALIZER).collect();
        finalizers.extend(hold.then_some(FINALIZER));
        let patch = json!({"metadata": {
            "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version, "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let action = if hold { "add the finalizer to" } else { "take the finalizer from" };
        let (api, patch) = (self.api::<AmiDistribution>(&key.namespace), Patch::Merge(&patch));
        self.write("patch", action, "amidistributions", object, api.patch(&key.name, &params, &patch)).await
    }

    /// Whether what is known of an object is what the API server has now.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn is_newest(&self, object: &AmiDistribution) -> Result<bool, WriteError> {
        let newest = self.read_again(object).await?;
        Ok(newest.is_some_and(|newest| newest.metadata.resource_version == object.metadata.resource_version))
    }

    /// Makes a child be as it is to be.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn child(&self, child: &Child, of: &AmiDistribution) -> Result<AmiShare, WriteError> {
        let key = ObjectKey { namespace: of.namespace().unwrap_or_default(), name: child.name.clone() };
        let api = self.api::<AmiShare>(&key.namespace);
        let (params, manifest) = (PatchParams::apply(FIELD_MANAGER).force(), child.manifest(of));
        let patch = Patch::Apply(&manifest);
        let write = api.patch(&key.name, &params, &patch);
        let stored = self.send("patch", "write", "amishares", &key, write).await?;
        let stored = match child.corrections(&stored) {
            None => stored,
            Some(mut patch) => {
                patch["metadata"] = json!({"resourceVersion": stored.metadata.resource_version});
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
                let patch = Patch::Merge(&patch);
                self.send("patch", "write", "amishares", &key, api.patch(&key.name, &params, &patch)).await?
            }
        };
        self.children.put(stored.clone());
        Ok(stored)
    }

    /// Says what happens in AWS when a child is deleted.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn child_policy(&self, child: &AmiShare, policy: DeletionPolicy) -> Result<(), WriteError> {
        let key = ObjectKey::of(child);
        let patch = json!({"metadata": {"uid": child.metadata.uid}, "spec": {"deletionPolicy": policy}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let (api, patch) = (self.api::<AmiShare>(&key.namespace), Patch::Merge(&patch));
        let stored = self.send("patch", "write", "amishares", &key, api.patch(&key.name, &params, &patch)).await?;
        self.children.put(stored);
        Ok(())
    }

    /// Deletes a child. What it gave is taken back before it goes, as its own deletionPolicy says.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete_child(&self, child: &AmiShare) -> Result<(), WriteError> {
        let key = ObjectKey::of(child);
        let api = self.api::<AmiShare>(&key.namespace);
        let preconditions = Preconditions { uid: child.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let delete = async {
            match api.delete(&key.name, &params).await {
                Ok(either) => Ok(either.left()),
                Err(error) => Err(error),
            }
        };
        match self.send("delete", "delete", "amishares", &key, delete).await {
            Ok(Some(deleted)) if deleted.metadata.deletion_timestamp.is_some() && !deleted.finalizers().is_empty() => {
                self.children.put(deleted);
                Ok(())
            }
            Ok(_) | Err(WriteError::Gone(_)) => {
                self.children.no_more(&key, child.metadata.uid.as_deref());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A write of a distribution.
    async fn write(
        &self,
        verb: &'static str,
        action: &'static str,
        resource: &'static str,
        object: &AmiDistribution,
        write: impl Future<Output = kube::Result<AmiDistribution>>,
    ) -> Result<AmiDistribution, WriteError> {
        let key = ObjectKey::of(object);
        let result = self.send(verb, action, resource, &key, write).await;
        match &result {
            Ok(stored) => self.distributions.put(kube::core::DeserializeGuard(Ok(stored.clone()))),
            Err(WriteError::Gone(_)) => self.distributions.no_more(&key, object.metadata.uid.as_deref()),
            Err(WriteError::Conflict(_)) => {
                if let Err(error) = self.read_again(object).await {
                    tracing::debug!(%error, "what has changed is not known yet");
                }
            }
            Err(_) => {}
        }
        result
    }

    /// Takes in the newest version of an object, and returns it if the object is there.
    async fn read_again(&self, object: &AmiDistribution) -> Result<Option<AmiDistribution>, WriteError> {
        let key = ObjectKey::of(object);
        let api = self.api::<AmiDistribution>(&key.namespace);
        let newest = self.send("get", "get", "amidistributions", &key, api.get_opt(&key.name)).await?;
        match &newest {
            Some(newest) => self.distributions.put(kube::core::DeserializeGuard(Ok(newest.clone()))),
            None => self.distributions.no_more(&key, object.metadata.uid.as_deref()),
        }
        Ok(newest)
    }

    /// Sends a request, with the deadline and the error classes that all of them share.
    async fn send<T>(
        &self,
        verb: &'static str,
        action: &'static str,
        resource: &'static str,
        key: &ObjectKey,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        let key = key.clone();
        let Ok(result) = tokio::time::timeout(DEADLINE, self.permit.within(request)).await else {
            self.metrics.kube_request(verb, resource, 0);
            let message = format!("no answer within {} s", DEADLINE.as_secs());
            return Err(WriteError::Refused { action, key, message });
        };
        match result? {
            Ok(answer) => {
                self.metrics.kube_request(verb, resource, 200);
                Ok(answer)
            }
            Err(error) => {
                let (code, message) = match error {
                    kube::Error::Api(status) => (status.code, status.message),
                    error => (0, error.to_string()),
                };
                self.metrics.kube_request(verb, resource, code);
                Err(match code {
                    404 => WriteError::Gone(key),
                    409 => WriteError::Conflict(key),
                    _ => WriteError::Refused { action, key, message },
                })
            }
        }
    }

    /// Distributions of which nothing is understood.
    fn untyped(&self, namespace: &str) -> Api<kube::core::DynamicObject> {
        let kind = kube::core::ApiResource::erase::<AmiDistribution>(&());
        Api::namespaced_with(self.client.clone(), namespace, &kind)
    }

    /// Takes our finalizer from an object that cannot be read.
    ///
    /// # Errors
    /// When the object has changed since it was read, or the API server refuses.
    pub async fn let_go_unread(&self, object: &Object) -> Result<(), WriteError> {
        let (key, meta) = (ObjectKey::of(object), object.meta());
        let finalizers: Vec<&String> = meta.finalizers.iter().flatten().filter(|f| *f != FINALIZER).collect();
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers,
        }});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let (api, patch) = (self.untyped(&key.namespace), Patch::Merge(&patch));
        let write = api.patch(&key.name, &params, &patch);
        match self.send("patch", "take the finalizer from", "amidistributions", &key, write).await {
            Ok(_) | Err(WriteError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reports that an object cannot be read. Only what is said there is written: the rest of its status is not understood.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn unreadable(&self, key: &ObjectKey, status: &Value) -> Result<(), WriteError> {
        let api = self.untyped(&key.namespace);
        let patch = json!({"status": status});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let write = api.patch_status(&key.name, &params, &patch);
        self.send("patch", "write the status of", "amidistributions/status", key, write).await.map(drop)
    }
}

/// Whether something is held by our finalizer.
pub fn is_held(object: &impl Resource) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}
