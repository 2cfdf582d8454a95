//! Builds the binaries with Go, once, into the cache.
//!
//! `go install …@version` cannot build Kubernetes, whose `go.mod` has `replace` lines. The module in `kube/`, which has the
//! same lines for the published modules, can. It is built from a copy, so that Go never writes into the checkout.

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

const GO_MOD: &str = include_str!("../kube/go.mod");
const GO_SUM: &str = include_str!("../kube/go.sum");

/// Name, package, and seconds that it took on two cores with cold caches.
const BINARIES: [(&str, &str, u32); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3", 45),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 170),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl", 30),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 55),
];

/// The binaries from the cache, built where they are missing.
pub(crate) fn build() -> Result<Assets> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)
        .with_context(|| format!("could not create {}: set AMISHARE_CACHE to a writable directory", cache.display()))?;
    let flags = linker_flags()?;
    let dir = cache.join(format!("envtest-{}", key(&go_version()?, &flags)));
    let missing = || BINARIES.iter().any(|(name, _, _)| !dir.join(name).is_file());
    if missing() {
        let _lock = lock(&cache.join("envtest.lock"))?;
        // Whoever held the lock may have built them.
        if missing() {
            build_into(&dir, &cache, &flags)?;
        }
    }
    Assets::in_dir(&dir)
}

fn build_into(dir: &Path, cache: &Path, flags: &str) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    say(&format!("building the Kubernetes API server, once, into {}", dir.display()));
    let mut supervisor = Supervisor::new("go build")?;
    // In the cache, so that renaming does not cross file systems.
    let scratch = tempfile::Builder::new().prefix("building-").tempdir_in(cache)?;
    supervisor.remove_at_end(scratch.path())?;
    let scratch = scratch.keep();
    fs::write(scratch.join("go.mod"), GO_MOD)?;
    fs::write(scratch.join("go.sum"), GO_SUM)?;
    for (index, (name, package, seconds)) in BINARIES.iter().enumerate() {
        let target = dir.join(name);
        if target.is_file() {
            continue;
        }
        let position = format!("{}/{}", index + 1, BINARIES.len());
        say(&format!("[{position}] building {name} (about {seconds} s with two cores and empty caches)"));
        let started = Instant::now();
        let partial = build_one(&mut supervisor, &scratch, name, package, flags)?;
        fs::rename(&partial, &target).with_context(|| format!("could not write {}", target.display()))?;
        say(&format!("[{position}] built {name} in {} s", started.elapsed().as_secs()));
    }
    Ok(())
}

fn build_one(supervisor: &mut Supervisor, scratch: &Path, name: &str, package: &str, flags: &str) -> Result<PathBuf> {
    let partial = scratch.join(name);
    let log = scratch.join("go.log");
    let output = create_private(&log)?;
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags, "-o"])
        .arg(&partial)
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
        "go build of {name} failed ({status}); the build needs a Go module proxy (GOPROXY), 3 GB of memory and 5 GB \
         of disk, or else set KUBEBUILDER_ASSETS to a directory with the binaries. Go said:\n{}",
        tail(&log)
    );
    Ok(partial)
}

/// Without these the servers call themselves v0.0.0-master, and clients and feature gates misbehave.
fn linker_flags() -> Result<String> {
    let version = GO_MOD.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    // A comment may follow.
    let version = version.and_then(|line| line.split_whitespace().next());
    let version = version.context("kube/go.mod does not require k8s.io/kubernetes")?;
    let mut parts = version.split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("kube/go.mod requires k8s.io/kubernetes in a version that is none: {version}");
    };
    let at = "-X k8s.io/component-base/version.git";
    Ok(format!("-s -w {at}Version=v{version} {at}Major={major} {at}Minor={minor} {at}TreeState=clean"))
}

/// Everything that the binaries depend on.
fn key(go: &str, flags: &str) -> String {
    let inputs = [GO_MOD, GO_SUM, go, flags].join("\0");
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, inputs.as_bytes()).as_ref()).chars().take(16).collect()
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
        Err(TryLockError::WouldBlock) => say("waiting for another process that builds the Kubernetes API server"),
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
        let flags = linker_flags().unwrap();
        assert!(flags.contains("gitVersion=v1.") && flags.contains("gitMajor=1 "), "{flags}");
        assert!(!flags.contains("//"), "{flags}");
    }

    #[test]
    fn another_go_version_is_another_build() {
        assert_eq!(key("go1.26.0", "f"), key("go1.26.0", "f"));
        assert_ne!(key("go1.26.0", "f"), key("go1.26.1", "f"));
        assert_ne!(key("go1.26.0", "f"), key("go1.26.0", "g"));
    }
}
