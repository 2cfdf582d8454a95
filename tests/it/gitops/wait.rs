//! What a script waits for with kubectl.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Setup, World, process::Operator, world::IMAGE};

const A: &str = "111111111111";
const B: &str = "222222222222";
const STRANGER: &str = "666666666666";

const READY: &str = "--for=condition=Ready";

/// What `kubectl wait` says of an AmiShare that it looks at once.
async fn looks(world: &World, what: &str) -> Result<String, String> {
    world.kubectl_in(world.namespace(), &["wait", what, "amishare/base", "--timeout=0s"], "").await
}

/// Waits for it as long as a script would.
async fn waits(world: &World, what: &str) {
    world.kubectl_in(world.namespace(), &["wait", what, "amishare/base", "--timeout=60s"], "").await.unwrap();
}

fn is_not_met(said: Result<String, String>) {
    let refusal = said.unwrap_err();
    assert!(refusal.contains("condition not met for amishares/base"), "{refusal}");
}

#[tokio::test]
async fn kubectl_wait_for_ready_never_passes_on_what_was_said_of_an_older_spec() {
    let mut world = World::without_operator(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    is_not_met(looks(&world, READY).await);
    world.start_operator().await;
    waits(&world, READY).await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([A.into()]));
    looks(&world, READY).await.unwrap();

    world.stop_operator().await;
    world.change("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    is_not_met(looks(&world, READY).await);
    // Why docs/gitops.md warns of it: a path looks at the status and not at whose it is.
    looks(&world, r#"--for=jsonpath={.status.conditions[?(@.type=="Ready")].status}=True"#).await.unwrap();

    // It passes only once the change is in force, whichever of the two is there first.
    let (done, _operator) = tokio::join!(
        async {
            waits(&world, READY).await;
            world.launch_permissions(IMAGE)
        },
        Operator::of(&world, &[]),
    );
    assert_eq!(done, BTreeSet::from([A.into(), B.into()]));
}

#[tokio::test]
async fn a_script_that_has_requested_a_check_waits_for_its_own_request() {
    let mut world = World::start(Setup::default()).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.stop_operator().await;
    world.stranger_gives(&[STRANGER]);
    world
        .kubectl(&["annotate", "amishare", "base", "reconcile.amishare.dev/requestedAt=2026-11-21T08:00:00+00:00"])
        .await;
    // A request is no change of the spec: what was said before it still counts as Ready.
    looks(&world, READY).await.unwrap();
    let handled = "--for=jsonpath={.status.lastHandledReconcileAt}=2026-11-21T08:00:00+00:00";
    is_not_met(looks(&world, handled).await);

    world.start_operator().await;
    waits(&world, handled).await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([A.into()]));
}
