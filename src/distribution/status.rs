//! The status of a distribution, from what was seen and done.
//!
//! Pure: `now` is an argument.

use k8s_openapi::jiff::Timestamp;

use super::{
    aging::{Aged, Change},
    observe::Sight,
    plan::{Decision, Record, Verdict},
    reconcile::Changed,
};
use crate::{
    api::{
        AccountId, AmiDistribution, AmiDistributionStatus, ConditionType, ImageId, REQUESTED_AT, Reason,
        ami_distribution::{AmiDistributionSpec, DistributionTarget, SourceStatus, TargetState, TargetStatus},
        conditions::{self, Verdict as Says, whole_seconds},
    },
    aws::failure::{Class, Failure},
};

/// The longest message of a target.
const MAX_MESSAGE: usize = 1000;

/// The longest message of an older copy.
const MAX_REASON: usize = 500;

/// What came of a decision.
#[derive(Debug, Clone)]
pub enum Applied {
    /// There was nothing to do.
    Nothing,
    /// The copy has been ordered.
    Ordered(ImageId),
    /// It could not be ordered.
    NotOrdered(Failure),
    /// As many copies are under way there as may be.
    NoBerth,
}

impl Applied {
    /// Whether AWS has said no, so that nothing has been begun.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::NotOrdered(failure) => !may_have_begun(failure),
            Self::Nothing | Self::Ordered(_) | Self::NoBerth => false,
        }
    }
}

/// Whether a copy may have been begun by a call that failed, or soon will be.
fn may_have_begun(failure: &Failure) -> bool {
    matches!(failure.class, Class::Unavailable | Class::Throttled | Class::TokenUsed | Class::Overtaken)
}

/// How far the AmiShare of a target's image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// The target is not to be shared.
    NotRequested,
    /// It is shared as the spec says.
    Done,
    /// It is not, and why; `passes` if that gets better by itself.
    Lacking {
        /// In one word.
        reason: Reason,
        /// In words.
        message: String,
        /// Whether it gets better by itself.
        passes: bool,
    },
}

/// One target of a status, and what a person has to know of it.
#[derive(Debug, Clone)]
pub struct Line {
    /// As it is stored.
    pub status: TargetStatus,
    /// Whether it gets better by itself, if it is not ready.
    pub passes: bool,
    /// How far its sharing is.
    pub sharing: Sharing,
}

impl Line {
    /// The AmiShare of the target is refused by the API server.
    pub fn is_refused(&mut self, message: &str) {
        let reason = Reason::InvalidSpec;
        (self.status.ready, self.passes) = (false, false);
        (self.status.reason, self.status.message) = (reason.as_str().into(), bounded(message));
        self.sharing = Sharing::Lacking { reason, message: message.to_owned(), passes: false };
    }
}

/// What the line of a target begins with: what is on record of it.
pub fn begin(target: &DistributionTarget, account: Option<AccountId>, record: Option<&Record>) -> TargetStatus {
    TargetStatus {
        name: target.name.clone(),
        region: target.region.clone(),
        identity: target.identity.clone(),
        account_id: account,
        state: TargetState::Waiting,
        reason: Reason::Progressing.as_str().into(),
        message: String::new(),
        ready: false,
        image_id: None,
        source_image_id: None,
        progress: None,
        copy: record.map(|record| record.generation.as_str().to_owned()),
        begun_with: record.map_or(0, |record| record.begun_with),
        attempt: record.map_or(0, |record| record.attempt),
        failures: record.map_or(0, |record| record.failures),
        failed_image_id: record.and_then(|record| record.failed.clone()),
        last_failure: record.and_then(|record| record.why.clone()),
        since: record.and_then(|record| record.since).map(whole_seconds),
        deprecate_after: None,
        deregistration_protection: None,
        older: Vec::new(),
    }
}

fn bounded(message: &str) -> String {
    bounded_to(message, MAX_MESSAGE)
}

fn bounded_to(message: &str, length: usize) -> String {
    message.chars().take(length).collect()
}

/// The line of a target that was looked at.
pub fn line(
    mut status: TargetStatus,
    verdict: &Verdict,
    applied: &Applied,
    sharing: Sharing,
    progress: Option<i64>,
    source: &ImageId,
) -> Line {
    let mut passes = true;
    let (state, reason, message) = match (&verdict.decision, applied) {
        (Decision::Keep(image), _) => {
            status.image_id = Some(image.clone());
            status.source_image_id = (image != source).then(|| source.clone());
            match &sharing {
                Sharing::Lacking { reason, message, passes: better } => {
                    passes = *better;
                    (TargetState::Available, *reason, message.clone())
                }
                Sharing::Done => (TargetState::Available, Reason::Synced, format!("{image} is there, and shared")),
                Sharing::NotRequested => {
                    (TargetState::Available, Reason::Synced, format!("{image} is there, and not to be shared"))
                }
            }
        }
        (Decision::Wait(image, _), _) => {
            status.image_id.clone_from(image);
            status.source_image_id = Some(source.clone());
            status.progress = progress;
            (TargetState::Copying, Reason::Progressing, format!("{source} is being copied"))
        }
        (Decision::Order(_), Applied::Ordered(image)) => {
            status.image_id = Some(image.clone());
            status.source_image_id = Some(source.clone());
            (TargetState::Copying, Reason::Progressing, format!("{source} is being copied"))
        }
        (Decision::Order(_), Applied::NoBerth) => {
            let message = "waits until one of the copies is done that are under way in this account and Region";
            (TargetState::Waiting, Reason::Progressing, message.into())
        }
        (Decision::Order(_), Applied::NotOrdered(failure)) => {
            passes = may_have_begun(failure) || failure.class == Class::Quota;
            let state = if may_have_begun(failure) { TargetState::Copying } else { TargetState::Failed };
            (state, failure.reason(), failure.to_string())
        }
        (Decision::Order(_), Applied::Nothing) => {
            (TargetState::Copying, Reason::Progressing, format!("{source} is about to be copied"))
        }
        (Decision::Open(reason, message), _) => {
            passes = reason.passes_by_itself();
            (TargetState::Waiting, *reason, message.clone())
        }
        (Decision::Refuse(reason, message, retry), _) => {
            passes = retry.is_some() || reason.passes_by_itself();
            (TargetState::Failed, *reason, message.clone())
        }
    };
    (status.state, status.reason, status.message) = (state, reason.as_str().into(), bounded(&message));
    status.ready = state == TargetState::Available && !matches!(sharing, Sharing::Lacking { .. });
    Line { status, passes, sharing }
}

/// What is on record of the copies of a target that grow old, before anything is done about them.
pub fn age(line: &mut Line, aged: &Aged) {
    line.status.deprecate_after = aged.deprecate_after;
    line.status.deregistration_protection = aged.protection;
    line.status.older.clone_from(&aged.older);
}

/// What came of what was done about them.
pub fn aged(line: &mut Line, spec: &AmiDistributionSpec, changed: &Changed, now: Timestamp) {
    let failed = |of: fn(&Change) -> bool| changed.iter().any(|(change, result)| of(change) && result.is_err());
    if !failed(|change| matches!(change, Change::DoNotDeprecate(_))) {
        line.status.deprecate_after = spec.deprecate_after;
    }
    if !failed(|change| matches!(change, Change::DoNotProtect(_))) {
        line.status.deregistration_protection = spec.deregistration_protection;
    }
    for (change, result) in changed {
        let older = &mut line.status.older;
        let at = older.iter().position(|copy| copy.image_id == *change.image());
        match (change, result, at) {
            (Change::Remove(_), Ok(()), Some(at)) => drop(older.remove(at)),
            // From now on nothing keeps it from being deleted but the time that it takes.
            (Change::DoNotProtect(_), Ok(()), Some(at)) => {
                older[at].retired_at = Some(whole_seconds(now));
                older[at].message = "its protection from deregistration has been disabled".into();
            }
            (_, Err(failure), Some(at)) => older[at].message = bounded_to(&failure.to_string(), MAX_REASON),
            _ => {}
        }
        if let Err(failure) = result
            && change.is_of_the_spec()
            && line.status.ready
        {
            (line.status.ready, line.passes) = (false, failure.reason().passes_by_itself());
            line.status.reason = failure.reason().as_str().into();
            line.status.message = bounded(&format!("could not {change}: {failure}"));
        }
    }
}

/// The source of an object: as its spec says, or as it was last found.
pub fn source_of(object: &AmiDistribution) -> Option<&ImageId> {
    let found = object.status.as_ref().and_then(|status| status.source.as_ref()).map(|source| &source.id);
    object.spec.source.image.id.as_ref().or(found)
}

/// Whether an object has a say over the protection of its copies from being deregistered.
pub fn protects(object: &AmiDistribution) -> bool {
    let lines = object.status.iter().flat_map(|status| &status.targets);
    object.spec.deregistration_protection.is_some()
        || lines.into_iter().any(|line| line.deregistration_protection.is_some())
}

/// The line of a target that could not be looked at: what is known of it stays.
pub fn unseen(
    target: &DistributionTarget,
    known: Option<&TargetStatus>,
    reason: Reason,
    message: &str,
    passes: bool,
) -> Line {
    let mut status = known.cloned().unwrap_or_else(|| begin(target, None, None));
    status.reason = reason.as_str().into();
    status.message = bounded(message);
    status.ready = false;
    Line { status, passes, sharing: Sharing::Lacking { reason, message: message.to_owned(), passes } }
}

/// The line of a target that is no longer in the spec.
pub fn leaving(known: &TargetStatus, message: &str) -> Line {
    let mut status = known.clone();
    status.state = TargetState::Leaving;
    status.reason = Reason::Progressing.as_str().into();
    status.message = bounded(message);
    status.ready = false;
    status.progress = None;
    Line { status, passes: true, sharing: Sharing::NotRequested }
}

/// What is said of the source.
fn source_says(source: &Sight, region: &str) -> Says {
    match source {
        Sight::Seen(image) => match image.state.as_str() {
            "available" => Says::yes(Reason::Available, format!("{} in {region} is available", image.id)),
            "pending" | "transient" => {
                Says::no(Reason::ImagePending, format!("{} in {region} is not yet available", image.id))
            }
            "disabled" => Says::no(Reason::ImageDisabled, format!("{} in {region} is disabled", image.id)),
            "deregistered" => {
                Says::no(Reason::ImageDeregistered, format!("{} in {region} has been deregistered", image.id))
            }
            state => Says::no(Reason::ImageNotUsable, format!("{} in {region} is in the state {state}", image.id)),
        },
        Sight::Unseen(reason, message) => Says::no(*reason, message.clone()),
        Sight::Failed(failure) => Says::unknown(failure.reason(), failure.to_string()),
    }
}

/// The whole status.
pub fn whole(object: &AmiDistribution, source: &Sight, lines: &[Line], now: Timestamp) -> AmiDistributionStatus {
    let old = object.status.clone().unwrap_or_default();
    let region = object.spec.source.region.as_str();
    let is_wanted = |line: &&Line| line.status.state != TargetState::Leaving;
    let wanted: Vec<&Line> = lines.iter().filter(is_wanted).collect();
    let ready = wanted.iter().filter(|line| line.status.ready).count();
    let listed = |lines: &[&&Line]| {
        let one = |line: &&&Line| format!("{}: {}", line.status.name, line.status.message);
        let all: Vec<String> = lines.iter().take(10).map(one).collect();
        let more = lines.len().saturating_sub(10);
        if more > 0 { format!("{}; and {more} more", all.join("; ")) } else { all.join("; ") }
    };
    let reason_of = |line: &Line| line.status.reason.parse().unwrap_or(Reason::AwsRefused);
    let lacking: Vec<&&Line> = wanted.iter().filter(|line| line.status.state != TargetState::Available).collect();
    let copies = match lacking.first() {
        None => Says::yes(Reason::Available, format!("{} of {} targets have their image", wanted.len(), wanted.len())),
        // What needs a person comes first.
        Some(first) => {
            let first = lacking.iter().find(|line| !line.passes).unwrap_or(first);
            Says::no(reason_of(first), listed(&lacking))
        }
    };
    let unshared: Vec<&&Line> = wanted
        .iter()
        .filter(|line| line.status.state != TargetState::Available || matches!(line.sharing, Sharing::Lacking { .. }))
        .collect();
    let shared = if wanted.iter().all(|line| line.sharing == Sharing::NotRequested) && lacking.is_empty() {
        Says::yes(Reason::NotRequested, "no target is to be shared")
    } else {
        match unshared.first() {
            None => Says::yes(Reason::Synced, "every image is shared as the spec says"),
            Some(first) => Says::no(reason_of(first), listed(&unshared)),
        }
    };
    let source_is_well = matches!(source, Sight::Seen(image) if image.state == "available");
    let unready: Vec<&&Line> = wanted.iter().filter(|line| !line.status.ready).collect();
    let leaving: Vec<&Line> = lines.iter().filter(|line| !is_wanted(line)).collect();
    let source_says = source_says(source, region);
    let summary = match unready.iter().find(|line| !line.passes).or(unready.first()) {
        Some(first) => Says::no(reason_of(first), listed(&unready)),
        None if !source_is_well => Says::no(source_says.reason, source_says.message.clone()),
        None if !leaving.is_empty() => {
            let names: Vec<&&Line> = leaving.iter().collect();
            Says::no(Reason::Progressing, listed(&names))
        }
        None => Says::yes(Reason::Synced, format!("{ready} of {} targets are ready", wanted.len())),
    };
    let is_ready = summary.status == conditions::Status::True;
    let passes = unready.iter().any(|line| line.passes) || !leaving.is_empty() || source_says.reason.passes_by_itself();
    let mut all = vec![(ConditionType::Ready, summary.clone()), (ConditionType::SourceAvailable, source_says)];
    all.extend([(ConditionType::CopiesAvailable, copies), (ConditionType::Shared, shared)]);
    if !is_ready {
        let kind = if passes { ConditionType::Reconciling } else { ConditionType::Stalled };
        all.push((kind, Says::yes(summary.reason, summary.message)));
    }
    AmiDistributionStatus {
        observed_generation: object.metadata.generation,
        conditions: conditions::conditions(&old.conditions, all, object.metadata.generation.unwrap_or_default(), now),
        source: match source {
            Sight::Seen(image) => Some(SourceStatus {
                id: image.id.clone(),
                name: image.name.clone(),
                owner_id: image.owner,
                state: image.state.clone(),
                encrypted: image.encrypted,
            }),
            // Which image it was is what the next one is compared with.
            Sight::Unseen(..) if object.spec.source.image.id.is_none() => old.source,
            Sight::Unseen(..) => None,
            Sight::Failed(_) => old.source,
        },
        ready_targets: Some(format!("{ready}/{}", wanted.len())),
        targets: lines.iter().map(|line| line.status.clone()).collect(),
        last_handled_reconcile_at: requested_at(object),
    }
}

/// The status of an object about which one thing is to be said, and of which all else stays.
pub fn only(object: &AmiDistribution, says: Says, passes: Option<bool>, now: Timestamp) -> AmiDistributionStatus {
    let old = object.status.clone().unwrap_or_default();
    let mut all = vec![(ConditionType::Ready, says.clone())];
    all.extend(passes.map(|passes| {
        let kind = if passes { ConditionType::Reconciling } else { ConditionType::Stalled };
        (kind, Says::yes(says.reason, says.message))
    }));
    let generation = object.metadata.generation.unwrap_or_default();
    AmiDistributionStatus {
        observed_generation: object.metadata.generation,
        conditions: conditions::conditions(&old.conditions, all, generation, now),
        last_handled_reconcile_at: requested_at(object),
        ..old
    }
}

/// The request to look at an object now, as far as a status can repeat it.
pub fn requested_at(object: &AmiDistribution) -> Option<String> {
    let asked = object.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
    Some(asked.chars().take(256).collect())
}
