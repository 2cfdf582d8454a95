//! The flags of leader election, and what they make.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use clap::{Args, builder::BoolishValueParser};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Interval,
    lease::{Elector, Ended, Ground, Terms, WritePermit, elector::ANSWER},
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
};

/// Where a pod finds its own namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Who leads when several replicas run.
#[derive(Debug, Clone, Args)]
pub struct ElectionArgs {
    /// Have one replica work at a time, and the others stand by. On in a pod, where even an update runs two for a moment;
    /// off elsewhere.
    #[arg(long, env = "AMISHARE_LEADER_ELECT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_name = "BOOLEAN", value_parser = BoolishValueParser::new())]
    pub leader_elect: Option<bool>,

    /// The namespace of the lease. The pod's own if there is none.
    #[arg(long, env = "AMISHARE_LEADER_ELECTION_NAMESPACE", value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// The name of the lease. Operators for different namespaces need different ones.
    #[arg(long, env = "AMISHARE_LEADER_ELECTION_NAME", default_value = "amishare", value_name = "NAME")]
    pub leader_election_name: String,

    /// How long the others wait for a leader that is not heard of any more.
    #[arg(long, env = "AMISHARE_LEADER_ELECTION_LEASE_DURATION", default_value = "15s", value_name = "DURATION")]
    pub leader_election_lease_duration: Interval,

    /// How long a leader that cannot renew its lease goes on working. What it has sent by then has the rest of the lease
    /// duration to arrive.
    #[arg(long, env = "AMISHARE_LEADER_ELECTION_RENEW_DEADLINE", default_value = "10s", value_name = "DURATION")]
    pub leader_election_renew_deadline: Interval,

    /// How often the lease is renewed, and how often the others look at it.
    #[arg(long, env = "AMISHARE_LEADER_ELECTION_RETRY_PERIOD", default_value = "2s", value_name = "DURATION")]
    pub leader_election_retry_period: Interval,
}

/// A replica's part in the election.
pub(super) struct Election {
    elector: Option<Elector>,
    /// What its writes ask.
    pub(super) permit: WritePermit,
}

impl ElectionArgs {
    /// The election that the flags ask for.
    pub(super) fn start(
        &self,
        config: &Config,
        readiness: Readiness,
        metrics: Arc<Metrics>,
        clock: Clock,
        entropy: Entropy,
    ) -> anyhow::Result<Election> {
        let terms = self.terms()?;
        let of_the_pod = own_namespace();
        if !self.leader_elect.unwrap_or(of_the_pod.is_some()) {
            tracing::info!("no leader election: see to it that no other operator works on the same images");
            metrics.leads(true);
            return Ok(Election { elector: None, permit: WritePermit::always() });
        }
        let namespace = self.leader_election_namespace.clone().filter(|namespace| !namespace.is_empty()).or(of_the_pod);
        let namespace = namespace.context("this is no pod: --leader-elect needs --leader-election-namespace")?;
        let mut config = config.clone();
        // The elector tries again by itself. Retries of kube's would go on after the lease has passed to another.
        config.default_retry = false;
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(ANSWER);
        config.write_timeout = Some(ANSWER);
        let client = Client::try_from(config).context("the Kubernetes configuration cannot be used")?;
        let me = identity(&entropy);
        tracing::info!(
            lease = self.leader_election_name,
            namespace,
            identity = me,
            "takes part in the leader election"
        );
        let api: Api<Lease> = Api::namespaced(client, &namespace);
        let ground = Ground { api, name: self.leader_election_name.clone(), readiness, metrics, clock, entropy };
        let (elector, permit) = Elector::new(ground, me, terms);
        Ok(Election { elector: Some(elector), permit })
    }

    fn terms(&self) -> anyhow::Result<Terms> {
        let [lease, renew, retry] = [
            self.leader_election_lease_duration,
            self.leader_election_renew_deadline,
            self.leader_election_retry_period,
        ]
        .map(Interval::as_duration);
        ensure!(!retry.is_zero(), "--leader-election-retry-period must be at least 1s");
        ensure!(
            renew > retry,
            "--leader-election-renew-deadline must be longer than --leader-election-retry-period, or every leader loses at once"
        );
        ensure!(
            lease > renew,
            "--leader-election-lease-duration must be longer than --leader-election-renew-deadline, or two could write at once"
        );
        Ok(Terms { lease, renew, retry })
    }
}

impl Election {
    /// Does the work while this replica takes part in the election, and gives the lease back when the work has ended.
    ///
    /// # Errors
    /// When the lease was lost: whatever was under way has been dropped.
    pub(super) async fn during(self, work: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Some(elector) = self.elector else {
            work.await;
            return Ok(());
        };
        let drained = CancellationToken::new();
        // On a task of its own: work that keeps this one busy must not keep it from renewing.
        let mut electing = tokio::spawn(elector.run(drained.clone()));
        let ended = tokio::select! {
            biased;
            ended = &mut electing => ended,
            () = work => {
                drained.cancel();
                electing.await
            }
        };
        match ended.context("leader election has ended, which is a bug")? {
            Ended::Stopped => Ok(()),
            Ended::Lost => anyhow::bail!(
                "lost the lease: it could not be renewed in time, or somebody else has taken it. Another replica leads, or will \
                 soon; this one has stopped writing and has to be started again"
            ),
        }
    }
}

/// The namespace of the pod that this process runs in, if it is one.
fn own_namespace() -> Option<String> {
    std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let namespace = std::fs::read_to_string(Path::new(POD_NAMESPACE)).ok()?;
    Some(namespace.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}

/// A name for this start of this replica: the pod's, or the machine's, and something that no other start has.
fn identity(entropy: &Entropy) -> String {
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).ok();
    let name = name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok()).unwrap_or_default();
    let name = Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("amishare");
    format!("{name}_{:x}", entropy.unit().to_bits())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use std::time::Duration;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        election: ElectionArgs,
    }

    fn terms(flags: &[&str]) -> Result<Terms, String> {
        let flags = Flags::parse_from(["test"].iter().chain(flags));
        flags.election.terms().map_err(|error| error.to_string())
    }

    #[test]
    fn durations_with_which_two_could_write_are_refused_with_the_flags_to_change() {
        let [lease, renew, retry] = [15, 10, 2].map(Duration::from_secs);
        assert_eq!(terms(&[]), Ok(Terms { lease, renew, retry }));
        let error = terms(&["--leader-election-renew-deadline=15s"]).unwrap_err();
        assert!(error.contains("--leader-election-lease-duration must be longer"), "{error}");
        let error = terms(&["--leader-election-retry-period=10s"]).unwrap_err();
        assert!(error.contains("--leader-election-renew-deadline must be longer"), "{error}");
        assert!(terms(&["--leader-election-retry-period=0s"]).is_err());
    }

    #[test]
    fn two_starts_of_one_replica_have_different_names() {
        let entropy = Entropy::from_seed(1);
        assert_ne!(identity(&entropy), identity(&entropy));
    }

    #[test]
    fn the_switch_can_be_given_with_and_without_a_value() {
        let switch = |flags: &[&str]| Flags::parse_from(["test"].iter().chain(flags)).election.leader_elect;
        assert_eq!(switch(&[]), None);
        assert_eq!(switch(&["--leader-elect"]), Some(true));
        assert_eq!(switch(&["--leader-elect=false"]), Some(false));
    }
}
