//! The Kubernetes side of a measurement: an API server with the definitions and the objects.

use std::{
    collections::HashMap,
    io::Write as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use envtest::ControlPlane;
use futures::{StreamExt as _, TryStreamExt as _, pin_mut, stream};
use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::WatchEvent,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::world::{NAMESPACE, Size};

/// How many requests this program has under way at the API server when it plays the user.
const AT_ONCE: usize = 32;

/// Where the objects are.
pub fn collection() -> String {
    format!("/apis/amishare.dev/v1alpha1/namespaces/{NAMESPACE}/amishares")
}

/// What is read of an object: little, so that to look on costs little.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    metadata: SeenMetadata,
    #[serde(default)]
    status: SeenStatus,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    resource_version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeenStatus {
    #[serde(default)]
    conditions: Vec<SeenCondition>,
    last_handled_reconcile_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct SeenCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Seen {
    fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True")
    }
}

#[derive(Debug, Deserialize)]
struct SeenList {
    metadata: ListMetadata,
    items: Vec<Seen>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// An API server with our definitions.
pub struct Cluster {
    /// Its processes.
    pub plane: ControlPlane,
    /// A client of it.
    pub client: Client,
}

/// A client for a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let (kubeconfig, options) = (Kubeconfig::read_from(kubeconfig)?, KubeConfigOptions::default());
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
}

/// Sends JSON to the API server, which must accept it; the answer is not read.
pub async fn send(client: &Client, method: &str, path: &str, kind: &str, body: &Value) -> Result<()> {
    let builder = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = builder.body(serde_json::to_vec(body)?)?;
    client.request_text(request).await.with_context(|| format!("{method} {path}"))?;
    Ok(())
}

impl Cluster {
    /// Starts one.
    pub async fn start(crds: &Path) -> Result<Self> {
        let plane = tokio::task::spawn_blocking(|| ControlPlane::start(&envtest::assets()?)).await??;
        let client = client(plane.kubeconfig()).await?;
        let cluster = Self { plane, client };
        cluster.define(&crds.join("amishare.dev_amishares.yaml"))?;
        Ok(cluster)
    }

    /// Defines a kind.
    pub fn define(&self, crd: &Path) -> Result<()> {
        kubectl(&self.plane, &["apply", "--server-side", "-f", "-"], &std::fs::read_to_string(crd)?)?;
        kubectl(&self.plane, &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "")
    }

    /// Creates all objects of a size.
    pub async fn create(&self, size: Size, interval: &str) -> Result<()> {
        let path = format!("{}?fieldManager=user", collection());
        let create = |index| {
            let (manifest, path) = (size.manifest(index, interval), path.clone());
            async move { send(&self.client, "POST", &path, "application/json", &manifest).await }
        };
        stream::iter(0..size.images).map(create).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    /// Asks for every object to be checked now, as `kubectl annotate --all` does.
    pub async fn ask_for_checks(&self, size: Size, token: &str) -> Result<()> {
        let ask = |index| async move {
            let path = format!("{}/{}?fieldManager=user", collection(), Size::share(index));
            send(&self.client, "PATCH", &path, "application/merge-patch+json", &annotation(token)).await
        };
        stream::iter(0..size.images).map(ask).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    /// The version of every object.
    pub async fn versions(&self) -> Result<HashMap<String, String>> {
        let (items, _) = self.list().await?;
        Ok(items.into_iter().map(|seen| (seen.metadata.name, seen.metadata.resource_version)).collect())
    }

    /// How many events there are.
    pub async fn events(&self) -> Result<usize> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
        Ok(self.client.request::<SeenList>(Request::get(path).body(Vec::new())?).await?.items.len())
    }

    /// Begins to look on.
    pub async fn watch(&self) -> Result<Onlooker> {
        let (items, mut version) = self.list().await?;
        let objects = items.into_iter().map(|seen| (seen.metadata.name.clone(), seen)).collect();
        let (sender, seen) = unbounded_channel();
        let cluster = self.client.clone();
        tokio::spawn(async move {
            // The API server ends a watch when it sees fit; what was missed is in the next list.
            while watch_once(&cluster, &version, &sender).await.is_ok() {
                let Ok((items, newer)) = list(&cluster).await else { return };
                version = newer;
                for seen in items {
                    drop(sender.send(seen));
                }
            }
        });
        Ok(Onlooker { objects, seen })
    }

    async fn list(&self) -> Result<(Vec<Seen>, String)> {
        list(&self.client).await
    }
}

async fn list(client: &Client) -> Result<(Vec<Seen>, String)> {
    let (mut items, mut next) = (Vec::new(), None::<String>);
    loop {
        let page = next.map_or_else(String::new, |token| format!("&continue={token}"));
        let path = format!("{}?limit=500{page}", collection());
        let list: SeenList = client.request(Request::get(path).body(Vec::new())?).await?;
        items.extend(list.items);
        next = list.metadata.next.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok((items, list.metadata.resource_version));
        }
    }
}

/// Tells of changes until the watch ends. An error when nobody listens any more.
async fn watch_once(client: &Client, version: &str, to: &UnboundedSender<Seen>) -> Result<()> {
    let path = format!("{}?watch=1&timeoutSeconds=3600&resourceVersion={version}", collection());
    let stream = client.request_events::<Seen>(Request::get(path).body(Vec::new())?).await?;
    pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(WatchEvent::Added(seen) | WatchEvent::Modified(seen)) => to.send(seen).context("nobody listens")?,
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// The patch that asks for a check.
pub fn annotation(token: &str) -> Value {
    json!({"metadata": {"annotations": {"reconcile.amishare.dev/requestedAt": token}}})
}

/// Looks on while the operator works.
pub struct Onlooker {
    objects: HashMap<String, Seen>,
    seen: UnboundedReceiver<Seen>,
}

impl Onlooker {
    /// Waits until all objects are ready and have been checked for this request, if there is one.
    pub async fn all_ready(&mut self, token: Option<&str>, patience: Duration) -> Result<Instant> {
        let done = |seen: &Seen| {
            seen.is_ready() && token.is_none_or(|t| seen.status.last_handled_reconcile_at.as_deref() == Some(t))
        };
        let mut missing = self.objects.values().filter(|seen| !done(seen)).count();
        let deadline = tokio::time::Instant::now() + patience;
        while missing > 0 {
            let Ok(seen) = tokio::time::timeout_at(deadline, self.seen.recv()).await else {
                let example = self.objects.values().find(|seen| !done(seen));
                bail!("{missing} objects are not done after {} s, such as {example:?}", patience.as_secs());
            };
            let seen = seen.context("the API server can no longer be asked")?;
            let is = done(&seen);
            let was = self.objects.insert(seen.metadata.name.clone(), seen).is_some_and(|before| done(&before));
            missing = if is && !was {
                missing - 1
            } else if was && !is {
                missing + 1
            } else {
                missing
            };
        }
        Ok(Instant::now())
    }
}

fn kubectl(plane: &ControlPlane, arguments: &[&str], input: &str) -> Result<()> {
    let mut command = plane.kubectl();
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
