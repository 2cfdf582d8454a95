//! One running control plane: etcd, kube-apiserver and, where there is one, kube-controller-manager.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::assets::Assets;
use crate::certificates::{self, Authority};
use crate::files::{create_private_dir, tail, write_private};
use crate::kubeconfig::{self, Identity};
use crate::ports;
use crate::servers::{self, API_SERVER, CONTROLLER_MANAGER, ETCD, Ports};
use crate::supervisor::Supervisor;

/// Generous, for machines that compile at the same time: 3 to 5 seconds are usual.
const START_DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(25);
/// Starts, when other processes take the chosen ports.
const ATTEMPTS: usize = 5;

/// A control plane that ends when this is dropped and when this process dies, with its data.
pub struct ControlPlane {
    dir: PathBuf,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    url: String,
    authority: Authority,
    supervisor: Supervisor,
}

impl ControlPlane {
    /// Starts a control plane in a temporary directory and waits until it is ready.
    pub fn start(assets: &Assets) -> Result<Self> {
        retry(|| {
            let temporary = tempfile::Builder::new()
                .prefix("envtest-")
                .permissions(Permissions::from_mode(0o700))
                .tempdir()
                .context("could not create a temporary directory: set TMPDIR to a writable one")?;
            let dir = std::path::absolute(temporary.path())?;
            let mut supervisor = Supervisor::new(&dir.display().to_string())?;
            supervisor.remove_at_end(&dir)?;
            // From here on the supervisor removes it, even if this process cannot.
            let _ = temporary.keep();
            Self::start_once(assets, dir, supervisor)
        })
    }

    /// Starts a control plane in a directory that is empty or does not exist yet, and stays after the end.
    pub fn start_in(assets: &Assets, dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        create_private_dir(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        let empty = fs::read_dir(&dir)?.next().is_none();
        ensure!(empty, "{} is not empty: name a directory that is, or that does not exist", dir.display());
        retry(|| {
            // Of an attempt that met a port clash.
            let _ = fs::remove_dir_all(dir.join("etcd"));
            let supervisor = Supervisor::new(&dir.display().to_string())?;
            Self::start_once(assets, dir.clone(), supervisor)
        })
    }

    fn start_once(assets: &Assets, dir: PathBuf, supervisor: Supervisor) -> Result<Self> {
        let deadline = Instant::now() + START_DEADLINE;
        let [etcd_clients, etcd_peers, api] = ports::free().context("there are no free ports on 127.0.0.1")?;
        let ports = Ports { etcd_clients, etcd_peers, api };
        let url = format!("https://127.0.0.1:{api}");
        let kubeconfig = dir.join("kubeconfig");
        let (authority, token) = certificates::write(&dir)?;
        kubeconfig::write(&kubeconfig, &url, &authority.certificate, &Identity::Token(&token))?;
        let mut plane = Self { dir, kubectl: assets.kubectl.clone(), kubeconfig, url, authority, supervisor };

        plane.supervisor.spawn(ETCD, servers::etcd(assets, &plane.dir, &ports)?)?;
        plane.wait(ETCD, deadline, |_| ports::answers(etcd_clients))?;
        plane.supervisor.spawn(API_SERVER, servers::api_server(assets, &plane.dir, &ports)?)?;
        // Cheaper than a kubectl that is refused.
        plane.wait(API_SERVER, deadline, |_| ports::answers(api))?;
        plane.wait(API_SERVER, deadline, |plane| plane.answers("/readyz"))?;
        plane.wait(API_SERVER, deadline, |plane| plane.answers("/api/v1/namespaces/default"))?;
        if let Some(program) = &assets.kube_controller_manager {
            let command = servers::controller_manager(program, &plane.dir, &plane.kubeconfig)?;
            plane.supervisor.spawn(CONTROLLER_MANAGER, command)?;
            let account = "/api/v1/namespaces/default/serviceaccounts/default";
            plane.wait(CONTROLLER_MANAGER, deadline, |plane| plane.answers(account))?;
        }
        for (name, pid) in plane.supervisor.pids() {
            write_private(&plane.dir.join(format!("{name}.pid")), &format!("{pid}\n"))?;
        }
        Ok(plane)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the administrator. It ends with the control plane, and leaves no cache in the home directory.
    pub fn kubectl(&self) -> Command {
        let mut command = kubeconfig::kubectl(&self.kubectl, &self.kubeconfig, &self.dir);
        self.supervise(&mut command);
        command
    }

    /// Makes any other command end with the control plane and with this process: an operator under test, for instance.
    /// It is killed, not waited for.
    pub fn supervise<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.supervisor.enlist(command)
    }

    /// Holds data, keys and logs (`etcd.log`, `kube-apiserver.log`, `kube-controller-manager.log`), and `.pid` files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The API server's address, `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether garbage collection, service accounts and namespace deletion work.
    pub fn has_controller_manager(&self) -> bool {
        self.supervisor.pids().any(|(name, _)| name == CONTROLLER_MANAGER)
    }

    /// Writes a kubeconfig with a client certificate of a user, in at most one group, who may do what RBAC allows.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let pair = self.authority.client(user, group)?;
        self.write_kubeconfig(&format!("user-{user}-{}", group.unwrap_or_default()), &Identity::Certificate(&pair))
    }

    /// Writes a kubeconfig with a token, valid for 24 hours, of a service account that exists.
    pub fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let mut kubectl = self.kubectl();
        kubectl.args(["create", "token", name, "--namespace", namespace, "--duration=24h"]);
        let output = kubectl.output().context("could not run kubectl")?;
        ensure!(
            output.status.success(),
            "no token for service account {namespace}/{name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let token = String::from_utf8(output.stdout).context("kubectl printed a token that is not text")?;
        self.write_kubeconfig(&format!("sa-{namespace}-{name}"), &Identity::Token(token.trim()))
    }

    fn write_kubeconfig(&self, name: &str, identity: &Identity<'_>) -> Result<PathBuf> {
        // User names may hold slashes and colons.
        let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = self.dir.join(format!("{safe}.kubeconfig"));
        kubeconfig::write(&path, &self.url, &self.authority.certificate, identity)?;
        Ok(path)
    }

    /// Publishes a copy of the administrator's kubeconfig, whole, at a path that must not exist; removed at the end.
    pub fn publish_kubeconfig(&mut self, path: &Path) -> Result<()> {
        let path = std::path::absolute(path)?;
        let parent = path.parent().context("a kubeconfig cannot be the root directory")?;
        // Temporary files are for the owner only, too.
        let mut file = tempfile::NamedTempFile::new_in(parent)
            .with_context(|| format!("could not write into {}", parent.display()))?;
        std::io::copy(&mut fs::File::open(&self.kubeconfig)?, &mut file)?;
        file.persist_noclobber(&path)
            .with_context(|| format!("could not create {}: name a file that does not exist", path.display()))?;
        self.supervisor.remove_at_end(&path)
    }

    /// Stops the API server from answering, until [`Self::resume_api_server`].
    pub fn pause_api_server(&mut self) -> Result<()> {
        self.supervisor.signal(API_SERVER, Signal::STOP)
    }

    /// Lets the API server go on.
    pub fn resume_api_server(&mut self) -> Result<()> {
        self.supervisor.signal(API_SERVER, Signal::CONT)
    }

    /// An error when a server has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.supervisor.ended()? {
            None => Ok(()),
            Some((name, status)) => Err(Ended { name, status, log: tail(&self.log(name)) }.into()),
        }
    }

    fn wait(&mut self, name: &str, deadline: Instant, mut ready: impl FnMut(&Self) -> bool) -> Result<()> {
        loop {
            self.check()?;
            if ready(self) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = tail(&self.log(name));
                bail!("{name} is not ready after {} s. The end of its log:\n{log}", START_DEADLINE.as_secs());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the administrator can read this path.
    fn answers(&self, path: &str) -> bool {
        let mut kubectl = self.kubectl();
        kubectl.args(["get", "--request-timeout=5s", "--raw", path]);
        kubectl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kubectl.status().is_ok_and(|status| status.success())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ControlPlane").field("dir", &self.dir).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A server that has ended by itself.
#[derive(Debug)]
struct Ended {
    name: &'static str,
    status: ExitStatus,
    log: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ended ({}). The end of its log:\n{}", self.name, self.status, self.log)
    }
}

impl std::error::Error for Ended {}

/// Starts again while the chosen ports are taken by others.
fn retry(mut start: impl FnMut() -> Result<ControlPlane>) -> Result<ControlPlane> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(error) if attempt < ATTEMPTS && is_clash(&error) => attempt += 1,
            other => return other,
        }
    }
}

fn is_clash(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Ended>().is_some_and(|ended| ports::clash(&ended.log))
}
