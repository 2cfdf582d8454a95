//! The API servers of this test run.

use std::{
    collections::HashMap,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use envtest::ControlPlane;

use crate::chart::render::{NAME, rendered};

/// The control plane that all tests share, with our definitions installed. It ends with this process: see envtest.
pub fn cluster() -> Arc<ControlPlane> {
    static CLUSTER: OnceLock<Arc<ControlPlane>> = OnceLock::new();
    Arc::clone(CLUSTER.get_or_init(|| own_cluster(definitions())))
}

/// Our definitions, as JSON.
fn definitions() -> impl Iterator<Item = String> {
    amishare::api::crd::all().into_iter().map(|(_, crd)| serde_json::to_string(&crd).unwrap())
}

/// Our definition of a kind, as JSON.
pub fn definition_of(kind: &str) -> String {
    let (_, definition) = amishare::api::crd::all().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    serde_json::to_string(&definition).unwrap()
}

/// A control plane of its own for one test, with these definitions installed. Dropped, it ends.
pub fn own_cluster(definitions: impl IntoIterator<Item = String>) -> Arc<ControlPlane> {
    let plane = Arc::new(ControlPlane::start(&envtest::assets().unwrap()).unwrap());
    install_all(&plane, definitions);
    plane
}

/// Installs our definitions on a control plane.
pub(super) fn install(plane: &ControlPlane) {
    install_all(plane, definitions());
}

fn install_all(plane: &ControlPlane, definitions: impl IntoIterator<Item = String>) {
    for definition in definitions {
        let installed = kubectl(plane, &["apply", "--server-side", "-f", "-"], &definition);
        let stderr = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "{stderr}");
        assert!(!stderr.contains("Warning"), "the API server warns of the definition: {stderr}");
    }
    let established = kubectl(plane, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "");
    assert!(established.status.success(), "{}", String::from_utf8_lossy(&established.stderr));
}

/// The kubeconfig of who may do what the chart lets the operator do, and nothing else. All tests run their operators with it: what
/// the chart forgets to allow fails them.
pub fn operators(plane: &ControlPlane) -> PathBuf {
    static KNOWN: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.entry(plane.kubeconfig().to_owned()).or_insert_with(|| permitted(plane)).clone()
}

fn permitted(plane: &ControlPlane) -> PathBuf {
    let made = kubectl(plane, &["create", "namespace", NAME], "");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let is_permission = |kind: &str| kind == "ServiceAccount" || kind.contains("Role");
    let objects = rendered(&[]);
    let permissions = objects.iter().filter(|object| object["kind"].as_str().is_some_and(is_permission));
    let texts: Vec<String> = permissions.map(ToString::to_string).collect();
    let applied = kubectl(plane, &["apply", "--server-side", "-f", "-"], &texts.join("\n---\n"));
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    plane.kubeconfig_for_service_account(NAME, NAME).unwrap()
}

/// Runs kubectl on a cluster with `input` on its standard input.
pub fn kubectl(plane: &ControlPlane, arguments: &[&str], input: &str) -> Output {
    run(plane.kubectl().args(arguments), input)
}

pub(super) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}
