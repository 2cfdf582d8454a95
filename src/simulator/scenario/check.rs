//! What is wrong with a scenario, found before it runs: a typing mistake must not become a puzzling simulation.

use std::collections::{BTreeMap, BTreeSet};

use super::{BucketScenario, ForeignLoad, ImageScenario, KeyScenario, Scenario, SnapshotScenario};
use crate::simulator::ids::{is_account_id, is_image_id, is_instance_id, is_snapshot_id};
use crate::simulator::permissions::{Grantee, is_organization_arn, is_organizational_unit_arn};
use crate::simulator::throttle::bucket_names;
use crate::simulator::wildcard;
use crate::simulator::world::parts_of_arn;

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The text is not YAML of the right shape.
    #[error("the scenario cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The shape is right and the content is not.
    #[error("{at}: {problem}")]
    Wrong {
        /// Which entry.
        at: String,
        /// What is wrong with it, and what to write.
        problem: String,
    },
}

fn wrong(at: impl Into<String>, problem: impl Into<String>) -> ScenarioError {
    ScenarioError::Wrong { at: at.into(), problem: problem.into() }
}

fn must(holds: bool, at: &str, problem: &str) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(wrong(at, problem)) }
}

fn check_region(enabled: &BTreeSet<String>, region: &str, at: &str) -> Result<(), ScenarioError> {
    if enabled.contains(region) {
        return Ok(());
    }
    Err(wrong(at, format!("the Region '{region}' is not enabled: list it under regions")))
}

/// Whether so many per second can be simulated; what is not a number cannot.
fn is_rate(per_second: f64) -> bool {
    (0.0..=1_000_000.0).contains(&per_second)
}

impl Scenario {
    /// Whether the scenario makes sense.
    ///
    /// # Errors
    /// The first thing that does not.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        let regions = self.enabled_regions();
        for account in self.closed_accounts.iter().chain(self.accounts.iter().map(|account| &account.id)) {
            must(is_account_id(account), account, "an account id has twelve digits")?;
        }
        for account in &self.accounts {
            let organization = account.organization_arn.iter().all(|arn| is_organization_arn(arn));
            let units = account.organizational_unit_arns.iter().all(|arn| is_organizational_unit_arn(arn));
            must(organization && units, &account.id, "an ARN of its organization or units is malformed")?;
        }
        for role in &self.roles {
            must(
                super::build::role_name(&role.arn).is_some(),
                &role.arn,
                "write arn:aws:iam::<account id>:role/<name>",
            )?;
        }
        for guard in &self.block_public_access {
            must(is_account_id(&guard.account), &guard.account, "an account id has twelve digits")?;
            check_region(&regions, &guard.region, "blockPublicAccess")?;
        }
        self.check_keys(&regions)?;
        self.check_snapshots(&regions)?;
        self.check_images(&regions)?;
        for instance in &self.instances {
            must(
                is_instance_id(&instance.id),
                &instance.id,
                "an instance id is i- and 8 or 17 hex digits, not all the same",
            )?;
            must(is_account_id(&instance.account), &instance.id, "the account is an id of twelve digits")?;
            must(
                is_image_id(&instance.image_id),
                &instance.id,
                "an image id is ami- and 8 or 17 hex digits, not all the same",
            )?;
            check_region(&regions, &instance.region, &instance.id)?;
        }
        for fault in &self.faults {
            let probable = fault.probability.is_none_or(|probability| (0.0..=1.0).contains(&probability));
            must(probable, "faults", "a probability is between 0 and 1")?;
        }
        self.check_buckets()?;
        self.check_foreign_load(&regions)
    }

    fn check_buckets(&self) -> Result<(), ScenarioError> {
        for BucketScenario { action, capacity, refill_per_second } in &self.throttling.buckets {
            let matches = bucket_names().any(|name| wildcard::matches(action, name));
            let at = |field: &str| format!("throttling.buckets: {action}: {field}");
            must(matches, &at("action"), "no action of EC2 or KMS that the simulator serves matches")?;
            must(*capacity >= 1, &at("capacity"), "a bucket holds at least 1 token")?;
            must(is_rate(*refill_per_second), &at("refillPerSecond"), "write a number between 0 and 1000000")?;
        }
        Ok(())
    }

    fn check_foreign_load(&self, regions: &BTreeSet<String>) -> Result<(), ScenarioError> {
        for ForeignLoad { account, region, action, calls_per_second } in &self.throttling.foreign_load {
            let at = |field: &str| format!("throttling.foreignLoad: {action}: {field}");
            must(is_account_id(account), &at("account"), "an account id has twelve digits")?;
            check_region(regions, region, &at("region"))?;
            let exists = bucket_names().any(|name| name == action);
            must(exists, &at("action"), "this is no action of EC2 or KMS that the simulator serves")?;
            must(is_rate(*calls_per_second), &at("callsPerSecond"), "write a number between 0 and 1000000")?;
        }
        Ok(())
    }

    fn check_keys(&self, regions: &BTreeSet<String>) -> Result<(), ScenarioError> {
        let mut seen = BTreeSet::new();
        for KeyScenario { arn, policy, aliases, .. } in &self.keys {
            let Some((region, account, _)) = parts_of_arn(arn) else {
                return Err(wrong(arn, "write arn:aws:kms:<Region>:<account id>:key/<id>"));
            };
            must(is_account_id(account), arn, "an account id has twelve digits")?;
            must(seen.insert(arn), arn, "the ARN is used twice")?;
            check_region(regions, region, arn)?;
            must(aliases.iter().all(|alias| alias.starts_with("alias/")), arn, "an alias begins with alias/")?;
            let is_json = |policy: &String| serde_json::from_str::<serde_json::Value>(policy).is_ok();
            must(policy.iter().all(is_json), arn, "the policy is not JSON")?;
        }
        Ok(())
    }

    fn check_snapshots(&self, regions: &BTreeSet<String>) -> Result<(), ScenarioError> {
        let mut seen = BTreeSet::new();
        for SnapshotScenario { id, region, owner, create_volume_permissions, .. } in &self.snapshots {
            must(is_snapshot_id(id), id, "a snapshot id is snap- and 8 or 17 hex digits, not all the same")?;
            must(seen.insert(id), id, "the id is used twice")?;
            must(is_account_id(owner), id, "the owner is an account id of twelve digits")?;
            check_region(regions, region, id)?;
            let accounts_only = |grantee: &Grantee| matches!(grantee, Grantee::Account(_) | Grantee::Everyone);
            must(create_volume_permissions.iter().all(accounts_only), id, "snapshots are shared with accounts or all")?;
        }
        Ok(())
    }

    fn check_images(&self, regions: &BTreeSet<String>) -> Result<(), ScenarioError> {
        let region_of_snapshot: BTreeMap<&str, &str> =
            self.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.region.as_str())).collect();
        let mut seen = BTreeSet::new();
        for image in &self.images {
            let ImageScenario { id, region, owner, snapshots, source_image_id, source_image_region, .. } = image;
            must(is_image_id(id), id, "an image id is ami- and 8 or 17 hex digits, not all the same")?;
            must(seen.insert(id), id, "the id is used twice")?;
            must(is_account_id(owner), id, "the owner is an account id of twelve digits")?;
            check_region(regions, region, id)?;
            must(snapshots.iter().all(|id| is_snapshot_id(id)), id, "a snapshot id is malformed")?;
            must(snapshots.len() <= 26, id, "an image has at most 26 snapshots")?;
            let both_or_none = source_image_id.is_some() == source_image_region.is_some();
            must(both_or_none, id, "sourceImageId and sourceImageRegion go together")?;
            let is_elsewhere = |id: &&String| region_of_snapshot.get(id.as_str()).is_some_and(|other| other != region);
            if let Some(snapshot) = snapshots.iter().find(is_elsewhere) {
                return Err(wrong(id, format!("its snapshot {snapshot} is in another Region")));
            }
        }
        Ok(())
    }
}
