//! What an image is: data, and the rules about it that need nothing else of the world.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AccountTags, Membership};
use crate::simulator::clock::saturating_add;
use crate::simulator::permissions::{Grantee, Grantees};

/// The life of an image \[M, aws.md section 1.2\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageState {
    /// Being copied or created: visible to its owner, not to be modified.
    Pending,
    /// As it should be.
    #[default]
    Available,
    /// Not usable, for a reason inside AWS.
    Invalid,
    /// Gone: by id it is an empty set for a while, and a tombstone here.
    Deregistered,
    /// Between two states.
    Transient,
    /// Creating or copying it failed.
    Failed,
    /// Something went wrong later.
    Error,
    /// Switched off by its owner; nobody has permissions on it.
    Disabled,
}

impl ImageState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available => "available",
            Self::Invalid => "invalid",
            Self::Deregistered => "deregistered",
            Self::Transient => "transient",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Disabled => "disabled",
        }
    }
}

/// Whether the image can be deregistered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeregistrationProtection {
    /// It can.
    #[default]
    Disabled,
    /// It cannot.
    Enabled {
        /// Whether it stays protected for a day after the protection is switched off.
        cooldown: bool,
    },
    /// Switched off, and still protected until this instant.
    CoolingDown(Timestamp),
}

impl DeregistrationProtection {
    /// As on the wire \[C for `disabled`, X for the others, aws.md section 1.2\].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled { cooldown: false } => "enabled-without-cooldown",
            Self::Enabled { cooldown: true } | Self::CoolingDown(_) => "enabled-with-cooldown",
        }
    }

    /// Whether the image is protected at `now`.
    pub fn holds_at(self, now: Timestamp) -> bool {
        match self {
            Self::Disabled => false,
            Self::Enabled { .. } => true,
            Self::CoolingDown(until) => now < until,
        }
    }
}

/// What sells the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductCode {
    /// The code.
    pub code: String,
    /// `marketplace` or `devpay`.
    #[serde(rename = "type", default = "marketplace")]
    pub kind: String,
}

fn marketplace() -> String {
    "marketplace".to_owned()
}

/// One volume that an instance of the image starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    /// Such as `/dev/xvda`.
    pub device_name: String,
    /// What the device is.
    pub volume: Volume,
}

/// What is behind a device name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// An EBS volume.
    Ebs {
        /// The snapshot that the volume is made of; none for an empty volume.
        snapshot_id: Option<String>,
        /// In GiB.
        size: i64,
        /// Such as `gp3`.
        volume_type: String,
        /// Whether the volume goes with its instance.
        delete_on_termination: bool,
        /// Whether the snapshot is encrypted.
        encrypted: bool,
    },
    /// An instance store volume, such as `ephemeral0`.
    Ephemeral(String),
}

/// An image, or the tombstone of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `ami-…`.
    pub id: String,
    /// The account that owns it.
    pub owner: String,
    /// `amazon` and the like, for images of AWS's own accounts.
    pub owner_alias: Option<String>,
    /// Unique for the owner within the Region.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Where in its life it is.
    pub state: ImageState,
    /// Code and message that say why it is in that state.
    pub state_reason: Option<(String, String)>,
    /// When it was made.
    pub created: Timestamp,
    /// When it is to be deprecated, as far as the owner said; see [`Image::deprecated_at`].
    pub deprecate_at: Option<Timestamp>,
    /// Whether it can be deregistered.
    pub protection: DeregistrationProtection,
    /// Such as `x86_64`.
    pub architecture: String,
    /// `windows`, or nothing.
    pub platform: Option<String>,
    /// Such as `/dev/xvda`.
    pub root_device_name: Option<String>,
    /// `v2.0`, or nothing.
    pub imds_support: Option<String>,
    /// `uefi` and the like, or nothing.
    pub boot_mode: Option<String>,
    /// The volumes.
    pub block_devices: Vec<BlockDevice>,
    /// Empty unless the image is sold.
    pub product_codes: Vec<ProductCode>,
    /// Whether its operating system is paid for by the hour, which no other account may copy \[X, aws.md section 1.5\]. It shows
    /// nowhere.
    pub has_billing_product: bool,
    /// Who may launch it, besides its owner.
    pub launch_permissions: Grantees,
    /// What each account has written on it.
    pub tags: AccountTags,
    /// The image that this is a copy of, and its Region.
    pub source: Option<(String, String)>,
    /// When an instance was last launched from it.
    pub last_launched: Option<Timestamp>,
}

impl Image {
    /// The prefix of the tags that the owner writes and every account sees that the image is shared with \[D, aws.md
    /// section 1.9\].
    pub(crate) const SHARED_TAG: &'static str = "ec2:SharedTag/";

    /// Whether `account` can see the image: its owner, or somebody who may launch it. Nobody sees a tombstone.
    pub fn is_visible_to(&self, account: &str, membership: &Membership) -> bool {
        self.state != ImageState::Deregistered
            && (self.owner == account || self.may_be_launched_by(account, membership))
    }

    /// Whether a permission covers the account: its own, its organization's or units', or everyone's.
    pub fn may_be_launched_by(&self, account: &str, membership: &Membership) -> bool {
        self.launch_permissions.is_public() || self.is_shared_with(account, membership)
    }

    /// [`Image::may_be_launched_by`] without regard to everyone's permission: what `ExecutableBy=self` selects.
    pub fn is_shared_with(&self, account: &str, membership: &Membership) -> bool {
        self.launch_permissions.iter().any(|grantee| match grantee {
            Grantee::Account(id) => id == account,
            Grantee::Organization(arn) => membership.organization_arn.as_ref() == Some(arn),
            Grantee::OrganizationalUnit(arn) => membership.organizational_unit_arns.contains(arn),
            Grantee::Everyone => false,
        })
    }

    /// When the image is deprecated: for public ones after two years at the latest \[D, aws.md sections 1.6 and 2.1\].
    pub fn deprecated_at(&self) -> Option<Timestamp> {
        let latest = self.launch_permissions.is_public().then(|| self.latest_public_deprecation());
        match (self.deprecate_at, latest) {
            (Some(chosen), Some(latest)) => Some(chosen.min(latest)),
            (chosen, latest) => chosen.or(latest),
        }
    }

    /// Two years after the image was made.
    pub fn latest_public_deprecation(&self) -> Timestamp {
        saturating_add(self.created, SignedDuration::from_hours(2 * 365 * 24))
    }

    /// The snapshots that the image is made of.
    pub fn snapshot_ids(&self) -> impl Iterator<Item = &str> {
        self.block_devices.iter().filter_map(|device| match &device.volume {
            Volume::Ebs { snapshot_id, .. } => snapshot_id.as_deref(),
            Volume::Ephemeral(_) => None,
        })
    }

    /// What `account` sees of the tags: its own, and those that the owner shares.
    pub fn tags_seen_by(&self, account: &str) -> BTreeMap<String, String> {
        let mut seen = self.tags.of(account).cloned().unwrap_or_default();
        if account != self.owner {
            let shared =
                self.tags.of(&self.owner).into_iter().flatten().filter(|(key, _)| key.starts_with(Self::SHARED_TAG));
            seen.extend(shared.map(|(key, value)| (key.clone(), value.clone())));
        }
        seen
    }
}
