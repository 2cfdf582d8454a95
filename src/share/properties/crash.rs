//! Invariant 3, as far as it is pure: killed anywhere, what was given is on record, and the next run ends in the same state.

use proptest::prelude::*;

use super::super::{
    granted::Granted,
    observed::Target,
    outcome::Outcome,
    testing::{
        arbitrary::{any_case, config},
        image,
        world::World,
    },
};

/// Reconciles image 1 up to the given number of stored records, or, if there are none left to store, of changes.
fn killed_after(world: &mut World, steps: usize) {
    let Some((claims, before)) = world.look(&image(1)) else { return };
    let plan = world.cluster.plan(&image(1), &claims, &before);
    world.cluster.secure(&image(1), &claims, &plan, steps);
    let mut outcome = Outcome::default();
    for planned in plan.changes.iter().take(steps.saturating_sub(claims.len())) {
        if let Some(change) = outcome.without_the_impossible(planned, &plan) {
            world.aws.change(&change, &mut outcome);
        }
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn killed_anywhere_the_next_run_ends_in_the_same_state(case in any_case(), steps in 0_usize..10) {
        let (mut whole, mut killed) = (case.world(), case.world());
        whole.settle();
        killed_after(&mut killed, steps);
        killed.settle();
        prop_assert_eq!(killed.held(), whole.held());
        // Which of two claims answers for somebody may differ, and does not matter: one of them does.
        let records = |world: &World| {
            let records = world.cluster.objects.values().map(|o| Granted::on(&image(1).id, &o.status().granted));
            records.fold(Granted::default(), |all, one| all.union(&one))
        };
        prop_assert_eq!(records(&killed), records(&whole));
    }

    #[test]
    fn everything_that_is_given_is_on_record_before_it_is_given(case in any_case(), steps in 0_usize..10) {
        let mut world = case.world();
        let before = world.held();
        killed_after(&mut world, steps);
        let stored: Vec<Granted> = world
            .cluster
            .objects
            .values()
            .map(|object| Granted::on(&image(1).id, &object.status().granted))
            .collect();
        for (target, held) in world.held() {
            for new in held.difference(&before[&target]) {
                let recorded = stored.iter().any(|granted| match &target {
                    Target::Image(_) => granted.launch.contains(new),
                    part => granted.of(part).is_some_and(|given| given.contains(new)),
                });
                prop_assert!(recorded, "{:?} on {:?}", new, target);
            }
        }
    }

    #[test]
    fn everybody_who_is_given_something_is_on_the_record_of_each_claim_that_lists_them(case in any_case()) {
        let mut world = case.world();
        let Some(round) = world.reconcile(&image(1)) else { return Ok(()) };
        for change in &round.outcome.done {
            for given in &change.add {
                for claim in round.claims.iter().filter(|c| c.standing.writes()) {
                    let record = Granted::on(&image(1).id, &world.cluster.objects[&claim.key].status().granted);
                    let listed = claim.lists_on(&change.target).is_some_and(|l| l.contains(given));
                    let recorded = record.of(&change.target).is_some_and(|r| r.contains(given));
                    prop_assert_eq!(listed, recorded, "{}: {}", claim.key, change);
                }
            }
        }
    }
}
