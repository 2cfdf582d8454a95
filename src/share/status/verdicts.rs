//! The parts of `Ready`: what is as it should be, what is not, and why.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, record};
use crate::{
    api::{
        Principal, Reason,
        conditions::{Status, Verdict},
        principal::in_words,
    },
    share::{
        claim::{Claim, Standing},
        observed::{Permissions, Sight, Target},
        plan::{Change, Plan, Refusal, launch_parties, plan, volume_parties},
        settle::protected,
    },
};

/// What there is to say of an expired share that has nothing left to take back.
const NOBODY_ANY_MORE: &str = "nobody is listed any more: expiresAt has passed";

/// The most changes that pendingChanges lists.
const MAX_PENDING: usize = 20;

pub(super) fn image(view: &View<'_>) -> Verdict {
    match &view.after.sight {
        Sight::Shareable(_) => Verdict::yes(Reason::Available, "the image is available"),
        Sight::Hindered { reason, message, .. } => Verdict::no(*reason, message.clone()),
    }
}

pub(super) fn launch(claim: &Claim, view: &View<'_>, hypothetical: Option<&Plan>) -> Verdict {
    let nobody_holds_it = view.after.sight.is_gone() || claim.granted.launch.is_empty();
    if claim.expired && nobody_holds_it && matches!(view.after.sight, Sight::Hindered { .. }) {
        return Verdict::yes(Reason::Synced, NOBODY_ANY_MORE);
    }
    let Some(held) = &view.after.launch else { return image(view) };
    if let Sight::Hindered { .. } = view.after.sight
        && claim.lists_somebody()
    {
        return image(view);
    }
    let target = Target::Image(view.image.id.clone());
    let parties = launch_parties(view.claims);
    let missing = claim.lists.difference(held);
    let excess =
        excess(claim, claim.standing == Standing::Authoritative, held, &claim.granted.launch, &protected(&parties));
    let forbidden = claim.forbidden.iter();
    let missing = missing.map(|p| (0, p));
    verdict(&[target], forbidden, missing, excess.iter().map(|p| (0, p)), view, hypothetical, || {
        if claim.expired {
            NOBODY_ANY_MORE.into()
        } else if claim.lists.is_empty() {
            "nobody is listed".into()
        } else {
            "everyone listed holds a launch permission".into()
        }
    })
}

pub(super) fn volumes(claim: &Claim, view: &View<'_>, hypothetical: Option<&Plan>) -> Verdict {
    let asked = claim.lists_for_volumes.as_ref();
    if asked.is_none() && claim.granted.volumes.is_empty() {
        return nothing_asked();
    }
    let image_snapshots = view.after.sight.image().map(|i| i.snapshots.clone()).unwrap_or_default();
    let shareable = matches!(view.after.sight, Sight::Shareable(_));
    if asked.is_some() && view.after.sight.image().is_none() && !view.after.sight.is_gone() {
        return image(view);
    }
    let waits = !shareable && asked.is_some_and(|accounts| !accounts.is_empty());
    let owner = view.after.sight.image().and_then(|image| image.owner).map(Principal::Account);
    let protected_on = |snapshot| protected(&volume_parties(view.claims, view.after, snapshot));
    let to_take_back = |snapshot| {
        let given = claim.granted.volumes.get(snapshot);
        given.is_some_and(|given| !given.is_subset(&protected_on(snapshot)))
    };
    let mut targets = Vec::new();
    let (mut missing, mut excessive) = (Vec::new(), Vec::new());
    for (index, (snapshot, permissions)) in view.after.snapshots.iter().enumerate() {
        targets.push(Target::Snapshot(snapshot.clone()));
        let held = match permissions {
            Permissions::Held(held) => held.clone(),
            Permissions::Gone => BTreeSet::new(),
            Permissions::Unread(_) if waits && !to_take_back(snapshot) => continue,
            Permissions::Unread(failure) => return Verdict::no(failure.reason(), format!("{snapshot}: {failure}")),
        };
        let listed = asked.filter(|_| shareable && image_snapshots.contains(snapshot)).into_iter().flatten();
        missing.extend(listed.filter(|p| !held.contains(*p) && Some(*p) != owner.as_ref()).map(|p| (index, p.clone())));
        let given = claim.granted.volumes.get(snapshot).cloned().unwrap_or_default();
        let authoritative = claim.standing == Standing::Authoritative && asked.is_some() && shareable;
        let excess = excess(claim, authoritative, &held, &given, &protected_on(snapshot));
        excessive.extend(excess.into_iter().map(|p| (index, p)));
    }
    let would_change = hypothetical.is_some_and(|plan| plan.changes.iter().any(|c| targets.contains(&c.target)));
    if waits && excessive.is_empty() && !would_change {
        return image(view);
    }
    let missing = missing.iter().map(|(index, p)| (*index, p));
    let excessive = excessive.iter().map(|(index, p)| (*index, p));
    let is_account = |p: &Principal| matches!(p, Principal::Account(_));
    let forbidden = claim.forbidden.iter().filter(|(p, _)| asked.is_some() && is_account(p));
    let verdict = verdict(&targets, forbidden, missing, excessive, view, hypothetical, || {
        if claim.expired {
            NOBODY_ANY_MORE.into()
        } else if asked.is_some_and(BTreeSet::is_empty) {
            "no account is listed".into()
        } else {
            "the accounts hold createVolumePermission on every snapshot".into()
        }
    });
    if asked.is_none() && verdict.status == Status::True { nothing_asked() } else { verdict }
}

fn nothing_asked() -> Verdict {
    Verdict::yes(Reason::NotRequested, "createVolumePermission is None")
}

/// Who holds a permission that this claim would have taken away.
fn excess(
    claim: &Claim,
    authoritative: bool,
    held: &BTreeSet<Principal>,
    given: &BTreeSet<Principal>,
    listed: &BTreeSet<Principal>,
) -> BTreeSet<Principal> {
    match claim.standing {
        _ if authoritative => held.difference(listed).cloned().collect(),
        Standing::Authoritative | Standing::Additive | Standing::Leaving => {
            given.difference(listed).filter(|p| held.contains(*p)).cloned().collect()
        }
        _ => BTreeSet::new(),
    }
}

fn verdict<'a>(
    targets: &[Target],
    forbidden: impl Iterator<Item = (&'a Principal, &'a Refusal)>,
    missing: impl Iterator<Item = (usize, &'a Principal)>,
    excess: impl Iterator<Item = (usize, &'a Principal)>,
    view: &View<'_>,
    hypothetical: Option<&Plan>,
    synced: impl FnOnce() -> String,
) -> Verdict {
    let mut absent = Faults::default();
    forbidden.for_each(|(principal, refusal)| absent.note(principal, refusal.clone()));
    if let Some(plan) = hypothetical {
        let changes = plan.changes.iter().filter(|c| targets.contains(&c.target));
        let changes: Vec<String> = changes.map(ToString::to_string).collect();
        let refused = plan.refusals.iter().filter(|((target, _), _)| targets.contains(target));
        refused.for_each(|((_, principal), refusal)| absent.note(principal, refusal.clone()));
        return match (changes.is_empty(), absent.gravest()) {
            (true, None) => Verdict::yes(Reason::Synced, synced()),
            (true, Some(reason)) => Verdict::no(reason, absent.message("not given to")),
            (false, _) => {
                Verdict::no(Reason::ChangesPending, format!("mode is Observe; it would {}", changes.join("; ")))
            }
        };
    }
    let mut left = Faults::default();
    missing.for_each(|(index, p)| absent.note(p, why(&targets[index], p, view)));
    excess.for_each(|(index, p)| left.note(p, why(&targets[index], p, view)));
    let messages: Vec<String> = [(&absent, "not given to"), (&left, "still held by")]
        .into_iter()
        .filter(|(faults, _)| !faults.is_empty())
        .map(|(faults, lead)| faults.message(lead))
        .collect();
    match absent.gravest().into_iter().chain(left.gravest()).min_by_key(|reason| reason.passes_by_itself()) {
        Some(reason) => Verdict::no(reason, messages.join("; ")),
        None => Verdict::yes(Reason::Synced, synced()),
    }
}

/// Why `principal` does not have, or still has, the permission on `target`.
pub(super) fn why(target: &Target, principal: &Principal, view: &View<'_>) -> Refusal {
    let key = (target.clone(), principal.clone());
    if let Some(refusal) = view.outcome.refused.get(&key).or_else(|| view.plan.refusals.get(&key)) {
        return refusal.clone();
    }
    let names = |change: &Change| {
        &change.target == target && (change.add.contains(principal) || change.remove.contains(principal))
    };
    match view.outcome.failed.iter().find(|(change, _)| names(change)) {
        Some((_, failure)) => Refusal::new(failure.reason(), failure.to_string()),
        None => Refusal::new(Reason::Progressing, "left for the next reconcile, which follows at once"),
    }
}

/// Principals that are not as they should be, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<(bool, Reason, String), BTreeSet<Principal>>);

impl Faults {
    fn note(&mut self, principal: &Principal, Refusal { reason, message }: Refusal) {
        self.0.entry((reason.passes_by_itself(), reason, message)).or_default().insert(principal.clone());
    }

    /// Notes those of `given` from whom the permission has not been taken, and whom nobody else lists.
    pub(super) fn note_left(
        &mut self,
        target: &Target,
        given: &BTreeSet<Principal>,
        held: &BTreeSet<Principal>,
        listed: &BTreeSet<Principal>,
        view: &View<'_>,
    ) {
        // Who is not seen to hold it may do so all the same, if the call to take it away got no answer.
        let left = |p: &&Principal| held.contains(*p) || view.outcome.unfinished(target, p);
        for principal in given.difference(listed).filter(left) {
            self.note(principal, why(target, principal, view));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reason that needs a person soonest.
    pub(super) fn gravest(&self) -> Option<Reason> {
        self.0.keys().next().map(|(_, reason, _)| *reason)
    }

    pub(super) fn message(&self, lead: &str) -> String {
        let groups = self.0.iter().map(|((_, _, why), principals)| format!("{lead} {}: {why}", in_words(principals)));
        groups.collect::<Vec<_>>().join("; ")
    }
}

/// What would be done, from where things are now, if the claim's mode were Authoritative.
pub(super) fn if_it_were_authoritative(claim: &Claim, view: &View<'_>) -> Plan {
    let mut claims = view.claims.to_vec();
    for other in &mut claims {
        // What has just been taken back is not still to be taken back.
        other.granted = record(other, view);
        if other.key == claim.key {
            other.standing = Standing::Authoritative;
        }
    }
    let refused = view.plan.refusals.iter().chain(&view.outcome.refused);
    plan(&claims, view.after, &refused.map(|(key, why)| (key.clone(), why.clone())).collect(), view.policy)
}

pub(super) fn pending(plan: &Plan, elsewhere: &BTreeSet<&crate::api::ImageId>) -> Vec<String> {
    let changes = plan.changes.iter().map(ToString::to_string);
    let left = elsewhere.iter().map(|image| format!("take back what was given on {image}"));
    let mut words: Vec<String> = changes.chain(left).map(|change| change.chars().take(1024).collect()).collect();
    if words.len() > MAX_PENDING {
        let more = words.split_off(MAX_PENDING - 1).len();
        words.push(format!("and {more} more"));
    }
    words
}
