//! Schedules that failed once, as short as they could be made: each of them was a bug.

use std::time::Duration;

use super::{
    places::{Target, Who},
    run::run,
    step::{Edit, Grants, Item, Schedule, Scribble, Spec, Step},
};
use crate::memory::{Trouble, Verb};

const AT_ONCE: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Objects in the first Region, on whose two images one snapshot is.
const A: usize = 0;
const B: usize = 1;

/// Objects in the second Region, where images are encrypted.
const C: usize = 5;
const D: usize = 4;
const E: usize = 3;

/// Some account, and another.
const ONE: Who = Who(1);
const TWO: Who = Who(2);

/// A share of an image with one account.
fn spec(image: usize) -> Spec {
    let (lists, mode, interval) = (ONE, "Authoritative", "1h");
    Spec {
        image,
        lists,
        volumes: false,
        grants: Grants::None,
        mode,
        retain: false,
        ends: None,
        interval,
        suspend: false,
    }
}

/// The same with createVolumePermission, and without a say over what others give.
fn volumes(image: usize) -> Spec {
    Spec { volumes: true, mode: "Additive", ..spec(image) }
}

fn create(object: usize, spec: Spec) -> Step {
    Step::Create { object, spec }
}

fn move_to(object: usize, image: usize) -> Step {
    Step::Edit { object, edit: Edit::Image(image) }
}

/// Runs a schedule, in which everything that every schedule has to keep is looked at.
fn holds(items: impl IntoIterator<Item = (Step, Duration)>) {
    holds_with(0, items);
}

/// The same with another seed, which says how late KMS shows grants.
fn holds_with(seed: u64, items: impl IntoIterator<Item = (Step, Duration)>) {
    let items = items.into_iter().map(|(step, then)| Item { step, then }).collect();
    let mut trace = Vec::new();
    run(&Schedule { seed, allow_public: true, flaw: None, items }, Some(&mut trace))
        .unwrap_or_else(|failure| panic!("{failure}\n{}", trace[trace.len().saturating_sub(200)..].join("\n")));
}

#[test]
fn a_status_that_somebody_else_has_a_part_of_is_not_written_again_and_again() {
    holds([(create(A, spec(0)), AT_ONCE), (Step::Scribble { object: A, what: Scribble::Overwritten }, AT_ONCE)]);
}

#[test]
fn a_suspended_share_that_could_not_be_told_so_is_told_after_a_restart() {
    let (trouble, verbs, lasts) = (Trouble::Refused(500), &[Verb::PatchStatus][..], Duration::from_mins(5));
    holds([
        (create(A, spec(0)), SECOND),
        (Step::KubeTrouble { trouble, verbs, chance: 1.0, lasts }, AT_ONCE),
        (create(B, Spec { suspend: true, ..spec(0) }), AT_ONCE),
        (Step::Restart, Duration::from_mins(25)),
    ]);
}

#[test]
fn what_was_given_on_a_shared_snapshot_is_taken_back_by_whoever_leaves_last() {
    for wait in [Duration::from_millis(250), MINUTE] {
        holds([
            (create(B, volumes(0)), SECOND),
            (create(A, volumes(1)), wait),
            (Step::Delete { object: B }, wait),
            (Step::Delete { object: A }, AT_ONCE),
        ]);
        let none = Edit::Lists(TWO);
        holds([
            (create(B, volumes(0)), SECOND),
            (create(A, volumes(1)), wait),
            (Step::Delete { object: B }, wait),
            (Step::Edit { object: A, edit: none }, AT_ONCE),
        ]);
    }
}

#[test]
fn who_inherits_before_anything_was_reported_to_it_is_told_that_something_is_under_way() {
    let scribble = Step::Scribble { object: A, what: Scribble::Wiped };
    holds([
        (create(B, volumes(0)), MINUTE),
        (create(A, volumes(1)), Duration::from_millis(60)),
        (scribble, AT_ONCE),
        (Step::Delete { object: B }, AT_ONCE),
    ]);
}

#[test]
fn a_share_that_moves_between_images_with_a_snapshot_in_common_still_answers_for_it() {
    holds([(create(A, volumes(0)), MINUTE), (move_to(A, 1), MINUTE), (Step::Delete { object: A }, AT_ONCE)]);
}

#[test]
fn who_no_longer_lists_somebody_on_a_shared_snapshot_takes_it_back_once_the_other_does_not_either() {
    let edit = Edit::Lists(TWO);
    holds([
        (create(A, volumes(0)), MINUTE),
        (create(B, volumes(1)), MINUTE),
        (Step::Edit { object: A, edit }, MINUTE),
        (Step::Delete { object: B }, AT_ONCE),
    ]);
}

#[test]
fn an_object_that_has_moved_back_protects_the_snapshots_of_an_image_that_it_could_not_report() {
    let (trouble, verbs, lasts) = (Trouble::LostBefore, &[Verb::PatchStatus][..], Duration::from_secs(3204));
    holds([
        (create(A, Spec { mode: "Authoritative", interval: "30m", ..volumes(1) }), AT_ONCE),
        (move_to(A, 0), SECOND),
        (Step::KubeTrouble { trouble, verbs, chance: 1.0, lasts }, AT_ONCE),
        (move_to(A, 1), Duration::from_secs(12262)),
    ]);
}

#[test]
fn a_record_that_a_late_watch_still_shows_is_not_taken_back_twice() {
    holds([
        (create(A, spec(0)), AT_ONCE),
        (move_to(A, 1), SECOND),
        (move_to(A, 0), Duration::from_millis(30)),
        (Step::WatchesLate { by: Duration::from_secs(893), lasts: Duration::from_secs(2229) }, AT_ONCE),
        (Step::Delete { object: A }, Duration::from_secs(1074)),
    ]);
}

#[test]
fn a_share_whose_last_grant_was_revoked_says_the_same_at_the_next_check() {
    let lists = Edit::Lists(ONE.or(TWO));
    let spec = Spec { lists: Who::EVERYONE, grants: Grants::Launch, ..spec(3) };
    holds([
        (create(C, spec), AT_ONCE),
        (Step::Edit { object: C, edit: lists }, SECOND),
        (Step::Edit { object: C, edit: Edit::Lists(Who::NOBODY) }, AT_ONCE),
    ]);
}

#[test]
fn a_grant_that_another_share_would_replace_goes_with_its_share_if_nobody_can_launch_the_image() {
    let spec = |grants| Spec { grants, ..spec(2) };
    holds_with(
        887,
        [
            (create(D, spec(Grants::More)), SECOND),
            (Step::ImageState { image: 2, state: "disabled" }, AT_ONCE),
            (create(C, spec(Grants::Launch)), AT_ONCE),
            (Step::Delete { object: D }, AT_ONCE),
        ],
    );
}

#[test]
fn a_launch_permission_is_not_given_on_the_strength_of_an_old_look_at_the_grants() {
    holds_with(
        740,
        [
            (create(C, Spec { lists: ONE.or(TWO), grants: Grants::More, interval: "2h", ..spec(2) }), MINUTE),
            (Step::RogueRevokes { who: ONE.or(TWO) }, AT_ONCE),
            (Step::RogueTakes { target: Target::Image(2), who: TWO }, AT_ONCE),
        ],
    );
}

#[test]
fn whoever_is_given_an_image_late_loses_it_before_its_key() {
    let spec = Spec { lists: ONE.or(TWO), grants: Grants::Launch, interval: "30m", ..volumes(2) };
    let verbs = &[Verb::Patch, Verb::PatchStatus, Verb::CreateEvent][..];
    let trouble = Trouble::Late(Duration::from_secs(29));
    holds_with(
        406,
        [
            (create(E, spec), SECOND),
            (
                Step::KubeTrouble { trouble, verbs, chance: 1.0, lasts: Duration::from_secs(93) },
                Duration::from_secs(1234),
            ),
            (Step::Delete { object: E }, AT_ONCE),
        ],
    );
}

#[test]
fn what_happened_before_an_operator_dies_for_longer_than_an_interval_is_seen_within_one_after_it_starts() {
    let hour = Duration::from_hours(1);
    let spec = Spec { interval: "1h", ..volumes(0) };
    holds([
        (create(A, spec), SECOND),
        (Step::RogueGives { target: Target::Image(0), who: ONE.or(TWO) }, Duration::from_secs(3151)),
        (Step::Kill { down: Duration::from_secs(2573) }, hour + Duration::from_secs(273)),
    ]);
}

#[test]
fn an_object_that_has_moved_gets_its_finalizer_back_too() {
    let fails = |image, state| Step::ImageState { image, state };
    holds([
        (create(A, spec(1)), AT_ONCE),
        (fails(0, "disabled"), AT_ONCE),
        (Step::WatchesLate { by: Duration::from_secs(529), lasts: Duration::from_secs(653) }, SECOND),
        (fails(1, "failed"), AT_ONCE),
        (Step::ForceFinalizer { object: A }, AT_ONCE),
        (move_to(A, 0), AT_ONCE),
    ]);
}

#[test]
fn who_only_observes_does_not_announce_what_has_just_been_taken_back() {
    let ends = Some(Duration::from_secs(30_133));
    holds([
        (create(A, Spec { mode: "Additive", interval: "2h", ends, ..spec(0) }), AT_ONCE),
        (create(B, Spec { mode: "Observe", lists: Who::NOBODY, ..spec(0) }), Duration::from_secs(29_900)),
    ]);
}

#[test]
fn whom_only_the_record_on_an_image_that_is_gone_protected_loses_a_shared_snapshot_with_it() {
    let ends = Some(Duration::from_hours(4));
    let both = Spec { lists: ONE.or(TWO), mode: "Authoritative", ends, ..volumes(1) };
    holds([
        (create(B, Spec { mode: "Authoritative", ..volumes(0) }), SECOND),
        (Step::ImageState { image: 0, state: "deregistered" }, AT_ONCE),
        (create(A, both), Duration::from_hours(3)),
        (Step::Edit { object: B, edit: Edit::Lists(TWO) }, AT_ONCE),
    ]);
}

#[test]
fn who_can_launch_one_image_with_the_grants_that_another_share_gave_on_its_key_is_told_so() {
    let hours = |grants| Spec { grants, interval: "2h", ..spec(3) };
    holds([
        (create(C, Spec { image: 2, ..hours(Grants::None) }), MINUTE),
        (create(D, hours(Grants::Launch)), Duration::from_mins(30)),
    ]);
}

#[test]
fn who_loses_a_grant_for_the_sake_of_another_one_keeps_it_until_the_object_that_gives_that_can_be_held() {
    let (trouble, verbs, lasts) = (Trouble::Refused(500), &[Verb::Patch][..], Duration::from_secs(3013));
    let spec = |grants| Spec { grants, ..volumes(3) };
    holds([
        (create(D, Spec { lists: TWO, ..spec(Grants::Launch) }), MINUTE),
        (Step::KubeTrouble { trouble, verbs, chance: 1.0, lasts }, SECOND),
        (create(C, Spec { mode: "Authoritative", ..spec(Grants::More) }), SECOND),
        (Step::Edit { object: C, edit: Edit::Lists(ONE.or(TWO)) }, SECOND),
        (Step::Edit { object: D, edit: Edit::Lists(Who::ORGANIZATIONS) }, Duration::from_mins(20)),
    ]);
}
