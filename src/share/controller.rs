//! The controller: watches AmiShares and has the images that they concern reconciled.

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, pin_mut};
use kube::{
    Api, Client, Resource,
    core::Status,
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use tokio_util::sync::CancellationToken;

use super::{
    reconcile::Reconciler,
    refused::Told,
    store::{Effect, Shares, Work},
};
use crate::{
    api::{AmiShare, GROUP, stored::Stored},
    runtime::{
        entropy::Entropy,
        health::Readiness,
        metrics::Metrics,
        runner::{Queue, Requests, Runner},
    },
};

/// The controller's name in metrics and logs.
pub const NAME: &str = "amishare";

/// Work that events ask for before every watch has told of all its objects.
///
/// Nothing may be done before that: to an authoritative claim, whoever is listed by a claim that is not known yet looks like a
/// stranger.
#[derive(Debug)]
struct Gate {
    not_listed: BTreeSet<usize>,
    work: BTreeSet<Work>,
}

/// Watches objects and hands out work.
struct Watches {
    shares: Shares,
    queue: Queue<Work>,
    metrics: Arc<Metrics>,
    told: Arc<Told>,
    readiness: Readiness,
    gate: Mutex<Gate>,
    entropy: Entropy,
}

/// What the controller watches: `namespaces`, or all of them if there are none.
pub fn scopes(namespaces: BTreeSet<String>) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() }
}

/// Runs the controller until `stop`.
pub async fn run(
    client: Client,
    reconciler: Arc<Reconciler>,
    requests: Requests<Work>,
    runner: Runner,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let scopes = reconciler.writer.scopes.clone();
    let watches = Arc::new(Watches {
        shares: reconciler.shares.clone(),
        queue: reconciler.queue.clone(),
        metrics: Arc::clone(&reconciler.metrics),
        told: Arc::clone(&reconciler.told),
        readiness,
        gate: Mutex::new(Gate { not_listed: (0..scopes.len()).collect(), work: BTreeSet::new() }),
        entropy: runner.entropy.clone(),
    });
    for scope in &scopes {
        watches.readiness.waits(who(scope.as_deref()), "the first list of AmiShares");
    }
    watches.readiness.started();
    let watching = tokio_util::task::TaskTracker::new();
    for (index, scope) in scopes.into_iter().enumerate() {
        let (watches, client, stop) = (Arc::clone(&watches), client.clone(), stop.clone());
        watching.spawn(async move {
            let watch = AssertUnwindSafe(watches.watch(index, scope, client)).catch_unwind();
            tokio::select! {
                // It never ends by itself. An operator that looks healthy and sees nothing any more would be the worst of all.
                _ = watch => {
                    tracing::error!("a watch has ended, which is a bug; stopping");
                    stop.cancel();
                }
                () = stop.cancelled() => {}
            }
        });
    }
    watching.spawn({
        let (watches, mut policy, stop) = (Arc::clone(&watches), reconciler.policy.clone(), stop.clone());
        async move {
            while stop.run_until_cancelled(policy.changed()).await.is_some() {
                watches.everything();
            }
        }
    });
    let queue = reconciler.queue.clone();
    runner.run(queue, requests, stop, reconciler).await;
    watching.close();
    watching.wait().await;
}

fn who(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| "all namespaces".into(), |namespace| format!("namespace {namespace}"))
}

impl Watches {
    async fn watch(&self, index: usize, namespace: Option<String>, client: Client) {
        let api: Api<Stored> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let who = who(namespace.as_deref());
        let patience = Patience::new(self.entropy.clone());
        let failures = patience.failures();
        let events = watcher(api, watcher::Config::default()).backoff(patience);
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if !matches!(event, watcher::Event::Init) {
                        failures.store(0, Ordering::Relaxed);
                    }
                    let listed = matches!(event, watcher::Event::InitDone);
                    let effect = self.shares.take_in(index, event);
                    self.act_on(index, effect, listed, &who);
                }
                Err(error) => {
                    let what = explain(&error, AmiShare::plural(&()).as_ref());
                    tracing::warn!(watch = who, "cannot watch AmiShares; tried again; waiting for {what}");
                    tracing::debug!(watch = who, %error, "cannot watch AmiShares");
                    let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
                    // Later it stays ready while the API server is away, but not while there is nothing to watch.
                    if gate.not_listed.contains(&index) || status_of(&error).is_some_and(|status| status.code == 404) {
                        self.readiness.waits(&who, what);
                    }
                    drop(gate);
                }
            }
        }
    }

    fn act_on(&self, index: usize, effect: Effect, listed: bool, who: &str) {
        for key in &effect.gone {
            self.metrics.forget("AmiShare", (&key.namespace, &key.name));
            self.told.forget(key);
        }
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.work.extend(effect.work);
        if listed {
            if gate.not_listed.remove(&index) {
                tracing::info!(watch = who, "all AmiShares are known");
            }
            self.readiness.ready(who);
        }
        self.hand_out(&mut gate);
    }

    /// Asks for everything that there is, because other rules hold.
    fn everything(&self) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.work.extend(self.shares.everything());
        self.hand_out(&mut gate);
    }

    /// Hands out what was asked for, once every watch has told of all its objects.
    fn hand_out(&self, gate: &mut Gate) {
        if gate.not_listed.is_empty() {
            for work in std::mem::take(&mut gate.work) {
                self.queue.ask(work, Duration::ZERO);
            }
        }
    }
}

/// The backoff of watches. Its end fits a person who waits, unlike that of kube's: whoever installs the definitions wants to
/// see it work.
pub(crate) struct Patience {
    /// How often in a row the API server has not answered.
    failures: Arc<AtomicU32>,
    entropy: Entropy,
}

impl Patience {
    pub(crate) fn new(entropy: Entropy) -> Self {
        Self { failures: Arc::default(), entropy }
    }

    /// How often in a row the API server has not answered. Whoever gets an answer resets it.
    pub(crate) fn failures(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.failures)
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let full = Duration::from_millis(800).saturating_mul(1 << failures.min(8)).min(Duration::from_secs(5));
        Some(full.mul_f64(0.5 + self.entropy.unit() / 2.0))
    }
}

impl Backoff for Patience {
    /// Does nothing: kube resets the backoff with every event, and the first one of a list comes before the API server is asked for
    /// it. The delay would never grow. [`Watches::watch`] resets it, with events that are answers.
    fn reset(&mut self) {}
}

/// The answer of the API server that made a watch fail, if it was one.
fn status_of(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.as_ref()),
        _ => None,
    }
}

/// What is waited for when a watch fails, in words that tell what to do.
pub(crate) fn explain(error: &watcher::Error, plural: &str) -> String {
    match status_of(error).map(|status| status.code) {
        Some(404) => {
            format!(
                "the CustomResourceDefinition {plural}.{GROUP}; install it with kubectl apply --server-side -k crds"
            )
        }
        Some(401 | 403) => format!("permission to list and watch {plural}.{GROUP}; bind the operator's role"),
        _ => "the Kubernetes API".into(),
    }
}
