//! A control plane of a test's own, for tests that stop it or want it without our definitions, and an AWS next to it.

use amishare::simulator::{Scenario, Simulator};
use envtest::ControlPlane;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    cluster::{install, run},
    process::Operator,
    world::PLAIN,
};

/// A control plane and a simulated AWS that nobody shares.
pub struct Plane {
    pub control: ControlPlane,
    pub aws: Simulator,
    /// Where the simulated AWS listens.
    pub endpoint: String,
    _serving: DropGuard,
}

impl Plane {
    /// Starts both. The control plane has no definitions of ours.
    pub async fn start() -> Self {
        let control = tokio::task::spawn_blocking(|| ControlPlane::start(&envtest::assets().unwrap()).unwrap());
        let aws = Simulator::new(Scenario::from_yaml(PLAIN).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = CancellationToken::new();
        let (served, stop) = (aws.clone(), serving.clone());
        tokio::spawn(async move { served.serve(listener, stop.cancelled_owned()).await });
        Self { control: control.await.unwrap(), aws, endpoint, _serving: serving.drop_guard() }
    }

    /// Installs our definitions.
    pub fn install(&self) {
        tokio::task::block_in_place(|| install(&self.control));
    }

    /// Starts an operator for all namespaces.
    pub async fn operator(&self, flags: &[&str]) -> Operator {
        let mut command = Operator::command(self.control.kubeconfig(), &self.endpoint, flags);
        Operator::start(&self.control, &mut command).await
    }

    /// Runs kubectl, which must succeed; gives what it prints.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = tokio::task::block_in_place(|| run(self.control.kubectl().args(arguments), input));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
