//! Invariant 2: equal states need no change, one reconcile is enough, and order does not matter.

use proptest::prelude::*;

use super::super::{
    outcome::Outcome,
    plan::{Plan, Policy, Refusals, plan},
    testing::{
        arbitrary::{Fate, any_case, config},
        aws::{Aws, Encryption, State},
        image,
    },
};

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_the_claims(case in any_case(), turn in 0_usize..4) {
        let mut world = case.world();
        if let Some((mut claims, before)) = world.look(&image(1)) {
            let planned = world.cluster.plan(&image(1), &claims, &before);
            claims.reverse();
            prop_assert_eq!(&world.cluster.plan(&image(1), &claims, &before), &planned);
            let turn = turn % claims.len();
            claims.rotate_left(turn);
            prop_assert_eq!(&world.cluster.plan(&image(1), &claims, &before), &planned);
        }
    }

    #[test]
    fn after_apply_the_plan_is_empty_but_for_whom_aws_refused(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            let after = round.before.after(&round.outcome);
            let seen = world.aws.observe(&image(1), &round.claims).unwrap();
            prop_assert_eq!(&after.launch, &seen.launch, "what is computed is what AWS says");
            prop_assert_eq!(&after.snapshots, &seen.snapshots);
            // Whom the quota left no room for may get the room of somebody whom AWS refused.
            if let (Some((claims, before)), 1000) = (world.look(&image(1)), case.quota) {
                prop_assert_eq!(world.cluster.plan(&image(1), &claims, &before).changes, vec![]);
            }
        }
    }

    #[test]
    fn nothing_is_written_once_everything_is_as_it_should_be(case in any_case()) {
        let mut world = case.world();
        world.settle();
        let (writes, aws, events) = (world.cluster.writes, world.aws.clone(), world.cluster.events.len());
        for number in [1, 2] {
            if let Some(round) = world.reconcile(&image(number)) {
                prop_assert_eq!(round.plan.changes, vec![]);
            }
        }
        prop_assert_eq!(world.cluster.writes, writes);
        prop_assert_eq!(world.cluster.events.len(), events);
        prop_assert_eq!(world.aws, aws);
    }

    #[test]
    fn a_reconcile_after_which_nothing_is_left_to_do_has_said_all_that_there_is_to_say(mut case in any_case()) {
        // Of several, one may take over what another has given, which that one learns later.
        case.shares.truncate(1);
        case.shares.iter_mut().for_each(|share| share.fate = Fate::Alive);
        case.images[0].state = State::Available;
        case.quota = 1000;
        let mut world = case.world();
        world.reconcile(&image(1));
        let (writes, aws) = (world.cluster.writes, world.aws.clone());
        if let Some(round) = world.reconcile(&image(1))
            && round.plan.changes.is_empty()
            && world.aws == aws
        {
            prop_assert_eq!(world.cluster.writes, writes);
        }
    }

    #[test]
    fn a_second_reconcile_changes_nothing_in_aws_unless_a_quota_was_met_or_a_key_is_shared(case in any_case()) {
        let mut world = case.world();
        // What is done for one image may let go of what was kept for the other.
        let share_a_key = case.images.iter().all(|image| image.encryption == Encryption::CustomerKey);
        for number in [1, 2, 1] {
            world.reconcile(&image(number));
        }
        let aws = world.aws.clone();
        for number in [1, 2] {
            world.reconcile(&image(number));
        }
        if case.quota == 1000 && !share_a_key {
            prop_assert_eq!(world.aws, aws);
        }
    }

    #[test]
    fn an_image_that_comes_to_be_available_is_shared_as_if_it_had_always_been(case in any_case()) {
        let awakened = |aws: &mut Aws| {
            for number in [1, 2] {
                let image = aws.image(number);
                if matches!(image.state, State::Pending | State::NotYetListed) {
                    image.state = State::Available;
                }
            }
        };
        let mut late = case.world();
        late.aws.image(1).state = State::NotYetListed;
        let mut early = late.clone().with(awakened);
        late.settle();
        late = late.with(awakened);
        late.settle();
        early.settle();
        if case.quota == 1000 {
            prop_assert_eq!(late.held(), early.held());
        }
    }
}

#[test]
fn a_plan_without_claims_is_empty() {
    let aws = Aws::default();
    let before = aws.observe(&image(1), &[]).unwrap();
    assert_eq!(plan(&[], &before, &Refusals::new(), &Policy::default()), Plan::default());
    assert_eq!(before.after(&Outcome::default()), before);
}
