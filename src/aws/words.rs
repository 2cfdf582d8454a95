//! The words in which the rest of the operator speaks with EC2: an image, what permissions are set on, a change of them.
//!
//! Pure data, without a type of the SDK.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;

use crate::api::{AccountId, GrantsOn, ImageId, KeyArn, KmsKeyId, Principal, Region, SnapshotId, principal::in_words};

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

/// An image of the caller's own account that may be a copy of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its id.
    pub id: ImageId,
    /// Its name.
    pub name: Option<String>,
    /// Its state, as EC2 writes it: `pending`, `available`, `failed` and others.
    pub state: String,
    /// Why it is in that state, as EC2 says it.
    pub reason: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The image that it was copied from, and where that is.
    pub source: Option<(Region, ImageId)>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its EBS snapshots.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Whether all of them are encrypted, as far as the image tells.
    pub encrypted: bool,
    /// When it is, or was, deprecated.
    pub deprecated: Option<Timestamp>,
    /// Whether it is protected from being deregistered.
    pub protection: Protection,
    /// When an instance was last started from it, as far as EC2 has noticed: that takes it a day.
    pub launched: Option<Timestamp>,
    /// Whether everybody can launch it.
    pub public: bool,
}

/// Whether an image is protected from being deregistered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protection {
    /// It is not.
    #[default]
    Off,
    /// It is.
    Plain,
    /// It is, or it is for a day after that was disabled.
    WithCooldown,
    /// EC2 says something that the operator does not know.
    Other,
}

/// A report on which other accounts use an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its id.
    pub id: String,
    /// When it was ordered.
    pub created: Timestamp,
    /// Its state: `available`, `pending`, `error`.
    pub state: String,
    /// Whether it is about all accounts and everything that can use an image.
    pub is_whole: bool,
}

/// The copy of a snapshot, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotCopy {
    /// Its id.
    pub id: SnapshotId,
    /// Its state: `pending`, `completed`, `error`.
    pub state: String,
    /// What EC2 says of its state: why it failed.
    pub message: Option<String>,
    /// How much is done, in percent.
    pub progress: i64,
    /// The key that it is encrypted with, if any.
    pub key: Option<KeyArn>,
}

/// A copy of an image that is to be made, in the Region and account of whoever is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOrder {
    /// Where the image is.
    pub region: Region,
    /// The image.
    pub image: ImageId,
    /// The name of the copy.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The key with which it is encrypted; none for a copy that is not encrypted.
    pub key: Option<KmsKeyId>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The tags of its snapshots.
    pub snapshot_tags: BTreeMap<String, String>,
    /// Whether the tags of the image are copied too.
    pub copy_tags: bool,
    /// By which EC2 knows the order again: with the same token there is one copy, however often it is asked for.
    pub token: String,
}

impl fmt::Display for CopyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "copy {} of {} as {:?}", self.image, self.region, self.name)?;
        match &self.key {
            Some(key) => write!(f, ", encrypted with {key}"),
            None => Ok(()),
        }
    }
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
