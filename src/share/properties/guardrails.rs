//! Invariant 4 under guard rails: what the operator's configuration forbids is neither given nor protected, and nothing else changes
//! (docs/adr/0016).

use proptest::prelude::*;

use crate::api::ami_share::ShareMode;

use super::super::testing::{
    arbitrary::{Fate, ShareCase, any_case, any_guardrails, config, easy_case, everybody},
    image,
    rules::{is_barred, is_forbidden, listed, must_hold},
};

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn everybody_holds_exactly_what_the_rules_say(case in any_case(), guardrails in any_guardrails()) {
        let mut world = case.world();
        world.cluster.policy.guardrails = guardrails;
        world.cluster.policy.launch_permission_quota = 1000;
        world.aws.quota = 1000;
        for number in [1, 2] {
            let image = image(number);
            let before = world.aws.clone();
            let claims = world.cluster.lenient().claims(&image);
            // Who is kept off has its record looked at, suspended or not.
            let mut observed = before.observe(&image, &world.cluster.claims(&image)).unwrap();
            world.cluster.parts = world.aws.parts();
            observed.elsewhere = world.cluster.elsewhere(&image, &observed);
            world.reconcile(&image);
            let policy = &world.cluster.policy;
            for (target, held) in world.held() {
                for principal in everybody() {
                    let must = must_hold(&principal, &target, &image, &claims, &observed, &before, policy);
                    prop_assert_eq!(held.contains(&principal), must, "{:?} on {:?}", principal, target);
                }
            }
        }
    }

    #[test]
    fn nobody_is_given_what_no_share_may_give_them(case in any_case(), guardrails in any_guardrails()) {
        let mut world = case.world();
        world.cluster.policy.guardrails = guardrails;
        let (before, claims) = (world.held(), world.cluster.lenient().claims(&image(1)));
        world.reconcile(&image(1));
        let policy = &world.cluster.policy;
        for (target, held) in world.held() {
            for new in held.difference(&before[&target]) {
                let may = claims.iter().any(|claim| {
                    claim.standing.writes() && listed(claim, &target, new) && !is_forbidden(claim, &image(1), new, policy)
                });
                prop_assert!(may, "{:?} on {:?}", new, target);
            }
        }
    }

    #[test]
    fn there_is_an_end_to_it_and_then_nothing_is_written(case in any_case(), guardrails in any_guardrails()) {
        let mut world = case.world();
        world.cluster.policy.guardrails = guardrails;
        world.settle();
        let (writes, aws) = (world.cluster.writes, world.aws.clone());
        for number in [1, 2] {
            world.reconcile(&image(number));
        }
        prop_assert_eq!(world.cluster.writes, writes);
        prop_assert!(world.aws == aws);
    }

    #[test]
    fn rules_that_come_and_go_leave_no_trace(case in easy_case(1..=3), guardrails in any_guardrails()) {
        // Whoever is suspended, or only observes, does not give again what a rule on Regions has made it take back.
        let gives_again = |share: &ShareCase| share.fate != Fate::Suspended && share.mode != ShareMode::Observe;
        if !case.shares.iter().all(gives_again) && guardrails.iter().any(|rule| rule.regions.is_some()) {
            return Ok(());
        }
        let mut world = case.world();
        world.settle();
        let before = world.held();
        world.cluster.policy.guardrails = guardrails;
        world.settle();
        world.cluster.policy.guardrails.clear();
        world.settle();
        prop_assert_eq!(world.held(), before);
    }

    #[test]
    fn rules_hold_as_if_all_specs_left_out_what_they_forbid(case in easy_case(1..=4), guardrails in any_guardrails()) {
        let mut ruled = case.world();
        ruled.cluster.policy.guardrails.clone_from(&guardrails);
        let policy = ruled.cluster.policy.clone();
        let claims = ruled.cluster.lenient().claims(&image(1));
        let mut edited = case.clone();
        for share in &mut edited.shares {
            share.lists.clear();
        }
        for (share, claim) in edited.shares.iter_mut().zip(&claims) {
            share.lists = claim.lists.iter().filter(|p| !is_forbidden(claim, &image(1), p, &policy)).cloned().collect();
            // Whoever may have nothing to do with the image has no say over what others gave either.
            // And it gives up what it gave, suspended or not.
            if is_barred(claim, &image(1), &policy) {
                share.mode = ShareMode::Additive;
                if share.fate == Fate::Suspended {
                    share.fate = Fate::Alive;
                }
            }
        }
        let mut edited = edited.world();
        ruled.settle();
        edited.settle();
        prop_assert_eq!(ruled.held(), edited.held());
    }
}
