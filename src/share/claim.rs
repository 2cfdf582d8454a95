//! Claims: what each object says about one image.
//!
//! Pure: `now` is an argument. The image is what is reconciled with AWS, not the object; every AmiShare that names an image, or
//! has given something on it, is a claim on it (docs/design: claims).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{Resource, ResourceExt};

use super::{
    granted::Granted,
    policy::{Policy, Refusal},
};
use crate::{
    api::{
        ABANDON, AmiShareStatus, ConditionType, GrantOperation, GrantsOn, ImageId, ImageRef, KeyArn, ON_DELETE,
        Principal, Reason, Site, SnapshotId,
        ami_share::{
            AmiShareSpec, CreateVolumePermission, DeletionPolicy, GrantedOnImage, ImageStatus, Kms, KmsGrants,
            ShareMode,
        },
        conditions::find,
        stored::{Content, Share, Stored},
    },
    aws::words::{Part, Target},
    planted::{self, Flaw},
};

/// The namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of a namespaced object.
    pub fn of(object: &impl Resource) -> Self {
        Self { namespace: object.meta().namespace.clone().unwrap_or_default(), name: object.name_any() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a claim may do to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Gives what it lists, and has whoever no claim lists removed.
    Authoritative,
    /// Gives what it lists, and takes back what it gave.
    Additive,
    /// Gives nothing, takes back what it gave to those that it lists no more, and protects whom it lists. So is an acting claim to a
    /// snapshot of an image that cannot be shared as it is; and to the image that it had before, until the one that it has to find
    /// is found and shared: there it lists only those to whom it gave something.
    Waiting,
    /// Changes nothing, and protects whom it lists.
    Observing,
    /// Is not acted on, and protects whom it lists.
    Suspended,
    /// Cannot be read, and protects whomever it can be seen to list.
    Unreadable,
    /// The API server would not store what it is about to give, so that nothing is done for it; protects whom it lists.
    Unrecorded,
    /// Is being deleted or has moved to another image, and takes back what it gave.
    Leaving,
    /// Is being deleted or has moved to another image, and leaves AWS as it is.
    LeavingAsItIs,
}

impl Standing {
    /// Whether the claim gives and takes now.
    pub fn writes(self) -> bool {
        matches!(self, Self::Authoritative | Self::Additive)
    }

    /// Whether the claim takes back what it gave and nobody lists any more.
    pub fn takes_back(self) -> bool {
        self.writes() || matches!(self, Self::Waiting | Self::Leaving)
    }

    /// Whether the claim answers from now on for what one that leaves gave to whom it lists.
    pub fn inherits(self) -> bool {
        matches!(self, Self::Suspended | Self::Waiting)
    }

    /// Whether the claim's object is on its way off the image.
    pub fn leaves(self) -> bool {
        matches!(self, Self::Leaving | Self::LeavingAsItIs)
    }
}

/// What a share gives, as its conditions tell of it.
const PARTS: [ConditionType; 3] =
    [ConditionType::LaunchPermissionsSynced, ConditionType::SnapshotPermissionsSynced, ConditionType::KmsGrantsSynced];

/// Whom a claim wants to have grants on the keys of its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForGrants {
    /// What each grant allows. None of an object that cannot be read: whatever it is.
    pub operations: Option<BTreeSet<GrantOperation>>,
    /// Accounts, roles and users.
    pub grantees: BTreeSet<Principal>,
}

impl ForGrants {
    /// Whether it is about the grants of these operations.
    fn asks_for(&self, operations: &BTreeSet<GrantOperation>) -> bool {
        self.operations.as_ref().is_none_or(|asked| asked == operations)
    }

    /// Whom a spec that lists `lists` wants to have grants, if it wants anybody to.
    fn of(kms: &Kms, lists: &BTreeSet<Principal>, lists_nobody: bool) -> Option<Self> {
        let Kms { grants, additional_grantee_arns, operations } = kms;
        if *grants == KmsGrants::None && additional_grantee_arns.is_empty() {
            return None;
        }
        let listed = if *grants == KmsGrants::Accounts { accounts(lists) } else { BTreeSet::new() };
        let additional = additional_grantee_arns.iter().filter(|_| !lists_nobody).cloned().map(Principal::Grantee);
        let grantees = listed.into_iter().chain(additional).collect();
        Some(Self { operations: Some(operations.clone()), grantees })
    }
}

/// What one object says about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The object.
    pub key: ObjectKey,
    /// What it may do.
    pub standing: Standing,
    /// Who it lists, as far as the operator's configuration lets it. Empty when the claim leaves or has expired.
    pub lists: BTreeSet<Principal>,
    /// Why the operator's configuration keeps it off the image altogether, if it does: it lists nobody then, and only takes back what
    /// it gave when it was not.
    pub barred: Option<Refusal>,
    /// Who it lists in vain, because the operator's configuration forbids it: they are neither given anything nor protected.
    pub forbidden: BTreeMap<Principal, Refusal>,
    /// Who it lists for createVolumePermission, when it asks for any.
    pub lists_for_volumes: Option<BTreeSet<Principal>>,
    /// Whom it lists for grants on the keys of the image, when it asks for any.
    pub lists_for_grants: Option<ForGrants>,
    /// What it has given on the image.
    pub granted: Granted,
    /// Whether its time is over.
    pub expired: bool,
    /// Whether its last attempt failed or never ended, so that it may be on record for something that it never gave.
    pub unfinished: bool,
    /// Whether it has lost its record. It answers for the whole list then, recorded or not.
    pub lost: bool,
    /// To whom it may have given createVolumePermission on the snapshots of the image, for which it has lost the record. Empty once
    /// the snapshots are known.
    pub unrecorded: BTreeSet<Principal>,
    /// The same of grants on the keys of the image.
    pub unrecorded_grants: Option<ForGrants>,
}

impl Claim {
    /// What `object` says about `image` at `now`, if anything, as far as `policy` lets it.
    pub fn on(image: &ImageRef, object: &Stored, now: Timestamp, policy: &Policy) -> Option<Self> {
        let names_it = named(object) == Some(&image.id);
        let mut claim = Self::unguarded(image, object, now)?.within(&image.site, names_it, policy);
        if claim.standing == Standing::Waiting {
            // For the parts, it is seen to where it is known which part it is.
            claim.lists.retain(|p| claim.granted.launch.contains(p));
        }
        Some(claim)
    }

    /// Takes off its lists whom the policy forbids.
    fn within(mut self, site: &Site, names_it: bool, policy: &Policy) -> Self {
        let rules = policy.rules(&self.key.namespace, site);
        if let Some(refusal) = rules.bar() {
            return self.off(names_it, refusal);
        }
        // Lists are long and mostly without rules.
        if rules.are_none() && !self.lists.contains(&Principal::Everyone) {
            return self;
        }
        let grantees = self.lists_for_grants.iter().flat_map(|grants| &grants.grantees);
        let forbidden = self.lists.iter().chain(grantees).filter_map(|p| Some((p.clone(), rules.forbid(p)?))).collect();
        self.lists.retain(|p| !BTreeMap::contains_key(&forbidden, p));
        if let Some(accounts) = &mut self.lists_for_volumes {
            accounts.retain(|p| !forbidden.contains_key(p));
        }
        if let Some(ForGrants { grantees, .. }) = &mut self.lists_for_grants {
            grantees.retain(|p| !forbidden.contains_key(p));
        }
        Self { forbidden, ..self }
    }

    /// The claim of a share that may not have anything to do with the image. It takes back what it gave, suspended or not, and whatever
    /// its mode: whoever may write it could otherwise keep what the operator's configuration takes away. It has no power over what others
    /// gave, and what it seems to have lost the record of is nothing: anybody can write an object that looks like that.
    fn off(mut self, names_it: bool, refusal: Refusal) -> Self {
        if self.lost {
            self.granted = Granted::default();
            self.unrecorded.clear();
            self.unrecorded_grants = None;
        }
        self.standing = match self.standing {
            Standing::Authoritative | Standing::Suspended | Standing::Observing if names_it => Standing::Additive,
            Standing::Suspended | Standing::Waiting => Standing::Leaving,
            other => other,
        };
        let forbidden = std::mem::take(&mut self.lists).into_iter().map(|p| (p, refusal.clone())).collect();
        Self { forbidden, lists_for_volumes: None, lists_for_grants: None, barred: Some(refusal), ..self }
    }

    fn unguarded(image: &ImageRef, object: &Stored, now: Timestamp) -> Option<Self> {
        match &object.content {
            Content::Share(share) => Self::of_share(image, object, share, now),
            Content::Unreadable(unreadable) => {
                let granted = Granted::on(&image.id, &unreadable.status.granted);
                let names_it = unreadable.image.as_ref() == Some(image);
                if !names_it && granted.is_empty() {
                    return None;
                }
                let deleting = object.metadata.deletion_timestamp.is_some();
                let standing = match leaving(object) {
                    _ if !deleting => Standing::Unreadable,
                    Some(standing) => standing,
                    None if unreadable.leaves_as_it_is => Standing::LeavingAsItIs,
                    None => Standing::Leaving,
                };
                // It may name any image on which it has given something, in a way that is not understood here.
                let lists = if deleting {
                    BTreeSet::new()
                } else {
                    unreadable.principals.union(&granted.launch).cloned().collect()
                };
                Some(Self::of_unreadable(lists, granted, object, standing))
            }
        }
    }

    /// The claim of an object of which only part can be read. It may list those whom it lists for the snapshots and keys of the image
    /// too: that much cannot be told, and to protect is the safe guess.
    fn of_unreadable(lists: BTreeSet<Principal>, granted: Granted, object: &Stored, standing: Standing) -> Self {
        let lists_for_volumes = Some(accounts(&lists));
        let recorded = granted.grants.values().flatten().filter(|_| !standing.leaves()).cloned();
        let grantees = accounts(&lists).into_iter().chain(recorded).collect();
        let lists_for_grants = Some(ForGrants { operations: None, grantees });
        Self { lists, lists_for_volumes, lists_for_grants, granted, ..Self::silent(object, standing) }
    }

    fn of_share(image: &ImageRef, object: &Stored, share: &Share, now: Timestamp) -> Option<Self> {
        // Every field by name: one that is added to the spec does not compile until it has an effect here or beside it.
        let AmiShareSpec {
            identity,
            region,
            image: selector,
            share_with,
            create_volume_permission,
            kms,
            mode,
            deletion_policy,
            expires_at,
            interval: _, // when to look again: controller
            suspend,
        } = &share.spec;
        let records = share.status.as_ref().map_or(&[][..], |s| &s.granted);
        let mut granted = Granted::on(&image.id, records);
        let is_there = *region == image.site.region && *identity == image.site.identity;
        let found = share.image();
        let names_it = is_there && found == Some(&image.id);
        if !names_it && (!is_there || granted.is_empty()) {
            return None;
        }
        let deleting = object.metadata.deletion_timestamp.is_some();
        let (mut unrecorded, mut unrecorded_grants) = (BTreeSet::new(), None);
        let lost = names_it && *mode == ShareMode::Authoritative && has_lost_its_record(object);
        if lost {
            granted.launch = share_with.principals();
            if *create_volume_permission == CreateVolumePermission::Accounts {
                unrecorded = accounts(&granted.launch);
            }
            unrecorded_grants = ForGrants::of(kms, &granted.launch, false);
        }
        if selector.id.is_none() && !selector.finds() && !deleting {
            // It names the image in a way that this operator does not know. To take everything back would be the worst answer.
            let lists: BTreeSet<Principal> = share_with.principals().union(&granted.launch).cloned().collect();
            return Some(Self::of_unreadable(lists, granted, object, Standing::Unreadable));
        }
        let is_shared = share.status.as_ref().zip(found).is_some_and(|(status, found)| is_shared(status, found));
        let over = expires_at.as_ref().is_some_and(|end| end.0 <= now);
        let standing = if deleting {
            match (mode, deletion_policy) {
                _ if leaving(object) == Some(Standing::LeavingAsItIs) => Standing::LeavingAsItIs,
                (ShareMode::Observe, _) | (_, DeletionPolicy::Retain) => Standing::LeavingAsItIs,
                (_, DeletionPolicy::Revoke) => Standing::Leaving,
            }
        } else if *suspend && !planted::has(Flaw::ActsWhileSuspended) {
            Standing::Suspended
        } else {
            match (mode, names_it, deletion_policy) {
                (ShareMode::Observe, true, _) => Standing::Observing,
                (ShareMode::Authoritative, true, _) => Standing::Authoritative,
                (ShareMode::Additive, true, _) => Standing::Additive,
                // To let go of what is retained takes no call to AWS.
                (_, false, DeletionPolicy::Retain) if found.is_some() => Standing::LeavingAsItIs,
                // Nothing is taken back in this mode, and the image that the object names now is where it reports.
                (ShareMode::Observe, false, _) => Standing::Suspended,
                (_, false, _) if selector.finds() && !over && !is_shared => Standing::Waiting,
                (_, false, _) => Standing::Leaving,
            }
        };
        // Whoever suspends a share wants it left as it is, its end included.
        let expired = names_it && !deleting && !*suspend && over;
        // What a share that is over gave is taken back. It does not go on deciding over what others give.
        let standing = if expired && standing == Standing::Authoritative { Standing::Additive } else { standing };
        let lists_nobody = !(names_it || standing == Standing::Waiting) || standing.leaves() || expired;
        let lists = if lists_nobody { BTreeSet::new() } else { share_with.principals() };
        let lists_for_volumes =
            (*create_volume_permission == CreateVolumePermission::Accounts).then(|| accounts(&lists));
        let lists_for_grants = ForGrants::of(kms, &lists, lists_nobody);
        let unfinished = share.status.as_ref().is_some_and(|status| is_unfinished(&status.conditions));
        let key = ObjectKey::of(object);
        let forbidden = BTreeMap::new();
        Some(Self {
            key,
            standing,
            lists,
            barred: None,
            forbidden,
            lists_for_volumes,
            lists_for_grants,
            granted,
            expired,
            unfinished,
            lost,
            unrecorded,
            unrecorded_grants,
        })
    }

    /// A claim that says nothing.
    pub fn silent(object: &Stored, standing: Standing) -> Self {
        Self {
            key: ObjectKey::of(object),
            standing,
            lists: BTreeSet::new(),
            barred: None,
            forbidden: BTreeMap::new(),
            lists_for_volumes: None,
            lists_for_grants: None,
            granted: Granted::default(),
            expired: false,
            unfinished: false,
            lost: false,
            unrecorded: BTreeSet::new(),
            unrecorded_grants: None,
        }
    }

    /// Puts what it may have given without a record on record for these snapshots and keys, which are the image's.
    pub fn recall(&mut self, snapshots: &BTreeSet<SnapshotId>, keys: &BTreeSet<KeyArn>) {
        let unrecorded = std::mem::take(&mut self.unrecorded);
        if !unrecorded.is_empty() {
            self.granted.volumes.extend(snapshots.iter().map(|snapshot| (snapshot.clone(), unrecorded.clone())));
        }
        let Some(ForGrants { operations: Some(operations), grantees }) = self.unrecorded_grants.take() else { return };
        for key in keys.iter().filter(|_| !grantees.is_empty()) {
            let on = GrantsOn { key: key.clone(), operations: operations.clone() };
            self.granted.grants.insert(on, grantees.clone());
        }
    }

    /// Whether it may have given something without a record on the parts of the image, which are not known yet.
    pub fn has_unrecorded(&self) -> bool {
        !self.unrecorded.is_empty() || self.unrecorded_grants.is_some()
    }

    /// Whom it lists for a target, when it asks for anybody to be given it.
    pub fn lists_on(&self, target: &Target) -> Option<&BTreeSet<Principal>> {
        match target {
            Target::Image(_) => Some(&self.lists),
            Target::Snapshot(_) => self.lists_for_volumes.as_ref(),
            Target::Grants(on) => {
                let grants = self.lists_for_grants.as_ref().filter(|grants| grants.asks_for(&on.operations));
                grants.map(|grants| &grants.grantees)
            }
        }
    }

    /// Whom of those it protects: on a part of the image that it had before, only those to whom it gave something.
    pub fn protects_on(&self, target: &Target) -> Option<BTreeSet<Principal>> {
        let lists = self.lists_on(target)?;
        if self.standing == Standing::Waiting {
            return self.granted.of(target).map(|given| lists & given);
        }
        Some(lists.clone())
    }

    /// Whether it lists anybody, in vain or not.
    pub fn lists_somebody(&self) -> bool {
        !(self.lists.is_empty() && self.forbidden.is_empty())
    }

    /// Whether it may have nothing to do with the image, and holds nothing there. It is told so without a look at AWS.
    pub fn is_off(&self) -> bool {
        self.barred.is_some() && self.standing.writes() && self.granted.is_empty()
    }

    /// Whether it has given something that it does not list any more.
    pub fn has_to_take(&self) -> bool {
        let keeps = |(target, given): (Target, &BTreeSet<Principal>)| {
            given.is_empty() || self.lists_on(&target).is_some_and(|listed| given.is_subset(listed))
        };
        self.standing.takes_back() && !(self.granted.launch.is_subset(&self.lists) && self.granted.parts().all(keeps))
    }

    /// Whether AWS has to be looked at for this claim.
    pub fn needs_aws(&self) -> bool {
        match self.standing {
            _ if self.is_off() => false,
            Standing::Authoritative | Standing::Additive | Standing::Observing => true,
            Standing::Leaving | Standing::Waiting => !self.granted.is_empty(),
            Standing::Suspended | Standing::Unreadable | Standing::Unrecorded | Standing::LeavingAsItIs => false,
        }
    }
}

/// Whether the image that was found for an object is shared as it says, as far as its status tells.
pub(super) fn is_shared(status: &AmiShareStatus, found: &ImageId) -> bool {
    let is_true = |part: &ConditionType| find(&status.conditions, *part).is_some_and(|c| c.status == "True");
    status.image.as_ref().is_some_and(|seen| seen.id == *found) && PARTS.iter().all(is_true)
}

/// Whether an object was acted on, as its finalizer shows, and its status knows nothing of that: somebody has wiped it, or it was
/// restored from a backup without one.
pub(super) fn has_lost_its_record(object: &Stored) -> bool {
    let nothing_known = |s: &AmiShareStatus| s.observed_generation.is_none() && s.granted.is_empty();
    object.known_status().is_none_or(nothing_known) && object.is_held()
}

/// The accounts among `principals`: only they can be listed for createVolumePermission and for grants.
fn accounts(principals: &BTreeSet<Principal>) -> BTreeSet<Principal> {
    principals.iter().filter(|p| matches!(p, Principal::Account(_))).cloned().collect()
}

/// Whether the conditions tell of an attempt to give or take that failed as a whole, or that has begun and not ended.
fn is_unfinished(conditions: &[Condition]) -> bool {
    PARTS.into_iter().filter_map(|part| find(conditions, part)).any(|part| match part.reason.parse() {
        Ok(Reason::Progressing) => true,
        Ok(Reason::Throttled | Reason::AwsUnavailable | Reason::AccessDenied) => part.status == "False",
        _ => false,
    })
}

/// The standing that the annotation [`ON_DELETE`] gives an object that leaves.
fn leaving(object: &impl ResourceExt) -> Option<Standing> {
    (object.annotations().get(ON_DELETE).map(String::as_str) == Some(ABANDON)).then_some(Standing::LeavingAsItIs)
}

/// The image that an object names, where that can be read.
pub fn named(object: &Stored) -> Option<&ImageId> {
    match &object.content {
        Content::Share(share) => share.image(),
        Content::Unreadable(unreadable) => unreadable.image.as_ref().map(|image| &image.id),
    }
}

/// Every image that an object says something about: the one that it names, and those on which it has given something.
pub fn images(object: &Stored) -> BTreeSet<ImageRef> {
    let Some(site) = object.site() else { return BTreeSet::new() };
    let granted = object.known_status().into_iter().flat_map(|status| &status.granted);
    let ids = named(object).into_iter().chain(granted.map(|g| &g.image_id));
    ids.map(|id| ImageRef { site: site.clone(), id: id.clone() }).collect()
}

/// Whom an object lists for the snapshots and the keys of its image, whether its time is over or not.
pub fn listed_for_parts(object: &Stored) -> BTreeSet<Principal> {
    if object.metadata.deletion_timestamp.is_some() {
        return BTreeSet::new();
    }
    match &object.content {
        Content::Share(share) => {
            let lists = share.spec.share_with.principals();
            let grants = ForGrants::of(&share.spec.kms, &lists, false);
            let mut all = grants.map(|grants| grants.grantees).unwrap_or_default();
            if share.spec.create_volume_permission == CreateVolumePermission::Accounts {
                all.extend(accounts(&lists));
            }
            all
        }
        // It may list them for the parts of the image too.
        Content::Unreadable(unreadable) => accounts(&unreadable.principals),
    }
}

/// Every part that an object may say something about: those of its image as it last saw it, and those on which it has given
/// something.
pub fn parts(object: &Stored) -> BTreeSet<(Site, Part)> {
    let (Some(site), Some(status)) = (object.site(), object.known_status()) else { return BTreeSet::new() };
    let snapshots = status.image.iter().flat_map(|image| &image.snapshot_ids).cloned().map(Part::Snapshot);
    let keys = status.image.iter().flat_map(|image| &image.kms_key_arns).cloned().map(Part::Key);
    let volumes = status.granted.iter().flat_map(|g| &g.create_volume_permission).flat_map(|v| &v.snapshot_ids);
    let grants = status.granted.iter().flat_map(|g| &g.kms_grants).flat_map(|g| &g.key_arns);
    let given = volumes.cloned().map(Part::Snapshot).chain(grants.cloned().map(Part::Key));
    snapshots.chain(keys).chain(given).map(|part| (site.clone(), part)).collect()
}

/// Whether an object lists somebody for the parts of an image that it has not seen yet, so that it cannot tell which they are.
/// While an image is pending, they may not all be there.
pub fn asks_unseen(object: &Stored) -> bool {
    let seen = object.known_status().and_then(|status| status.image.as_ref());
    let knows_its_keys = |image: &ImageStatus| !image.encrypted || !image.kms_key_arns.is_empty();
    let seen = seen.filter(|image| image.state != "pending" && knows_its_keys(image)).map(|image| &image.id);
    named(object).is_some() && seen != named(object) && !listed_for_parts(object).is_empty()
}

/// Whether something is a part of an image, as far as an object knows.
pub fn has_part(object: &Stored, image: &ImageId, part: &Part) -> bool {
    let Some(status) = object.known_status() else { return false };
    let seen = status.image.as_ref().filter(|seen| seen.id == *image);
    let is_seen = seen.is_some_and(|seen| match part {
        Part::Snapshot(id) => seen.snapshot_ids.contains(id),
        Part::Key(arn) => seen.kms_key_arns.contains(arn),
    });
    let records = || status.granted.iter().filter(|record| record.image_id == *image);
    is_seen || records().any(|record| has_on_record(record, part))
}

/// Whether something was given on a part.
pub fn has_on_record(record: &GrantedOnImage, part: &Part) -> bool {
    match part {
        Part::Snapshot(id) => record.create_volume_permission.iter().any(|given| given.snapshot_ids.contains(id)),
        Part::Key(arn) => record.kms_grants.iter().any(|given| given.key_arns.contains(arn)),
    }
}

#[cfg(test)]
mod tests;
