//! The health script gets into Argo CD by each way that docs/gitops.md has.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{block, health::customization};
use crate::{
    chart::render::{helm, objects, repository, said},
    harness::{cluster, kubectl},
};

/// Where Argo CD looks for it.
const KEY: &str = "resource.customizations.health.amishare.dev_AmiShare";

fn lua() -> String {
    fs::read_to_string(customization("AmiShare").join("health.lua")).unwrap()
}

#[test]
fn the_kubectl_command_of_the_docs_adds_the_health_script_and_leaves_what_was_there() {
    let plane = cluster();
    let run = |arguments: &[&str], input: &str| {
        let output = kubectl(&plane, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["create", "namespace", "argocd"], "");
    run(
        &["create", "configmap", "argocd-cm", "--namespace=argocd", "--from-literal=url=https://argocd.example.com"],
        "",
    );
    let programs = envtest::assets().unwrap().dir().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    // Twice, as somebody does who updates it.
    for _ in 0..2 {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &block("kubectl patch configmap argocd-cm")]).stdin(Stdio::null());
        command.current_dir(repository()).env_clear().env("PATH", &path).env("KUBECONFIG", plane.kubeconfig());
        said(command.env("HOME", "/nonexistent")).unwrap();
        let stored = run(&["get", "configmap", "argocd-cm", "--namespace=argocd", "--output=json"], "");
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(stored["data"], json!({"url": "https://argocd.example.com", KEY: lua()}));
    }
}

#[test]
fn the_kustomization_of_the_docs_merges_the_health_script_into_argocd_cm() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("kustomization.yaml", &block("configMapGenerator"));
    write("health.lua", &lua());
    let there =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\ndata: {url: \"https://argocd.example.com\"}\n";
    write("argo-cd.yaml", there);
    let mut command = Command::new(envtest::assets().unwrap().kubectl);
    let built = said(command.arg("kustomize").arg(folder.path()).stdin(Stdio::null())).unwrap();
    let built = objects(&built);
    assert_eq!(built.len(), 1, "{built:?}");
    let built = &built[0];
    assert_eq!(built["metadata"], json!({"name": "argocd-cm", "namespace": "argocd"}));
    assert_eq!(built["data"], json!({"url": "https://argocd.example.com", KEY: lua()}));
}

#[test]
fn the_helm_flag_of_the_docs_sets_the_value_of_the_argo_cd_chart() {
    // The part of the argo-cd chart that matters here: configs.cm is what becomes of argocd-cm.
    let chart = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(chart.path().join("templates")).unwrap();
    fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: argo-cd\nversion: 1.0.0\n").unwrap();
    fs::write(chart.path().join("values.yaml"), "configs: {cm: {url: \"https://argocd.example.com\"}}\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm}\n\
                    data:\n  {{- toYaml .Values.configs.cm | nindent 2 }}\n";
    fs::write(chart.path().join("templates/cm.yaml"), template).unwrap();
    let command = block("helm upgrade argo-cd");
    let flag = command.lines().find_map(|line| line.trim().strip_prefix("--set-file ")).unwrap();
    let flag = flag.trim_matches('\'');
    let mut helm = helm(&["template", "argo-cd", chart.path().to_str().unwrap(), "--set-file", flag]);
    let rendered = objects(&said(helm.current_dir(repository())).unwrap());
    assert_eq!(rendered[0]["data"], json!({"url": "https://argocd.example.com", KEY: lua()}));
}
