//! Schedules: the real controller in simulated time, with everything around it that can go wrong, drawn from a seed.
//!
//! Invariants 1, 4, 5, 6, 8, 10, 11 and 12 of design.md, section 8, are checked after every step and once everything has come to
//! rest.

mod arena;
mod authority;
mod claims;
mod found;
mod keys;
mod operator;
mod outcome;
mod places;
mod planted;
mod quiet;
mod run;
mod shrink;
mod step;

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use self::{
    run::{Failure, Report, run},
    shrink::shrink,
    step::Schedule,
};
use crate::harness::{number, tell};

/// How many steps a schedule has.
const STEPS: usize = 100;

/// How many schedules `make test` runs: those of the first seeds, so that it says the same of the same code every time. Fresh ones are
/// looked for by `make soak`, whose findings become tests in `found`.
const SCHEDULES: u64 = 2000;

/// A failing schedule in words, as short as it can be made.
fn explain(schedule: &Schedule, failure: &Failure) -> String {
    tell(&format!("schedules: seed {}: {failure}; looking for a shorter one", schedule.seed));
    let (short, same) = shrink(schedule, failure, number("AMISHARE_SCHEDULE_SHRINK").unwrap_or(300));
    let mut text = format!("seed {}: {failure}\n", schedule.seed);
    let public = if short.allow_public { "allows" } else { "does not allow" };
    let _ = writeln!(text, "the shortest of {} steps (the operator {public} public images): {same}", short.items.len());
    for (number, item) in short.items.iter().enumerate() {
        let _ = writeln!(text, "  {:3}. {item}", number + 1);
    }
    let _ = writeln!(
        text,
        "to repeat it: AMISHARE_SCHEDULE_SEED={} cargo test --all-features --test it schedules; with AMISHARE_SCHEDULE_TRACE=/tmp, \
         every request and call is written there",
        schedule.seed
    );
    text
}

/// Runs a schedule. With `AMISHARE_SCHEDULE_TRACE=DIRECTORY`, its steps and everything that was asked and answered are written there.
fn run_traced(schedule: &Schedule) -> Result<Report, Failure> {
    let Some(directory) = std::env::var_os("AMISHARE_SCHEDULE_TRACE").map(PathBuf::from) else {
        return run(schedule, None);
    };
    let mut trace = Vec::new();
    let result = run(schedule, Some(&mut trace));
    let steps = schedule.items.iter().zip(1..).map(|(item, number)| format!("{number:3}. {item}"));
    let text: Vec<String> = steps.chain(trace).chain([format!("{result:?}")]).collect();
    fs::write(directory.join(format!("schedule-{}.txt", schedule.seed)), text.join("\n")).unwrap();
    result
}

/// Runs schedules of these seeds on all cores; gives what came of those that held, and the first few that did not.
fn run_all(seeds: &[u64]) -> (Vec<(u64, Report)>, Vec<String>) {
    let (next, failed) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (reports, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let most = number("AMISHARE_SCHEDULE_FAILURES").unwrap_or(3);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed.load(Ordering::Relaxed) >= most {
                        return;
                    }
                    let schedule = Schedule::of(*seed, STEPS);
                    match run_traced(&schedule) {
                        Ok(report) => reports.lock().unwrap().push((*seed, report)),
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            let text = explain(&schedule, &failure);
                            failures.lock().unwrap().push(text);
                        }
                    }
                }
            });
        }
    });
    (reports.into_inner().unwrap(), failures.into_inner().unwrap())
}

#[test]
fn whatever_happens_the_operator_ends_where_it_should_and_does_no_harm_on_the_way() {
    let count = number("AMISHARE_SCHEDULES");
    let (first, count) = match (number("AMISHARE_SCHEDULE_SEED"), number("AMISHARE_SCHEDULES_FRESH")) {
        (Some(seed), _) => (seed, count.unwrap_or(1)),
        (None, Some(fresh)) => (SCHEDULES + u64::from(rand::random::<u32>()), fresh),
        (None, None) => (0, count.unwrap_or(SCHEDULES)),
    };
    let seeds: Vec<u64> = (first..first + count).collect();
    let start = Instant::now();
    let (reports, failures) = run_all(&seeds);
    let sum = |of: fn(&Report) -> f64| reports.iter().map(|(_, report)| of(report)).sum::<f64>();
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let totals = [
        sum(|r| r.hours),
        sum(|r| r.calls as f64),
        sum(|r| r.requests as f64),
        sum(|r| r.versions as f64),
        sum(|r| r.settled as f64),
    ];
    tell(&format!(
        "schedules: {} of {STEPS} steps, {count} seeds from {first}, in {:?}: {:.0} virtual hours, {} calls to AWS, {} requests to \
         Kubernetes, {} versions of objects, {} times settled in between",
        reports.len(),
        start.elapsed(),
        totals[0],
        totals[1],
        totals[2],
        totals[3],
        totals[4],
    ));
    let mut heaviest = reports;
    heaviest.sort_by_key(|(_, report)| std::cmp::Reverse(report.requests));
    for (seed, report) in heaviest.iter().take(3) {
        tell(&format!(
            "schedules: seed {seed} made {} calls and {} requests, among the most",
            report.calls, report.requests
        ));
    }
    assert!(failures.is_empty(), "{} schedules fail:\n{}", failures.len(), failures.join("\n"));
}

/// The whole trace of a seed, one line for each request and each call.
fn trace_of(seed: u64) -> Vec<String> {
    let mut trace = Vec::new();
    let result = run(&Schedule::of(seed, STEPS), Some(&mut trace));
    trace.push(format!("{result:?}"));
    trace
}

#[test]
fn the_same_seed_gives_the_same_calls_and_requests_at_the_same_times() {
    for seed in 0..number("AMISHARE_TWICE").unwrap_or(3) {
        let (one, other) = (trace_of(seed), trace_of(seed));
        let first = one.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
        let from = first.saturating_sub(3);
        let part = |trace: &[String]| trace[from..].iter().take(6).cloned().collect::<Vec<_>>().join("\n");
        assert!(one == other, "seed {seed} differs at line {first}:\n{}\n\nthe other:\n{}", part(&one), part(&other));
    }
}
