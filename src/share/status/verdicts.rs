//! The parts of `Ready`: what is as it should be, what is not, and why.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, consumers::Consumers, record};
use crate::{
    api::{
        Principal, Reason,
        conditions::{Status, Verdict},
        principal::in_words,
    },
    share::{
        claim::{Claim, Standing},
        keys,
        observed::{Permissions, Sight, Target},
        plan::{Change, Plan, Refusal, launch_parties, parties_on, plan},
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
    let forbidden = claim.forbidden.iter().filter(|(p, _)| !matches!(p, Principal::Grantee(_)));
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

/// What there is to say of the permissions on some parts of the image, unless it is the same as of the image itself.
struct OnParts {
    verdict: Verdict,
    /// Who lacks one.
    missing: BTreeSet<Principal>,
}

/// Looks at the permissions on those parts of the image that `is_one` is about. `asked` is whom the claim wants to have them, if
/// anybody.
fn on_parts(
    claim: &Claim,
    view: &View<'_>,
    hypothetical: Option<&Plan>,
    asked: Option<&BTreeSet<Principal>>,
    is_one: impl Fn(&Target) -> bool,
    synced: &str,
) -> OnParts {
    let alone = |verdict| OnParts { verdict, missing: BTreeSet::new() };
    let shareable = matches!(view.after.sight, Sight::Shareable(_));
    if asked.is_some() && view.after.sight.image().is_none() && !view.after.sight.is_gone() {
        return alone(image(view));
    }
    let waits = !shareable && asked.is_some_and(|principals| !principals.is_empty());
    let owner = view.after.sight.image().and_then(|image| image.owner).map(Principal::Account);
    let protected_on = |target: &Target| protected(&parties_on(view.claims, view.after, target));
    let to_take_back =
        |target: &Target| claim.granted.of(target).is_some_and(|given| !given.is_subset(&protected_on(target)));
    let mut targets = Vec::new();
    let (mut missing, mut excessive) = (Vec::new(), Vec::new());
    for (target, permissions) in view.after.parts().filter(|(target, _)| is_one(target)) {
        let index = targets.len();
        targets.push(target.clone());
        let held = match permissions {
            Permissions::Held(held) => held.clone(),
            Permissions::Gone => BTreeSet::new(),
            Permissions::Unread(_) if waits && !to_take_back(&target) => continue,
            Permissions::Unread(failure) => {
                return alone(Verdict::no(failure.reason(), format!("{target}: {failure}")));
            }
        };
        let is_the_images = view.after.has(&target) == Some(true);
        let listed = claim.lists_on(&target).filter(|_| shareable && is_the_images).into_iter().flatten();
        missing.extend(listed.filter(|p| !held.contains(*p) && Some(*p) != owner.as_ref()).map(|p| (index, p.clone())));
        let given = claim.granted.of(&target).cloned().unwrap_or_default();
        let authoritative = claim.standing == Standing::Authoritative
            && asked.is_some()
            && shareable
            && is_the_images
            && matches!(target, Target::Snapshot(_));
        let excess = excess(claim, authoritative, &held, &given, &protected_on(&target));
        excessive.extend(excess.into_iter().map(|p| (index, p)));
    }
    let would_change = hypothetical.is_some_and(|plan| plan.changes.iter().any(|c| targets.contains(&c.target)));
    if waits && excessive.is_empty() && !would_change {
        return alone(image(view));
    }
    let is_asked = |p: &Principal| match p {
        Principal::Account(_) => asked.is_some(),
        Principal::Grantee(_) => {
            claim.lists_for_grants.is_some() && targets.iter().any(|t| matches!(t, Target::Grants(_)))
        }
        _ => false,
    };
    let forbidden = claim.forbidden.iter().filter(|(p, _)| is_asked(p));
    let absent = missing.iter().map(|(index, p)| (*index, p));
    let excessive = excessive.iter().map(|(index, p)| (*index, p));
    let verdict = verdict(&targets, forbidden, absent, excessive, view, hypothetical, || {
        if claim.expired {
            NOBODY_ANY_MORE.into()
        } else if asked.is_some_and(BTreeSet::is_empty) {
            "no account is listed".into()
        } else {
            synced.into()
        }
    });
    OnParts { verdict, missing: missing.into_iter().map(|(_, principal)| principal).collect() }
}

pub(super) fn volumes(claim: &Claim, view: &View<'_>, hypothetical: Option<&Plan>) -> Verdict {
    let nothing_asked = || Verdict::yes(Reason::NotRequested, "createVolumePermission is None");
    let asked = claim.lists_for_volumes.as_ref();
    if asked.is_none() && claim.granted.volumes.is_empty() {
        return nothing_asked();
    }
    let is_one = |target: &Target| matches!(target, Target::Snapshot(_));
    let synced = "the accounts hold createVolumePermission on every snapshot";
    let OnParts { verdict, .. } = on_parts(claim, view, hypothetical, asked, is_one, synced);
    if asked.is_none() && verdict.status == Status::True { nothing_asked() } else { verdict }
}

/// The grants on the keys of an encrypted image, and whether everybody who is listed can use the keys, with grants or without.
pub(super) fn grants(claim: &Claim, view: &View<'_>, consumers: &Consumers, hypothetical: Option<&Plan>) -> Verdict {
    let asked = claim.lists_for_grants.as_ref().map(|grants| &grants.grantees);
    let unencrypted = view.after.sight.image().is_some_and(|image| !image.encrypted);
    let is_seen = view.after.sight.image().is_some();
    // What is left, not what there was: the next look, which finds only that, says the same.
    if record(claim, view).grants.is_empty() {
        if unencrypted {
            return Verdict::yes(Reason::NotRequested, "no snapshot of the image is encrypted");
        }
        if !claim.lists_somebody() && asked.is_none_or(BTreeSet::is_empty) {
            return Verdict::yes(Reason::Synced, if claim.expired { NOBODY_ANY_MORE } else { "nobody is listed" });
        }
        if asked.is_none() && !is_seen {
            return Verdict::yes(Reason::NotRequested, "kms.grants is None");
        }
    }
    if let Err(failure) = &view.after.snapshot_keys {
        let Refusal { reason, message } = keys::unknown(failure);
        return Verdict::unknown(reason, message);
    }
    let is_one = |target: &Target| matches!(target, Target::Grants(_));
    let synced = match asked {
        Some(_) => "everybody who is listed can use every key, and the grants are there",
        None => "everybody who is listed can use every key without a grant of this share",
    };
    let OnParts { verdict, missing } = on_parts(claim, view, hypothetical, asked, is_one, synced);
    if !matches!(view.after.sight, Sight::Shareable(_)) {
        return verdict;
    }
    // Who is to be given a grant first is not said twice to lack it.
    let pending = hypothetical.into_iter().flat_map(|plan| &plan.changes).filter(|change| is_one(&change.target));
    let named = missing.iter().chain(pending.flat_map(|change| &change.add)).collect();
    match consumers.of_keys(&named) {
        Some(keys) if verdict.status == Status::True => keys,
        Some(keys) => Verdict { message: format!("{}; {}", verdict.message, keys.message), ..verdict },
        None => verdict,
    }
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
    if let Some(on) = view.outcome.waiting.get(&key) {
        let message = format!("waits until KMS shows the new grant on {}, which can take five minutes", on.key);
        return Refusal::new(Reason::Progressing, message);
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
    pub(super) fn note(&mut self, principal: &Principal, Refusal { reason, message }: Refusal) {
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is not as they should be, by reason: what needs a person comes first.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Refusal, &BTreeSet<Principal>)> {
        self.0.iter().map(|((_, reason, message), all)| (Refusal::new(*reason, message.clone()), all))
    }

    /// The same but for some.
    pub(super) fn without(&self, some: &BTreeSet<&Principal>) -> Self {
        let mut left = Self::default();
        for (refusal, principals) in self.groups() {
            principals.iter().filter(|p| !some.contains(p)).for_each(|p| left.note(p, refusal.clone()));
        }
        left
    }

    /// The reason that needs a person soonest.
    pub(super) fn gravest(&self) -> Option<Reason> {
        self.0.keys().next().map(|(_, reason, _)| *reason)
    }

    pub(super) fn message(&self, lead: &str) -> String {
        self.message_with(lead, |why, _| why.message.clone())
    }

    /// The same, with the reasons in words of the caller's.
    pub(super) fn message_with(
        &self,
        lead: &str,
        explain: impl Fn(&Refusal, &BTreeSet<Principal>) -> String,
    ) -> String {
        let groups = self.groups().map(|(why, all)| format!("{lead} {}: {}", in_words(all), explain(&why, all)));
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
