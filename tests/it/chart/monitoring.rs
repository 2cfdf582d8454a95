//! Alerts and dashboard use only metrics and labels that exist, and every alert has a runbook.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use amishare::{
    api::Site,
    runtime::metrics::{Metrics, Outcome},
};
use serde_json::Value;

use super::render::{NAME, container, everything, rendered, repository, the};

/// What the operator exposes once everything has happened that can be counted: the labels of every metric.
fn exposed() -> BTreeMap<String, BTreeSet<String>> {
    let (metrics, site) = (Metrics::new(), Site::own("us-east-1".parse().unwrap()));
    metrics.reconciled("amishare", Outcome::Success, Duration::ZERO);
    metrics.reconcile_failed("amishare", "Panic", true);
    metrics.workers("amishare", 1, 1);
    metrics.concurrency("amishare", 1);
    metrics.in_backoff("amishare", 1);
    metrics.aws_request("ec2", "DescribeImages", &site, "RequestLimitExceeded", Duration::ZERO);
    metrics.lane_wait("ec2", "DescribeImages", &site, Duration::ZERO);
    metrics.lane("ec2", "DescribeImages", &site, 1.0, 1.0, 1);
    metrics.kube_request("patch", "amishares", 200);
    metrics.drift_corrected(1);
    metrics.leads(true);
    metrics.configuration_is_valid(true);
    metrics.conditions("AmiShare", ("images", "base"), [("Ready", "True")].into_iter(), false);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.render().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        all.entry(name.to_owned()).or_default().extend(label_names(labels));
    }
    all
}

/// The names in `a="x",b=~"y"}`.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    // Every second piece between quotation marks is a value.
    let names = labels.split('"').step_by(2).map(|name| name.trim_matches(['{', '}', ',', '=', '~', '!', ' ']));
    names.filter(|name| !name.is_empty()).map(ToOwned::to_owned)
}

/// The metrics in an expression, with the labels that it selects by.
fn used(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for (start, _) in expression.match_indices("amishare_") {
        let rest = &expression[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let labels = after.strip_prefix('{').and_then(|after| after.split_once('}')).map_or("", |(labels, _)| labels);
        found.push((name.to_owned(), label_names(labels).collect()));
    }
    found
}

/// The labels that an expression groups or joins by.
fn grouped(expression: &str) -> Vec<&str> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| expression.split(word).skip(1));
    let names = lists.flat_map(|rest| rest.split(')').next().unwrap_or_default().split(','));
    names.map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// All texts under a key, at any depth.
fn texts_of<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, inner)| match inner {
            Value::String(text) if name == key => found.push(text),
            inner => texts_of(key, inner, found),
        }),
        Value::Array(list) => list.iter().for_each(|inner| texts_of(key, inner, found)),
        _ => {}
    }
}

fn must_exist(what: &str, expressions: &[&str]) {
    let exposed = exposed();
    for expression in expressions {
        let used = used(expression);
        assert!(!used.is_empty(), "{what}: no metric of ours in {expression}");
        let all: BTreeSet<&str> =
            used.iter().filter_map(|(name, _)| exposed.get(name)).flatten().map(String::as_str).collect();
        // Prometheus itself adds from which Pod a series comes.
        for label in grouped(expression).into_iter().filter(|label| *label != "instance") {
            assert!(all.contains(label), "{what}: no metric in {expression} has the label {label}");
        }
        for (name, labels) in used {
            let known = exposed.get(&name).unwrap_or_else(|| panic!("{what}: the operator does not expose {name}"));
            let unknown: Vec<_> = labels.difference(known).collect();
            assert!(unknown.is_empty(), "{what}: {name} has no labels {unknown:?}, but {known:?}");
        }
    }
}

#[test]
fn metrics_and_labels_are_found_in_expressions() {
    let found = used(r#"sum(rate(amishare_a_total{x="1",y!~"a b"}[5m])) / amishare_b > 1"#);
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(found, [("amishare_a_total".into(), labels(&["x", "y"])), ("amishare_b".into(), labels(&[]))]);
    assert_eq!(grouped("sum by (a, b) (x) and on () y unless on (c) z"), ["a", "b", "c"]);
    assert_eq!(exposed()["amishare_reconcile_total"], labels(&["controller", "result"]));
}

fn alerts() -> Vec<Value> {
    let objects = rendered(&["--values", &everything()]);
    the("PrometheusRule", &objects)["spec"]["groups"][0]["rules"].as_array().unwrap().clone()
}

#[test]
fn the_alerts_use_only_metrics_that_the_operator_exposes() {
    for alert in alerts() {
        must_exist(alert["alert"].as_str().unwrap(), &[alert["expr"].as_str().unwrap()]);
    }
}

#[test]
fn the_dashboard_uses_only_metrics_that_the_operator_exposes_and_shows_nearly_all_of_them() {
    let objects = rendered(&["--values", &everything()]);
    // The other ConfigMap is the configuration file.
    let all: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "ConfigMap").collect();
    let dashboard = all.iter().find_map(|object| object["data"]["ami-share-operator.json"].as_str()).unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let (mut expressions, mut queries) = (Vec::new(), Vec::new());
    texts_of("expr", &dashboard, &mut expressions);
    texts_of("query", &dashboard["templating"], &mut queries);
    expressions.extend(queries.into_iter().filter(|query| *query != "prometheus"));
    must_exist("the dashboard", &expressions);
    let shown: BTreeSet<String> = expressions.iter().flat_map(|text| used(text)).map(|(name, _)| name).collect();
    let part_of_a_shown_one = |name: &str| name.ends_with("_sum") || name.ends_with("_count");
    let missing: Vec<_> = exposed().into_keys().filter(|n| !shown.contains(n) && !part_of_a_shown_one(n)).collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
    let ids: BTreeSet<i64> =
        dashboard["panels"].as_array().unwrap().iter().map(|p| p["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "panels have ids of their own");
}

#[test]
fn every_alert_links_to_a_runbook_and_every_runbook_has_an_alert() {
    let text = fs::read_to_string(repository().join("docs/runbooks.md")).unwrap();
    let sections: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(names, sections);
    for alert in &alerts {
        let (name, url) = (alert["alert"].as_str().unwrap(), &alert["annotations"]["runbook_url"]);
        let expected = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert!(url.as_str().unwrap().ends_with(&expected), "{name}: {url}");
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{alert}");
        assert_eq!(alert["labels"]["team"], "images", "{alert}");
    }
}

#[test]
fn the_service_monitor_reads_the_port_on_which_metrics_are_and_leaves_their_namespace_alone() {
    let objects = rendered(&["--values", &everything()]);
    let (monitor, service) = (the("ServiceMonitor", &objects), the("Service", &objects));
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!((&endpoint["honorLabels"], &endpoint["path"]), (&true.into(), &"/metrics".into()));
    let port = |list: &Value, key: &str, value: &Value| {
        let found = list.as_array().unwrap().iter().find(|port| port[key] == *value);
        found.unwrap_or_else(|| panic!("no {key} {value} in {list}")).clone()
    };
    let in_service = port(&service["spec"]["ports"], "name", &endpoint["port"]);
    let in_pod = port(&container(&objects)["ports"], "name", &in_service["targetPort"]);
    let argument = format!("--metrics-address=0.0.0.0:{}", in_pod["containerPort"]);
    assert!(container(&objects)["args"].as_array().unwrap().contains(&argument.as_str().into()));
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value), "{NAME}: {wanted:?}");
}
