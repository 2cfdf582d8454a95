//! What an object reports, for everything that can become of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use strum::VariantArray;

use super::*;
use crate::share::testing::{
    account, accounts,
    aws::{Encryption, State},
    image, organization, owner,
    share::{Build, share},
    snapshot, unit,
    world::World,
};

mod bounds;
mod parts;

/// What `a` says after one reconcile.
fn ready(mut world: World) -> (String, String, String) {
    world.reconcile(&image(1));
    world.ready("a")
}

fn said(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.into(), reason.into(), message.into())
}

fn conditions_of(world: &World) -> Vec<Condition> {
    world.cluster.status("a").conditions
}

fn types(world: &World) -> Vec<String> {
    conditions_of(world).into_iter().filter(|c| c.status == "True").map(|c| c.type_).collect()
}

/// A failure of AWS, as each code makes it.
fn refusal(code: &str, message: &str) -> Failure {
    Failure::answered("ModifyImageAttribute", code, message)
}

/// One share of account 1, and AWS fails every change of the image so.
fn failing(failure: Failure) -> World {
    let target = Target::Image(image(1).id);
    World::of([share("a").accounts([1])]).with(|aws| drop(aws.failing.insert(target, failure)))
}

#[test]
fn a_share_that_is_in_sync_says_with_how_many_it_is_shared() {
    let all = [account(1), account(2), organization(), unit(), Principal::Everyone].into();
    let world = World::of([share("a").lists(&all)]).allowing_public();
    let words = "shared with 2 accounts, 1 organization, 1 organizational unit, everyone";
    assert_eq!(ready(world), said("True", "Synced", words));
    assert_eq!(ready(World::of([share("a").accounts([1])])).2, "shared with 1 account");
    assert_eq!(ready(World::of([share("a")])).2, "shared with nobody");
}

#[test]
fn a_share_that_is_in_sync_has_all_its_parts_and_nothing_under_way() {
    let mut world = World::of([share("a").accounts([1])]);
    world.reconcile(&image(1));
    let all = ConditionType::VARIANTS.iter().map(|kind| kind.as_str());
    let of_distributions = ["SourceAvailable", "CopiesAvailable", "Shared"];
    let others = ["Reconciling", "Stalled", "Expired"];
    let parts: Vec<&str> = all.filter(|kind| !others.contains(kind) && !of_distributions.contains(kind)).collect();
    assert_eq!(types(&world), parts);
    let status = world.cluster.status("a");
    assert_eq!(status.observed_generation, Some(1));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(1)));
    assert_eq!(status.shared_with.unwrap().accounts, 1);
    let seen = world.cluster.condition("a", ConditionType::ImageAvailable);
    assert_eq!(seen, said("True", "Available", "the image is available"));
    assert_eq!(status.image.unwrap().snapshot_ids, [snapshot(1), snapshot(2)].into());
}

#[test]
fn what_a_share_counts_is_its_own_and_not_what_others_list() {
    let mut world = World::of([share("a").accounts([1]), share("b").accounts([2, 3])]);
    world.reconcile(&image(1));
    assert_eq!(world.cluster.status("a").shared_with.unwrap().accounts, 1);
}

#[test]
fn the_summary_lists_every_part_that_fails_and_gives_the_reason_that_needs_a_person() {
    let snapshots = Failure::answered("ModifySnapshotAttribute", "RequestLimitExceeded", "slow down");
    let world = World::of([share("a").accounts([1, 8]).volumes()]).with(|aws| {
        aws.failing.insert(Target::Snapshot(snapshot(1)), snapshots);
        aws.closed = accounts([8]);
    });
    let (status, reason, message) = ready(world);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PrincipalRefused"));
    let expected = "not given to 000000000008: AWS refuses it; not given to 000000000008: AWS refuses it; not given to \
                    000000000001, 000000000008: ModifySnapshotAttribute was refused: RequestLimitExceeded: slow down";
    assert_eq!(message, expected);
}

#[test]
fn parts_that_fail_alike_are_named_once() {
    let world = World::of([share("a").accounts([1]).volumes()]).with(|aws| aws.image(1).state = State::Missing);
    assert_eq!(ready(world), said("False", "ImageNotFound", "in words: ImageNotFound"));
}

#[test]
fn a_share_that_is_not_ready_is_either_reconciling_or_stalled() {
    for (code, reason, kind) in [
        ("RequestLimitExceeded", Reason::Throttled, ConditionType::Reconciling),
        ("InternalError", Reason::AwsUnavailable, ConditionType::Reconciling),
        ("UnauthorizedOperation", Reason::AccessDenied, ConditionType::Stalled),
        ("InvalidAMIID.NotFound", Reason::ImageNotFound, ConditionType::Stalled),
        ("InvalidSnapshot.NotFound", Reason::SnapshotNotFound, ConditionType::Stalled),
        ("InvalidAMIID.Unavailable", Reason::ImageNotUsable, ConditionType::Stalled),
        ("InvalidAMIAttributeItemValue", Reason::PrincipalRefused, ConditionType::Stalled),
        ("ResourceLimitExceeded", Reason::QuotaExceeded, ConditionType::Stalled),
        ("SomethingElse", Reason::AwsRefused, ConditionType::Stalled),
    ] {
        let mut world = failing(refusal(code, "no"));
        world.reconcile(&image(1));
        assert_eq!(world.ready("a").1, reason.as_str());
        assert_eq!(types(&world).iter().filter(|t| *t == "Reconciling" || *t == "Stalled").count(), 1, "{code}");
        assert_eq!(world.cluster.condition("a", kind).0, "True", "{code}");
        assert_eq!(world.cluster.condition("a", kind).2, world.ready("a").2);
    }
}

#[test]
fn every_state_of_the_image_has_its_reason() {
    for (state, reason, kind) in [
        (State::Pending, Reason::ImagePending, ConditionType::Reconciling),
        (State::NotYetListed, Reason::ImagePending, ConditionType::Reconciling),
        (State::Failed, Reason::ImageNotUsable, ConditionType::Stalled),
        (State::Disabled, Reason::ImageDisabled, ConditionType::Stalled),
        (State::Deregistered, Reason::ImageDeregistered, ConditionType::Stalled),
        (State::Missing, Reason::ImageNotFound, ConditionType::Stalled),
        (State::Foreign, Reason::NotOwner, ConditionType::Stalled),
    ] {
        let mut world = World::of([share("a").accounts([1])]).with(|aws| aws.image(1).state = state);
        world.reconcile(&image(1));
        assert_eq!((world.ready("a").0.as_str(), world.ready("a").1.as_str()), ("False", reason.as_str()), "{state:?}");
        assert_eq!(world.cluster.condition("a", ConditionType::ImageAvailable).1, reason.as_str());
        assert_eq!(world.cluster.condition("a", kind).1, reason.as_str());
    }
}

#[test]
fn an_account_that_aws_refuses_is_named_and_the_others_are_served() {
    let (status, reason, message) = ready(World::of([share("a").accounts([1, 8])]));
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PrincipalRefused"));
    assert_eq!(message, "not given to 000000000008: AWS refuses it");
}

#[test]
fn who_only_observes_knows_at_once_whom_aws_has_just_refused_to_another() {
    let mut world = World::of([share("a").accounts([1, 8]), share("b").accounts([1, 8]).observe()]);
    world.reconcile(&image(1));
    let message = "not given to 000000000008: AWS refuses it";
    assert_eq!(world.ready("b"), said("False", "PrincipalRefused", message));
    assert_eq!(world.cluster.status("b").pending_changes, Vec::<String>::new());
}

#[test]
fn what_the_plan_refuses_is_reported_with_its_reason() {
    let everyone = share("a").public();
    let mut tight = World::of([share("a").accounts([1, 2])]);
    tight.cluster.policy.launch_permission_quota = 1;
    for (world, reason) in [
        (World::of([everyone.clone()]), Reason::GuardrailDenied),
        (
            World::of([everyone.clone()])
                .allowing_public()
                .with(|aws| aws.image(1).encryption = Encryption::CustomerKey),
            Reason::EncryptedImageCannotBePublic,
        ),
        (
            World::of([everyone.clone()]).allowing_public().with(|aws| aws.image(1).product_code = true),
            Reason::ProductCodeImageCannotBePublic,
        ),
        (World::of([everyone]).allowing_public().with(|aws| aws.blocks_public = true), Reason::PublicSharingBlocked),
        (World::of([share("a").lists(&[owner()].into())]), Reason::OwnerAccountListed),
        (
            World::of([share("a").accounts([1])]).with(|aws| aws.image(1).encryption = Encryption::DefaultKey),
            Reason::DefaultKmsKeyNotShareable,
        ),
        (tight, Reason::QuotaExceeded),
    ] {
        assert_eq!((ready(world.clone()).0.as_str(), ready(world).1.as_str()), ("False", reason.as_str()));
    }
}

/// A rule of the namespace of `c` and `d`: account 1 and nobody else.
const PARTNERS: &str = r#"[{name: partners, namespaces: [partners], shareWith: {accountIds: ["000000000001"]}}]"#;

#[test]
fn whom_only_another_namespace_may_list_is_held_and_denied_to_the_one_that_may_not() {
    let mut world = World::of([share("a").accounts([2]), share("c").accounts([1, 2])]).under(PARTNERS);
    world.settle();
    assert_eq!(world.launch(), accounts([1, 2]));
    assert_eq!(world.ready("a"), said("True", "Synced", "shared with 1 account"));
    let message = "not given to 000000000002: the guard rail partners does not let namespace partners share with accounts that it does \
                   not list; take it out of the spec, or have whoever runs the operator change the rule";
    assert_eq!(world.ready("c"), said("False", "GuardrailDenied", message));
    assert_eq!(world.cluster.granted("c", &image(1)).launch, accounts([1]), "it is not its own");
    world.delete("a");
    world.settle();
    assert_eq!(world.launch(), accounts([1]), "and it is not protected");
}

#[test]
fn what_is_forbidden_on_the_snapshots_is_said_once_for_image_and_snapshots() {
    let mut world = World::of([share("c").accounts([1, 2]).volumes()]).under(PARTNERS);
    world.settle();
    assert_eq!(world.aws.held(&Target::Snapshot(snapshot(1))), accounts([1]));
    let (_, reason, message) = world.ready("c");
    assert_eq!(reason, "GuardrailDenied");
    assert_eq!(message.matches("guard rail").count(), 1, "{message}");
    let snapshots = world.cluster.condition("c", ConditionType::SnapshotPermissionsSynced);
    assert_eq!(snapshots.1, "GuardrailDenied");
}

#[test]
fn a_share_from_which_a_rule_takes_everybody_reports_it_and_not_that_nobody_is_listed() {
    let mut world = World::of([share("c").accounts([2])]);
    world.settle();
    assert_eq!(world.launch(), accounts([2]));
    let mut world = world.under(PARTNERS);
    world.settle();
    assert_eq!(world.launch(), accounts([]));
    assert_eq!(world.ready("c").1, "GuardrailDenied");
    world.aws.image(1).state = State::Pending;
    world.reconcile(&image(1));
    assert_eq!(world.ready("c").1, "ImagePending");
}

#[test]
fn an_image_that_is_public_against_the_guard_rail_is_reported_by_the_share_that_lists_it() {
    let world =
        World::of([share("a").public().additive()]).with(|aws| aws.image(1).launch = [Principal::Everyone].into());
    assert_eq!(ready(world).1, "GuardrailDenied");
}

#[test]
fn a_suspended_share_says_so_in_every_part() {
    let mut world = World::of([share("a").suspended()]);
    world.reconcile(&image(1));
    let conditions = conditions_of(&world);
    assert_eq!(conditions.len(), 5);
    assert!(conditions.iter().all(|c| (c.status.as_str(), c.reason.as_str()) == ("Unknown", "Suspended")));
}

#[test]
fn an_expired_share_says_so_and_what_it_listed_is_revoked() {
    let mut world = World::of([share("a").accounts([1]).volumes()]);
    world.settle();
    world.edit("a", |spec| spec.expires_at = Some(crate::api::conditions::whole_seconds(crate::share::testing::now())));
    world.settle();
    assert_eq!(world.launch(), accounts([]));
    let words = "expiresAt has passed: the share gives nobody anything any more";
    assert_eq!(world.ready("a"), said("False", "Expired", words));
    assert_eq!(world.cluster.condition("a", ConditionType::Expired).1, "Expired");
    assert_eq!(world.cluster.condition("a", ConditionType::Stalled).1, "Expired");
    world.edit("a", |spec| spec.expires_at = None);
    world.settle();
    assert_eq!(world.cluster.condition("a", ConditionType::Expired), said("", "", ""));
    assert_eq!(world.ready("a").0, "True");
}

#[test]
fn an_expired_share_of_an_image_that_cannot_be_shared_says_that_it_has_expired() {
    for state in [State::Pending, State::Disabled, State::Deregistered, State::Missing] {
        let mut world = World::of([share("a").accounts([1]).volumes()]);
        world.settle();
        world.aws.image(1).state = state;
        if state == State::Pending {
            // It was never available: nothing was given.
            world = World::of([share("a").accounts([1]).volumes()]).with(|aws| aws.image(1).state = state);
        }
        world.edit("a", |spec| {
            spec.expires_at = Some(crate::api::conditions::whole_seconds(crate::share::testing::now()));
        });
        world.settle();
        assert_eq!(world.ready("a").1, "Expired", "{state:?}");
        for snapshot in [snapshot(1), snapshot(2)] {
            assert_eq!(world.aws.held(&Target::Snapshot(snapshot)), accounts([]), "{state:?}");
        }
        assert!(world.cluster.status("a").granted.iter().all(|g| g.create_volume_permission.is_empty()), "{state:?}");
        assert_eq!(world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced).0, "True", "{state:?}");
    }
}

#[test]
fn what_could_not_be_taken_back_from_the_snapshots_of_a_disabled_image_is_named() {
    let mut world = World::of([share("a").accounts([1, 2]).volumes()]);
    world.settle();
    world.aws.image(1).state = State::Disabled;
    world.edit("a", |spec| spec.share_with = crate::share::testing::share::share_with(&accounts([1])));
    world.aws.failing.insert(Target::Snapshot(snapshot(1)), refusal("UnauthorizedOperation", "no"));
    world.reconcile(&image(1));
    let (status, reason, message) = world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AccessDenied"));
    assert!(message.starts_with("still held by 000000000002: "), "{message}");
    world.aws.failing.clear();
    world.settle();
    assert_eq!(world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced).1, "ImageDisabled");
    assert_eq!(world.aws.held(&Target::Snapshot(snapshot(1))), accounts([1]));
}

#[test]
fn who_should_lose_a_snapshot_of_a_disabled_image_that_cannot_be_read_is_not_passed_over_in_silence() {
    let mut world = World::of([share("a").accounts([1, 2]).volumes()]);
    world.settle();
    world.aws.image(1).state = State::Disabled;
    let denied = Failure::answered("DescribeSnapshotAttribute", "UnauthorizedOperation", "no");
    world.aws.unread.insert(snapshot(1), denied);
    world.reconcile(&image(1));
    assert_eq!(world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced).1, "ImageDisabled");
    world.edit("a", |spec| spec.share_with = crate::share::testing::share::share_with(&accounts([1])));
    world.reconcile(&image(1));
    assert_eq!(world.cluster.condition("a", ConditionType::SnapshotPermissionsSynced).1, "AccessDenied");
}

#[test]
fn what_aws_does_not_show_on_the_snapshots_of_an_image_that_cannot_be_shared_stays_on_record() {
    let given = Granted { volumes: [(snapshot(1), accounts([1]))].into(), ..Granted::default() };
    for (state, there) in [(State::Disabled, true), (State::Deregistered, false), (State::Missing, false)] {
        let mut world = World::of([share("a").accounts([1]).volumes().additive().granted_on(&image(1), &given)]);
        world.aws.image(1).state = state;
        if !there {
            world.aws.snapshots.remove(&snapshot(1));
        }
        world.settle();
        let record = Granted::on(&image(1).id, &world.cluster.status("a").granted);
        assert_eq!(record.volumes, given.volumes, "{state:?}");
        world.delete("a");
        world.settle();
        assert!(!world.has("a"), "{state:?}: it does not block a deletion");
    }
}

#[test]
fn a_share_that_has_lost_its_record_does_not_look_like_one_that_has_given_nothing() {
    let mut world = World::of([share("a").accounts([1]).held()]);
    world.aws.down = Some(Failure::unanswered("DescribeImages", "AWS did not answer in time"));
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "AwsUnavailable");
    assert_eq!(world.cluster.status("a").observed_generation, None);
    world.aws.down = None;
    world.settle();
    assert_eq!(world.ready("a").1, "Synced");
    assert_eq!(world.cluster.status("a").observed_generation, Some(1));
}

#[test]
fn an_expired_share_whose_revocation_fails_says_why() {
    let mut world = World::of([share("a").accounts([1])]);
    world.settle();
    world.aws.failing.insert(Target::Image(image(1).id), refusal("UnauthorizedOperation", "no"));
    world.edit("a", |spec| spec.expires_at = Some(crate::api::conditions::whole_seconds(crate::share::testing::now())));
    let (status, reason, message) = ready(world);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AccessDenied"));
    assert!(message.starts_with("still held by 000000000001: "), "{message}");
}

#[test]
fn an_object_that_cannot_be_read_says_why_and_loses_its_parts() {
    let mut world = World::of([share("a").unreadable()]);
    world.reconcile(&image(1));
    assert_eq!(world.ready("a").1, "InvalidSpec");
    assert!(world.ready("a").2.contains("unknown variant `Eager`"));
    let kinds: Vec<String> = conditions_of(&world).into_iter().map(|c| c.type_).collect();
    assert_eq!(kinds, ["Ready", "Stalled"]);
}

#[test]
fn when_aws_cannot_be_asked_the_parts_are_unknown_and_the_rest_of_the_status_stays() {
    let mut world = World::of([share("a").accounts([1])]);
    world.settle();
    let before = world.cluster.status("a");
    world.aws.down = Some(Failure::unanswered("DescribeImages", "AWS did not answer in time"));
    world.reconcile(&image(1));
    let after = world.cluster.status("a");
    let words = "DescribeImages got no answer: AWS did not answer in time";
    assert_eq!(world.ready("a"), said("False", "AwsUnavailable", words));
    assert_eq!(world.cluster.condition("a", ConditionType::ImageAvailable), said("Unknown", "AwsUnavailable", words));
    assert_eq!((after.image, after.granted, after.shared_with), (before.image, before.granted, before.shared_with));
}

#[test]
fn a_share_that_waits_for_its_deletion_says_for_what_and_how_to_get_out() {
    let mut world = World::of([share("a").accounts([1])]);
    world.settle();
    world.aws.failing.insert(Target::Image(image(1).id), refusal("UnauthorizedOperation", "denied by an SCP"));
    world.delete("a");
    world.reconcile(&image(1));
    let (status, reason, message) = world.ready("a");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "DeletionBlocked"));
    let expected = "what was given to 000000000001 is not yet taken back: held by 000000000001: ModifyImageAttribute was \
                    refused: UnauthorizedOperation: denied by an SCP; to delete the object and leave AWS as it is, annotate it \
                    with amishare.dev/on-delete=abandon";
    assert_eq!(message, expected);
    assert_eq!(types(&world), ["Stalled"]);
    world.aws.failing.clear();
    world.reconcile(&image(1));
    assert!(!world.has("a"));
}

#[test]
fn a_share_that_has_moved_says_what_is_still_to_be_taken_back_elsewhere() {
    let mut world = World::of([share("a").accounts([1])]);
    world.settle();
    world.edit("a", |spec| spec.image.id = Some(image(2).id));
    world.reconcile(&image(2));
    let words = "what was given on ami-00000001 is still to be taken back";
    assert_eq!(world.ready("a"), said("False", "Progressing", words));
    world.settle();
    assert_eq!((world.ready("a").0.as_str(), world.launch()), ("True", accounts([])));
}

#[test]
fn a_new_generation_is_acted_on_in_sight_and_the_repair_of_drift_is_not() {
    let mut world = World::of([share("a").accounts([1])]);
    let claims = world.cluster.claims(&image(1));
    let before = world.aws.observe(&image(1), &claims).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    world.cluster.secure(&image(1), &claims, &plan, 1);
    assert_eq!(world.ready("a"), said("Unknown", "Progressing", "acting on the spec"));
    assert_eq!(types(&world), ["Reconciling"]);
    world.settle();
    let granted = Granted { launch: accounts([2]), ..Granted::default() };
    let (old, generation) = (world.cluster.status("a"), 1);
    let subject = Subject { old: &old, generation, requested_at: None, selected: None };
    let status = progressing(subject, &granted, &image(1), crate::share::testing::now());
    assert_eq!(status.conditions, old.conditions);
    assert_eq!(Granted::on(&image(1).id, &status.granted).launch, accounts([1, 2]), "what was on record stays");
}

#[test]
fn the_request_to_reconcile_is_echoed_within_its_bound() {
    let old = AmiShareStatus::default();
    let mut object = share("a").generation(7).annotated(crate::api::REQUESTED_AT, &"ä".repeat(300)).build();
    let subject = Subject { old: &old, generation: 7, requested_at: object.requested_at(), selected: None };
    let status = suspended(subject, crate::share::testing::now());
    assert_eq!(status.last_handled_reconcile_at.as_ref().unwrap().chars().count(), 256);
    assert_eq!(status.observed_generation, Some(7));
    crate::share::testing::share::store_status(&mut object, status);
    assert!(object.is_dealt_with());
}
