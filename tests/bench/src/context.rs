//! What every measurement needs: the programs, and a place for files.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    cluster::Cluster,
    simulator::Simulator,
    world::{Size, Weather},
};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_mins(30);

/// The surroundings of the benchmark.
pub struct Context {
    /// The release binary of amishare, with the simulator.
    pub amishare: PathBuf,
    /// The checkout.
    pub root: PathBuf,
    dir: TempDir,
}

/// An API server and an AWS of one measurement, and where their files are.
pub struct Stage {
    /// The API server.
    pub cluster: Cluster,
    /// The AWS.
    pub simulator: Simulator,
    /// Where files are.
    pub dir: PathBuf,
}

impl Context {
    /// Finds everything.
    pub fn new(amishare: PathBuf, root: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("amishare-bench-").tempdir().context("no temporary directory")?;
        Ok(Self { amishare, root, dir })
    }

    /// A new directory.
    pub fn fresh_dir(&self) -> Result<PathBuf> {
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(self.dir.path())?.keep())
    }

    /// A new API server and a new AWS, in which nothing is shared.
    pub async fn stage(&self, size: Size, weather: Weather) -> Result<Stage> {
        self.stage_of(&size.scenario(weather), size, weather).await
    }

    /// The same with another scenario.
    pub async fn stage_of(&self, scenario: &str, size: Size, weather: Weather) -> Result<Stage> {
        let cluster = Cluster::start(&self.root.join("crds")).await?;
        let dir = self.fresh_dir()?;
        let simulator = Simulator::start(&self.amishare, &cluster.plane, &dir, scenario, size, weather).await?;
        Ok(Stage { cluster, simulator, dir })
    }
}
