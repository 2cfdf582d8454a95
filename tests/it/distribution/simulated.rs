//! Distributions in simulated time, with an API server in memory: an operator that is cut at any of its calls, and random orders of
//! everything that can happen.
//!
//! `AMISHARE_DISTRIBUTION_POINTS` is `all`, how many points of each scenario are played, or a single one as a failure prints it;
//! `AMISHARE_DISTRIBUTION_ORDERS` how many orders, and `AMISHARE_DISTRIBUTION_ORDER` a single one.

use std::{
    env,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use amishare::{
    cli::RunArgs,
    runtime::{clock::Clock, entropy::Entropy},
    simulator::{self, Call, Fault, FaultKind, Scenario as AwsScenario, Simulator},
};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use k8s_openapi::jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use strum::IntoEnumIterator;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

use super::{
    wanted::{ENCRYPTED, Everything, SCENARIO, TARGETS, WITH, Wanted},
    world::{IDENTITIES, NEWER},
};
use crate::{
    crash::{
        cut::{self, Blow, Cut, Point},
        process::Process,
        transports::{History, to_aws},
    },
    harness::{
        number, tell,
        world::{IMAGE, run_args},
    },
    memory::{End, Memory, Trouble, Verb, Weather},
    properties::arena,
};

const NAMESPACE: &str = "images";

/// The object.
const NAME: &str = "base";

/// The longest that anything may take: a copy of which nothing is seen is waited for for five minutes, and what fails is tried again
/// ever later.
const PATIENCE: Duration = Duration::from_hours(2);

/// How long nothing may happen any more in the end: as long as several checks take.
const REST: Duration = Duration::from_mins(2);

/// The simulated time for the SDK, which has to know when its credentials are over.
#[derive(Debug)]
struct Time(Clock);

impl TimeSource for Time {
    fn now(&self) -> std::time::SystemTime {
        self.0.now().into()
    }
}

/// A world in simulated time.
struct Play {
    memory: Memory,
    aws: Simulator,
    clock: Clock,
    history: History,
    /// What is wanted now, if the object is not to be deleted.
    wanted: Option<Wanted>,
    process: Option<Process>,
    started: u64,
    seed: u64,
}

/// The flags of every operator.
fn arguments() -> &'static RunArgs {
    static ARGUMENTS: OnceLock<RunArgs> = OnceLock::new();
    ARGUMENTS.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap().keep().unwrap().1;
        std::fs::write(&file, IDENTITIES).unwrap();
        run_args([format!("--namespaces={NAMESPACE}"), format!("--config={}", file.display())])
    })
}

impl Play {
    fn new(seed: u64, encrypted: bool) -> Self {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Clock::set_to(start);
        let aws = Simulator::new(AwsScenario::from_yaml(if encrypted { ENCRYPTED } else { SCENARIO }).unwrap());
        aws.with_world(|world| {
            world.clock = simulator::Clock::Following { from: start, since: Instant::now() };
            world.copies.milliseconds = 20_000;
        });
        let (memory, history) = (Memory::new(clock, seed), Arc::new(Mutex::default()));
        Self { memory, aws, clock, history, wanted: None, process: None, started: 0, seed }
    }

    fn start(&mut self, point: Option<Point>) {
        let cut = Cut::at(point);
        self.started += 1;
        let connection = self.memory.connect(&format!("operator {}", self.started));
        let time = SharedTimeSource::new(Time(self.clock));
        let sdk = arena::sdk(to_aws(&self.aws, &cut, &self.history)).to_builder().time_source(time).build();
        let entropy = Entropy::from_seed(self.seed.wrapping_add(self.started));
        self.process = Some(Process::start(arguments(), &connection.client(), sdk, cut, self.clock, entropy));
    }

    async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Starts a new process if the one before is dead.
    async fn revive(&mut self) {
        if self.process.as_ref().is_none_or(|process| process.cut.is_dead()) {
            self.kill().await;
            self.start(None);
        }
    }

    /// Says what is wanted from now on.
    fn want(&mut self, wanted: Option<Wanted>) {
        let object = |wanted: &Wanted| {
            json!({
                "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": NAME},
                "spec": wanted.spec(),
            })
        };
        let answer = match (&self.wanted, &wanted) {
            (None, Some(wanted)) => self.memory.distributions(|stored| stored.create(NAMESPACE, object(wanted))),
            (Some(_), Some(wanted)) => self.edit(&json!({"spec": wanted.spec()})),
            (_, None) => self.memory.distributions(|stored| stored.delete(NAMESPACE, NAME)),
        };
        assert!(answer.is_success(), "{answer:?}");
        self.wanted = wanted;
    }

    fn edit(&self, patch: &Value) -> crate::memory::answer::Answer {
        use crate::memory::state::{Form, Part};
        self.memory.distributions(|stored| stored.patch(NAMESPACE, NAME, Part::Main, Form::Merge, "somebody", patch))
    }

    /// The names of the AmiShares.
    fn shares(&self) -> Vec<String> {
        self.memory.look(|stored| stored.names().into_iter().map(|(_, name)| name).collect())
    }

    /// Whether there is what there is to be, and nothing else, and the object says so.
    fn is_whole(&self) -> Result<(), String> {
        let object = self.memory.distributions(|stored| stored.object(NAMESPACE, NAME));
        let seen = Everything::of(&self.aws, self.shares().len());
        let expected = self.wanted.as_ref().map_or_else(Everything::before, Wanted::everything);
        let status = object.as_ref().map_or(&Value::Null, |object| &object["status"]);
        let ready = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
        let says = match (&object, ready) {
            (None, _) => self.wanted.is_none(),
            (Some(object), Some(ready)) => {
                let generation = &object["metadata"]["generation"];
                self.wanted.is_some()
                    && ready["status"] == "True"
                    && ready["observedGeneration"] == *generation
                    && status["observedGeneration"] == *generation
            }
            (Some(_), None) => false,
        };
        let is_dealt_with = |share: &Value| {
            let conditions = share["status"]["conditions"].as_array().into_iter().flatten();
            let generation = &share["metadata"]["generation"];
            conditions.into_iter().any(|c| c["type"] == "Ready" && c["observedGeneration"] == *generation)
        };
        let shares = self.shares();
        let waits = shares.iter().find(|name| {
            let share = self.memory.look(|stored| stored.object(NAMESPACE, name));
            !share.is_some_and(|share| is_dealt_with(&share))
        });
        if let Some(share) = waits {
            return Err(format!("the AmiShare {share} is not dealt with"));
        }
        if seen == expected && says {
            return Ok(());
        }
        Err(format!("{seen:#?}\ninstead of {expected:#?}\n{status:#}"))
    }

    /// The calls by which something was changed.
    fn changes(&self) -> Vec<Call> {
        let changes =
            |call: &Call| !["Describe", "Get", "List", "AssumeRole"].iter().any(|verb| call.action.starts_with(verb));
        self.aws.calls().into_iter().filter(changes).collect()
    }

    /// Waits until everything is as it is to be, and stays so.
    async fn until_whole(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.revive().await;
            let seen = self.is_whole();
            let is_busy = self.process.as_ref().is_some_and(|process| process.cut.count().1 > 0);
            match seen {
                Ok(()) if !is_busy => break,
                Err(why) if Instant::now() > deadline => return Err(format!("not within {PATIENCE:?}: {why}")),
                _ => sleep(Duration::from_millis(500)).await,
            }
        }
        let changes = self.changes().len();
        sleep(REST).await;
        self.is_whole().map_err(|why| format!("it does not stay so: {why}"))?;
        let more = &self.changes()[changes..];
        if more.is_empty() { Ok(()) } else { Err(format!("it goes on changing what is as it is to be: {more:#?}")) }
    }
}

/// Runs something in simulated time.
fn in_simulated_time<T>(run: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(run)
}

/// What there is, and what is wanted then.
struct Scenario {
    name: &'static str,
    before: Option<Wanted>,
    then: Option<Wanted>,
}

impl Scenario {
    /// Plays it, cut at a point. Returns the calls of the process in which something could go wrong, and how often a copy was ordered.
    async fn play(&self, point: Option<Point>) -> Result<Vec<cut::Call>, String> {
        let encrypted = self.before.iter().chain(&self.then).any(|wanted| wanted.encrypted);
        let mut play = Play::new(1, encrypted);
        if self.before.is_some() {
            play.want(self.before.clone());
            play.until_whole().await.map_err(|why| format!("before: {why}"))?;
            play.kill().await;
        }
        play.want(self.then.clone());
        play.start(point);
        let first = play.process.as_ref().map(|process| process.cut.clone()).unwrap();
        let result = play.until_whole().await;
        play.kill().await;
        let calls = first.calls();
        result.map(|()| calls.clone()).map_err(|why| {
            let at = point.and_then(|point| calls.get(point.call - 1)).map(ToString::to_string).unwrap_or_default();
            format!("{why}\nthe call: {at}")
        })
    }

    /// Plays it once undisturbed, and then once for each of some points.
    fn cover(&self) {
        let started = std::time::Instant::now();
        let calls =
            in_simulated_time(self.play(None)).unwrap_or_else(|why| panic!("{}, undisturbed: {why}", self.name));
        let all: Vec<Point> = (1..=calls.len())
            .flat_map(|call| Blow::iter().map(move |blow| Point { call, blow }))
            // A read leaves no trace: whether it is done before it is lost, nobody can tell.
            .filter(|point| {
                !calls[point.call - 1].only_reads() || matches!(point.blow, Blow::Lost | Blow::KilledBefore)
            })
            .collect();
        let chosen: Vec<Point> = match env::var("AMISHARE_DISTRIBUTION_POINTS").as_deref() {
            Ok("all") => all.clone(),
            Ok(text) => match text.split_once('.') {
                Some((call, blow)) => vec![Point { call: call.parse().unwrap(), blow: blow.parse().unwrap() }],
                None => spread(&all, text.parse().unwrap()),
            },
            Err(_) => spread(&all, 80),
        };
        let mut failures = Vec::new();
        for point in &chosen {
            if let Err(why) = in_simulated_time(self.play(Some(*point))) {
                failures.push(format!("AMISHARE_DISTRIBUTION_POINTS={}.{}\n{why}", point.call, point.blow));
            }
        }
        tell(&format!(
            "distributions: {}: {} calls, {} of {} points in {:.1?}",
            self.name,
            calls.len(),
            chosen.len(),
            all.len(),
            started.elapsed()
        ));
        let number = failures.len();
        failures.truncate(3);
        assert!(number == 0, "{}: {number} points end differently:\n\n{}", self.name, failures.join("\n\n"));
    }
}

/// So many of them, evenly.
fn spread(all: &[Point], wanted: usize) -> Vec<Point> {
    all.iter().step_by((all.len() / wanted.max(1)).max(1)).copied().collect()
}

#[test]
fn an_operator_that_is_cut_at_any_call_of_new_copies_leaves_one_for_each_target() {
    Scenario { name: "new copies", before: None, then: Some(Wanted::everywhere()) }.cover();
}

#[test]
fn an_operator_that_is_cut_at_any_call_after_the_source_has_changed_leaves_one_copy_for_each_target() {
    let then = Wanted { source: NEWER, ..Wanted::everywhere() };
    Scenario { name: "another source", before: Some(Wanted::everywhere()), then: Some(then) }.cover();
}

#[test]
fn an_operator_that_is_cut_at_any_call_after_targets_have_changed_leaves_one_copy_for_each_target() {
    let before = Wanted { targets: [0, 1, 3, 5].into(), ..Wanted::everywhere() };
    let then = Wanted { targets: [0, 2, 4].into(), with: WITH[1], ..Wanted::everywhere() };
    Scenario { name: "other targets", before: Some(before), then: Some(then) }.cover();
}

#[test]
fn an_operator_that_is_cut_at_any_call_of_encrypted_copies_leaves_one_for_each_target_and_no_grant_too_many() {
    let before = Wanted { encrypted: true, targets: [0, 3].into(), ..Wanted::everywhere() };
    let then = Wanted { encrypted: true, with: WITH[1], ..Wanted::everywhere() };
    Scenario { name: "encrypted copies", before: Some(before), then: Some(then) }.cover();
}

#[test]
fn an_operator_that_is_cut_at_any_call_of_a_deletion_of_encrypted_copies_leaves_nothing() {
    let before = Wanted { encrypted: true, ..Wanted::everywhere() };
    Scenario { name: "deletion of encrypted copies", before: Some(before), then: None }.cover();
}

#[test]
fn an_operator_that_is_cut_at_any_call_of_a_deletion_leaves_nothing() {
    Scenario { name: "deletion", before: Some(Wanted::everywhere()), then: None }.cover();
}

/// One thing that happens, of those that have no end.
async fn happens(play: &mut Play, rng: &mut StdRng) -> String {
    let Some(mut wanted) = play.wanted.clone() else { panic!("nothing is wanted") };
    match rng.random_range(0..11) {
        0 => {
            wanted.source = if wanted.source == IMAGE { NEWER } else { IMAGE };
            play.want(Some(wanted.clone()));
            format!("the source becomes {}", wanted.source)
        }
        1 | 2 => {
            let index = rng.random_range(0..TARGETS.len());
            if !wanted.targets.remove(&index) || wanted.targets.is_empty() {
                wanted.targets.insert(index);
            }
            play.want(Some(wanted.clone()));
            format!("the targets become {:?}", wanted.targets)
        }
        3 => {
            wanted.with = if wanted.with == WITH[0] { WITH[1] } else { WITH[0] };
            play.want(Some(wanted.clone()));
            format!("it is shared with {}", wanted.with)
        }
        4 => {
            play.kill().await;
            sleep(Duration::from_secs(rng.random_range(0..20))).await;
            play.start(None);
            "the operator is killed and started".into()
        }
        5 | 6 => {
            let kinds = [
                FaultKind::ResetBefore,
                FaultKind::ResetAfter,
                FaultKind::Throttle,
                FaultKind::ServerError { status: 500, html: false },
            ];
            let action = *["CopyImage", "Describe*", "Modify*", "Deregister*", "*"].choose(rng).unwrap();
            let fault = Fault { count: Some(rng.random_range(1..6)), ..Fault::new(kinds.choose(rng).unwrap().clone()) };
            let words = format!("{fault:?} on {action}");
            play.aws.add_fault(fault.on(action));
            words
        }
        7 => {
            let troubles = [
                Trouble::LostBefore,
                Trouble::LostAfter,
                Trouble::Refused(500),
                Trouble::Refused(429),
                Trouble::Overtaken,
            ];
            let weather = Weather {
                trouble: *troubles.choose(rng).unwrap(),
                verbs: &[Verb::Get, Verb::List, Verb::Patch, Verb::PatchStatus, Verb::Delete, Verb::CreateEvent],
                chance: 0.4,
                until: Instant::now() + Duration::from_secs(rng.random_range(1..15)),
            };
            let words = format!("{weather:?}");
            play.memory.add_weather(weather);
            words
        }
        8 => {
            let how = *[End::Closed, End::Broken, End::Silent].choose(rng).unwrap();
            play.memory.end_watches(how);
            format!("the watches end: {how:?}")
        }
        9 => {
            let shares = play.shares();
            let Some(share) = shares.choose(rng) else { return "nothing".into() };
            if rng.random_bool(0.5) {
                play.memory.delete(NAMESPACE, share);
                return format!("somebody deletes the AmiShare {share}");
            }
            play.memory.patch(NAMESPACE, share, &json!({"spec": {"shareWith": {"accountIds": ["666666666666"]}}}));
            format!("somebody edits the AmiShare {share}")
        }
        _ => deregister_any(play, rng),
    }
}

/// Somebody deregisters a copy of ours, wherever it is in its life.
fn deregister_any(play: &Play, rng: &mut StdRng) -> String {
    let copies: Vec<(String, String, String)> = play.aws.with_world(|aws| {
        let all = aws.regions.iter().flat_map(|(region, here)| here.images.values().map(move |image| (region, image)));
        let copies = all.filter(|(_, image)| image.id != IMAGE && image.id != NEWER);
        copies.map(|(region, image)| (region.clone(), image.owner.clone(), image.id.clone())).collect()
    });
    let Some((region, owner, id)) = copies.choose(rng) else { return "nothing".into() };
    let parameters = [("ImageId", id.as_str()), ("DeleteAssociatedSnapshots", "true")];
    let done = play.aws.call(owner, region, "DeregisterImage", &parameters).is_ok();
    format!("somebody deregisters {id} in {region}: {done}")
}

async fn order(seed: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let encrypted = seed % 3 == 2;
    let mut play = Play::new(seed, encrypted);
    play.memory.set_latency(Duration::from_millis(20));
    play.want(Some(Wanted { encrypted, ..Wanted::everywhere() }));
    play.start(None);
    let mut happened = Vec::new();
    for _ in 0..rng.random_range(5..25) {
        let longest = *[1, 10, 40].choose(&mut rng).unwrap();
        sleep(Duration::from_millis(rng.random_range(0..longest * 1000))).await;
        let what = happens(&mut play, &mut rng).await;
        happened.push(format!("{} {what}", play.clock.now()));
    }
    let told = |why: String| format!("{why}\n{}", happened.join("\n"));
    play.aws.clear_faults();
    play.memory.clear_weather();
    play.until_whole().await.map_err(told)?;
    if rng.random_bool(0.3) {
        // In the middle of something.
        let source = play.wanted.as_ref().map(|wanted| if wanted.source == IMAGE { NEWER } else { IMAGE }).unwrap();
        play.want(Some(Wanted { source, encrypted, ..Wanted::everywhere() }));
        sleep(Duration::from_millis(rng.random_range(0..30_000))).await;
    }
    play.want(None);
    play.until_whole().await.map_err(|why| told(format!("deleted: {why}")))?;
    play.kill().await;
    Ok(())
}

#[test]
fn whatever_happens_in_whatever_order_there_is_one_copy_for_each_target_and_nothing_when_it_is_deleted() {
    let seeds = match number("AMISHARE_DISTRIBUTION_ORDER") {
        Some(seed) => seed..seed + 1,
        None => 0..number("AMISHARE_DISTRIBUTION_ORDERS").unwrap_or(150),
    };
    let (started, all) = (std::time::Instant::now(), seeds.clone());
    let mut failures = Vec::new();
    for seed in seeds {
        if let Err(why) = in_simulated_time(order(seed)) {
            failures.push(format!("AMISHARE_DISTRIBUTION_ORDER={seed}\n{why}"));
        }
    }
    tell(&format!("distributions: orders {all:?} in {:.1?}", started.elapsed()));
    let number = failures.len();
    failures.truncate(3);
    assert!(number == 0, "{number} orders end wrong:\n\n{}", failures.join("\n\n"));
}
