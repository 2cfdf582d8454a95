//! The rules of sharing, one by one.

use super::*;
use crate::share::testing::{
    account, accounts,
    aws::{Aws, Encryption, State},
    image, key, organization, owner,
    share::{Build, share},
    snapshot, unit,
    world::World,
};

/// The plan for image 1.
fn planned(world: &World) -> Plan {
    let (claims, before) = world.clone().look(&image(1)).expect("nothing to look at");
    world.cluster.plan(&image(1), &claims, &before)
}

fn words(world: &World) -> Vec<String> {
    planned(world).changes.iter().map(ToString::to_string).collect()
}

/// Why everybody who is not given a launch permission is not.
fn refused(world: &World) -> Vec<(Principal, Reason)> {
    let forbidden = world.cluster.claims(&image(1)).into_iter().flat_map(|claim| claim.forbidden);
    let forbidden = forbidden.map(|(principal, refusal)| (principal, refusal.reason));
    let refusals = planned(world).refusals;
    let launch = refusals.into_iter().filter(|((target, _), _)| matches!(target, Target::Image(_)));
    launch.map(|((_, principal), refusal)| (principal, refusal.reason)).chain(forbidden).collect()
}

fn public() -> World {
    World::of([share("a").accounts([1]).public()]).allowing_public()
}

#[test]
fn all_accounts_of_an_image_are_given_and_taken_in_one_call() {
    let world = World::of([share("a").accounts(1..=900)]).with(|aws| aws.image(1).launch = accounts(2000..2100));
    let [change] = &planned(&world).changes[..] else { panic!("one change") };
    assert_eq!((change.add.len(), change.remove.len()), (900, 100));
}

#[test]
fn snapshots_are_opened_before_the_image_and_closed_after_it() {
    let world = World::of([share("a").accounts([1]).volumes()]).with(|aws| {
        aws.image(1).launch = accounts([4]);
        aws.snapshots.insert(snapshot(1), accounts([4]));
        aws.snapshots.insert(snapshot(2), accounts([1]));
    });
    let expected = [
        "give createVolumePermission on snap-00000001 to 000000000001",
        "give launch permission on ami-00000001 to 000000000001 and take it from 000000000004",
        "take createVolumePermission on snap-00000001 from 000000000004",
    ];
    assert_eq!(words(&world), expected);
}

#[test]
fn a_snapshot_is_given_to_at_most_five_hundred_accounts_in_one_call() {
    let world = World::of([share("a").accounts(1..=1001).volumes()]).with(|aws| {
        aws.snapshots.insert(snapshot(1), accounts(5000..5501));
        aws.snapshots.insert(snapshot(2), accounts(1..=1001));
        aws.image(1).launch = accounts(1..=1001);
    });
    let sizes: Vec<_> = planned(&world).changes.iter().map(|c| (c.add.len(), c.remove.len())).collect();
    assert_eq!(sizes, [(500, 0), (500, 0), (1, 0), (0, 500), (0, 1)]);
}

#[test]
fn a_change_says_in_words_what_it_does() {
    let change = |add, remove| Change { target: Target::Snapshot(snapshot(1)), add, remove }.to_string();
    let permission = "createVolumePermission on snap-00000001";
    assert_eq!(change(accounts([1]), accounts([])), format!("give {permission} to 000000000001"));
    assert_eq!(change(accounts([]), accounts([1])), format!("take {permission} from 000000000001"));
    let both = format!("give {permission} to 000000000001 and take it from 000000000002");
    assert_eq!(change(accounts([1]), accounts([2])), both);
}

#[test]
fn whoever_is_listed_twice_is_given_once_and_is_on_both_records() {
    let plan = planned(&World::of([share("a").accounts([1]), share("b").accounts([1]).additive()]));
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.records[&key("a")].launch, accounts([1]));
    assert_eq!(plan.records[&key("b")].launch, accounts([1]));
}

#[test]
fn an_authoritative_share_removes_everyone_and_organizations_too() {
    let strangers: BTreeSet<Principal> = [organization(), unit(), Principal::Everyone].into();
    let world = World::of([share("a")]).with(|aws| aws.image(1).launch = strangers.clone());
    assert_eq!(planned(&world).changes[0].remove, strangers);
}

#[test]
fn nothing_is_made_public_unless_the_operator_allows_it() {
    let world = World::of([share("a").accounts([1]).public()]);
    assert_eq!(refused(&world), [(Principal::Everyone, Reason::GuardrailDenied)]);
    assert_eq!(planned(&world).changes[0].add, accounts([1]), "the others are served");
    assert_eq!(planned(&public()).changes[0].add, [account(1), Principal::Everyone].into());
}

#[test]
fn an_image_that_is_public_against_the_guard_rail_is_closed_by_an_authoritative_share_alone() {
    let open = |build: Build| World::of([build]).with(|aws| aws.image(1).launch = [Principal::Everyone].into());
    let world = open(share("a").public());
    assert_eq!(planned(&world).changes[0].remove, [Principal::Everyone].into());
    assert_eq!(refused(&world), [(Principal::Everyone, Reason::GuardrailDenied)]);
    let world = open(share("a").public().additive());
    assert_eq!(planned(&world).changes, []);
    assert_eq!(refused(&world), [(Principal::Everyone, Reason::GuardrailDenied)]);
}

#[test]
fn what_makes_public_sharing_impossible_is_named_before_aws_is_asked() {
    let encrypted = public().with(|aws| aws.image(1).encryption = Encryption::CustomerKey);
    let sold = public().with(|aws| aws.image(1).product_code = true);
    let blocked = public().with(|aws| aws.blocks_public = true);
    for (world, reason) in [
        (encrypted, Reason::EncryptedImageCannotBePublic),
        (sold, Reason::ProductCodeImageCannotBePublic),
        (blocked, Reason::PublicSharingBlocked),
    ] {
        assert_eq!(refused(&world), [(Principal::Everyone, reason)]);
        assert_eq!(planned(&world).changes[0].add, accounts([1]));
    }
}

#[test]
fn an_image_that_is_public_already_stays_so_when_block_public_access_comes_on() {
    let world = public().with(|aws| {
        aws.image(1).launch = [account(1), Principal::Everyone].into();
        aws.blocks_public = true;
    });
    assert_eq!(planned(&world).changes, []);
    assert_eq!(refused(&world), []);
}

#[test]
fn the_owner_needs_no_entry_and_is_told_so_once() {
    let world = World::of([share("a").lists(&[owner()].into()).volumes()]);
    let plan = planned(&world);
    assert_eq!(plan.changes, []);
    let (targets, refusals): (Vec<_>, Vec<_>) = plan.refusals.into_iter().unzip();
    assert_eq!(targets, [(Target::Image(image(1).id), owner())]);
    assert_eq!(refusals[0].reason, Reason::OwnerAccountListed);
}

#[test]
fn whom_the_quota_leaves_no_room_for_are_always_the_same_and_the_others_are_served() {
    let mut world = World::of([share("a").accounts([1, 2, 5]), share("b").accounts([3, 4])]);
    world.cluster.policy.launch_permission_quota = 3;
    world.aws.image(1).launch = accounts([5]);
    assert_eq!(planned(&world).changes[0].add, accounts([1, 2]));
    assert_eq!(refused(&world), [(account(3), Reason::QuotaExceeded), (account(4), Reason::QuotaExceeded)]);
    assert_eq!(planned(&world).records[&key("b")].launch, accounts([]), "it is not going to own them");
}

#[test]
fn the_room_of_those_who_are_removed_is_used_and_everyone_needs_none() {
    let mut world = public().with(|aws| aws.image(1).launch = accounts([7]));
    world.cluster.policy.launch_permission_quota = 1;
    let [change] = &planned(&world).changes[..] else { panic!("one change") };
    assert_eq!((&change.add, &change.remove), (&[account(1), Principal::Everyone].into(), &accounts([7])));
    assert_eq!(refused(&world), []);
}

#[test]
fn whom_aws_refused_lately_is_not_tried_again_and_still_named() {
    let mut world = World::of([share("a").accounts([1, 2])]);
    let refusal = Refusal::new(Reason::PrincipalRefused, "closed");
    let remembered = Refusals::from([((Target::Image(image(1).id), account(2)), refusal)]);
    world.cluster.remembered.insert(image(1).id, remembered);
    assert_eq!(planned(&world).changes[0].add, accounts([1]));
    assert_eq!(refused(&world), [(account(2), Reason::PrincipalRefused)]);
    world.aws.image(1).launch = accounts([1, 2]);
    assert_eq!(refused(&world), [], "whoever holds it has not been refused");
}

#[test]
fn a_share_without_create_volume_permission_leaves_snapshots_alone_and_takes_back_what_it_gave() {
    let given = Granted { volumes: [(snapshot(1), accounts([1]))].into(), ..Granted::default() };
    let world = World::of([share("a").accounts([1]).granted_on(&image(1), &given)]).with(|aws| {
        aws.image(1).launch = accounts([1]);
        aws.snapshots.insert(snapshot(1), accounts([1, 4]));
        aws.snapshots.insert(snapshot(2), accounts([4]));
    });
    assert_eq!(words(&world), ["take createVolumePermission on snap-00000001 from 000000000001"]);
}

#[test]
fn a_snapshot_that_is_gone_is_named_and_holds_nobody_else_back() {
    let world = World::of([share("a").accounts([1]).volumes()]).with(|aws| drop(aws.snapshots.remove(&snapshot(1))));
    let plan = planned(&world);
    assert_eq!(plan.changes.len(), 2, "the other snapshot and the image");
    let gone = &plan.refusals[&(Target::Snapshot(snapshot(1)), account(1))];
    assert_eq!(gone.reason, Reason::SnapshotNotFound);
    assert!(!plan.records[&key("a")].volumes.contains_key(&snapshot(1)));
}

#[test]
fn a_snapshot_that_cannot_be_read_is_not_changed_and_its_record_is_kept() {
    let given = Granted { volumes: [(snapshot(1), accounts([4]))].into(), ..Granted::default() };
    let failure = crate::aws::failure::Failure::answered("DescribeSnapshotAttribute", "UnauthorizedOperation", "no");
    let world = World::of([share("a").volumes().granted_on(&image(1), &given)])
        .with(|aws| drop(aws.unread.insert(snapshot(1), failure)));
    let plan = planned(&world);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.records[&key("a")].volumes, given.volumes);
}

#[test]
fn from_the_snapshots_of_an_image_that_cannot_be_shared_now_only_what_was_given_and_nobody_lists_any_more_is_taken() {
    let given = Granted { volumes: [(snapshot(1), accounts([1, 4]))].into(), ..Granted::default() };
    let shares = || [share("a").accounts([1]).volumes().granted_on(&image(1), &given)];
    for state in [State::Pending, State::Failed, State::Disabled, State::NotYetListed] {
        let world = World::of(shares()).with(|aws| {
            aws.image(1).state = state;
            aws.snapshots.insert(snapshot(1), accounts([4, 9]));
        });
        let take = ["take createVolumePermission on snap-00000001 from 000000000004"];
        let expected = if state == State::NotYetListed { &[][..] } else { &take[..] };
        assert_eq!(words(&world), expected, "{state:?}");
        assert_eq!(planned(&world).records[&key("a")].volumes, given.volumes, "{state:?}");
    }
}

#[test]
fn the_snapshots_of_an_image_that_is_no_more_keep_what_was_given_as_long_as_it_is_listed() {
    let given =
        Granted { volumes: [(snapshot(1), accounts([1, 2]))].into(), launch: accounts([1]), ..Granted::default() };
    for state in [State::Deregistered, State::Missing] {
        let share = |lists: u64| share("a").accounts([lists]).granted_on(&image(1), &given);
        let world = |build: Build| {
            World::of([build]).with(|aws| {
                aws.image(1).state = state;
                aws.snapshots.insert(snapshot(1), accounts([1, 2, 4]));
            })
        };
        let take = "take createVolumePermission on snap-00000001 from 000000000002";
        assert_eq!(words(&world(share(1).volumes())), [take], "{state:?}");
        let take = "take createVolumePermission on snap-00000001 from 000000000001, 000000000002";
        assert_eq!(words(&world(share(1))), [take], "{state:?}");
        let record = planned(&world(share(1))).records.remove(&key("a")).unwrap();
        assert_eq!(record.launch, accounts([1]), "{state:?}: an image can come back from the Recycle Bin");
    }
}

#[test]
fn whom_a_share_of_another_image_lists_for_the_same_snapshot_keeps_it() {
    let mut shares = [share("a").volumes(), share("b").accounts([1]).volumes().of(&image(2))];
    let given = Granted { volumes: [(snapshot(1), accounts([1]))].into(), ..Granted::default() };
    shares[1] = shares[1].clone().granted_on(&image(2), &given);
    let world = World::of(shares).with(|aws| {
        aws.image(2).snapshots.insert(snapshot(1));
        aws.snapshots.insert(snapshot(1), accounts([1, 4]));
    });
    assert_eq!(words(&world), ["take createVolumePermission on snap-00000001 from 000000000004"]);
}

#[test]
fn whoever_leaves_bequeaths_what_it_gave_on_a_shared_snapshot_to_whom_lists_it_on_another_image() {
    let given = |numbers: &[u64]| Granted {
        volumes: [(snapshot(1), accounts(numbers.iter().copied()))].into(),
        ..Granted::default()
    };
    // What the share on the other image has on record there tells that the snapshot is a part of it.
    let heir = share("b").accounts([1, 2]).volumes().of(&image(2)).granted_on(&image(2), &given(&[2]));
    let bequests = |leaves: Build, heir: Build, held: &[u64]| {
        let held = accounts(held.iter().copied());
        let world = World::of([leaves.volumes().granted_on(&image(1), &given(&[1, 2, 3])), heir]).with(|aws| {
            aws.image(2).snapshots.insert(snapshot(1));
            aws.snapshots.insert(snapshot(1), held);
        });
        planned(&world)
            .bequests
            .into_iter()
            .map(|(heir, bequest)| (heir, bequest.inherited))
            .collect::<BTreeMap<_, _>>()
    };
    let to_b = |numbers: &[u64]| BTreeMap::from([((key("b"), image(2).id), given(numbers))]);
    let leaving = || share("a").deleting();
    assert_eq!(bequests(leaving(), heir.clone(), &[1, 2, 3]), to_b(&[1]));
    assert_eq!(bequests(leaving(), heir.clone().suspended(), &[1, 2, 3]), to_b(&[1]));
    assert_eq!(bequests(leaving(), heir.clone(), &[2, 3]), to_b(&[1]), "AWS may show it late");
    assert_eq!(
        bequests(leaving(), heir.clone().observe(), &[1, 2, 3]),
        BTreeMap::new(),
        "it never takes anything away"
    );
    assert_eq!(bequests(share("a"), heir, &[1, 2, 3]), BTreeMap::new(), "it stays, and answers for it itself");
}

#[test]
fn a_snapshot_that_is_not_the_images_any_more_is_closed_to_whom_it_was_given() {
    let given = Granted { volumes: [(snapshot(4), accounts([1]))].into(), ..Granted::default() };
    let world = World::of([share("a").accounts([1]).volumes().granted_on(&image(1), &given)]).with(|aws| {
        aws.snapshots.insert(snapshot(4), accounts([1, 4]));
    });
    let last = words(&world).pop().unwrap();
    assert_eq!(last, "take createVolumePermission on snap-00000004 from 000000000001");
}

#[test]
fn a_share_that_leaves_drops_its_record_of_an_image_that_is_no_more_and_keeps_that_of_one_it_cannot_see() {
    let record = |state| {
        let world = World::of([share("a").gave([1]).deleting()]).with(|aws| aws.image(1).state = state);
        planned(&world).records[&key("a")].launch.clone()
    };
    assert_eq!(record(State::Missing), accounts([]));
    assert_eq!(record(State::Deregistered), accounts([]));
    assert_eq!(record(State::Pending), accounts([1]));
    assert_eq!(record(State::Foreign), accounts([1]));
}

#[test]
fn whom_aws_lately_refused_to_remove_is_not_tried_again_and_still_named() {
    let mut world = World::of([share("a")]).with(|aws| {
        aws.image(1).launch = accounts([4, 5]);
    });
    let refusal = Refusal::new(Reason::AwsRefused, "no");
    world.cluster.remembered.insert(image(1).id, [((Target::Image(image(1).id), account(4)), refusal)].into());
    assert_eq!(planned(&world).changes[0].remove, accounts([5]));
    assert_eq!(refused(&world), [(account(4), Reason::AwsRefused)]);
}

#[test]
fn whoever_acts_lets_go_of_what_nobody_can_hold_any_more() {
    let record = |build: Build, change: fn(&mut Aws)| {
        let given =
            Granted { launch: accounts([1]), volumes: [(snapshot(1), accounts([1]))].into(), ..Granted::default() };
        let world = World::of([build.volumes().granted_on(&image(1), &given), share("z")]).with(change);
        planned(&world).records.remove(&key("a")).unwrap()
    };
    let disabled = |aws: &mut Aws| aws.image(1).state = State::Disabled;
    let gone = |aws: &mut Aws| drop(aws.snapshots.remove(&snapshot(1)));
    for acting in [share("a"), share("a").additive(), share("a").deleting()] {
        assert_eq!(record(acting.clone(), disabled).launch, accounts([]));
        assert_eq!(record(acting, gone).volumes, [].into());
    }
    assert_eq!(record(share("a").suspended(), disabled).launch, accounts([1]));
}
