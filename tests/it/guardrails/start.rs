//! The configuration file when the operator starts.

use serde_json::json;

use super::{A, B, Config, only};
use crate::harness::{
    cluster,
    process::{Operator, run_to_end},
};

#[tokio::test]
async fn an_operator_does_not_start_with_a_file_that_it_cannot_use_and_says_where_the_mistake_is() {
    let config = Config::with("[{name: only, namespaces: [], regions: [us-east-1]}]");
    let flag = config.flag();
    let command = || Operator::command(cluster().kubeconfig(), "http://127.0.0.1:9", &[&flag]);
    let (code, _, errors) = run_to_end(&mut command()).await;
    assert_eq!(code, Some(1), "{errors}");
    let place = format!("{}:3:39: guardrails[0].namespaces: is an empty list", config.path().display());
    assert!(errors.contains(&place), "{place} in {errors}");
    std::fs::remove_file(config.path()).unwrap();
    let (code, _, errors) = run_to_end(&mut command()).await;
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("config.yaml: cannot be read"), "{errors}");
}

#[tokio::test]
async fn other_rules_after_a_restart_are_in_force_at_once_and_not_at_the_next_check() {
    let config = Config::with("[]");
    let mut world = config.world(&[]).await;
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}, "interval": "24h"})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
    world.stop_operator().await;
    config.say(&only(A));
    world.start_operator().await;
    world.wait_ready("base", "False", "GuardrailDenied").await;
    world.wait_shared_with(&[A]).await;
    world.stop_operator().await;
    config.say("[]");
    world.start_operator().await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
}
