//! Request lanes: AWS never has to refuse, what is urgent goes first, and nobody waits for a lane that is not his.
//!
//! In simulated time, because buckets are about minutes: the API server in memory, and the simulated AWS in process with the
//! buckets that AWS documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use amishare::{
    cli::{Surroundings, operate},
    lease::WritePermit,
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
    simulator::{self, Fault, FaultKind, ForeignLoad, Scenario, Simulator, Throttling},
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    harness::world::{OWNER, REGION, SHARES_ALONE, run_args},
    memory::{End, Memory, Trouble, Verb, Weather},
    properties::arena::sdk,
};

const ELSEWHERE: &str = "eu-west-1";
const NAMESPACE: &str = "images";
const A: &str = "111111111111";
const B: &str = "222222222222";

/// An API server in memory, a simulated AWS with so many images in each of two Regions, and an operator.
pub struct Virtual {
    pub memory: Memory,
    pub aws: Simulator,
    metrics: Arc<Metrics>,
    names: Mutex<Vec<String>>,
    _operator: DropGuard,
}

fn image(region: &str, number: usize) -> String {
    format!("ami-{}{number:016x}", if region == REGION { 1 } else { 2 })
}

impl Virtual {
    fn start(images: usize) -> Self {
        Self::start_with(images, &[])
    }

    pub fn start_with(images: usize, flags: &[&str]) -> Self {
        let mut scenario = String::from("latencyMilliseconds: 100\nlatencyJitterMilliseconds: 50\nimages:\n");
        for region in [REGION, ELSEWHERE] {
            for number in 0..images {
                let id = image(region, number);
                writeln!(scenario, "- {{id: {id}, region: {region}, owner: \"{OWNER}\", name: image-{number}}}")
                    .unwrap();
            }
        }
        let aws = Simulator::new(Scenario::from_yaml(&scenario).unwrap());
        aws.set_throttling(Throttling::documented());
        let from = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Clock::set_to(from);
        aws.with_world(|world| world.clock = simulator::Clock::Following { from, since: Instant::now() });
        let (memory, metrics) = (Memory::new(clock, 1), Arc::new(Metrics::new()));
        let surroundings = Surroundings {
            client: memory.connect("operator").client(),
            sdk: sdk(aws.http_client()),
            metrics: Arc::clone(&metrics),
            readiness: Readiness::default(),
            clock,
            entropy: Entropy::from_seed(1),
            permit: WritePermit::always(),
        };
        let stop = CancellationToken::new();
        let (args, stopping) =
            (run_args(flags.iter().chain(&[SHARES_ALONE]).map(|flag| (*flag).to_owned())), stop.clone());
        tokio::spawn(async move { operate(&args, surroundings, stopping).await.unwrap() });
        Self { memory, aws, metrics, names: Mutex::default(), _operator: stop.drop_guard() }
    }

    pub fn share(&self, region: &str, number: usize, accounts: &[&str]) {
        self.share_with(region, number, &json!({"shareWith": {"accountIds": accounts}}));
    }

    fn share_with(&self, region: &str, number: usize, spec: &Value) {
        let mut all = json!({"region": region, "image": {"id": image(region, number)}, "interval": "24h"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let name = format!("{region}-{number}");
        let object = json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": &name}, "spec": all,
        });
        let answer = self.memory.create(NAMESPACE, object);
        assert_eq!(answer.code, 201, "{}", answer.body);
        self.names.lock().unwrap().push(name);
    }

    pub fn holders(&self, region: &str, number: usize) -> BTreeSet<String> {
        self.aws.launch_permissions(region, &image(region, number))
    }

    /// Waits until an image is shared with exactly these, and returns how long that took.
    async fn shared(&self, region: &str, number: usize, accounts: &[&str]) -> Duration {
        self.until("it is shared", || {
            self.holders(region, number).iter().map(String::as_str).eq(accounts.iter().copied())
        })
        .await
    }

    /// Waits until it is so, and returns how long that took.
    pub async fn until(&self, what: &str, mut so: impl FnMut() -> bool) -> Duration {
        let started = Instant::now();
        while !so() {
            assert!(started.elapsed() < Duration::from_hours(1), "not within an hour: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        started.elapsed()
    }

    /// How many objects are `Ready`.
    pub fn ready(&self) -> usize {
        let is_ready = |object: &Value| {
            let conditions = object["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let names = self.names.lock().unwrap();
        let object = |name: &String| self.memory.look(|stored| stored.object(NAMESPACE, name));
        names.iter().filter_map(object).filter(|object| is_ready(object)).count()
    }

    /// How often each action was called in the first Region.
    fn counted(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        for call in self.aws.calls().into_iter().filter(|call| call.region == REGION) {
            *counted.entry(call.action).or_default() += 1;
        }
        counted
    }

    /// How many calls of an action in a Region there were.
    fn calls(&self, region: &str, action: &str) -> usize {
        self.aws.calls().iter().filter(|call| call.region == region && call.action == action).count()
    }
}

/// So many calls of each action that a share needs.
fn counts(descriptions: usize, looks: usize, changes: usize) -> BTreeMap<String, usize> {
    let all = [("DescribeImages", descriptions), ("DescribeImageAttribute", looks), ("ModifyImageAttribute", changes)];
    all.into_iter().filter(|(_, count)| *count > 0).map(|(action, count)| (action.to_owned(), count)).collect()
}

/// Runs a test in simulated time.
pub fn simulated(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

#[test]
fn three_hundred_images_are_shared_as_fast_as_aws_allows_and_aws_never_refuses() {
    simulated(async {
        let world = Virtual::start(300);
        for number in 0..300 {
            world.share(REGION, number, &[A, B]);
        }
        let took = world.until("all are ready", || world.ready() == 300).await.as_secs_f64();
        assert_eq!(world.aws.throttled_calls(), 0);
        // A hundred at once, and five a second after that.
        let bound = (300.0 - 100.0) / 5.0;
        assert!(took >= bound && took < bound * 1.05, "{took} s, and the buckets allow {bound} s");
        assert_eq!(world.calls(REGION, "DescribeImages"), 2);
        assert_eq!(world.calls(REGION, "DescribeImageAttribute"), 300);
        assert_eq!(world.calls(REGION, "ModifyImageAttribute"), 300);
    });
}

/// Measured exactly, because nothing of it is left to chance: so many calls for each image and one for two hundred, whatever the number
/// of accounts.
#[test]
fn twenty_images_cost_the_same_calls_to_converge_to_check_and_to_repair_whatever_the_number_of_accounts() {
    for accounts in [1, 20] {
        simulated(async move {
            let world = Virtual::start(20);
            let listed: Vec<String> = (0..accounts).map(|n| format!("1000{n:08}")).collect();
            for number in 0..20 {
                let spec = json!({"shareWith": {"accountIds": listed}, "interval": "10m"});
                world.share_with(REGION, number, &spec);
            }
            world.until("all are ready", || world.ready() == 20).await;
            assert_eq!(world.counted(), counts(1, 20, 20), "to converge");

            tokio::time::sleep(Duration::from_mins(10)).await;
            world.aws.clear_calls();
            world.memory.take_served();
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(world.counted(), counts(1, 20, 0), "to check once by the interval");
            let writes = world.memory.take_served().into_iter().filter(|served| served.asked.verb.writes()).count();
            assert_eq!(writes, 0, "nothing is written to Kubernetes");

            for number in [3, 7, 11] {
                let image = image(REGION, number);
                let stranger = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.UserId", A)];
                world.aws.call(OWNER, REGION, "ModifyImageAttribute", &stranger).unwrap();
            }
            world.aws.clear_calls();
            let name = |number: usize| format!("{REGION}-{number}");
            for number in 0..20 {
                let asked = json!({"metadata": {"annotations": {"reconcile.amishare.dev/requestedAt": "now"}}});
                world.memory.patch(NAMESPACE, &name(number), &asked);
            }
            let heard = |number: usize| {
                let object = world.memory.look(|stored| stored.object(NAMESPACE, &name(number)));
                object.is_some_and(|object| object["status"]["lastHandledReconcileAt"] == "now")
            };
            world.until("every request is heard", || (0..20).all(heard)).await;
            assert_eq!(world.counted(), counts(1, 20, 3), "to repair three of twenty that are looked at on request");
            assert!((0..20).all(|number| world.holders(REGION, number) == listed.iter().cloned().collect()));
        });
    }
}

#[test]
fn checks_cost_a_call_for_each_image_and_one_for_two_hundred_an_interval_and_never_a_burst() {
    simulated(async {
        let (images, rounds) = (250, 8);
        let world = Virtual::start(images);
        for number in 0..images {
            world.share_with(REGION, number, &json!({"shareWith": {"accountIds": [A]}, "interval": "10m"}));
        }
        world.until("all are ready", || world.ready() == images).await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        world.aws.clear_calls();
        world.memory.take_served();
        tokio::time::sleep(Duration::from_mins(10) * rounds).await;
        let rounds = usize::try_from(rounds).unwrap();
        let (looks, descriptions) =
            (world.calls(REGION, "DescribeImageAttribute"), world.calls(REGION, "DescribeImages"));
        assert!((images * rounds - 5..=images * rounds + 5).contains(&looks), "{looks} looks in {rounds} rounds");
        assert!(descriptions <= 2 * rounds, "{descriptions} descriptions in {rounds} rounds");
        assert_eq!(world.calls(REGION, "ModifyImageAttribute"), 0);
        let writes = world.memory.take_served().into_iter().filter(|served| served.asked.verb.writes()).count();
        assert_eq!(writes, 0, "nothing is written to Kubernetes");
        let mut by_second = BTreeMap::<i64, usize>::new();
        for call in world.aws.calls() {
            *by_second.entry(call.time.as_second()).or_default() += 1;
        }
        let most = by_second.values().max().copied().unwrap_or_default();
        assert!(most <= 8, "{most} calls in one second where 0.4 are due");
    });
}

#[test]
fn who_is_to_lose_access_does_not_wait_for_those_who_are_to_get_it() {
    simulated(async {
        let world = Virtual::start(301);
        world.share(REGION, 300, &[A, B]);
        world.shared(REGION, 300, &[A, B]).await;
        for number in 0..300 {
            world.share(REGION, number, &[A]);
        }
        // The burst is over, and two hundred wait for a turn.
        let given = || (0..300).filter(|number| !world.holders(REGION, *number).is_empty()).count();
        world.until("half of them are shared", || given() >= 150).await;
        world.memory.patch(NAMESPACE, &format!("{REGION}-300"), &json!({"spec": {"shareWith": {"accountIds": [A]}}}));
        let took = world.shared(REGION, 300, &[A]).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(given() < 165);
        assert_eq!(world.aws.throttled_calls(), 0);
    });
}

#[test]
fn a_change_does_not_wait_for_checks_even_if_there_are_more_of_them_than_aws_allows() {
    simulated(async {
        let world = Virtual::start(300);
        for number in 0..299 {
            world.share_with(REGION, number, &json!({"shareWith": {"accountIds": [A]}, "interval": "10s"}));
        }
        world.until("all are ready", || world.ready() == 299).await;
        // Thirty checks a second come due, and AWS allows twenty.
        tokio::time::sleep(Duration::from_secs(15)).await;
        world.share(REGION, 299, &[B]);
        let took = world.shared(REGION, 299, &[B]).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(world.aws.throttled_calls(), 0);
    });
}

#[test]
fn a_lane_that_others_use_up_slows_down_recovers_and_holds_back_no_other() {
    simulated(async {
        let world = Virtual::start(300);
        // Nearly all of the rate is taken, in one Region and for one API.
        let load = ForeignLoad::new(OWNER, REGION, "ModifyImageAttribute", 4.0);
        world.aws.set_foreign_load(vec![load]);
        for number in 0..200 {
            world.share(REGION, number, &[A]);
        }
        world.until("the bucket is empty", || world.aws.throttled_calls() > 0).await;
        world.share(ELSEWHERE, 0, &[A]);
        let took = world.shared(ELSEWHERE, 0, &[A]).await;
        assert!(took < Duration::from_secs(2), "another Region: {took:?}");
        world.until("all are ready", || world.ready() == 201).await;
        let (calls, refused) = (world.calls(REGION, "ModifyImageAttribute"), world.aws.throttled_calls());
        assert!(refused * 3 <= u64::try_from(calls).unwrap(), "{refused} of {calls} calls were refused");
        let metrics = world.metrics.render().unwrap();
        let counted = format!(
            "amishare_aws_throttled_total{{service=\"ec2\",operation=\"ModifyImageAttribute\",region=\"{REGION}\",identity=\"default\"}} {refused}"
        );
        assert!(metrics.contains(&counted), "{counted}\n{metrics}");

        // They are gone: after a minute of peace the lane is as fast as ever.
        world.aws.set_foreign_load(Vec::new());
        tokio::time::sleep(Duration::from_mins(2)).await;
        world.aws.clear_calls();
        for number in 200..300 {
            world.share(REGION, number, &[A]);
        }
        let took = world.until("all are ready", || world.ready() == 301).await;
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert_eq!(world.aws.throttled_calls(), 0);
    });
}

#[test]
fn a_region_that_never_answers_delays_no_other_and_no_object_is_lost() {
    simulated(async {
        let world = Virtual::start(300);
        world.aws.add_fault(Fault::new(FaultKind::Stall).in_region(REGION));
        for number in 0..300 {
            world.share(REGION, number, &[A]);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        for number in 0..90 {
            world.share(ELSEWHERE, number, &[A]);
        }
        let took = world.until("the other Region is ready", || world.ready() == 90).await;
        assert!(took < Duration::from_secs(3), "{took:?}");
        world.aws.clear_faults();
        world.until("all are ready", || world.ready() == 390).await;
    });
}

#[test]
fn an_api_that_is_refused_to_us_keeps_only_what_needs_it_waiting() {
    simulated(async {
        let world = Virtual::start(10);
        world.aws.add_fault(Fault::new(FaultKind::Throttle).on("ModifySnapshotAttribute"));
        for number in 0..5 {
            let spec = json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A]}});
            world.share_with(REGION, number, &spec);
        }
        for number in 5..10 {
            world.share(REGION, number, &[A]);
        }
        let took = world.until("the others are ready", || world.ready() >= 5).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        world.aws.clear_faults();
        world.until("all are ready", || world.ready() == 10).await;
    });
}

#[test]
fn an_account_whose_requests_others_use_up_is_told_of_and_served_once_they_stop() {
    simulated(async {
        let world = Virtual::start(1);
        world.aws.set_foreign_load(vec![ForeignLoad::new(OWNER, REGION, "ModifyImageAttribute", 1000.0)]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.share(REGION, 0, &[A]);
        let reason = || {
            let object = world.memory.look(|stored| stored.object(NAMESPACE, &format!("{REGION}-0")));
            object.map(|object| object["status"]["conditions"].to_string()).unwrap_or_default()
        };
        world.until("it says so", || reason().contains("\"Throttled\"")).await;
        world.aws.set_foreign_load(Vec::new());
        world.shared(REGION, 0, &[A]).await;
        world.until("it is ready", || world.ready() == 1).await;
    });
}

#[test]
fn an_account_whose_limits_are_raised_is_served_as_fast_as_they_allow() {
    simulated(async {
        let world = Virtual::start_with(300, &["--request-rate-factor=3"]);
        let raised = Throttling::documented().with_bucket("Modify*", 300, 15.0).with_bucket("Describe*", 300, 60.0);
        world.aws.set_throttling(raised);
        for number in 0..300 {
            world.share(REGION, number, &[A]);
        }
        let took = world.until("all are ready", || world.ready() == 300).await;
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert_eq!(world.aws.throttled_calls(), 0);
    });
}

#[test]
fn an_api_server_that_is_slow_for_a_while_costs_no_calls_to_aws() {
    simulated(async {
        let world = Virtual::start(20);
        world.memory.set_latency(Duration::from_secs(2));
        for number in 0..20 {
            world.share(REGION, number, &[A]);
        }
        world.until("all are ready", || world.ready() == 20).await;
        assert_eq!(world.calls(REGION, "DescribeImageAttribute"), 20);
        assert_eq!(world.calls(REGION, "ModifyImageAttribute"), 20);
    });
}

#[test]
fn an_api_server_that_refuses_everything_is_asked_less_and_less_often() {
    simulated(async {
        let world = Virtual::start(1);
        world.share(REGION, 0, &[A]);
        world.until("it is ready", || world.ready() == 1).await;
        let lasts = Duration::from_mins(10);
        let (trouble, until) = (Trouble::Refused(503), Instant::now() + lasts);
        let verbs = &[Verb::List, Verb::Watch, Verb::Get, Verb::Patch, Verb::PatchStatus];
        world.memory.add_weather(Weather { trouble, verbs, chance: 1.0, until });
        world.memory.end_watches(End::Closed);
        world.memory.compact();
        let before = world.memory.requests();
        tokio::time::sleep(lasts).await;
        // Every 2.5 to 5 seconds.
        let asked = world.memory.requests() - before;
        assert!((120..250).contains(&asked), "{asked} requests");
    });
}
