//! A world in which images are copied.

use std::collections::BTreeMap;

use amishare::{
    api::{
        AmiDistribution, AmiDistributionStatus, AmiShare,
        ami_distribution::TargetStatus,
        conditions::{self, ConditionType},
    },
    simulator::{Image, ImageState},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{Setup, World, eventually, world::IMAGE};

/// An AWS in which copies take a moment.
pub const QUICK: &str = r#"
accounts: [{id: "999988887777"}]
copies: {milliseconds: 700}
keys:
  - {arn: "arn:aws:kms:eu-west-1:999988887777:key/22222222-3333-4444-8555-666666666666", aliases: [alias/images]}
  - {arn: "arn:aws:kms:eu-west-1:999988887777:key/33333333-3333-4444-8555-666666666666", aliases: [alias/others]}
snapshots:
  - {id: snap-0fedcba9876543210, region: us-east-1, owner: "999988887777", encryption: customerKey, kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0], tags: {team: platform}}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", name: golden-2, snapshots: [snap-0aaaaaaaaaaaaaaa1]}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", name: secret, snapshots: [snap-0fedcba9876543210]}
"#;

/// The same with another account.
const ACCOUNTS: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"]}]
copies: {milliseconds: 700}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
"#;

/// Who the operator may be in the two accounts.
pub const IDENTITIES: &str = r#"
apiVersion: config.amishare.dev/v1alpha1
kind: OperatorConfiguration
identities:
  - {name: default, namespaces: ["*"], accountId: "999988887777"}
  - {name: prod, namespaces: ["*"], assumeRole: {roleArn: "arn:aws:iam::444455556666:role/amishare"}}
"#;

/// Another image of the same account.
pub const NEWER: &str = "ami-0aaaaaaaaaaaaaaa1";

/// One that is encrypted.
pub const ENCRYPTED: &str = "ami-0fedcba9876543210";

/// The Region that most copies go to.
pub const EU: &str = "eu-west-1";

/// A world with [`QUICK`] and an operator.
pub async fn start() -> World {
    World::start(Setup { scenario: QUICK, ..Setup::default() }).await
}

/// The same without an operator.
pub async fn without_operator() -> World {
    World::without_operator(Setup { scenario: QUICK, ..Setup::default() }).await
}

/// The same with a configuration file, and a role that the operator may assume in another account.
pub async fn start_with(configuration: &str) -> World {
    start_in(ACCOUNTS, configuration).await
}

/// Another world with a configuration file.
pub async fn start_in(scenario: &'static str, configuration: &str) -> World {
    let file = tempfile::NamedTempFile::new().unwrap().keep().unwrap().1;
    std::fs::write(&file, configuration).unwrap();
    let flag: &'static str = Box::leak(format!("--config={}", file.display()).into_boxed_str());
    let flags: &'static [&'static str] = Box::leak(vec![flag].into_boxed_slice());
    World::start(Setup { scenario, flags, ..Setup::default() }).await
}

/// The distributions of a world.
pub fn distributions(world: &World) -> Api<AmiDistribution> {
    Api::namespaced(world.client.clone(), world.namespace())
}

/// Creates a distribution of [`IMAGE`], or of what the spec says.
pub async fn create(world: &World, name: &str, spec: Value) -> AmiDistribution {
    let mut whole = json!({"source": {"region": "us-east-1", "image": {"id": IMAGE}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": name}, "spec": whole,
    });
    let object = serde_json::from_value(object).unwrap();
    distributions(world).create(&PostParams::default(), &object).await.unwrap()
}

/// Changes a distribution by a merge patch.
pub async fn patch(world: &World, name: &str, patch: Value) {
    distributions(world).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Asks for a deletion.
pub async fn delete(world: &World, name: &str) {
    distributions(world).delete(name, &DeleteParams::default()).await.unwrap();
}

/// Waits until a distribution is no more.
pub async fn wait_gone(world: &World, name: &str) {
    eventually(&format!("{name} is gone"), || async {
        match distributions(world).get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(object) => Err(serde_json::to_string(&object).unwrap()),
        }
    })
    .await;
}

/// The status of a distribution.
pub async fn status(world: &World, name: &str) -> AmiDistributionStatus {
    distributions(world).get(name).await.unwrap().status.unwrap_or_default()
}

/// A target of a distribution's status.
pub async fn target(world: &World, name: &str, target: &str) -> TargetStatus {
    let status = status(world, name).await;
    status.targets.iter().find(|line| line.name == target).unwrap_or_else(|| panic!("{status:?}")).clone()
}

/// Waits until the `Ready` condition of the present generation has this status and reason.
pub async fn wait_ready(world: &World, name: &str, wanted: &str, reason: &str) -> Condition {
    eventually(&format!("{name} is Ready={wanted}, {reason}"), || async {
        let object = distributions(world).get(name).await.map_err(|e| e.to_string())?;
        let status = object.status.unwrap_or_default();
        match conditions::find(&status.conditions, ConditionType::Ready) {
            Some(ready)
                if ready.status == wanted
                    && ready.reason == reason
                    && ready.observed_generation == object.metadata.generation =>
            {
                Ok(ready.clone())
            }
            _ => Err(serde_json::to_string(&status).unwrap()),
        }
    })
    .await
}

/// The images of a Region of the simulated AWS.
pub fn images(world: &World, region: &str) -> Vec<Image> {
    let is_there = |image: &&Image| image.state != ImageState::Deregistered;
    world.aws.with_world(|aws| {
        aws.regions.get(region).map(|here| here.images.values().filter(is_there).cloned().collect()).unwrap_or_default()
    })
}

/// The AmiShares of the first namespace.
pub async fn children(world: &World) -> Vec<AmiShare> {
    world.shares().list(&ListParams::default()).await.unwrap().items
}

/// Who holds a launch permission on an image.
pub fn held(world: &World, region: &str, image: &str) -> Vec<String> {
    world.aws.launch_permissions(region, image).into_iter().collect()
}

/// The ids of the snapshots of a Region.
pub fn snapshots(world: &World, region: &str) -> Vec<String> {
    world.aws.with_world(|aws| {
        aws.regions.get(region).map(|here| here.snapshots.keys().cloned().collect()).unwrap_or_default()
    })
}

/// How often each call was made that changes something.
pub fn counts(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in world.aws.calls() {
        if !["Describe", "Get", "List"].iter().any(|verb| call.action.starts_with(verb)) {
            *counts.entry(call.action).or_default() += 1;
        }
    }
    counts
}
