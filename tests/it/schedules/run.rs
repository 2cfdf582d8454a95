//! Runs a schedule from its beginning to its end, and looks at everything that comes of it.

use std::{fmt, time::Duration};

use amishare::planted::plant;
use tokio::runtime::Builder;

use super::{
    arena::{Arena, SETTLE},
    authority, outcome, quiet,
    step::{Item, Schedule},
};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Its number in design.md, section 8.
    pub invariant: u8,
    pub text: String,
}

/// A schedule that fails.
#[derive(Clone, Debug)]
pub struct Failure {
    pub violation: Violation,
    /// After which step.
    pub step: usize,
    /// How long after the beginning.
    pub at: Duration,
}

/// What came of a schedule that does not fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub hours: f64,
    pub calls: usize,
    pub requests: u64,
    pub versions: usize,
    /// How often a Region was found as it should be between two steps.
    pub settled: usize,
}

impl Violation {
    pub fn new(invariant: u8, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violation: Violation { invariant, text }, step, at } = self;
        write!(f, "invariant {invariant}: {text} ({at:?} after the beginning, after step {step})")
    }
}

/// Runs a schedule; `trace` takes what was asked and answered.
pub fn run(schedule: &Schedule, trace: Option<&mut Vec<String>>) -> Result<Report, Failure> {
    plant(schedule.flaw);
    let result = run_planted(schedule, trace);
    plant(None);
    result
}

fn run_planted(schedule: &Schedule, trace: Option<&mut Vec<String>>) -> Result<Report, Failure> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut arena = Arena::new(schedule);
        arena.trace = trace.is_some().then(Vec::new);
        let mut report = Report::default();
        let mut step = 0_usize;
        let result = steps(&mut arena, &schedule.items, &mut report, &mut step).await;
        if let (Some(into), Some(from)) = (trace, arena.trace.take()) {
            *into = from;
        }
        report.hours = arena.now().as_secs_f64() / 3600.0;
        report.requests = arena.memory.requests();
        report.versions = arena.claims.all().len();
        result.map(|()| report).map_err(|violation| Failure { violation, step, at: arena.now() })
    })
}

async fn steps(arena: &mut Arena, items: &[Item], report: &mut Report, step: &mut usize) -> Result<(), Violation> {
    for item in items {
        *step += 1;
        arena.take_step(&item.step).await;
        arena.pass(shortened(arena, item.then)).await;
        look(arena, report)?;
        report.settled += (0..2).filter(|region| outcome::is_due(arena, *region)).count();
        outcome::check(arena)?;
    }
    arena.heal();
    quiet::check(arena, report).await
}

/// Looks at what has been asked and stored since the last time.
pub fn look(arena: &mut Arena, report: &mut Report) -> Result<(), Violation> {
    let wrong = arena.claims.read(&arena.memory);
    if let Some(first) = wrong.into_iter().next() {
        return Err(Violation::new(12, first));
    }
    let (served, calls) = arena.take();
    report.calls += calls.len();
    authority::check(arena, &served, &calls)?;
    let Some(operator) = &arena.operator else { return Ok(()) };
    if operator.has_ended() {
        return Err(Violation::new(8, "the operator has ended by itself"));
    }
    let metrics = operator.metrics.render().unwrap_or_default();
    if metrics.contains("reason=\"Panic\"") {
        return Err(Violation::new(8, "a reconcile has panicked"));
    }
    Ok(())
}

/// How many checks of one image may pass in one pause: more would be the same again, and take their time.
const CHECKS: u32 = 4;

fn shortened(arena: &Arena, pause: Duration) -> Duration {
    let shortest = arena.claims.now().map(|claim| claim.share.spec.interval.as_duration()).min();
    pause.min(shortest.map_or(pause, |shortest| shortest * CHECKS).max(SETTLE * 2))
}
