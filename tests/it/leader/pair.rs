//! Two operators on one API server and one AWS, each behind links of its own, and what is seen of them from outside.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

use super::link::{Calls, Link};
use crate::harness::{World, cluster, eventually, process::Operator};

/// The terms of every election here, in seconds: shorter than the default, so that a minute has many elections.
pub const LEASE: u64 = 5;
pub const RENEW: u64 = 3;

/// How an operator is started that takes part in the election of a namespace.
pub fn flags(namespace: &str) -> Vec<String> {
    vec![
        "--leader-elect".into(),
        format!("--leader-election-namespace={namespace}"),
        format!("--leader-election-lease-duration={LEASE}s"),
        format!("--leader-election-renew-deadline={RENEW}s"),
        "--leader-election-retry-period=1s".into(),
        format!("--namespaces={namespace}"),
        // The lanes are not what is tested here.
        "--request-rate-factor=1000".into(),
    ]
}

/// A start of an operator.
pub struct Start {
    pub number: usize,
    pub operator: Operator,
    pub to_kubernetes: Link,
    _to_aws: Link,
    _kubeconfig: tempfile::TempDir,
}

/// The lease as it was seen: when, and which start held it, if any did.
pub type Held = Arc<Mutex<Vec<(Instant, Option<usize>)>>>;

/// A world with two operators, and everything that they did.
pub struct Pair {
    pub world: World,
    pub starts: Vec<Start>,
    pub calls: Calls,
    pub held: Held,
    started: usize,
    background: Vec<JoinHandle<()>>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.background.iter().for_each(JoinHandle::abort);
    }
}

impl Pair {
    /// Two operators on a world, one of which leads.
    pub async fn start(world: World) -> Self {
        let held = Held::default();
        let watching = tokio::spawn(watch(world.client.clone(), world.namespace().to_owned(), Arc::clone(&held)));
        let mut pair =
            Self { world, starts: Vec::new(), calls: Calls::default(), held, started: 0, background: vec![] };
        pair.background.push(watching);
        pair.complete().await;
        pair
    }

    /// Starts operators until there are two.
    pub async fn complete(&mut self) {
        while self.starts.len() < 2 {
            self.begin(true).await;
        }
    }

    /// Starts one more, which takes part in the election or does as it likes.
    pub async fn begin(&mut self, elects: bool) {
        let (plane, number) = (cluster(), self.started);
        self.started += 1;
        let server = |url: &str| url.split_once("://").unwrap().1.parse().unwrap();
        let to_kubernetes = Link::to(server(plane.url())).await;
        let to_aws = Link::to_aws(server(&self.world.endpoint), number, &self.calls).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = std::fs::read_to_string(plane.kubeconfig()).unwrap();
        std::fs::write(&kubeconfig, text.replace(plane.url(), &format!("https://{}", to_kubernetes.address))).unwrap();
        let mut flags = flags(self.world.namespace());
        flags[0] = format!("--leader-elect={elects}");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut command = Operator::command(&kubeconfig, &format!("http://{}", to_aws.address), &flags);
        let operator = Operator::start(&plane, command.env("POD_NAME", name(number))).await;
        operator.ready().await;
        self.starts.push(Start { number, operator, to_kubernetes, _to_aws: to_aws, _kubeconfig: folder });
    }

    /// Changes whom the share lists, again and again, so that the leader always has something to write.
    pub fn keep_busy(&mut self, name: &'static str) {
        let shares = self.world.shares();
        self.background.push(tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            for number in 0u64.. {
                beat.tick().await;
                let accounts =
                    if number % 2 == 0 { json!(["111122223333", "444455556666"]) } else { json!(["111122223333"]) };
                let patch = json!({"spec": {"shareWith": {"accountIds": accounts}}});
                // Somebody else may write at the same time.
                let _ = shares.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await;
            }
        }));
    }

    /// How many writes a start has made in AWS.
    pub fn writes(&self, number: usize) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(whose, action, _)| *whose == number && action.starts_with("Modify")).count()
    }

    /// Waits until a start that runs leads and has made `more` writes, and takes it out of the pair.
    pub async fn take_leader(&mut self, more: usize) -> Start {
        let before: Vec<usize> = self.starts.iter().map(|start| self.writes(start.number)).collect();
        let index = eventually("a replica leads and writes", || async {
            let counts: Vec<usize> = self.starts.iter().map(|start| self.writes(start.number)).collect();
            let busy = counts.iter().zip(&before).position(|(now, before)| *now >= before + more);
            busy.ok_or_else(|| {
                let logs: Vec<String> = self.starts.iter().map(|start| start.operator.process.stderr()).collect();
                format!("{counts:?} writes, {:?}\n{}", self.held.lock().unwrap().last(), logs.join("\n\n"))
            })
        })
        .await;
        self.starts.swap_remove(index)
    }

    /// Waits until the other one writes, and returns when it did for the first time.
    pub async fn taken_over(&self) -> Instant {
        let other = &self.starts[0];
        eventually("the other replica writes", || async {
            let calls = self.calls.lock().unwrap();
            let first = calls.iter().find(|(whose, action, _)| *whose == other.number && action.starts_with("Modify"));
            let seen = self.held.lock().unwrap().iter().any(|(_, holder)| *holder == Some(other.number));
            first.filter(|_| seen).map(|(_, _, at)| *at).ok_or_else(|| other.operator.process.stderr())
        })
        .await
    }

    /// What must not have happened, in words.
    pub fn violations(&self) -> Vec<String> {
        let (calls, held) = (self.calls.lock().unwrap(), self.held.lock().unwrap());
        let mut violations = Vec::new();
        for (number, action, at) in calls.iter() {
            let Some(first) = held.iter().position(|(_, holder)| *holder == Some(*number)) else {
                violations.push(format!("{action} of {} which never held the lease", name(*number)));
                continue;
            };
            // The lease is stored before it is seen, so whatever is later than what was seen is later than what was stored.
            if let Some((when, holder)) = held[first..].iter().find(|(_, holder)| *holder != Some(*number))
                && when < at
            {
                violations.push(format!(
                    "{action} of {} {:?} after the lease was {holder:?}'s",
                    name(*number),
                    *at - *when
                ));
            }
            let mut renewals = held.iter().filter(|(when, holder)| *holder == Some(*number) && when <= at);
            if let Some((renewed, _)) = renewals.next_back()
                && at.duration_since(*renewed) > Duration::from_secs(LEASE)
            {
                violations.push(format!("{action} of {} after its lease had run out", name(*number)));
            }
        }
        // Independent of what was seen of the lease: who has been followed by another never comes back.
        let mut order: Vec<usize> = calls.iter().map(|(number, ..)| *number).collect();
        order.dedup();
        let mut once = order.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != order.len() {
            violations.push(format!("two wrote in turns: {order:?}"));
        }
        violations
    }
}

fn name(number: usize) -> String {
    format!("replica-{number}")
}

/// Notes whose the lease is.
async fn watch(client: kube::Client, namespace: String, held: Held) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let events = watcher(leases, watcher::Config::default()).default_backoff().applied_objects();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let Ok(lease) = event else { continue };
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let number = holder.strip_prefix("replica-").and_then(|rest| rest.split('_').next()?.parse().ok());
        held.lock().unwrap().push((Instant::now(), number));
    }
}
