//! Pods that the strictest Pod Security Standard admits, roles that give no more than they say, and a network policy that leaves
//! the way to credentials open.

use serde_json::{Value, json};

use super::render::{chart, everything, helm_on, objects, rendered, said, the};
use crate::harness::{Setup, World, cluster, eventually, process::Operator, world::SHARES_ALONE};

/// Installs the chart into the namespace of a world.
async fn install(world: &World, arguments: &[&str]) -> String {
    let (chart, namespace) = (chart(), world.namespace().to_owned());
    // The shared cluster has the definitions.
    let mut all = vec!["install", "share", &chart, "--namespace", &namespace, "--set", "crds.enabled=false"];
    all.extend(arguments);
    let mut command = helm_on(&cluster(), &all);
    tokio::task::spawn_blocking(move || said(&mut command).unwrap()).await.unwrap()
}

/// A Pod as the Deployment makes it.
fn pod(objects: &[Value]) -> Value {
    let template = &the("Deployment", objects)["spec"]["template"];
    let metadata = json!({"name": "like-the-deployment", "labels": template["metadata"]["labels"]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

#[tokio::test]
async fn a_namespace_that_enforces_the_restricted_standard_admits_the_pods() {
    let world = World::without_operator(Setup::default()).await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    world.kubectl(&["label", "namespace", world.namespace(), enforce]).await;
    install(&world, &[]).await;
    eventually("the Deployment has its two Pods", || async {
        let running = world.kubectl(&["get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "name"]).await;
        if running.lines().count() == 2 { Ok(()) } else { Err(world.kubectl(&["get", "events"]).await) }
    })
    .await;

    let dry = ["create", "--dry-run=server", "-f", "-"];
    let rendered = rendered(&["--set", "serviceAccount.create=false"]);
    let mut test = the("Pod", &rendered).clone();
    test["metadata"]["namespace"] = world.namespace().into();
    for admitted in [pod(&rendered), test] {
        world.kubectl_in(world.namespace(), &dry, &admitted.to_string()).await.unwrap();
    }
    // The namespace does enforce it.
    let mut loose = pod(&rendered);
    loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refusal = world.kubectl_in(world.namespace(), &dry, &loose.to_string()).await.unwrap_err();
    assert!(refusal.contains("violates PodSecurity \"restricted:"), "{refusal}");
}

#[tokio::test]
async fn the_api_server_knows_every_field_that_the_chart_can_render() {
    let world = World::without_operator(Setup::default()).await;
    let (chart, everything) = (chart(), everything());
    let all = ["template", "share", &chart, "--namespace", world.namespace(), "--values", &everything];
    let mut objects = objects(&said(&mut helm_on(&cluster(), &all)).unwrap());
    // The shared cluster has the definitions; Prometheus's it has not. A Pod needs an account that is there: see above.
    let foreign = |kind: &Value| {
        ["CustomResourceDefinition", "ServiceMonitor", "PrometheusRule", "Pod"].contains(&kind.as_str().unwrap())
    };
    objects.retain(|object| !foreign(&object["kind"]));
    assert!(objects.len() > 10);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = world.kubectl_output(world.namespace(), &arguments, &list).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("Warning"), "{stderr}");
}

/// One rule for each verb of each resource that an operator may use that has to do with AmiShares alone.
fn permissions() -> Vec<Value> {
    let objects = rendered(&["--set", "settings.watchNamespaces={images},settings.distributions=false"]);
    let role = objects.iter().find(|object| object["kind"] == "Role" && object["metadata"]["namespace"] == "images");
    let mut all = Vec::new();
    for rule in role.unwrap()["rules"].as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                all.push(json!({"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": [verb]}));
            }
        }
    }
    all
}

/// An image beside that which most tests share, with an account that the operator has given it.
const MOVED: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", launchPermissions: ["111122223333"]}
"#;

#[tokio::test]
async fn the_operator_misses_every_permission_that_is_taken_from_it() {
    let permissions = permissions();
    assert_eq!(
        permissions.len(),
        6,
        "get, list, watch and patch, patch of the status, create of events: {permissions:?}"
    );
    for (place, missing) in permissions.iter().enumerate() {
        let world = World::without_operator(Setup { scenario: MOVED, ..Setup::default() }).await;
        let namespace = world.namespace();
        let others: Vec<_> = permissions.iter().filter(|other| *other != missing).collect();
        let api = "rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": api, "kind": "Role", "metadata": {"name": "others"}, "rules": others});
        world.kubectl_in(namespace, &["create", "-f", "-"], &role.to_string()).await.unwrap();
        let user = format!("lacks-{place}");
        world.kubectl(&["create", "rolebinding", "others", "--role=others", "--user", &user]).await;
        world.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
        // It has given something on another image, which is taken back once the API server has said that it names this one.
        let moved =
            r#"{"status": {"granted": [{"imageId": "ami-0aaaaaaaaaaaaaaa1", "launchPermission": ["111122223333"]}]}}"#;
        world.kubectl(&["patch", "amishare", "base", "--subresource=status", "--type=merge", "--patch", moved]).await;

        let kubeconfig = cluster().kubeconfig_for(&user, None).unwrap();
        let namespaces = format!("--namespaces={namespace}");
        let mut command = Operator::command(&kubeconfig, &world.endpoint, &[&namespaces, SHARES_ALONE]);
        let operator = Operator::start(&cluster(), &mut command).await;
        eventually(&format!("the operator is refused what needs {missing}"), || async {
            let (writes, log) = (operator.metrics().await, operator.process.stderr());
            let refused = writes.lines().any(|line| line.contains("kube_requests") && line.contains("code=\"403\""));
            let cannot_watch = log.contains("waiting for permission to list and watch");
            let cannot_get = log.contains("cannot get resource");
            if refused || cannot_watch || cannot_get { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

/// Whether somebody in a group may do this with AmiShares in the namespace of a world.
async fn may(world: &World, group: &str, verb: &str, subresource: &str) -> bool {
    let (group, subresource) = (format!("--as-group={group}"), format!("--subresource={subresource}"));
    let arguments = ["auth", "can-i", "--as=somebody", &group, verb, "amishares.amishare.dev", &subresource];
    world.kubectl_output(world.namespace(), &arguments, "").await.status.success()
}

/// Waits until a group may do this with AmiShares: somebody has to add the roles up first.
async fn soon_may(world: &World, group: &str, verb: &str) {
    eventually(&format!("{group} may {verb}"), || async {
        if may(world, group, verb, "").await { Ok(()) } else { Err("no") }
    })
    .await;
}

#[tokio::test]
async fn viewers_read_and_nobody_but_administrators_writes_unless_it_is_allowed() {
    let world = World::without_operator(Setup::default()).await;
    for role in ["view", "edit"] {
        let arguments = ["create", "rolebinding", role, "--clusterrole", role, "--group", role];
        world.kubectl(&arguments).await;
    }
    install(&world, &[]).await;
    soon_may(&world, "view", "list").await;
    soon_may(&world, "edit", "watch").await;
    assert!(!may(&world, "view", "create", "").await && !may(&world, "edit", "create", "").await);

    let (chart, namespace) = (chart(), world.namespace().to_owned());
    let aggregate = "crds.enabled=false,rbac.aggregateToEdit=true";
    let upgrade = ["upgrade", "share", &chart, "--namespace", &namespace, "--set", aggregate];
    said(&mut helm_on(&cluster(), &upgrade)).unwrap();
    for verb in ["create", "update", "patch", "delete"] {
        soon_may(&world, "edit", verb).await;
    }
    assert!(!may(&world, "view", "create", "").await);
    assert!(!may(&world, "edit", "patch", "status").await);
    said(&mut helm_on(&cluster(), &["uninstall", "share", "--namespace", &namespace])).unwrap();
}

#[test]
fn the_network_policy_leaves_the_way_to_credentials_and_to_https_open() {
    let objects = rendered(&["--set", "networkPolicy.enabled=true"]);
    let egress = the("NetworkPolicy", &objects)["spec"]["egress"].as_array().unwrap();
    for address in ["169.254.170.23/32", "169.254.169.254/32", "fd00:ec2::23/128", "fd00:ec2::254/128"] {
        let to = json!({"ipBlock": {"cidr": address}});
        let open = egress.iter().find(|rule| rule["to"].as_array().is_some_and(|all| all.contains(&to)));
        assert_eq!(open.map(|rule| &rule["ports"]), Some(&json!([{"port": 80}])), "{address}");
    }
    let anywhere: Vec<_> =
        egress.iter().filter(|rule| rule["to"].is_null()).map(|rule| rule["ports"].to_string()).collect();
    assert_eq!(anywhere.len(), 2, "names and HTTPS, of addresses that nobody knows beforehand: {anywhere:?}");
    assert!(anywhere[0].contains("53") && anywhere[1].contains("443"), "{anywhere:?}");
}

#[test]
fn pods_identify_themselves_by_pod_identity_or_by_a_role_and_nothing_is_in_the_way() {
    let objects = rendered(&[]);
    let account = the("ServiceAccount", &objects);
    assert!(account["metadata"]["annotations"].is_null(), "Pod Identity needs none: {account}");
    let spec = &the("Deployment", &objects)["spec"]["template"]["spec"];
    assert_eq!(spec["serviceAccountName"], account["metadata"]["name"]);
    let variables = spec["containers"][0]["env"].as_array().unwrap();
    // What would go before both in the SDK's chain.
    assert!(variables.iter().all(|variable| !variable["name"].as_str().unwrap().starts_with("AWS_")), "{variables:?}");
    let role = r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::999988887777:role/images";
    let objects = rendered(&["--set", role]);
    let annotations = &the("ServiceAccount", &objects)["metadata"]["annotations"];
    assert_eq!(annotations["eks.amazonaws.com/role-arn"], "arn:aws:iam::999988887777:role/images");
}
