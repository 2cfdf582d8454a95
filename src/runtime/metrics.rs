//! Prometheus metrics. Names follow controller-runtime's, under the prefix `amishare_`.
//!
//! Labels are closed vocabularies, except for object names on the condition gauges. No label ever holds an account id.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::api::Site;

mod objects;

use objects::Objects;

/// From a reconcile that finds nothing to do to one that waits for AWS.
const RECONCILE_SECONDS: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
const REQUEST_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const WAIT_SECONDS: [f64; 7] = [0.001, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0];

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it should be.
    Success,
    /// Something is under way.
    Requeue,
    /// It failed and is tried again.
    Error,
    /// Nothing will get better before somebody changes something.
    Terminal,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileError {
    controller: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AwsRequest {
    service: &'static str,
    operation: &'static str,
    region: String,
    identity: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AwsOperation {
    service: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lane {
    service: &'static str,
    operation: &'static str,
    region: String,
    identity: String,
}

impl Lane {
    fn of(service: &'static str, operation: &'static str, Site { identity, region }: &Site) -> Self {
        Self { service, operation, region: region.to_string(), identity: identity.to_string() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KubeRequest {
    verb: &'static str,
    resource: &'static str,
    code: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    reconcile_errors: Family<ReconcileError, Counter>,
    reconcile_panics: Family<Controller, Counter>,
    reconcile_duration: Histograms<Controller>,
    active_workers: Family<Controller, Gauge>,
    waiting_work: Family<Controller, Gauge>,
    max_concurrent: Family<Controller, Gauge>,
    in_backoff: Family<Controller, Gauge>,
    aws_requests: Family<AwsRequest, Counter>,
    aws_request_duration: Histograms<AwsOperation>,
    aws_throttled: Family<Lane, Counter>,
    lane_wait: Histograms<Lane>,
    lane_tokens: Family<Lane, Gauge<f64, AtomicU64>>,
    lane_rate: Family<Lane, Gauge<f64, AtomicU64>>,
    lane_waiting: Family<Lane, Gauge>,
    kube_requests: Family<KubeRequest, Counter>,
    drift_corrected: Counter,
    leader: Gauge,
    configuration_valid: Gauge,
    objects: Objects,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the four results as its label.
fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Requeue => "requeue",
        Outcome::Error => "error",
        Outcome::Terminal => "terminal",
    }
}

impl Metrics {
    /// Metrics that all stand at nothing.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("amishare"),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_panics: Family::default(),
            reconcile_duration: Family::new_with_constructor(|| Histogram::new(RECONCILE_SECONDS)),
            active_workers: Family::default(),
            waiting_work: Family::default(),
            max_concurrent: Family::default(),
            in_backoff: Family::default(),
            aws_requests: Family::default(),
            aws_request_duration: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            aws_throttled: Family::default(),
            lane_wait: Family::new_with_constructor(|| Histogram::new(WAIT_SECONDS)),
            lane_tokens: Family::default(),
            lane_rate: Family::default(),
            lane_waiting: Family::default(),
            kube_requests: Family::default(),
            drift_corrected: Counter::default(),
            leader: Gauge::default(),
            configuration_valid: Gauge::default(),
            objects: Objects::default(),
        };
        metrics.configuration_is_valid(true);
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        // The library appends `_total` to counters by itself.
        let Self { registry: r, .. } = self;
        r.register("reconcile", "Reconciles by result", self.reconciles.clone());
        r.register("reconcile_errors", "Failed reconciles by reason", self.reconcile_errors.clone());
        r.register("reconcile_panics", "Reconciles that panicked", self.reconcile_panics.clone());
        r.register("reconcile_duration_seconds", "How long reconciles take", self.reconcile_duration.clone());
        r.register("active_workers", "Reconciles under way", self.active_workers.clone());
        r.register("workqueue_depth", "Reconciles that are due and wait for room", self.waiting_work.clone());
        r.register(
            "max_concurrent_reconciles",
            "How many reconciles of one account and Region may be under way",
            self.max_concurrent.clone(),
        );
        r.register(
            "objects_in_backoff",
            "Images whose last reconcile failed or was overtaken",
            self.in_backoff.clone(),
        );
        r.register("aws_requests", "Calls to AWS by answer", self.aws_requests.clone());
        r.register("aws_request_duration_seconds", "How long calls to AWS take", self.aws_request_duration.clone());
        r.register("aws_throttled", "Calls that AWS answered with too many requests", self.aws_throttled.clone());
        r.register("aws_lane_wait_seconds", "How long calls to AWS wait for their turn", self.lane_wait.clone());
        r.register("aws_lane_tokens", "Calls to AWS that may be made at this moment", self.lane_tokens.clone());
        r.register("aws_lane_rate", "Calls a second that AWS allows, as far as is known", self.lane_rate.clone());
        r.register("aws_lane_waiting", "Calls to AWS that wait for their turn", self.lane_waiting.clone());
        r.register("kube_requests", "Writes to the Kubernetes API by answer", self.kube_requests.clone());
        r.register(
            "drift_corrected",
            "Permissions put right that somebody else had changed",
            self.drift_corrected.clone(),
        );
        r.register("leader", "Whether this process works: 1, or 0 while it stands by for another", self.leader.clone());
        r.register(
            "configuration_valid",
            "Whether the configuration file is in force as it is: 1, or 0 while an earlier one stays in force",
            self.configuration_valid.clone(),
        );
        r.register_collector(Box::new(self.objects.clone()));
        r.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// The metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never in practice: formatting into a string does not fail.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A reconcile ended.
    pub fn reconciled(&self, controller: &'static str, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&Reconcile { controller, result: label(outcome) }).inc();
        self.reconcile_duration.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
    }

    /// A reconcile failed.
    pub fn reconcile_failed(&self, controller: &'static str, reason: &'static str, panicked: bool) {
        self.reconcile_errors.get_or_create(&ReconcileError { controller, reason }).inc();
        if panicked {
            self.reconcile_panics.get_or_create(&Controller { controller }).inc();
        }
    }

    /// How many reconciles are under way, and how many more are due and wait for room in their lanes.
    pub fn workers(&self, controller: &'static str, active: usize, waiting: usize) {
        self.active_workers.get_or_create(&Controller { controller }).set(number(active));
        self.waiting_work.get_or_create(&Controller { controller }).set(number(waiting));
    }

    /// How many reconciles of one lane may be under way.
    pub fn concurrency(&self, controller: &'static str, limit: usize) {
        self.max_concurrent.get_or_create(&Controller { controller }).set(number(limit));
    }

    /// How many keys are waiting after a failure.
    pub fn in_backoff(&self, controller: &'static str, failing: usize) {
        self.in_backoff.get_or_create(&Controller { controller }).set(number(failing));
    }

    /// AWS was called.
    pub fn aws_request(&self, service: &'static str, operation: &'static str, site: &Site, code: &str, took: Duration) {
        let lane = Lane::of(service, operation, site);
        if matches!(code, "RequestLimitExceeded" | "Throttling" | "ThrottlingException") {
            self.aws_throttled.get_or_create(&lane).inc();
        }
        let Lane { region, identity, .. } = lane;
        let code = code.to_owned();
        self.aws_requests.get_or_create(&AwsRequest { service, operation, region, identity, code }).inc();
        self.aws_request_duration.get_or_create(&AwsOperation { service, operation }).observe(took.as_secs_f64());
    }

    /// A call has waited for its turn.
    pub fn lane_wait(&self, service: &'static str, operation: &'static str, site: &Site, waited: Duration) {
        let labels = Lane::of(service, operation, site);
        self.lane_wait.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    /// How a request lane stands.
    pub fn lane(
        &self,
        service: &'static str,
        operation: &'static str,
        site: &Site,
        tokens: f64,
        per_second: f64,
        waiting: usize,
    ) {
        let labels = Lane::of(service, operation, site);
        self.lane_tokens.get_or_create(&labels).set(tokens);
        self.lane_rate.get_or_create(&labels).set(per_second);
        self.lane_waiting.get_or_create(&labels).set(number(waiting));
    }

    /// The Kubernetes API was written to.
    pub fn kube_request(&self, verb: &'static str, resource: &'static str, code: u16) {
        self.kube_requests.get_or_create(&KubeRequest { verb, resource, code: code.to_string() }).inc();
    }

    /// Permissions were put right.
    pub fn drift_corrected(&self, permissions: usize) {
        self.drift_corrected.inc_by(u64::try_from(permissions).unwrap_or(u64::MAX));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether the configuration file can be used as it is.
    pub fn configuration_is_valid(&self, valid: bool) {
        self.configuration_valid.set(i64::from(valid));
    }

    /// What an object's conditions are.
    pub fn conditions<'a>(
        &self,
        kind: &'static str,
        object: (&str, &str),
        conditions: impl Iterator<Item = (&'a str, &'a str)>,
        suspended: bool,
    ) {
        self.objects.set(kind, object, conditions, suspended);
    }

    /// An object is no more.
    pub fn forget(&self, kind: &'static str, object: (&str, &str)) {
        self.objects.forget(kind, object);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_an_object_go_with_it() {
        let metrics = Metrics::new();
        metrics.conditions("AmiShare", ("ns", "a"), [("Ready", "True")].into_iter(), false);
        metrics.conditions("AmiShare", ("ns", "b"), [("Ready", "False")].into_iter(), true);
        metrics.forget("AmiShare", ("ns", "a"));
        let text = metrics.render().unwrap();
        assert!(!text.contains("name=\"a\""), "{text}");
        assert!(text.contains(
            "amishare_status_condition{kind=\"AmiShare\",namespace=\"ns\",name=\"b\",type=\"Ready\",status=\"False\"} 1"
        ), "{text}");
    }

    #[test]
    fn counters_have_the_names_that_dashboards_use() {
        let metrics = Metrics::new();
        metrics.reconciled("amishare", Outcome::Success, Duration::from_millis(3));
        let site = Site::own("us-east-1".parse().unwrap());
        metrics.aws_request("ec2", "DescribeImages", &site, "RequestLimitExceeded", Duration::ZERO);
        let text = metrics.render().unwrap();
        for series in [
            "amishare_reconcile_total{controller=\"amishare\",result=\"success\"} 1",
            "amishare_reconcile_duration_seconds_count{controller=\"amishare\"} 1",
            "amishare_aws_throttled_total{service=\"ec2\",operation=\"DescribeImages\",region=\"us-east-1\",identity=\"default\"} 1",
            "amishare_build_info{version=",
        ] {
            assert!(text.contains(series), "{series} in\n{text}");
        }
    }
}
