//! Running helm, and reading what it renders.

use std::{fs, path::PathBuf, process::Command};

use envtest::ControlPlane;
use serde::Deserialize;
use serde_json::Value;

/// The release and the namespace that the docs use.
pub const NAME: &str = "ami-share-operator";

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn chart() -> String {
    repository().join("charts/ami-share-operator").display().to_string()
}

/// A file with the values with which the chart has everything that it can have.
pub fn everything() -> String {
    repository().join("tests/it/chart/everything.yaml").display().to_string()
}

/// helm, without anything of the user's.
pub fn helm(arguments: &[&str]) -> Command {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut command = Command::new(envtest::helm().unwrap());
    command.args(arguments).env_clear().env("HOME", &home).env("LC_ALL", "C");
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &home);
    }
    command
}

/// helm on a cluster. It ends with the cluster.
pub fn helm_on(plane: &ControlPlane, arguments: &[&str]) -> Command {
    let mut command = helm(arguments);
    command.env("KUBECONFIG", plane.kubeconfig());
    plane.supervise(&mut command);
    command
}

/// Runs a command to its end: what it prints, or what it complains about.
pub fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What the chart renders in namespace `ami-share-operator` under that name, or why it does not.
pub fn template(arguments: &[&str]) -> Result<String, String> {
    let chart = chart();
    let all = [&["template", NAME, &chart, "--namespace", NAME], arguments].concat();
    said(&mut helm(&all))
}

/// The objects of a YAML stream.
pub fn objects(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// The objects that the chart renders.
pub fn rendered(arguments: &[&str]) -> Vec<Value> {
    objects(&template(arguments).unwrap())
}

/// The one object of a kind.
pub fn the<'a>(kind: &str, objects: &'a [Value]) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// The container of the Deployment, which has one.
pub fn container(objects: &[Value]) -> &Value {
    &the("Deployment", objects)["spec"]["template"]["spec"]["containers"][0]
}

/// The texts of a JSON list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The flags that begin the arguments, without their values.
pub fn flags(container: &Value) -> Vec<&str> {
    let arguments = texts(&container["args"]).into_iter();
    arguments.filter(|argument| argument.starts_with("--")).map(|flag| flag.split('=').next().unwrap()).collect()
}

/// Whether files are to be rewritten and not compared.
pub fn rewriting() -> bool {
    std::env::var_os("AMISHARE_REWRITE").is_some_and(|value| !value.is_empty())
}

/// A file in the repository must be this, or becomes it.
pub fn must_be(name: &str, text: &str) {
    let path = repository().join(name);
    if rewriting() {
        fs::write(path, text).unwrap();
        return;
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let first = stored.lines().zip(text.lines()).find(|(stored, now)| stored != now);
    assert!(stored == text, "{name} is stale, first at {first:?}: run `make generate` and read the difference");
}
