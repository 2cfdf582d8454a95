//! When an image is looked at again.

use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::api::REQUESTED_AT;
use crate::share::claim::Claim;
use crate::share::plan::Policy;
use crate::share::testing::{
    aws::{Aws, State},
    image, now,
    share::{Build, share},
};

const MINUTE: Duration = Duration::from_mins(1);

fn claimant(build: Build) -> Claimant {
    let object = Arc::new(build.build());
    Claimant { claim: Claim::on(&image(1), &object, now(), &Policy::default()).unwrap(), object }
}

fn after(builds: impl IntoIterator<Item = Build>, state: State, retry: Option<Duration>) -> Next {
    let claimants: Vec<Claimant> = builds.into_iter().map(claimant).collect();
    let mut aws = Aws::default();
    aws.image(1).state = state;
    let claims: Vec<Claim> = claimants.iter().map(|c| c.claim.clone()).collect();
    let sight = aws.observe(&image(1), &claims).unwrap().sight;
    next(&image(1), &claimants, &sight, retry, now())
}

fn hourly() -> Build {
    share("a").interval("1h")
}

/// Whether it is within what an interval of this length allows.
fn about(time: Duration, expected: Duration) -> bool {
    time <= expected.mul_f64(1.1) && time >= expected / 10
}

#[test]
fn an_image_is_checked_again_within_the_shortest_interval_or_a_tenth_more() {
    let Next::After(time) = after([hourly(), share("b").interval("20m")], State::Available, None) else { panic!() };
    assert!(about(time, 20 * MINUTE), "{time:?}");
}

#[test]
fn checks_are_spread_evenly_over_the_interval() {
    let mut tenths = [0; 10];
    for number in 0..1000 {
        let left = until_due(&image(number), 10 * MINUTE, now());
        assert!(about(left, 10 * MINUTE), "{left:?}");
        tenths[usize::try_from(left.as_secs() / 60 % 10).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (70..130).contains(count)), "{tenths:?}");
}

#[test]
fn a_restart_changes_nothing_of_when_an_image_is_due() {
    let interval = 10 * MINUTE;
    let at = |seconds: i64| now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let due = |start: i64| {
        let left = until_moment(&image(1), interval, at(start));
        assert!(left <= interval);
        at(start).checked_add(SignedDuration::try_from(left).unwrap()).unwrap()
    };
    for restart in 0..600 {
        // Before its moment it waits for it, however near that is, and after it for the next one.
        let next = if at(restart) < due(0) { due(0) } else { due(600) };
        assert_eq!(due(restart), next);
    }
}

#[test]
fn only_what_is_done_and_reported_is_settled() {
    let settled = |build: Build| is_settled(&[claimant(build)]);
    let well = || hourly().accounts([1]).gave([1]).held().reports(Reason::Synced);
    assert!(settled(well()));
    assert!(!settled(hourly().accounts([1])), "not reported");
    assert!(!settled(well().generation(2)), "a newer spec");
    assert!(!settled(well().annotated(REQUESTED_AT, "now")), "somebody asks");
    assert!(!settled(well().deleting()), "it leaves");
    assert!(!settled(well().ends(0)), "its time is over, which is not reported");
    assert!(!settled(hourly().accounts([1]).gave([1]).held().reports(Reason::Throttled)), "not done");
    assert!(!settled(hourly().accounts([1]).gave([1]).reports(Reason::Synced)), "somebody has taken the finalizer");
    assert!(settled(hourly().suspended()), "there is nothing to do");
}

#[test]
fn taking_access_away_is_more_urgent_than_giving_it_and_both_are_more_urgent_than_a_check() {
    let urgency = |build: Build| urgency(&[claimant(build)]);
    let well = || hourly().accounts([1]).gave([1]).held().reports(Reason::Synced);
    assert_eq!(urgency(well()), Urgency::Check);
    assert_eq!(urgency(well().accounts([2]).generation(2)), Urgency::Give);
    assert_eq!(urgency(hourly().accounts([2]).gave([1, 2]).held().reports(Reason::Synced)), Urgency::Take);
    assert_eq!(urgency(well().ends(0)), Urgency::Take);
    assert_eq!(urgency(well().deleting()), Urgency::Take);
}

#[test]
fn an_image_is_looked_at_the_moment_a_share_ends_and_not_for_one_that_has_ended_or_is_not_acted_on() {
    let ends = |build: Build| time_left(&[claimant(build)], now()).collect::<Vec<_>>();
    assert_eq!(ends(hourly().ends(30)), [Duration::from_secs(30)]);
    assert_eq!(ends(hourly().observe().ends(30)), [Duration::from_secs(30)]);
    for build in [hourly(), hourly().expired(), hourly().ends(0), hourly().ends(30).suspended()] {
        assert_eq!(ends(build), Vec::<Duration>::new());
    }
}

#[test]
fn an_interval_that_the_schema_would_not_have_let_through_is_kept_within_its_bounds() {
    let Next::After(time) = after([share("a").interval("1s")], State::Available, None) else { panic!() };
    assert!(about(time, Duration::from_secs(10)), "{time:?}");
    let Next::After(time) = after([share("a").interval("9999h")], State::Available, None) else { panic!() };
    assert!(about(time, Duration::from_hours(24)), "{time:?}");
}

#[test]
fn whom_aws_refused_is_tried_again_in_time() {
    assert_eq!(after([hourly()], State::Available, Some(MINUTE)), Next::After(MINUTE));
}

#[test]
fn a_pending_image_is_looked_at_soon() {
    assert_eq!(after([hourly()], State::Pending, None), Next::Soon(PENDING));
    assert_eq!(after([hourly()], State::NotYetListed, None), Next::Soon(PENDING));
}

#[test]
fn an_image_that_needs_a_person_is_still_checked_every_interval() {
    for state in [State::Failed, State::Disabled, State::Deregistered, State::Missing, State::Foreign] {
        let Next::Stalled(time) = after([hourly()], state, None) else { panic!("{state:?}") };
        assert!(about(time, 60 * MINUTE), "{time:?}");
    }
}

#[test]
fn an_image_that_nobody_acts_on_rests() {
    let quiet = [share("a").suspended().ends(30), share("b").unreadable(), share("c").gave([1]).deleting()];
    assert_eq!(after(quiet, State::Available, None), Next::Rest);
}

#[test]
fn an_observed_image_is_checked_like_any_other() {
    let Next::After(time) = after([hourly().observe()], State::Available, None) else { panic!() };
    assert!(about(time, 60 * MINUTE), "{time:?}");
}
