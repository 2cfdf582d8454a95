//! The simulator as other programs see it: boto3 and the AWS CLI, which nobody here wrote, and people who misspell.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::harness::{
    cluster,
    process::{Process, amishare, run_to_end},
    python::{python, script},
};

/// Starts `amishare simulate` on a free port; gives it and its endpoint.
async fn simulate(arguments: &[&str]) -> (Process, String) {
    let mut command = amishare(&["simulate", "--listen=127.0.0.1:0"]);
    let process = Process::start(&cluster(), command.args(arguments));
    let line = process.printed("http://").await;
    let endpoint = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    (process, endpoint)
}

#[tokio::test]
async fn boto3_and_the_aws_cli_understand_the_simulator_and_every_call_of_theirs_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.jsonl");
    let scenario = script("simulator_scenario.yaml");
    let (mut simulator, endpoint) =
        simulate(&["--scenario", scenario.to_str().unwrap(), "--calls", file.to_str().unwrap()]).await;
    let (code, printed, errors) = run_to_end(python().await.arg(script("simulator_boto3.py")).arg(&endpoint)).await;
    assert_eq!(code, Some(0), "{printed}{errors}");
    assert!(printed.lines().count() >= 9 && printed.lines().all(|line| line.starts_with("ok ")), "{printed}");
    for part in ["ok roles", "ok sharing", "ok sharing with the cli", "ok snapshots", "ok lifecycle"] {
        assert!(printed.lines().any(|line| line == part), "no {part:?} in {printed}");
    }

    let text = fs::read_to_string(&file).unwrap();
    let calls: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for call in &calls {
        let text = |field: &str| call[field].as_str().unwrap_or_else(|| panic!("{field} in {call}"));
        assert!(text("time").parse::<k8s_openapi::jiff::Timestamp>().is_ok(), "{call}");
        assert!(
            !text("action").is_empty() && call["parameters"].is_object() && call["answer"]["status"].is_u64(),
            "{call}"
        );
    }
    let modify = calls.iter().find(|call| call["action"] == "ModifyImageAttribute").unwrap();
    assert_eq!(modify["account"], "111122223333");
    assert_eq!(modify["region"], "us-east-1");
    assert_eq!(modify["parameters"]["LaunchPermission.Add.1.UserId"], "444455556666");
    assert_eq!(modify["answer"], serde_json::json!({"status": 200}));
    let codes: BTreeSet<&str> = calls.iter().filter_map(|call| call["answer"]["code"].as_str()).collect();
    assert!(
        codes.is_superset(&BTreeSet::from(["InvalidAMIID.NotFound", "InvalidAction", "AccessDenied"])),
        "{codes:?}"
    );

    simulator.signal("TERM");
    assert_eq!(simulator.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_calls_file_is_added_to_and_the_seed_decides_the_ids() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.jsonl");
    let mut snapshots = BTreeSet::new();
    for run in 1..=2 {
        let (_simulator, endpoint) = simulate(&["--seed=7", "--calls", file.to_str().unwrap()]).await;
        let mut create = aws(&endpoint).await;
        create.args(["ec2", "create-snapshot", "--volume-id=vol-0123456789abcdef0", "--query=SnapshotId"]);
        let (code, printed, errors) = run_to_end(&mut create).await;
        assert_eq!(code, Some(0), "{errors}");
        snapshots.insert(printed);
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), run);
    }
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
}

/// The AWS CLI.
async fn aws(endpoint: &str) -> Command {
    let python = python().await;
    let folder = std::path::Path::new(python.get_program()).parent().unwrap().to_owned();
    let mut command = Command::new(folder.join("aws"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    command.env("AWS_ACCESS_KEY_ID", "111122223333").env("AWS_SECRET_ACCESS_KEY", "any");
    command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_ENDPOINT_URL", endpoint).env("AWS_PAGER", "");
    command
}

#[tokio::test]
async fn a_bad_scenario_is_refused_with_its_place_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let refusals = [
        (
            "unknown-field",
            "seed: 1\nimages:\n  - {id: ami-0123456789abcdef0, regoin: us-east-1}\n",
            &["regoin", "line 3"][..],
        ),
        ("not-yaml", "images: [\n", &["line"]),
        ("wrong-kind", "seed: many\n", &["seed", "line 1"]),
        (
            "bad-id",
            "images:\n  - {id: ami-xyz, region: us-east-1, owner: \"111122223333\", name: base}\n",
            &["ami-xyz"],
        ),
        ("short-account", "closedAccounts: [\"1234\"]\n", &["1234", "twelve digits"]),
    ];
    for (name, text, parts) in refusals {
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        let arguments = ["simulate", "--listen=127.0.0.1:0", "--scenario", path.to_str().unwrap()];
        let (code, printed, error) = run_to_end(&mut amishare(&arguments)).await;
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        for part in parts.iter().copied().chain([name]) {
            assert!(error.contains(part), "{name}: no {part:?} in {error}");
        }
    }
    let (code, _, error) = run_to_end(&mut amishare(&["simulate", "--scenario=/nonexistent/file.yaml"])).await;
    assert_eq!(code, Some(1));
    assert_eq!(error, "amishare: cannot read /nonexistent/file.yaml: No such file or directory (os error 2)\n");
}
