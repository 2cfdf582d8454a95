//! `packer rootfs` and `packer pack`: what the Makefile and the Dockerfile call.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser};
use packer::{dockerfile, oci, rootfs, start};

/// Lays out the files of the image and packs them, without a Docker engine.
#[derive(Parser)]
#[command(version)]
enum Cli {
    /// Lays out the files of the image in a directory that is empty or does not exist.
    Rootfs(Rootfs),
    /// Packs them into an archive, with the settings of the Dockerfile, and prints digest, sizes and start time.
    Pack(Pack),
}

#[derive(Args)]
struct Rootfs {
    /// The operator.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Where the files go.
    #[arg(long, value_name = "DIRECTORY")]
    into: PathBuf,
}

#[derive(Args)]
struct Pack {
    /// The files.
    #[arg(long, value_name = "DIRECTORY")]
    rootfs: PathBuf,
    /// Whose last stage has the settings.
    #[arg(long, value_name = "FILE", default_value = "Dockerfile")]
    dockerfile: PathBuf,
    /// The name of the image, with its tag.
    #[arg(long)]
    name: String,
    /// The archive.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Does not start the operator to measure how soon it answers.
    #[arg(long)]
    unmeasured: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Rootfs(Rootfs { binary, into }) => rootfs::lay_out(&binary, &into),
        Cli::Pack(options) => pack(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "packer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn pack(options: &Pack) -> Result<()> {
    let dockerfile = fs::read_to_string(&options.dockerfile)
        .with_context(|| format!("could not read {}", options.dockerfile.display()))?;
    // Every crate of the workspace has the version of the operator.
    let settings = dockerfile::settings(&dockerfile, &[("VERSION", env!("CARGO_PKG_VERSION"))])?;
    let packed = oci::pack(&options.rootfs, &settings, &options.name, &options.out)?;
    let mut out = io::stdout();
    writeln!(out, "{} {}", options.name, packed.digest)?;
    writeln!(out, "{}: {:.1} MB", options.out.display(), megabytes(packed.size))?;
    if !options.unmeasured {
        let time = start::best(&options.rootfs.join(rootfs::BINARY))?;
        writeln!(out, "/healthz answers {} ms after the start", time.as_millis())?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "no image is so large that it matters")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
