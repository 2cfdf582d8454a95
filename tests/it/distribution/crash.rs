//! An operator that dies at any of its calls, or never gets an answer: in the end there is one copy, and nothing else.

use amishare::simulator::{Fault, FaultKind, ImageState};
use serde_json::json;

use super::world::{
    EU, IDENTITIES, children, create, delete, held, images, snapshots, start_with, status, wait_gone, wait_ready,
    without_operator,
};
use crate::harness::{World, cluster, eventually, operators, process::Operator, world::IMAGE};

const A: &str = "111122223333";

/// What is to be left in the end: one copy that is shared, its snapshot, and its AmiShare.
async fn is_whole(world: &World, point: &str) {
    wait_ready(world, "base", "True", "Synced").await;
    let copies = images(world, EU);
    assert_eq!(copies.len(), 1, "{point}: {copies:?}");
    assert_eq!(copies[0].state, ImageState::Available, "{point}");
    assert_eq!(snapshots(world, EU).len(), 1, "{point}");
    assert_eq!(held(world, EU, &copies[0].id), [A], "{point}");
    assert_eq!(children(world).await.len(), 1, "{point}");
}

#[tokio::test]
async fn an_operator_that_is_killed_while_any_of_its_calls_is_under_way_leaves_one_copy() {
    // The calls of one that is not killed, up to the copy that is there: those that look, CopyImage, and looks at the copy.
    for skip in 0..9 {
        let world = without_operator().await;
        let spec = json!({
            "targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}, "deletionPolicy": "Delete",
        });
        create(&world, "base", spec).await;
        let namespaces = format!("--namespaces={}", world.namespace());
        let operator = || async {
            let mut command = Operator::command(&operators(&cluster()), &world.endpoint, &[&namespaces]);
            Operator::start(&cluster(), &mut command).await
        };
        // The call takes effect, and its answer is on its way for ever.
        world.aws.add_fault(Fault { skip, count: Some(1), ..Fault::new(FaultKind::Stall) });
        let first = operator().await;
        eventually("that call is made", || async {
            let calls = world.aws.calls().len();
            if calls > usize::try_from(skip).unwrap() { Ok(()) } else { Err(format!("{calls} calls")) }
        })
        .await;
        let point = format!("killed at call {skip}: {:?}", world.aws.calls().last().map(|call| call.action.clone()));
        first.process.kill();
        world.aws.clear_faults();
        let second = operator().await;
        is_whole(&world, &point).await;
        delete(&world, "base").await;
        wait_gone(&world, "base").await;
        assert!(images(&world, EU).is_empty() && snapshots(&world, EU).is_empty(), "{point}");
        second.process.kill();
    }
}

#[tokio::test]
async fn an_order_whose_answers_are_all_lost_makes_one_copy() {
    let world = super::world::start().await;
    world.aws.add_fault(Fault { count: Some(3), ..Fault::new(FaultKind::ResetAfter) }.on("CopyImage"));
    let spec = json!({"targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    is_whole(&world, "lost").await;
}

#[tokio::test]
async fn a_region_that_does_not_answer_holds_up_no_other() {
    let world = super::world::start().await;
    world.aws.add_fault(Fault {
        region: Some("us-west-2".into()),
        ..Fault::new(FaultKind::ServerError { status: 503, html: true })
    });
    let targets = json!([{"name": "us", "region": "us-west-2"}, {"name": "eu", "region": EU}]);
    create(&world, "base", json!({"targets": targets})).await;
    eventually("eu is ready", || async {
        let seen = status(&world, "base").await;
        if seen.targets.iter().any(|line| line.name == "eu" && line.ready) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    wait_ready(&world, "base", "False", "AwsUnavailable").await;
    world.aws.clear_faults();
    wait_ready(&world, "base", "True", "Synced").await;
}

#[tokio::test]
async fn who_may_not_be_opened_the_source_gets_no_copy_and_is_told_why() {
    let rule = r#"guardrails: [{name: ours, namespaces: ["*"], shareWith: {accountIds: ["111122223333"]}}]"#;
    let world = start_with(&format!("{IDENTITIES}{rule}\n")).await;
    create(&world, "base", json!({"targets": [{"name": "prod", "region": EU, "identity": "prod"}]})).await;
    let ready = wait_ready(&world, "base", "False", "GuardrailDenied").await;
    assert!(ready.message.contains("ours"), "{}", ready.message);
    assert!(images(&world, EU).is_empty() && held(&world, "us-east-1", IMAGE).is_empty());
}
