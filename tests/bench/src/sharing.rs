//! The main measurement: make AWS what it should be, look whether it still is, and put ten images right.
//!
//! For everybody a phase begins when it is asked for and ends when the program says that it is done; then AWS is looked at from
//! the accounts' side. A program that is run each time is done when it ends. The operator is asked to converge by being started,
//! and to check by annotating all objects; it is done when all objects say so.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    calls::Calls,
    child::{self, Cost},
    context::{Context, PATIENCE, Stage},
    floor::Phase,
    operator,
    peers::Peer,
    simulator::Simulator,
    usage,
    world::{Size, Weather},
};

/// In which order the phases come.
pub const PHASES: [Phase; 3] = [Phase::Converge, Phase::Quiet, Phase::Repair];

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The operator.
    Operator,
    /// A bare client that makes the calls to AWS.
    FloorOfAws,
    /// A bare client that makes the calls to AWS and to the API server.
    Floor,
    /// Something else.
    Peer(Peer),
}

impl Who {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "amishare",
            Self::FloorOfAws => "floor: AWS only",
            Self::Floor => "floor: AWS and Kubernetes",
            Self::Peer(peer) => peer.name(),
        }
    }
}

/// One phase of one program.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Who.
    pub who: Who,
    /// Of how many images, each with how many accounts.
    pub size: Size,
    /// What AWS was like.
    pub weather: Weather,
    /// What was to be done.
    pub phase: Phase,
    /// What it took.
    pub cost: Cost,
    /// What AWS was asked.
    pub calls: Calls,
    /// By how much wall, CPU and calls were multiplied, because only so many images were done.
    pub scaled: usize,
}

/// Measures the operator.
pub async fn of_operator(context: &Context, size: Size, weather: Weather) -> Result<Vec<Sample>> {
    let Stage { cluster, mut simulator, dir } = context.stage(size, weather).await?;
    cluster.create(size, "24h").await?;
    let mut onlooker = cluster.watch().await?;
    let mut samples = Vec::new();
    let daemon = operator::start(&context.amishare, &cluster.plane, &simulator, &dir)?;
    let pid = daemon.pid();
    let (mut begun, mut cpu) = (daemon.started, Duration::ZERO);
    for phase in PHASES {
        let token = format!("{phase:?}");
        if phase != Phase::Converge {
            prepare(&mut simulator, phase).await?;
            usage::reset_peak(pid)?;
            (begun, cpu) = (Instant::now(), usage::cpu(pid)?);
            cluster.ask_for_checks(size, &token).await?;
        }
        let asked = (phase != Phase::Converge).then_some(token.as_str());
        let done = onlooker.all_ready(asked, PATIENCE).await.with_context(|| child::tail(&dir.join("operator.log")))?;
        let (cpu, peak) = (usage::cpu(pid)?.saturating_sub(cpu), usage::peak(pid)?);
        let cost = Cost { wall: done.duration_since(begun), cpu, peak };
        let calls = simulator.calls.count()?;
        simulator.verify().await?;
        samples.push(Sample { who: Who::Operator, size, weather, phase, cost, calls, scaled: 1 });
    }
    daemon.stop()?;
    simulator.stop()?;
    Ok(samples)
}

/// Measures the floor, with the requests to the API server or without.
pub async fn of_floor(context: &Context, size: Size, weather: Weather, kubernetes: bool) -> Result<Vec<Sample>> {
    let Stage { cluster, mut simulator, dir } = context.stage(size, weather).await?;
    if kubernetes {
        cluster.create(size, "24h").await?;
    }
    let mut samples = Vec::new();
    for phase in PHASES {
        prepare(&mut simulator, phase).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").args(["--endpoint", &simulator.endpoint]);
        command.args(["--images", &size.images.to_string(), "--accounts", &size.accounts.to_string()]);
        command.args(["--phase", phase.word()]);
        if weather == Weather::Real {
            command.arg("--paced");
        }
        if kubernetes {
            command.arg("--kubeconfig").arg(cluster.plane.kubeconfig());
        }
        let cost = run(&cluster.plane, command, &dir)?;
        let calls = simulator.calls.count()?;
        simulator.verify().await?;
        let who = if kubernetes { Who::Floor } else { Who::FloorOfAws };
        samples.push(Sample { who, size, weather, phase, cost, calls, scaled: 1 });
    }
    simulator.stop()?;
    Ok(samples)
}

/// Measures a peer. With `part`, only so many of the images are there, and what it took is multiplied.
pub async fn of_peer(
    context: &Context,
    peer: Peer,
    whole: Size,
    weather: Weather,
    phases: &[Phase],
    part: usize,
) -> Result<Vec<Sample>> {
    let venv = peer.install(context)?;
    let size = Size { images: whole.images / part, ..whole };
    let Stage { cluster, mut simulator, dir } = context.stage(size, weather).await?;
    let mut samples = Vec::new();
    for phase in phases.iter().copied() {
        prepare(&mut simulator, phase).await?;
        let command = peer.command(context, &venv, &simulator.endpoint, size, &dir)?;
        let mut cost = run(&cluster.plane, command, &dir)?;
        let mut calls = simulator.calls.count()?;
        simulator.verify().await?;
        let factor = u32::try_from(part)?;
        cost = Cost { wall: cost.wall * factor, cpu: cost.cpu * factor, ..cost };
        calls.by_action.values_mut().for_each(|count| *count *= part);
        calls.throttled *= part;
        samples.push(Sample { who: Who::Peer(peer), size: whole, weather, phase, cost, calls, scaled: part });
    }
    simulator.stop()?;
    Ok(samples)
}

/// Makes AWS what a phase begins with.
async fn prepare(simulator: &mut Simulator, phase: Phase) -> Result<()> {
    if phase != Phase::Converge {
        simulator.refill().await;
    }
    if phase == Phase::Repair {
        simulator.drift().await?;
    }
    simulator.calls.new_calls().map(drop)
}

/// Runs a program to its end, without keeping the rest of this one waiting.
fn run(plane: &envtest::ControlPlane, mut command: Command, dir: &Path) -> Result<Cost> {
    let log = dir.join("run.log");
    tokio::task::block_in_place(|| child::run(plane, &mut command, &log))
}
