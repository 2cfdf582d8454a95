//! `amishare simulate`: the simulator as a process of its own, for demos and for tests in other languages.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use tokio::net::TcpListener;

use super::{Scenario, Simulator};

/// Simulate EC2 and STS on a local port, for trying things out without an AWS account.
///
/// Point clients at it with `--endpoint-url` or `AWS_ENDPOINT_URL`. The access key id says which account calls: it is the
/// account's twelve digits, with any secret. One endpoint serves all Regions.
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// Where to listen. Port 0 takes a free port; the first line of the output says which
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4599", env = "AMISHARE_SIMULATOR_LISTEN")]
    pub listen: SocketAddr,

    /// The world at its beginning: accounts, images, snapshots, quotas, faults, throttling (YAML, docs/simulator.md). Without it
    /// there is no image, and every account exists
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// Append one line of JSON for each call: time, account, Region, action, parameters and answer
    #[arg(long, value_name = "FILE")]
    pub calls: Option<PathBuf>,

    /// What generated ids and the draws of faults follow from. Wins over the scenario's seed; random without either, and
    /// printed in any case
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Throttle as EC2 does: the scenario's buckets and foreign load, and for everything else the buckets that AWS
    /// documents, even if the scenario has throttling switched off
    #[arg(long)]
    pub throttling: bool,

    /// Give every answer this much later, such as 100ms. Wins over the scenario's latency
    #[arg(long, value_name = "DURATION", value_parser = parse_latency)]
    pub latency: Option<Duration>,
}

fn parse_latency(text: &str) -> Result<Duration, String> {
    let duration: Option<SignedDuration> = text.parse().ok();
    let positive = duration.and_then(|duration| Duration::try_from(duration).ok());
    positive.ok_or_else(|| "write a length of time, such as 100ms or 1.5s".to_owned())
}

/// Serves until SIGINT or SIGTERM. Prints one line once connections are accepted.
///
/// # Errors
/// When the scenario cannot be used, the calls file cannot be written, or the address cannot be listened on.
pub async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let mut scenario = match &args.scenario {
        None => Scenario::default(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Scenario::from_yaml(&text).with_context(|| format!("cannot use {}", path.display()))?
        }
    };
    scenario.seed = args.seed.or(scenario.seed);
    scenario.throttling.enabled |= args.throttling;
    let jitter = Duration::from_millis(scenario.latency_jitter_milliseconds);
    let mut simulator = Simulator::new(scenario).without_memory_of_calls();
    if let Some(latency) = args.latency {
        simulator.set_latency(latency, jitter);
    }
    if let Some(path) = &args.calls {
        simulator = simulator.with_calls_file(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Before the line below: whoever reads it may send a signal at once.
    let stop = stop_signal().context("cannot wait for signals")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    announce(&format!("simulated AWS at http://{} with seed {}", listener.local_addr()?, simulator.seed()));
    simulator.serve(listener, stop).await?;
    Ok(())
}

/// The one line on stdout. Nobody may be reading it, which is no reason not to serve.
fn announce(line: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "nobody reads the address");
    }
}

/// Ends with the first SIGINT or SIGTERM; both are caught from the moment that this returns.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_written_with_its_unit_and_not_negative() {
        assert_eq!(parse_latency("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_latency("1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "100", "-1s", "soon"] {
            assert!(parse_latency(wrong).is_err(), "{wrong}");
        }
    }
}
