//! What one reconcile that finds nothing to do costs, by the number of accounts; and how long drift lasts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    context::{Context, PATIENCE, Stage},
    operator, usage,
    wire::{Wire, parameters},
    world::{OWNER, ROGUE, Size, Weather},
};

/// The shortest interval that there is.
const INTERVAL: &str = "10s";

/// How long reconciles are counted.
const COUNTED: Duration = Duration::from_secs(40);

/// How many images are checked in every interval.
const IMAGES: usize = 200;

/// CPU of one reconcile.
#[derive(Debug, Clone, Copy)]
pub struct Reconcile {
    /// With so many accounts.
    pub accounts: usize,
    /// The operator's CPU time while checks were made, divided by their number.
    pub cpu: Duration,
    /// How many there were.
    pub count: usize,
}

/// Measures reconciles of checks that are due by their interval and find everything as it should be.
pub async fn cpu(context: &Context, accounts: usize) -> Result<Reconcile> {
    let size = Size::new(IMAGES, accounts);
    let Stage { cluster, mut simulator, dir } = context.stage(size, Weather::Ideal).await?;
    cluster.create(size, INTERVAL).await?;
    let mut onlooker = cluster.watch().await?;
    let daemon = operator::start(&context.amishare, &cluster.plane, &simulator, &dir)?;
    onlooker.all_ready(None, PATIENCE).await?;
    drop(onlooker);
    // The answers to the last writes come in.
    tokio::time::sleep(Duration::from_secs(2)).await;
    simulator.calls.new_calls()?;
    let before = usage::cpu(daemon.pid())?;
    tokio::time::sleep(COUNTED).await;
    let cpu = usage::cpu(daemon.pid())?.saturating_sub(before);
    let count = simulator.calls.count()?.of("DescribeImageAttribute");
    daemon.stop()?;
    simulator.stop()?;
    let divisor = u32::try_from(count.max(1))?;
    Ok(Reconcile { accounts, cpu: cpu / divisor, count })
}

/// How long rogue launch permissions lasted, in order.
pub async fn drift(context: &Context) -> Result<Vec<Duration>> {
    let size = Size::new(40, 20);
    let Stage { cluster, mut simulator, dir } = context.stage(size, Weather::Ideal).await?;
    cluster.create(size, INTERVAL).await?;
    let mut onlooker = cluster.watch().await?;
    let daemon = operator::start(&context.amishare, &cluster.plane, &simulator, &dir)?;
    onlooker.all_ready(None, PATIENCE).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    simulator.calls.new_calls()?;
    let wire = Wire::new(&simulator.endpoint, OWNER);
    let mut since = BTreeMap::new();
    for image in size.all_images() {
        let change = parameters([("ImageId", &image), ("LaunchPermission.Add.1.UserId", ROGUE)]);
        since.insert(image.clone(), Instant::now());
        wire.call("ModifyImageAttribute", &change).await.context(image)?;
    }
    let (mut lasted, deadline) = (Vec::new(), Instant::now() + Duration::from_mins(1));
    while !since.is_empty() {
        if Instant::now() > deadline {
            bail!("{} images were not put right within a minute", since.len());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        for call in simulator.calls.new_calls()? {
            if call.parameters.get("LaunchPermission.Remove.1.UserId").map(String::as_str) == Some(ROGUE) {
                let repaired = call.parameters.get("ImageId").and_then(|image| since.remove(image));
                lasted.extend(repaired.map(|since| since.elapsed()));
            }
        }
    }
    simulator.verify().await?;
    daemon.stop()?;
    simulator.stop()?;
    lasted.sort();
    Ok(lasted)
}
