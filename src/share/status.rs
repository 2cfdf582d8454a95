//! Status: what an object reports after a reconcile of its image.
//!
//! Pure: `now` is an argument. It is computed from what was seen and what came of the plan, never from what was intended.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::{
    claim::{Claim, Standing},
    granted::Granted,
    observed::{Observed, Permissions, Sight, Target},
    outcome::Outcome,
    plan::{Plan, Policy, Refusal, launch_parties, parties_on},
    settle::protected,
};
use crate::{
    api::{
        AmiShareStatus, ConditionType, ImageRef, Principal, Reason,
        ami_share::{GrantedOnImage, ImageStatus, SelectedImage, SharedWith},
        conditions::{Status, Verdict, conditions},
        principal::in_words,
    },
    aws::failure::Failure,
    planted::{self, Flaw},
};

mod consumers;
mod selection;
mod verdicts;

pub use selection::not_found;

use consumers::Consumers;
use selection::selection;
use verdicts::{Faults, grants, if_it_were_authoritative, image, launch, pending, volumes};

/// A finished reconcile of one image, as status and events look at it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The image.
    pub image: &'a ImageRef,
    /// Every claim on it.
    pub claims: &'a [Claim],
    /// What there is after it.
    pub after: &'a Observed,
    /// The plan.
    pub plan: &'a Plan,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// What the operator's configuration allows.
    pub policy: &'a Policy,
}

/// The object whose status is computed.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its status as it is stored.
    pub old: &'a AmiShareStatus,
    /// The generation of its spec.
    pub generation: i64,
    /// The value of its annotation `reconcile.amishare.dev/requestedAt`.
    pub requested_at: Option<&'a str>,
    /// The image that was found by what its spec says.
    pub selected: Option<&'a SelectedImage>,
}

/// The parts of `Ready`, in the order in which its message lists them.
struct Parts {
    image: Verdict,
    launch: Verdict,
    volumes: Verdict,
    grants: Verdict,
}

impl Parts {
    /// All of them alike.
    fn all(verdict: &Verdict) -> Self {
        let part = || verdict.clone();
        Self { image: part(), launch: part(), volumes: part(), grants: part() }
    }
}

/// The status of an object whose claim was acted on.
pub fn status(subject: Subject<'_>, claim: &Claim, view: &View<'_>, now: Timestamp) -> AmiShareStatus {
    if let Some(off) = off(subject, claim, now) {
        return off;
    }
    let still_lost = is_still_lost(claim, view);
    let granted = left_on_record(subject.old, claim, view);
    if let Some(refusal) = &claim.barred
        && Granted::on(&view.image.id, &granted).is_empty()
    {
        return kept_off(subject, claim, refusal, granted, now);
    }
    let hypothetical = (claim.standing == Standing::Observing).then(|| if_it_were_authoritative(claim, view));
    let consumers = Consumers::of(claim, view);
    let parts = Parts {
        image: selection(subject.selected).unwrap_or_else(|| image(view)),
        launch: launch(claim, view, hypothetical.as_ref()),
        volumes: volumes(claim, view, hypothetical.as_ref()),
        grants: grants(claim, view, &consumers, hypothetical.as_ref()),
    };
    let elsewhere =
        granted.iter().filter(|g| g.image_id != view.image.id).map(|g| &g.image_id).collect::<BTreeSet<_>>();
    let status = AmiShareStatus {
        image: view.after.sight.image().map(|image| image_status(image, view.after, subject.old)),
        consumers: view.after.launch.as_ref().map(|_| consumers.to_status()),
        shared_with: view.after.launch.as_ref().map(|held| count(claim, held)),
        pending_changes: hypothetical.as_ref().map(|plan| pending(plan, &elsewhere)).unwrap_or_default(),
        granted: granted.clone(),
        ..subject.old.clone()
    };
    let summary = summary(claim, &parts, &elsewhere, status.shared_with);
    let status = finish(status, subject, summary, Some(parts), claim.expired, now);
    if still_lost { without_record(status, subject) } else { status }
}

/// Whether a claim that has lost its record still does not know what it may have given: its image is not seen.
fn is_still_lost(claim: &Claim, view: &View<'_>) -> bool {
    claim.has_unrecorded() && !view.after.sight.is_gone()
}

/// The status of an object that has lost its record and goes on without: it must not look like one that has given nothing.
fn without_record(status: AmiShareStatus, subject: Subject<'_>) -> AmiShareStatus {
    AmiShareStatus { observed_generation: subject.old.observed_generation, ..status }
}

/// The status of an object whose image could not be looked at.
pub fn unobserved(subject: Subject<'_>, claim: &Claim, failure: &Failure, now: Timestamp) -> AmiShareStatus {
    if let Some(off) = off(subject, claim, now) {
        return off;
    }
    let verdict = Verdict::no(failure.reason(), failure.to_string());
    let unknown = Verdict { status: Status::Unknown, ..verdict.clone() };
    let parts = Parts::all(&unknown);
    let status = finish(subject.old.clone(), subject, verdict, Some(parts), claim.expired, now);
    if claim.lost { without_record(status, subject) } else { status }
}

/// The status of a suspended object.
pub fn suspended(subject: Subject<'_>, now: Timestamp) -> AmiShareStatus {
    let verdict = Verdict::unknown(
        Reason::Suspended,
        "suspended: nothing is checked or changed, and whom the spec lists is not removed by other shares",
    );
    let parts = Parts::all(&verdict);
    finish(subject.old.clone(), subject, verdict, Some(parts), false, now)
}

/// The status of an object that may have nothing to do with its image, and holds nothing there. It tells nothing of the image.
pub fn off(subject: Subject<'_>, claim: &Claim, now: Timestamp) -> Option<AmiShareStatus> {
    let refusal = claim.barred.as_ref().filter(|_| claim.is_off())?;
    Some(kept_off(subject, claim, refusal, subject.old.granted.clone(), now))
}

pub(super) fn kept_off(
    subject: Subject<'_>,
    claim: &Claim,
    refusal: &Refusal,
    granted: Vec<GrantedOnImage>,
    now: Timestamp,
) -> AmiShareStatus {
    let verdict = Verdict::no(refusal.reason, refusal.message.clone());
    let unknown = Verdict { status: Status::Unknown, ..verdict.clone() };
    let parts = Parts::all(&unknown);
    let silent = AmiShareStatus {
        image: None,
        shared_with: None,
        consumers: None,
        pending_changes: Vec::new(),
        granted,
        ..subject.old.clone()
    };
    let status = finish(silent, subject, verdict, Some(parts), claim.expired, now);
    if claim.lost { without_record(status, subject) } else { status }
}

/// The status of an object that cannot be read.
pub fn unreadable(subject: Subject<'_>, error: &str, now: Timestamp) -> AmiShareStatus {
    let message = format!(
        "the object cannot be read as amishare.dev/v1alpha1 AmiShare ({error}): correct it; nothing is changed for it"
    );
    finish(subject.old.clone(), subject, Verdict::no(Reason::InvalidSpec, message), None, false, now)
}

/// The status of an object that is about to be acted on, with what it must have on record before that.
pub fn progressing(subject: Subject<'_>, record: &Granted, image: &ImageRef, now: Timestamp) -> AmiShareStatus {
    let stored = Granted::on(&image.id, &subject.old.granted);
    let granted = stored.union(record).replace_in(&image.id, &subject.old.granted);
    AmiShareStatus { granted, ..begun(subject, now) }
}

/// The status of an object that is about to be acted on. The conditions change only when this is a new generation of the spec, so
/// that the repair of drift does not make them flicker.
pub fn begun(subject: Subject<'_>, now: Timestamp) -> AmiShareStatus {
    let mut status = subject.old.clone();
    if status.observed_generation != Some(subject.generation) {
        let acting = Verdict::unknown(Reason::Progressing, "acting on the spec");
        let parts = [
            ConditionType::ImageAvailable,
            ConditionType::LaunchPermissionsSynced,
            ConditionType::SnapshotPermissionsSynced,
            ConditionType::KmsGrantsSynced,
        ];
        let mut verdicts: Vec<_> = parts.into_iter().map(|kind| (kind, acting.clone())).collect();
        verdicts.push((ConditionType::Ready, acting));
        if !planted::has(Flaw::HidesThatItWorks) {
            verdicts.push((ConditionType::Reconciling, Verdict::yes(Reason::Progressing, "acting on the spec")));
        }
        status.conditions = conditions(&subject.old.conditions, verdicts, subject.generation, now);
    }
    status
}

/// The status of an object that is being deleted and cannot let go yet.
pub fn deletion_blocked(subject: Subject<'_>, claim: &Claim, why: &Refusal, now: Timestamp) -> AmiShareStatus {
    let still = in_words(claim.granted.everybody());
    let message = format!(
        "what was given to {still} is not yet taken back: {}; to delete the object and leave AWS as it is, annotate it with \
         amishare.dev/on-delete=abandon",
        why.message
    );
    let verdict = Verdict::no(Reason::DeletionBlocked, message);
    let kind = if why.reason.passes_by_itself() { ConditionType::Reconciling } else { ConditionType::Stalled };
    let besides = (kind, Verdict { status: Status::True, ..verdict.clone() });
    let mut status = subject.old.clone();
    let verdicts = [(ConditionType::Ready, verdict), besides];
    status.conditions = conditions(&subject.old.conditions, verdicts, subject.generation, now);
    status.observed_generation = Some(subject.generation);
    status.last_handled_reconcile_at = handled(subject);
    if claim.lost { without_record(status, subject) } else { status }
}

/// The status of an object that has left an image for another: only its record changes. What is still held there is listed by
/// another object, which answers for it now.
pub fn moved_on(old: &AmiShareStatus, image: &ImageRef) -> AmiShareStatus {
    AmiShareStatus { granted: Granted::default().replace_in(&image.id, &old.granted), ..old.clone() }
}

/// What a claim has on record after a reconcile: what was taken back is not taken back again.
pub fn left_on_record(old: &AmiShareStatus, claim: &Claim, view: &View<'_>) -> Vec<GrantedOnImage> {
    if is_still_lost(claim, view) {
        return old.granted.clone();
    }
    record(claim, view).replace_in(&view.image.id, &old.granted)
}

/// What is left for a leaving claim to take back, and why; nothing when it may go.
pub fn not_taken_back(claim: &Claim, view: &View<'_>) -> Option<Refusal> {
    let mut faults = Faults::default();
    let target = Target::Image(view.image.id.clone());
    match &view.after.launch {
        Some(held) => {
            let listed = protected(&launch_parties(view.claims));
            faults.note_left(&target, &claim.granted.launch, held, &listed, view);
        }
        None if view.after.sight.is_gone() => {}
        // Whether another claim answers for what was given on a part cannot be told while the image is not seen.
        None if claim.granted.launch.is_empty()
            && (claim.granted.parts().next().is_none() || view.after.sight.image().is_some()) => {}
        None => {
            let Verdict { reason, message, .. } = image(view);
            return Some(Refusal { reason, message });
        }
    }
    for (target, given) in claim.granted.parts() {
        match view.after.on(&target) {
            Some(Permissions::Held(held)) => {
                let listed = protected(&parties_on(view.claims, view.after, &target));
                faults.note_left(&target, given, held, &listed, view);
            }
            Some(Permissions::Unread(failure)) => return Some(Refusal::new(failure.reason(), failure.to_string())),
            Some(Permissions::Gone) | None => {}
        }
    }
    faults.gravest().map(|reason| Refusal::new(reason, faults.message("held by")))
}

/// What a claim has on record after the plan was carried out.
fn record(claim: &Claim, view: &View<'_>) -> Granted {
    let mut record = view.plan.records.get(&claim.key).cloned().unwrap_or_default();
    if !(claim.standing.takes_back() || claim.standing.leaves()) {
        return record;
    }
    let target = Target::Image(view.image.id.clone());
    if claim.standing == Standing::Waiting {
        return waiting_record(record, &target, view);
    }
    if let Some(held) = &view.after.launch {
        record.launch.retain(|p| held.contains(p) || view.outcome.unfinished(&target, p));
    }
    let shareable = matches!(view.after.sight, Sight::Shareable(_));
    let mut left = Granted { launch: std::mem::take(&mut record.launch), ..Granted::default() };
    for (target, given) in record.parts() {
        let held = view.after.on(&target).and_then(Permissions::known);
        // What AWS shows late is given again where it can be. Where it cannot, only what was taken back is off the record.
        let may_be_shown_late = |p: &Principal| !shareable && claim.standing.writes() && !view.plan.takes(&target, p);
        let stays = |p: &&Principal| {
            let Some(held) = &held else { return true };
            held.contains(*p) || view.outcome.unfinished(&target, p) || may_be_shown_late(p)
        };
        let given = given.iter().filter(stays).cloned().collect();
        left.put(target, given);
    }
    left
}

/// What one that gives nothing has on record: whatever was not taken back. AWS may show late what it gave.
fn waiting_record(mut record: Granted, image: &Target, view: &View<'_>) -> Granted {
    let is_taken = |target: &Target, held: Option<&BTreeSet<Principal>>, p: &Principal| {
        let is_held = held.is_none_or(|held| held.contains(p));
        view.plan.takes(target, p) && !is_held && !view.outcome.unfinished(target, p)
    };
    let launch = std::mem::take(&mut record.launch);
    let stays = |p: &Principal| !is_taken(image, view.after.launch.as_ref(), p);
    let mut left = Granted { launch: launch.into_iter().filter(stays).collect(), ..Granted::default() };
    for (target, given) in record.parts() {
        let held = view.after.on(&target).and_then(Permissions::known);
        let stays = |p: &&Principal| !is_taken(&target, held.as_ref(), p);
        left.put(target.clone(), given.iter().filter(stays).cloned().collect());
    }
    left
}

/// Sets the conditions from the summary and its parts.
fn finish(
    mut status: AmiShareStatus,
    subject: Subject<'_>,
    ready: Verdict,
    parts: Option<Parts>,
    expired: bool,
    now: Timestamp,
) -> AmiShareStatus {
    let mut verdicts = Vec::new();
    if ready.status == Status::False {
        let kind = if ready.reason.passes_by_itself() { ConditionType::Reconciling } else { ConditionType::Stalled };
        verdicts.push((kind, Verdict { status: Status::True, ..ready.clone() }));
    }
    if expired {
        let message = "expiresAt has passed; move it into the future to share again";
        verdicts.push((ConditionType::Expired, Verdict::yes(Reason::Expired, message)));
    }
    if let Some(Parts { image, launch, volumes, grants }) = parts {
        verdicts.push((ConditionType::ImageAvailable, image));
        verdicts.push((ConditionType::LaunchPermissionsSynced, launch));
        verdicts.push((ConditionType::SnapshotPermissionsSynced, volumes));
        verdicts.push((ConditionType::KmsGrantsSynced, grants));
    }
    verdicts.push((ConditionType::Ready, ready));
    status.conditions = conditions(&subject.old.conditions, verdicts, subject.generation, now);
    status.observed_generation = Some(subject.generation);
    status.last_handled_reconcile_at = handled(subject);
    status.selected = subject.selected.cloned();
    status
}

fn handled(subject: Subject<'_>) -> Option<String> {
    subject.requested_at.map(ToOwned::to_owned)
}

fn summary(
    claim: &Claim,
    parts: &Parts,
    elsewhere: &BTreeSet<&crate::api::ImageId>,
    shared: Option<SharedWith>,
) -> Verdict {
    // Of an expired share nobody asks whether its image is available.
    let image = (!claim.expired).then_some(&parts.image);
    let all = image.into_iter().chain([&parts.launch, &parts.volumes, &parts.grants]);
    let failing: Vec<&Verdict> = all.filter(|v| v.status != Status::True).collect();
    if let Some(gravest) = failing.iter().find(|v| !v.reason.passes_by_itself()).or(failing.first()) {
        let mut messages: Vec<&str> = failing.iter().map(|v| v.message.as_str()).collect();
        messages.dedup();
        return Verdict::no(gravest.reason, messages.join("; "));
    }
    if !elsewhere.is_empty() {
        let images = in_words(elsewhere.iter().copied());
        if claim.standing == Standing::Observing {
            let message = format!("mode is Observe; it would take back what was given on {images}");
            return Verdict::no(Reason::ChangesPending, message);
        }
        return Verdict::no(Reason::Progressing, format!("what was given on {images} is still to be taken back"));
    }
    if claim.expired {
        return Verdict::no(Reason::Expired, "expiresAt has passed: the share gives nobody anything any more");
    }
    Verdict::yes(Reason::Synced, format!("shared with {}", shared.map_or_else(|| "nobody".into(), words)))
}

fn words(shared: SharedWith) -> String {
    let SharedWith { accounts, organizations, organizational_units, public } = shared;
    let parts: Vec<String> =
        [(accounts, "account"), (organizations, "organization"), (organizational_units, "organizational unit")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, noun)| format!("{number} {noun}{}", if number == 1 { "" } else { "s" }))
            .chain(public.then(|| "everyone".to_owned()))
            .collect();
    if parts.is_empty() { "nobody".into() } else { parts.join(", ") }
}

fn count(claim: &Claim, held: &BTreeSet<Principal>) -> SharedWith {
    let mut shared = SharedWith::default();
    for principal in claim.lists.iter().chain(claim.forbidden.keys()).filter(|p| held.contains(*p)) {
        match principal {
            Principal::Account(_) => shared.accounts += 1,
            Principal::Organization(_) => shared.organizations += 1,
            Principal::OrganizationalUnit(_) => shared.organizational_units += 1,
            Principal::Everyone => shared.public = true,
            // No list of EC2 has one.
            Principal::Grantee(_) => {}
        }
    }
    shared
}

fn image_status(image: &super::observed::Image, seen: &Observed, old: &AmiShareStatus) -> ImageStatus {
    let known = old.image.as_ref().filter(|known| known.id == image.id);
    // Which keys an image has never changes, and shares of other images protect by what is known of that here.
    let keys = match seen.image_keys() {
        Ok(keys) => keys.into_iter().cloned().collect(),
        Err(_) => known.map(|known| known.kms_key_arns.clone()).unwrap_or_default(),
    };
    ImageStatus {
        id: image.id.clone(),
        name: image.name.clone(),
        owner_id: image.owner,
        state: image.state.clone(),
        public: image.public,
        encrypted: image.encrypted,
        snapshot_ids: image.snapshots.iter().cloned().collect(),
        kms_key_arns: keys,
    }
}

#[cfg(test)]
mod tests;
