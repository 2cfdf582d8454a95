//! The table and the targets of copies.

use super::{Target, seconds};
use crate::{
    copies::{COPIES, Sample},
    world::thousands,
};

/// The calls that a row counts.
const COUNTED: [&str; 4] = ["CopyImage", "DescribeImages", "DescribeSnapshots", "DescribeImageAttribute"];

/// How much longer than a copy takes it may take until it is seen: it is looked at again after half the time that it has taken.
const SEEN: f64 = 1.6;

/// What it takes besides: to start, to look at everything, and to order.
const BESIDES: f64 = 8.0;

/// How many more calls that look at each copy there may be when copies take four times as long: a wait that grows by half each time is
/// 3.4 more looks, of three calls each, and a whole look more where the last one came too soon.
const MORE: f64 = 13.2;

/// What each took.
pub fn table(samples: &[Sample]) -> String {
    let head: Vec<&str> = ["A copy takes", "Wall", "× the copy"]
        .into_iter()
        .chain(COUNTED)
        .chain(["Looks per copy", "Throttled"])
        .collect();
    let rows: Vec<Vec<String>> = samples
        .iter()
        .map(|sample| {
            let Sample { copying, wall, calls } = sample;
            let ratio = wall.as_secs_f64() / copying.as_secs_f64();
            let first = [seconds(*copying), seconds(*wall), format!("{ratio:.2}")];
            let counted = COUNTED.iter().map(|action| thousands(calls.of(action)));
            let last = [format!("{:.1}", sample.looks()), thousands(calls.throttled)];
            first.into_iter().chain(counted).chain(last).collect()
        })
        .collect();
    super::table(&head, &rows)
}

/// What there is to keep to.
pub fn targets(samples: &[Sample]) -> Vec<Target> {
    let walls = samples.iter().map(|Sample { copying, wall, calls }| {
        let limit = copying.as_secs_f64() * SEEN + BESIDES;
        Target {
            what: format!("{COPIES} copies that take {}: wall, orders, and no throttled answer", seconds(*copying)),
            limit: format!("{limit:.0} s, {COPIES}"),
            measured: format!("{}, {}, {} throttled", seconds(*wall), calls.of("CopyImage"), calls.throttled),
            met: wall.as_secs_f64() <= limit && calls.of("CopyImage") == COPIES && calls.throttled == 0,
        }
    });
    let growth = samples.windows(2).map(|pair| {
        let more = pair[1].looks() - pair[0].looks();
        let (short, long) = (seconds(pair[0].copying), seconds(pair[1].copying));
        Target {
            what: format!("looks per copy: how many more when it takes {long} and not {short}"),
            limit: format!("{MORE:.1}"),
            measured: format!("{more:.1}"),
            met: more <= MORE,
        }
    });
    walls.chain(growth).collect()
}
