//! What tests do to a world besides what a user does with kubectl, and what they count.

use std::collections::BTreeSet;

use amishare::{
    api::{AmiShare, conditions},
    runtime::clock::Clock,
    simulator::Call,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    World, eventually,
    world::{IMAGE, OWNER, REGION},
};

impl World {
    /// The AmiShares of any namespace.
    pub fn shares_in(&self, namespace: &str) -> Api<AmiShare> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an AmiShare of [`IMAGE`] without kubectl, which is slow where a test makes many. `spec` may override the image.
    pub async fn create_in(&self, namespace: &str, name: &str, spec: Value) -> AmiShare {
        let mut share = json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": name},
            "spec": {"region": REGION, "image": {"id": IMAGE}},
        });
        merge(&mut share["spec"], spec);
        let share: AmiShare = serde_json::from_value(share).unwrap();
        self.shares_in(namespace).create(&PostParams::default(), &share).await.unwrap()
    }

    /// Creates an AmiShare of [`IMAGE`] in the first namespace.
    pub async fn create(&self, name: &str, spec: Value) -> AmiShare {
        self.create_in(self.namespace(), name, spec).await
    }

    /// Changes an AmiShare of the first namespace by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> AmiShare {
        self.shares().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
    }

    /// Changes the spec of an AmiShare of the first namespace by a merge patch.
    pub async fn change(&self, name: &str, spec: Value) -> AmiShare {
        self.patch(name, json!({"spec": spec})).await
    }

    /// Asks for the deletion of an AmiShare of the first namespace, and does not wait for it.
    pub async fn delete(&self, name: &str) {
        self.shares().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An AmiShare of the first namespace.
    pub async fn share(&self, name: &str) -> AmiShare {
        self.shares().get(name).await.unwrap()
    }

    /// The resource version of an AmiShare: it differs when anything was written.
    pub async fn version(&self, name: &str) -> String {
        self.share(name).await.metadata.resource_version.unwrap()
    }

    /// Who has a launch permission on an image from this share, by its own record.
    pub async fn on_record(&self, name: &str, image: &str) -> BTreeSet<String> {
        let granted = self.status(name).await.granted;
        let of_image = granted.iter().filter(|g| g.image_id.as_str() == image);
        of_image.flat_map(|g| g.launch_permission.iter()).map(|p| p.to_string()).collect()
    }

    /// A condition of an AmiShare, if it is there.
    pub async fn condition(&self, name: &str, kind: conditions::ConditionType) -> Option<Condition> {
        conditions::find(&self.status(name).await.conditions, kind).cloned()
    }

    /// Waits until the present generation of an AmiShare has been dealt with, whatever came of it, and returns `Ready`.
    pub async fn settled(&self, name: &str) -> Condition {
        eventually(&format!("{name} is settled"), || async {
            let share = self.share(name).await;
            let status = share.status.clone().unwrap_or_default();
            let ready = conditions::find(&status.conditions, conditions::ConditionType::Ready);
            match ready {
                Some(ready)
                    if status.observed_generation == share.metadata.generation && ready.reason != "Progressing" =>
                {
                    Ok(ready.clone())
                }
                _ => Err(serde_json::to_string(&status).unwrap()),
            }
        })
        .await
    }

    /// Somebody who knows nothing of the operator gives accounts a launch permission on [`IMAGE`].
    pub fn stranger_gives(&self, accounts: &[&str]) {
        self.stranger("LaunchPermission.Add", IMAGE, accounts);
    }

    /// Somebody who knows nothing of the operator takes the launch permission on [`IMAGE`] from accounts.
    pub fn stranger_takes(&self, accounts: &[&str]) {
        self.stranger("LaunchPermission.Remove", IMAGE, accounts);
    }

    fn stranger(&self, what: &str, image: &str, accounts: &[&str]) {
        let names: Vec<String> = (1..=accounts.len()).map(|n| format!("{what}.{n}.UserId")).collect();
        let mut parameters = vec![("ImageId", image)];
        parameters.extend(names.iter().map(String::as_str).zip(accounts.iter().copied()));
        self.rogue(OWNER, "ModifyImageAttribute", &parameters);
    }

    /// The calls that change something in AWS, since the last time the log was cleared.
    pub fn changes(&self) -> Vec<Call> {
        self.aws.calls().into_iter().filter(|call| call.action.starts_with("Modify")).collect()
    }

    /// How many pieces of work the operator has finished, whatever came of them.
    pub fn reconciles(&self) -> u64 {
        self.metric("amishare_reconcile_total")
    }

    /// The sum of a metric over all its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' ')));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Waits until the operator has finished one more piece of work than `before`.
    pub async fn wait_reconcile_after(&self, before: u64) {
        eventually("one more reconcile", || async {
            let now = self.reconciles();
            if now > before { Ok(()) } else { Err(format!("{now} reconciles")) }
        })
        .await;
    }
}

/// Now, and some seconds later or earlier, in whole seconds, as the API server stores it.
pub fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(Clock::wall().now().as_second() + seconds).unwrap()
}

/// Puts `from` over `into`: objects are merged, everything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
