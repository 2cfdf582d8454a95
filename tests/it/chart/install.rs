//! Installing, upgrading, testing and uninstalling, with the real helm on a real API server. There is no kubelet: the operator is run
//! here, with the arguments of the Deployment and the token of the chart's service account.

use std::{fs, path::Path, process::Command};

use envtest::ControlPlane;
use serde_json::{Value, json};

use super::render::{chart, container, helm_on, objects, said, texts};
use crate::harness::{
    Setup, World, cluster, eventually,
    plane::Plane,
    process::{Operator, amishare, run_to_end},
    world::{IMAGE, REGION},
};

/// A copy of the chart with a definition in which a text differs.
fn older_chart(folder: &Path) -> String {
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(folder).status().unwrap();
    assert!(copied.success());
    let chart = folder.join("ami-share-operator");
    let definition = chart.join("files/crds/amishare.dev_amishares.yaml");
    let text = fs::read_to_string(&definition).unwrap();
    let older =
        text.replace("description: The image that is shared, or the name by which it is found", "description: Older");
    assert!(older != text);
    fs::write(definition, older).unwrap();
    chart.display().to_string()
}

/// The flags of the Deployment's container as its Pod has them, without those that say where to listen.
fn flags_for_here(deployment: &Value) -> Vec<String> {
    let arguments = texts(&container(std::slice::from_ref(deployment))["args"]);
    let elsewhere = ["--health-address=", "--metrics-address="];
    let (run, flags) = arguments.split_first().unwrap();
    assert_eq!(*run, "run");
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap();
    let here = flags.iter().filter(|flag| !elsewhere.iter().any(|other| flag.starts_with(other)));
    here.map(|flag| flag.replace("$(POD_NAMESPACE)", namespace)).collect()
}

/// An operator like the one in the Deployment's Pod.
async fn operator(control: &ControlPlane, kubeconfig: &Path, endpoint: &str, deployment: &Value) -> Operator {
    let flags = flags_for_here(deployment);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let operator = Operator::start(control, &mut Operator::command(kubeconfig, endpoint, &flags)).await;
    operator.ready().await;
    operator.counts(&["amishare_leader 1"]).await;
    operator
}

fn helm(plane: &Plane, arguments: &[&str]) -> String {
    let mut command = helm_on(&plane.control, &[arguments, &["--namespace", "ops"]].concat());
    tokio::task::block_in_place(|| said(&mut command)).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn get(plane: &Plane, arguments: &[&str]) -> Value {
    let all = [&["get", "--output=json", "--namespace=ops"], arguments].concat();
    serde_json::from_str(&plane.kubectl(&all, "")).unwrap()
}

/// Whether there is such an object.
fn there_is(plane: &Plane, object: &str) -> bool {
    !plane.kubectl(&["get", object, "--namespace=ops", "--ignore-not-found", "--output=name"], "").is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installed_operator_can_do_its_work_and_definitions_are_upgraded_and_survive_unless_asked_otherwise() {
    let plane = Plane::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (older, chart) = (older_chart(folder.path()), chart());
    let definition = "customresourcedefinition/amishares.amishare.dev";
    let column =
        || get(&plane, &[definition])["spec"]["versions"][0]["additionalPrinterColumns"][0]["description"].clone();

    let notes = helm(&plane, &["install", "images", &older, "--create-namespace"]);
    for next in ["helm test images --namespace ops", "create-pod-identity-association", "kind: AmiShare"] {
        assert!(notes.contains(next), "{notes}");
    }
    assert_eq!(column(), "Older");
    helm(&plane, &["upgrade", "images", &chart, "--set", "replicaCount=3"]);
    assert_eq!(
        column(),
        "The image that is shared, or the name by which it is found",
        "helm upgrade upgrades the definitions"
    );
    let deployment = get(&plane, &["deployment/images-ami-share-operator"]);
    assert_eq!(deployment["spec"]["replicas"], 3);
    plane.kubectl(&["wait", "--for=condition=Established", definition, "--timeout=60s"], "");

    // With no more permissions than the chart gives.
    let account = deployment["spec"]["template"]["spec"]["serviceAccountName"].as_str().unwrap();
    let kubeconfig = plane.control.kubeconfig_for_service_account("ops", account).unwrap();
    let operator = operator(&plane.control, &kubeconfig, &plane.endpoint, &deployment).await;
    plane.kubectl(&["apply", "-f", "-"], &World::manifest("base", "  shareWith: {accountIds: [\"111122223333\"]}"));
    plane.kubectl(&["wait", "--for=condition=Ready", "amishare/base", "--timeout=60s"], "");
    assert_eq!(plane.aws.launch_permissions(REGION, IMAGE).into_iter().collect::<Vec<_>>(), ["111122223333"]);
    operator.counts(&["amishare_kube_requests_total{verb=\"create\",resource=\"events\",code=\"201\"}"]).await;
    plane.kubectl(&["delete", "amishare/base", "--timeout=60s"], "");
    assert!(plane.aws.launch_permissions(REGION, IMAGE).is_empty());
    let metrics = operator.metrics().await;
    let refused =
        metrics.lines().find(|line| line.starts_with("amishare_kube_requests") && !line.contains("code=\"20"));
    assert_eq!(refused, None, "every write was allowed");
    drop(operator);

    let observer = World::manifest("kept", "  shareWith: {accountIds: [\"111122223333\"]}\n  mode: Observe");
    plane.kubectl(&["apply", "--namespace=ops", "-f", "-"], &observer);
    let said = helm(&plane, &["uninstall", "images"]);
    assert!(said.contains("kept due to the resource policy"), "{said}");
    assert!(there_is(&plane, definition) && there_is(&plane, "amishare/kept"));
    let gone = [
        "deployment/images-ami-share-operator",
        "clusterrole/ops-images-ami-share-operator",
        "service/images-ami-share-operator",
    ];
    assert!(gone.iter().all(|object| !there_is(&plane, object)));

    // A later installation takes them over.
    helm(&plane, &["install", "images", &chart]);
    assert!(there_is(&plane, "amishare/kept"));
    helm(&plane, &["upgrade", "images", &chart, "--set", "crds.keep=false"]);
    helm(&plane, &["uninstall", "images"]);
    plane.kubectl(&["wait", "--for=delete", definition, "--timeout=60s"], "");
}

/// Runs the check of the Pod that `helm test` makes, here, and tells of its end as a kubelet does.
async fn play_kubelet(world: &World, address: &str) {
    let pods = ["get", "pods", "-l", "app.kubernetes.io/component=test", "--output=yaml"];
    let pod = eventually("helm has made the Pod", || async {
        let list = objects(&world.kubectl(&pods).await).remove(0);
        list["items"].get(0).filter(|pod| pod["status"]["phase"] == "Pending").cloned().ok_or(list.to_string())
    })
    .await;
    let arguments = texts(&pod["spec"]["containers"][0]["args"]).into_iter();
    let service = format!("share-ami-share-operator.{}.svc", world.namespace());
    let here: Vec<String> = arguments
        .map(|argument| match argument.strip_prefix("http://") {
            Some(page) => {
                let (authority, path) = page.split_once('/').unwrap();
                assert_eq!(authority.split(':').next(), Some(service.as_str()), "the chart's Service has this name");
                format!("http://{address}/{path}")
            }
            None => argument.replace("--timeout=2m", "--timeout=1s"),
        })
        .collect();
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    let (code, _, _) = run_to_end(&mut amishare(&here)).await;
    let phase = if code == Some(0) { "Succeeded" } else { "Failed" };
    let status = json!({"status": {"phase": phase}}).to_string();
    let name = pod["metadata"]["name"].as_str().unwrap();
    world.kubectl(&["patch", "pod", name, "--subresource=status", "--patch", &status]).await;
}

#[tokio::test]
async fn helm_test_succeeds_exactly_if_the_operator_answers() {
    let world = World::without_operator(Setup::default()).await;
    let namespace = world.namespace().to_owned();
    let helm = |arguments: &[&str]| {
        let mut command = helm_on(&cluster(), &[arguments, &["--namespace", &namespace]].concat());
        tokio::task::spawn_blocking(move || said(&mut command))
    };
    helm(&["install", "share", &chart(), "--set", "crds.enabled=false"]).await.unwrap().unwrap();
    let service: Value =
        objects(&world.kubectl(&["get", "service/share-ami-share-operator", "--output=yaml"]).await).remove(0);
    assert_eq!(service["spec"]["ports"].as_array().unwrap().len(), 2);

    let operator = Operator::of(&world, &[]).await;
    let address = operator.address.to_string();
    let test = helm(&["test", "share", "--timeout=80s"]);
    play_kubelet(&world, &address).await;
    let said = test.await.unwrap().unwrap();
    assert!(said.contains("Phase:") && said.contains("Succeeded"), "{said}");

    operator.process.kill();
    let test = helm(&["test", "share", "--timeout=80s"]);
    play_kubelet(&world, &address).await;
    let error = test.await.unwrap().unwrap_err();
    assert!(error.contains("failed"), "{error}");
    helm(&["uninstall", "share"]).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_operator_of_watched_namespaces_works_without_permissions_elsewhere() {
    let world = World::without_operator(Setup::default()).await;
    let namespace = world.namespace();
    let settings = format!("crds.enabled=false,settings.watchNamespaces={{{namespace}}}");
    let install = ["install", "share", &chart(), "--namespace", namespace, "--set", &settings];
    said(&mut helm_on(&cluster(), &install)).unwrap();
    let deployment =
        objects(&world.kubectl(&["get", "deployment/share-ami-share-operator", "--output=yaml"]).await).remove(0);
    let kubeconfig = cluster().kubeconfig_for_service_account(namespace, "share-ami-share-operator").unwrap();
    let _operator = operator(&cluster(), &kubeconfig, &world.endpoint, &deployment).await;
    world.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    world.wait_ready("base", "True", "Synced").await;
    world.kubectl(&["delete", "amishare", "base"]).await;
    world.wait_shared_with(&[]).await;
    let account = format!("--as=system:serviceaccount:{namespace}:share-ami-share-operator");
    for may_not in [["list", "amishares.amishare.dev"], ["create", "events.events.k8s.io"], ["get", "secrets"]] {
        let arguments = [&["auth", "can-i", "--namespace=default", &account], &may_not[..]].concat();
        let answer = world.kubectl_output("default", &arguments[..], "").await;
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "no", "{may_not:?}");
    }
}
