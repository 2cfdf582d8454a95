//! What a distribution is told of: its status, and events.

use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{
    aging::Change,
    controller::Object,
    plan::{Decision, Verdict},
    reconcile::{Changed, Planned, Reconciler, Work},
    status::Applied,
    writer::is_held,
};
use crate::{
    api::{
        ABANDON, AmiDistribution, AmiDistributionStatus, ConditionType, ON_DELETE, Reason,
        ami_distribution::TargetState,
        conditions::{self, Verdict as Says},
    },
    runtime::{
        events::Notice,
        runner::{Failed, Next},
    },
    share::{claim::ObjectKey, notices},
};

impl Reconciler {
    /// Tells of what has happened to a target.
    pub(super) async fn tell(&self, work: &Work<'_>, one: &Planned<'_>, applied: &Applied) {
        let (name, region) = (&one.looked.target.name, &one.looked.target.region);
        let known = work.known.get(name.as_str()).copied();
        let was_copying = known.is_some_and(|known| known.state == TargetState::Copying);
        let notice = match (&one.verdict, applied) {
            (Ok(Verdict { failure: Some(why), .. }), _) => {
                let note = format!("{name}: the copy in {region} has failed: {why}");
                Notice { warning: true, reason: "CopyFailed", action: "Copy", note }
            }
            (Ok(Verdict { decision: Decision::Order(order), .. }), Applied::Ordered(image)) => {
                let note = format!("{name}: {} is being copied to {region} as {image}", order.image);
                Notice { warning: false, reason: "CopyStarted", action: "Copy", note }
            }
            (Ok(Verdict { decision: Decision::Keep(image), .. }), _) if was_copying => {
                let since = known.and_then(|known| known.since.as_ref()).map(|since| since.0);
                let took = since.map(|since| work.now.duration_since(since).as_secs().max(0));
                let took = took.map(|seconds| format!(" after {}", in_words(seconds))).unwrap_or_default();
                let note = format!("{name}: {image} in {region} is there{took}");
                Notice { warning: false, reason: "CopyCompleted", action: "Copy", note }
            }
            _ => return,
        };
        self.writer.teller.tell(work.object.object_ref(&()), &notice).await;
    }

    /// Tells that another image is the source than before.
    pub(super) async fn tell_source(&self, work: &Work<'_>) {
        let before = work.object.status.as_ref().and_then(|status| status.source.as_ref()).map(|source| &source.id);
        if let Some(before) = before.filter(|before| **before != work.source_id) {
            let note = format!("the source is now {}, and was {before}", work.source_id);
            let notice = Notice { warning: false, reason: "SourceChanged", action: "Copy", note };
            self.writer.teller.tell(work.object.object_ref(&()), &notice).await;
        }
    }

    /// Tells of copies that grow old: of those that begin to go, and those that are gone.
    pub(super) async fn tell_aged(&self, work: &Work<'_>, one: &Planned<'_>, changed: &Changed) {
        let (name, region) = (&one.looked.target.name, &one.looked.target.region);
        let known = work.known.get(name.as_str()).copied();
        let grace = work.object.spec.retention.as_ref().map(|retention| retention.grace_period.to_string());
        let retired = one.aged.retired_anew(known).map(|image| {
            let note = format!(
                "{name}: {image} in {region} is no longer kept: what it was shared with is taken back, and it is deleted {} later",
                grace.as_deref().unwrap_or_default()
            );
            Notice { warning: false, reason: "CopyRetired", action: "Retire", note }
        });
        let removed = changed.iter().filter_map(|(change, result)| match (change, result) {
            (Change::Remove(image), Ok(())) => {
                let note = format!("{name}: {image} in {region} is deleted, with its snapshots");
                Some(Notice { warning: false, reason: "CopyDeleted", action: "Delete", note })
            }
            _ => None,
        });
        for notice in retired.chain(removed) {
            self.writer.teller.tell(work.object.object_ref(&()), &notice).await;
        }
    }

    /// Reports an object that cannot be read.
    pub(super) async fn unreadable(&self, object: &Object, error: &str) -> Result<Next, Failed> {
        let meta = object.meta();
        let mut message = format!("the object cannot be read as an AmiDistribution of this version: {error}");
        if meta.deletion_timestamp.is_some() {
            if !is_held(object) {
                return Ok(Next::Rest);
            }
            // What it has made is not known either. Its AmiShares go with it, as their own deletionPolicy says.
            if meta.annotations.as_ref().and_then(|all| all.get(ON_DELETE)).is_some_and(|value| value == ABANDON) {
                self.writer.let_go_unread(object).await?;
                return Ok(Next::Rest);
            }
            message = format!(
                "{message}; it goes once it can be read, or, leaving its copies as they are, with the annotation {ON_DELETE}={ABANDON}"
            );
        }
        let says = Says::no(Reason::InvalidSpec, message);
        let generation = meta.generation.unwrap_or_default();
        let all =
            [(ConditionType::Ready, says.clone()), (ConditionType::Stalled, Says::yes(says.reason, says.message))];
        let conditions = conditions::conditions(&[], all, generation, self.clock.now());
        let status = json!({"observedGeneration": generation, "conditions": conditions});
        self.writer.unreadable(&ObjectKey::of(object), &status).await?;
        Ok(Next::Rest)
    }

    /// Stores a status, if it says anything new, and tells of what the summary newly says.
    pub(super) async fn store(&self, object: &AmiDistribution, status: AmiDistributionStatus) -> Result<(), Failed> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let conditions = status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str()));
        self.metrics.conditions("AmiDistribution", (&namespace, &name), conditions, object.spec.suspend);
        let old = object.status.clone().unwrap_or_default();
        if old != status {
            self.writer.status(object, &status).await?;
            if let Some(notice) = notices::of_conditions(&old.conditions, &status.conditions) {
                self.writer.teller.tell(object.object_ref(&()), &notice).await;
            }
        }
        Ok(())
    }
}

/// A length of time for people.
fn in_words(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m"),
    }
}
