//! Makes the world that a scenario describes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    EncryptionScenario, ImageScenario, InstanceScenario, KeyScenario, RoleScenario, Scenario, SnapshotScenario,
};
use crate::simulator::clock::Clock;
use crate::simulator::ids::{IdSource, is_account_id};
use crate::simulator::world::{
    AccountTags, BlockDevice, DeregistrationProtection, Encryption, Image, Instance, Key, KeyManager, Membership,
    PublicAccess, RegionState, Role, Snapshot, Volume, World, parts_of_arn,
};

/// The Regions that are enabled for every account without opting in.
const DEFAULT_REGIONS: &[&str] = &[
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

impl Scenario {
    /// The Regions that can be used.
    pub(super) fn enabled_regions(&self) -> BTreeSet<String> {
        let defaults = || DEFAULT_REGIONS.iter().map(|region| (*region).to_owned()).collect();
        self.regions.clone().unwrap_or_else(defaults)
    }

    /// The world at its beginning. `seed` decides the ids that it will generate.
    pub(in crate::simulator) fn build(&self, seed: u64) -> World {
        let clock = Clock::from(&self.clock);
        let now = clock.now();
        let mut regions: BTreeMap<String, RegionState> =
            self.enabled_regions().into_iter().map(|region| (region, RegionState::default())).collect();
        for guard in &self.block_public_access {
            let here = regions.entry(guard.region.clone()).or_default();
            let access = PublicAccess { images: guard.images, snapshots: guard.snapshots };
            here.public_access.insert(guard.account.clone(), access);
        }
        for scenario in &self.snapshots {
            let here = regions.entry(scenario.region.clone()).or_default();
            here.snapshots.insert(scenario.id.clone(), snapshot(scenario, now));
        }
        for scenario in &self.images {
            let here = regions.entry(scenario.region.clone()).or_default();
            let image = image(scenario, here, now);
            here.images.insert(scenario.id.clone(), image);
        }
        for InstanceScenario { id, region, account, image_id, state } in &self.instances {
            let instance =
                Instance { id: id.clone(), account: account.clone(), image: image_id.clone(), state: *state };
            regions.entry(region.clone()).or_default().instances.insert(id.clone(), instance);
        }
        for key in self.keys.iter().filter_map(|scenario| key(scenario, now)) {
            if let Some((region, ..)) = parts_of_arn(&key.arn) {
                regions.entry(region.to_owned()).or_default().keys.insert(key.arn.clone(), key);
            }
        }
        for here in regions.values_mut() {
            make_up_keys(here, now);
        }
        World {
            regions,
            disabled_regions: self.disabled_regions.clone(),
            accounts: self.accounts.iter().map(|account| (account.id.clone(), membership(account))).collect(),
            closed_accounts: self.closed_accounts.clone(),
            roles: self.roles.iter().filter_map(|scenario| Some((scenario.arn.clone(), role(scenario)?))).collect(),
            grant_delay: SignedDuration::from_millis(self.grant_delay_milliseconds.try_into().unwrap_or(i64::MAX)),
            recycle_bin: self.recycle_bin_days.map(|days| SignedDuration::from_hours(24 * i64::from(days))),
            copies: self.copies.clone(),
            quotas: self.quotas.clone(),
            clock,
            ids: IdSource::new(seed),
            sessions: BTreeMap::new(),
            copy_tokens: BTreeMap::new(),
            report_tokens: BTreeMap::new(),
        }
    }
}

fn membership(account: &super::AccountScenario) -> Membership {
    Membership {
        organization_arn: account.organization_arn.clone(),
        organizational_unit_arns: account.organizational_unit_arns.clone(),
    }
}

/// Account and name of the role that the ARN names. A path before the name is not part of the session's ARN.
pub(super) fn role_name(arn: &str) -> Option<(&str, &str)> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(":iam::")?;
    let (account, resource) = rest.split_once(":role/")?;
    let name = resource.rsplit('/').next().filter(|name| !name.is_empty())?;
    (partition.starts_with("aws") && is_account_id(account)).then_some((account, name))
}

fn role(scenario: &RoleScenario) -> Option<Role> {
    let (account, name) = role_name(&scenario.arn)?;
    Some(Role {
        account: account.to_owned(),
        name: name.to_owned(),
        trusts: scenario.trusts.clone(),
        external_id: scenario.external_id.clone(),
        max_session_seconds: scenario.max_session_seconds,
    })
}

fn key(scenario: &KeyScenario, now: Timestamp) -> Option<Key> {
    let KeyScenario { arn, manager, state, policy, aliases } = scenario;
    let mut key = Key::new(arn, *manager, now)?;
    key.state = *state;
    key.aliases.clone_from(aliases);
    if let Some(policy) = policy {
        key.policy.clone_from(policy);
    }
    Some(key)
}

/// The keys of snapshots that the scenario does not describe.
fn make_up_keys(here: &mut RegionState, now: Timestamp) {
    for snapshot in here.snapshots.values() {
        let (arn, manager) = match &snapshot.encryption {
            Encryption::None => continue,
            Encryption::CustomerKey(arn) => (arn, KeyManager::Customer),
            Encryption::DefaultKey(arn) => (arn, KeyManager::Aws),
        };
        if let Some(key) = Key::new(arn, manager, now) {
            here.keys.entry(arn.clone()).or_insert(key);
        }
    }
}

fn tags_of(owner: &str, tags: &BTreeMap<String, String>) -> AccountTags {
    let mut written = AccountTags::default();
    if !tags.is_empty() {
        written.of_mut(owner).clone_from(tags);
    }
    written
}

fn snapshot(scenario: &SnapshotScenario, now: Timestamp) -> Snapshot {
    let SnapshotScenario { id, region, owner, .. } = scenario;
    let key = |name: &str| {
        let made_up = || format!("arn:aws:kms:{region}:{owner}:key/{name}");
        scenario.kms_key_id.clone().unwrap_or_else(made_up)
    };
    Snapshot {
        id: id.clone(),
        owner: owner.clone(),
        volume_id: "vol-ffffffff".to_owned(),
        volume_size: scenario.volume_size.unwrap_or(8),
        state: scenario.state,
        progress: 0,
        state_message: None,
        started: scenario.started.unwrap_or(now),
        description: scenario.description.clone(),
        encryption: match scenario.encryption {
            EncryptionScenario::None => Encryption::None,
            EncryptionScenario::CustomerKey => Encryption::CustomerKey(key("22222222-3333-4444-8555-666666666666")),
            EncryptionScenario::DefaultKey => Encryption::DefaultKey(key("11111111-2222-4333-8444-555555555555")),
        },
        product_codes: scenario.product_codes.clone(),
        create_volume_permissions: scenario.create_volume_permissions.iter().cloned().collect(),
        tags: tags_of(owner, &scenario.tags),
    }
}

fn image(scenario: &ImageScenario, here: &mut RegionState, now: Timestamp) -> Image {
    let ImageScenario { id, region, owner, .. } = scenario;
    let block_devices: Vec<BlockDevice> = (b'a'..=b'z')
        .zip(&scenario.snapshots)
        .map(|(letter, snapshot_id)| {
            let made_up = || {
                let bare = SnapshotScenario {
                    id: snapshot_id.clone(),
                    region: region.clone(),
                    owner: owner.clone(),
                    ..SnapshotScenario::default()
                };
                snapshot(&bare, now)
            };
            let snapshot = here.snapshots.entry(snapshot_id.clone()).or_insert_with(made_up);
            BlockDevice {
                device_name: format!("/dev/xvd{}", char::from(letter)),
                volume: Volume::Ebs {
                    snapshot_id: Some(snapshot_id.clone()),
                    size: snapshot.volume_size,
                    volume_type: "gp3".to_owned(),
                    delete_on_termination: true,
                    encrypted: snapshot.encryption != Encryption::None,
                },
            }
        })
        .collect();
    let protected = DeregistrationProtection::Enabled { cooldown: false };
    Image {
        id: id.clone(),
        owner: owner.clone(),
        owner_alias: scenario.owner_alias.clone(),
        name: scenario.name.clone().unwrap_or_else(|| id.clone()),
        description: scenario.description.clone(),
        state: scenario.state,
        state_reason: None,
        created: scenario.created.unwrap_or(now),
        deprecate_at: scenario.deprecate_at,
        protection: if scenario.deregistration_protection { protected } else { DeregistrationProtection::Disabled },
        architecture: scenario.architecture.clone().unwrap_or_else(|| "x86_64".to_owned()),
        platform: scenario.platform.clone(),
        root_device_name: block_devices.first().map(|device| device.device_name.clone()),
        imds_support: None,
        boot_mode: None,
        block_devices,
        product_codes: scenario.product_codes.clone(),
        has_billing_product: scenario.billing_product,
        launch_permissions: scenario.launch_permissions.iter().cloned().collect(),
        tags: tags_of(owner, &scenario.tags),
        source: scenario.source_image_id.clone().zip(scenario.source_image_region.clone()),
        last_launched: scenario.last_launched,
    }
}
