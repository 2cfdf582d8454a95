//! What a machine must have for a node, and the one thing of it that a node uses: control groups.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

const GROUPS: &str = "/sys/fs/cgroup";
/// The hierarchies in which the kubelet makes groups for pods.
const CONTROLLERS: [&str; 9] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd"];

/// What this machine lacks for a node, in words; nothing if it can have one.
pub fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".into());
    }
    for (tool, package) in [("unshare", "util-linux"), ("mount", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")]
    {
        if find(tool).is_none() {
            return Some(format!("there is no {tool}: apt-get install {package}"));
        }
    }
    if find_runc().is_none() {
        return Some("there is no runc: apt-get install runc".into());
    }
    if let Some(missing) = CONTROLLERS.iter().find(|name| !Path::new(GROUPS).join(name).is_dir()) {
        return Some(format!("there is no {GROUPS}/{missing}: it takes control groups of version 1"));
    }
    let probe = PathBuf::from(GROUPS).join("memory").join(format!("amishare-probe-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)) {
        return Some(format!("control groups cannot be made: {error}"));
    }
    // Namespaces, and mounts in them.
    let mut namespaces = Command::new("unshare");
    namespaces.args(["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--mount-proc"]);
    namespaces.args(["sh", "-c", "mount -t tmpfs tmpfs /run && nft list ruleset"]);
    let output = namespaces.stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("namespaces cannot be made: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("namespaces cannot be made: {error}")),
    }
}

/// The program that starts containers, which is not built here: seccomp, which Pods ask for, takes a C library.
pub fn find_runc() -> Option<PathBuf> {
    find("runc")
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // The search path of a user may lack what only root uses.
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// Where the kubelet and runc make groups besides, if it is there: without controllers, of version 2.
const UNIFIED: &str = "unified";

/// The group of a node in the hierarchy that has no controllers.
pub(super) fn unified_group(name: &str) -> PathBuf {
    Path::new(GROUPS).join(UNIFIED).join(name)
}

/// The groups of a node: one in each hierarchy.
pub(super) fn control_groups(name: &str) -> Vec<PathBuf> {
    let groups = CONTROLLERS.iter().map(|controller| Path::new(GROUPS).join(controller).join(name));
    // Some hierarchies have two names.
    let mut seen = Vec::new();
    groups
        .filter(|group| {
            let real = group.parent().and_then(|parent| fs::canonicalize(parent).ok());
            let new = !seen.contains(&real);
            seen.push(real);
            new
        })
        .collect()
}

pub(super) fn create_control_group(group: &Path) -> Result<()> {
    fs::create_dir(group).with_context(|| format!("could not create {}", group.display()))?;
    // In this one a group can do nothing before it is told what it may use.
    if let Some(parent) = group.parent().filter(|parent| parent.ends_with("cpuset")) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(group.join(file), fs::read(parent.join(file))?)
                .with_context(|| format!("could not write {}", group.join(file).display()))?;
        }
    }
    Ok(())
}
