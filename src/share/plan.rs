//! The plan: which changes make AWS say what the claims on an image say.
//!
//! Pure: no clock, no I/O, no logging. Here, and in `settle` and `narrow` beside it, are the domain's rules about AWS: what can
//! be given to whom, in which order, in how many calls.

use std::collections::{BTreeMap, BTreeSet};

pub use super::policy::{Policy, Refusal};
use super::{
    claim::{Claim, ObjectKey, Standing},
    granted::Granted,
    keys::{self, KeyRing},
    observed::{Elsewhere, Image, Observed, Permissions, Sight, Target},
    settle::{Party, Settlement, settle},
};
use crate::api::{GrantsOn, ImageId, Principal, Reason};
pub use crate::aws::words::Change;

/// `ModifySnapshotAttribute` takes at most this many changes in one call (aws.md section 1.4: "Modification size must not be
/// greater than 500").
const MAX_SNAPSHOT_CHANGES: usize = 500;

/// Who is not given a permission on what, and why.
pub type Refusals = BTreeMap<(Target, Principal), Refusal>;

/// What is to be done for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order in which they are made: keys are opened before snapshots, and those before the image; they are
    /// closed the other way round.
    pub changes: Vec<Change>,
    /// What every claim must have on record before the first change.
    pub records: BTreeMap<ObjectKey, Granted>,
    /// What claims on other images must have on record for their image before the first change: they list whom a claim gave a
    /// permission on a shared snapshot that leaves this image, and answer for it from then on.
    pub bequests: BTreeMap<(ObjectKey, ImageId), Bequest>,
    /// Which grants a change needs for whom: they are given a launch permission, or lose another grant on the same key, only once
    /// they have these and KMS shows them. Nothing else lets them use the key.
    pub needs: BTreeMap<(Target, Principal), BTreeSet<GrantsOn>>,
    /// Who is not given what, because AWS or the operator's configuration would not have it.
    pub refusals: Refusals,
}

/// What an object inherits for its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bequest {
    /// The version of the object that this follows from.
    pub version: Option<String>,
    /// What comes to what it has on record.
    pub inherited: Granted,
}

impl Plan {
    /// Whether somebody is to lose a permission.
    pub fn takes(&self, target: &Target, principal: &Principal) -> bool {
        self.changes.iter().any(|change| change.target == *target && change.remove.contains(principal))
    }

    /// Whether a target holds the grants that a change of another one needs for somebody.
    pub fn is_needed<'a>(&'a self, target: &Target, principal: &Principal) -> impl Fn(&Target) -> bool + use<'a> {
        let needed = self.needs.get(&(target.clone(), principal.clone()));
        move |other| other.grants().is_some_and(|on| needed.is_some_and(|needed| needed.contains(on)))
    }

    /// The grants that a change needs, with those who need them.
    pub fn needs_of(&self, change: &Change) -> BTreeMap<&GrantsOn, BTreeSet<Principal>> {
        let mut needs: BTreeMap<&GrantsOn, BTreeSet<Principal>> = BTreeMap::new();
        for principal in change.add.iter().chain(&change.remove) {
            for on in self.needs.get(&(change.target.clone(), principal.clone())).into_iter().flatten() {
                needs.entry(on).or_default().insert(principal.clone());
            }
        }
        needs
    }

    /// Whether somebody is to lose a permission on a part of the image.
    pub fn closes_parts(&self) -> bool {
        self.changes.iter().any(|change| change.target.part().is_some() && !change.remove.is_empty())
    }
}

/// Plans for one image. `remembered` are principals that AWS has refused lately: they are not tried again yet.
pub fn plan(claims: &[Claim], observed: &Observed, remembered: &Refusals, policy: &Policy) -> Plan {
    let mut plan = Plan::default();
    let (mut open, mut close, mut close_keys) = (Vec::new(), Vec::new(), Vec::new());
    let mut records = vec![Granted::default(); claims.len()];
    // Who holds what grant once those of the plan are made.
    let mut granted: BTreeMap<&Target, BTreeSet<Principal>> = BTreeMap::new();
    let parts: Vec<(Target, &Permissions)> = observed.parts().collect();

    for (target, permissions) in &parts {
        let Some(held) = permissions.known() else {
            for (claim, record) in claims.iter().zip(&mut records) {
                record.put(target.clone(), claim.granted.of(target).cloned().unwrap_or_default());
            }
            continue;
        };
        let settlement = part(claims, observed, target, permissions, &held, remembered, &mut plan.refusals);
        for (principal, heir) in heirs(claims, observed, target, permissions) {
            let bequest = plan.bequests.entry((heir.key.clone(), heir.image.clone()));
            let bequest =
                bequest.or_insert_with(|| Bequest { version: heir.version.clone(), inherited: Granted::default() });
            bequest.inherited.add(target.clone(), principal.clone());
        }
        open.extend(batches(target, &settlement.add).map(|add| Change {
            target: target.clone(),
            add,
            remove: BTreeSet::new(),
        }));
        let close = if matches!(target, Target::Grants(_)) { &mut close_keys } else { &mut close };
        close.extend(batches(target, &settlement.remove).map(|remove| Change {
            target: target.clone(),
            add: BTreeSet::new(),
            remove,
        }));
        for (given, record) in settlement.records.into_iter().zip(&mut records) {
            record.put(target.clone(), given);
        }
        granted.insert(target, held.union(&settlement.add).cloned().collect());
    }

    for change in &mut close_keys {
        change
            .remove
            .retain(|principal| !keys::is_replaced_in_vain(principal, &change.target, claims, observed, &granted));
    }
    close_keys.retain(|change| !change.is_empty());
    let replaced =
        close_keys.iter().flat_map(|change| change.remove.iter().map(|p| (change.target.clone(), p.clone())));
    plan.needs = replaced
        .map(|(old, principal)| {
            let needed = keys::replacements(&principal, &old, claims, observed, &granted);
            ((old, principal), needed)
        })
        .filter(|(_, needed)| !needed.is_empty())
        .collect();

    let ring = KeyRing::of(observed);
    let waits = |principal: &Principal| keys::wait(principal, claims, observed, &ring, &granted, &plan.refusals);
    let mut refusals = Refusals::new();
    let launch = launch(claims, observed, remembered, policy, &waits, &mut refusals);
    plan.refusals.append(&mut refusals);
    plan.changes = open;
    if let (Some(settlement), Sight::Shareable(image)) = (&launch, &observed.sight)
        && !(settlement.add.is_empty() && settlement.remove.is_empty())
    {
        let (add, remove) = (settlement.add.clone(), settlement.remove.clone());
        let target = Target::Image(image.id.clone());
        for principal in &add {
            let needed = keys::needed(principal, claims, observed, &ring, &granted);
            if !needed.is_empty() {
                plan.needs.insert((target.clone(), principal.clone()), needed);
            }
        }
        plan.changes.push(Change { target, add, remove });
    }
    plan.changes.append(&mut close);
    plan.changes.append(&mut close_keys);

    for (index, (claim, record)) in claims.iter().zip(records).enumerate() {
        let launch = match &launch {
            Some(settlement) => settlement.records[index].clone(),
            None if claim.standing == Standing::LeavingAsItIs => BTreeSet::new(),
            // Whoever stays keeps the record: an image can come back, from the Recycle Bin for one, and its permissions with it.
            None if claim.standing == Standing::Leaving && observed.sight.is_gone() => BTreeSet::new(),
            None => claim.granted.launch.clone(),
        };
        plan.records.insert(claim.key.clone(), Granted { launch, ..record });
    }
    plan
}

/// The launch permissions, when it is known who holds them. Those who have to wait, for whatever `waits` says, are not given any.
fn launch(
    claims: &[Claim],
    observed: &Observed,
    remembered: &Refusals,
    policy: &Policy,
    waits: &dyn Fn(&Principal) -> Option<Refusal>,
    refusals: &mut Refusals,
) -> Option<Settlement> {
    let held = observed.launch.as_ref()?;
    let parties = launch_parties(claims);
    let Sight::Shareable(image) = &observed.sight else { return Some(released(&parties, true)) };

    let target = Target::Image(image.id.clone());
    let refuse = |principal: &Principal| {
        let remembered = || remembered.get(&(target.clone(), principal.clone())).cloned();
        refusal(principal, image, observed).or_else(remembered).or_else(|| waits(principal))
    };
    let listed = claims.iter().filter(|c| !c.standing.leaves()).flat_map(|c| &c.lists);
    let mut impossible = BTreeSet::new();
    for principal in listed {
        if held.contains(principal) {
            continue;
        }
        if let Some(refusal) = refuse(principal) {
            impossible.insert(principal.clone());
            refusals.insert((target.clone(), principal.clone()), refusal);
        }
    }

    let mut settlement = settle(held, &parties, &impossible);
    let over = over_quota(held, &settlement, policy);
    if over.is_empty() {
        withhold(&mut settlement, &target, remembered, refusals);
        return Some(settlement);
    }
    let quota = policy.launch_permission_quota;
    for principal in &over {
        let message = format!(
            "the image would be shared with more than {quota} entities; share with an organization instead, or have AWS raise \
             the quota and set --launch-permission-quota"
        );
        refusals.insert((target.clone(), principal.clone()), Refusal::new(Reason::QuotaExceeded, message));
    }
    impossible.extend(over);
    let mut settlement = settle(held, &parties, &impossible);
    withhold(&mut settlement, &target, remembered, refusals);
    Some(settlement)
}

/// Nothing is held on a target that is no more, and nothing can be done there: whoever acts lets go of the record. If that is not
/// `certain`, only those who leave do: of what belongs to another account AWS says that it is not there, and what is not seen to be
/// ours may be seen again with other credentials.
fn released(parties: &[Party], certain: bool) -> Settlement {
    let record = |p: &Party| {
        let lets_go = p.standing.leaves() || (certain && p.standing.takes_back());
        if lets_go { BTreeSet::new() } else { p.granted.clone() }
    };
    Settlement { add: BTreeSet::new(), remove: BTreeSet::new(), records: parties.iter().map(record).collect() }
}

/// Leaves out of what is to be taken away those from whom AWS has lately refused to take it.
fn withhold(settlement: &mut Settlement, target: &Target, remembered: &Refusals, refusals: &mut Refusals) {
    settlement.remove.retain(|principal| {
        let key = (target.clone(), principal.clone());
        let refusal = remembered.get(&key);
        refusals.extend(refusal.map(|refusal| (key, refusal.clone())));
        refusal.is_none()
    });
}

/// What each claim says about the launch permissions.
pub fn launch_parties(claims: &[Claim]) -> Vec<Party> {
    claims
        .iter()
        .map(|claim| Party {
            standing: claim.standing,
            lists: claim.lists.clone(),
            granted: claim.granted.launch.clone(),
        })
        .collect()
}

/// Why `principal` cannot be given a launch permission on `image`, as far as that can be told before AWS is asked.
fn refusal(principal: &Principal, image: &Image, observed: &Observed) -> Option<Refusal> {
    let default_key = || observed.image_keys().is_ok_and(|keys| keys.iter().any(|key| observed.is_default_key(key)));
    match principal {
        Principal::Account(account) if Some(*account) == image.owner => Some(Refusal::new(
            Reason::OwnerAccountListed,
            "owns the image and may launch it anyway; remove it from accountIds",
        )),
        Principal::Everyone if image.encrypted => Some(Refusal::new(
            Reason::EncryptedImageCannotBePublic,
            "an image with an encrypted snapshot cannot be public; list accounts or organizations instead",
        )),
        Principal::Everyone if image.has_product_code => Some(Refusal::new(
            Reason::ProductCodeImageCannotBePublic,
            "an image with a product code cannot be public; list accounts or organizations instead",
        )),
        Principal::Everyone if observed.public_blocked == Some(true) => Some(Refusal::new(
            Reason::PublicSharingBlocked,
            "block public access for AMIs is on in this account and Region; disable it there, or set public: false",
        )),
        _ if default_key() => Some(keys::default_key(&image.id)),
        _ => None,
    }
}

/// Whom the quota leaves no room for: the last in order among those to be added, so that it is always the same ones.
fn over_quota(held: &BTreeSet<Principal>, settlement: &Settlement, policy: &Policy) -> BTreeSet<Principal> {
    let counts = |p: &&Principal| **p != Principal::Everyone;
    let stay = held.iter().filter(counts).filter(|p| !settlement.remove.contains(*p)).count();
    let room = policy.launch_permission_quota.saturating_sub(stay);
    settlement.add.iter().filter(counts).skip(room).cloned().collect()
}

/// The permissions on one part of the image: the createVolumePermission of a snapshot, or the grants on a key.
fn part(
    claims: &[Claim],
    observed: &Observed,
    target: &Target,
    permissions: &Permissions,
    held: &BTreeSet<Principal>,
    remembered: &Refusals,
    refusals: &mut Refusals,
) -> Settlement {
    let parties = parties_on(claims, observed, target);
    let owner = observed.sight.image().and_then(|image| image.owner).map(Principal::Account);
    let impossible_for_all = match target {
        Target::Grants(on) => keys::refusal(&on.key, observed),
        Target::Snapshot(id) if *permissions != Permissions::Gone => {
            let key = observed.snapshot_keys.as_ref().ok().and_then(|keys| keys.get(id));
            key.filter(|key| observed.is_default_key(key)).map(|_| keys::default_key(id))
        }
        _ => Some(Refusal::new(Reason::SnapshotNotFound, "the snapshot is gone or belongs to another account")),
    };
    let mut impossible = BTreeSet::new();
    for principal in parties.iter().flat_map(|p| &p.lists).filter(|p| !held.contains(*p)) {
        // The owner's own account is a no-op here, which AWS does not list (aws.md section 1.4); the image says so already.
        if Some(principal) == owner.as_ref() {
            impossible.insert(principal.clone());
            continue;
        }
        let remembered = || remembered.get(&(target.clone(), principal.clone())).cloned();
        if let Some(refusal) = impossible_for_all.clone().or_else(remembered) {
            impossible.insert(principal.clone());
            refusals.insert((target.clone(), principal.clone()), refusal);
        }
    }
    if *permissions == Permissions::Gone {
        return released(&parties, observed.sight.image().is_some());
    }
    let mut settlement = settle(held, &parties, &impossible);
    withhold(&mut settlement, target, remembered, refusals);
    if matches!(target, Target::Grants(_)) {
        // Nobody loses the use of a key who may still launch the image with it.
        let still_launch = keys::still_launch(claims, observed, remembered);
        settlement.remove.retain(|principal| !still_launch.contains(principal));
    }
    settlement
}

/// What each claim says about one part of the image. A claim that asks for nobody to be given it has no say over who else holds it:
/// it only takes back what it gave. Nor does any claim over a part that is not the image's any more. While the image cannot be
/// shared, nobody is given its parts, and only what was given and nobody lists any more is taken back; while AWS does not list it
/// yet, which parts it has cannot be told, and they keep what they have. Whom claims on other images list for the same part
/// is protected too; they come last and have no record here.
///
/// Of grants, no claim has a say over any but those that it lists or gave, whatever its mode: they are not the image's, and others may
/// have left theirs on purpose. Whoever lists somebody whose grant is found answers for it.
pub fn parties_on(claims: &[Claim], observed: &Observed, target: &Target) -> Vec<Party> {
    let is_the_images = observed.has(target).unwrap_or(true);
    let is_known = observed.sight.is_gone() || (observed.sight.image().is_some() && observed.has(target).is_some());
    let later = if is_known { Standing::Waiting } else { Standing::Observing };
    let can_be_given = is_the_images && is_known && matches!(observed.sight, Sight::Shareable(_));
    let are_grants = matches!(target, Target::Grants(_));
    let found = observed.on(target).filter(|_| are_grants).and_then(Permissions::known);
    let here = claims.iter().map(|claim| {
        let listed = claim.lists_on(target).filter(|_| is_the_images);
        // One that wants other grants on the key cannot tell either which of them it would replace.
        let replaces = are_grants && claim.lists_for_grants.is_some();
        let standing = match (claim.standing, listed) {
            (standing, None) if standing.writes() && !is_known && replaces => later,
            (standing, Some(_)) if standing.writes() && !can_be_given => later,
            (Standing::Authoritative, None) => Standing::Additive,
            (Standing::Authoritative, _) if are_grants => Standing::Additive,
            (standing, _) => standing,
        };
        let mut granted = claim.granted.of(target).cloned().unwrap_or_default();
        if let (Some(found), Some(listed), true) = (&found, listed, claim.standing.writes() && can_be_given) {
            granted.extend(listed.intersection(found).cloned());
        }
        let lists = claim.protects_on(target).filter(|_| is_the_images).unwrap_or_default();
        Party { standing, lists, granted }
    });
    let elsewhere = observed.elsewhere.get(target).into_iter().flatten().map(|other| Party {
        standing: Standing::Observing,
        lists: other.lists.clone(),
        granted: BTreeSet::new(),
    });
    here.chain(elsewhere).collect()
}

/// Who inherits what those who leave have given on a part, whether it is seen to be held or not: AWS may show it late, and a
/// record of what is not held does no harm. For everybody it is the first claim on another image that lists them and acts, or else
/// is suspended: when it leaves in its turn, the next one inherits. With one that only observes it would have no owner either: it never
/// takes anything away.
fn heirs<'a>(
    claims: &'a [Claim],
    observed: &'a Observed,
    target: &'a Target,
    permissions: &Permissions,
) -> impl Iterator<Item = (&'a Principal, &'a Elsewhere)> {
    let leaving = claims.iter().filter(|claim| claim.standing == Standing::Leaving);
    let given = leaving.filter_map(|claim| claim.granted.of(target)).flatten();
    let others = observed.elsewhere.get(target).map_or(&[][..], Vec::as_slice);
    let is_there = *permissions != Permissions::Gone;
    let left: BTreeSet<&Principal> = given.filter(|_| is_there).collect();
    left.into_iter().filter_map(move |principal| {
        let answers = |other: &&Elsewhere| other.standing.writes() || other.standing == Standing::Suspended;
        let list = || others.iter().filter(answers).filter(|other| other.lists.contains(principal));
        let heir = list().find(|other| other.standing.writes()).or_else(|| list().next())?;
        let is_owned = list().any(|other| other.granted.contains(principal));
        (!is_owned).then_some((principal, heir))
    })
}

/// A set in parts of which each is one change. Of grants each takes a call of its own anyway.
fn batches(target: &Target, principals: &BTreeSet<Principal>) -> impl Iterator<Item = BTreeSet<Principal>> {
    let most = if matches!(target, Target::Grants(_)) { usize::MAX } else { MAX_SNAPSHOT_CHANGES };
    let all: Vec<&Principal> = principals.iter().collect();
    let parts: Vec<BTreeSet<Principal>> =
        all.chunks(most).map(|part| part.iter().copied().cloned().collect()).collect();
    parts.into_iter()
}

#[cfg(test)]
mod tests;
