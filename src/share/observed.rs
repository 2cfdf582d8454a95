//! What was seen in AWS of one image.
//!
//! Pure data. Made by `observe`, read by `plan` and `status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::outcome::Outcome;
use crate::{
    api::{AccountId, ImageId, Principal, Reason, SnapshotId},
    aws::failure::Failure,
};

/// One thing that permissions are set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The launch permissions of an image.
    Image(ImageId),
    /// The createVolumePermission of a snapshot.
    Snapshot(SnapshotId),
}

impl Target {
    /// The name of the permission, as AWS writes it in prose and in the API.
    pub fn permission(&self) -> &'static str {
        match self {
            Self::Image(_) => "launch permission",
            Self::Snapshot(_) => "createVolumePermission",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(id) => id.fmt(f),
            Self::Snapshot(id) => id.fmt(f),
        }
    }
}

/// An image as `DescribeImages` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its name.
    pub name: Option<String>,
    /// The account that owns it.
    pub owner: Option<AccountId>,
    /// Its state, as EC2 writes it.
    pub state: String,
    /// Whether everybody may launch it.
    pub public: bool,
    /// Whether any of its snapshots is encrypted.
    pub encrypted: bool,
    /// Whether it carries a product code (AWS Marketplace).
    pub has_product_code: bool,
    /// Its EBS snapshots.
    pub snapshots: BTreeSet<SnapshotId>,
}

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

/// Everything that was seen of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The image.
    pub sight: Sight,
    /// Who holds a launch permission, where that is known.
    pub launch: Option<BTreeSet<Principal>>,
    /// Who holds createVolumePermission, for every snapshot that was looked at.
    pub snapshots: BTreeMap<SnapshotId, Permissions>,
    /// Whom claims on other images list for createVolumePermission, by snapshot: a snapshot can be a part of several images, and
    /// has one list of permissions for all of them.
    pub listed_elsewhere: BTreeMap<SnapshotId, BTreeSet<Principal>>,
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

    /// What there is after `outcome`: what was seen, with what was done.
    #[must_use]
    pub fn after(&self, outcome: &Outcome) -> Self {
        let mut after = self.clone();
        for change in &outcome.done {
            let held = match &change.target {
                Target::Image(_) => after.launch.as_mut(),
                Target::Snapshot(id) => match after.snapshots.get_mut(id) {
                    Some(Permissions::Held(held)) => Some(held),
                    _ => None,
                },
            };
            if let Some(held) = held {
                held.extend(change.add.iter().cloned());
                held.retain(|p| !change.remove.contains(p));
            }
            if let (Target::Image(_), Sight::Shareable(image)) = (&change.target, &mut after.sight) {
                image.public = after.launch.as_ref().is_some_and(|held| held.contains(&Principal::Everyone));
            }
        }
        after
    }
}
