//! The operator under measurement.

use std::{path::Path, process::Command};

use anyhow::Result;
use envtest::ControlPlane;

use crate::{
    child::Daemon,
    simulator::Simulator,
    world::{OWNER, REGION, Weather},
};

/// How many times the documented request rates the operator is told it has where the simulator has no buckets.
const UNBOUNDED: &str = "1000";

/// Starts the operator, with its own defaults for everything that is not about the surroundings. What is measured is sharing, and the
/// cluster has that definition alone.
pub fn start(amishare: &Path, plane: &ControlPlane, simulator: &Simulator, dir: &Path) -> Result<Daemon> {
    start_with(amishare, plane, simulator, dir, false)
}

/// The same, for distributions too or not.
pub fn start_with(
    amishare: &Path,
    plane: &ControlPlane,
    simulator: &Simulator,
    dir: &Path,
    distributions: bool,
) -> Result<Daemon> {
    let mut command = Command::new(amishare);
    command.args(["run", "--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"]);
    command.arg(format!("--distributions={distributions}"));
    aws_environment(&mut command, &simulator.endpoint).env("KUBECONFIG", plane.kubeconfig());
    if simulator.weather == Weather::Ideal {
        command.env("AMISHARE_REQUEST_RATE_FACTOR", UNBOUNDED);
    }
    Daemon::start(plane, &mut command, &dir.join("operator.log"))
}

/// Gives a command nothing of this process's environment but where programs are and how to reach the simulator.
pub fn aws_environment<'a>(command: &'a mut Command, endpoint: &str) -> &'a mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", OWNER)
        .env("AWS_SECRET_ACCESS_KEY", "simulated")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
}
