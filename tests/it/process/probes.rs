//! Probes, metrics and logs, as Kubernetes and Prometheus see them.

use amishare::simulator::{Fault, FaultKind};
use serde_json::Value;

use crate::harness::{
    Setup, World, cluster, eventually,
    plane::Plane,
    process::Operator,
    world::{IMAGE, OWNER, REGION},
};

const ONE_ACCOUNT: &str = "  shareWith: {accountIds: [\"111122223333\"]}";

#[tokio::test]
async fn probes_answer_and_metrics_have_the_names_that_the_docs_promise() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &[]).await;
    assert_eq!(operator.get("/healthz").await, (200, "ok\n".into()));
    assert_eq!(operator.get("/readyz").await, (200, "ok\n".into()));
    world.apply("base", ONE_ACCOUNT).await;
    world.wait_ready("base", "True", "Synced").await;
    operator.counts(&["amishare_reconcile_total{controller=\"amishare\",result=\"success\"} 1"]).await;
    operator.counts(&["amishare_reconcile_duration_seconds_count{controller=\"amishare\"} 1"]).await;
    for operation in ["DescribeImages", "DescribeImageAttribute", "ModifyImageAttribute"] {
        let series =
            format!("amishare_aws_requests_total{{service=\"ec2\",operation=\"{operation}\",region=\"{REGION}\"");
        operator.counts(&[&series, "code=\"OK\"} 1"]).await;
    }
    operator.counts(&["amishare_kube_requests_total{verb=\"patch\",resource=\"amishares/status\",code=\"200\"}"]).await;
    let before = operator.counts(&["amishare_drift_corrected_total"]).await;
    assert_eq!(before, "amishare_drift_corrected_total 0");

    let stranger = [("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", "888877776666")];
    world.rogue(OWNER, "ModifyImageAttribute", &stranger);
    world.check_now("base").await;
    operator.counts(&["amishare_drift_corrected_total 1"]).await;
    world.wait_shared_with(&["111122223333"]).await;
    let text = operator.metrics().await;
    assert!(text.ends_with("# EOF\n"), "the OpenMetrics format has an end: {text}");
    for name in ["amishare_reconcile", "amishare_aws_requests", "amishare_status_condition"] {
        assert!(
            text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
            "{name}: {text}"
        );
    }
}

/// Waits until no series is about an object.
async fn without_series_of(name: &str, operator: &Operator) {
    let label = format!("name=\"{name}\"");
    eventually(&format!("no series has {label}"), || async {
        let text = operator.metrics().await;
        if text.contains(&label) { Err(text) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn the_condition_gauges_of_an_object_follow_its_conditions_and_go_with_it() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &[]).await;
    let series = |name: &str, kind: &str, status: &str| {
        let namespace = world.namespace();
        format!(
            "amishare_status_condition{{kind=\"AmiShare\",namespace=\"{namespace}\",name=\"{name}\",type=\"{kind}\",status=\"{status}\"}}"
        )
    };
    world.apply("base", ONE_ACCOUNT).await;
    operator.counts(&[&format!("{} 1", series("base", "Ready", "True"))]).await;
    operator.counts(&[&format!("{} 0", series("base", "Ready", "False"))]).await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied));
    world.kubectl(&["annotate", "amishare", "base", "reconcile.amishare.dev/requestedAt=now"]).await;
    operator.counts(&[&format!("{} 0", series("base", "Ready", "True"))]).await;
    world.aws.clear_faults();
    world.kubectl(&["delete", "amishare", "base", "--wait=false"]).await;
    without_series_of("base", &operator).await;
}

#[tokio::test]
async fn an_object_that_is_deleted_while_its_image_is_looked_at_leaves_no_gauges() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &[]).await;
    world.aws.add_fault(Fault::new(FaultKind::Delay { milliseconds: 4000 }).on("DescribeImages").times(1));
    // It holds no finalizer, so it goes at once.
    world.apply("observer", &format!("{ONE_ACCOUNT}\n  mode: Observe")).await;
    eventually("the image is being looked at", || async {
        if world.aws.calls().is_empty() { Err("no call") } else { Ok(()) }
    })
    .await;
    world.kubectl(&["delete", "amishare", "observer", "--wait=false"]).await;
    world.wait_gone("observer").await;
    // It is counted when it has ended.
    operator.counts(&["amishare_reconcile_total{controller=\"amishare\""]).await;
    without_series_of("observer", &operator).await;
}

#[tokio::test]
async fn logs_are_json_where_no_person_reads_them_and_text_on_demand() {
    let world = World::without_operator(Setup::default()).await;
    let json = Operator::of(&world, &[]).await;
    world.apply("base", ONE_ACCOUNT).await;
    world.wait_ready("base", "True", "Synced").await;
    let line = json.process.logged("will ").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["image"].as_str().unwrap().contains(IMAGE)),
        (Some("INFO"), true),
        "{line}"
    );
    assert!(line["timestamp"].is_string() && line["message"].as_str().unwrap().contains("111122223333"), "{line}");
    json.process.signal("INT");
    let Operator { mut process, .. } = json;
    assert_eq!(process.ended().await.code(), Some(0));
    assert_eq!(process.stdout(), "", "logs go to standard error");
    for line in process.stderr().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }

    let text = Operator::of(&world, &["--log-format=text", "--log=info,amishare=debug"]).await;
    let line = text.process.logged("all AmiShares are known").await;
    assert!(line.contains(" INFO ") && line.contains(world.namespace()) && !line.contains('{'), "{line}");
    assert!(!line.contains('\u{1b}'), "colours are for terminals: {line:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_definitions_it_says_what_it_waits_for_and_begins_when_they_come() {
    let plane = Plane::start().await;
    let operator = plane.operator(&[]).await;
    let install = "all namespaces: waiting for the CustomResourceDefinition amishares.amishare.dev; install it with kubectl \
                   apply --server-side -k crds";
    operator.readyz(503, install).await;
    assert_eq!(operator.get("/healthz").await.0, 200, "nothing is wrong with the process itself");
    plane.install();
    operator.ready().await;
    plane.kubectl(&["apply", "-f", "-"], &World::manifest("base", ONE_ACCOUNT));
    plane.kubectl(&["wait", "--for=condition=Ready", "amishare/base", "--timeout=60s"], "");
    assert_eq!(plane.aws.launch_permissions(REGION, IMAGE).into_iter().collect::<Vec<_>>(), ["111122223333"]);

    plane.kubectl(&["delete", "crd", "amishares.amishare.dev", "--timeout=60s"], "");
    operator.readyz(503, install).await;
    plane.install();
    operator.ready().await;
    plane.kubectl(&["apply", "-f", "-"], &World::manifest("again", ONE_ACCOUNT));
    plane.kubectl(&["wait", "--for=condition=Ready", "amishare/again", "--timeout=60s"], "");
}

#[tokio::test]
async fn without_permission_to_watch_it_says_so() {
    let world = World::without_operator(Setup::default()).await;
    let plane = cluster();
    let nobody = plane.kubeconfig_for("nobody", None).unwrap();
    let mut command = Operator::command(&nobody, &world.endpoint, &[&format!("--namespaces={}", world.namespace())]);
    let operator = Operator::start(&plane, &mut command).await;
    let waits =
        format!("namespace {}: waiting for permission to list and watch amishares.amishare.dev", world.namespace());
    operator.readyz(503, &waits).await;
}
