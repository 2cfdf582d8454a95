//! What many objects cost: memory and CPU while they converge, at rest, and when the operator starts and finds everything done.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    calls::Calls,
    context::{Context, PATIENCE, Stage},
    operator, usage,
    world::{Size, Weather},
};

/// How long the operator is watched at rest.
const REST: Duration = Duration::from_secs(30);

/// What was seen in one stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// How long it was.
    pub wall: Duration,
    /// The CPU time that the operator used.
    pub cpu: Duration,
    /// The most memory that it had.
    pub peak: u64,
    /// The memory at the end, without mapped files.
    pub anonymous: u64,
}

/// What was seen of one number of objects.
#[derive(Debug, Clone)]
pub struct Memory {
    /// How many.
    pub size: Size,
    /// From the start to all objects being ready.
    pub converge: Stretch,
    /// At rest.
    pub rest: Stretch,
    /// From a start that finds everything done to rest.
    pub restart: Stretch,
    /// Objects that were written at rest, and events.
    pub kubernetes_writes_at_rest: usize,
    /// What AWS was asked at rest.
    pub calls_at_rest: Calls,
}

/// Measures it.
pub async fn measure(context: &Context, size: Size) -> Result<Memory> {
    let Stage { cluster, mut simulator, dir } = context.stage(size, Weather::Ideal).await?;
    cluster.create(size, "24h").await?;
    let mut onlooker = cluster.watch().await?;
    let daemon = operator::start(&context.amishare, &cluster.plane, &simulator, &dir)?;
    let pid = daemon.pid();
    let ready = onlooker.all_ready(None, PATIENCE).await?;
    let converge = stretch(pid, ready.duration_since(daemon.started), Duration::ZERO)?;
    drop(onlooker);
    simulator.verify().await?;

    // What followed the last change has come and gone.
    tokio::time::sleep(Duration::from_secs(5)).await;
    simulator.calls.new_calls()?;
    let (versions, events) = (cluster.versions().await?, cluster.events().await?);
    usage::reset_peak(pid)?;
    let (begin, cpu) = (Instant::now(), usage::cpu(pid)?);
    tokio::time::sleep(REST).await;
    let rest = stretch(pid, begin.elapsed(), cpu)?;
    let calls_at_rest = simulator.calls.count()?;
    let after = cluster.versions().await?;
    let changed = after.iter().filter(|(name, version)| versions.get(*name) != Some(*version)).count();
    let kubernetes_writes_at_rest = changed + cluster.events().await?.saturating_sub(events);
    daemon.stop()?;

    let daemon = operator::start(&context.amishare, &cluster.plane, &simulator, &dir)?;
    let pid = daemon.pid();
    let begin = Instant::now();
    // A start that finds everything done writes nothing: it is over when the CPU is quiet.
    let (mut before, mut quiet) = (usage::cpu(pid)?, 0);
    while quiet < 4 && begin.elapsed() < REST * 4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = usage::cpu(pid)?;
        quiet = if now.saturating_sub(before) <= Duration::from_millis(10) && begin.elapsed() > Duration::from_secs(5) {
            quiet + 1
        } else {
            0
        };
        before = now;
    }
    let restart = stretch(pid, daemon.started.elapsed(), Duration::ZERO)?;
    daemon.stop()?;
    simulator.stop()?;
    Ok(Memory { size, converge, rest, restart, kubernetes_writes_at_rest, calls_at_rest })
}

fn stretch(pid: u32, wall: Duration, cpu_before: Duration) -> Result<Stretch> {
    let (cpu, peak, anonymous) =
        (usage::cpu(pid)?.saturating_sub(cpu_before), usage::peak(pid)?, usage::anonymous(pid)?);
    Ok(Stretch { wall, cpu, peak, anonymous })
}
