//! The command lines of the servers.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::assets::Assets;
use crate::files::create_private;

pub(crate) const ETCD: &str = "etcd";
pub(crate) const API_SERVER: &str = "kube-apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// The ports of one control plane.
pub(crate) struct Ports {
    pub(crate) etcd_clients: u16,
    pub(crate) etcd_peers: u16,
    pub(crate) api: u16,
}

pub(crate) fn etcd(assets: &Assets, dir: &Path, ports: &Ports) -> Result<Command> {
    let clients = format!("http://127.0.0.1:{}", ports.etcd_clients);
    let peers = format!("http://127.0.0.1:{}", ports.etcd_peers);
    let mut command = server(&assets.etcd, ETCD, dir)?;
    command
        .arg(format!("--data-dir={}", dir.join("etcd").display()))
        .arg(format!("--listen-client-urls={clients}"))
        .arg(format!("--advertise-client-urls={clients}"))
        .arg(format!("--listen-peer-urls={peers}"))
        .arg(format!("--initial-advertise-peer-urls={peers}"))
        .arg(format!("--initial-cluster=default={peers}"))
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Ok(command)
}

pub(crate) fn api_server(assets: &Assets, dir: &Path, ports: &Ports) -> Result<Command> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut command = server(&assets.kube_apiserver, API_SERVER, dir)?;
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd_clients))
        .arg(format!("--secure-port={}", ports.api))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .args(["--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24"])
        .arg(format!("--cert-dir={}", file("certs")))
        .arg(format!("--tls-cert-file={}", file("apiserver.crt")))
        .arg(format!("--tls-private-key-file={}", file("apiserver.key")))
        .arg(format!("--client-ca-file={}", file("ca.crt")))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
        .arg("--service-account-issuer=https://localhost")
        .arg(format!("--service-account-key-file={}", file("sa.pub")))
        .arg(format!("--service-account-signing-key-file={}", file("sa.key")));
    if assets.kube_controller_manager.is_none() {
        // Nobody makes service accounts, and this plugin refuses pods in namespaces without one.
        command.arg("--disable-admission-plugins=ServiceAccount");
    }
    Ok(command)
}

pub(crate) fn controller_manager(program: &Path, dir: &Path, kubeconfig: &Path) -> Result<Command> {
    let mut command = server(program, CONTROLLER_MANAGER, dir)?;
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--service-account-private-key-file={}", dir.join("sa.key").display()))
        .arg(format!("--root-ca-file={}", dir.join("ca.crt").display()))
        .args(["--use-service-account-credentials=true", "--controllers=*", "--leader-elect=false"])
        // It makes an account per controller at the start: its default of 20 requests per second costs seconds.
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
        .args(["--bind-address=127.0.0.1", "--secure-port=0"]);
    Ok(command)
}

/// Runs in `dir` and logs to `NAME.log` there.
fn server(program: &Path, name: &str, dir: &Path) -> Result<Command> {
    let log = create_private(&dir.join(format!("{name}.log")))?;
    let mut command = Command::new(program);
    command.current_dir(dir).env("LC_ALL", "C").stdout(Stdio::from(log.try_clone()?)).stderr(log);
    Ok(command)
}
