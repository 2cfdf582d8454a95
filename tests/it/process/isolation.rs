//! Trouble in one place stays there, and ends with its cause.

use amishare::simulator::{Fault, FaultKind};

use crate::harness::{
    Setup, World, eventually,
    plane::Plane,
    process::Operator,
    world::{IMAGE, OWNER, REGION},
};

const TWO_REGIONS: &str = r#"
accounts: [{id: "999988887777"}]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden}
  - {id: ami-0123456789abcdef1, region: eu-west-1, owner: "999988887777", name: golden}
"#;
const IN_EUROPE: &str = "
apiVersion: amishare.dev/v1alpha1
kind: AmiShare
metadata: {name: europe}
spec:
  region: eu-west-1
  image: {id: ami-0123456789abcdef1}
  shareWith: {accountIds: [\"111122223333\"]}
";
const ONE_ACCOUNT: &str = "  shareWith: {accountIds: [\"111122223333\"]}";

/// Waits until AWS has been asked at all.
async fn asked(world: &World, action: &str) {
    eventually(&format!("{action} is called"), || async {
        let calls = world.calls_by_action();
        if calls.contains_key(action) { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_region_that_does_not_answer_does_not_stop_another_one() {
    let world = World::without_operator(Setup { scenario: TWO_REGIONS, ..Setup::default() }).await;
    let operator = Operator::of(&world, &[]).await;
    world.aws.add_fault(Fault::new(FaultKind::Stall).in_region(REGION));
    world.apply("america", ONE_ACCOUNT).await;
    asked(&world, "DescribeImages").await;
    world.apply_in(world.namespace(), IN_EUROPE).await.unwrap();
    world.wait_ready("europe", "True", "Synced").await;
    let metrics = operator.metrics().await;
    assert!(!metrics.contains("amishare_reconcile_errors_total{"), "the first one hangs to this moment: {metrics}");
    assert!(world.launch_permissions(IMAGE).is_empty());
    assert_eq!(operator.get("/readyz").await.0, 200, "AWS is nothing that a restart would mend");
}

#[tokio::test]
async fn work_that_hangs_is_given_up_at_its_deadline_and_done_when_aws_answers_again() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &["--reconcile-deadline=1s"]).await;
    world.aws.add_fault(Fault::new(FaultKind::Stall));
    world.apply("base", ONE_ACCOUNT).await;
    operator.counts(&["amishare_reconcile_errors_total{controller=\"amishare\",reason=\"Deadline\"}"]).await;
    operator.process.logged("not done after 1 s").await;
    world.aws.clear_faults();
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&["111122223333"]).await;
}

#[tokio::test]
async fn an_image_whose_call_hangs_does_not_stop_another_image_in_its_region() {
    let scenario = r#"
accounts: [{id: "999988887777"}]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden}
  - {id: ami-0123456789abcdef1, region: us-east-1, owner: "999988887777", name: silver}
"#;
    let world = World::without_operator(Setup { scenario, ..Setup::default() }).await;
    let _operator = Operator::of(&world, &[]).await;
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("DescribeImageAttribute").times(1));
    world.apply("hangs", ONE_ACCOUNT).await;
    asked(&world, "DescribeImageAttribute").await;
    let other = World::manifest("works", ONE_ACCOUNT).replace(IMAGE, "ami-0123456789abcdef1");
    world.apply_in(world.namespace(), &other).await.unwrap();
    world.wait_ready("works", "True", "Synced").await;
    assert!(world.launch_permissions(IMAGE).is_empty(), "the first one still waits for its answer");
    world.wait_ready("hangs", "True", "Synced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_api_server_does_not_answer_nothing_is_changed_and_afterwards_all_goes_on() {
    let mut plane = Plane::start().await;
    plane.install();
    let operator = plane.operator(&[]).await;
    operator.ready().await;
    plane.kubectl(&["apply", "-f", "-"], &World::manifest("base", &format!("{ONE_ACCOUNT}\n  interval: 10s")));
    plane.kubectl(&["wait", "--for=condition=Ready", "amishare/base", "--timeout=60s"], "");
    plane.control.pause_api_server().unwrap();
    let stranger = [("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", "888877776666")];
    plane.aws.call(OWNER, REGION, "ModifyImageAttribute", &stranger).unwrap();
    let shared_with = |accounts: &'static [&'static str]| {
        let aws = plane.aws.clone();
        eventually("the image is shared as the spec says", move || {
            let held: Vec<String> = aws.launch_permissions(REGION, IMAGE).into_iter().collect();
            async move { if held == accounts { Ok(()) } else { Err(format!("{held:?}")) } }
        })
    };
    // Whether the spec that it knows is still the newest cannot be told, so it does not act on it.
    operator.process.logged("no answer within 15 s").await;
    shared_with(&["111122223333", "888877776666"]).await;
    assert_eq!(operator.get("/healthz").await.0, 200, "a restart would mend nothing");

    plane.control.resume_api_server().unwrap();
    let more = World::manifest("base", "  shareWith: {accountIds: [\"111122223333\", \"444455556666\"]}");
    plane.kubectl(&["apply", "-f", "-"], &more);
    shared_with(&["111122223333", "444455556666"]).await;
    let observed = "--for=jsonpath={.status.observedGeneration}=2";
    plane.kubectl(&["wait", observed, "amishare/base", "--timeout=60s"], "");
    plane.kubectl(&["wait", "--for=condition=Ready", "amishare/base", "--timeout=60s"], "");
    operator.ready().await;
}
