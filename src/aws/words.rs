//! The words in which the rest of the operator speaks with EC2: an image, what permissions are set on, a change of them.
//!
//! Pure data, without a type of the SDK.

use std::{collections::BTreeSet, fmt};

use crate::api::{AccountId, GrantsOn, ImageId, KeyArn, Principal, SnapshotId, principal::in_words};

use super::failure::Failure;

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
    /// The grants on a key that are ours.
    Grants(GrantsOn),
}

/// What several images can have in common: permissions on it are set for all of them together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A KMS key.
    Key(KeyArn),
}

impl Target {
    /// What the permissions are set on, where it is a part of images.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Image(_) => None,
            Self::Snapshot(id) => Some(Part::Snapshot(id.clone())),
            Self::Grants(on) => Some(Part::Key(on.key.clone())),
        }
    }

    /// The list of grants, if it is one.
    pub fn grants(&self) -> Option<&GrantsOn> {
        match self {
            Self::Grants(on) => Some(on),
            Self::Image(_) | Self::Snapshot(_) => None,
        }
    }

    /// The name of the permission, as AWS writes it in prose and in the API.
    pub fn permission(&self) -> &'static str {
        match self {
            Self::Image(_) => "launch permission",
            Self::Snapshot(_) => "createVolumePermission",
            Self::Grants(_) => "grant",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(id) => id.fmt(f),
            Self::Snapshot(id) => id.fmt(f),
            Self::Grants(grants) => grants.fmt(f),
        }
    }
}

/// Who looks after a KMS key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyManager {
    /// The account that owns it: a customer managed key.
    Customer,
    /// AWS: `aws/ebs`, which nobody else can be let use.
    Aws,
}

/// A KMS key of this account, as far as it could be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its ARN.
    pub arn: KeyArn,
    /// Who looks after it.
    pub manager: KeyManager,
    /// Its state, as KMS writes it: `Enabled`, `Disabled`, `PendingDeletion` and others.
    pub state: String,
    /// Who may do what with it, as JSON.
    pub policy: Result<String, Failure>,
    /// The grants on it, whoever made them. Those that EBS makes for each volume are left out: they name a service.
    pub grants: Result<Vec<Grant>, Failure>,
}

/// A grant on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Its name: a text of ours, or of whoever made it.
    pub name: Option<String>,
    /// Whom it names, as KMS shows it: an ARN, or the unique id of a role that is no more.
    pub grantee: String,
    /// What it allows, as KMS writes it.
    pub operations: BTreeSet<String>,
    /// Whether an encryption context limits it, so that nobody can launch anything with it.
    pub constrained: bool,
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

impl Change {
    /// Whether nobody is given or loses anything.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Takes in another change of the same target.
    pub fn merge(&mut self, other: Self) {
        self.add.extend(other.add);
        self.remove.extend(other.remove);
    }
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
