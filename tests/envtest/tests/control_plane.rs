//! The control plane as a library: it works, several run at once, and dropping it leaves nothing.

// Clippy sees tests, and not the functions that they call.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{eventually, processes_of, succeed, write_script};
use envtest::{ControlPlane, assets};

#[test]
fn a_control_plane_becomes_ready_and_kubectl_works() {
    let plane = ControlPlane::start(&assets().unwrap()).unwrap();
    assert_eq!(succeed(plane.kubectl().args(["get", "--raw", "/readyz"])), "ok");
    let version = succeed(plane.kubectl().args(["version"]));
    assert!(version.contains("Server Version: v1.") && !version.contains("v0.0.0"), "{version}");
    succeed(plane.kubectl().args(["create", "configmap", "greeting", "--from-literal=hello=world"]));
    let data = succeed(plane.kubectl().args(["get", "configmap", "greeting", "--output=jsonpath={.data.hello}"]));
    assert_eq!(data, "world");
}

#[test]
fn files_with_keys_and_tokens_are_for_their_owner_only() {
    let plane = ControlPlane::start(&assets().unwrap()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(plane.dir()), 0o700);
    let user = plane.kubeconfig_for("somebody", None).unwrap();
    for name in ["kubeconfig", "tokens.csv", "sa.key", "apiserver.key"] {
        assert_eq!(mode(&plane.dir().join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&user), 0o600);
}

#[test]
fn the_controller_manager_collects_the_children_of_deleted_objects() {
    let plane = ControlPlane::start(&assets().unwrap()).unwrap();
    if !plane.has_controller_manager() {
        return;
    }
    succeed(plane.kubectl().args(["create", "configmap", "parent"]));
    let uid = succeed(plane.kubectl().args(["get", "configmap", "parent", "--output=jsonpath={.metadata.uid}"]));
    let child = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: child\n  ownerReferences:\n  - {{apiVersion: v1, kind: \
         ConfigMap, name: parent, uid: {uid}}}\n"
    );
    let manifest = plane.dir().join("child.yaml");
    fs::write(&manifest, child).unwrap();
    succeed(plane.kubectl().arg("apply").arg("--filename").arg(&manifest));
    succeed(plane.kubectl().args(["delete", "configmap", "parent"]));
    eventually("the child is gone", Duration::from_mins(1), || {
        !plane.kubectl().args(["get", "configmap", "child"]).output().unwrap().status.success()
    });
}

#[test]
fn users_and_service_accounts_may_do_only_what_rbac_allows() {
    let plane = ControlPlane::start(&assets().unwrap()).unwrap();
    let may_list = |kubeconfig: &Path| {
        let mut kubectl = plane.kubectl();
        kubectl.arg("--kubeconfig").arg(kubeconfig).args(["get", "configmaps"]);
        kubectl.output().unwrap().status.success()
    };
    let user = plane.kubeconfig_for("system:somebody/else", Some("readers")).unwrap();
    succeed(plane.kubectl().args(["create", "serviceaccount", "robot"]));
    let account = plane.kubeconfig_for_service_account("default", "robot").unwrap();
    assert!(!may_list(&user) && !may_list(&account));

    succeed(plane.kubectl().args(["create", "role", "reader", "--verb=list", "--resource=configmaps"]));
    let subjects = ["--role=reader", "--group=readers", "--serviceaccount=default:robot"];
    succeed(plane.kubectl().args(["create", "rolebinding", "readers"]).args(subjects));
    eventually("both may list", Duration::from_secs(20), || may_list(&user) && may_list(&account));
}

#[test]
fn two_control_planes_run_side_by_side() {
    let assets = assets().unwrap();
    let (one, other) = (ControlPlane::start(&assets).unwrap(), ControlPlane::start(&assets).unwrap());
    assert_ne!(one.url(), other.url());
    succeed(one.kubectl().args(["create", "namespace", "only-here"]));
    let elsewhere = other.kubectl().args(["get", "namespace", "only-here"]).output().unwrap();
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("NotFound"), "{elsewhere:?}");
    drop(one);
    assert_eq!(succeed(other.kubectl().args(["get", "--raw", "/readyz"])), "ok");
}

#[test]
fn dropping_a_control_plane_leaves_no_process_and_no_directory() {
    let plane = ControlPlane::start(&assets().unwrap()).unwrap();
    let dir = plane.dir().to_owned();
    let mut other = plane.supervise(Command::new("sleep").arg("600").current_dir("/")).spawn().unwrap();
    let expected = if plane.has_controller_manager() { 5 } else { 4 };
    assert_eq!(processes_of(&dir).len(), expected, "the servers and two shells: {:?}", processes_of(&dir));
    drop(plane);
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
    assert!(!other.wait().unwrap().success(), "a supervised command is killed");
}

#[test]
fn a_paused_api_server_goes_on_and_a_killed_one_is_noticed() {
    let mut plane = ControlPlane::start(&assets().unwrap()).unwrap();
    plane.pause_api_server().unwrap();
    let answer = plane.kubectl().args(["get", "--raw", "/readyz", "--request-timeout=1s"]).output().unwrap();
    assert!(!answer.status.success());
    plane.resume_api_server().unwrap();
    succeed(plane.kubectl().args(["get", "--raw", "/readyz"]));

    plane.check().unwrap();
    let pid = fs::read_to_string(plane.dir().join("kube-apiserver.pid")).unwrap();
    succeed(Command::new("kill").args(["-KILL", pid.trim()]));
    eventually("the end is noticed", Duration::from_secs(10), || plane.check().is_err());
    assert!(plane.check().unwrap_err().to_string().contains("kube-apiserver ended"));
}

#[test]
fn a_control_plane_whose_port_is_taken_starts_again_with_another() {
    let mut assets = assets().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (marker, real) = (dir.path().join("tried"), assets.etcd.display().to_string());
    let clash = format!("echo 'listen tcp: bind: address already in use'; : >'{0}'; exit 1", marker.display());
    assets.etcd =
        program(dir.path(), &format!("[ -e '{}' ] || {{ {clash}; }}\nexec '{real}' \"$@\"", marker.display()));
    let plane = ControlPlane::start(&assets).unwrap();
    assert!(marker.exists());
    assert_eq!(succeed(plane.kubectl().args(["get", "--raw", "/readyz"])), "ok");
}

#[test]
fn a_server_that_cannot_start_is_reported_with_the_end_of_its_log() {
    let mut assets = assets().unwrap();
    let dir = tempfile::tempdir().unwrap();
    assets.etcd = program(dir.path(), "echo the disk is made of cheese >&2\nexit 3");
    let error = ControlPlane::start(&assets).unwrap_err().to_string();
    assert!(error.contains("etcd ended (exit status: 3)") && error.contains("made of cheese"), "{error}");
}

/// A shell script in place of etcd.
fn program(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("etcd");
    write_script(&path, script);
    path
}
