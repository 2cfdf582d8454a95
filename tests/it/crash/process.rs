//! A process of the operator whose calls all pass through a [`Cut`].

use std::{borrow::Borrow, sync::Arc};

use amishare::{
    cli::{RunArgs, Surroundings, operate},
    lease::WritePermit,
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
};
use aws_config::SdkConfig;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{cut::Cut, transports::to_kubernetes};

/// A process that runs.
pub struct Process {
    /// Its calls.
    pub cut: Cut,
    /// Whether it is ready.
    pub readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl Process {
    /// Starts one. `sdk` leads through the cut already.
    pub fn start(
        args: impl Borrow<RunArgs> + Send + Sync + 'static,
        client: &Client,
        sdk: SdkConfig,
        cut: Cut,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        let (readiness, metrics, stop) = (Readiness::default(), Arc::new(Metrics::new()), CancellationToken::new());
        let surroundings = Surroundings {
            client: to_kubernetes(client, &cut),
            sdk,
            metrics: Arc::clone(&metrics),
            readiness: readiness.clone(),
            clock,
            entropy,
            permit: WritePermit::always(),
        };
        let stopping = stop.clone();
        let task = tokio::spawn(async move { operate(args.borrow(), surroundings, stopping).await.unwrap() });
        Self { cut, readiness, stop, task, metrics }
    }

    /// Kills it.
    pub async fn kill(self) {
        // Dead before it is stopped: what it would do on its way out reaches nobody.
        self.cut.kill();
        self.stop.cancel();
        self.task.abort();
        assert!(self.task.await.err().is_none_or(|error| error.is_cancelled()), "the operator panicked");
        self.cut.bury();
        let metrics = self.metrics.render().unwrap();
        assert!(!metrics.contains("amishare_reconcile_panics_total{"), "a reconcile panicked:\n{metrics}");
    }
}
