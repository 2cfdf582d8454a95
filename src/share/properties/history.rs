//! Invariants 6, 7 and 11: claims that come and go, fields that change and change back, and deletion.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::{
    claim::{Claim, Standing},
    observed::Target,
    testing::{
        accounts,
        arbitrary::{Case, any_case, config, easy_case},
        aws::{Encryption, State},
        image, key, now,
        rules::{listed, on_record},
        share::share_with,
        world::World,
    },
};
use crate::api::{
    AmiShareSpec, Principal,
    ami_share::{CreateVolumePermission, DeletionPolicy, ShareMode},
    conditions::whole_seconds,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

type Held = BTreeMap<Target, BTreeSet<Principal>>;

fn nothing(held: &Held) -> bool {
    held.values().all(BTreeSet::is_empty)
}

/// The world in which the objects arrive one by one, in this order.
fn arrivals(case: &Case, order: &[usize]) -> World {
    let (mut world, objects) = (case.empty_world(), case.objects());
    for index in order.iter().filter(|index| **index < objects.len()) {
        world.create(objects[*index].clone());
        world.settle();
    }
    world
}

/// A case without a claim that only observes: whom such a one lists stays, although it never gave them anything.
fn writing_case(shares: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    easy_case(shares).prop_map(|mut case| {
        for share in case.shares.iter_mut().filter(|share| share.mode == ShareMode::Observe) {
            share.mode = ShareMode::Additive;
        }
        case
    })
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    Just(vec![0, 1, 2, 3]).prop_shuffle()
}

/// A change of one field that can be taken back.
fn field() -> impl Strategy<Value = (&'static str, fn(&mut AmiShareSpec))> {
    prop::sample::select(vec![
        ("accountIds", (|s| s.share_with = share_with(&accounts([2, 5]))) as fn(&mut AmiShareSpec)),
        ("shareWith", |s| s.share_with = share_with(&BTreeSet::new())),
        ("public", |s| s.share_with.public = !s.share_with.public),
        ("createVolumePermission", |s| {
            s.create_volume_permission = match s.create_volume_permission {
                CreateVolumePermission::None => CreateVolumePermission::Accounts,
                CreateVolumePermission::Accounts => CreateVolumePermission::None,
            };
        }),
        ("mode", |s| {
            s.mode = match s.mode {
                ShareMode::Authoritative => ShareMode::Additive,
                ShareMode::Additive => ShareMode::Authoritative,
                ShareMode::Observe => ShareMode::Observe,
            };
        }),
        ("mode Observe", |s| s.mode = ShareMode::Observe),
        ("suspend", |s| s.suspend = true),
        ("expiresAt", |s| s.expires_at = Some(whole_seconds(now()))),
        ("image", |s| s.image.id = Some(image(2).id)),
    ])
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn claims_give_the_union_of_what_they_list_in_whatever_order_they_come(case in easy_case(1..=4), order in order()) {
        let (mut together, apart) = (case.world(), arrivals(&case, &order));
        together.settle();
        prop_assert_eq!(together.held(), apart.held());
        let acting = case.shares.iter().filter(|s| s.mode != ShareMode::Observe);
        let union: BTreeSet<Principal> = acting.flat_map(|s| s.lists.iter().cloned()).collect();
        prop_assert_eq!(together.launch(), union);
    }

    #[test]
    fn removing_a_claim_removes_only_what_no_other_lists(case in easy_case(1..=4), order in order()) {
        let mut world = arrivals(&case, &order);
        let before = world.launch();
        world.delete("a");
        world.settle();
        prop_assert!(!world.has("a"));
        let others: BTreeSet<Principal> = case.shares[1..].iter().flat_map(|s| s.lists.iter().cloned()).collect();
        let kept = before.intersection(&others).cloned().collect::<BTreeSet<_>>();
        let observing = case.shares[0].mode == ShareMode::Observe;
        prop_assert_eq!(world.launch(), if observing { before } else { kept });
    }

    #[test]
    fn once_all_claims_have_gone_nobody_holds_anything(case in writing_case(1..=4), come in order(), go in order()) {
        let mut world = arrivals(&case, &come);
        for name in go.iter().map(|index| NAMES[*index]).filter(|name| key_exists(&case, name)) {
            world.delete(name);
            world.settle();
            prop_assert!(!world.has(name));
        }
        prop_assert!(nothing(&world.held()), "{:#?}", world.held());
    }

    #[test]
    fn additive_claims_that_come_and_go_leave_what_was_there_before(
        case in easy_case(1..=4), come in order(), go in order(), others in prop::collection::btree_set(1_u64..=5, 0..5)
    ) {
        let mut case = case;
        case.shares.iter_mut().for_each(|share| share.mode = ShareMode::Additive);
        case.images[0].launch = accounts(others.clone());
        case.snapshots[0] = Some(accounts(others));
        let before = case.empty_world().held();
        let mut world = arrivals(&case, &come);
        for name in go.iter().map(|index| NAMES[*index]).filter(|name| key_exists(&case, name)) {
            world.delete(name);
            world.settle();
        }
        prop_assert_eq!(world.held(), before);
    }

    #[test]
    fn changing_a_field_and_changing_it_back_returns_aws_to_the_first_state(
        case in writing_case(1..=3), order in order(), (name, change) in field()
    ) {
        let mut world = arrivals(&case, &order);
        let first = world.held();
        let spec = world.cluster.objects[&key("a")].share().unwrap().spec.clone();
        world.edit("a", change);
        world.settle();
        let other = world.held();
        world.edit("a", |now| *now = spec.clone());
        world.settle();
        prop_assert_eq!(world.held(), first, "{} in between: {:?}", name, other);
    }

    #[test]
    fn a_share_that_is_deleted_goes_and_takes_what_it_gave_and_nothing_else(case in any_case()) {
        let mut case = case;
        for image in &mut case.images {
            if matches!(image.state, State::Pending | State::Failed | State::Foreign) {
                image.state = State::Available;
            }
        }
        let mut world = case.world();
        let (before, claims) = (world.held(), world.cluster.claims(&image(1)));
        for share in NAMES.iter().zip(&case.shares).map(|(name, _)| *name) {
            world.delete(share);
        }
        let leaving: Vec<Claim> = world.cluster.claims(&image(1));
        prop_assert!(leaving.iter().all(|c| c.standing.leaves()), "nothing else is left");
        for _ in 0..2 {
            world.reconcile(&image(1));
            world.reconcile(&image(2));
        }
        prop_assert!(world.cluster.objects.is_empty(), "{:#?}", world.cluster.objects);
        let takes = |c: &Claim, target: &Target, p: &Principal| c.standing == Standing::Leaving && on_record(c, target, p);
        let gone = !matches!(case.images[0].state, State::Available);
        for (target, held) in world.held().into_iter().filter(|(target, _)| *target != Target::Image(image(2).id)) {
            for principal in &before[&target] {
                let lost = leaving.iter().any(|c| takes(c, &target, principal));
                let unseen = gone && matches!(target, Target::Image(_));
                prop_assert_eq!(held.contains(principal), !lost || unseen, "{:?} on {:?}: {:?}", principal, target, claims);
            }
            prop_assert!(held.is_subset(&before[&target]));
        }
    }

    #[test]
    fn what_another_share_lists_is_left_when_one_is_deleted(case in any_case()) {
        let mut world = case.world();
        world.aws.image(1).state = State::Available;
        world.settle();
        let before = world.held();
        if !world.has("a") {
            return Ok(());
        }
        world.delete("a");
        let claims = world.cluster.claims(&image(1));
        world.reconcile(&image(1));
        for (target, held) in world.held() {
            let of_the_image = match &target {
                Target::Image(id) => *id == image(1).id,
                Target::Snapshot(id) => world.aws.images[&image(1).id].snapshots.contains(id),
                Target::Grants(_) => world.aws.images[&image(1).id].encryption == Encryption::CustomerKey,
            };
            for lost in before[&target].difference(&held) {
                let forbidden = *lost == Principal::Everyone && !case.allow_public;
                let lists = |c: &Claim| !c.standing.leaves() && listed(c, &target, lost);
                prop_assert!(forbidden || !of_the_image || !claims.iter().any(lists), "{:?} on {:?}", lost, target);
            }
        }
    }

    #[test]
    fn the_annotation_lets_every_share_go_at_once_and_leaves_aws_as_it_is(case in any_case(), down in any::<bool>()) {
        let mut world = case.world();
        for name in NAMES.iter().take(case.shares.len()) {
            let object = world.cluster.objects.get_mut(&key(name)).unwrap();
            let annotations = object.metadata.annotations.get_or_insert_default();
            annotations.insert(crate::api::ON_DELETE.into(), crate::api::ABANDON.into());
            world.delete(name);
        }
        if down {
            world.aws.down = Some(crate::aws::failure::Failure::unanswered("DescribeImages", "down"));
        }
        let before = world.held();
        for number in [1, 2] {
            world.reconcile(&image(number));
        }
        prop_assert!(world.cluster.objects.is_empty(), "{:#?}", world.cluster.objects);
        prop_assert_eq!(world.held(), before);
    }

    #[test]
    fn a_share_whose_policy_is_retain_leaves_everything_when_it_goes(case in easy_case(1..=1)) {
        let mut world = case.world();
        world.settle();
        let before = world.held();
        world.edit("a", |spec| spec.deletion_policy = DeletionPolicy::Retain);
        world.delete("a");
        world.settle();
        prop_assert!(!world.has("a"));
        prop_assert_eq!(world.held(), before);
    }
}

fn key_exists(case: &Case, name: &str) -> bool {
    NAMES.iter().position(|n| *n == name).is_some_and(|index| index < case.shares.len())
}
