//! A node, from outside: it is a whole cluster, and it leaves nothing, however it ends.
//!
//! What runs on it is for the tests of the project (`tests/node/` in the root).

// Clippy sees tests, and not the functions that they call.
#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{eventually, processes_of, succeed};
use envtest::node::lacking;

const LIMIT: Duration = Duration::from_secs(30);

/// Whether this machine can have a node; says why not, once, and fails if it must have one.
fn possible(what: &str) -> bool {
    let Some(lacking) = lacking() else { return true };
    assert!(env::var_os("AMISHARE_REQUIRE_NODE").is_none(), "this machine cannot have a node: {lacking}");
    // Not with a macro: what those print is shown only if the test fails.
    let _ = writeln!(io::stderr(), "SKIPPED, because this machine cannot have a node ({lacking}): {what}");
    false
}

/// A node that runs, its kubeconfig, and what gets into its network.
fn start() -> (Child, PathBuf, Vec<String>) {
    let mut node = Command::new(env!("CARGO_BIN_EXE_envtest"));
    let mut child = node.arg("node").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.next().unwrap_or_default();
    let path = line.strip_prefix("export KUBECONFIG='").and_then(|rest| rest.strip_suffix('\''));
    let kubeconfig = PathBuf::from(path.unwrap_or_else(|| panic!("unexpected: {line:?}")));
    let hint = lines.next().unwrap();
    let enter = hint.strip_prefix("# in its network: ").unwrap().strip_suffix(" COMMAND").unwrap();
    (child, kubeconfig, enter.split(' ').map(ToOwned::to_owned).collect())
}

/// The control groups that are called after a directory.
fn control_groups(dir: &Path) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    hierarchies.map(|entry| entry.path().join(dir.file_name().unwrap())).filter(|group| group.exists()).collect()
}

#[test]
fn a_node_is_ready_with_its_services_and_leaves_nothing_when_it_is_killed() {
    if !possible("a node is ready, and leaves nothing when it is killed") {
        return;
    }
    let (mut child, kubeconfig, enter) = start();
    let dir = kubeconfig.parent().unwrap().to_owned();
    let assets = envtest::assets().unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(&assets.kubectl).args(arguments).env("KUBECONFIG", &kubeconfig);
        succeed(command.env("KUBECACHEDIR", dir.join("cache")))
    };
    assert_eq!(kubectl(&["get", "nodes", "--no-headers"]).split_whitespace().nth(1), Some("Ready"));
    assert!(kubectl(&["get", "--raw=/readyz"]).contains("ok"));

    assert!(processes_of(&dir).len() > 8, "{:?}", processes_of(&dir));
    assert!(control_groups(&dir).len() >= 7, "{:?}", control_groups(&dir));
    // `Child::kill` sends SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("no process names the directory", LIMIT, || processes_of(&dir).is_empty());
    eventually("the control groups are removed", LIMIT, || control_groups(&dir).is_empty());
    eventually("the directory is removed", LIMIT, || !dir.exists());
}
