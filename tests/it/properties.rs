//! Properties of one reconcile against the simulated AWS, through the real SDK and the real `observe`, `plan`, `apply` and
//! `status`, refusals included; and that the AWS which the pure properties use behaves like the simulated one.
//!
//! To repeat a failure: it is kept in `proptest-regressions/share.txt` (commit it), and tried first in every run. For more cases:
//! `PROPTEST_CASES=1000 cargo test --all-features --test it properties`.

pub mod arena;

use std::collections::{BTreeMap, BTreeSet};

use amishare::{
    api::{
        AmiShareSpec, ConditionType, Principal,
        ami_share::{CreateVolumePermission, ShareMode, ShareWith},
        conditions::whole_seconds,
    },
    share::observed::Target,
};
use proptest::prelude::*;

use self::arena::{Arena, run};
use crate::testing::{
    CLOSED, account, accounts,
    arbitrary::{self, Case, config, easy_case, everybody},
    aws::{Encryption, State},
    cluster::Cluster,
    image, key, now,
    rules::must_hold,
    share::{delete, edit, share},
};

/// What an object comes to, as far as it does not depend on how AWS words things.
fn reports(cluster: &Cluster) -> BTreeMap<String, (Vec<(String, String)>, String)> {
    let report = |status: amishare::api::AmiShareStatus| {
        let conditions = status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone())).collect();
        (conditions, format!("{:?}", status.granted))
    };
    cluster.objects.iter().map(|(key, object)| (key.name.clone(), report(object.status()))).collect()
}

/// Reconciles both images until there can be nothing left to do.
async fn settle(arena: &mut Arena) {
    for number in [1, 2, 1, 2] {
        arena.reconcile(&image(number)).await;
    }
}

/// Any world in which every grant on record is there: of one that KMS does not list, nobody can tell in its first five minutes whether
/// it was made.
fn any_case() -> impl Strategy<Value = Case> {
    arbitrary::any_case().prop_map(|mut case| {
        for share in &case.shares {
            for (lean, granted) in &share.granted {
                case.grants[usize::from(*lean)].extend(granted.iter().cloned());
            }
        }
        case
    })
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn the_plain_aws_of_the_pure_properties_behaves_like_the_simulated_one(case in any_case()) {
        let mut plain = case.world();
        let arena = Arena::of(&plain);
        let (reports_of_arena, held) = run(async {
            let mut arena = arena;
            for number in [1, 2, 1] {
                arena.reconcile(&image(number)).await;
            }
            (reports(&arena.cluster), arena.held())
        });
        for number in [1, 2, 1] {
            plain.reconcile(&image(number));
        }
        prop_assert_eq!(held, plain.held());
        prop_assert_eq!(reports_of_arena, reports(&plain.cluster));
    }

    #[test]
    fn one_apply_serves_everybody_who_can_be_served_and_takes_everything_that_is_to_be_taken(case in any_case()) {
        let mut world = case.world();
        world.cluster.policy.launch_permission_quota = 1000;
        world.aws.quota = 1000;
        let claims = world.cluster.lenient().claims(&image(1));
        let mut observed = world.aws.observe(&image(1), &claims).unwrap();
        observed.elsewhere = world.cluster.elsewhere(&image(1), &observed);
        let (held, outcome) = run(async {
            let mut arena = Arena::of(&world);
            let outcome = arena.reconcile(&image(1)).await;
            (arena.held(), outcome)
        });
        let policy = &world.cluster.policy;
        for (target, held) in held {
            for principal in everybody() {
                let must = must_hold(&principal, &target, &image(1), &claims, &observed, &world.aws, policy);
                prop_assert_eq!(held.contains(&principal), must, "{:?} on {:?}", principal, target);
            }
        }
        if let Some((plan, outcome)) = outcome {
            let changes = |changes: &[amishare::share::plan::Change]| -> BTreeSet<(Target, Principal)> {
                changes.iter().flat_map(|c| c.remove.iter().map(|p| (c.target.clone(), p.clone()))).collect()
            };
            // A grant stays whose replacement AWS refuses.
            let refused: BTreeSet<_> = outcome.refused.keys().cloned().collect();
            let planned = &changes(&plan.changes) - &refused;
            prop_assert_eq!(changes(&outcome.done), planned, "every removal is done");
            prop_assert!(outcome.failed.is_empty() && outcome.deferred.is_empty());
        }
    }

    #[test]
    fn nothing_is_written_once_everything_is_as_it_should_be(case in any_case()) {
        let world = case.world();
        let (writes, calls) = run(async {
            let mut arena = Arena::of(&world);
            // Where a quota leaves room for one and AWS refuses that one, the next is tried in the next reconcile.
            let rounds = if case.quota == 1000 { 3 } else { 12 };
            for number in [1, 2].repeat(rounds) {
                arena.reconcile(&image(number)).await;
            }
            let writes = arena.cluster.writes;
            arena.simulator.clear_calls();
            for number in [1, 2] {
                arena.reconcile(&image(number)).await;
            }
            (arena.cluster.writes - writes, arena.modifications())
        });
        prop_assert_eq!(writes, 0);
        prop_assert_eq!(calls, Vec::<String>::new());
    }

    #[test]
    fn killed_between_any_two_calls_the_next_run_ends_in_the_same_state(case in any_case(), calls in 0_u32..6) {
        let mut whole = case.world();
        whole.settle();
        let world = case.world();
        let held = run(async {
            let mut arena = Arena::of(&world);
            arena.reconcile_until_killed(&image(1), calls).await;
            for number in [1, 2, 1, 2] {
                arena.reconcile(&image(number)).await;
            }
            arena.held()
        });
        if case.quota == 1000 {
            prop_assert_eq!(held, whole.held());
        }
    }

    #[test]
    fn a_deleted_share_goes_whatever_has_become_of_its_image(case in any_case()) {
        let mut world = case.world();
        for number in [1, 2] {
            let image = world.aws.image(number);
            if matches!(image.state, State::Pending | State::Failed | State::Foreign) {
                image.state = State::Available;
            }
        }
        for name in ["a", "b", "c", "d"].iter().take(case.shares.len()) {
            world.delete(name);
        }
        let mut plain = world.clone();
        let (objects, held) = run(async {
            let mut arena = Arena::of(&world);
            for number in [1, 2, 1, 2] {
                arena.reconcile(&image(number)).await;
            }
            (arena.cluster.objects.len(), arena.held())
        });
        plain.settle();
        prop_assert_eq!(objects, 0);
        prop_assert_eq!(held, plain.held());
    }

    #[test]
    fn several_claims_give_the_union_and_removing_one_removes_only_what_no_other_lists(case in easy_case(1..=4)) {
        let world = case.world();
        let (all, rest) = run(async {
            let mut arena = Arena::of(&world);
            settle(&mut arena).await;
            let all = arena.launch();
            delete(arena.cluster.objects.get_mut(&key("a")).unwrap());
            settle(&mut arena).await;
            (all, arena.launch())
        });
        let acting = case.shares.iter().filter(|share| share.mode != ShareMode::Observe);
        prop_assert_eq!(&all, &acting.flat_map(|share| share.lists.iter().cloned()).collect());
        let others: BTreeSet<Principal> = case.shares[1..].iter().flat_map(|share| share.lists.iter().cloned()).collect();
        let only_observed = case.shares[0].mode == ShareMode::Observe;
        prop_assert_eq!(rest, if only_observed { all } else { all.intersection(&others).cloned().collect() });
    }

    #[test]
    fn a_field_that_is_changed_and_changed_back_leaves_aws_as_it_was(case in easy_case(1..=3), field in 0_usize..6) {
        prop_assume!(case.shares.iter().all(|share| share.mode != ShareMode::Observe));
        let changes: [fn(&mut AmiShareSpec); 6] = [
            |spec| spec.share_with = ShareWith::default(),
            |spec| spec.image.id = Some(image(2).id),
            |spec| spec.mode = ShareMode::Observe,
            |spec| spec.suspend = true,
            |spec| spec.create_volume_permission = CreateVolumePermission::Accounts,
            |spec| spec.expires_at = Some(whole_seconds(now())),
        ];
        let world = case.world();
        let (first, last) = run(async {
            let mut arena = Arena::of(&world);
            settle(&mut arena).await;
            let (first, spec) = (arena.held(), arena.cluster.objects[&key("a")].share().unwrap().spec.clone());
            edit(arena.cluster.objects.get_mut(&key("a")).unwrap(), changes[field]);
            settle(&mut arena).await;
            edit(arena.cluster.objects.get_mut(&key("a")).unwrap(), |now| *now = spec);
            settle(&mut arena).await;
            (first, arena.held())
        });
        prop_assert_eq!(first, last, "field {}", field);
    }

    #[test]
    fn closed_accounts_cost_one_call_each_and_one_more(
        open in prop::collection::btree_set(10_u64..60, 1..40), closed in prop::collection::btree_set(60_u64..100, 0..20),
        strangers in prop::collection::btree_set(100_u64..110, 0..3)
    ) {
        let shares = [share("a").accounts(open.iter().chain(&closed).copied())];
        let mut world = crate::testing::world::World::of(shares);
        world.aws.closed = accounts(closed.clone());
        world.aws.image(1).launch = accounts(strangers.clone());
        let (held, calls, ready) = run(async {
            let mut arena = Arena::of(&world);
            arena.reconcile(&image(1)).await;
            let ready = arena.cluster.condition("a", ConditionType::Ready);
            (arena.launch(), arena.modifications().len(), ready)
        });
        prop_assert_eq!(held, accounts(open));
        prop_assert!(calls <= closed.len() + 1 + usize::from(!(closed.is_empty() || strangers.is_empty())), "{} calls", calls);
        prop_assert_eq!(ready.1.as_str(), if closed.is_empty() { "Synced" } else { "PrincipalRefused" });
    }
}

#[test]
fn more_closed_accounts_than_one_apply_finds_are_found_by_the_next_and_hold_back_no_removal() {
    let (open, closed) = (1..=5_u64, 1000..1250_u64);
    let mut world = crate::testing::world::World::of([share("a").accounts(open.clone().chain(closed.clone()))]);
    world.aws.closed = accounts(closed);
    world.aws.image(1).launch = accounts([77]);
    run(async {
        let mut arena = Arena::of(&world);
        let (_, outcome) = arena.reconcile(&image(1)).await.unwrap();
        assert!(!outcome.deferred.is_empty());
        assert!(arena.modifications().len() <= 200);
        assert!(!arena.launch().contains(&account(77)), "what is to be taken does not wait for what cannot be given");
        let (_, outcome) = arena.reconcile(&image(1)).await.unwrap();
        assert!(outcome.deferred.is_empty());
        assert_eq!(arena.launch(), accounts(open));
        arena.simulator.clear_calls();
        arena.reconcile(&image(1)).await;
        assert_eq!(arena.modifications(), Vec::<String>::new(), "they are remembered");
    });
}

#[test]
fn an_image_under_the_default_key_still_loses_whom_nobody_lists() {
    let mut world = crate::testing::world::World::of([share("a").accounts([1, 2])]);
    world.aws.image(1).encryption = Encryption::DefaultKey;
    world.aws.image(1).launch = accounts([4, CLOSED[0]]);
    run(async {
        let mut arena = Arena::of(&world);
        arena.reconcile(&image(1)).await;
        assert_eq!(arena.launch(), accounts([]));
        assert_eq!(arena.cluster.condition("a", ConditionType::Ready).1, "DefaultKmsKeyNotShareable");
    });
}
