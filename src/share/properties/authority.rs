//! Invariant 4: nobody gets more than the claims say, and nobody loses what is not the claims' to take.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{
    claim::Standing,
    observed::{Sight, Target},
    testing::{
        arbitrary::{any_case, config, everybody},
        aws::{Encryption, entities},
        image,
        rules::{listed, must_hold, on_record},
    },
};
use crate::api::Principal;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn everybody_holds_exactly_what_the_rules_say(case in any_case()) {
        let mut world = case.world();
        world.cluster.policy.launch_permission_quota = 1000;
        world.aws.quota = 1000;
        for number in [1, 2] {
            let image = image(number);
            let before = world.aws.clone();
            let claims = world.cluster.lenient().claims(&image);
            let mut observed = before.observe(&image, &claims).unwrap();
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
    fn what_is_held_never_exceeds_what_was_held_and_what_acting_claims_list(case in any_case()) {
        let mut world = case.world();
        let (before, policy) = (world.held(), world.cluster.policy.clone());
        if let Some(round) = world.reconcile(&image(1)) {
            for (target, held) in world.held() {
                for new in held.difference(&before[&target]) {
                    let by_whom = |c: &super::super::claim::Claim| c.standing.writes() && listed(c, &target, new);
                    prop_assert!(round.claims.iter().any(by_whom), "{:?} on {:?}", new, target);
                    prop_assert!(*new != Principal::Everyone || policy.allow_public);
                }
            }
        }
    }

    #[test]
    fn whom_a_live_claim_lists_is_never_removed(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            for change in &round.plan.changes {
                for gone in &change.remove {
                    let forbidden = *gone == Principal::Everyone && !case.allow_public;
                    let is_an_image = matches!(change.target, Target::Image(_));
                    let of_the_image = is_an_image || round.before.has(&change.target) == Some(true);
                    let lists = |c: &super::super::claim::Claim| !c.standing.leaves() && listed(c, &change.target, gone);
                    prop_assert!(forbidden || !of_the_image || !round.claims.iter().any(lists), "{}", change);
                }
            }
        }
    }

    #[test]
    fn without_an_authoritative_claim_only_what_was_given_is_taken(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            let authoritative = round.claims.iter().any(|c| c.standing == Standing::Authoritative);
            for change in round.plan.changes.iter().filter(|_| !authoritative) {
                for gone in &change.remove {
                    prop_assert!(round.claims.iter().any(|c| on_record(c, &change.target, gone)), "{}", change);
                }
            }
        }
    }

    #[test]
    fn a_claim_that_neither_gives_nor_leaves_changes_nothing(case in any_case()) {
        let mut world = case.world();
        let quiet = |c: &super::super::claim::Claim| !c.standing.takes_back();
        let only_quiet = world.cluster.claims(&image(1)).iter().all(quiet);
        let before = world.aws.clone();
        world.reconcile(&image(1));
        prop_assert!(!only_quiet || world.aws == before);
    }

    #[test]
    fn a_claim_only_owns_what_it_owned_or_lists_and_what_is_there(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            for (key, record) in &round.plan.records {
                let claim = round.claims.iter().find(|c| c.key == *key).unwrap();
                let target = Target::Image(image(1).id);
                for owned in &record.launch {
                    prop_assert!(on_record(claim, &target, owned) || listed(claim, &target, owned), "{:?}", owned);
                }
                for (target, principals) in record.parts() {
                    for owned in principals {
                        prop_assert!(on_record(claim, &target, owned) || listed(claim, &target, owned), "{:?}", owned);
                    }
                }
            }
        }
    }

    #[test]
    fn changes_come_in_an_order_in_which_nobody_holds_an_image_without_its_snapshots(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            let changes = &round.plan.changes;
            let position = changes.iter().position(|c| matches!(c.target, Target::Image(_))).unwrap_or(changes.len());
            prop_assert!(changes.iter().filter(|c| matches!(c.target, Target::Image(_))).count() <= 1);
            for (index, change) in changes.iter().enumerate() {
                prop_assert!(!(change.add.is_empty() && change.remove.is_empty()));
                prop_assert!(change.add.is_disjoint(&change.remove));
                if change.target.part().is_some() {
                    prop_assert!(change.add.is_empty() || change.remove.is_empty());
                    if !change.add.is_empty() {
                        prop_assert!(index < position, "{}", change);
                    } else if position < changes.len() {
                        prop_assert!(index > position, "{}", change);
                    }
                }
            }
        }
    }

    #[test]
    fn the_quota_is_never_overrun_and_never_holds_back_a_removal(case in any_case(), quota in 0_usize..6) {
        let mut world = case.world();
        world.cluster.policy.launch_permission_quota = quota;
        let held = world.launch();
        let mut roomy = world.clone();
        roomy.cluster.policy.launch_permission_quota = 1000;
        let (tight, roomy) = (world.reconcile(&image(1)), roomy.reconcile(&image(1)));
        prop_assert!(entities(&world.launch()) <= quota.max(entities(&held)));
        if let (Some(tight), Some(roomy)) = (tight, roomy) {
            let removals = |changes: &[super::super::plan::Change]| -> BTreeSet<(Target, Principal)> {
                changes.iter().flat_map(|c| c.remove.iter().map(|p| (c.target.clone(), p.clone()))).collect()
            };
            prop_assert_eq!(removals(&tight.plan.changes), removals(&roomy.plan.changes));
        }
    }

    #[test]
    fn nobody_is_asked_for_what_cannot_be_given(case in any_case()) {
        let mut world = case.world();
        if let Some(round) = world.reconcile(&image(1)) {
            let Sight::Shareable(seen) = &round.before.sight else {
                prop_assert!(round.plan.changes.iter().all(|c| c.add.is_empty()));
                return Ok(());
            };
            let possible = world.aws.encryption(&Target::Image(seen.id.clone())) == Encryption::None
                && !seen.has_product_code
                && !world.aws.blocks_public
                && case.allow_public;
            for change in &round.plan.changes {
                prop_assert!(possible || !change.add.contains(&Principal::Everyone), "{}", change);
                prop_assert!(!change.add.contains(&super::super::testing::owner()), "{}", change);
            }
        }
    }
}
