//! The scenario file: the world as it is when the simulator starts. Described for users in `docs/simulator.md`.
//!
//! Everything is optional. The empty scenario has every account id that exists, the Regions that AWS enables for every
//! account, AWS's quotas, real time, and no image.

mod build;
mod check;
mod copies;
mod resources;
mod throttling;

pub use check::ScenarioError;
pub use copies::{CopiesScenario, CopyTrouble};
pub use resources::{EncryptionScenario, ImageScenario, InstanceScenario, KeyScenario, SnapshotScenario};
pub use throttling::{BucketScenario, ForeignLoad, Throttling};

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::clock::ClockScenario;
use super::faults::Fault;
use super::world::{ImagePublicAccess, SnapshotPublicAccess};

/// The world at its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scenario {
    /// What generated ids and the draws of faults follow from; random when absent, and printed either way.
    pub seed: Option<u64>,
    /// The time; real when empty.
    pub clock: ClockScenario,
    /// Accounts of which more is to be known than that they exist.
    pub accounts: Vec<AccountScenario>,
    /// Account ids that belong to nobody. Every other id of twelve digits is an account.
    pub closed_accounts: BTreeSet<String>,
    /// The Regions that the accounts can use; AWS's default ones when absent.
    pub regions: Option<BTreeSet<String>>,
    /// Regions that exist, and that no account has opted in to: calls to them answer `OptInRequired`.
    pub disabled_regions: BTreeSet<String>,
    /// The roles that can be assumed. Assuming any other is denied.
    pub roles: Vec<RoleScenario>,
    /// How much is allowed; AWS's defaults when absent.
    pub quotas: Quotas,
    /// Where block public access differs from AWS's defaults, which are on for images and off for snapshots.
    pub block_public_access: Vec<PublicAccessScenario>,
    /// The KMS keys. Those that only a snapshot names need no entry.
    pub keys: Vec<KeyScenario>,
    /// How long a grant takes until it shows and has an effect; none when absent.
    pub grant_delay_milliseconds: u64,
    /// How long copies take, and what goes wrong with them.
    pub copies: CopiesScenario,
    /// The snapshots. Those that only an image names need no entry.
    pub snapshots: Vec<SnapshotScenario>,
    /// The images.
    pub images: Vec<ImageScenario>,
    /// The instances, which use images.
    pub instances: Vec<InstanceScenario>,
    /// How many days what is deleted stays in the Recycle Bin; it goes at once when absent.
    pub recycle_bin_days: Option<u32>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// How fast calls may come; as fast as they like when absent.
    pub throttling: Throttling,
    /// How much later than at once every answer is given.
    pub latency_milliseconds: u64,
    /// Up to how much later still, drawn anew for each answer; the draws follow from the seed.
    pub latency_jitter_milliseconds: u64,
}

impl Scenario {
    /// Reads a scenario and checks that it makes sense.
    ///
    /// # Errors
    /// When the text is not YAML of this shape, or names something that cannot be.
    pub fn from_yaml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = crate::yaml::from_str(text).map_err(|error| ScenarioError::Unreadable(Box::new(error)))?;
        scenario.check()?;
        Ok(scenario)
    }
}

/// Where in an organization an account is. It decides what is shared with the account through organizations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountScenario {
    /// Twelve digits, in quotes.
    pub id: String,
    /// The organization that it is in.
    #[serde(default)]
    pub organization_arn: Option<String>,
    /// Every organizational unit above it, not only the nearest.
    #[serde(default)]
    pub organizational_unit_arns: BTreeSet<String>,
}

/// A role that can be assumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleScenario {
    /// `arn:aws:iam::<account>:role/<name>`.
    pub arn: String,
    /// The accounts that may assume it; none means any.
    #[serde(default)]
    pub trusts: BTreeSet<String>,
    /// What the caller has to say to assume it.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The longest session.
    #[serde(default = "an_hour")]
    pub max_session_seconds: i64,
}

fn an_hour() -> i64 {
    3600
}

/// Block public access of one account in one Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicAccessScenario {
    /// Twelve digits, in quotes.
    pub account: String,
    /// The Region.
    pub region: String,
    /// `block-new-sharing` or `unblocked`.
    #[serde(default)]
    pub images: ImagePublicAccess,
    /// `block-all-sharing`, `block-new-sharing` or `unblocked`.
    #[serde(default)]
    pub snapshots: SnapshotPublicAccess,
}

/// How much is allowed (aws.md section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quotas {
    /// Accounts, organizations and units that one image can be shared with.
    pub sharing_entities_per_image: usize,
    /// Public images that an account can have in a Region.
    pub public_images: usize,
    /// Entries in one `ModifySnapshotAttribute`.
    pub modifications_per_snapshot_call: usize,
    /// Tags that an account can put on a resource.
    pub tags_per_resource: usize,
    /// Grants of one KMS key.
    pub grants_per_key: usize,
    /// Images that an account can be copying to a Region at a time.
    pub image_copies: usize,
    /// Snapshots that an account can be copying to a Region at a time, other than those of images: whether those count is not
    /// documented.
    pub snapshot_copies: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            sharing_entities_per_image: 1000,
            public_images: 5,
            modifications_per_snapshot_call: 500,
            tags_per_resource: 50,
            grants_per_key: 50_000,
            image_copies: 300,
            snapshot_copies: 20,
        }
    }
}
