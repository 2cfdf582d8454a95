//! The words in which the rest of the operator speaks with EC2: an image, what permissions are set on, a change of them.
//!
//! Pure data, without a type of the SDK.

use std::{collections::BTreeSet, fmt};

use crate::api::{AccountId, ImageId, Principal, SnapshotId, principal::in_words};

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

/// One change of the permissions of one target: one call to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What is changed.
    pub target: Target,
    /// Who gets the permission.
    pub add: BTreeSet<Principal>,
    /// Who loses it.
    pub remove: BTreeSet<Principal>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (permission, target) = (self.target.permission(), &self.target);
        match (self.add.is_empty(), self.remove.is_empty()) {
            (false, true) => write!(f, "give {permission} on {target} to {}", in_words(&self.add)),
            (true, false) => write!(f, "take {permission} on {target} from {}", in_words(&self.remove)),
            _ => write!(
                f,
                "give {permission} on {target} to {} and take it from {}",
                in_words(&self.add),
                in_words(&self.remove)
            ),
        }
    }
}
