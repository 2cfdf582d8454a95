//! The state that the simulated AWS is in. Holds it and finds things in it; the actions in `ec2` and `sts` change it.
//!
//! Tests may change it directly, to be the actor that the controller does not see: a console user, or AWS itself.

mod account;
mod bin;
mod copying;
mod image;
mod instance;
mod key;
mod snapshot;

pub use account::{AccountTags, ImagePublicAccess, Membership, PublicAccess, Role, SnapshotPublicAccess};
pub(super) use account::{Caller, Session};
pub(super) use bin::{Binned, RecycleBin};
pub(super) use copying::{ImageCopy, SnapshotCopy, after, exchange};
pub use image::{BlockDevice, DeregistrationProtection, Image, ImageState, ProductCode, Volume};
pub use instance::{Instance, InstanceState};
pub use key::{Key, KeyGrant, KeyManager, KeyState, parts_of_arn};
pub use snapshot::{Encryption, Snapshot, SnapshotState};

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::clock::{Clock, saturating_add};
use super::ec2::UsageReport;
use super::errors::{self, ApiError};
use super::ids::{IdSource, is_account_id};
use super::params::Params;
use super::request::Credential;
use super::scenario::{CopiesScenario, Quotas};

/// What is in one Region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionState {
    /// By id, tombstones included.
    pub images: BTreeMap<String, Image>,
    /// By id.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// By ARN.
    pub keys: BTreeMap<String, Key>,
    /// The instances of all accounts, by id.
    pub instances: BTreeMap<String, Instance>,
    /// What was deleted and can come back.
    pub(super) bin: RecycleBin,
    /// Who uses images, as reports have it, by the id of the report.
    pub(super) usage_reports: BTreeMap<String, UsageReport>,
    /// The snapshots that are being copied, by id.
    pub(super) snapshot_copies: BTreeMap<String, SnapshotCopy>,
    /// The images that are being copied, by id.
    pub(super) image_copies: BTreeMap<String, ImageCopy>,
    /// By account; an account that is not listed has the defaults.
    pub public_access: BTreeMap<String, PublicAccess>,
}

impl RegionState {
    /// What `account` has decided about public sharing here.
    pub fn public_access_of(&self, account: &str) -> PublicAccess {
        self.public_access.get(account).copied().unwrap_or_default()
    }

    /// Whether `account` can see the snapshot.
    pub fn can_see_snapshot(&self, snapshot: &Snapshot, account: &str) -> bool {
        snapshot.is_visible_to(account, self.public_access_of(&snapshot.owner).snapshots)
    }

    /// How many images `account` has public here: what the quota counts.
    pub fn public_images_of(&self, account: &str) -> usize {
        self.images.values().filter(|image| image.owner == account && image.launch_permissions.is_public()).count()
    }

    /// Takes a snapshot away, into the Recycle Bin if there is a rule.
    pub(super) fn delete_snapshot(&mut self, id: &str, now: Timestamp, keeps: Option<SignedDuration>) {
        let snapshot = self.snapshots.remove(id);
        if let (Some(content), Some(keeps)) = (snapshot, keeps) {
            let binned = Binned { content, entered: now, exits: saturating_add(now, keeps) };
            self.bin.snapshots.insert(id.to_owned(), binned);
        }
    }

    /// The images, not counting tombstones, that are made of the snapshot.
    pub fn images_of_snapshot(&self, snapshot: &str) -> Vec<&str> {
        let uses =
            |image: &&Image| image.state != ImageState::Deregistered && image.snapshot_ids().any(|id| id == snapshot);
        self.images.values().filter(uses).map(|image| image.id.as_str()).collect()
    }
}

/// Everything that the simulated AWS knows.
#[derive(Clone, Debug)]
pub struct World {
    /// The Regions that the accounts can use.
    pub regions: BTreeMap<String, RegionState>,
    /// The Regions that exist, and that no account has opted in to.
    pub disabled_regions: BTreeSet<String>,
    /// The accounts of which more is known than that they exist.
    pub accounts: BTreeMap<String, Membership>,
    /// The account ids that belong to nobody. All others do exist.
    pub closed_accounts: BTreeSet<String>,
    /// The roles that can be assumed, by ARN.
    pub roles: BTreeMap<String, Role>,
    /// How long a grant takes until it shows and has an effect.
    pub grant_delay: SignedDuration,
    /// How long what is deleted stays in the Recycle Bin; nothing, if there is no rule that keeps it.
    pub recycle_bin: Option<SignedDuration>,
    /// How long copies take, and what goes wrong with them.
    pub copies: CopiesScenario,
    /// How much is allowed.
    pub quotas: Quotas,
    /// The time.
    pub clock: Clock,
    pub(super) ids: IdSource,
    pub(super) sessions: BTreeMap<String, Session>,
    /// What each client token of `CopyImage` was sent with, and the image that was made.
    pub(super) copy_tokens: BTreeMap<(String, String, String), (Params, String)>,
    /// The same of reports on who uses images.
    pub(super) report_tokens: BTreeMap<(String, String, String), (Params, String)>,
}

impl World {
    /// The time that it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the text is the id of an account that exists.
    pub fn is_account(&self, text: &str) -> bool {
        is_account_id(text) && !self.closed_accounts.contains(text)
    }

    /// Where in an organization the account is.
    pub fn membership(&self, account: &str) -> Membership {
        self.accounts.get(account).cloned().unwrap_or_default()
    }

    /// The image, or its tombstone.
    pub fn image(&self, region: &str, id: &str) -> Option<&Image> {
        self.regions.get(region)?.images.get(id)
    }

    /// The image, to be changed behind everyone's back.
    pub fn image_mut(&mut self, region: &str, id: &str) -> Option<&mut Image> {
        self.regions.get_mut(region)?.images.get_mut(id)
    }

    /// The snapshot.
    pub fn snapshot(&self, region: &str, id: &str) -> Option<&Snapshot> {
        self.regions.get(region)?.snapshots.get(id)
    }

    /// The snapshot, to be changed behind everyone's back.
    pub fn snapshot_mut(&mut self, region: &str, id: &str) -> Option<&mut Snapshot> {
        self.regions.get_mut(region)?.snapshots.get_mut(id)
    }

    /// The key.
    pub fn key(&self, arn: &str) -> Option<&Key> {
        self.regions.get(parts_of_arn(arn)?.0)?.keys.get(arn)
    }

    /// The key, to be changed behind everyone's back.
    pub fn key_mut(&mut self, arn: &str) -> Option<&mut Key> {
        self.regions.get_mut(parts_of_arn(arn)?.0)?.keys.get_mut(arn)
    }

    /// Whether the ARN is a principal's that exists: an account's root, its user of the simulator, a role, or a role's session.
    pub fn is_principal(&self, arn: &str) -> bool {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service @ ("iam" | "sts"), "", account, resource] = parts[..] else { return false };
        let role_of_session = |role: &&str| {
            let name = resource.strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next());
            name.is_some() && role.rsplit('/').next() == name && role.split(':').nth(4) == Some(account)
        };
        partition.starts_with("aws")
            && self.is_account(account)
            && match service {
                "iam" => matches!(resource, "root" | "user/simulator") || self.roles.contains_key(arn),
                _ => self.roles.keys().any(|role| role_of_session(&role.as_str())),
            }
    }

    /// Forgets sessions an hour after their end. Not at once: their credentials are to be refused as expired, not as unknown.
    pub(super) fn forget_expired_sessions(&mut self) {
        let now = self.now();
        self.sessions.retain(|_, session| now < saturating_add(session.expires, SignedDuration::from_hours(1)));
    }

    /// Who the credentials belong to. Signatures are not checked: the simulator guards nothing.
    pub(super) fn authenticate(&self, credential: &Credential) -> Result<Caller, ApiError> {
        if let Some(session) = self.sessions.get(&credential.access_key_id) {
            if credential.security_token.as_ref() != Some(&session.token) {
                return Err(errors::invalid_client_token_id());
            }
            if self.now() >= session.expires {
                return Err(errors::request_expired());
            }
            return Ok(session.caller.clone());
        }
        if self.is_account(&credential.access_key_id) {
            return Ok(Caller::of_account(&credential.access_key_id));
        }
        Err(errors::invalid_client_token_id())
    }
}
