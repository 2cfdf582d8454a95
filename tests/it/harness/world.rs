//! A world of its own for one test: a namespace, a simulated AWS behind a port, and an operator between the two.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use amishare::{
    api::{AmiShare, AmiShareStatus},
    cli::{RunArgs, Surroundings, operate},
    lease::WritePermit,
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
    simulator::{Call, Scenario, Simulator},
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use clap::Parser;
use envtest::ControlPlane;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    cluster::{cluster, kubectl, operators},
    eventually,
};

/// The account whose images are shared, in every scenario.
pub const OWNER: &str = "999988887777";

/// Numbers worlds and requests, so that their names differ.
static WORLDS: AtomicU32 = AtomicU32::new(0);
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// What a world begins with.
#[derive(Default)]
pub struct Setup {
    /// The simulated AWS, in YAML; [`World::image`]'s image and its snapshot if empty.
    pub scenario: &'static str,
    /// Flags of the operator besides the namespaces.
    pub flags: &'static [&'static str],
    /// How many namespaces the operator watches beyond the first.
    pub more_namespaces: usize,
}

/// A namespace, a simulated AWS and an operator. Dropped, the operator stops.
pub struct World {
    plane: Arc<ControlPlane>,
    pub namespaces: Vec<String>,
    pub aws: Simulator,
    pub client: Client,
    /// The operator's, which may do no more than the chart lets it.
    permitted: Client,
    pub metrics: Arc<Metrics>,
    /// Where the simulated AWS listens.
    pub endpoint: String,
    flags: Vec<String>,
    operator: Option<Operator>,
    _serving: DropGuard,
}

struct Operator {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: RunArgs,
}

/// The image that most tests share, in `us-east-1`, owned by [`OWNER`], with [`SNAPSHOT`].
pub const IMAGE: &str = "ami-0123456789abcdef0";
/// Its snapshot.
pub const SNAPSHOT: &str = "snap-0123456789abcdef0";
/// Where it is.
pub const REGION: &str = "us-east-1";

/// An AWS with [`IMAGE`] and nothing else.
pub const PLAIN: &str = r#"
accounts: [{id: "999988887777"}]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
"#;

/// The flag of an operator that has to do with AmiShares alone, as the API server in memory has.
pub const SHARES_ALONE: &str = "--distributions=false";

/// The arguments of `amishare run` with these flags.
pub fn run_args(flags: impl IntoIterator<Item = String>) -> RunArgs {
    Flags::parse_from(std::iter::once("test".to_owned()).chain(flags)).run
}

/// The way to a cluster.
async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

impl World {
    /// A world with an operator that is ready.
    pub async fn start(setup: Setup) -> Self {
        let mut world = Self::without_operator(setup).await;
        world.start_operator().await;
        world
    }

    /// A world whose operator is yet to be started.
    pub async fn without_operator(setup: Setup) -> Self {
        let plane = tokio::task::spawn_blocking(cluster).await.unwrap();
        Self::on(plane, setup).await
    }

    /// A world on a cluster of its own, whose operator is yet to be started.
    pub async fn on(plane: Arc<ControlPlane>, setup: Setup) -> Self {
        // Failing means that another test has done it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let scenario = if setup.scenario.is_empty() { PLAIN } else { setup.scenario };
        let aws = Simulator::new(Scenario::from_yaml(scenario).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = CancellationToken::new();
        let (served, stop) = (aws.clone(), serving.clone());
        tokio::spawn(async move { served.serve(listener, stop.cancelled_owned()).await });

        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespaces: Vec<String> = (0..=setup.more_namespaces).map(|n| format!("world-{number}-{n}")).collect();
        for namespace in &namespaces {
            let made = tokio::task::spawn_blocking({
                let (plane, namespace) = (Arc::clone(&plane), namespace.clone());
                move || kubectl(&plane, &["create", "namespace", &namespace], "")
            });
            assert!(made.await.unwrap().status.success());
        }
        let operators = tokio::task::spawn_blocking({
            let plane = Arc::clone(&plane);
            move || operators(&plane)
        });
        let (client, permitted) = (client(plane.kubeconfig()).await, client(&operators.await.unwrap()).await);
        Self {
            plane,
            namespaces,
            aws,
            client,
            permitted,
            metrics: Arc::new(Metrics::new()),
            endpoint,
            flags: setup.flags.iter().map(|f| (*f).to_owned()).collect(),
            operator: None,
            _serving: serving.drop_guard(),
        }
    }

    /// Starts the operator, and waits until it knows all objects.
    pub async fn start_operator(&mut self) {
        self.start_operator_as(OWNER).await;
    }

    /// The same, with the credentials of an account.
    pub async fn start_operator_as(&mut self, account: &str) {
        self.start_operator_with(self.sdk(account)).await;
    }

    /// The same, with a way to AWS of one's own.
    pub async fn start_operator_with(&mut self, sdk: SdkConfig) {
        let namespaces = format!("--namespaces={}", self.namespaces.join(","));
        let flags = [namespaces].into_iter().chain(self.flags.iter().cloned());
        let args = run_args(flags);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let surroundings = Surroundings {
            client: self.permitted.clone(),
            sdk,
            metrics: Arc::clone(&self.metrics),
            readiness: readiness.clone(),
            clock: Clock::wall(),
            entropy: Entropy::of_the_system(),
            permit: WritePermit::always(),
        };
        let stopping = stop.clone();
        let task = tokio::spawn(async move { operate(&args, surroundings, stopping).await.unwrap() });
        self.operator = Some(Operator { stop, task });
        eventually("the operator is ready", || async {
            let missing = readiness.missing();
            if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
        })
        .await;
    }

    /// Stops the operator, and waits until it has.
    pub async fn stop_operator(&mut self) {
        if let Some(Operator { stop, task }) = self.operator.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// The SDK's configuration of an account that talks to the simulated AWS over HTTP.
    pub fn sdk(&self, account: &str) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                account, "secret", None, None, "test",
            )))
            .build()
    }

    /// The namespace of tests that need only one.
    pub fn namespace(&self) -> &str {
        &self.namespaces[0]
    }

    /// The AmiShares of the first namespace.
    pub fn shares(&self) -> Api<AmiShare> {
        Api::namespaced(self.client.clone(), self.namespace())
    }

    /// A manifest of an AmiShare of [`IMAGE`]: `spec` is YAML in braces-free lines, indented by two, after region and image.
    pub fn manifest(name: &str, spec: &str) -> String {
        format!(
            "apiVersion: amishare.dev/v1alpha1\nkind: AmiShare\nmetadata: {{name: {name}}}\nspec:\n  region: {REGION}\n  \
             image: {{id: {IMAGE}}}\n{spec}\n"
        )
    }

    /// Applies a manifest with kubectl; returns what kubectl says, and whether it succeeded.
    pub async fn apply_in(&self, namespace: &str, manifest: &str) -> Result<String, String> {
        self.kubectl_in(namespace, &["apply", "-f", "-"], manifest).await
    }

    /// Applies an AmiShare of [`IMAGE`] in the first namespace; it must be accepted.
    pub async fn apply(&self, name: &str, spec: &str) {
        self.apply_in(self.namespace(), &Self::manifest(name, spec)).await.unwrap();
    }

    /// Runs kubectl in the first namespace; it must succeed.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_in(self.namespace(), arguments, "").await.unwrap()
    }

    /// Runs kubectl in a namespace.
    pub async fn kubectl_in(&self, namespace: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let output = self.kubectl_output(namespace, arguments, input).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs kubectl in a namespace, and returns everything that came of it.
    pub async fn kubectl_output(&self, namespace: &str, arguments: &[&str], input: &str) -> Output {
        let mut all = vec!["--namespace".to_owned(), namespace.to_owned()];
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        let (plane, input) = (Arc::clone(&self.plane), input.to_owned());
        let run = move || {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            kubectl(&plane, &all, &input)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The status of an AmiShare of the first namespace.
    pub async fn status(&self, name: &str) -> AmiShareStatus {
        self.shares().get(name).await.unwrap().status.unwrap_or_default()
    }

    /// Waits until the `Ready` condition of the present generation has this status and reason, and returns its message.
    pub async fn wait_ready(&self, name: &str, status: &str, reason: &str) -> String {
        self.wait_condition(self.namespace(), name, "Ready", status, reason).await
    }

    /// Status and reason of the `Ready` condition of the present generation, if it has one.
    pub async fn ready_now(&self, name: &str) -> Option<(String, String)> {
        let share = self.shares().get(name).await.unwrap();
        let conditions = share.status.map(|status| status.conditions).unwrap_or_default();
        let ready =
            conditions.into_iter().find(|c| c.type_ == "Ready" && c.observed_generation == share.metadata.generation);
        ready.map(|c| (c.status, c.reason))
    }

    /// Waits until a condition of the present generation has this status and reason, and returns its message.
    pub async fn wait_condition(&self, namespace: &str, name: &str, kind: &str, status: &str, reason: &str) -> String {
        let api: Api<AmiShare> = Api::namespaced(self.client.clone(), namespace);
        eventually(&format!("{name} is {kind}={status}, {reason}"), || async {
            let share = api.get(name).await.map_err(|e| e.to_string())?;
            let seen = share.status.clone().unwrap_or_default();
            let condition = seen.conditions.iter().find(|c| c.type_ == kind);
            match condition {
                Some(c)
                    if c.status == status
                        && c.reason == reason
                        && c.observed_generation == share.metadata.generation
                        && seen.observed_generation == share.metadata.generation =>
                {
                    Ok(c.message.clone())
                }
                _ => Err(serde_json::to_string(&seen).unwrap()),
            }
        })
        .await
    }

    /// Waits until exactly these hold a launch permission on [`IMAGE`].
    pub async fn wait_shared_with(&self, principals: &[&str]) {
        self.wait_launch_permissions(IMAGE, principals).await;
    }

    /// Waits until exactly these hold a launch permission on an image.
    pub async fn wait_launch_permissions(&self, image: &str, principals: &[&str]) {
        let wanted: BTreeSet<String> = principals.iter().map(|p| (*p).to_owned()).collect();
        eventually(&format!("{image} is shared with {wanted:?}"), || async {
            let held = self.launch_permissions(image);
            if held == wanted { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    }

    /// Waits until exactly these hold createVolumePermission on a snapshot.
    pub async fn wait_volume_permissions(&self, snapshot: &str, accounts: &[&str]) {
        let wanted: BTreeSet<String> = accounts.iter().map(|p| (*p).to_owned()).collect();
        eventually(&format!("{snapshot} is shared with {wanted:?}"), || async {
            let held = self.volume_permissions(snapshot);
            if held == wanted { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    }

    /// Who holds a launch permission on an image now.
    pub fn launch_permissions(&self, image: &str) -> BTreeSet<String> {
        self.aws.launch_permissions(REGION, image).into_iter().collect()
    }

    /// Who holds createVolumePermission on a snapshot now.
    pub fn volume_permissions(&self, snapshot: &str) -> BTreeSet<String> {
        self.aws.create_volume_permissions(REGION, snapshot).into_iter().collect()
    }

    /// Waits until an AmiShare of the first namespace is no more.
    pub async fn wait_gone(&self, name: &str) {
        eventually(&format!("{name} is gone"), || async {
            match self.shares().get_opt(name).await.unwrap() {
                None => Ok(()),
                Some(share) => Err(serde_json::to_string(&share).unwrap()),
            }
        })
        .await;
    }

    /// Asks the operator to check an AmiShare now, and waits until it has.
    pub async fn check_now(&self, name: &str) {
        let token = format!("request-{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        let annotation = format!("reconcile.amishare.dev/requestedAt={token}");
        self.kubectl(&["annotate", "--overwrite", "amishare", name, &annotation]).await;
        eventually(&format!("{name} has handled {token}"), || async {
            let seen = self.status(name).await.last_handled_reconcile_at;
            if seen.as_deref() == Some(&token) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    /// The account that is not the operator does something in AWS: a call by somebody else, past the wire.
    pub fn rogue(&self, account: &str, action: &str, parameters: &[(&str, &str)]) {
        self.rogue_in(REGION, account, action, parameters);
    }

    /// The same in another Region.
    pub fn rogue_in(&self, region: &str, account: &str, action: &str, parameters: &[(&str, &str)]) {
        self.aws.call(account, region, action, parameters).unwrap();
    }

    /// The events about an AmiShare of the first namespace: type, reason and note.
    pub async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), self.namespace());
        let events = api.list(&ListParams::default().fields(&format!("regarding.name={name}"))).await.unwrap();
        let mut events: Vec<Event> = events.items;
        events.sort_by_key(|e| e.event_time.as_ref().map(|t| t.0));
        let text = |text: Option<String>| text.unwrap_or_default();
        events.into_iter().map(|e| (text(e.type_), text(e.reason), text(e.note))).collect()
    }

    /// Waits for an event about an AmiShare whose note contains `part`.
    pub async fn wait_event(&self, name: &str, reason: &str, part: &str) {
        eventually(&format!("an event {reason} about {name} with {part:?}"), || async {
            let events = self.events(name).await;
            let found = events.iter().any(|(_, r, note)| r == reason && note.contains(part));
            if found { Ok(()) } else { Err(format!("{events:?}")) }
        })
        .await;
    }

    /// How often each action of AWS was called since the last [`Simulator::clear_calls`].
    pub fn calls_by_action(&self) -> std::collections::BTreeMap<String, usize> {
        let mut count = std::collections::BTreeMap::new();
        for Call { action, .. } in self.aws.calls() {
            *count.entry(action).or_default() += 1;
        }
        count
    }
}
