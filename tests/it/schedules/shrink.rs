//! From a schedule that fails to the shortest that fails in the same way.

use std::time::Duration;

use super::{
    run::{Failure, run},
    step::{Item, Schedule},
};

/// The shortest schedule that was found, in so many runs at most, to break the same invariant, and how it fails.
pub fn shrink(schedule: &Schedule, failure: &Failure, most: u64) -> (Schedule, Failure) {
    let mut best = (schedule.clone(), failure.clone());
    best.0.items.truncate(failure.step);
    let mut search = Search { left: most, invariant: failure.violation.invariant };
    let mut size = best.0.items.len().div_ceil(2);
    while size > 0 && search.goes_on() {
        let before = best.0.items.len();
        let mut start = 0;
        while start < best.0.items.len() && search.goes_on() {
            let end = (start + size).min(best.0.items.len());
            // Time passes all the same: what was left out may have been waited for.
            let passed = best.0.items[start..end].iter().map(|item| item.then).sum();
            let shorter = [Duration::ZERO, passed].map(|passed| without(&best.0, start, end, passed));
            if !shorter.into_iter().any(|shorter| search.finds(&mut best, shorter)) {
                start = end;
            }
        }
        if size == 1 && best.0.items.len() == before {
            break;
        }
        size = (size / 2).max(1);
    }
    for index in 0..best.0.items.len() {
        for then in [Duration::ZERO, Duration::from_secs(1), Duration::from_mins(1)] {
            if search.goes_on() && then < best.0.items[index].then {
                let mut shorter = best.0.clone();
                shorter.items[index].then = then;
                if search.finds(&mut best, shorter) {
                    break;
                }
            }
        }
    }
    best
}

struct Search {
    left: u64,
    invariant: u8,
}

impl Search {
    fn goes_on(&self) -> bool {
        self.left > 0
    }

    /// Whether a schedule fails in the same way; it is the best one then.
    fn finds(&mut self, best: &mut (Schedule, Failure), schedule: Schedule) -> bool {
        self.left = self.left.saturating_sub(1);
        match run(&schedule, None) {
            Err(failure) if failure.violation.invariant == self.invariant => {
                *best = (schedule, failure);
                true
            }
            _ => false,
        }
    }
}

fn without(schedule: &Schedule, start: usize, end: usize, passed: Duration) -> Schedule {
    let mut items: Vec<Item> = schedule.items.clone();
    items.drain(start..end);
    if let Some(before) = start.checked_sub(1) {
        items[before].then += passed;
    }
    Schedule { items, ..schedule.clone() }
}
