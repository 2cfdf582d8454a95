//! The order of what is given and taken, with the keys: nobody holds an image that they cannot launch because of it, whatever fails.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::subsequence};

use super::super::{
    observed::Target,
    outcome::Outcome,
    testing::{
        account, accounts,
        arbitrary::{any_case, config},
        aws::{Encryption, State},
        grants_on, image,
        rules::listed,
        share::share,
        world::World,
    },
};
use crate::{
    api::{ConditionType, Principal},
    aws::failure::Failure,
};

fn targets() -> Vec<Target> {
    let grants = [false, true].map(|lean| Target::Grants(grants_on(lean)));
    grants.into_iter().chain([Target::Image(image(1).id)]).collect()
}

/// Those who hold a grant that is enough for a launch.
fn with_key(world: &World) -> BTreeSet<Principal> {
    [false, true].into_iter().flat_map(|lean| world.aws.held(&Target::Grants(grants_on(lean)))).collect()
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn nobody_holds_an_image_without_its_key_because_of_our_order(
        case in any_case(), failing in subsequence(targets(), 0..=2),
    ) {
        let mut world = case.world();
        for number in 1..=4 {
            world.aws.snapshots.entry(super::super::testing::snapshot(number)).or_default();
        }
        let known = world.aws.image(1);
        (known.state, known.encryption) = (State::Available, Encryption::CustomerKey);
        let failure = Failure::answered("CreateGrant", "AccessDeniedException", "no");
        world.aws.failing.extend(failing.into_iter().map(|target| (target, failure.clone())));

        let Some((claims, before)) = world.look(&image(1)) else { return Ok(()) };
        let plan = world.cluster.plan(&image(1), &claims, &before);
        let (had_image, had_key) = (world.launch(), with_key(&world));
        let wants = |p: &Principal| {
            let wants = |c: &super::super::claim::Claim| {
                c.standing.writes() && [false, true].iter().any(|l| listed(c, &Target::Grants(grants_on(*l)), p))
            };
            claims.iter().any(wants)
        };
        let is_image = |target: &Target| matches!(target, Target::Image(_));
        let loses = |p: &Principal| plan.changes.iter().any(|c| is_image(&c.target) && c.remove.contains(p));
        let mut outcome = Outcome::default();
        for planned in &plan.changes {
            if let Some(change) = outcome.without_the_impossible(planned, &plan) {
                world.aws.change(&change, &mut outcome);
            }
            let keys = with_key(&world);
            for holder in world.launch().iter().filter(|p| matches!(p, Principal::Account(_))) {
                let is_new = !had_image.contains(holder) && wants(holder);
                let had_both = had_image.contains(holder) && had_key.contains(holder);
                let stays_usable = had_both && (wants(holder) || loses(holder));
                prop_assert!(keys.contains(holder) || !(is_new || stays_usable), "{:?} after {}", holder, planned);
            }
        }
    }
}

fn encrypted(shares: impl IntoIterator<Item = super::super::testing::share::Build>) -> World {
    World::of(shares).with(|aws| aws.image(1).encryption = Encryption::CustomerKey)
}

const ROLE: &str = "arn:aws:iam::000000000001:role/launcher";

#[test]
fn a_role_gets_a_grant_and_nothing_else() {
    let mut world = encrypted([share("a").accounts([1]).grantee(ROLE)]);
    world.settle();
    let role: Principal = ROLE.parse().unwrap();
    assert_eq!(world.aws.held(&Target::Grants(grants_on(false))), [role].into());
    assert_eq!(world.launch(), accounts([1]));
}

#[test]
fn a_role_of_an_account_that_a_guard_rail_does_not_allow_gets_nothing_and_is_named() {
    let rules = r#"[{name: ours, namespaces: ["*"], shareWith: {accountIds: ["000000000002"]}}]"#;
    let mut world = encrypted([share("a").accounts([2]).grantee(ROLE)]).under(rules);
    world.settle();
    assert!(world.aws.held(&Target::Grants(grants_on(false))).is_empty());
    let (status, reason, message) = world.cluster.condition("a", ConditionType::KmsGrantsSynced);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "GuardrailDenied"));
    assert!(message.starts_with(&format!("not given to {ROLE}: ")), "{message}");
    let launch = world.cluster.condition("a", ConditionType::LaunchPermissionsSynced);
    assert_eq!(launch.0, "True", "it is not said to lack a launch permission");
}

#[test]
fn who_can_launch_and_who_cannot_is_counted_and_the_reasons_are_few() {
    let world = |build: super::super::testing::share::Build| {
        let mut world = encrypted([build]);
        world.settle();
        world.cluster.status("a").consumers.unwrap()
    };
    let all = world(share("a").accounts(1..=3));
    assert_eq!((all.able, all.unable, all.unknown, all.obstacles.len()), (0, 3, 0, 1));
    assert_eq!(all.obstacles[0].reason, "KmsAccessMissing");
    assert_eq!((all.obstacles[0].count, all.obstacles[0].principals.iter().next()), (3, Some(account(1))));
    let full = grants_on(false).operations.into_iter().collect::<Vec<_>>();
    let granted = world(share("a").accounts([1, 8]).grants(&full));
    assert_eq!((granted.able, granted.unable), (1, 1), "8 does not exist");
}
