//! What a snapshot is: data, and the rules about it that need nothing else of the world.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountTags, ProductCode, SnapshotPublicAccess};
use crate::simulator::permissions::Grantees;

/// The life of a snapshot \[M, aws.md section 1.4\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Being made.
    Pending,
    /// As it should be.
    #[default]
    Completed,
    /// Making it failed.
    Error,
    /// Can be brought back from the archive.
    Recoverable,
    /// Is coming back from the archive.
    Recovering,
}

impl SnapshotState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Recoverable => "recoverable",
            Self::Recovering => "recovering",
        }
    }
}

/// How a snapshot is encrypted, which decides with whom it can be shared (aws.md section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// With a customer-managed key, by ARN: can be shared with accounts.
    CustomerKey(String),
    /// With the account's `aws/ebs` key, by ARN: cannot be shared.
    DefaultKey(String),
}

impl Encryption {
    /// The ARN of the key.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::CustomerKey(arn) | Self::DefaultKey(arn) => Some(arn),
        }
    }
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-…`.
    pub id: String,
    /// The account that owns it.
    pub owner: String,
    /// The volume that it was made of; `vol-ffffffff` for a copy.
    pub volume_id: String,
    /// In GiB.
    pub volume_size: i64,
    /// Where in its life it is.
    pub state: SnapshotState,
    /// How much of it is there, in percent.
    pub progress: u8,
    /// Why it is in that state.
    pub state_message: Option<String>,
    /// When it was begun.
    pub started: Timestamp,
    /// Free text.
    pub description: Option<String>,
    /// Whether and how it is encrypted.
    pub encryption: Encryption,
    /// Empty unless the snapshot is sold.
    pub product_codes: Vec<ProductCode>,
    /// Who may create volumes of it, besides its owner.
    pub create_volume_permissions: Grantees,
    /// What each account has written on it.
    pub tags: AccountTags,
}

impl Snapshot {
    /// Whether `account` can see the snapshot and create volumes of it. `guard` is the owner's block public access, which
    /// in its strictest state makes public snapshots private without touching their permissions.
    pub fn is_visible_to(&self, account: &str, guard: SnapshotPublicAccess) -> bool {
        self.owner == account || self.create_volume_permissions.names_account(account) || self.is_public(guard)
    }

    /// Whether everyone can create volumes of it.
    pub fn is_public(&self, guard: SnapshotPublicAccess) -> bool {
        guard != SnapshotPublicAccess::BlockAllSharing && self.create_volume_permissions.is_public()
    }
}
