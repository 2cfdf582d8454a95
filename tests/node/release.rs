//! A release of the chart on the cluster, a simulated AWS that its pods reach, and what is seen of both.

use std::{collections::BTreeSet, net::SocketAddr};

use amishare::simulator::{Scenario, Simulator};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::block_in_place};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    cluster::Cluster,
    render::{chart, repository},
    wait::eventually,
};

/// The release and its namespace, as the docs have them: helm ties the definitions to both.
pub const NAME: &str = "ami-share-operator";
/// Where the tests have their AmiShares.
pub const IMAGES: &str = "images";

pub const REGION: &str = "us-east-1";
/// The image of the samples that two shares name.
pub const IMAGE: &str = "ami-0123456789abcdef0";
/// One that nobody names but the tests.
pub const OTHER: &str = "ami-0aaaaaaaaaaaaaaa3";

/// The image of the samples that is encrypted, and its key.
pub const ENCRYPTED: &str = "ami-0aaaaaaaaaaaaaaa4";
const KEY: &str = "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666";

pub const A: &str = "111122223333";
pub const B: &str = "444455556666";
pub const C: &str = "777788889999";

/// The AWS of the samples, and images to play with.
const WORLD: &str = r#"
accounts: [{id: "999988887777"}]
copies: {milliseconds: 500}
keys: [{arn: "arn:aws:kms:ap-southeast-2:999988887777:key/33333333-4444-4555-8666-777777777777", aliases: [alias/images]}]
snapshots:
  - {id: snap-0aaaaaaaaaaaaaaa4, region: us-east-1, owner: "999988887777", encryption: customerKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777"}
  - {id: ami-0aaaaaaaaaaaaaaa2, region: us-east-1, owner: "999988887777", launchPermissions: ["222233334444"]}
  - {id: ami-0aaaaaaaaaaaaaaa3, region: us-east-1, owner: "999988887777"}
  - {id: ami-0aaaaaaaaaaaaaaa4, region: us-east-1, owner: "999988887777", snapshots: [snap-0aaaaaaaaaaaaaaa4]}
"#;

/// The cluster, an AWS, and what helm installs.
pub struct Release {
    pub cluster: &'static Cluster,
    pub aws: Simulator,
    /// Where it listens.
    plain: SocketAddr,
    _serving: DropGuard,
}

impl Release {
    /// Nothing is installed yet, and nothing is left of the tests before.
    pub async fn on(cluster: &'static Cluster) -> Self {
        let aws = Simulator::new(Scenario::from_yaml(WORLD).unwrap());
        // On a cluster of the user's, the address that pods see may be that of a bridge or of a router.
        let here = if cluster.is_ours() { cluster.address } else { [0, 0, 0, 0].into() };
        let listener = TcpListener::bind(SocketAddr::from((here, 0))).await.unwrap();
        let plain = listener.local_addr().unwrap();
        let serving = CancellationToken::new();
        let (served, stop) = (aws.clone(), serving.clone());
        tokio::spawn(async move { served.serve(listener, stop.cancelled_owned()).await });
        let release = Self { cluster, aws, plain, _serving: serving.drop_guard() };
        release.clean();
        release
    }

    /// Where the simulated AWS listens, in the eyes of this process.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Creates an object, or makes it so.
    pub fn apply(&self, object: &Value) {
        self.kubectl_with(&["apply", "--server-side", "--filename=-"], &object.to_string());
    }

    /// Removes what a test may have left. Its AmiShares have nobody who could let go of them.
    fn clean(&self) {
        self.helm(&["uninstall", NAME, "--ignore-not-found", "--wait", "--timeout=60s"]);
        let gone = ["wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=operator", "--timeout=60s"];
        self.kubectl(&[&gone[..], &["--namespace", NAME]].concat());
        // The lease is not the release's, and whoever was stopped without its role could not give it back. The pod of a failed test
        // stays for whoever wants to know why.
        let leftovers = [
            &format!("lease/{NAME}"),
            "resourcequota/pods",
            "configmap/company-authorities",
            &format!("pod/{NAME}-test"),
        ];
        self.kubectl(&[&["delete", "--ignore-not-found", "--namespace", NAME][..], &leftovers].concat());
        if self.kubectl(&["get", "crd", "amishares.amishare.dev", "--ignore-not-found", "--output=name"]).is_empty() {
            return;
        }
        for kind in ["amidistributions", "amishares"] {
            for object in self.get(kind, IMAGES)["items"].as_array().unwrap() {
                let object = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap());
                let nothing = json!({"metadata": {"finalizers": null}}).to_string();
                self.kubectl(&["patch", &object, "--namespace", IMAGES, "--type=merge", "--patch", &nothing]);
                self.kubectl(&["delete", &object, "--namespace", IMAGES, "--ignore-not-found"]);
            }
        }
    }

    /// Runs kubectl, which must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    fn kubectl_with(&self, arguments: &[&str], input: &str) -> String {
        let said = block_in_place(|| self.cluster.kubectl(arguments, input));
        said.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// Runs helm in the release's namespace; it must succeed.
    pub fn helm(&self, arguments: &[&str]) -> String {
        self.try_helm(arguments).unwrap_or_else(|error| panic!("helm {arguments:?}: {error}\n{}", self.seen()))
    }

    /// Runs helm in the release's namespace.
    pub fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        block_in_place(|| self.cluster.helm(&[arguments, &["--namespace", NAME]].concat()))
    }

    /// What the release's namespace looks like, for whoever must find out why something failed.
    fn seen(&self) -> String {
        let look = |arguments: &[&str]| {
            let all = [arguments, &["--namespace", NAME]].concat();
            block_in_place(|| self.cluster.kubectl(&all, "")).unwrap_or_else(|error| error)
        };
        let logs = ["logs", "--selector=app.kubernetes.io/component=operator", "--tail=30", "--prefix"];
        [look(&["get", "pods", "--output=wide"]), look(&["get", "events"]), look(&logs)].join("\n")
    }

    /// The values with which the operator runs here, as flags of helm.
    fn values(&self) -> Vec<String> {
        let (repository, tag) = self.cluster.image.rsplit_once(':').unwrap();
        let endpoint = SocketAddr::from((self.cluster.address, self.plain.port()));
        let environment = json!([
            {"name": "AWS_ACCESS_KEY_ID", "value": "999988887777"},
            {"name": "AWS_SECRET_ACCESS_KEY", "value": "secret"},
        ]);
        vec![
            format!("--set=image.repository={repository},image.tag={tag},image.pullPolicy=IfNotPresent"),
            format!("--set=aws.region={REGION},aws.endpointUrl=http://{endpoint}"),
            format!("--set-json=extraEnv={environment}"),
        ]
    }

    /// Installs the chart, into a namespace that refuses whatever Pod Security `restricted` does not allow, and waits for its pods.
    pub fn install(&self, values: &[&str]) -> String {
        for namespace in [NAME, IMAGES] {
            let manifest = json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            });
            self.apply(&manifest);
        }
        self.helm(&self.arguments("install", values).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Upgrades the release to these values, and waits for its pods.
    pub fn upgrade(&self, values: &[&str]) -> Result<String, String> {
        self.try_helm(&self.arguments("upgrade", values).iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn arguments(&self, command: &str, values: &[&str]) -> Vec<String> {
        let mut arguments = vec![command.to_owned(), NAME.to_owned(), chart()];
        arguments.extend(self.values());
        arguments.extend(["--wait".to_owned(), "--timeout=90s".to_owned()]);
        arguments.extend(values.iter().map(|value| (*value).to_owned()));
        arguments
    }

    /// An object, or a list of them.
    pub fn get(&self, what: &str, namespace: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", what, "--namespace", namespace, "--output=json"])).unwrap()
    }

    /// Whether there is such an object in the release's namespace or in none.
    pub fn there_is(&self, object: &str) -> bool {
        !self.kubectl(&["get", object, "--namespace", NAME, "--ignore-not-found", "--output=name"]).is_empty()
    }

    /// Lets there be so many pods in the release's namespace. Those that are there already stay.
    pub fn allow_pods(&self, number: u32) {
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "pods", "namespace": NAME},
            "spec": {"hard": {"pods": number.to_string()}},
        });
        self.apply(&quota);
    }

    /// The operator's pods that are not being deleted, by name.
    pub fn pods(&self) -> Vec<Value> {
        let selector = "--selector=app.kubernetes.io/component=operator";
        let list = self.kubectl(&["get", "pods", selector, "--namespace", NAME, "--output=json"]);
        let mut list: Value = serde_json::from_str(&list).unwrap();
        let mut pods: Vec<Value> = std::mem::take(list["items"].as_array_mut().unwrap());
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    /// The names of those that are ready.
    pub fn ready_pods(&self) -> BTreeSet<String> {
        let is_ready = |pod: &&Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        self.pods().iter().filter(is_ready).map(name).collect()
    }

    /// The pod that holds the lease.
    pub fn leader(&self) -> String {
        let lease = self.get(&format!("lease/{NAME}"), NAME);
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holder.split('_').next().unwrap_or_default().to_owned()
    }

    /// A page of a pod, by way of the API server.
    pub fn page(&self, pod: &str, port: u16, page: &str) -> Result<String, String> {
        let path = format!("/api/v1/namespaces/{NAME}/pods/{pod}:{port}/proxy{page}");
        block_in_place(|| self.cluster.kubectl(&["get", "--raw", &path], ""))
    }

    /// Declares with whom an image is shared.
    pub fn share(&self, share: &str, image: &str, accounts: &[&str]) {
        let manifest = json!({
            "apiVersion": "amishare.dev/v1alpha1",
            "kind": "AmiShare",
            "metadata": {"name": share, "namespace": IMAGES},
            "spec": {"region": REGION, "image": {"id": image}, "shareWith": {"accountIds": accounts}},
        });
        self.apply(&manifest);
    }

    /// Applies the samples of AmiShares, and waits until all that share something are ready.
    pub async fn apply_samples(&self) {
        for sample in ["audit", "base", "partner", "organization", "encrypted"] {
            let sample = repository().join(format!("config/samples/{sample}.yaml")).display().to_string();
            self.kubectl(&["apply", "--namespace", IMAGES, "--filename", &sample]);
        }
        for share in ["base", "partner", "organization", "encrypted"] {
            self.wait_ready(share, "True", "Synced").await;
        }
    }

    /// Waits until a share says this of itself, and returns the message.
    pub async fn wait_ready(&self, share: &str, status: &str, reason: &str) -> String {
        self.wait_object_ready(&format!("amishare/{share}"), status, reason).await
    }

    /// Waits until an object says this of itself, and returns the message.
    pub async fn wait_object_ready(&self, object: &str, status: &str, reason: &str) -> String {
        eventually(&format!("{object} is Ready={status}, {reason}"), || async {
            let object = self.get(object, IMAGES);
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
            let is_new = ready["observedGeneration"] == object["metadata"]["generation"];
            if is_new && ready["status"] == status && ready["reason"] == reason {
                Ok(ready["message"].as_str().unwrap_or_default().to_owned())
            } else {
                Err(format!("{ready}\n{}", self.seen()))
            }
        })
        .await
    }

    /// Whom AWS lets launch an image.
    pub fn holders(&self, image: &str) -> BTreeSet<String> {
        self.aws.launch_permissions(REGION, image)
    }

    /// The names of the grants on the key of the encrypted image.
    pub fn grants(&self) -> BTreeSet<String> {
        self.aws.with_world(|aws| {
            let grants = aws.key(KEY).into_iter().flat_map(|key| key.grants.values());
            grants.filter_map(|grant| grant.name.clone()).collect()
        })
    }

    /// Waits until AWS lets exactly these launch an image.
    pub async fn wait_holders(&self, image: &str, accounts: &[&str]) {
        let wanted: BTreeSet<String> = accounts.iter().map(|account| (*account).to_owned()).collect();
        eventually(&format!("{image} is shared with {wanted:?}"), || async {
            let holders = self.holders(image);
            if holders == wanted { Ok(()) } else { Err(format!("{holders:?}\n{}", self.seen())) }
        })
        .await;
    }
}

/// The name of an object.
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The id of a pod's container, as its kubelet has it.
pub fn container(pod: &Value) -> String {
    pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default().to_owned()
}
