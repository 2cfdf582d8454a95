//! `envtest build` and `envtest start`: the control plane for shell scripts.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser};
use envtest::{ControlPlane, assets, helm};
use rustix::fs::{FileType, fstat};
use rustix::process::getppid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Builds and runs a real Kubernetes API server for tests and the demo.
#[derive(Parser)]
#[command(version)]
enum Cli {
    /// Builds the binaries and helm, unless the cache or `KUBEBUILDER_ASSETS` has them, and prints the directory of the servers.
    Build {
        /// Leaves helm out.
        #[arg(long)]
        only_servers: bool,
    },
    /// Runs a control plane until SIGINT, SIGTERM or SIGHUP. Prints `export KUBECONFIG=…` once it is ready.
    ///
    /// The processes end with this one even if it is killed with SIGKILL.
    Start(Start),
}

#[derive(Args)]
struct Start {
    /// Keeps data and logs in this directory, which must be empty or not exist [default: a temporary directory].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes the kubeconfig to this file once the control plane is ready. It must not exist, and is removed at the end.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Ends, too, when the process that started this one ends, and at the end of standard input if that is a pipe.
    #[arg(long)]
    with_parent: bool,
}

/// What the main thread waits for.
enum Event {
    Started(Box<Result<ControlPlane>>),
    End,
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Build { only_servers } => build(only_servers),
        Cli::Start(options) => start(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "envtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build(only_servers: bool) -> Result<()> {
    let assets = assets()?;
    if !only_servers {
        helm()?;
    }
    writeln!(io::stdout(), "{}", assets.dir().display()).context("could not print the directory")
}

fn start(options: Start) -> Result<()> {
    const TICK: Duration = Duration::from_millis(200);
    // First, so that a parent that ends early is noticed.
    let parent = options.with_parent.then(getppid);
    let (events, received) = mpsc::channel();
    end_on_signal(events.clone())?;
    if options.with_parent && stdin_is_pipe() {
        end_with_stdin(events.clone());
    }
    let Start { dir, kubeconfig, .. } = options;
    thread::spawn(move || events.send(Event::Started(Box::new(launch(dir, kubeconfig)))));

    let mut plane = None;
    loop {
        match received.recv_timeout(TICK) {
            Ok(Event::Started(result)) => {
                let started = plane.insert((*result)?);
                announce(started)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // While it is still starting, leaving this process ends everything, too.
            Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if parent.is_some_and(|parent| getppid() != parent) {
            return Ok(());
        }
        plane.as_mut().map_or(Ok(()), ControlPlane::check)?;
    }
}

fn launch(dir: Option<PathBuf>, kubeconfig: Option<PathBuf>) -> Result<ControlPlane> {
    let assets = assets()?;
    if assets.kube_controller_manager.is_none() {
        let dir = assets.dir().display();
        let _ = writeln!(
            io::stderr(),
            "envtest: {dir} has no kube-controller-manager: no garbage collection, no service accounts, and deleted \
             namespaces stay; unset KUBEBUILDER_ASSETS to have it built"
        );
    }
    let mut plane = match dir {
        Some(dir) => ControlPlane::start_in(&assets, &dir)?,
        None => ControlPlane::start(&assets)?,
    };
    if let Some(path) = kubeconfig {
        plane.publish_kubeconfig(&path)?;
    }
    Ok(plane)
}

fn announce(plane: &ControlPlane) -> Result<()> {
    let path = plane.kubeconfig().display().to_string().replace('\'', r"'\''");
    let mut out = io::stdout();
    writeln!(out, "export KUBECONFIG='{path}'").and_then(|()| out.flush()).context("could not print the kubeconfig")
}

fn end_on_signal(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("could not wait for signals")?;
    thread::spawn(move || signals.forever().try_for_each(|_| events.send(Event::End)));
    Ok(())
}

fn end_with_stdin(events: Sender<Event>) {
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        events.send(Event::End)
    });
}

fn stdin_is_pipe() -> bool {
    fstat(io::stdin())
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket))
}
