//! The simulated AWS of one measurement.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use envtest::ControlPlane;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::{
    calls::CallsFile,
    child::{Daemon, tail},
    wire::{Wire, parameters},
    world::{OWNER, ROGUE, Size, Weather},
};

/// How many images somebody changes behind everybody's back.
pub const DRIFTED: usize = 10;

/// In which time the slowest bucket of those that are used here (100 tokens, 5 per second) is full again.
const REFILL: Duration = Duration::from_secs(21);

/// An account as grants name it.
fn root(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// A simulator with the images of one size.
pub struct Simulator {
    /// Its address.
    pub endpoint: String,
    /// What it was asked.
    pub calls: CallsFile,
    /// What it is like.
    pub weather: Weather,
    size: Size,
    daemon: Daemon,
}

impl Simulator {
    /// Starts one, in which nothing is shared.
    pub async fn start(
        amishare: &Path,
        plane: &ControlPlane,
        dir: &Path,
        text: &str,
        size: Size,
        weather: Weather,
    ) -> Result<Self> {
        let (scenario, calls, log) = (dir.join("scenario.yaml"), dir.join("calls.jsonl"), dir.join("simulator.log"));
        std::fs::write(&scenario, text)?;
        let mut command = Command::new(amishare);
        command.args(["simulate", "--listen=127.0.0.1:0", "--scenario"]).arg(&scenario).arg("--calls").arg(&calls);
        let mut daemon = Daemon::start(plane, &mut command, &log)?;
        let deadline = Instant::now() + Duration::from_mins(1);
        let endpoint = loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.starts_with("simulated AWS at ")) {
                break line.split(' ').nth(3).context("no address")?.to_owned();
            }
            daemon.check().with_context(|| tail(&log))?;
            ensure!(Instant::now() < deadline, "the simulator does not start:\n{}", tail(&log));
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ok(Self { endpoint, calls: CallsFile::new(calls), weather, size, daemon })
    }

    /// Waits until the buckets are full, so that no measurement pays for what came before it.
    pub async fn refill(&self) {
        if self.weather == Weather::Real {
            tokio::time::sleep(REFILL).await;
        }
    }

    /// Changes some images as somebody would who does not know of the AmiShares: gives the rogue a launch permission, and takes
    /// the first account's away.
    pub async fn drift(&mut self) -> Result<()> {
        let wire = Wire::new(&self.endpoint, OWNER);
        let lost = self.size.all_accounts().next().context("no account")?;
        let spread = self.size.images / DRIFTED.min(self.size.images);
        for image in self.size.all_images().step_by(spread).take(DRIFTED) {
            let change = parameters([
                ("ImageId", &image),
                ("LaunchPermission.Add.1.UserId", ROGUE),
                ("LaunchPermission.Remove.1.UserId", &lost),
            ]);
            wire.call("ModifyImageAttribute", &change).await?;
        }
        // The key of all others loses it, too.
        let root = root(&lost);
        for key in self.size.all_keys() {
            for grant in wire.grants(&key).await?.iter().filter(|grant| grant["GranteePrincipal"] == root.as_str()) {
                wire.kms("RevokeGrant", &json!({"KeyId": key, "GrantId": grant["GrantId"]})).await?;
            }
        }
        self.calls.new_calls().map(drop)
    }

    /// An error unless every account sees every image and has a grant on every key, and the rogue none: asked as those accounts, whose calls are neither
    /// counted nor take from the owner's buckets.
    pub async fn verify(&mut self) -> Result<()> {
        let all: BTreeSet<String> = self.size.all_images().collect();
        let accounts: Vec<String> = self.size.all_accounts().collect();
        let seen = |account: String| {
            let wire = Wire::new(&self.endpoint, &account);
            async move { anyhow::Ok((account, wire.shared_with_me().await?.into_iter().collect::<BTreeSet<_>>())) }
        };
        let asked = stream::iter(accounts.into_iter().chain([ROGUE.to_owned()])).map(seen).buffer_unordered(8);
        let answers: Vec<(String, BTreeSet<String>)> = asked.try_collect().await?;
        for (account, images) in answers {
            let (right, found) = (if account == ROGUE { 0 } else { all.len() }, images.len());
            ensure!(found == right && images.is_subset(&all), "{account} may launch {found} images, not {right}");
        }
        let right: BTreeSet<String> = self.size.all_accounts().map(|account| root(&account)).collect();
        let wire = Wire::new(&self.endpoint, OWNER);
        for key in self.size.all_keys() {
            let grants = wire.grants(&key).await?;
            let found: BTreeSet<String> =
                grants.iter().filter_map(|grant| grant["GranteePrincipal"].as_str()).map(ToOwned::to_owned).collect();
            ensure!(
                found == right && grants.len() == right.len(),
                "{} grants on {key}, not {}",
                grants.len(),
                right.len()
            );
        }
        self.calls.new_calls().map(drop)
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.daemon.stop()
    }
}
