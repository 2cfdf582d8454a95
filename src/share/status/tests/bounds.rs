//! Status stays small and still: bounded lists, bounded messages, and the same bytes for the same state.

use super::*;

/// The whole status of `a` as it is stored.
fn stored(world: &World) -> String {
    serde_json::to_string(&world.cluster.status("a")).unwrap()
}

#[test]
fn a_message_names_ten_and_counts_the_rest() {
    let mut world = World::of([share("a").accounts(100..125)]);
    world.aws.closed = accounts(100..125);
    let (_, _, message) = ready(world);
    assert!(message.contains("000000000109 and 15 more: "), "{message}");
    assert!(!message.contains("000000000110"), "{message}");
}

#[test]
fn at_most_twenty_pending_changes_are_listed() {
    let pending = |changes: u64| {
        let plan = Plan {
            changes: (0..changes)
                .map(|n| super::super::super::plan::Change {
                    target: Target::Snapshot(snapshot(n)),
                    add: accounts([n]),
                    remove: accounts([]),
                })
                .collect(),
            ..Plan::default()
        };
        super::super::pending(&plan, &BTreeSet::new())
    };
    assert_eq!(pending(0), Vec::<String>::new());
    assert_eq!(pending(20).len(), 20);
    assert!(pending(20)[19].starts_with("give "), "{:?}", pending(20));
    for (changes, last) in [(21, "and 2 more"), (25, "and 6 more")] {
        assert_eq!((pending(changes).len(), pending(changes)[19].as_str()), (20, last));
    }
}

#[test]
fn a_pending_change_and_a_message_are_never_longer_than_the_schema_allows() {
    let long: BTreeSet<Principal> = (0..40)
        .map(|n| {
            let (organization, unit) = (format!("{n:032}"), format!("{n:032}"));
            format!("arn:aws:organizations::123456789012:ou/o-{organization}/ou-{unit}-{unit}").parse().unwrap()
        })
        .collect();
    let mut world = World::of([share("a").lists(&long).observe()]);
    world.reconcile(&image(1));
    let status = world.cluster.status("a");
    assert!(status.pending_changes.iter().all(|change| change.chars().count() <= 1024));
    assert!(status.conditions.iter().all(|c| c.message.len() <= 2048));
    assert_eq!(status.pending_changes[0].chars().count(), 1024, "it was cut");
}

#[test]
fn a_failure_that_differs_in_its_request_id_alone_is_stored_as_the_same_bytes() {
    let with_id = |id: &str| refusal("UnauthorizedOperation", &format!("You are not authorized (request {id})."));
    let mut world = failing(with_id("59dbff89-35bd-4eac-99ed-be587ed81825"));
    world.reconcile(&image(1));
    let first = stored(&world);
    world.aws.failing.insert(Target::Image(image(1).id), with_id("60bc441d-fa2c-494d-b155-5d6a3fe81825"));
    let writes = world.cluster.writes;
    world.cluster.now = world.cluster.now.saturating_add(k8s_openapi::jiff::SignedDuration::from_mins(5)).unwrap();
    world.reconcile(&image(1));
    assert_eq!(stored(&world), first);
    assert!(first.contains("You are not authorized"), "{first}");
    assert_eq!(world.cluster.writes, writes, "nothing has changed");
}

#[test]
fn the_same_failures_in_another_order_are_stored_as_the_same_bytes() {
    let status = |turned: bool| {
        let mut world = World::of([share("a").accounts([1, 2, 8]).volumes()]);
        let (claims, before) = world.look(&image(1)).unwrap();
        let mut plan = world.cluster.plan(&image(1), &claims, &before);
        let failed = |(index, change): (usize, &super::super::super::plan::Change)| {
            (change.clone(), refusal(["InternalError", "UnauthorizedOperation", "Other"][index % 3], "no"))
        };
        let mut failed: Vec<_> = plan.changes.iter().enumerate().map(failed).collect();
        if turned {
            failed.reverse();
            plan.changes.reverse();
        }
        let outcome = Outcome { failed, ..Outcome::default() };
        world.cluster.finish(&image(1), &claims, &before, &plan, &outcome);
        stored(&world)
    };
    assert_eq!(status(false), status(true));
}

#[test]
fn a_status_of_the_largest_spec_fits_into_an_object() {
    let mut world = World::of([share("a").accounts(1..=5000).volumes()]);
    world.cluster.policy.launch_permission_quota = 6000;
    world.aws.quota = 6000;
    world.settle();
    assert_eq!(world.ready("a").1, "PrincipalRefused", "two of them are closed");
    assert!(stored(&world).len() < 300_000, "{}", stored(&world).len());
}
