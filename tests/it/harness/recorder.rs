//! Every version of every AmiShare that the API server stores while a test runs, and what must hold in each of them.
//!
//! The rules are kstatus's, as Flux checks them (fluxcd/pkg/runtime/conditions/check), with our reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use amishare::api::{
    AmiShare, AmiShareStatus,
    ConditionType::{ImageAvailable, LaunchPermissionsSynced, Ready, Reconciling, SnapshotPermissionsSynced, Stalled},
    FINALIZER,
    conditions::find,
};
use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    runtime::watcher::{self, Event},
};
use tokio::task::JoinHandle;

use super::{World, eventually};

/// The most bytes that a status may have in a test: what tests do is small, so this is only reached by something unbounded.
const MAX_STATUS: usize = 32 * 1024;

#[derive(Default)]
struct Seen {
    versions: Vec<AmiShare>,
    deleted: BTreeSet<String>,
}

/// Records versions from when it is started. To be ended with [`Recorder::check`]: nothing is checked before that.
#[must_use]
pub struct Recorder {
    shares: Api<AmiShare>,
    seen: Arc<Mutex<Seen>>,
    watching: JoinHandle<()>,
}

impl World {
    /// Records every version of every AmiShare of the first namespace from now on.
    pub async fn record(&self) -> Recorder {
        let (shares, seen) = (self.shares(), Arc::new(Mutex::new(Seen::default())));
        let (started, ready) = tokio::sync::oneshot::channel();
        let (api, into) = (shares.clone(), Arc::clone(&seen));
        let watching = tokio::spawn(async move {
            let mut events = Box::pin(watcher::watcher(api, watcher::Config::default()));
            let mut started = Some(started);
            while let Some(event) = events.next().await {
                let mut seen = into.lock().unwrap();
                match event.unwrap() {
                    Event::Apply(share) | Event::InitApply(share) => seen.versions.push(share),
                    Event::Delete(share) => {
                        seen.deleted.insert(share.uid().unwrap());
                    }
                    Event::InitDone => drop(started.take().map(|started| started.send(()))),
                    Event::Init => {}
                }
            }
        });
        ready.await.unwrap();
        Recorder { shares, seen, watching }
    }
}

impl Recorder {
    /// Waits until everything that was stored so far has been seen, checks each version, and returns them.
    pub async fn check(self) -> Vec<AmiShare> {
        let stored = self.shares.list(&ListParams::default()).await.unwrap().items;
        let newest: BTreeSet<_> = stored.iter().map(|s| (s.uid().unwrap(), s.resource_version().unwrap())).collect();
        let uids: BTreeSet<_> = stored.iter().map(|s| s.uid().unwrap()).collect();
        eventually("the recorder has seen every version", || async {
            let seen = self.seen.lock().unwrap();
            let versions: BTreeSet<_> =
                seen.versions.iter().map(|s| (s.uid().unwrap(), s.resource_version().unwrap())).collect();
            let open = seen.versions.iter().filter_map(ResourceExt::uid);
            let open: BTreeSet<_> = open.filter(|uid| !seen.deleted.contains(uid) && !uids.contains(uid)).collect();
            let missing = newest.difference(&versions).count() + open.len();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
        })
        .await;
        self.watching.abort();
        let versions = std::mem::take(&mut self.seen.lock().unwrap().versions);
        let mut before: BTreeMap<String, &AmiShare> = BTreeMap::new();
        let mut wrong = Vec::new();
        for version in &versions {
            let previous = before.insert(version.uid().unwrap(), version);
            let rules = violations(version, previous);
            wrong.extend(rules.into_iter().map(|rule| {
                format!("{rule}: {}", serde_json::to_string(&(&version.metadata.generation, &version.status)).unwrap())
            }));
        }
        assert!(wrong.is_empty(), "{} stored versions break the rules of kstatus:\n{}", wrong.len(), wrong.join("\n"));
        assert!(versions.iter().any(|v| v.status.is_some()), "no version with a status was recorded");
        versions
    }
}

/// The rules that a stored version breaks.
pub fn violations(share: &AmiShare, previous: Option<&AmiShare>) -> Vec<&'static str> {
    let Some(status) = &share.status else {
        let lost = previous.is_some_and(|p| p.status.is_some());
        return if lost { vec!["a status does not vanish"] } else { Vec::new() };
    };
    if *status == AmiShareStatus::default() {
        return Vec::new();
    }
    let mut broken = Vec::new();
    let mut rule = |holds: bool, text: &'static str| {
        if !holds {
            broken.push(text);
        }
    };
    let condition = |kind| find(&status.conditions, kind);
    let generation = share.metadata.generation.unwrap();
    let is_true = |kind| condition(kind).is_some_and(|c| c.status == "True");
    let (reconciling, stalled) = (is_true(Reconciling), is_true(Stalled));

    rule(condition(Ready).is_some(), "Ready is always there");
    rule(!(reconciling && stalled), "Reconciling excludes Stalled");
    rule(
        [Reconciling, Stalled].into_iter().all(|kind| condition(kind).is_none() || is_true(kind)),
        "Reconciling and Stalled are there only while they are true",
    );
    rule(status.observed_generation.is_none_or(|o| o <= generation), "observedGeneration is not ahead of generation");
    rule(
        status.conditions.iter().all(|c| c.observed_generation.is_some_and(|o| o <= generation)),
        "the observedGeneration of every condition is not ahead of generation",
    );
    if let Some(ready) = condition(Ready) {
        match ready.status.as_str() {
            "True" => {
                rule(!reconciling && !stalled, "Ready excludes Reconciling and Stalled");
                rule(
                    status.conditions.iter().all(|c| c.observed_generation == status.observed_generation),
                    "when Ready, every condition speaks of one generation",
                );
                rule(
                    [ImageAvailable, LaunchPermissionsSynced, SnapshotPermissionsSynced].into_iter().all(is_true),
                    "when Ready, every part is True",
                );
            }
            "False" => rule(reconciling != stalled, "when not Ready, it is either Reconciling or Stalled"),
            _ => rule(
                (reconciling || ready.reason == "Suspended") && !stalled,
                "when Ready is Unknown, it is Reconciling, or suspended",
            ),
        }
        rule(!ready.message.is_empty() && !ready.reason.is_empty(), "Ready has a reason and a message");
    }
    rule(
        status.granted.is_empty()
            || share.meta().deletion_timestamp.is_some()
            || share.finalizers().contains(&FINALIZER.into()),
        "what is on record is held by our finalizer",
    );
    let kinds: BTreeSet<_> = status.conditions.iter().map(|c| &c.type_).collect();
    rule(kinds.len() == status.conditions.len(), "no condition is there twice");
    rule(serde_json::to_vec(status).unwrap().len() <= MAX_STATUS, "a status is small");

    if let Some(before) = previous.and_then(|p| p.status.as_ref()) {
        rule(before.observed_generation <= status.observed_generation, "observedGeneration never goes back");
        rule(
            status.conditions.iter().all(|now| {
                let then = before.conditions.iter().find(|c| c.type_ == now.type_ && c.status == now.status);
                then.is_none_or(|then| then.last_transition_time == now.last_transition_time)
            }),
            "lastTransitionTime changes only with the status",
        );
    }
    broken
}
