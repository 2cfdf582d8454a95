//! Builds the binaries with Go, once, into the cache.
//!
//! `go install …@version` cannot build Kubernetes, whose `go.mod` has `replace` lines. The module in `kube/`, which has the
//! same lines for the published modules, can. `helm/` pins helm in the same way. Both are built from copies, so that Go never
//! writes into the checkout.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::assets::Assets;
use crate::cache::cache_dir;
use crate::certificates::hex;
use crate::files::{create_private, tail};
use crate::supervisor::Supervisor;

/// A Go module here, and the binaries that are built from it.
struct Module {
    /// What is built, for people.
    what: &'static str,
    /// The folder in the cache is called so, and by the hash of everything that the binaries depend on.
    folder: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Programs of our own in the module: path and text.
    sources: &'static [(&'static str, &'static str)],
    /// What is built and what is left out.
    tags: &'static str,
    /// Name, package, and seconds that it took on two cores with cold caches.
    binaries: &'static [(&'static str, &'static str, u32)],
    linker_flags: fn() -> Result<String>,
}

const KUBE: Module = Module {
    what: "the Kubernetes API server",
    folder: "envtest",
    go_mod: include_str!("../kube/go.mod"),
    go_sum: include_str!("../kube/go.sum"),
    sources: &[],
    tags: "",
    binaries: &[
        ("etcd", "go.etcd.io/etcd/server/v3", 45),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 170),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl", 30),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 55),
    ],
    linker_flags: kube_flags,
};

/// A module of its own, because helm wants newer client libraries than the servers.
const HELM: Module = Module {
    what: "helm",
    folder: "helm",
    go_mod: include_str!("../helm/go.mod"),
    go_sum: include_str!("../helm/go.sum"),
    sources: &[],
    tags: "",
    binaries: &[("helm", "helm.sh/helm/v4/cmd/helm", 130)],
    linker_flags: helm_flags,
};

/// What of Kubernetes runs only on a node; apart from [`KUBE`], so that nobody builds it who needs no node.
const KUBE_NODE: Module = Module {
    what: "the kubelet",
    folder: "node-kube",
    go_mod: include_str!("../kubelet/go.mod"),
    go_sum: include_str!("../kubelet/go.sum"),
    binaries: &[
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet", 45),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 20),
        ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 15),
    ],
    ..KUBE
};

/// What starts containers, but for runc, and gives pods their addresses.
const NODE: Module = Module {
    what: "containerd",
    folder: "node",
    go_mod: include_str!("../node/go.mod"),
    go_sum: include_str!("../node/go.sum"),
    sources: &[("pause/main.go", include_str!("../node/pause/main.go"))],
    // These need C libraries.
    tags: "no_btrfs no_devmapper no_zfs",
    binaries: &[
        ("containerd", "github.com/containerd/containerd/v2/cmd/containerd", 110),
        ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", 10),
        ("ctr", "github.com/containerd/containerd/v2/cmd/ctr", 15),
        ("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local", 5),
        ("loopback", "github.com/containernetworking/plugins/plugins/main/loopback", 5),
        ("ptp", "github.com/containernetworking/plugins/plugins/main/ptp", 10),
        ("pause", "./pause", 2),
    ],
    linker_flags: plain_flags,
};

/// The names of Services; a module of its own, because it wants other client libraries than the servers.
const DNS: Module = Module {
    what: "CoreDNS",
    folder: "node-dns",
    go_mod: include_str!("../dns/go.mod"),
    go_sum: include_str!("../dns/go.sum"),
    sources: &[("main.go", include_str!("../dns/main.go"))],
    tags: "",
    binaries: &[("coredns", ".", 90)],
    linker_flags: plain_flags,
};

/// Where the binaries of a node are, besides those of a control plane.
#[derive(Debug, Clone)]
pub(crate) struct NodeAssets {
    /// The kubelet, the scheduler and kube-proxy.
    pub(crate) kube: PathBuf,
    /// containerd, the programs of its containers and of their network, and `pause`.
    pub(crate) node: PathBuf,
    /// CoreDNS.
    pub(crate) dns: PathBuf,
}

/// The binaries of a node from the cache, built where they are missing.
pub(crate) fn build_node() -> Result<NodeAssets> {
    Ok(NodeAssets { kube: built(&KUBE_NODE)?, node: built(&NODE)?, dns: built(&DNS)? })
}

/// The binaries of a control plane from the cache, built where they are missing.
pub(crate) fn build() -> Result<Assets> {
    Assets::in_dir(&built(&KUBE)?)
}

/// helm from the cache, built if it is missing.
pub(crate) fn build_helm() -> Result<PathBuf> {
    Ok(built(&HELM)?.join("helm"))
}

/// The folder with the binaries of a module.
fn built(module: &Module) -> Result<PathBuf> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)
        .with_context(|| format!("could not create {}: set AMISHARE_CACHE to a writable directory", cache.display()))?;
    let flags = (module.linker_flags)()?;
    let dir = cache.join(format!("{}-{}", module.folder, module.key(&go_version()?, &flags)));
    let missing = || module.binaries.iter().any(|(name, _, _)| !dir.join(name).is_file());
    if missing() {
        let _lock = lock(&cache.join("envtest.lock"))?;
        // Whoever held the lock may have built them.
        if missing() {
            build_into(module, &dir, &cache, &flags)?;
        }
    }
    Ok(dir)
}

fn build_into(module: &Module, dir: &Path, cache: &Path, flags: &str) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    say(&format!("building {}, once, into {}", module.what, dir.display()));
    let mut supervisor = Supervisor::new("go build")?;
    // In the cache, so that renaming does not cross file systems.
    let scratch = tempfile::Builder::new().prefix("building-").tempdir_in(cache)?;
    supervisor.remove_at_end(scratch.path())?;
    let scratch = scratch.keep();
    fs::write(scratch.join("go.mod"), module.go_mod)?;
    fs::write(scratch.join("go.sum"), module.go_sum)?;
    for (path, text) in module.sources {
        let path = scratch.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    // Beside the sources, one could have the name of the other's directory.
    let results = scratch.join("built");
    fs::create_dir(&results)?;
    for (index, (name, package, seconds)) in module.binaries.iter().enumerate() {
        let target = dir.join(name);
        if target.is_file() {
            continue;
        }
        let position = format!("{}/{}", index + 1, module.binaries.len());
        say(&format!("[{position}] building {name} (about {seconds} s with two cores and empty caches)"));
        let started = Instant::now();
        let partial = results.join(name);
        build_one(&mut supervisor, &scratch, &partial, package, &[module.tags, flags])?;
        fs::rename(&partial, &target).with_context(|| format!("could not write {}", target.display()))?;
        say(&format!("[{position}] built {name} in {} s", started.elapsed().as_secs()));
    }
    Ok(())
}

fn build_one(
    supervisor: &mut Supervisor,
    scratch: &Path,
    partial: &Path,
    package: &str,
    [tags, flags]: &[&str; 2],
) -> Result<()> {
    let log = scratch.join("go.log");
    let output = create_private(&log)?;
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", tags, "-ldflags", flags, "-o"])
        .arg(partial)
        .arg(package)
        .current_dir(scratch)
        // Static, as Kubernetes releases are: no C compiler is needed and the result runs in any image.
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // Removed with the rest when this process is killed.
        .env("GOTMPDIR", scratch)
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdout(output.try_clone()?)
        .stderr(output);
    let status = supervisor.run("go build", go)?;
    ensure!(
        status.success(),
        "go build of {package} failed ({status}); the build needs a Go module proxy (GOPROXY), 3 GB of memory and 5 GB \
         of disk, or else set KUBEBUILDER_ASSETS to a directory with the binaries. Go said:\n{}",
        tail(&log)
    );
    Ok(())
}

/// Without these the servers call themselves v0.0.0-master, and clients and feature gates misbehave.
fn kube_flags() -> Result<String> {
    let version = KUBE.required("k8s.io/kubernetes")?;
    let mut parts = version.split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("kube/go.mod requires k8s.io/kubernetes in a version that is none: {version}");
    };
    let at = "-X k8s.io/component-base/version.git";
    Ok(format!("-s -w {at}Version=v{version} {at}Major={major} {at}Minor={minor} {at}TreeState=clean"))
}

/// Without this helm calls itself v4, and charts cannot ask for a version.
fn helm_flags() -> Result<String> {
    let version = HELM.required("helm.sh/helm/v4")?;
    Ok(format!("-s -w -X helm.sh/helm/v4/internal/version.version=v{version}"))
}

/// Without symbols, which nobody looks at.
#[allow(clippy::unnecessary_wraps, reason = "the flags of other modules can be wrong")]
fn plain_flags() -> Result<String> {
    Ok("-s -w".into())
}

impl Module {
    /// The version of a module that go.mod requires.
    fn required(&self, module: &str) -> Result<&'static str> {
        let version = self.go_mod.lines().find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(" v"));
        // A comment may follow.
        let version = version.and_then(|line| line.split_whitespace().next());
        version.with_context(|| format!("the go.mod of {} does not require {module}", self.what))
    }

    /// Everything that the binaries depend on.
    fn key(&self, go: &str, flags: &str) -> String {
        let mut inputs = vec![self.go_mod, self.go_sum, go, flags];
        if !self.tags.is_empty() {
            inputs.push(self.tags);
        }
        inputs.extend(self.sources.iter().map(|(_, text)| *text));
        let inputs = inputs.join("\0");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, inputs.as_bytes());
        hex(hash.as_ref()).chars().take(16).collect()
    }
}

fn go_version() -> Result<String> {
    let output = match Command::new("go").args(["env", "GOVERSION"]).current_dir("/").output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "there is no `go` on PATH: install Go 1.26 or later, or set KUBEBUILDER_ASSETS to a directory with etcd, \
             kube-apiserver and kubectl"
        ),
        other => other.context("could not run go")?,
    };
    ensure!(output.status.success(), "`go env GOVERSION` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Held until the file is closed; the kernel closes it when this process dies.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("could not open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say("waiting for another process that builds binaries"),
        Err(TryLockError::Error(error)) => return Err(error).context(format!("could not lock {}", path.display())),
    }
    file.lock().with_context(|| format!("could not lock {}", path.display()))?;
    Ok(file)
}

/// A line of progress. Not `eprintln!`, which the test harness swallows.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "envtest: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_carry_the_version_that_go_mod_requires() {
        let flags = kube_flags().unwrap();
        assert!(flags.contains("gitVersion=v1.") && flags.contains("gitMajor=1 "), "{flags}");
        assert!(!flags.contains("//"), "{flags}");
        let flags = helm_flags().unwrap();
        assert!(flags.contains("version.version=v4.") && !flags.contains("//"), "{flags}");
    }

    #[test]
    fn another_go_version_is_another_build() {
        assert_eq!(KUBE.key("go1.26.0", "f"), KUBE.key("go1.26.0", "f"));
        assert_ne!(KUBE.key("go1.26.0", "f"), KUBE.key("go1.26.1", "f"));
        assert_ne!(KUBE.key("go1.26.0", "f"), KUBE.key("go1.26.0", "g"));
        assert_ne!(KUBE.key("go1.26.0", "f"), HELM.key("go1.26.0", "f"));
    }
}
