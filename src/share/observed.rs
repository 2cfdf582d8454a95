//! What was seen in AWS of one image.
//!
//! Pure data. Made by `observe`, read by `plan` and `status`.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::{ObjectKey, Standing};
pub use crate::aws::words::{Image, Target};
use crate::{
    api::{ImageId, Principal, Reason, SnapshotId},
    aws::failure::Failure,
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
}

/// What a claim on another image says about a snapshot that is a part of that image too.
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
    /// Whom it lists for createVolumePermission.
    pub lists: BTreeSet<Principal>,
    /// To whom it has given that on the snapshot.
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
    /// What claims on other images say, by snapshot: a snapshot can be a part of several images, and has one list of permissions
    /// for all of them.
    pub elsewhere: BTreeMap<SnapshotId, Vec<Elsewhere>>,
    /// Whether block public access forbids new public sharing. `None` when nobody asked for public sharing.
    pub public_blocked: Option<bool>,
}

impl Observed {
    /// A failure to read a snapshot that passes by itself, if the reconcile should be tried again soon.
    pub fn to_retry(&self) -> Option<&Failure> {
        let unread = self.snapshots.values().filter_map(|permissions| match permissions {
            Permissions::Unread(failure) => Some(failure),
            Permissions::Held(_) | Permissions::Gone => None,
        });
        unread.into_iter().find(|failure| failure.reason().passes_by_itself())
    }
}
