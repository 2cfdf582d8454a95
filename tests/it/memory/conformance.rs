//! Whether the API server in memory answers as the real one does: the same requests to both, and every answer compared.

#![allow(clippy::needless_pass_by_value, reason = "the steps read better without a sign before every value")]

use std::collections::BTreeMap;

use http::Request;
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::Memory;
use crate::harness::{cluster, kubectl};

/// Where everything happens.
const NAMESPACE: &str = "memory-conformance";
const IMAGE: &str = "ami-0123456789abcdef0";
const OTHER: &str = "ami-0123456789abcdef1";

/// How the text begins that has a number which differs.
const OLD: &str = "too old resource version: 1 (";

/// A way to an API server, and what it has answered so far.
struct Peer {
    client: Client,
    /// The uid and the resource versions of every object by its name, newest last.
    known: BTreeMap<String, (String, Vec<String>)>,
    /// The name of the object that has or had this uid.
    uids: BTreeMap<String, String>,
    /// The version of the first list.
    first: String,
    token: String,
}

/// A request: the method, what follows the namespace, its body. `$…` in path and body stands for what was answered before.
type Step = (&'static str, String, Value);

impl Peer {
    fn new(client: Client) -> Self {
        Self { client, known: BTreeMap::new(), uids: BTreeMap::new(), first: String::new(), token: String::new() }
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("$first", &self.first).replace("$continue", &self.token);
        for (name, (uid, versions)) in &self.known {
            text = text.replace(&format!("$uid-{name}"), uid);
            text = text.replace(&format!("$now-{name}"), versions.last().unwrap());
            text = text.replace(&format!("$old-{name}"), versions.first().unwrap());
        }
        text
    }

    /// Makes a request; gives the answer without what differs from run to run.
    async fn ask(&mut self, (method, path, body): &Step) -> (u16, Vec<Value>) {
        let (method, kind) = match *method {
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            "PATCH" => ("PATCH", "application/merge-patch+json"),
            method => (method, "application/json"),
        };
        let group = if path.starts_with("events") { "events.k8s.io/v1" } else { "amishare.dev/v1alpha1" };
        let uri = format!("/apis/{group}/namespaces/{NAMESPACE}/{}", self.fill(path));
        let body = if body.is_null() { Vec::new() } else { self.fill(&body.to_string()).into_bytes() };
        let request = Request::builder().method(method).uri(uri).header("content-type", kind);
        let answer = self.client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        // When bookmarks come is the server's choice.
        let lines: Vec<Value> = lines.filter(|line: &Value| line["type"] != "BOOKMARK").collect();
        (code, lines.into_iter().map(|line| self.understand(line)).collect())
    }

    fn understand(&mut self, mut body: Value) -> Value {
        if let Some(token) = body["metadata"]["continue"].as_str() {
            token.clone_into(&mut self.token);
        }
        if let Some(version) = body["metadata"]["resourceVersion"].as_str().filter(|_| self.first.is_empty()) {
            self.first = version.to_owned();
        }
        let (name, uid) = (body["metadata"]["name"].as_str(), body["metadata"]["uid"].as_str());
        if let (Some(name), Some(uid), Some(version)) = (name, uid, body["metadata"]["resourceVersion"].as_str()) {
            self.uids.insert(uid.to_owned(), name.to_owned());
            let entry = self.known.entry(name.to_owned()).or_insert_with(|| (uid.to_owned(), Vec::new()));
            if entry.0 != uid {
                *entry = (uid.to_owned(), Vec::new());
            }
            let is_new = entry.1.last().is_none_or(|last| last != version);
            entry.1.push(version.to_owned());
            body["isNewVersion"] = is_new.into();
        }
        plain(&mut body);
        let mut text = body.to_string();
        for (uid, name) in &self.uids {
            text = text.replace(uid, &format!("uid of {name}"));
        }
        serde_json::from_str(&text).unwrap()
    }
}

/// Takes out what differs from run to run.
fn plain(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("managedFields");
            for (name, value) in object.iter_mut() {
                match name.as_str() {
                    "creationTimestamp" | "deletionTimestamp" if !value.is_null() => *value = "a time".into(),
                    "resourceVersion" => *value = "a version".into(),
                    "continue" if *value != "" => *value = "a token".into(),
                    "message" if value.as_str().is_some_and(|text| text.starts_with(OLD)) => *value = OLD.into(),
                    _ => plain(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

fn share(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": name},
        "spec": {"region": "us-east-1", "image": {"id": image}, "shareWith": {"accountIds": ["111122223333"]}},
    })
}

fn create(name: &str, image: &str) -> Step {
    ("POST", "amishares".into(), share(name, image))
}

fn get(rest: &str) -> Step {
    ("GET", format!("amishares{rest}"), Value::Null)
}

fn patch(name: &str, patch: Value) -> Step {
    ("PATCH", format!("amishares/{name}?fieldManager=amishare"), patch)
}

fn delete(name: &str) -> Step {
    ("DELETE", format!("amishares/{name}?"), Value::Null)
}

/// A status as the operator writes it.
fn status(name: &str, uid: &str, version: &str, status: Value) -> Step {
    let path = format!("amishares/{name}/status?&force=true&fieldManager=amishare");
    let metadata = json!({"name": name, "uid": uid, "resourceVersion": version});
    let body =
        json!({"apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": metadata, "status": status});
    ("APPLY", path, body)
}

/// A status as somebody else writes it.
fn foreign(name: &str, status: Value) -> Step {
    ("PATCH", format!("amishares/{name}/status?fieldManager=somebody"), json!({"status": status}))
}

fn held(uid: &str, version: &str, finalizers: Value) -> Value {
    json!({"metadata": {"uid": uid, "resourceVersion": version, "finalizers": finalizers}})
}

fn condition(kind: &str, text: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Synced", "message": text, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn conditions(kinds: &[&str]) -> Value {
    let all: Vec<Value> = kinds.iter().map(|kind| condition(kind, "as it should be")).collect();
    json!({"observedGeneration": 1, "conditions": all})
}

fn granted(images: &[&str], accounts: &[&str]) -> Value {
    let volumes = json!([{"snapshotIds": ["snap-0123456789abcdef0"], "accountIds": accounts}]);
    let on = |image: &&str| json!({"imageId": image, "launchPermission": accounts, "createVolumePermission": volumes});
    let images: Vec<Value> = images.iter().map(on).collect();
    json!({"granted": images})
}

fn with(mut status: Value, more: Value) -> Value {
    super::state::merge(&mut status, &more);
    status
}

/// Compares the answers to each of the steps.
async fn agree(steps: Vec<Step>) {
    let plane = tokio::task::spawn_blocking(cluster).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let namespace = tokio::task::spawn_blocking(move || kubectl(&plane, &["create", "namespace", NAMESPACE], ""));
    namespace.await.unwrap();
    let memory = Memory::new(amishare::runtime::clock::Clock::wall(), 1);
    let mut real = Peer::new(Client::try_from(config).unwrap());
    let mut ours = Peer::new(memory.connect("conformance").client());
    let mut differences = Vec::new();
    for step in steps {
        let (wanted, got) = (real.ask(&step).await, ours.ask(&step).await);
        let text = |(code, lines): &(u16, Vec<Value>)| {
            format!("{code}\n{}", lines.iter().map(|l| format!("{l:#}")).collect::<Vec<_>>().join("\n"))
        };
        let (wanted, got) = (text(&wanted), text(&got));
        if wanted != got {
            let (method, path, body) = step;
            differences.push(format!("{method} {path} {body}\n\nthe real one: {wanted}\n\nthis one: {got}"));
        }
    }
    assert!(differences.is_empty(), "{} answers differ:\n\n{}", differences.len(), differences.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_as_the_real_api_server_does() {
    let (uid, now, old) = ("$uid-a", "$now-a", "$old-a");
    let both = conditions(&["Ready", "ImageAvailable"]);
    let ours = json!(["amishare.dev/revoke"]);
    let first = vec![
        get("?"),
        create("a", IMAGE),
        create("a", IMAGE),
        create("b", OTHER),
        create("c", IMAGE),
        get("/a"),
        get("/nobody"),
        // The finalizer.
        patch("a", held(uid, now, ours.clone())),
        patch("a", held(uid, now, ours.clone())),
        patch("a", held(uid, old, ours.clone())),
        patch("a", held("00000000-1111-2222-3333-444444444444", now, ours.clone())),
        patch("a", held("00000000-1111-2222-3333-444444444444", old, ours.clone())),
        patch("nobody", held(uid, now, ours.clone())),
        // The status, applied.
        status("a", uid, now, conditions(&["Ready"])),
        status("a", uid, now, conditions(&["Ready"])),
        status("a", uid, old, conditions(&["Ready"])),
        status("a", "00000000-1111-2222-3333-444444444444", now, conditions(&["Ready"])),
        status("nobody", uid, now, conditions(&["Ready"])),
        status("a", uid, now, conditions(&["ImageAvailable", "Ready", "Stalled"])),
        status("a", uid, now, conditions(&["Stalled", "Ready", "Expired"])),
        status("a", uid, now, with(both.clone(), granted(&[IMAGE, OTHER], &["111122223333"]))),
        status("a", uid, now, with(both.clone(), granted(&[OTHER], &["111122223333", "222233334444"]))),
        status(
            "a",
            uid,
            now,
            with(both.clone(), json!({"pendingChanges": ["one", "two"], "lastHandledReconcileAt": "x"})),
        ),
        status("a", uid, now, both.clone()),
        // The status, written by somebody else, and applied again.
        foreign("a", json!({"lastHandledReconcileAt": "somebody's"})),
        status("a", uid, now, both.clone()),
        status("a", uid, now, with(both.clone(), json!({"lastHandledReconcileAt": "ours"}))),
        status("a", uid, now, both.clone()),
        foreign("a", json!({"conditions": [condition("Foreign", "of somebody else"), condition("Ready", "no")]})),
        status("a", uid, now, conditions(&["ImageAvailable", "Ready"])),
        status("a", uid, now, conditions(&["ImageAvailable", "Ready"])),
        foreign("a", granted(&[IMAGE], &["999999999999"])),
        status("a", uid, now, with(both.clone(), granted(&[OTHER], &["111122223333"]))),
        foreign("a", Value::Null),
        status("a", uid, now, with(both.clone(), granted(&[OTHER], &["111122223333"]))),
        foreign("a", json!({"granted": null})),
        status("a", uid, now, with(both.clone(), granted(&[OTHER], &["111122223333"]))),
        // A patch of one part does not touch the other.
        status("a", uid, now, json!({})),
        patch("a", json!({"status": {"observedGeneration": 7}})),
        foreign("a", json!({"observedGeneration": 2})),
        // The spec.
        patch("a", json!({"spec": {"suspend": true}})),
        patch("a", json!({"spec": {"suspend": true}})),
        patch("a", json!({"spec": {"suspend": null, "interval": null, "expiresAt": "2027-01-01T00:00:00Z"}})),
        patch("a", json!({"spec": {"image": {"id": OTHER}, "expiresAt": null}})),
        patch("a", json!({"metadata": {"annotations": {"reconcile.amishare.dev/requestedAt": "now"}}})),
        patch(
            "a",
            json!({"metadata": {"annotations": {"reconcile.amishare.dev/requestedAt": null}, "labels": {"a": "b"}}}),
        ),
        // Lists.
        get(&format!("?fieldSelector=spec.image.id%3D{OTHER}%2Cspec.region%3Dus-east-1")),
        get("?fieldSelector=spec.image.id%3Dami-00000001"),
        get("?limit=2"),
        get("?limit=2&continue=$continue"),
        get("?limit=500"),
        // Deletion.
        delete("b"),
        delete("b"),
        delete("a"),
        delete("a"),
        status("a", uid, now, both.clone()),
        patch("a", json!({"spec": {"suspend": true}})),
        patch("a", held(uid, old, json!([]))),
        patch("a", held(uid, now, json!([]))),
        get("/a"),
        status("a", uid, now, both.clone()),
        patch("a", held(uid, now, ours.clone())),
        create("a", IMAGE),
        patch("a", held(uid, now, ours.clone())),
        patch("a", held(uid, now, json!(["example.com/another", "amishare.dev/revoke"]))),
        delete("a"),
        patch("a", held(uid, now, json!(["example.com/another"]))),
        patch("a", json!({"metadata": {"finalizers": null}})),
        get("?"),
    ];
    let last = vec![
        // Events.
        ("POST", "events?".into(), event()),
        ("POST", "events?".into(), event()),
        // Everything that happened, in order; and from before anybody can remember.
        get("?watch=true&timeoutSeconds=1&resourceVersion=$first&allowWatchBookmarks=true"),
        get("?watch=true&timeoutSeconds=1&resourceVersion=1&allowWatchBookmarks=true"),
    ];
    agree([first, of_distributions(&ours, &both), last].concat()).await;
}

/// What a distribution does with its AmiShares, and what is done with it.
fn of_distributions(ours: &Value, both: &Value) -> Vec<Step> {
    vec![
        // What is applied as a whole.
        applied(&["111122223333", "222233334444"]),
        applied(&["111122223333", "222233334444"]),
        patch("d", json!({"spec": {"shareWith": {"accountIds": ["111122223333", "222233334444", "333344445555"]}}})),
        applied(&["111122223333"]),
        patch("d", json!({"spec": {"suspend": true}})),
        applied(&["111122223333", "444455556666"]),
        get("?labelSelector=amishare.dev%2Fdistribution"),
        get("?watch=true&timeoutSeconds=1&resourceVersion=$first&labelSelector=amishare.dev%2Fdistribution"),
        deleted_if("d", "00000000-1111-2222-3333-444444444444"),
        deleted_if("d", "$uid-d"),
        deleted_if("d", "$uid-d"),
        // Distributions.
        ("POST", "amidistributions?".into(), distribution("e", IMAGE)),
        ("POST", "amidistributions?".into(), distribution("e", IMAGE)),
        ("GET", "amidistributions/e".into(), Value::Null),
        ("GET", "amidistributions/nobody".into(), Value::Null),
        ("PATCH", "amidistributions/e".into(), held("$uid-e", "$now-e", ours.clone())),
        ("PATCH", "amidistributions/e".into(), json!({"spec": {"source": {"image": {"id": OTHER}}}})),
        ("PATCH", "amidistributions/e".into(), held("$uid-e", "$old-e", ours.clone())),
        (
            "APPLY",
            "amidistributions/e/status?fieldManager=amishare&force=true".into(),
            json!({
                "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution",
                "metadata": {"name": "e", "uid": "$uid-e", "resourceVersion": "$now-e"}, "status": both.clone(),
            }),
        ),
        ("GET", "amidistributions?limit=500".into(), Value::Null),
        ("DELETE", "amidistributions/e".into(), Value::Null),
        ("PATCH", "amidistributions/e".into(), held("$uid-e", "$now-e", json!([]))),
        ("GET", "amidistributions?limit=500".into(), Value::Null),
    ]
}

/// A share that is applied with these accounts.
fn applied(accounts: &[&str]) -> Step {
    let mut whole = share("d", IMAGE);
    whole["metadata"]["labels"] = json!({"amishare.dev/distribution": "e", "amishare.dev/target": "eu"});
    whole["spec"]["shareWith"]["accountIds"] = json!(accounts);
    ("APPLY", "amishares/d?fieldManager=amishare&force=true".into(), whole)
}

fn deleted_if(name: &str, uid: &str) -> Step {
    ("DELETE", format!("amishares/{name}?"), json!({"preconditions": {"uid": uid}}))
}

fn distribution(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": name},
        "spec": {
            "source": {"region": "us-east-1", "image": {"id": image}},
            "targets": [{"name": "eu", "region": "eu-west-1"}, {"name": "us", "region": "us-west-2"}],
            "template": {"tags": {"team": "platform"}}, "share": {"shareWith": {"accountIds": ["111122223333"]}},
        },
    })
}

fn event() -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a.1", "namespace": NAMESPACE},
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Share", "reason": "Shared", "note": "gave", "type": "Normal",
        "reportingController": "amishare.dev/operator", "reportingInstance": "amishare",
        "regarding": {"apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "name": "a", "namespace": NAMESPACE},
    })
}
