//! The parts of the summary: snapshots, observing, what is left for later, and what is on record.

use std::time::Duration;

use super::*;
use crate::share::testing::grants_on;
use crate::share::{granted::Granted as Record, plan::Change};

fn launch(world: &World) -> (String, String, String) {
    world.cluster.condition("a", ConditionType::LaunchPermissionsSynced)
}

fn volumes(world: &World) -> (String, String, String) {
    world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced)
}

fn reconciled(builds: impl IntoIterator<Item = Build>) -> World {
    let mut world = World::of(builds);
    world.reconcile(&image(1));
    world
}

#[test]
fn a_share_that_does_not_ask_for_volumes_has_nothing_to_say_about_them() {
    let world = reconciled([share("a").accounts([1])]);
    assert_eq!(volumes(&world), said("True", "NotRequested", "createVolumePermission is None"));
    assert_eq!(launch(&world), said("True", "Synced", "everyone listed holds a launch permission"));
    assert_eq!(launch(&reconciled([share("a")])).2, "nobody is listed");
}

#[test]
fn a_share_that_asks_for_volumes_says_that_they_are_there_or_who_lacks_them() {
    let world = reconciled([share("a").accounts([1]).volumes()]);
    let words = "the accounts hold createVolumePermission on every snapshot";
    assert_eq!(volumes(&world), said("True", "Synced", words));
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.aws.snapshots.remove(&snapshot(2));
    world.reconcile(&image(1));
    let words = "not given to 000000000001: the snapshot is gone or belongs to another account";
    assert_eq!(volumes(&world), said("False", "SnapshotNotFound", words));
    assert_eq!(launch(&world).0, "True");
}

#[test]
fn the_owner_among_the_accounts_is_named_once_and_not_for_every_snapshot() {
    let world = reconciled([share("a").lists(&[owner()].into()).volumes()]);
    assert_eq!(launch(&world).1, "OwnerAccountListed");
    assert_eq!(volumes(&world).0, "True");
}

#[test]
fn a_snapshot_that_cannot_be_read_is_reported_with_aws_own_words() {
    let failure = Failure::answered("DescribeSnapshotAttribute", "UnauthorizedOperation", "no");
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.aws.unread.insert(snapshot(1), failure);
    world.reconcile(&image(1));
    let words = "snap-00000001: DescribeSnapshotAttribute was refused: UnauthorizedOperation: no";
    assert_eq!(volumes(&world), said("False", "AccessDenied", words));
}

#[test]
fn what_is_not_taken_back_yet_is_still_held() {
    let mut world = reconciled([share("a").accounts([1]).volumes()]);
    world.aws.failing.insert(Target::Snapshot(snapshot(1)), refusal("RequestLimitExceeded", "slow down"));
    world.edit("a", |spec| spec.create_volume_permission = crate::api::ami_share::CreateVolumePermission::None);
    world.reconcile(&image(1));
    let words = "still held by 000000000001: ModifyImageAttribute was refused: RequestLimitExceeded: slow down";
    assert_eq!(volumes(&world), said("False", "Throttled", words));
    let record = world.cluster.granted("a", &image(1));
    assert_eq!(record.volumes.keys().collect::<Vec<_>>(), [&snapshot(1)], "what is not taken back stays on record");
}

#[test]
fn a_stranger_that_cannot_be_removed_is_reported_by_the_authoritative_share_alone() {
    let mut world = World::of([share("a").accounts([1]), share("b").accounts([1]).additive()]);
    world.aws.image(1).launch = accounts([1, 4]);
    world.aws.failing.insert(Target::Image(image(1).id), refusal("RequestLimitExceeded", "slow down"));
    world.reconcile(&image(1));
    assert!(launch(&world).2.starts_with("still held by 000000000004: "), "{:?}", launch(&world));
    assert_eq!(world.ready("b").0, "True", "it has all that it asks for");
}

#[test]
fn what_is_left_for_the_next_reconcile_is_under_way() {
    let mut world = World::of([share("a").accounts([1])]);
    let (claims, before) = world.look(&image(1)).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    let outcome = Outcome { deferred: plan.changes.clone(), ..Outcome::default() };
    world.cluster.finish(&image(1), &claims, &before, &plan, &outcome);
    let words = "not given to 000000000001: left for the next reconcile, which follows at once";
    assert_eq!(launch(&world), said("False", "Progressing", words));
    assert_eq!(types(&world), ["ImageAvailable", "SnapshotPermissionsSynced", "KmsGrantsSynced", "Reconciling"]);
}

#[test]
fn whoever_waits_for_a_grant_to_be_shown_is_said_to() {
    let build = || share("a").accounts([1]).grants(&grants_on(false).operations.into_iter().collect::<Vec<_>>());
    let mut world = World::of([build()]).with(|aws| aws.image(1).encryption = Encryption::CustomerKey);
    let (claims, before) = world.look(&image(1)).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    let target = Target::Image(image(1).id);
    let needed = plan.needs.get(&(target.clone(), account(1))).cloned().unwrap_or_default();
    assert_eq!(needed, [grants_on(false)].into(), "the launch permission is worth nothing without the grant");
    let [grants, permission] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    let mut outcome = Outcome { done: vec![grants.clone()], ..Outcome::default() };
    let late = [(account(1), grants_on(false))].into();
    assert_eq!(outcome.without_the_waiting(permission.clone(), late, Duration::from_secs(1)), None);
    world.cluster.finish(&image(1), &claims, &before, &plan, &outcome);
    let words = format!(
        "not given to 000000000001: waits until KMS shows the new grant on {}, which can take five minutes",
        grants_on(false).key
    );
    assert_eq!(launch(&world), said("False", "Progressing", &words));
    assert_eq!(world.cluster.condition("a", ConditionType::Reconciling).0, "True");
}

#[test]
fn what_a_failed_call_was_to_give_stays_on_record_because_it_is_made_again() {
    let record = |code| {
        let mut world = failing(refusal(code, "no"));
        world.reconcile(&image(1));
        world.cluster.granted("a", &image(1)).launch
    };
    assert_eq!(record("InternalError"), accounts([1]));
    assert_eq!(record("UnauthorizedOperation"), accounts([1]));
}

#[test]
fn what_a_failed_call_was_to_give_on_a_snapshot_stays_on_record_too() {
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.aws.failing.insert(Target::Snapshot(snapshot(1)), refusal("InternalError", "no"));
    world.aws.closed = accounts([1]);
    world.reconcile(&image(1));
    assert_eq!(world.cluster.granted("a", &image(1)).volumes, [(snapshot(1), accounts([1]))].into(), "2 was refused");
}

/// What is said of the launch permissions when account 1 is not given and account 4 is not taken, for these reasons.
fn between(missing: Reason, excess: Reason) -> (String, String, String) {
    let mut world = World::of([share("a").accounts([1])]).with(|aws| aws.image(1).launch = accounts([4]));
    let (claims, before) = world.look(&image(1)).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    let target = Target::Image(image(1).id);
    let refused = [(1, missing), (4, excess)]
        .map(|(n, reason)| ((target.clone(), account(n)), Refusal::new(reason, reason.as_str())));
    let outcome = Outcome { refused: refused.into(), ..Outcome::default() };
    world.cluster.finish(&image(1), &claims, &before, &plan, &outcome);
    launch(&world)
}

#[test]
fn of_what_is_missing_and_what_is_too_much_the_reason_that_needs_a_person_is_given() {
    let words = "not given to 000000000001: AccessDenied; still held by 000000000004: Throttled";
    assert_eq!(between(Reason::AccessDenied, Reason::Throttled), said("False", "AccessDenied", words));
    assert_eq!(between(Reason::Throttled, Reason::AccessDenied).1, "AccessDenied");
}

#[test]
fn of_the_parts_the_one_that_needs_a_person_gives_the_summary_its_reason() {
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.aws.failing.insert(Target::Image(image(1).id), refusal("RequestLimitExceeded", "slow down"));
    world.aws.snapshots.remove(&snapshot(1));
    world.reconcile(&image(1));
    assert_eq!((launch(&world).1.as_str(), volumes(&world).1.as_str()), ("Throttled", "SnapshotNotFound"));
    assert_eq!(world.ready("a").1, "SnapshotNotFound");
    world.aws.snapshots.insert(snapshot(1), accounts([1]));
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "Throttled");
}

#[test]
fn a_share_that_no_longer_asks_for_volumes_has_no_say_over_who_else_holds_them() {
    let given = Record { volumes: [(snapshot(1), accounts([1]))].into(), ..Record::default() };
    let mut world = World::of([share("a").granted_on(&image(1), &given)]);
    world.aws.snapshots.insert(snapshot(1), accounts([1, 4]));
    world.reconcile(&image(1));
    assert_eq!(world.aws.snapshots[&snapshot(1)], accounts([4]));
    assert_eq!(volumes(&world), said("True", "NotRequested", "createVolumePermission is None"));
}

#[test]
fn what_was_taken_is_off_the_record() {
    let mut world = reconciled([share("a").accounts([1, 2]).volumes()]);
    world.edit("a", |spec| spec.share_with = crate::share::testing::share::share_with(&accounts([1])));
    world.reconcile(&image(1));
    let volumes = [(snapshot(1), accounts([1])), (snapshot(2), accounts([1]))].into();
    assert_eq!(world.cluster.granted("a", &image(1)), Record { launch: accounts([1]), volumes, ..Record::default() });
}

#[test]
fn an_observing_share_says_what_it_would_do_and_does_nothing() {
    let mut world = World::of([share("a").accounts([1]).volumes().observe()]);
    world.aws.image(1).launch = accounts([4]);
    world.aws.snapshots.insert(snapshot(2), accounts([1]));
    let before = world.held();
    world.reconcile(&image(1));
    assert_eq!(world.held(), before);
    let image = "give launch permission on ami-00000001 to 000000000001 and take it from 000000000004";
    let volume = "give createVolumePermission on snap-00000001 to 000000000001";
    assert_eq!(world.cluster.status("a").pending_changes, [volume, image]);
    assert_eq!(launch(&world), said("False", "ChangesPending", &format!("mode is Observe; it would {image}")));
    assert_eq!(volumes(&world), said("False", "ChangesPending", &format!("mode is Observe; it would {volume}")));
    assert_eq!(world.ready("a").1, "ChangesPending");
}

#[test]
fn an_observing_share_that_agrees_with_aws_is_in_sync() {
    let mut world = World::of([share("a").accounts([1]).observe(), share("b").accounts([1, 2])]);
    world.settle();
    assert_eq!((world.ready("a").0.as_str(), world.ready("a").1.as_str()), ("True", "Synced"));
    assert!(world.cluster.status("a").pending_changes.is_empty());
}

#[test]
fn an_observing_share_says_what_would_be_refused() {
    let mut world = World::of([share("a").public().observe()]);
    world.reconcile(&image(1));
    assert_eq!(launch(&world).1, "GuardrailDenied");
}

#[test]
fn a_share_that_acts_has_no_pending_changes_left_from_when_it_observed() {
    let mut world = reconciled([share("a").accounts([1]).observe()]);
    assert!(!world.cluster.status("a").pending_changes.is_empty());
    world.edit("a", |spec| spec.mode = crate::api::ami_share::ShareMode::Additive);
    world.settle();
    assert!(world.cluster.status("a").pending_changes.is_empty());
}

#[test]
fn a_leaving_share_waits_for_what_it_cannot_see_and_not_for_what_others_list() {
    let mut world = reconciled([share("a").accounts([1]).volumes(), share("b").accounts([1]).volumes()]);
    world.delete("a");
    world.reconcile(&image(1));
    assert!(!world.has("a"), "the other share answers for the account now");
    for state in [State::Pending, State::NotYetListed, State::Foreign] {
        let mut world = reconciled([share("a").accounts([1])]);
        world.delete("a");
        world.aws.image(1).state = state;
        world.reconcile(&image(1));
        assert_eq!(world.ready("a").1, "DeletionBlocked", "{state:?}");
    }
}

#[test]
fn a_leaving_share_waits_for_a_snapshot_that_cannot_be_read() {
    let mut world = reconciled([share("a").accounts([1]).volumes()]);
    world.delete("a");
    world.aws.unread.insert(snapshot(1), refusal("UnauthorizedOperation", "no"));
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "DeletionBlocked");
    world.aws.unread.clear();
    world.reconcile(&image(1));
    assert!(!world.has("a"));
}

#[test]
fn a_reason_is_found_in_the_refusals_before_it_is_found_in_the_failures() {
    let mut world = World::of([share("a").accounts([1])]);
    let (claims, before) = world.look(&image(1)).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    let target = Target::Image(image(1).id);
    let change = Change { target: target.clone(), add: accounts([1]), remove: accounts([]) };
    let closed = Refusal::new(Reason::PrincipalRefused, "closed");
    let outcome = Outcome {
        refused: [((target, account(1)), closed)].into(),
        failed: vec![(change, refusal("RequestLimitExceeded", "slow down"))],
        ..Outcome::default()
    };
    world.cluster.finish(&image(1), &claims, &before, &plan, &outcome);
    assert_eq!(launch(&world), said("False", "PrincipalRefused", "not given to 000000000001: closed"));
}

#[test]
fn a_share_that_moves_takes_back_the_snapshots_of_the_image_that_it_leaves() {
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.settle();
    world.edit("a", |spec| spec.image.id = Some(image(2).id));
    world.settle();
    assert_eq!(world.aws.snapshots[&snapshot(1)], accounts([]));
    assert_eq!(world.aws.snapshots[&snapshot(3)], accounts([1]));
}

#[test]
fn a_leaving_share_waits_for_an_image_that_is_not_listed_rather_than_leave_a_snapshot_open() {
    let given = Record { volumes: [(snapshot(4), accounts([1]))].into(), ..Record::default() };
    let leaving = share("a").granted_on(&image(1), &given).deleting();
    let mut world = World::of([leaving, share("b").accounts([1]).volumes()]);
    world.aws.snapshots.insert(snapshot(4), accounts([1]));
    world.aws.image(1).state = State::NotYetListed;
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "DeletionBlocked");
    world.aws.image(1).state = State::Available;
    world.settle();
    assert_eq!((world.has("a"), &world.aws.snapshots[&snapshot(4)]), (false, &accounts([])));
}

#[test]
fn a_leaving_share_that_waits_does_not_take_the_same_back_again() {
    let given = Record { launch: accounts([1]), volumes: [(snapshot(1), accounts([1]))].into(), ..Record::default() };
    let mut world = World::of([share("a").granted_on(&image(1), &given).deleting()]);
    world.aws.snapshots.insert(snapshot(1), accounts([1]));
    world.aws.image(1).state = State::Pending;
    assert_eq!(world.reconcile(&image(1)).unwrap().plan.changes.len(), 1);
    assert_eq!(world.reconcile(&image(1)).unwrap().plan.changes, []);
    assert_eq!(world.cluster.granted("a", &image(1)).launch, accounts([1]));
}

#[test]
fn a_leaving_share_waits_for_a_call_without_an_answer_even_if_nobody_is_seen_to_hold_anything() {
    let mut world = World::of([share("a").gave([1]).deleting()]);
    world.aws.failing.insert(Target::Image(image(1).id), Failure::unanswered("ModifyImageAttribute", "no answer"));
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "DeletionBlocked");
    assert_eq!(types(&world), ["Reconciling"], "it passes by itself");
}

#[test]
fn an_observing_share_that_has_moved_says_what_it_would_take_back() {
    let mut world = reconciled([share("a").accounts([1])]);
    world.edit("a", |spec| {
        spec.mode = crate::api::ami_share::ShareMode::Observe;
        spec.image.id = Some(image(2).id);
        spec.share_with = crate::api::ami_share::ShareWith::default();
    });
    world.settle();
    let words = "mode is Observe; it would take back what was given on ami-00000001";
    assert_eq!(world.ready("a"), said("False", "ChangesPending", words));
    assert_eq!(world.cluster.status("a").pending_changes, ["take back what was given on ami-00000001"]);
    assert_eq!(world.launch(), accounts([1]));
}
