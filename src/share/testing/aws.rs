//! An AWS that is plain data: who holds what, and what AWS would refuse. The rules are those of aws.md sections 1 and 2; that
//! it behaves like the simulator is a property in `tests/it/properties.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use amishare::{
    api::{AccountId, GrantsOn, ImageId, ImageRef, KeyArn, Principal, Reason, SnapshotId},
    aws::{
        failure::Failure,
        words::{Key, KeyManager},
    },
    share::{
        claim::{Claim, Standing},
        observed::{Image, KeySight, Observed, Part, Permissions, Sight, Target},
        outcome::Outcome,
        plan::{Change, Plan, Refusal},
    },
};

use super::{OTHER, OWNER, accounts, grants_on, image, kms_key, owner, snapshot};

type Principals = BTreeSet<Principal>;

/// How the snapshots of an image are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    None,
    CustomerKey,
    DefaultKey,
}

/// What an image is, as far as it matters to who can be given what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Available,
    Pending,
    Failed,
    Disabled,
    Deregistered,
    Missing,
    /// Listed by nobody yet, although it is there: EC2 is eventually consistent.
    NotYetListed,
    /// Another account's.
    Foreign,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsImage {
    pub state: State,
    pub snapshots: BTreeSet<SnapshotId>,
    pub encryption: Encryption,
    pub product_code: bool,
    pub launch: Principals,
}

/// Everything that AWS knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    pub images: BTreeMap<ImageId, AwsImage>,
    /// Who holds createVolumePermission; a snapshot that is not here is gone.
    pub snapshots: BTreeMap<SnapshotId, Principals>,
    /// Who holds grants of ours on the owner's key.
    pub grants: BTreeMap<GrantsOn, Principals>,
    pub closed: Principals,
    pub blocks_public: bool,
    pub quota: usize,
    /// Calls that change these fail so, and take no effect.
    pub failing: BTreeMap<Target, Failure>,
    /// Snapshots that cannot be read.
    pub unread: BTreeMap<SnapshotId, Failure>,
    /// Nothing can be asked at all.
    pub down: Option<Failure>,
}

impl Default for Aws {
    /// Two images that can be shared with everybody, and are shared with nobody.
    fn default() -> Self {
        let image_of = |snapshots: &[u64]| AwsImage {
            state: State::Available,
            snapshots: snapshots.iter().map(|n| snapshot(*n)).collect(),
            encryption: Encryption::None,
            product_code: false,
            launch: Principals::new(),
        };
        Self {
            images: BTreeMap::from([(image(1).id, image_of(&[1, 2])), (image(2).id, image_of(&[3]))]),
            snapshots: (1..=4).map(|n| (snapshot(n), Principals::new())).collect(),
            grants: [false, true].map(|lean| (grants_on(lean), Principals::new())).into(),
            closed: accounts(super::CLOSED),
            blocks_public: false,
            quota: 1000,
            failing: BTreeMap::new(),
            unread: BTreeMap::new(),
            down: None,
        }
    }
}

impl Aws {
    /// The image by its number.
    pub fn image(&mut self, number: u64) -> &mut AwsImage {
        self.images.get_mut(&image(number).id).unwrap()
    }

    /// Who holds a permission; nobody where there is nothing.
    pub fn held(&self, target: &Target) -> Principals {
        match target {
            Target::Image(id) => self.images[id].launch.clone(),
            Target::Snapshot(id) => self.snapshots.get(id).cloned().unwrap_or_default(),
            Target::Grants(on) => self.grants.get(on).cloned().unwrap_or_default(),
        }
    }

    /// Who holds what.
    pub fn all_held(&self) -> BTreeMap<Target, Principals> {
        let images = self.images.keys().cloned().map(Target::Image);
        let snapshots = self.snapshots.keys().cloned().map(Target::Snapshot);
        let grants = self.grants.keys().cloned().map(Target::Grants);
        images.chain(snapshots).chain(grants).map(|t| (t.clone(), self.held(&t))).collect()
    }

    /// How an encrypted image or snapshot is encrypted.
    pub fn encryption(&self, target: &Target) -> Encryption {
        let of = |image: &&AwsImage| match target {
            Target::Image(_) | Target::Grants(_) => true,
            Target::Snapshot(id) => image.snapshots.contains(id),
        };
        match target {
            Target::Image(id) => self.images[id].encryption,
            Target::Snapshot(_) => self.images.values().find(of).map_or(Encryption::None, |image| image.encryption),
            Target::Grants(_) => Encryption::CustomerKey,
        }
    }

    /// Whether `principal` could be given a permission that it does not hold.
    pub fn could_give(&self, target: &Target, principal: &Principal) -> bool {
        let public_is_possible = |id: &ImageId| {
            self.encryption(target) == Encryption::None && !self.images[id].product_code && !self.blocks_public
        };
        self.encryption(target) != Encryption::DefaultKey
            && !self.closed.contains(principal)
            && match target {
                Target::Image(id) => *principal != Principal::Everyone || public_is_possible(id),
                Target::Snapshot(id) => self.snapshots.contains_key(id),
                Target::Grants(_) => matches!(principal, Principal::Account(_) | Principal::Grantee(_)),
            }
    }

    /// What the images are made of that can be seen.
    pub fn parts(&self) -> BTreeMap<ImageId, BTreeSet<Part>> {
        let seen = |id: &ImageId| self.see(&image(1).beside(id.clone())).0.image().cloned();
        let parts = |image: Image| {
            let key = match self.images[&image.id].encryption {
                Encryption::CustomerKey => Some(Part::Key(kms_key(false))),
                Encryption::None | Encryption::DefaultKey => None,
            };
            (image.id, image.snapshots.into_iter().map(Part::Snapshot).chain(key).collect())
        };
        self.images.keys().filter_map(seen).map(parts).collect()
    }

    /// What `observe` would see.
    pub fn observe(&self, image: &ImageRef, claims: &[Claim]) -> Result<Observed, Failure> {
        if let Some(failure) = &self.down {
            return Err(failure.clone());
        }
        let (sight, launch) = self.see(image);
        let acting = |c: &&Claim| c.standing.takes_back() || c.standing == Standing::Observing;
        let mut looked_at: BTreeSet<SnapshotId> =
            claims.iter().filter(acting).flat_map(|c| c.granted.volumes.keys().cloned()).collect();
        if let (Sight::Shareable(image), true) =
            (&sight, claims.iter().filter(acting).any(|c| c.lists_for_volumes.is_some()))
        {
            looked_at.extend(image.snapshots.iter().cloned());
        }
        let not_found = Failure::answered("DescribeSnapshotAttribute", "InvalidSnapshot.NotFound", "no");
        let permissions = |id: &SnapshotId| match (self.unread.get(id), self.snapshots.get(id)) {
            (Some(failure), _) => Permissions::Unread(failure.clone()),
            (None, Some(held)) => Permissions::Held(held.clone()),
            (None, None) if self.images[&image.id].state == State::Foreign => Permissions::Unread(not_found.clone()),
            (None, None) => Permissions::Gone,
        };
        let snapshots = looked_at.into_iter().map(|id| (id.clone(), permissions(&id))).collect();
        let wants_public = claims.iter().any(|claim| claim.lists.contains(&Principal::Everyone));
        let mut observed = Observed {
            snapshots,
            public_blocked: wants_public.then_some(self.blocks_public),
            ..Observed::of(sight, launch)
        };
        if claims.iter().any(|claim| acting(&claim)) {
            self.see_keys(&mut observed, claims);
        }
        Ok(observed)
    }

    /// The keys and the grants on them. Nobody is let use a key by its policy but its owner.
    fn see_keys(&self, observed: &mut Observed, claims: &[Claim]) {
        let acting = |c: &&Claim| c.standing.takes_back() || c.standing == Standing::Observing;
        let encryption = observed.sight.image().map(|image| self.images[&image.id].encryption);
        let mut image_key = match encryption {
            None | Some(Encryption::None) => None,
            Some(encryption) => Some(kms_key(encryption == Encryption::DefaultKey)),
        };
        if let (Some(image), Some(key)) = (observed.sight.image(), &image_key) {
            let missing = image.snapshots.iter().find(|id| !self.snapshots.contains_key(*id));
            let unlisted = |id: &SnapshotId| {
                let message = format!("{id} is not listed by AWS");
                Failure::answered("DescribeSnapshots", "InvalidSnapshot.NotFound", &message)
            };
            let all = || image.snapshots.iter().map(|id| (id.clone(), key.clone())).collect();
            observed.snapshot_keys = missing.map_or_else(|| Ok(all()), |id| Err(unlisted(id)));
        }
        image_key = image_key.filter(|_| observed.snapshot_keys.is_ok());
        let recorded = claims.iter().filter(acting).flat_map(|c| c.granted.grants.keys().cloned());
        let asked = claims.iter().filter(acting).filter_map(|c| c.lists_for_grants.clone()?.operations);
        let key = image_key.clone().filter(|_| matches!(observed.sight, Sight::Shareable(_)));
        let on = |operations| Some(GrantsOn { key: key.clone()?, operations });
        let looked_at: BTreeSet<GrantsOn> = recorded.chain(asked.filter_map(on)).collect();
        let owner: AccountId = OWNER.parse().unwrap();
        let account = observed.sight.image().map_or(Some(owner), |image| image.owner);
        let keys: BTreeSet<KeyArn> = looked_at.iter().map(|on| on.key.clone()).chain(image_key).collect();
        let sight = |arn: KeyArn| {
            let seen = if account == Some(owner) { KeySight::Own(Arc::new(self.key(&arn))) } else { KeySight::Foreign };
            (arn, seen)
        };
        observed.keys = keys.into_iter().map(sight).collect();
        let not_ours = Failure::wrong_identity("belongs to another account".into());
        let is_recorded = |on: &GrantsOn| claims.iter().any(|claim| claim.granted.grants.contains_key(on));
        let permissions = |on: &GrantsOn| match account == Some(owner) {
            true => Permissions::Held(self.grants.get(on).cloned().unwrap_or_default()),
            false if is_recorded(on) => Permissions::Unread(not_ours.clone()),
            false => Permissions::Gone,
        };
        observed.grants = looked_at.iter().map(|on| (on.clone(), permissions(on))).collect();
    }

    fn key(&self, arn: &KeyArn) -> Key {
        let is_default = *arn == kms_key(true);
        let mut key = Key {
            arn: arn.clone(),
            manager: if is_default { KeyManager::Aws } else { KeyManager::Customer },
            state: "Enabled".into(),
            policy: Ok(r#"{"Statement": []}"#.into()),
            grants: Ok(Vec::new()),
        };
        for (on, holders) in self.grants.iter().filter(|(on, _)| on.key == *arn) {
            key.change(on, holders, &Principals::new());
        }
        key
    }

    fn see(&self, image: &ImageRef) -> (Sight, Option<Principals>) {
        let known = &self.images[&image.id];
        let found = |state: &str| Image {
            id: image.id.clone(),
            name: Some("golden".into()),
            owner: OWNER.parse().ok(),
            state: state.into(),
            public: known.launch.contains(&Principal::Everyone),
            encrypted: known.encryption != Encryption::None,
            has_product_code: known.product_code,
            snapshots: known.snapshots.clone(),
        };
        let hindered = |image, reason: Reason, gone| Sight::Hindered {
            image,
            reason,
            message: format!("in words: {}", reason.as_str()),
            gone,
        };
        match known.state {
            State::Available => (Sight::Shareable(found("available")), Some(known.launch.clone())),
            State::Pending => (hindered(Some(found("pending")), Reason::ImagePending, false), None),
            State::Failed => (hindered(Some(found("failed")), Reason::ImageNotUsable, false), None),
            State::Disabled => {
                (hindered(Some(found("disabled")), Reason::ImageDisabled, true), Some(Principals::new()))
            }
            State::Deregistered => (hindered(None, Reason::ImageDeregistered, true), None),
            State::Missing => (hindered(None, Reason::ImageNotFound, true), None),
            State::NotYetListed => (hindered(None, Reason::ImagePending, false), None),
            State::Foreign => {
                let is_seen = known.launch.contains(&owner()) || known.launch.contains(&Principal::Everyone);
                let seen = is_seen.then(|| Image { owner: OTHER.parse().ok(), ..found("available") });
                (hindered(seen, Reason::NotOwner, false), None)
            }
        }
    }

    /// What `apply` would do, when nothing interrupts it.
    pub fn apply(&mut self, plan: &Plan) -> Outcome {
        let mut outcome = Outcome::default();
        for planned in &plan.changes {
            if let Some(change) = outcome.without_the_impossible(planned, plan) {
                self.change(&change, &mut outcome);
            }
        }
        outcome
    }

    /// Makes one change, as far as AWS lets it be made.
    pub fn change(&mut self, change: &Change, outcome: &mut Outcome) {
        let target = &change.target;
        if let Some(failure) = self.failing.get(target) {
            outcome.failed.push((change.clone(), failure.clone()));
            return;
        }
        let (mut add, refused): (Principals, Principals) =
            change.add.iter().cloned().partition(|p| self.could_give(target, p));
        let why = if self.encryption(target) == Encryption::DefaultKey {
            Reason::DefaultKmsKeyNotShareable
        } else {
            Reason::PrincipalRefused
        };
        let mut refuse = |principals: &Principals, why: Reason| {
            let refusal = |p: &Principal| match p {
                Principal::Everyone => Refusal::new(Reason::PublicSharingBlocked, "AWS refuses it"),
                _ => Refusal::new(why, "AWS refuses it"),
            };
            outcome.refused.extend(principals.iter().map(|p| ((target.clone(), p.clone()), refusal(p))));
        };
        refuse(&refused, why);
        let quota = self.quota;
        let held = match target {
            Target::Image(id) => &mut self.images.get_mut(id).unwrap().launch,
            Target::Snapshot(id) => self.snapshots.get_mut(id).unwrap(),
            Target::Grants(on) => self.grants.entry(on.clone()).or_default(),
        };
        let before = entities(held);
        held.retain(|p| !change.remove.contains(p));
        let after: Principals = held.union(&add).cloned().collect();
        if matches!(target, Target::Image(_)) && entities(&after) > quota.max(before) {
            refuse(&add, Reason::QuotaExceeded);
            add.clear();
        }
        held.extend(add.iter().cloned());
        if !(add.is_empty() && change.remove.is_empty()) {
            outcome.done.push(Change { add, ..change.clone() });
        }
    }
}

/// What the quota of an image counts.
pub fn entities(principals: &Principals) -> usize {
    principals.iter().filter(|p| **p != Principal::Everyone).count()
}
