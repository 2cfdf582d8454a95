//! The `envtest` binary: it ends everything with itself, however it ends, and `KUBEBUILDER_ASSETS` wins.

// Clippy sees tests, and not the functions that they call.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{eventually, processes_of, succeed, write_script};

const LIMIT: Duration = Duration::from_secs(20);

fn launcher() -> Command {
    Command::new(env!("CARGO_BIN_EXE_envtest"))
}

/// Starts the launcher, directly or through a shell, and returns it with the directory of its control plane.
fn start(mut command: Command) -> (Child, PathBuf) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let path = line.trim().strip_prefix("export KUBECONFIG='").and_then(|rest| rest.strip_suffix('\''));
    let dir = Path::new(path.unwrap_or_else(|| panic!("unexpected: {line:?}"))).parent().unwrap().to_owned();
    assert!(processes_of(&dir).len() >= 4, "{:?}", processes_of(&dir));
    (child, dir)
}

fn pids(dir: &Path) -> Vec<u32> {
    let pid = |name: &str| fs::read_to_string(dir.join(format!("{name}.pid"))).unwrap().trim().parse().unwrap();
    vec![pid("etcd"), pid("kube-apiserver")]
}

/// Gone, or only waiting to be collected by whoever adopted it.
fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn assert_nothing_is_left(dir: &Path, pids: &[u32]) {
    eventually("the recorded processes are gone", LIMIT, || pids.iter().all(|pid| is_gone(*pid)));
    eventually("no process names the directory", LIMIT, || processes_of(dir).is_empty());
    eventually("the directory is removed", LIMIT, || !dir.exists());
}

#[test]
fn a_holder_killed_with_sigkill_leaves_nothing() {
    let published = tempfile::tempdir().unwrap().path().with_extension("kubeconfig");
    let mut command = launcher();
    command.arg("start").arg("--kubeconfig").arg(&published);
    let (mut child, dir) = start(command);
    assert!(published.exists());
    let pids = pids(&dir);
    // `Child::kill` sends SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_is_left(&dir, &pids);
    assert!(!published.exists());
}

#[test]
fn a_terminated_launcher_has_cleaned_up_when_it_ends() {
    let mut command = launcher();
    command.arg("start");
    let (mut child, dir) = start(command);
    let pids = pids(&dir);
    succeed(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert!(child.wait().unwrap().success());
    assert!(pids.iter().all(|pid| is_gone(*pid)) && processes_of(&dir).is_empty() && !dir.exists());
}

#[test]
fn with_parent_it_ends_when_the_script_that_started_it_is_killed() {
    let mut script = Command::new("/bin/sh");
    let launcher = env!("CARGO_BIN_EXE_envtest");
    script.args(["-c", r#""$1" start --with-parent & wait"#, "script", launcher]).stdin(Stdio::null());
    let (mut script, dir) = start(script);
    let pids = pids(&dir);
    script.kill().unwrap();
    script.wait().unwrap();
    assert_nothing_is_left(&dir, &pids);
}

#[test]
fn with_parent_it_ends_when_its_standard_input_ends() {
    let mut command = launcher();
    command.args(["start", "--with-parent"]).stdin(Stdio::piped());
    let (mut child, dir) = start(command);
    let pids = pids(&dir);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_nothing_is_left(&dir, &pids);
}

#[test]
fn a_directory_that_was_asked_for_stays_with_its_logs_and_is_not_used_twice() {
    let parent = tempfile::tempdir().unwrap();
    let kept = parent.path().join("kept");
    let mut command = launcher();
    command.arg("start").arg("--dir").arg(&kept);
    let (mut child, dir) = start(command);
    assert_eq!(dir, kept);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the processes are gone", LIMIT, || processes_of(&dir).is_empty());
    assert!(kept.join("kube-apiserver.log").exists());

    let again = launcher().arg("start").arg("--dir").arg(&kept).output().unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
}

#[test]
fn an_existing_kubeconfig_is_neither_overwritten_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("config");
    fs::write(&mine, "mine").unwrap();
    let output = launcher().arg("start").arg("--kubeconfig").arg(&mine).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("name a file that does not exist"), "{output:?}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn kubebuilder_assets_wins_over_the_cache() {
    let (bundle, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let build = || {
        let mut command = launcher();
        command.arg("build").env("KUBEBUILDER_ASSETS", bundle.path()).env("AMISHARE_CACHE", cache.path());
        command.output().unwrap()
    };
    let incomplete = build();
    assert!(!incomplete.status.success());
    assert!(String::from_utf8_lossy(&incomplete.stderr).contains("there is no etcd in"), "{incomplete:?}");

    for name in ["etcd", "kube-apiserver", "kubectl", "helm"] {
        fs::write(bundle.path().join(name), "").unwrap();
    }
    let complete = build();
    assert_eq!(String::from_utf8(complete.stdout).unwrap().trim(), bundle.path().to_str().unwrap());
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing was built");
}

#[test]
fn without_go_the_error_says_what_to_install() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = launcher();
    command.arg("build").env_remove("KUBEBUILDER_ASSETS").env("AMISHARE_CACHE", cache.path()).env("PATH", "/nowhere");
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("install Go 1.26") && error.contains("KUBEBUILDER_ASSETS"), "{error}");
}

#[test]
fn two_builders_build_each_binary_once_with_a_line_of_progress() {
    let (cache, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let built = bin.path().join("built");
    let script = format!("while [ \"$1\" != -o ]; do shift; done\n: >\"$2\"; echo x >>'{}'", built.display());
    // Both before either runs: what runs cannot be written.
    let commands = [(); 2].map(|()| with_fake_go(bin.path(), cache.path(), &script));
    let builds = commands.map(|mut command| command.stderr(Stdio::piped()).spawn().unwrap());
    let outputs = builds.map(|build| build.wait_with_output().unwrap());
    assert!(outputs.iter().all(|output| output.status.success() && output.stdout == outputs[0].stdout), "{outputs:?}");
    assert_eq!(fs::read_to_string(built).unwrap().lines().count(), 5);
    let progress = outputs.map(|output| String::from_utf8(output.stderr).unwrap()).concat();
    for name in ["etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "helm"] {
        assert_eq!(progress.matches(&format!("] built {name} in ")).count(), 1, "{progress}");
    }
}

#[test]
fn a_killed_build_leaves_no_compiler_and_no_scratch_directory() {
    let cache = tempfile::tempdir().unwrap();
    let bin = tempfile::tempdir().unwrap();
    // The last line keeps the shell, which names the directory, alive.
    let mut command = with_fake_go(bin.path(), cache.path(), "sleep 600\ntrue");
    let mut build = command.stderr(Stdio::null()).spawn().unwrap();
    eventually("the compiler runs", LIMIT, || !processes_of(bin.path()).is_empty());
    build.kill().unwrap();
    build.wait().unwrap();
    let scratch = || fs::read_dir(cache.path()).unwrap().flatten().any(|entry| is_scratch(&entry.path()));
    eventually("the compiler is gone", LIMIT, || processes_of(bin.path()).is_empty());
    eventually("the scratch directory is gone", LIMIT, || !scratch());
}

fn is_scratch(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("building-")
}

/// `envtest build` with a `go` that tells a version and otherwise does what the script says.
fn with_fake_go(bin: &Path, cache: &Path, script: &str) -> Command {
    let go = bin.join("go");
    write_script(&go, &format!("[ \"$1\" = env ] && echo go1.26.0 && exit\n{script}"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = launcher();
    command.arg("build").env_remove("KUBEBUILDER_ASSETS").env("AMISHARE_CACHE", cache).env("PATH", path);
    command.stdout(Stdio::piped());
    command
}
