//! The controller: watches `AmiDistribution`s and the AmiShares that they own, and has the distributions reconciled.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, pin_mut};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{children, marks::DISTRIBUTION, mirror::Mirror, reconcile::Reconciler};
use crate::{
    api::{AmiDistribution, AmiShare, ON_DELETE, REQUESTED_AT},
    runtime::{
        entropy::Entropy,
        health::Readiness,
        runner::{Queue, Requests, Runner},
    },
    share::{
        claim::ObjectKey,
        controller::{Patience, explain},
    },
};

/// The controller's name in metrics and logs.
pub const NAME: &str = "amidistribution";

/// A distribution as the API server stores it: readable, or not.
pub type Object = DeserializeGuard<AmiDistribution>;

/// The watches, and what they ask for before each has told of all its objects.
struct Watches {
    reconciler: Arc<Reconciler>,
    queue: Queue<ObjectKey>,
    readiness: Readiness,
    entropy: Entropy,
    gate: Mutex<Gate>,
}

struct Gate {
    not_listed: BTreeSet<(&'static str, usize)>,
    work: BTreeSet<ObjectKey>,
}

/// Runs the controller until `stop`.
pub async fn run(
    client: Client,
    reconciler: Arc<Reconciler>,
    scopes: Vec<Option<String>>,
    requests: Requests<ObjectKey>,
    runner: Runner,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let kinds = ["AmiDistributions", "AmiShares of AmiDistributions"];
    let not_listed = kinds.into_iter().flat_map(|kind| (0..scopes.len()).map(move |index| (kind, index))).collect();
    let queue = reconciler.queue.clone();
    let watches = Arc::new(Watches {
        reconciler: Arc::clone(&reconciler),
        queue: queue.clone(),
        readiness,
        entropy: runner.entropy.clone(),
        gate: Mutex::new(Gate { not_listed, work: BTreeSet::new() }),
    });
    for scope in &scopes {
        for kind in kinds {
            watches.readiness.waits(who(kind, scope.as_deref()), format!("the first list of {kind}"));
        }
    }
    let watching = tokio_util::task::TaskTracker::new();
    for (index, scope) in scopes.into_iter().enumerate() {
        for kind in kinds {
            let (watches, client, scope, stop) = (Arc::clone(&watches), client.clone(), scope.clone(), stop.clone());
            watching.spawn(async move {
                let watch = AssertUnwindSafe(watches.watch(kind, index, scope, client)).catch_unwind();
                tokio::select! {
                    // It never ends by itself.
                    _ = watch => {
                        tracing::error!("a watch has ended, which is a bug; stopping");
                        stop.cancel();
                    }
                    () = stop.cancelled() => {}
                }
            });
        }
    }
    watching.spawn({
        let (watches, mut policy, stop) = (Arc::clone(&watches), reconciler.policy.clone(), stop.clone());
        async move {
            while stop.run_until_cancelled(policy.changed()).await.is_some() {
                let all = watches.reconciler.distributions.filter(|_| true);
                watches.ask(all.iter().map(|object| ObjectKey::of(object.as_ref())));
            }
        }
    });
    runner.run(queue, requests, stop, reconciler).await;
    watching.close();
    watching.wait().await;
}

fn who(kind: &str, namespace: Option<&str>) -> String {
    namespace
        .map_or_else(|| format!("{kind} of all namespaces"), |namespace| format!("{kind} of namespace {namespace}"))
}

impl Watches {
    async fn watch(&self, kind: &'static str, index: usize, scope: Option<String>, client: Client) {
        if kind == "AmiDistributions" {
            let (mirror, config) = (self.reconciler.distributions.clone(), watcher::Config::default());
            self.follow(kind, index, scope, client, config, &mirror, |before, after| self.distribution(before, after))
                .await;
        } else {
            let (mirror, config) = (self.reconciler.children.clone(), watcher::Config::default().labels(DISTRIBUTION));
            self.follow(kind, index, scope, client, config, &mirror, child).await;
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one watch, and what is done with what it tells")]
    async fn follow<K>(
        &self,
        kind: &'static str,
        index: usize,
        scope: Option<String>,
        client: Client,
        config: watcher::Config,
        mirror: &Mirror<K>,
        concerned: impl Fn(Option<&K>, Option<&K>) -> Option<ObjectKey>,
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let api: Api<K> = match &scope {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let who = who(kind, scope.as_deref());
        let patience = Patience::new(self.entropy.clone());
        let failures = patience.failures();
        let events = watcher(api, config).backoff(patience);
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, watcher::Event::Init) {
                        failures.store(0, std::sync::atomic::Ordering::Relaxed);
                    }
                    let listed = matches!(event, watcher::Event::InitDone);
                    let changes = mirror.take_in(index, scope.as_deref(), event);
                    if listed {
                        self.gate.lock().unwrap_or_else(PoisonError::into_inner).not_listed.remove(&(kind, index));
                        self.readiness.ready(&who);
                    }
                    self.ask(
                        changes.iter().filter_map(|(before, after)| concerned(before.as_deref(), after.as_deref())),
                    );
                }
                Err(error) => {
                    let what = explain(&error, K::plural(&()).as_ref());
                    tracing::warn!(watch = who, "cannot watch {kind}; tried again; waiting for {what}");
                    tracing::debug!(watch = who, %error, "cannot watch {kind}");
                    let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
                    if gate.not_listed.contains(&(kind, index)) {
                        self.readiness.waits(&who, what);
                    }
                    drop(gate);
                }
            }
        }
    }

    /// The distribution that is to be worked on, if it has changed in anything that matters: not in what we have written ourselves.
    fn distribution(&self, before: Option<&Object>, after: Option<&Object>) -> Option<ObjectKey> {
        let Some(after) = after else {
            let before = before?;
            let uid = before.meta().uid.clone().unwrap_or_default();
            self.reconciler.gone(&ObjectKey::of(before), &uid);
            return None;
        };
        (before.map(fingerprint) != Some(fingerprint(after))).then(|| ObjectKey::of(after))
    }

    /// Asks for work, once everything is known.
    fn ask(&self, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.work.extend(keys);
        if gate.not_listed.is_empty() {
            for key in std::mem::take(&mut gate.work) {
                self.queue.ask(key, Duration::ZERO);
            }
        }
    }
}

/// The owner of a child that has changed.
fn child(before: Option<&AmiShare>, after: Option<&AmiShare>) -> Option<ObjectKey> {
    let share = after.or(before)?;
    let owner = after.and_then(children::owner_of).or_else(|| before.and_then(children::owner_of))?;
    let namespace = share.metadata.namespace.clone().unwrap_or_default();
    Some(ObjectKey { namespace, name: owner.name.clone() })
}

/// What of an object asks for work: everything but its status and finalizer, which we write ourselves.
fn fingerprint(object: &Object) -> (Option<String>, Option<i64>, bool, Vec<Option<String>>, bool) {
    let meta = object.meta();
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name).cloned());
    let holds = meta.finalizers.iter().flatten().any(|finalizer| finalizer == crate::api::FINALIZER);
    let is_going = meta.deletion_timestamp.is_some();
    // Of one that is to go, somebody may put the finalizer back.
    (
        meta.uid.clone(),
        meta.generation,
        is_going,
        vec![annotation(REQUESTED_AT), annotation(ON_DELETE)],
        is_going && holds,
    )
}
