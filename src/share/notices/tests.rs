//! What is told, and that nothing is told twice.

use super::*;
use crate::share::testing::{
    accounts,
    aws::State,
    image,
    share::{Build, share},
    snapshot,
    world::{Round, World},
};
use crate::{api::ami_share::ShareWith, aws::failure::Failure};

/// Everything that is told about `a` in one reconcile: reason and note.
fn told(world: &mut World) -> Vec<(&'static str, String)> {
    world.cluster.events.clear();
    world.reconcile(&image(1));
    let of_a = world.cluster.events.iter().filter(|(name, _)| name == "a");
    of_a.map(|(_, notice)| (notice.reason, notice.note.clone())).collect()
}

fn settled(builds: impl IntoIterator<Item = Build>) -> World {
    let mut world = World::of(builds);
    world.settle();
    world.cluster.events.clear();
    world
}

#[test]
fn who_is_given_the_image_and_its_snapshots_is_told() {
    let notes = told(&mut World::of([share("a").accounts([1]).volumes()]));
    let give = |permission, target| ("Shared", format!("gave {permission} on {target} to 000000000001"));
    let volume = "createVolumePermission";
    assert_eq!(
        notes,
        [give(volume, "snap-00000001"), give(volume, "snap-00000002"), give("launch permission", "ami-00000001")]
    );
}

#[test]
fn nothing_is_told_when_nothing_happens() {
    let mut world = settled([share("a").accounts([1]).volumes(), share("b").accounts([2])]);
    assert_eq!(told(&mut world), []);
}

#[test]
fn each_claimant_is_told_of_its_own_principals_alone() {
    let notes = told(&mut World::of([share("a").accounts([1]), share("b").accounts([2])]));
    assert_eq!(notes, [("Shared", "gave launch permission on ami-00000001 to 000000000001".into())]);
}

#[test]
fn what_is_taken_back_is_revoked_and_not_drift() {
    let mut world = settled([share("a").accounts([1, 2]), share("b").accounts([3])]);
    world.edit("a", |spec| spec.share_with = ShareWith::default());
    let notes = told(&mut world);
    assert_eq!(notes[0], ("Revoked", "took launch permission on ami-00000001 from 000000000001, 000000000002".into()));
    assert!(world.cluster.events.iter().all(|(_, notice)| notice.reason != "DriftCorrected"));
}

#[test]
fn what_somebody_else_changed_and_was_put_right_is_drift() {
    let mut world = settled([share("a").accounts([1])]);
    world.aws.image(1).launch = accounts([4]);
    let expected = [
        ("DriftCorrected", "gave launch permission on ami-00000001 back to 000000000001, who had lost it".into()),
        (
            "DriftCorrected",
            "took launch permission on ami-00000001 from 000000000004, whom no AmiShare lists".to_owned(),
        ),
    ];
    assert_eq!(told(&mut world), expected);
}

#[test]
fn drift_on_a_snapshot_is_told_too() {
    let mut world = settled([share("a").accounts([1]).volumes()]);
    world.aws.snapshots.insert(snapshot(1), accounts([1, 4]));
    let expected = "took createVolumePermission on snap-00000001 from 000000000004, whom no AmiShare lists";
    assert_eq!(told(&mut world), [("DriftCorrected", expected.into())]);
}

#[test]
fn only_authoritative_shares_are_told_of_strangers_and_not_of_what_another_gave() {
    let mut world = settled([share("a").accounts([1]), share("b").accounts([2]).additive()]);
    world.aws.image(1).launch.extend(accounts([4]));
    world.delete("b");
    let notes = told(&mut world);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].1.contains("000000000004, whom"), "{notes:?}");
    let of_b = world.cluster.events.iter().find(|(name, _)| name == "b").unwrap();
    assert_eq!(of_b.1.reason, "Revoked");
}

fn count(world: &World, round: &Round) -> usize {
    let Round { claims, before, plan, outcome } = round;
    let (image, after) = (image(1), before.after(outcome));
    drift_corrected(&View { image: &image, claims, after: &after, plan, outcome, policy: &world.cluster.policy })
}

#[test]
fn every_principal_that_was_put_right_is_counted_once() {
    let mut world = settled([share("a").accounts([1, 2]), share("b").accounts([1])]);
    world.aws.image(1).launch = accounts([2, 4, 5]);
    let round = world.reconcile(&image(1)).unwrap();
    assert_eq!(count(&world, &round), 3, "one came back and two went");
}

#[test]
fn a_failure_is_told_when_it_begins_when_it_changes_and_when_it_ends() {
    let mut world = settled([share("a").accounts([1])]);
    world.aws.image(1).state = State::Disabled;
    assert_eq!(told(&mut world)[0].0, "ImageDisabled");
    assert_eq!(told(&mut world), []);
    world.aws.image(1).state = State::Foreign;
    assert_eq!(told(&mut world)[0].0, "NotOwner");
    world.aws.image(1).state = State::Available;
    assert_eq!(told(&mut world).last().unwrap(), &("Synced", "shared with 1 account".to_owned()));
}

#[test]
fn what_passes_by_itself_or_was_asked_for_is_no_warning() {
    let warning = |build: Build, state| {
        let mut world = World::of([build]).with(|aws| aws.image(1).state = state);
        world.reconcile(&image(1));
        world.cluster.events.pop().map(|(_, notice)| (notice.reason, notice.warning))
    };
    assert_eq!(warning(share("a").accounts([1]), State::Missing), Some(("ImageNotFound", true)));
    assert_eq!(warning(share("a").accounts([1]), State::Pending), Some(("ImagePending", false)));
    assert_eq!(warning(share("a").expired(), State::Available), Some(("Expired", false)));
    assert_eq!(warning(share("a").suspended(), State::Available), Some(("Suspended", false)));
}

#[test]
fn what_was_tried_before_and_succeeds_now_is_given_and_not_drift() {
    let mut world = World::of([share("a").accounts([1])]);
    let failure = Failure::answered("ModifyImageAttribute", "RequestLimitExceeded", "slow down");
    world.aws.failing.insert(Target::Image(image(1).id), failure);
    world.reconcile(&image(1));
    world.aws.failing.clear();
    let round = world.clone().reconcile(&image(1)).unwrap();
    assert_eq!(count(&world, &round), 0);
    assert_eq!(told(&mut world)[0], ("Shared", "gave launch permission on ami-00000001 to 000000000001".into()));
}
