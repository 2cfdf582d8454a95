//! The values: each one has an effect, is in the schema, and what is not a value is refused.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::render::{chart, container, everything, flags, rendered, template};
use crate::harness::process::{amishare, run_to_end};

/// Another value, in JSON, for each one.
const OTHERS: &[(&str, &str)] = &[
    ("nameOverride", r#""other""#),
    ("fullnameOverride", r#""other""#),
    ("commonLabels", r#"{"other": "x"}"#),
    ("replicaCount", "4"),
    ("revisionHistoryLimit", "4"),
    ("image.repository", r#""example.com:5000/other""#),
    ("image.tag", r#""v9""#),
    ("image.digest", r#""sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#),
    ("image.pullPolicy", r#""Always""#),
    ("imagePullSecrets", r#"[{"name": "other"}]"#),
    ("crds.enabled", "false"),
    ("crds.keep", "false"),
    ("serviceAccount.create", "false"),
    ("serviceAccount.name", r#""other""#),
    ("serviceAccount.annotations", r#"{"other": "x"}"#),
    ("rbac.create", "false"),
    ("rbac.aggregateToView", "false"),
    ("rbac.aggregateToEdit", "false"),
    ("leaderElection.enabled", "false"),
    ("leaderElection.leaseDuration", r#""30s""#),
    ("leaderElection.renewDeadline", r#""14s""#),
    ("leaderElection.retryPeriod", r#""3s""#),
    ("settings.watchNamespaces", r#"["other"]"#),
    ("settings.guardrails", r#"[{"name": "home", "namespaces": ["*"], "regions": ["us-east-1"]}]"#),
    ("settings.identities", r#"[{"name": "default", "namespaces": ["images"]}]"#),
    ("settings.configurationIn", r#""Secret""#),
    ("settings.allowPublicSharing", "false"),
    ("settings.launchPermissionQuota", "2000"),
    ("settings.requestRateFactor", "0.25"),
    ("settings.concurrency", "65"),
    ("settings.distributions", "false"),
    ("settings.concurrentCopies", "21"),
    ("settings.reconcileDeadline", r#""1h30m""#),
    ("settings.refusedRetry", r#""2h""#),
    ("aws.region", r#""us-gov-west-1""#),
    ("aws.endpointUrl", r#""https://vpce.example.com""#),
    ("logLevel", r#""info,amishare=debug""#),
    ("logFormat", r#""text""#),
    ("terminationGracePeriodSeconds", "60"),
    ("deploymentAnnotations", r#"{"other": "x"}"#),
    ("podAnnotations", r#"{"other": "x"}"#),
    ("podLabels", r#"{"other": "x"}"#),
    ("podSecurityContext", r#"{"runAsUser": 1}"#),
    ("securityContext", r#"{"runAsUser": 1}"#),
    ("resources", r#"{"limits": {"cpu": "1"}}"#),
    ("priorityClassName", r#""other""#),
    ("nodeSelector", r#"{"other": "x"}"#),
    ("tolerations", r#"[{"operator": "Exists"}]"#),
    ("affinity", r#"{"podAntiAffinity": {}}"#),
    ("topologySpreadConstraints", "[]"),
    ("podDisruptionBudget.enabled", "false"),
    ("podDisruptionBudget.maxUnavailable", r#""50%""#),
    ("extraArgs", r#"["--other"]"#),
    ("extraEnv", r#"[{"name": "OTHER", "value": "x"}]"#),
    ("extraEnvFrom", r#"[{"configMapRef": {"name": "other"}}]"#),
    ("extraVolumes", r#"[{"name": "other", "emptyDir": {}}]"#),
    ("extraVolumeMounts", r#"[{"name": "other", "mountPath": "/other"}]"#),
    ("listenAddress", r#""[::]""#),
    ("healthProbe.port", "9081"),
    ("metrics.port", "9080"),
    ("service.annotations", r#"{"other": "x"}"#),
    ("serviceMonitor.enabled", "false"),
    ("serviceMonitor.additionalLabels", r#"{"other": "x"}"#),
    ("serviceMonitor.interval", r#""1m""#),
    ("serviceMonitor.scrapeTimeout", r#""5s""#),
    ("serviceMonitor.relabelings", "[]"),
    ("serviceMonitor.metricRelabelings", "[]"),
    ("prometheusRule.enabled", "false"),
    ("prometheusRule.additionalLabels", r#"{"other": "x"}"#),
    ("prometheusRule.alertLabels", r#"{"other": "x"}"#),
    ("prometheusRule.runbookUrl", r#""https://example.com/runbooks""#),
    ("grafanaDashboard.enabled", "false"),
    ("grafanaDashboard.labels", r#"{"other": "x"}"#),
    ("grafanaDashboard.annotations", r#"{"other": "x"}"#),
    ("networkPolicy.enabled", "false"),
    ("networkPolicy.metricsFrom", "[]"),
    ("networkPolicy.egressPorts", "[443]"),
    ("networkPolicy.credentialEndpoints", r#"["169.254.170.23/32"]"#),
    ("networkPolicy.extraEgress", "[]"),
];

fn values() -> Value {
    serde_yaml::from_str(&fs::read_to_string(format!("{}/values.yaml", chart())).unwrap()).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{}/values.schema.json", chart())).unwrap()).unwrap()
}

/// The paths of the values as the schema has them: what it describes inside is Kubernetes's, and not ours.
fn paths(schema: &Value, prefix: &str, groups: &mut Vec<String>, leaves: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().unwrap() {
        let path = format!("{prefix}{name}");
        if inner["properties"].is_object() && path != "resources" {
            groups.push(format!("{path}."));
            paths(inner, &format!("{path}."), groups, leaves);
        } else if path != "global" {
            // Helm gives it to every chart.
            leaves.insert(path);
        }
    }
}

#[test]
fn every_value_has_an_effect() {
    // One replica, because more need leader election, which is a value too.
    let everything = ["--values", &everything(), "--set-json", "replicaCount=1"];
    let before = template(&everything).unwrap();
    for (path, other) in OTHERS {
        let change = format!("{path}={other}");
        let after = template(&[&everything[..], &["--set-json", &change]].concat());
        assert!(after.unwrap_or_else(|error| panic!("{change}: {error}")) != before, "{change} changes nothing");
    }
}

#[test]
fn the_schema_and_the_defaults_have_the_same_values_and_each_is_tried() {
    let (mut groups, mut leaves) = (Vec::new(), BTreeSet::new());
    paths(&schema(), "", &mut groups, &mut leaves);
    let tried: BTreeSet<String> = OTHERS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(leaves, tried, "the schema, and the values that the test above changes");
    let values = values();
    for path in &leaves {
        let default = path.split('.').try_fold(&values, |value, key| value.get(key));
        assert!(default.is_some(), "{path} has no default in values.yaml");
    }
    // The other direction: the schema refuses what it does not know, the defaults included.
    template(&[]).unwrap();
}

#[test]
fn what_is_not_a_value_is_refused_by_name() {
    let (mut groups, mut leaves) = (vec![String::new()], BTreeSet::new());
    paths(&schema(), "", &mut groups, &mut leaves);
    for group in groups {
        let error = template(&["--set", &format!("{group}replicas=1")]).unwrap_err();
        assert!(error.contains("replicas") && error.contains("not allowed"), "{group}: {error}");
    }
    for (wrong, part) in [
        ("replicaCount=two", "replicaCount"),
        ("image.digest=latest", "digest"),
        ("settings.watchNamespaces={Images}", "watchNamespaces"),
        ("settings.reconcileDeadline=soon", "reconcileDeadline"),
        ("settings.requestRateFactor=0", "requestRateFactor"),
        (
            "settings.guardrails[0].name=a,settings.guardrails[0].namespaces={a},settings.guardrails[0].region={x}",
            "region",
        ),
        (
            "settings.identities[0].name=a,settings.identities[0].namespaces={a},settings.identities[0].accountId=12345",
            "accountId",
        ),
        ("settings.allowPublicSharing=yes", "allowPublicSharing"),
        ("aws.region=Frankfurt", "region"),
        ("listenAddress=8080", "listenAddress"),
        ("logFormat=xml", "logFormat"),
    ] {
        let error = template(&["--set", wrong]).unwrap_err();
        assert!(error.contains(part), "{wrong}: {error}");
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_what_to_set() {
    let error = template(&["--set", "leaderElection.enabled=false"]).unwrap_err();
    assert!(error.contains("set replicaCount=1"), "{error}");
    let error = template(&["--set", "metrics.port=8081"]).unwrap_err();
    assert!(error.contains("healthProbe.port and metrics.port must differ"), "{error}");
}

#[tokio::test]
async fn every_flag_of_run_has_a_value_and_the_operator_knows_every_flag_that_it_gets() {
    let (code, help, errors) = run_to_end(&mut amishare(&["run", "--help"])).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let words = help.split_whitespace().filter_map(|word| word.split('[').next());
    let words = words.filter(|word| word.starts_with("--") && word.len() > 2);
    let known: BTreeSet<&str> = words.filter(|flag| !["--help", "--version"].contains(flag)).collect();
    let everything = rendered(&["--values", &everything(), "--set", "settings.watchNamespaces={images}"]);
    let given: BTreeSet<&str> = flags(container(&everything)).into_iter().collect();
    let differ: Vec<_> = known.symmetric_difference(&given).collect();
    assert!(differ.is_empty(), "only in the help of `amishare run`, or only in the Deployment: {differ:?}");
}

#[test]
fn work_under_way_gets_all_of_the_grace_period_but_ten_seconds() {
    let objects = rendered(&["--set", "terminationGracePeriodSeconds=90"]);
    assert!(container(&objects)["args"].as_array().unwrap().contains(&"--shutdown-grace=80s".into()));
}
