//! The AmiShares that a distribution owns: one for each image of a target, and one for each account that the source is opened to.
//!
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde_json::{Value, json};

use super::marks::{DISTRIBUTION, Owner, TARGET};
use crate::api::{
    AccountId, AmiDistribution, AmiShare, AmiShareSpec, ConditionType, ImageId, ImageSelector, Interval, Reason, Site,
    ami_distribution::{AmiDistributionSpec, CopyDeletionPolicy, DistributionTarget, ShareTemplate},
    ami_share::{CreateVolumePermission, DeletionPolicy, Kms, KmsGrants, ShareMode, ShareWith},
    conditions::find,
};

/// What a child is for. Also a label of it.
pub const FOR: &str = TARGET;

/// A child as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// The target; none for one that opens the source.
    pub target: Option<String>,
    /// What it is to say.
    pub spec: AmiShareSpec,
}

/// The child of an image of a target; none if the target is not shared.
pub fn of_image(
    owner: &Owner,
    spec: &AmiDistributionSpec,
    target: &DistributionTarget,
    image: &ImageId,
) -> Option<Child> {
    let ShareTemplate { share_with, create_volume_permission, kms, mode } =
        target.share.clone().or(spec.share.clone())?;
    let deletion_policy = deletion_policy(spec.deletion_policy);
    let Site { identity, region } = target.site();
    let spec = AmiShareSpec {
        region,
        identity,
        image: ImageSelector::by_id(image.clone()),
        share_with,
        create_volume_permission,
        kms,
        mode,
        deletion_policy,
        expires_at: None,
        interval: spec.interval,
        suspend: false,
    };
    Some(Child { name: owner.share_name(&target.name, image), target: Some(target.name.clone()), spec })
}

/// What happens to what a copy was shared with when its AmiShare goes: a copy that stays stays shared.
pub fn deletion_policy(of: CopyDeletionPolicy) -> DeletionPolicy {
    match of {
        CopyDeletionPolicy::Retain => DeletionPolicy::Retain,
        CopyDeletionPolicy::Delete => DeletionPolicy::Revoke,
    }
}

/// The child that opens the source to an account for as long as a copy takes: launch permission, snapshots and keys. It gives that, and
/// takes back that alone.
pub fn opening(owner: &Owner, spec: &AmiDistributionSpec, source: &ImageId, account: AccountId) -> Child {
    let share_with = ShareWith { account_ids: [account].into(), ..ShareWith::default() };
    let spec = AmiShareSpec {
        region: spec.source.region.clone(),
        identity: spec.source.identity.clone(),
        image: ImageSelector::by_id(source.clone()),
        share_with,
        create_volume_permission: CreateVolumePermission::Accounts,
        kms: Kms { grants: KmsGrants::Accounts, ..Kms::default() },
        mode: ShareMode::Additive,
        deletion_policy: DeletionPolicy::Revoke,
        expires_at: None,
        interval: Interval::default(),
        suspend: false,
    };
    Child { name: owner.opening_name(source, account), target: None, spec }
}

impl Child {
    /// The object as it is applied, under an owner.
    pub fn manifest(&self, of: &AmiDistribution) -> Value {
        let mut labels = BTreeMap::from([(DISTRIBUTION, of.uid().unwrap_or_default())]);
        labels.extend(self.target.clone().map(|target| (FOR, target)));
        json!({
            "apiVersion": AmiShare::api_version(&()),
            "kind": AmiShare::kind(&()),
            "metadata": {
                "name": self.name,
                "namespace": of.namespace(),
                "labels": labels,
                "ownerReferences": [reference(&of.metadata)],
            },
            "spec": self.spec,
        })
    }

    /// What of a stored object keeps it from being as it is to be, as a merge patch; none if it is. Fields that somebody else has set
    /// stay when a server-side apply leaves them out.
    pub fn corrections(&self, stored: &AmiShare) -> Option<Value> {
        if stored.spec == self.spec {
            return None;
        }
        let (wanted, there) = (json!(self.spec), json!(stored.spec));
        Some(json!({"spec": difference(&there, &wanted)}))
    }

    /// Whether a stored object is as it is to be.
    pub fn is(&self, stored: &AmiShare, of: &AmiDistribution) -> bool {
        let label = |key: &str| stored.labels().get(key).map(String::as_str);
        stored.spec == self.spec
            && belongs_to(stored, of.uid().as_deref())
            && label(DISTRIBUTION) == of.uid().as_deref()
            && label(FOR) == self.target.as_deref()
    }
}

/// What makes `there` be `wanted`, as a merge patch.
fn difference(there: &Value, wanted: &Value) -> Value {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            let gone = there.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let changed = wanted.iter().filter(|(key, value)| there.get(*key) != Some(value));
            let changed = changed.map(|(key, value)| {
                (key.clone(), there.get(key).map_or_else(|| value.clone(), |there| difference(there, value)))
            });
            Value::Object(gone.chain(changed).collect())
        }
        (_, wanted) => wanted.clone(),
    }
}

fn reference(of: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: AmiDistribution::api_version(&()).into_owned(),
        kind: AmiDistribution::kind(&()).into_owned(),
        name: of.name.clone().unwrap_or_default(),
        uid: of.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether an AmiShare is a child of the object with this uid.
pub fn belongs_to(share: &AmiShare, uid: Option<&str>) -> bool {
    owner_of(share).is_some_and(|reference| Some(reference.uid.as_str()) == uid)
}

/// The distribution that an AmiShare belongs to.
pub fn owner_of(share: &AmiShare) -> Option<&OwnerReference> {
    let is_ours = |reference: &&OwnerReference| {
        reference.controller == Some(true)
            && reference.kind == AmiDistribution::kind(&())
            && reference.api_version == AmiDistribution::api_version(&())
    };
    share.owner_references().iter().find(is_ours)
}

/// How far a child is: whether its own status says that AWS is as it says, and what it says otherwise.
pub fn state(share: &AmiShare) -> Result<(), (Reason, String)> {
    let status = share.status.as_ref();
    let ready = status.and_then(|status| find(&status.conditions, ConditionType::Ready));
    let Some(ready) = ready.filter(|ready| ready.observed_generation == share.metadata.generation) else {
        return Err((Reason::Progressing, format!("the AmiShare {} has not been acted on yet", share.name_any())));
    };
    if ready.status == "True" {
        return Ok(());
    }
    let reason = ready.reason.parse().unwrap_or(Reason::AwsRefused);
    Err((reason, format!("the AmiShare {} is not ready: {}", share.name_any(), ready.message)))
}
