//! The commands of the documents, as they are written there, on a real API server. What needs Pods, AWS's own APIs or a registry is left out.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use envtest::ControlPlane;

use super::{block, prose_and_blocks};
use crate::{
    chart::render::{repository, said},
    harness::{Setup, World, cluster, plane::Plane, process::AMISHARE, world::IMAGE},
};

/// Runs a script in a folder, with kubectl, helm and amishare; gives what it prints.
fn bash(plane: &ControlPlane, folder: &Path, script: &str) -> String {
    let assets = envtest::assets().unwrap();
    let helm = envtest::helm().unwrap();
    let programs = [assets.dir(), helm.parent().unwrap(), Path::new(AMISHARE).parent().unwrap()];
    let programs = programs.map(|folder| folder.display().to_string()).join(":");
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).stdin(Stdio::null()).current_dir(folder);
    command.env_clear().env("PATH", path).env("KUBECONFIG", plane.kubeconfig()).env("HOME", &home);
    for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, &home);
    }
    tokio::task::block_in_place(|| said(&mut command)).unwrap_or_else(|error| panic!("{script}\n{error}"))
}

/// The one block of a document with `part`, without the lines that need more than there is here.
fn without(document: &str, part: &str, lines: &[&str]) -> String {
    let block = block(document, part);
    for line in lines {
        assert!(block.lines().any(|known| known.contains(line)), "{document} has no {line:?} beside {part:?} any more");
    }
    let kept = block.lines().filter(|line| !lines.iter().any(|part| line.contains(part)));
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_install_upgrade_and_uninstall_work_in_their_order() {
    let plane = Plane::start().await;
    let run = |script: &str| bash(&plane.control, &repository(), script);
    let (install, upgrade, security) = ("docs/install.md", "docs/upgrade.md", "docs/security.md");
    assert!(run(&block(install, "helm install")).contains("STATUS: deployed"));
    run(&block(install, "kubectl create secret generic aws"));
    plane.kubectl(&["wait", "--for=condition=Established", "crd/amishares.amishare.dev", "--timeout=60s"], "");
    let operator = plane.operator(&[]).await;
    operator.ready().await;

    let said = run(&block(install, "metadata: {name: first}"));
    assert!(said.contains("ChangesPending") && said.contains("111122223333"), "{said}");
    plane.kubectl(&["create", "namespace", "images"], "");
    let said = run(&block(security, "kubectl create rolebinding"));
    assert!(said.contains("\nyes\n") && said.contains("amishares.amishare.dev/status"), "{said}");
    let may = "auth can-i patch amishares.amishare.dev --subresource=status --namespace images --as";
    let may = |account: &str| run(&format!("kubectl {may} system:serviceaccount:{account} || true"));
    assert_eq!(may("flux-system:kustomize-controller").trim(), "no", "docs/security.md: the status is the operator's");
    assert_eq!(may("ami-share-operator:ami-share-operator").trim(), "yes");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("values.yaml"), block(security, "# values")).unwrap();
    // The API server here knows nothing of the Prometheus Operator.
    let values = format!("--values {}/values.yaml --set prometheusRule.enabled=false", folder.path().display());
    let release =
        "ami-share-operator charts/ami-share-operator --namespace ami-share-operator --reset-then-reuse-values";
    run(&format!("helm upgrade {release} {values}"));
    let said = bash(&plane.control, folder.path(), &block(security, "--admission-policy"));
    assert!(said.contains("validatingadmissionpolicy") && said.contains("created"), "{said}");

    run(&without(upgrade, "git checkout TAG", &["git checkout", "rollout status"]));
    run(&block(upgrade, "helm rollback").replace("REVISION", "1"));
    assert_eq!(run(&block(upgrade, "storedVersions")).trim(), r#"["v1alpha1"]"#);
    // The definition is handed over, and taken back.
    let values = "--namespace ami-share-operator --reset-then-reuse-values --set crds.enabled";
    let upgrade =
        |rest: &str| run(&format!("helm upgrade ami-share-operator charts/ami-share-operator {values}={rest}"));
    upgrade("false");
    run("kubectl apply --server-side -k crds");
    upgrade("true --take-ownership");
    assert!(run("kubectl get amishares --all-namespaces").contains("first"), "nobody has lost an AmiShare");

    assert!(run(&block(install, "kubectl delete amishares")).contains("deleted"));
    // There is no Lease, because this operator takes no part in an election.
    run(&without(install, "helm uninstall", &["kubectl delete lease"]));
    assert_eq!(run("kubectl get crd --ignore-not-found amishares.amishare.dev"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overlay_of_the_documents_installs_with_kustomize() {
    let plane = Plane::start().await;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for part in ["config", "crds"] {
        let copied = Command::new("cp").arg("-r").arg(repository().join(part)).arg(folder.path()).status().unwrap();
        assert!(copied.success());
    }
    let said = bash(&plane.control, folder.path(), &block("docs/install.md", "config/mine/kustomization.yaml"));
    assert!(said.contains("deployment.apps/ami-share-operator serverside-applied"), "{said}");
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let of = ["get", "deployment/ami-share-operator", "--namespace=ami-share-operator", "--output", image];
    assert_eq!(plane.kubectl(&of, ""), "REGISTRY/ami-share-operator:TAG");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_look_for_trouble_work() {
    let world = World::start(Setup::default()).await;
    world.apply("base", "  shareWith: {accountIds: [\"111122223333\", \"999988887777\"]}").await;
    world.wait_ready("base", "False", "OwnerAccountListed").await;
    let plane = tokio::task::spawn_blocking(cluster).await.unwrap();
    let text = super::document("docs/troubleshooting.md");
    let blocks = prose_and_blocks(&text).1.into_iter().filter(|(language, _)| language == "sh");
    let lines: Vec<String> =
        blocks.flat_map(|(_, block)| block.lines().map(ToOwned::to_owned).collect::<Vec<_>>()).collect();
    // The rest looks at Pods, or at AWS.
    let here = |line: &&String| {
        line.starts_with("kubectl") && line.contains("amishare") && !line.contains("ami-share-operator")
    };
    let lines: Vec<&String> = lines.iter().filter(here).collect();
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        let script = line.replace("NAMESPACE", world.namespace()).replace("NAME", "base").replace("ID", IMAGE);
        // Whether anything is found is another matter.
        let script = script.split(" | ").next().unwrap_or_default();
        let said = bash(&plane, &repository(), script);
        assert!(said.contains("base") || said.contains("owns the image"), "{script}: {said}");
    }
    // The last of them took the finalizer off, which is for deletions: the operator puts it back.
    world.check_now("base").await;
    world.delete("base").await;
    world.wait_gone("base").await;
}
