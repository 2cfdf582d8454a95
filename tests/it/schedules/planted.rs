//! Whether the schedules would find what they are there to find: for every invariant, faults planted in the operator on purpose.

use std::{
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use amishare::planted::Flaw;
use strum::VariantArray;

use crate::harness::tell;

use super::{
    STEPS,
    run::{Failure, run},
    shrink::shrink,
    step::Schedule,
};

/// How many schedules a fault may survive.
const SEEDS: u64 = 200;

/// How many runs finding a shorter one may take.
const RUNS: u64 = 40;

/// The invariants of which a fault may be found to break one.
fn breaks(flaw: Flaw) -> &'static [u8] {
    match flaw {
        Flaw::GivesUp | Flaw::WritesAtRest => &[1],
        Flaw::ActsWhileSuspended | Flaw::TakesWhatItDidNotGive | Flaw::IgnoresTheGuardRail => &[4],
        Flaw::DoesNotWaitForGrants => &[2],
        // Who sees an old version gives to whom nobody lists any more, or takes from whom somebody lists by now.
        Flaw::TrustsItsWatch => &[5, 6],
        Flaw::WritesUnconditionally => &[5],
        Flaw::ForgetsOtherClaims => &[6],
        Flaw::FallsWithOneImage => &[8],
        Flaw::AsksForEachAccount => &[10],
        Flaw::LetsGoTooSoon | Flaw::NeverLetsGo | Flaw::KeepsGrants | Flaw::RecordsTooLate => &[11],
        Flaw::HidesThatItWorks => &[12],
    }
}

/// The first schedule that finds a fault, as short as it can be made, and its seed.
fn find(flaw: Flaw) -> Option<(u64, Schedule, Failure)> {
    (0..SEEDS).find_map(|seed| {
        let schedule = Schedule { flaw: Some(flaw), ..Schedule::of(seed, STEPS) };
        let failure = run(&schedule, None).err().filter(|f| breaks(flaw).contains(&f.violation.invariant))?;
        let (short, same) = shrink(&schedule, &failure, RUNS);
        Some((seed, short, same))
    })
}

#[test]
fn every_fault_that_is_planted_is_found() {
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(flaw) = Flaw::VARIANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = find(*flaw);
                    rows.lock().unwrap().push((*flaw, found));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(flaw, _)| Flaw::VARIANTS.iter().position(|other| other == flaw));
    let mut table = format!("{:22} {:>9} {:>5} {:>5}  found\n", "planted fault", "invariant", "seed", "steps");
    for (flaw, found) in &rows {
        let name = format!("{flaw:?}");
        match found {
            Some((seed, short, failure)) => {
                let text: String = failure.violation.text.lines().next().unwrap_or_default().chars().take(90).collect();
                let (number, steps) = (failure.violation.invariant, short.items.len());
                let _ = writeln!(table, "{name:22} {number:>9} {seed:>5} {steps:>5}  {text}");
            }
            None => drop(writeln!(table, "{name:22} {:>9}     -     -  not found", format!("{:?}", breaks(*flaw)))),
        }
    }
    tell(&table);
    assert!(rows.iter().all(|(_, found)| found.is_some()), "not every planted fault is found:\n{table}");
}
