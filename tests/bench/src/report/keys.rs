//! The table and the targets of encrypted images.

use super::{Target, seconds};
use crate::{floor::Phase, sharing::Sample, world::thousands};

/// The calls that a row counts.
const COUNTED: [&str; 8] = [
    "DescribeImages",
    "DescribeSnapshots",
    "DescribeImageAttribute",
    "DescribeKey",
    "GetKeyPolicy",
    "ListGrants",
    "CreateGrant",
    "RevokeGrant",
];

/// How often each key may be looked at in a phase, and for each second that it takes: requests to check come one after the other, and
/// whoever asks wants to know what is from then on.
const LOOKS: usize = 2;

/// What each phase took.
pub fn table(samples: &[Sample]) -> String {
    let head: Vec<&str> = ["", "Wall", "Calls"].into_iter().chain(COUNTED).chain(["Throttled"]).collect();
    let rows: Vec<Vec<String>> = samples
        .iter()
        .map(|Sample { size, weather, phase, cost, calls, .. }| {
            let first = [format!("{size}, {weather}: {}", phase.word()), seconds(cost.wall), thousands(calls.total())];
            let counted = COUNTED.iter().map(|action| thousands(calls.of(action)));
            first.into_iter().chain(counted).chain([thousands(calls.throttled)]).collect()
        })
        .collect();
    super::table(&head, &rows)
}

/// What there is to keep to: grants are made once for each key and account, and listed once for each key, whatever number of images
/// has it.
pub fn targets(samples: &[Sample]) -> Vec<Target> {
    samples.iter().map(of_phase).collect()
}

fn of_phase(Sample { size, weather, phase, cost, calls, .. }: &Sample) -> Target {
    let wanted = match phase {
        Phase::Converge => size.keys * size.accounts,
        Phase::Quiet => 0,
        Phase::Repair => size.keys,
    };
    let (made, revoked, listed) = (calls.of("CreateGrant"), calls.of("RevokeGrant"), calls.of("ListGrants"));
    // A page has a hundred.
    let seconds = usize::try_from(cost.wall.as_secs() + 1).unwrap_or(usize::MAX);
    let most = (LOOKS + seconds) * size.keys * size.accounts.div_ceil(100);
    Target {
        what: format!("{size}, {weather}: {}: CreateGrant, ListGrants, and no throttled answer", phase.word()),
        limit: format!("{wanted}, {most}"),
        measured: format!("{made}, {listed}, {} throttled", calls.throttled),
        met: made == wanted && revoked == 0 && listed <= most && calls.throttled == 0,
    }
}
