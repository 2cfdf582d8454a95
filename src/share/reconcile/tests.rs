//! When an image is looked at again.

use super::*;
use crate::share::testing::{
    aws::{Aws, State},
    image, now,
    share::{Build, share},
};

const MINUTE: Duration = Duration::from_mins(1);

fn claimant(build: Build) -> Claimant {
    let object = Arc::new(build.build());
    Claimant { claim: Claim::on(&image(1), &object, now()).unwrap(), object }
}

fn after(builds: impl IntoIterator<Item = Build>, state: State, retry: Option<Duration>) -> Next {
    let claimants: Vec<Claimant> = builds.into_iter().map(claimant).collect();
    let mut aws = Aws::default();
    aws.image(1).state = state;
    let claims: Vec<Claim> = claimants.iter().map(|c| c.claim.clone()).collect();
    let sight = aws.observe(&image(1), &claims, Policy::default()).unwrap().sight;
    next(&claimants, &sight, retry, 0.5)
}

fn hourly() -> Build {
    share("a").interval("1h")
}

/// Whether it is this time or up to a tenth less.
fn about(time: Duration, expected: Duration) -> bool {
    time <= expected && time >= expected.mul_f64(0.9)
}

#[test]
fn an_image_is_checked_again_after_the_shortest_interval_with_up_to_a_tenth_off() {
    for _ in 0..100 {
        let Next::After(time) = after([hourly(), share("b").interval("20m")], State::Available, None) else { panic!() };
        assert!(about(time, 20 * MINUTE), "{time:?}");
    }
}

#[test]
fn shares_are_not_all_checked_at_the_same_time() {
    let once = || after([hourly()], State::Available, None);
    assert!((0..20).any(|_| once() != once()));
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
    assert!(about(time, SHORTEST), "{time:?}");
    let Next::After(time) = after([share("a").interval("9999h")], State::Available, None) else { panic!() };
    assert!(about(time, LONGEST), "{time:?}");
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
