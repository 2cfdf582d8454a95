//! `envtest build`, `envtest start` and `envtest node`: the control plane and the node for shell scripts.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use envtest::node::{self, Node};
use envtest::{ControlPlane, assets, helm};
use rustix::fs::{FileType, fstat};
use rustix::process::getppid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Builds and runs a real Kubernetes API server, or a cluster with a node, for tests and the demo.
#[derive(Parser)]
#[command(version)]
enum Cli {
    /// Builds the binaries and helm, unless the cache or `KUBEBUILDER_ASSETS` has them, and prints the directory of the servers.
    Build(Build),
    /// Runs a control plane until SIGINT, SIGTERM or SIGHUP. Prints `export KUBECONFIG=…` once it is ready.
    ///
    /// The processes end with this one even if it is killed with SIGKILL.
    Start(Start),
    /// Runs a control plane and a node on which pods run, in namespaces of their own, until SIGINT, SIGTERM or SIGHUP. Prints
    /// `export KUBECONFIG=…` and how to get into its network once it is ready.
    Node(NodeOptions),
}

#[derive(Args)]
struct Build {
    /// The binaries of a node, too.
    #[arg(long)]
    node: bool,
    /// Leaves helm out.
    #[arg(long, conflicts_with = "node")]
    only_servers: bool,
}

#[derive(Args)]
struct NodeOptions {
    /// Archives of images that the node has.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Ends, too, when the process that started this one ends, and at the end of standard input if that is a pipe.
    #[arg(long)]
    with_parent: bool,
    /// Only says whether this machine can have a node, and what it lacks.
    #[arg(long)]
    check: bool,
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
    Started(Result<Held>),
    End,
}

/// What ends with this process.
enum Held {
    Plane(Box<ControlPlane>),
    Node(Box<Node>),
}

impl Held {
    fn check(&mut self) -> Result<()> {
        match self {
            Self::Plane(plane) => plane.check(),
            Self::Node(node) => node.check(),
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Build(options) => build(&options),
        Cli::Start(Start { dir, kubeconfig, with_parent }) => {
            hold(with_parent, || Ok(Held::Plane(Box::new(launch(dir, kubeconfig)?))))
        }
        Cli::Node(options) => on_node(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "envtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build(options: &Build) -> Result<()> {
    let assets = assets()?;
    if !options.only_servers {
        helm()?;
    }
    if options.node {
        node::build()?;
    }
    writeln!(io::stdout(), "{}", assets.dir().display()).context("could not print the directory")
}

fn on_node(options: NodeOptions) -> Result<()> {
    if let Some(lacking) = node::lacking() {
        bail!("this machine cannot have a node: {lacking}");
    }
    if options.check {
        return Ok(());
    }
    let NodeOptions { images, with_parent, .. } = options;
    hold(with_parent, move || Ok(Held::Node(Box::new(Node::start(&images)?))))
}

/// Launches something and keeps it until this process is told to end.
fn hold(with_parent: bool, launch: impl FnOnce() -> Result<Held> + Send + 'static) -> Result<()> {
    const TICK: Duration = Duration::from_millis(200);
    // First, so that a parent that ends early is noticed.
    let parent = with_parent.then(getppid);
    let (events, received) = mpsc::channel();
    end_on_signal(events.clone())?;
    if with_parent && stdin_is_pipe() {
        end_with_stdin(events.clone());
    }
    thread::spawn(move || events.send(Event::Started(launch())));

    let mut held = None;
    loop {
        match received.recv_timeout(TICK) {
            Ok(Event::Started(result)) => {
                let started = held.insert(result?);
                announce(started)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // While it is still starting, leaving this process ends everything, too.
            Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if parent.is_some_and(|parent| getppid() != parent) {
            return Ok(());
        }
        held.as_mut().map_or(Ok(()), Held::check)?;
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

fn announce(held: &Held) -> Result<()> {
    let (kubeconfig, hint) = match held {
        Held::Plane(plane) => (plane.kubeconfig(), String::new()),
        Held::Node(node) => (node.kubeconfig(), format!("# in its network: nsenter -n -t {} COMMAND\n", node.init())),
    };
    let path = kubeconfig.display().to_string().replace('\'', r"'\''");
    let mut out = io::stdout();
    write!(out, "export KUBECONFIG='{path}'\n{hint}")
        .and_then(|()| out.flush())
        .context("could not print the kubeconfig")
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
