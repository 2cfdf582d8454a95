//! What was seen in AWS of one image.
//!
//! Pure data. Made by `observe`, read by `plan` and `status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::claim::{ObjectKey, Standing};
pub use crate::aws::words::{Image, Part, Target};
use crate::{
    api::{GrantsOn, ImageId, KeyArn, Principal, Reason, SnapshotId},
    aws::{
        failure::Failure,
        words::{Key, KeyManager},
    },
};

/// What could be seen of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is there and can be shared.
    Shareable(Image),
    /// It cannot be shared as it is.
    Hindered {
        /// The image, when it can be seen at all.
        image: Option<Image>,
        /// Why it cannot be shared.
        reason: Reason,
        /// The same in words.
        message: String,
        /// Whether the image is no more, so that nobody holds a launch permission on it.
        gone: bool,
    },
}

impl Sight {
    /// The image, when it can be seen.
    pub fn image(&self) -> Option<&Image> {
        match self {
            Self::Shareable(image) => Some(image),
            Self::Hindered { image, .. } => image.as_ref(),
        }
    }

    /// Whether the image is no more.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Hindered { gone: true, .. })
    }
}

/// What could be seen of the permissions of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// Who holds it.
    Held(BTreeSet<Principal>),
    /// The target is no more, and nobody holds anything on it.
    Gone,
    /// It could not be read.
    Unread(Failure),
}

impl Permissions {
    /// Who holds it, where that is known.
    pub fn known(&self) -> Option<BTreeSet<Principal>> {
        match self {
            Self::Held(principals) => Some(principals.clone()),
            Self::Gone => Some(BTreeSet::new()),
            Self::Unread(_) => None,
        }
    }

    /// The same, to be changed with what was done.
    pub fn held(&mut self) -> Option<&mut BTreeSet<Principal>> {
        match self {
            Self::Held(principals) => Some(principals),
            Self::Gone | Self::Unread(_) => None,
        }
    }
}

/// What could be seen of a KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySight {
    /// It is the account's own.
    Own(Arc<Key>),
    /// It belongs to another account, which alone can let others use it.
    Foreign,
    /// It is no more.
    Gone,
    /// It could not be looked at.
    Unread(Failure),
}

/// What a claim on another image says about what is a part of that image too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The object.
    pub key: ObjectKey,
    /// Its version.
    pub version: Option<String>,
    /// The other image.
    pub image: ImageId,
    /// What the claim may do there.
    pub standing: Standing,
    /// Whom it protects there: whom it lists, and on a key whoever needs it to launch the other image.
    pub lists: BTreeSet<Principal>,
    /// To whom it has given the permission.
    pub granted: BTreeSet<Principal>,
}

/// Everything that was seen of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The image.
    pub sight: Sight,
    /// Who holds a launch permission, where that is known.
    pub launch: Option<BTreeSet<Principal>>,
    /// Who holds createVolumePermission, for every snapshot that was looked at.
    pub snapshots: BTreeMap<SnapshotId, Permissions>,
    /// With which key each snapshot of the image is encrypted that is. A failure of an encrypted image whose snapshots could not be
    /// asked for it.
    pub snapshot_keys: Result<BTreeMap<SnapshotId, KeyArn>, Failure>,
    /// The keys that were looked at.
    pub keys: BTreeMap<KeyArn, KeySight>,
    /// Who holds grants of ours, for every list of grants that was looked at.
    pub grants: BTreeMap<GrantsOn, Permissions>,
    /// What claims on other images say, by target: a snapshot or a key can be a part of several images, and has one list of
    /// permissions for all of them.
    pub elsewhere: BTreeMap<Target, Vec<Elsewhere>>,
    /// Whether block public access forbids new public sharing. `None` when nobody asked for public sharing.
    pub public_blocked: Option<bool>,
}

impl Observed {
    /// An image of which nothing else was looked at.
    pub fn of(sight: Sight, launch: Option<BTreeSet<Principal>>) -> Self {
        Self {
            sight,
            launch,
            snapshots: BTreeMap::new(),
            snapshot_keys: Ok(BTreeMap::new()),
            keys: BTreeMap::new(),
            grants: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            public_blocked: None,
        }
    }

    /// The permissions on the parts of the image that were looked at: on keys, and then on snapshots.
    pub fn parts(&self) -> impl Iterator<Item = (Target, &Permissions)> {
        let grants = self.grants.iter().map(|(on, permissions)| (Target::Grants(on.clone()), permissions));
        grants.chain(self.snapshots.iter().map(|(id, permissions)| (Target::Snapshot(id.clone()), permissions)))
    }

    /// The permissions on one part of the image, if they were looked at.
    pub fn on(&self, target: &Target) -> Option<&Permissions> {
        match target {
            Target::Image(_) => None,
            Target::Snapshot(id) => self.snapshots.get(id),
            Target::Grants(on) => self.grants.get(on),
        }
    }

    /// What was looked at that can be a part of other images too.
    pub fn parts_seen(&self) -> BTreeSet<Part> {
        self.parts().filter_map(|(target, _)| target.part()).collect()
    }

    /// The keys of the image, where they are known.
    pub fn image_keys(&self) -> Result<BTreeSet<&KeyArn>, &Failure> {
        self.snapshot_keys.as_ref().map(|keys| keys.values().collect())
    }

    /// Whether a target is a part of the image: `None` if that is not known.
    pub fn has(&self, target: &Target) -> Option<bool> {
        let image = self.sight.image()?;
        match target {
            Target::Image(id) => Some(image.id == *id),
            Target::Snapshot(id) => Some(image.snapshots.contains(id)),
            Target::Grants(on) => self.image_keys().ok().map(|keys| keys.contains(&on.key)),
        }
    }

    /// Whether a key is `aws/ebs`.
    pub fn is_default_key(&self, key: &KeyArn) -> bool {
        matches!(self.keys.get(key), Some(KeySight::Own(key)) if key.manager == KeyManager::Aws)
    }

    /// A failure to read a part that passes by itself, if the reconcile should be tried again soon.
    pub fn to_retry(&self) -> Option<&Failure> {
        let unread = self.parts().filter_map(|(_, permissions)| match permissions {
            Permissions::Unread(failure) => Some(failure),
            Permissions::Held(_) | Permissions::Gone => None,
        });
        let keys = self.keys.values().filter_map(|key| match key {
            KeySight::Unread(failure) => Some(failure),
            KeySight::Own(key) => key.policy.as_ref().err().or(key.grants.as_ref().err()),
            KeySight::Foreign | KeySight::Gone => None,
        });
        unread.chain(keys).chain(self.snapshot_keys.as_ref().err()).find(|failure| failure.reason().passes_by_itself())
    }
}
