//! Plays a scenario undisturbed and then once for each point at which something can go wrong, and compares the ends.

use std::{
    collections::BTreeSet,
    env, fmt,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use strum::{Display, EnumString, IntoEnumIterator};

use crate::harness::tell;

use super::{
    commands::{Command, commands},
    compare::{Holdings, State, strays},
    cut::{Blow, Call, Point},
    place::{Ground, Job, Place},
    play::Play,
    scenario::Scenario,
};

/// When the trigger comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "kebab-case")]
enum Moment {
    /// While the operator runs, which is the one whose calls are cut.
    WhileItRuns,
    /// While no operator runs; the next one is the one whose calls are cut.
    WhileItIsAway,
}

/// One run of a scenario.
#[derive(Clone, Copy, Debug)]
struct Spot {
    moment: Moment,
    point: Option<Point>,
}

/// As whoever replays one writes it: `while-it-runs.12.killed-after`.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.point {
            Some(Point { call, blow }) => write!(f, "{}.{call}.{blow}", self.moment),
            None => write!(f, "{}", self.moment),
        }
    }
}

impl FromStr for Spot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split('.');
            let moment = parts.next()?.parse().ok()?;
            let call = parts.next()?.parse().ok()?;
            let blow: Blow = parts.next()?.parse().ok()?;
            Some(Self { moment, point: Some(Point { call, blow }) })
        };
        parse().ok_or_else(|| format!("{text} is no point, which looks like while-it-runs.12.killed-after"))
    }
}

/// What came of a run.
struct Run {
    end: State,
    /// The calls of the process in which something could go wrong.
    calls: Vec<Call>,
    commands: BTreeSet<Command>,
}

/// Which points are to be covered: `all`, or one; unset, those that the place has time for, in which `AMISHARE_CRASH_SEED` has a
/// say.
const POINTS: &str = "AMISHARE_CRASH_POINTS";
const SEED: &str = "AMISHARE_CRASH_SEED";

/// The points covered so far, of all scenarios.
static COVERED: AtomicUsize = AtomicUsize::new(0);

/// Covers a scenario.
pub fn cover<P: Place>(place: &P, scenario: Scenario) {
    let (scenario, started) = (Arc::new(scenario), std::time::Instant::now());
    let (mut calls, mut covered, mut possible) = (0, 0, 0);
    let mut failures = Vec::new();
    let mut reached = BTreeSet::new();
    for moment in [Moment::WhileItRuns, Moment::WhileItIsAway] {
        let undisturbed = runs(place, &scenario, &[Spot { moment, point: None }], None).remove(0);
        let undisturbed = undisturbed.unwrap_or_else(|why| panic!("{}, undisturbed: {why}", scenario.name));
        reached.extend(undisturbed.commands.iter().copied());
        calls += undisturbed.calls.len();
        possible += undisturbed.calls.len() * Blow::iter().count();
        let chosen = choose(points(moment, &undisturbed.calls), P::SAMPLE);
        let runs = runs(place, &scenario, &chosen, Some(undisturbed.end));
        for (spot, run) in chosen.iter().zip(runs) {
            match run {
                // Where runs differ, a process may get by with fewer calls than the undisturbed one: nothing happened to it.
                Ok(run) => covered += spot.point.map_or(0, |point| stands_for(point, &run.calls)),
                Err(why) => failures.push(format!("{POINTS}={spot}\n{why}")),
            }
        }
    }
    let declared: BTreeSet<Command> = scenario.reaches.iter().copied().collect();
    assert!(
        declared.is_subset(&reached),
        "{} does not reach {:?}, but {reached:?}",
        scenario.name,
        declared.difference(&reached)
    );
    let all = COVERED.fetch_add(covered, Ordering::Relaxed) + covered;
    let (name, place, took) = (scenario.name, P::NAME, started.elapsed());
    tell(&format!("crash: {name} {place}: {calls} calls, {covered} of {possible} points in {took:.1?}; {all} in all"));
    let number = failures.len();
    failures.truncate(5);
    assert!(number == 0, "{name} {place}: {number} points end differently:\n\n{}", failures.join("\n\n"));
}

/// Whether somebody asks for this point, to see its calls.
fn is_replayed(spot: Spot) -> bool {
    env::var(POINTS).is_ok_and(|wanted| wanted == spot.to_string())
}

/// Every point of a run with these calls; of those that are the same, one.
fn points(moment: Moment, calls: &[Call]) -> Vec<Spot> {
    let points = (1..=calls.len()).flat_map(|call| Blow::iter().map(move |blow| Point { call, blow }));
    let points = points.filter(|point| env::var_os(POINTS).is_some() || stands_for(*point, calls) > 0);
    points.map(|point| Spot { moment, point: Some(point) }).collect()
}

/// How many points a run at this point covers. A read leaves no trace: whether it is done before it is lost, or before the process
/// is killed, nobody can tell.
fn stands_for(point: Point, calls: &[Call]) -> usize {
    match (calls.get(point.call - 1), point.blow) {
        (Some(call), _) if !call.only_reads() => 1,
        (Some(_), Blow::Lost | Blow::KilledBefore) => 2,
        _ => 0,
    }
}

/// The points to be covered.
fn choose(all: Vec<Spot>, sample: Option<usize>) -> Vec<Spot> {
    match (env::var(POINTS).as_deref(), sample) {
        (Err(_), None) | (Ok("all"), _) => all,
        (Ok(one), _) => {
            let one: Spot = one.parse().unwrap();
            all.into_iter().filter(|spot| spot.moment == one.moment && spot.point == one.point).collect()
        }
        (Err(_), Some(sample)) => all.sample(&mut StdRng::seed_from_u64(seed()), sample).copied().collect(),
    }
}

/// What the choice of points follows from.
fn seed() -> u64 {
    static CHOSEN: OnceLock<u64> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let seed = env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
        tell(&format!("crash: {SEED}={seed}"));
        seed
    })
}

/// Plays a scenario once for each spot.
fn runs(
    place: &impl Place,
    scenario: &Arc<Scenario>,
    spots: &[Spot],
    expected: Option<State>,
) -> Vec<Result<Run, String>> {
    let expected = expected.map(Arc::new);
    let jobs = spots.iter().copied().map(|spot| {
        let (scenario, expected) = (Arc::clone(scenario), expected.clone());
        let job: Job<Result<Run, String>> =
            Box::new(move |ground| Box::pin(async move { run(&scenario, ground, spot, expected.as_deref()).await }));
        job
    });
    place.run(jobs.collect())
}

/// Plays a scenario once. Its end is to be the one that is expected, if there is one yet.
async fn run(scenario: &Scenario, ground: Ground, spot: Spot, expected: Option<&State>) -> Result<Run, String> {
    let mut play = Play::new(scenario, ground);
    let run = perform(&mut play, scenario, spot, expected).await;
    let run = run.map_err(|why| format!("{why}\n{}", play.log()));
    if spot.point.is_some() && is_replayed(spot) {
        tell(&format!("crash: {spot}:\n{}", play.log()));
    }
    play.kill().await;
    run
}

async fn perform(
    play: &mut Play<'_>,
    scenario: &Scenario,
    spot: Spot,
    expected: Option<&State>,
) -> Result<Run, String> {
    const CUT: &str = "is cut";
    play.prepare().await?;
    match spot.moment {
        Moment::WhileItRuns => {
            play.start(CUT, spot.point).await;
            play.ready().await?;
            play.trigger().await?;
        }
        Moment::WhileItIsAway => {
            play.trigger().await?;
            play.start(CUT, spot.point).await;
        }
    }
    let end = if let Some(expected) = expected {
        play.until("the end of the undisturbed run", |seen| seen.is(expected)).await?
    } else {
        let done = |seen: &State| match seen.at_rest() {
            Ok(()) if (scenario.done)(seen) => Ok(()),
            Ok(()) => Err(format!("not done: {seen:?}")),
            Err(why) => Err(why),
        };
        play.until("the end", done).await?
    };
    let calls = play.calls(CUT);
    let commands = commands(&calls, &play.aws.calls());
    play.let_time_pass().await;
    play.state().await.is(&end).map_err(|why| format!("it does not stay so:\n{why}"))?;
    let meanwhile = Holdings::these(scenario.meanwhile);
    let strays = strays(&play.before, &end.held, &meanwhile, &play.history.lock().unwrap());
    if strays.is_empty() { Ok(Run { end, calls, commands }) } else { Err(strays.join("\n")) }
}
