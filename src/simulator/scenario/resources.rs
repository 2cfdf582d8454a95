//! How images, snapshots and keys are written in the scenario file.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::simulator::permissions::Grantee;
use crate::simulator::world::{ImageState, InstanceState, KeyManager, KeyState, ProductCode, SnapshotState};

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageScenario {
    /// `ami-` and 8 or 17 hex digits.
    pub id: String,
    /// The Region.
    pub region: String,
    /// The account that owns it.
    pub owner: String,
    /// `amazon`, `aws-marketplace` or `aws-backup-vault`, for images of AWS's own accounts.
    #[serde(default)]
    pub owner_alias: Option<String>,
    /// The image's id when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// `available` when absent.
    #[serde(default)]
    pub state: ImageState,
    /// When it was made; the start of the simulation when absent.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// When it is deprecated.
    #[serde(default)]
    pub deprecate_at: Option<Timestamp>,
    /// Whether it is protected from deregistration.
    #[serde(default)]
    pub deregistration_protection: bool,
    /// `x86_64` when absent.
    #[serde(default)]
    pub architecture: Option<String>,
    /// `windows`, or absent.
    #[serde(default)]
    pub platform: Option<String>,
    /// The snapshots that it is made of, one volume each, in the order of the devices `/dev/xvda`, `/dev/xvdb`, …. Those
    /// that the scenario does not describe are made up: the owner's, 8 GiB, not encrypted.
    #[serde(default)]
    pub snapshots: Vec<String>,
    /// What sells it.
    #[serde(default)]
    pub product_codes: Vec<ProductCode>,
    /// When an instance was last launched from it.
    #[serde(default)]
    pub last_launched: Option<Timestamp>,
    /// Whether its operating system is paid for by the hour: no other account may copy it.
    #[serde(default)]
    pub billing_product: bool,
    /// Account ids, `all`, and ARNs of organizations and organizational units.
    #[serde(default)]
    pub launch_permissions: Vec<Grantee>,
    /// The owner's tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The image that this is a copy of; needs `sourceImageRegion` too.
    #[serde(default)]
    pub source_image_id: Option<String>,
    /// The Region of that image.
    #[serde(default)]
    pub source_image_region: Option<String>,
}

/// An instance, which uses an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceScenario {
    /// `i-` and 8 or 17 hex digits.
    pub id: String,
    /// The Region.
    pub region: String,
    /// The account that runs it.
    pub account: String,
    /// The image that it was started from, which may be gone.
    pub image_id: String,
    /// `running` when absent.
    #[serde(default)]
    pub state: InstanceState,
}

/// How a snapshot is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EncryptionScenario {
    /// Not at all.
    #[default]
    None,
    /// With a customer-managed key.
    CustomerKey,
    /// With the account's `aws/ebs` key, which makes it impossible to share.
    DefaultKey,
}

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotScenario {
    /// `snap-` and 8 or 17 hex digits.
    pub id: String,
    /// The Region.
    pub region: String,
    /// The account that owns it.
    pub owner: String,
    /// In GiB; 8 when absent.
    #[serde(default)]
    pub volume_size: Option<i64>,
    /// `completed` when absent.
    #[serde(default)]
    pub state: SnapshotState,
    /// When it was begun; the start of the simulation when absent.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// Free text.
    #[serde(default)]
    pub description: Option<String>,
    /// `none`, `customerKey` or `defaultKey`.
    #[serde(default)]
    pub encryption: EncryptionScenario,
    /// The ARN of the key; made up when absent.
    #[serde(default)]
    pub kms_key_id: Option<String>,
    /// What sells it.
    #[serde(default)]
    pub product_codes: Vec<ProductCode>,
    /// Account ids, and `all`.
    #[serde(default)]
    pub create_volume_permissions: BTreeSet<Grantee>,
    /// The owner's tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A symmetric KMS key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyScenario {
    /// `arn:aws:kms:<Region>:<account>:key/<id>`; an id that begins with `mrk-` makes it a multi-Region key.
    pub arn: String,
    /// `customer` when absent; `aws` is an `aws/ebs` key.
    #[serde(default)]
    pub manager: KeyManager,
    /// `enabled` when absent.
    #[serde(default)]
    pub state: KeyState,
    /// Who may do what with it, as JSON; when absent, what the IAM of its account lets them.
    #[serde(default)]
    pub policy: Option<String>,
    /// Its names, such as `alias/images`.
    #[serde(default)]
    pub aliases: BTreeSet<String>,
}
