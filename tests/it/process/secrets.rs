//! What must not be seen anywhere: credentials, and account ids where they would be kept for long.

use std::collections::BTreeSet;

use amishare::simulator::{Fault, FaultKind};

use crate::harness::{
    Setup, World, cluster, operators,
    process::Operator,
    world::{IMAGE, OWNER},
};

const SECRET_KEY: &str = "SecretKeyThatMustNotBeSeen0123456789+/=";
const SESSION_TOKEN: &str = "SessionTokenThatMustNotBeSeen9876543210==";

/// The token of the kubeconfig.
fn kubernetes_token() -> String {
    let kubeconfig = std::fs::read_to_string(operators(&cluster())).unwrap();
    let (_, rest) = kubeconfig.split_once("token").unwrap();
    let is_end = |c: char| c == '"' || c.is_whitespace();
    let token = rest.trim_start_matches(['"', ':', ' ']).split(is_end).next().unwrap_or_default().to_owned();
    assert!(token.len() >= 16, "no token in the kubeconfig: {kubeconfig}");
    token
}

/// Runs through success, refusal, server errors and deletion with a log filter, and returns all that can be read afterwards.
async fn everything_said(filter: &str) -> (World, Vec<(&'static str, String)>) {
    let world = World::without_operator(Setup::default()).await;
    let namespaces = format!("--namespaces={}", world.namespace());
    let mut command =
        Operator::command(&operators(&cluster()), &world.endpoint, &[&namespaces, &format!("--log={filter}")]);
    command.env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_SESSION_TOKEN", SESSION_TOKEN);
    let operator = Operator::start(&cluster(), &mut command).await;
    operator.ready().await;
    world.aws.add_fault(Fault::new(FaultKind::ServerError { status: 502, html: true }).on("DescribeImages").times(1));
    world.aws.add_fault(Fault::new(FaultKind::ResetAfter).on("ModifyImageAttribute").times(1));
    world.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    world.wait_ready("base", "True", "Synced").await;
    world.rogue(
        OWNER,
        "ModifyImageAttribute",
        &[("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", "888877776666")],
    );
    world.check_now("base").await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied));
    world.kubectl(&["annotate", "--overwrite", "amishare", "base", "reconcile.amishare.dev/requestedAt=again"]).await;
    world.wait_ready("base", "False", "AccessDenied").await;
    let kubernetes = world.kubectl(&["get", "amishares,events", "-o", "json", "--show-managed-fields"]).await;
    let metrics = operator.metrics().await;
    operator.process.signal("TERM");
    let Operator { mut process, .. } = operator;
    assert_eq!(process.ended().await.code(), Some(0));
    let said = vec![
        ("standard output", process.stdout()),
        ("the log", process.stderr()),
        ("the objects and events", kubernetes),
        ("the metrics", metrics),
    ];
    (world, said)
}

#[tokio::test]
async fn credentials_are_in_no_log_line_metric_status_or_event() {
    let (_world, said) = everything_said("debug").await;
    let token = kubernetes_token();
    for (place, text) in &said {
        for secret in [SECRET_KEY, SESSION_TOKEN, token.as_str()] {
            if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                panic!("a secret is in {place}: {line}");
            }
        }
    }
    let log = &said.iter().find(|(place, _)| *place == "the log").unwrap().1;
    assert!(log.contains("\"level\":\"DEBUG\""), "the log is as detailed as it was asked to be");
    assert!(log.contains("UnauthorizedOperation"), "and has the failures in it");
}

#[tokio::test]
async fn credentials_are_not_in_the_most_detailed_log_either() {
    let (_world, said) = everything_said("trace").await;
    let token = kubernetes_token();
    for (place, text) in &said {
        for secret in [SECRET_KEY, SESSION_TOKEN, token.as_str()] {
            if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                panic!("a secret is in {place}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn no_metric_has_an_account_id() {
    let (_world, said) = everything_said("info").await;
    let metrics = &said.iter().find(|(place, _)| *place == "the metrics").unwrap().1;
    let labels =
        metrics.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"').skip(1).step_by(2));
    let labels: BTreeSet<&str> = labels.collect();
    assert!(labels.contains("base"), "{labels:?}");
    for label in labels {
        let digits = label.split(|c: char| !c.is_ascii_digit());
        assert!(digits.map(str::len).all(|length| length < 12), "{label}");
    }
}
