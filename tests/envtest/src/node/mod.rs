//! A whole cluster with one real node: kubelet, containerd, runc, kube-proxy and CoreDNS beside the control plane, in namespaces of
//! their own. Pods run, restart, roll and are told to end; Services have addresses and names.
//!
//! No port, mount, route or value of the kernel of this machine is touched, but for one folder of control groups, which is removed in
//! the end. Everything ends with the first process of the namespaces (`node/init.sh`), and that with the [`Node`] and with this process.

mod configuration;
mod machine;

use std::fmt;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::assets::Assets;
use crate::files::{create_private, tail, write_private};
use crate::go::{self, NodeAssets};
use crate::kubeconfig;
use crate::supervisor::Supervisor;

pub use machine::{find_runc, lacking};

/// The address of the node, where the API server listens on port 443. Pods reach what listens there.
pub const ADDRESS: &str = "10.123.0.2";
const SERVICES: &str = "10.0.0.0/24";
/// The first address of that network.
const API_SERVICE: &str = "10.0.0.1";
const PODS: &str = "10.244.0.0/24";

/// Builds what a node needs into the cache, where it is missing, besides the binaries of a control plane.
pub fn build() -> Result<()> {
    go::build_node().map(drop)
}

/// 5 to 8 seconds are usual.
const START_DEADLINE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(25);

/// A cluster with one node that ends when this is dropped and when this process dies, with everything that runs on it.
pub struct Node {
    dir: PathBuf,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    /// The first process of its namespaces.
    init: u32,
    supervisor: Supervisor,
}

impl Node {
    /// Starts a node that has the images of these archives, and waits until it is ready.
    pub fn start(archives: &[PathBuf]) -> Result<Self> {
        let assets = crate::assets()?;
        let more = go::build_node()?;
        let runc = find_runc().context("there is no runc")?;
        let temporary = tempfile::Builder::new()
            .prefix("envtest-node-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("could not create a temporary directory: set TMPDIR to a writable one")?;
        let dir = std::path::absolute(temporary.path())?;
        let mut supervisor = Supervisor::new(&dir.display().to_string())?;
        supervisor.remove_at_end(&dir)?;
        // From here on the supervisor removes it, even if this process cannot.
        let _ = temporary.keep();

        let name = dir.file_name().context("the directory has no name")?.to_string_lossy().into_owned();
        supervisor.remove_at_end(&machine::unified_group(&name))?;
        for group in machine::control_groups(&name) {
            supervisor.remove_at_end(&group)?;
            machine::create_control_group(&group)?;
        }
        let kubeconfig = configuration::write(&dir, &name, &more, &runc)?;
        let mut all = vec![configuration::pause(&dir, &more)?];
        for archive in archives {
            // It is read by a process that is elsewhere.
            all.push(archive.canonicalize().with_context(|| format!("there is no {}", archive.display()))?);
        }
        let deadline = Instant::now() + START_DEADLINE;
        supervisor.spawn("the node", first_process(&dir, &assets, &more, &runc, &all)?)?;
        let mut node = Self { dir, kubectl: assets.kubectl, kubeconfig, init: 0, supervisor };
        while !node.dir.join("ready").exists() {
            node.check()?;
            ensure!(
                Instant::now() < deadline,
                "the node is not ready after {} s:\n{}",
                START_DEADLINE.as_secs(),
                node.logs()
            );
            thread::sleep(POLL);
        }
        node.init = node.first_in_namespaces()?;
        Ok(node)
    }

    /// An error when the first process of the namespaces has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.supervisor.ended()? {
            None => Ok(()),
            Some((name, status)) => bail!("{name} ended ({status})\n{}", self.logs()),
        }
    }

    /// The child of `unshare`.
    fn first_in_namespaces(&self) -> Result<u32> {
        let (_, parent) = self.supervisor.pids().next().context("nothing was started")?;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let first = children.split_whitespace().next().context("the namespaces have no first process")?;
        Ok(first.parse()?)
    }

    /// Makes the calling thread, and every thread and process that it starts from now on, part of the node's network. There is
    /// no way back. This machine's network is out of reach from there.
    pub fn enter_network(&self) -> Result<()> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.init)).context("the node is gone")?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("could not enter the network of the node")
    }

    /// The administrator's kubeconfig. It serves in the network of the node.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the administrator, for a thread in the network of the node. It ends with the node.
    pub fn kubectl(&self) -> Command {
        let mut command = kubeconfig::kubectl(&self.kubectl, &self.kubeconfig, &self.dir);
        self.supervise(&mut command);
        command
    }

    /// Makes any other command end with the node and with this process. It is killed, not waited for.
    pub fn supervise<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.supervisor.enlist(command)
    }

    /// Holds configuration, keys, data and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id of the first process of the namespaces.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(&self.dir).map(|entries| entries.flatten().map(|entry| entry.path()));
        let mut logs: Vec<PathBuf> =
            entries.into_iter().flatten().filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        logs.sort();
        let ends: Vec<String> = logs.iter().map(|log| format!("--- {}\n{}", log.display(), tail(log))).collect();
        ends.join("\n")
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Node").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The command that makes the namespaces and runs `init.sh` as their first process.
fn first_process(dir: &Path, assets: &Assets, more: &NodeAssets, runc: &Path, archives: &[PathBuf]) -> Result<Command> {
    let (log, script) = (create_private(&dir.join("init.log"))?, dir.join("init.sh"));
    write_private(&script, include_str!("../../node/init.sh"))?;
    let archives: Vec<String> = archives.iter().map(|path| path.display().to_string()).collect();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"])
        .arg("bash")
        .arg(script)
        .current_dir(dir)
        .env("RUN", dir)
        .env("KUBE", assets.dir())
        .env("KUBE_NODE", &more.kube)
        .env("NODE", &more.node)
        .env("DNS", &more.dns)
        .env("RUNC", runc)
        .env("ADDRESS", ADDRESS)
        .env("SERVICES", SERVICES)
        .env("PODS", PODS)
        .env("ARCHIVES", archives.join("\n"))
        .env("LC_ALL", "C")
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}
