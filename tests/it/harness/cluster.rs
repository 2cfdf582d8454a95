//! The API server of this test run.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use envtest::ControlPlane;

/// The control plane that all tests share, with our definitions installed. It ends with this process: see envtest.
pub fn cluster() -> &'static ControlPlane {
    static CLUSTER: OnceLock<ControlPlane> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let plane = ControlPlane::start(&envtest::assets().unwrap()).unwrap();
        for (_, crd) in amishare::api::crd::all() {
            let installed =
                run(plane.kubectl().args(["apply", "--server-side", "-f", "-"]), &serde_json::to_string(&crd).unwrap());
            assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
            assert!(
                !String::from_utf8_lossy(&installed.stderr).contains("Warning"),
                "the API server warns of the definition"
            );
        }
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        assert!(plane.kubectl().args(established).status().unwrap().success());
        plane
    })
}

/// Runs kubectl on the shared cluster with `input` on its standard input.
pub fn kubectl(arguments: &[&str], input: &str) -> Output {
    run(cluster().kubectl().args(arguments), input)
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
