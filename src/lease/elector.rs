//! Carries out what the rules say, against a `Lease` of the API server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    permit::{Grants, Tenure, WritePermit},
    state::{Candidate, Moment, Record, Step, Terms},
};
use crate::runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics};

/// The longest that an answer of the API server to a request that concerns the lease is waited for.
pub const ANSWER: Duration = Duration::from_secs(5);

/// Who waits, in `/readyz`.
const WHO: &str = "leader election";

/// How an election ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop, and has given the lease back if it held it.
    Stopped,
    /// It has led, and another may lead by now: the process must end.
    Lost,
}

/// What an elector stands on.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The leases of a namespace. The client should give up soon and try nothing again: the elector does.
    pub api: Api<Lease>,
    /// The name of the lease.
    pub name: String,
    /// Where is said that the lease cannot be read.
    pub readiness: Readiness,
    /// Where is said who leads.
    pub metrics: Arc<Metrics>,
    /// For the times in the lease.
    pub clock: Clock,
    /// What keeps standbys from asking all at once.
    pub entropy: Entropy,
}

/// A replica that wants to lead.
#[derive(Debug)]
pub struct Elector {
    ground: Ground,
    me: String,
    candidate: Candidate,
    grants: Grants,
    /// The beginning of the candidate's time.
    origin: Instant,
    /// The lease as it was last seen.
    lease: Option<Lease>,
    /// Who held it when somebody was last told.
    told: Option<String>,
    is_read: bool,
}

impl Elector {
    /// A replica with a name that no other has, nor an earlier start of this one; and the permit that it grants.
    pub fn new(ground: Ground, me: String, terms: Terms) -> (Self, WritePermit) {
        let (grants, permit) = WritePermit::leased();
        ground.readiness.waits(WHO, "the lease");
        ground.metrics.leads(false);
        let candidate = Candidate::new(me.clone(), terms);
        let origin = Instant::now();
        (Self { ground, me, candidate, grants, origin, lease: None, told: None, is_read: false }, permit)
    }

    /// Tries to lead and to go on leading, until it has lost, or until `stop`: then it gives the lease back, unless a write may still
    /// take effect. Whoever stops it lets what is under way finish first.
    pub async fn run(mut self, stop: CancellationToken) -> Ended {
        loop {
            let now = self.now();
            match self.candidate.evaluate(now) {
                Step::Lost => {
                    self.publish();
                    return Ended::Lost;
                }
                _ if stop.is_cancelled() => {
                    self.release().await;
                    return Ended::Stopped;
                }
                Step::Read => {
                    self.candidate.tries(now);
                    self.read().await;
                }
                Step::Write { over, renews } => {
                    self.candidate.tries(now);
                    self.write(over.as_deref(), renews, now).await;
                }
                Step::Wait(at) => {
                    let at = self.origin + at + self.jitter();
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
            self.publish();
        }
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    /// A leader is never late.
    fn jitter(&self) -> Duration {
        let most = if self.candidate.term().is_some() { 0.0 } else { 0.2 };
        self.terms().retry.mul_f64(most * self.ground.entropy.unit())
    }

    fn terms(&self) -> Terms {
        self.candidate.terms
    }

    /// Tells everybody who asks whether the replica may write, and until when.
    fn publish(&self) {
        let term = self.candidate.term();
        let tenure = term.map(|term| Tenure { until: self.origin + term.until, over: self.origin + term.over });
        self.grants.set(tenure);
        self.ground.metrics.leads(tenure.is_some());
    }

    /// The answer to a request; none if it does not come in time. A leader waits no longer than it leads: the rest of the process
    /// must hear of the end.
    async fn answer<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
        let mut deadline = Instant::now() + ANSWER;
        if let Some(term) = self.candidate.term() {
            deadline = deadline.min(self.origin + term.until);
        }
        tokio::time::timeout_at(deadline, request).await.ok()
    }

    async fn read(&mut self) {
        let answer = self.answer(self.ground.api.get_opt(&self.ground.name)).await;
        let now = self.now();
        match answer {
            Some(Ok(lease)) => {
                self.candidate.saw(lease.as_ref().map(|lease| self.record(lease)), now);
                self.lease = lease;
                if !self.is_read {
                    self.is_read = true;
                    self.ground.readiness.ready(WHO);
                }
                self.tell_who_leads();
            }
            trouble => {
                self.candidate.failed();
                self.complain("read", trouble.and_then(Result::err));
            }
        }
    }

    async fn write(&mut self, over: Option<&str>, renews: bool, sent: Moment) {
        let time = MicroTime(self.ground.clock.now());
        let old = self.lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or_default();
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(seconds(self.terms().lease)),
            renew_time: Some(time.clone()),
            acquire_time: if renews { old.acquire_time.clone() } else { Some(time) },
            lease_transitions: Some(if renews || over.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..old
        };
        match self.answer(self.store(over, spec)).await {
            Some(Ok(lease)) => {
                let (record, now) = (self.record(&lease), self.now());
                let led = self.candidate.term().is_some();
                self.candidate.stored(record, sent, now);
                self.lease = Some(lease);
                if !led && self.candidate.term().is_some() {
                    tracing::info!(lease = self.ground.name, identity = self.me, "leads from now on");
                }
            }
            Some(Err(kube::Error::Api(status))) if status.code == 409 => {
                self.candidate.failed();
                tracing::debug!(lease = self.ground.name, "another replica was faster");
            }
            trouble => {
                self.candidate.failed();
                self.complain(if renews { "renew" } else { "take" }, trouble.and_then(Result::err));
            }
        }
    }

    async fn store(&self, over: Option<&str>, spec: LeaseSpec) -> kube::Result<Lease> {
        let Ground { api, name, .. } = &self.ground;
        let Some(version) = over else {
            let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            return api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await;
        };
        let mut metadata = self.lease.as_ref().map(|lease| lease.metadata.clone()).unwrap_or_default();
        metadata.name = Some(name.clone());
        metadata.resource_version = Some(version.to_owned());
        metadata.managed_fields = None;
        api.replace(name, &PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
    }

    /// Gives the lease back, so that the next leader need not wait for its end. Not while a write may still take effect
    /// that nobody waited for: then the lease runs out by itself.
    async fn release(&mut self) {
        let version = self.candidate.releases();
        self.publish();
        let Some(version) = version else { return };
        let lasts = self.terms().lease;
        if self.grants.may_take_effect(lasts) {
            tracing::info!(
                lease = self.ground.name,
                "the lease is left to run out, because a write that was not waited for may still take effect"
            );
            return;
        }
        let time = MicroTime(self.ground.clock.now());
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(time),
            ..self.lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default()
        };
        match self.answer(self.store(Some(&version), spec)).await {
            Some(Ok(_)) => tracing::info!(lease = self.ground.name, "has given the lease back"),
            trouble => self.complain("give back", trouble.and_then(Result::err)),
        }
    }

    /// What the rules need to know of a lease.
    fn record(&self, lease: &Lease) -> Record {
        let spec = lease.spec.as_ref();
        let lasts = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        Record {
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            lasts: lasts.map_or(self.terms().lease, Duration::from_secs),
        }
    }

    fn tell_who_leads(&mut self) {
        let holder = self.lease.as_ref().and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        let holder = holder.filter(|holder| !holder.is_empty() && *holder != self.me);
        if let Some(holder) = &holder
            && self.told.as_ref() != Some(holder)
        {
            tracing::info!(lease = self.ground.name, identity = self.me, leader = holder, "stands by");
        }
        self.told = holder;
    }

    /// Says what went wrong, in words that tell what to do.
    fn complain(&self, action: &'static str, error: Option<kube::Error>) {
        let lease = &self.ground.name;
        let what = match error {
            Some(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                let what = "permission to get, create and update leases.coordination.k8s.io in its namespace; bind the \
                            operator's role, or run a single replica with --leader-elect=false";
                if !self.is_read {
                    self.ground.readiness.waits(WHO, what);
                }
                tracing::debug!(lease, message = status.message, "refused");
                format!("it needs {what}")
            }
            Some(kube::Error::Api(status)) => status.message,
            Some(error) => error.to_string(),
            None => "the Kubernetes API did not answer in time".into(),
        };
        tracing::warn!(lease, identity = self.me, "cannot {action} the lease: {what}");
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
