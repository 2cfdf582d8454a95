//! Permits in simulated time: the API server in memory, the simulated AWS in process, and a lease that begins and ends when the test
//! says so.

use std::{sync::Arc, time::Duration};

use amishare::{
    cli::{Surroundings, operate},
    lease::{
        WritePermit,
        permit::{Grants, Tenure},
    },
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
    simulator::{self, Scenario, Simulator},
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    harness::world::{IMAGE, PLAIN, REGION, SHARES_ALONE, run_args},
    memory::Memory,
    properties::arena::sdk,
};

const NAMESPACE: &str = "images";
const A: &str = "111122223333";
const B: &str = "444455556666";

/// An operator whose lease is in the test's hands.
struct Replica {
    memory: Memory,
    aws: Simulator,
    grants: Grants,
    metrics: Arc<Metrics>,
    _operator: DropGuard,
}

impl Replica {
    fn start() -> Self {
        let aws = Simulator::new(Scenario::from_yaml(PLAIN).unwrap());
        let from = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Clock::set_to(from);
        aws.with_world(|world| world.clock = simulator::Clock::Following { from, since: Instant::now() });
        let (memory, metrics) = (Memory::new(clock, 1), Arc::new(Metrics::new()));
        let (grants, permit) = WritePermit::leased();
        let surroundings = Surroundings {
            client: memory.connect("operator").client(),
            sdk: sdk(aws.http_client()),
            metrics: Arc::clone(&metrics),
            readiness: Readiness::default(),
            clock,
            entropy: Entropy::from_seed(1),
            permit,
        };
        let stop = CancellationToken::new();
        let (args, stopping) = (run_args([SHARES_ALONE.to_owned()]), stop.clone());
        tokio::spawn(async move { operate(&args, surroundings, stopping).await.unwrap() });
        Self { memory, aws, grants, metrics, _operator: stop.drop_guard() }
    }

    /// It leads for a minute from now on.
    fn leads(&self) {
        let until = Instant::now() + Duration::from_mins(1);
        self.grants.set(Some(Tenure { until, over: until + Duration::from_secs(5) }));
    }

    fn share_with(&self, accounts: &[&str]) {
        let spec = json!({"region": REGION, "image": {"id": IMAGE}, "shareWith": {"accountIds": accounts}});
        let base = json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": "base"}, "spec": spec,
        });
        if self.stored().is_some() {
            self.memory.patch(NAMESPACE, "base", &json!({"spec": {"shareWith": {"accountIds": accounts}}}));
        } else {
            self.memory.create(NAMESPACE, base);
        }
    }

    fn stored(&self) -> Option<Arc<Value>> {
        self.memory.look(|stored| stored.object(NAMESPACE, "base"))
    }

    /// What there is to see of anything that it has written or asked AWS.
    fn traces(&self) -> (usize, Option<Arc<Value>>, usize) {
        (self.aws.calls().len(), self.stored(), self.memory.look(|stored| stored.events().count()))
    }

    async fn shared_with(&self, accounts: &[&str]) {
        let started = Instant::now();
        while !self.aws.launch_permissions(REGION, IMAGE).iter().map(String::as_str).eq(accounts.iter().copied()) {
            assert!(started.elapsed() < Duration::from_mins(10), "never shared with {accounts:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_does_nothing_and_a_leader_whose_lease_has_ended_nothing_more_until_it_leads_again() {
    let replica = Replica::start();
    replica.share_with(&[A]);
    let before = replica.traces();
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(replica.traces(), before, "it stands by");
    replica.leads();
    replica.shared_with(&[A]).await;

    tokio::time::sleep(Duration::from_mins(1)).await;
    replica.share_with(&[A, B]);
    let before = replica.traces();
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(replica.traces(), before, "its lease is over");
    let metrics = replica.metrics.render().unwrap();
    assert!(!metrics.contains("amishare_reconcile_panics_total{"), "{metrics}");
    replica.leads();
    replica.share_with(&[B]);
    replica.shared_with(&[B]).await;
}
