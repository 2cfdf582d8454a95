//! What an object says about an image, for every standing.

use super::*;
use crate::{
    api::conditions::Verdict,
    aws::failure::Failure,
    share::{
        observed::Target,
        testing::{
            account, accounts, image, now, organization,
            share::{Build, share},
            snapshot,
            world::{World, guardrails_of},
        },
    },
};

/// A policy that forbids nothing.
fn lenient() -> Policy {
    Policy { allow_public: true, ..Policy::default() }
}

fn claim(build: Build) -> Claim {
    Claim::on(&image(1), &build.build(), now(), &lenient()).expect("a claim")
}

fn no_claim(build: Build) -> bool {
    Claim::on(&image(1), &build.build(), now(), &lenient()).is_none()
}

fn lists(build: Build) -> BTreeSet<Principal> {
    claim(build).lists
}

#[test]
fn the_mode_is_the_standing_of_a_share_that_is_acted_on() {
    assert_eq!(claim(share("a")).standing, Standing::Authoritative);
    assert_eq!(claim(share("a").additive()).standing, Standing::Additive);
    assert_eq!(claim(share("a").observe()).standing, Standing::Observing);
}

#[test]
fn a_share_says_nothing_about_an_image_that_it_neither_names_nor_has_given_anything_on() {
    assert!(no_claim(share("a").of(&image(2))));
    assert!(no_claim(share("a").of(&image(2)).deleting()));
    assert!(no_claim(share("a").of(&image(2)).unreadable()));
}

#[test]
fn a_share_says_nothing_about_an_image_of_the_same_id_in_another_region() {
    let elsewhere = ImageRef { site: Site::own("eu-west-1".parse().unwrap()), ..image(1) };
    assert!(no_claim(share("a").of(&elsewhere).gave([1])));
}

#[test]
fn a_claim_lists_every_kind_of_principal_and_only_accounts_for_volumes() {
    let all: BTreeSet<Principal> = accounts([1]).into_iter().chain([organization(), Principal::Everyone]).collect();
    let claim = claim(share("a").lists(&all).volumes());
    assert_eq!(claim.lists, all);
    assert_eq!(claim.lists_for_volumes, Some(accounts([1])));
}

#[test]
fn a_claim_without_create_volume_permission_has_no_list_for_volumes() {
    assert_eq!(claim(share("a").accounts([1])).lists_for_volumes, None);
}

#[test]
fn a_claim_has_on_record_what_its_status_says_about_this_image_and_no_other() {
    let given =
        |n| Granted { launch: accounts([n]), volumes: [(snapshot(n), accounts([n]))].into(), ..Granted::default() };
    let object = share("a").granted_on(&image(1), &given(1)).granted_on(&image(2), &given(2));
    assert_eq!(claim(object).granted, given(1));
}

#[test]
fn a_share_that_is_deleted_takes_back_what_it_gave_and_lists_nobody() {
    let claim = claim(share("a").accounts([1]).volumes().gave([1]).deleting());
    assert_eq!((claim.standing, claim.lists), (Standing::Leaving, BTreeSet::new()));
    assert_eq!(claim.lists_for_volumes, Some(BTreeSet::new()));
}

#[test]
fn a_share_that_is_deleted_leaves_aws_as_it_is_when_its_policy_its_mode_or_its_annotation_says_so() {
    for build in [share("a").retain(), share("a").observe(), share("a").abandoned()] {
        assert_eq!(claim(build.gave([1]).deleting()).standing, Standing::LeavingAsItIs);
    }
}

#[test]
fn the_annotation_has_no_effect_before_the_share_is_deleted() {
    assert_eq!(claim(share("a").abandoned()).standing, Standing::Authoritative);
    assert_eq!(claim(share("a").of(&image(2)).gave([1]).abandoned()).standing, Standing::Leaving);
}

#[test]
fn a_suspended_share_that_is_deleted_follows_its_deletion_policy() {
    assert_eq!(claim(share("a").suspended().deleting()).standing, Standing::Leaving);
    assert_eq!(claim(share("a").suspended().retain().deleting()).standing, Standing::LeavingAsItIs);
}

#[test]
fn a_suspended_share_lists_whom_its_spec_lists_even_when_its_time_is_over() {
    let claim = claim(share("a").accounts([1]).volumes().suspended().expired());
    assert_eq!((claim.standing, claim.expired), (Standing::Suspended, false));
    assert_eq!((claim.lists, claim.lists_for_volumes), (accounts([1]), Some(accounts([1]))));
}

#[test]
fn a_share_lists_nobody_from_the_very_instant_at_which_it_expires() {
    assert_eq!(lists(share("a").accounts([1]).ends(1)), accounts([1]));
    for end in [0, -1] {
        let claim = claim(share("a").accounts([1]).volumes().ends(end));
        assert!(claim.expired && claim.lists.is_empty(), "{end}");
        // It takes back what it gave, and no longer decides over what others give.
        assert_eq!((claim.standing, claim.lists_for_volumes), (Standing::Additive, Some(BTreeSet::new())));
    }
}

#[test]
fn an_expired_share_that_is_deleted_or_has_moved_is_not_reported_as_expired() {
    assert!(!claim(share("a").expired().deleting()).expired);
    assert!(!claim(share("a").expired().of(&image(2)).gave([1])).expired);
}

#[test]
fn a_share_that_has_moved_takes_back_what_it_gave_or_retains_it_and_lists_nobody_here() {
    let moved = || share("a").accounts([1]).of(&image(2)).gave([1]);
    assert_eq!(claim(moved()).standing, Standing::Leaving);
    assert_eq!(claim(moved().additive()).standing, Standing::Leaving);
    assert_eq!(claim(moved().retain()).standing, Standing::LeavingAsItIs);
    assert_eq!(lists(moved()), BTreeSet::new());
}

#[test]
fn a_share_that_has_moved_takes_nothing_back_in_mode_observe() {
    let moved = claim(share("a").of(&image(2)).gave([1]).observe());
    assert_eq!(moved.standing, Standing::Suspended, "and does not report on the image that it has left");
    let retained = claim(share("a").of(&image(2)).gave([1]).observe().retain());
    assert_eq!(retained.standing, Standing::LeavingAsItIs);
}

#[test]
fn a_share_that_has_moved_and_is_suspended_keeps_its_record_and_lists_nobody_here() {
    let moved = claim(share("a").accounts([1]).of(&image(2)).gave([1]).suspended());
    assert_eq!((moved.standing, moved.lists), (Standing::Suspended, BTreeSet::new()));
    assert_eq!(moved.granted.launch, accounts([1]));
}

#[test]
fn a_share_whose_image_has_to_be_found_is_on_the_one_that_was_found_by_what_its_spec_says() {
    let found = share("a").accounts([1]).finds("golden*", Some(&image(1)));
    assert_eq!(claim(found.clone()).standing, Standing::Authoritative);
    assert_eq!(claim(found.clone().additive()).standing, Standing::Additive);
    let mut object = found.build();
    crate::share::testing::share::edit(&mut object, |spec| spec.image.name = Some("silver*".into()));
    assert_eq!(named(&object), None, "what was found before is not what is meant now");
    assert_eq!(Claim::on(&image(1), &object, now(), &lenient()), None);
}

#[test]
fn a_share_keeps_the_image_before_for_whom_it_lists_until_the_one_that_it_has_to_find_is_shared() {
    for found in [None, Some(&image(2))] {
        let waits = claim(share("a").accounts([1, 3]).gave([1, 2]).finds("golden*", found));
        assert_eq!((waits.standing, &waits.lists), (Standing::Waiting, &accounts([1])), "3 was given nothing here");
        assert!(waits.has_to_take(), "2 is not listed any more");
        assert!(!claim(share("a").accounts([1]).gave([1]).finds("golden*", found)).has_to_take());
    }
    let mut object = share("a").accounts([1]).gave([1]).finds("golden*", Some(&image(2))).build();
    let mut status = object.status();
    status.image = Some(ImageStatus {
        id: image(2).id,
        name: None,
        owner_id: None,
        state: "available".into(),
        public: false,
        encrypted: false,
        snapshot_ids: [].into_iter().collect(),
        kms_key_arns: [].into_iter().collect(),
    });
    status.conditions = crate::api::conditions::conditions(
        &[],
        PARTS.map(|part| (part, Verdict::yes(Reason::Synced, "shared"))),
        1,
        now(),
    );
    crate::share::testing::share::store_status(&mut object, status.clone());
    let on = |object: &Stored| Claim::on(&image(1), object, now(), &lenient()).unwrap().standing;
    assert_eq!(on(&object), Standing::Leaving, "the new one is shared");
    status.conditions[1].status = "False".into();
    crate::share::testing::share::store_status(&mut object, status);
    assert_eq!(on(&object), Standing::Waiting);
}

#[test]
fn a_share_without_its_image_lets_go_of_the_one_before_when_it_is_over_or_may_not_share_at_all() {
    let waits = || share("a").accounts([1]).gave([1]).finds("golden*", None);
    assert_eq!(claim(waits().expired()).standing, Standing::Leaving);
    assert_eq!(claim(waits().deleting()).standing, Standing::Leaving);
    assert_eq!(claim(waits().suspended()).standing, Standing::Suspended);
    assert_eq!(claim(waits().observe()).standing, Standing::Suspended);
    assert_eq!(claim(waits().observe().retain()).standing, Standing::Suspended);
    assert_eq!(claim(waits().retain()).standing, Standing::Waiting, "which of the two it is to retain is not known");
    let found = share("a").accounts([1]).gave([1]).finds("golden*", Some(&image(2)));
    assert_eq!(claim(found.clone().retain()).standing, Standing::LeavingAsItIs);
    assert_eq!(claim(found.expired()).standing, Standing::Leaving);
    assert_eq!(kept_off(waits()).standing, Standing::Leaving);
}

#[test]
fn an_unreadable_object_protects_whom_it_lists_and_whom_it_gave_the_image() {
    let claim = claim(share("a").accounts([1]).public().gave([2]).unreadable());
    assert_eq!(claim.standing, Standing::Unreadable);
    assert_eq!(claim.lists, [account(1), account(2), Principal::Everyone].into());
    assert_eq!(claim.lists_for_volumes, Some(accounts([1, 2])), "a snapshot is never given to everyone");
}

#[test]
fn an_unreadable_object_protects_whom_it_lists_on_every_image_on_which_it_has_given_something() {
    let claim = claim(share("a").accounts([1]).of(&image(2)).gave([2]).unreadable());
    assert_eq!((claim.standing, claim.lists), (Standing::Unreadable, accounts([1, 2])));
}

#[test]
fn an_unreadable_object_can_be_deleted_with_or_without_taking_back() {
    let gone = claim(share("a").accounts([1]).gave([1]).unreadable().deleting());
    assert_eq!((gone.standing, gone.lists), (Standing::Leaving, BTreeSet::new()));
    let abandoned = claim(share("a").gave([1]).abandoned().unreadable().deleting());
    assert_eq!(abandoned.standing, Standing::LeavingAsItIs);
    let retained = claim(share("a").gave([1]).retain().unreadable().deleting());
    assert_eq!(retained.standing, Standing::LeavingAsItIs);
}

#[test]
fn a_share_that_names_its_image_in_an_unknown_way_protects_whom_it_lists_and_gave() {
    let claim = claim(share("a").accounts([1]).gave([2]).of_no_image());
    assert_eq!((claim.standing, claim.lists), (Standing::Unreadable, accounts([1, 2])));
    assert_eq!(claim.lists_for_volumes, Some(accounts([1, 2])));
}

#[test]
fn an_attempt_that_failed_or_never_ended_is_unfinished_until_it_succeeds() {
    let mut world = World::of([share("a").accounts([1])]);
    let unfinished = |world: &World| world.cluster.claims(&image(1))[0].unfinished;
    assert!(!unfinished(&world));
    let (claims, before) = world.look(&image(1)).unwrap();
    let plan = world.cluster.plan(&image(1), &claims, &before);
    world.cluster.secure(&image(1), &claims, &plan, 1);
    assert!(unfinished(&world), "it has begun");
    for code in ["RequestLimitExceeded", "InternalError", "UnauthorizedOperation"] {
        let failure = Failure::answered("ModifyImageAttribute", code, "no");
        world.aws.failing.insert(Target::Image(image(1).id), failure);
        world.reconcile(&image(1));
        assert!(unfinished(&world), "{code}");
    }
    world.aws.failing.clear();
    world.reconcile(&image(1));
    assert!(!unfinished(&world));
}

#[test]
fn aws_is_looked_at_for_whoever_acts_or_observes_and_for_whoever_has_something_to_take_back() {
    for (build, needs) in [
        (share("a"), true),
        (share("a").additive(), true),
        (share("a").observe(), true),
        (share("a").gave([1]).deleting(), true),
        (share("a").deleting(), false),
        (share("a").gave([1]).retain().deleting(), false),
        (share("a").gave([1]).suspended(), false),
        (share("a").unreadable(), false),
    ] {
        let claim = claim(build);
        assert_eq!(claim.needs_aws(), needs, "{:?}", claim.standing);
    }
}

#[test]
fn an_object_concerns_the_image_that_it_names_and_those_on_which_it_has_given_something() {
    let object = share("a").of(&image(2)).gave([1]);
    assert_eq!(images(&object.clone().build()), [image(1), image(2)].into());
    assert_eq!(images(&object.unreadable().build()), [image(1), image(2)].into());
}

/// What a share says where a rule keeps its namespace out of the Region.
fn kept_off(build: Build) -> Claim {
    let guardrails = guardrails_of(r#"[{name: elsewhere, namespaces: ["*"], regions: [eu-west-1]}]"#);
    Claim::on(&image(1), &build.build(), now(), &Policy { guardrails, ..lenient() }).expect("a claim")
}

#[test]
fn a_share_that_is_kept_off_its_image_lists_nobody_and_has_no_say_over_what_others_gave() {
    let claim = kept_off(share("a").accounts([1, 2]).volumes());
    assert_eq!((claim.standing, claim.lists, claim.lists_for_volumes), (Standing::Additive, BTreeSet::new(), None));
    assert_eq!(claim.forbidden.keys().cloned().collect::<BTreeSet<_>>(), accounts([1, 2]));
    assert_eq!(claim.barred.unwrap().reason, Reason::GuardrailDenied);
}

#[test]
fn a_share_that_is_kept_off_has_aws_looked_at_only_to_take_back_what_is_on_its_record() {
    for build in [share("a"), share("a").accounts([1]), share("a").additive(), share("a").observe()] {
        let claim = kept_off(build);
        assert!(claim.is_off() && !claim.needs_aws(), "{claim:?}");
    }
    for build in [share("a").gave([1]), share("a").additive().accounts([1]).gave([1]), share("a").gave([1]).deleting()]
    {
        let claim = kept_off(build);
        assert!(!claim.is_off() && claim.needs_aws(), "{claim:?}");
    }
}

#[test]
fn a_share_that_is_kept_off_takes_back_what_it_gave_on_an_image_that_it_has_left_even_if_it_is_suspended() {
    for build in [share("a").suspended(), share("a").observe(), share("a")] {
        let claim = kept_off(build.of(&image(2)).gave([1]));
        assert_eq!((claim.standing, claim.needs_aws()), (Standing::Leaving, true));
    }
}

#[test]
fn a_share_that_is_kept_off_cannot_have_anything_taken_back_by_pretending_to_have_lost_its_record() {
    for build in [share("a").accounts([1]).volumes().held(), share("a").accounts([1]).held().deleting()] {
        let claim = kept_off(build);
        assert!(claim.granted.is_empty() && claim.unrecorded.is_empty() && !claim.needs_aws(), "{claim:?}");
    }
}
