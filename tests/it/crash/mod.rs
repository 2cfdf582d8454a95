//! Crash anywhere: whatever happens to any single call of the operator, or to the operator itself at that moment, the end is the
//! same.
//!
//! The operator runs in this process, and all its calls to AWS and to Kubernetes are numbered. Each scenario is played undisturbed
//! first; then once for each call and each [`cut::Blow`]: the call is lost, it is done and its answer is lost, the operator is
//! killed before it, the operator is killed after it. A killed operator is followed by a new one. In the end AWS and all objects
//! must be what they are without any of that; nobody may have had a permission meanwhile that they have neither before nor after;
//! and nobody may have lost one that they have both before and after.
//!
//! `AMISHARE_CRASH_POINTS` is `all`, or a single point as a failure prints it, which replays it.

mod commands;
pub mod compare;
pub mod cut;
mod place;
mod play;
mod points;
pub mod process;
mod scenario;
mod scenarios;
pub mod transports;

use std::collections::BTreeSet;

use strum::IntoEnumIterator;

/// Makes a test in each place for each scenario.
macro_rules! everywhere {
    ($($test:ident: $scenario:ident,)*) => {
        mod on_the_api_server {
            $(#[test] fn $test() { super::points::cover(&super::place::Server, super::scenarios::$scenario()); })*
        }

        mod in_memory {
            $(#[test] fn $test() { super::points::cover(&super::place::Memory, super::scenarios::$scenario()); })*
        }

        fn all() -> Vec<scenario::Scenario> {
            vec![$(scenarios::$scenario()),*]
        }
    };
}

everywhere! {
    a_new_share_ends_the_same: new_share,
    a_new_share_of_an_encrypted_image_ends_the_same: new_share_of_an_encrypted_image,
    an_image_that_is_taken_over_ends_the_same: taken_over,
    accounts_that_are_taken_off_end_the_same: accounts_taken_off,
    accounts_that_are_exchanged_end_the_same: accounts_exchanged,
    drift_is_put_right_the_same: drift,
    a_refusal_is_isolated_the_same: refusal,
    a_refusal_of_one_of_two_shares_is_isolated_the_same: refusal_by_one_of_two,
    snapshot_batches_are_given_the_same: batches_given,
    snapshot_batches_are_taken_the_same: batches_taken,
    a_second_share_of_an_image_ends_the_same: second_share,
    one_of_two_shares_that_is_deleted_ends_the_same: one_of_two_deleted,
    a_share_that_leaves_to_another_ends_the_same: one_hands_over_to_another,
    a_share_that_is_deleted_ends_the_same: deleted,
    a_share_that_is_deleted_and_retains_ends_the_same: deleted_and_retained,
    a_share_that_is_made_and_deleted_at_once_ends_the_same: made_and_deleted,
    a_share_that_expires_ends_the_same: expired,
    a_share_that_observed_and_is_enforced_ends_the_same: observed_then_enforced,
    a_share_that_becomes_additive_ends_the_same: enforced_then_additive,
    an_image_that_is_replaced_ends_the_same: image_replaced,
    an_image_that_is_replaced_before_a_deletion_ends_the_same: image_replaced_and_deleted,
    an_image_that_is_found_ends_the_same: image_found,
    a_newer_image_that_is_found_ends_the_same: newer_image_found,
    another_image_that_is_looked_for_ends_the_same: another_image_looked_for,
    a_share_whose_image_is_not_found_any_more_and_that_is_deleted_ends_the_same: no_image_found_and_deleted,
    an_image_that_is_replaced_beside_another_share_ends_the_same: image_replaced_beside_another,
    an_image_that_is_made_public_ends_the_same: made_public,
    a_share_that_is_resumed_ends_the_same: suspended_and_resumed,
    a_snapshot_of_two_images_ends_the_same: one_snapshot_of_two_images,
    a_share_whose_image_is_gone_ends_the_same: image_gone,
    a_check_with_nothing_to_do_ends_the_same: asked_for_a_check,
}

#[test]
fn an_account_that_is_taken_off_an_encrypted_image_ends_the_same() {
    points::cover(&place::Memory, scenarios::account_taken_off_an_encrypted_image());
}

#[test]
fn the_scenarios_reach_every_kind_of_call() {
    // That a scenario reaches what it says is checked when it is played.
    let all = || all().into_iter().chain([scenarios::account_taken_off_an_encrypted_image()]).collect::<Vec<_>>();
    let reached: BTreeSet<commands::Command> = all().iter().flat_map(|s| s.reaches.iter().copied()).collect();
    let missing: Vec<_> = commands::Command::iter().filter(|command| !reached.contains(command)).collect();
    assert!(missing.is_empty(), "no scenario reaches {missing:?}");
    let names: BTreeSet<&str> = all().iter().map(|s| s.name).collect();
    assert_eq!(names.len(), all().len(), "every scenario has a name of its own");
}
