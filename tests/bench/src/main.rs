//! `make bench`: how fast, how frugal and how large the operator is, beside a bare HTTP client and what people use today.

mod bucket;
mod calls;
mod child;
mod cluster;
mod context;
mod copies;
mod floor;
mod machine;
mod memory;
mod operator;
mod peers;
mod reconciles;
mod report;
mod sharing;
mod simulator;
mod usage;
mod wire;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, ValueEnum};

use context::Context;
use floor::Phase;
use machine::Machine;
use peers::Peer;
use report::Results;
use world::{Size, Weather};

/// Measures the operator. Run it with `make bench`.
#[derive(Debug, Parser)]
enum Cli {
    /// Measures, prints tables, and writes docs/benchmarks.md.
    Run(RunArgs),
    /// Sets the stage and waits, for a profiler: an API server and an AWS with objects, and no operator.
    Stage(StageArgs),
    /// Makes the operator's calls and nothing else. The benchmark starts it.
    #[command(hide = true)]
    Floor(floor::FloorArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The release binary of amishare, built with all features.
    #[arg(long, default_value = "target/release/amishare")]
    amishare: PathBuf,
    /// Only these parts; nothing is written then.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Without latency and buckets, and with 1,000 objects where it should be 10,000; nothing is written then.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, clap::Args)]
struct StageArgs {
    /// The release binary of amishare, built with all features.
    #[arg(long, default_value = "target/release/amishare")]
    amishare: PathBuf,
    /// How many images, each with an AmiShare.
    #[arg(long, default_value_t = 200)]
    images: usize,
    /// With how many accounts each of them is shared.
    #[arg(long, default_value_t = 20)]
    accounts: usize,
    /// The interval of the AmiShares.
    #[arg(long, default_value = "24h")]
    interval: String,
    /// With latency and with EC2's buckets.
    #[arg(long)]
    real: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 200 images: the operator and the floor.
    Small,
    /// 1,000 images: the operator and the floor.
    Large,
    /// 200 images: what people use today.
    Peers,
    /// 200 images that are encrypted with 5 keys: the operator alone.
    Keys,
    /// Memory with few and with many objects.
    Memory,
    /// CPU per reconcile.
    Cpu,
    /// From rogue change to repair.
    Drift,
    /// Ten images to sixteen Regions.
    Copies,
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match Cli::parse() {
        Cli::Run(args) => run(args).await,
        Cli::Stage(args) => stage(args).await,
        Cli::Floor(args) => floor::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RunArgs) -> Result<()> {
    let context = Context::new(std::path::absolute(args.amishare)?, std::env::current_dir()?)?;
    let machine = Machine::look(&context)?;
    let parts: Vec<Part> = if args.only.is_empty() { Part::value_variants().to_vec() } else { args.only.clone() };
    let mut results = Results::default();
    for part in parts {
        measure(&context, part, args.quick, &mut results).await?;
    }
    let text = results.markdown(&machine);
    println!("\n{text}");
    if args.only.is_empty() && !args.quick {
        std::fs::write(context.root.join("docs/benchmarks.md"), text)?;
    }
    Ok(())
}

/// The two sizes at which everything is compared.
const SMALL: Size = Size::new(200, 20);
const LARGE: Size = Size::new(1000, 100);

/// The sizes in which images are encrypted: the one that the target is about, and those that show what it does not depend on.
const ENCRYPTED: Size = Size { images: 200, accounts: 50, keys: 5 };
const FEWER_IMAGES: Size = Size { images: 50, ..ENCRYPTED };
const FEWER_ACCOUNTS: Size = Size { accounts: 10, ..ENCRYPTED };

async fn measure(context: &Context, part: Part, quick: bool, results: &mut Results) -> Result<()> {
    let weathers: &[Weather] = if quick { &[Weather::Ideal] } else { &[Weather::Ideal, Weather::Real] };
    match part {
        Part::Small | Part::Large => {
            let size = if part == Part::Small { SMALL } else { LARGE };
            for weather in weathers.iter().copied() {
                keep(results, sharing::of_operator(context, size, weather).await?);
                // What the buckets allow is known without waiting for them.
                if weather == Weather::Ideal || size == SMALL {
                    keep(results, sharing::of_floor(context, size, weather, true).await?);
                    keep(results, sharing::of_floor(context, size, weather, false).await?);
                }
            }
        }
        Part::Peers => {
            for weather in weathers.iter().copied() {
                for peer in Peer::ALL {
                    let (phases, part): (&[Phase], usize) = match (peer, weather) {
                        (Peer::Ansible, Weather::Ideal) if !quick => (&[Phase::Converge], 1),
                        (Peer::Ansible, _) => (&[Phase::Converge], 10),
                        _ => (&sharing::PHASES, 1),
                    };
                    keep(results, sharing::of_peer(context, peer, SMALL, weather, phases, part).await?);
                }
            }
        }
        Part::Keys => {
            for size in [FEWER_IMAGES, FEWER_ACCOUNTS, ENCRYPTED] {
                keep_encrypted(results, sharing::of_operator(context, size, Weather::Ideal).await?);
            }
            if !quick {
                keep_encrypted(results, sharing::of_operator(context, ENCRYPTED, Weather::Real).await?);
            }
        }
        Part::Memory => {
            let many = Size::new(if quick { 1000 } else { 10_000 }, 100);
            for size in [SMALL, many] {
                let memory = memory::measure(context, size).await?;
                println!("{memory:?}");
                results.memory.push(memory);
            }
        }
        Part::Cpu => {
            for accounts in [1, 10, 100, 1000] {
                let reconcile = reconciles::cpu(context, accounts).await?;
                println!("{reconcile:?}");
                results.reconciles.push(reconcile);
            }
        }
        Part::Copies => {
            let lengths: &[u64] = if quick { &[10] } else { &[10, 40, 160] };
            for seconds in lengths {
                let sample = copies::measure(context, std::time::Duration::from_secs(*seconds)).await?;
                println!("{sample:?}");
                results.copies.push(sample);
            }
        }
        Part::Drift => {
            results.drift = reconciles::drift(context).await?;
            println!("rogue permissions lasted {:?}", results.drift);
        }
    }
    Ok(())
}

fn keep(results: &mut Results, samples: Vec<sharing::Sample>) {
    for sample in &samples {
        println!("{}", report::line(sample));
    }
    results.samples.extend(samples);
}

fn keep_encrypted(results: &mut Results, samples: Vec<sharing::Sample>) {
    for sample in &samples {
        println!("{}: {:?}", report::line(sample), sample.calls.by_action);
    }
    results.encrypted.extend(samples);
}

/// Prints what a shell needs to start an operator on the stage.
async fn stage(args: StageArgs) -> Result<()> {
    let StageArgs { amishare, images, accounts, interval, real } = args;
    let context = Context::new(std::path::absolute(amishare)?, std::env::current_dir()?)?;
    let size = Size::new(images, accounts);
    let stage = context.stage(size, if real { Weather::Real } else { Weather::Ideal }).await?;
    stage.cluster.create(size, &interval).await?;
    println!("export KUBECONFIG={}", stage.cluster.plane.kubeconfig().display());
    println!("export AWS_ENDPOINT_URL={} AWS_REGION={}", stage.simulator.endpoint, world::REGION);
    println!("export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=simulated", world::OWNER);
    println!("# the calls are in {}; Ctrl-C ends it", stage.dir.join("calls.jsonl").display());
    tokio::time::sleep(context::PATIENCE * 100).await;
    Ok(())
}
