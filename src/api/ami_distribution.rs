//! `AmiDistribution`: in which Regions and accounts copies of an EC2 image exist, and who may use each. Doc comments here are what
//! `kubectl explain` shows.

#![allow(clippy::duplicated_attributes, reason = "kube's derive repeats the attributes that it passes on")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;

use super::{
    AccountId, Age, IdentityName, ImageId, ImageSelector, Interval, Region, Site,
    ami_share::{CreateVolumePermission, Kms, ShareMode, ShareWith},
    keys::KmsKeyId,
};

/// The image that is copied, and where it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DistributionSource {
    /// The AWS Region that holds the image, such as us-east-1. Cannot be changed: create another AmiDistribution instead.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("the Region of the source cannot be changed; create another AmiDistribution"))]
    pub region: Region,

    /// The identity of the operator's configuration file in whose account the image is. Cannot be changed: create another
    /// AmiDistribution instead.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("the identity of the source cannot be changed; create another AmiDistribution"))]
    pub identity: IdentityName,

    /// Which image is copied. When another one takes its place, because the spec says so or a newer one is found, every target gets a copy of
    /// it; copies of the old one stay, and stay shared, as long as spec.retention does not let them go.
    pub image: ImageSelector,
}

impl DistributionSource {
    /// Where the image is.
    pub fn site(&self) -> Site {
        Site { identity: self.identity.clone(), region: self.region.clone() }
    }
}

/// A place in which the image is to be: a copy, or the source itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.kmsKeyId) || !self.kmsKeyId.contains('alias/aws/')")
    .message("kmsKeyId must be a customer managed key: what is encrypted with a key that AWS manages, such as alias/aws/ebs, can \
              never be shared").field_path(".kmsKeyId"))]
pub struct DistributionTarget {
    /// A name that is unique among the targets, such as eu or prod-eu: status, events, tags and the AmiShare of the copy have it.
    #[schemars(length(max = 40), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,

    /// The AWS Region of the copy. With the Region and identity of the source and no kmsKeyId, the target is the source itself:
    /// it is shared and not copied. Cannot be changed: add another target instead.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("the Region of a target cannot be changed; add a target with another name, and remove this one"))]
    pub region: Region,

    /// The identity of the operator's configuration file in whose account the copy is. Cannot be changed: add another target
    /// instead.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("the identity of a target cannot be changed; add a target with another name, and remove this one"))]
    pub identity: IdentityName,

    /// The customer managed KMS key of the target's Region with which the copy is encrypted: an id, an ARN, or an alias such as
    /// alias/images. Needed if the source is encrypted. When it changes, a new copy is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<KmsKeyId>,

    /// Who may use this copy, instead of what spec.share says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareTemplate>,
}

impl DistributionTarget {
    /// Where the copy is.
    pub fn site(&self) -> Site {
        Site { identity: self.identity.clone(), region: self.region.clone() }
    }
}

/// Who may use copies. Each copy gets an AmiShare that says so; the fields mean what they mean there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareTemplate {
    /// Who may launch the copy.
    #[serde(default)]
    pub share_with: ShareWith,

    /// Whether the accounts may also create volumes from the copy's snapshots, which they need to copy it.
    #[serde(default)]
    pub create_volume_permission: CreateVolumePermission,

    /// What is done for the KMS keys of an encrypted copy.
    #[serde(default)]
    pub kms: Kms,

    /// What the AmiShares may change in AWS.
    #[serde(default)]
    pub mode: ShareMode,
}

/// How copies look.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CopyTemplate {
    /// The name of a copy: 3 to 128 characters when these are filled in: {source.name}, {source.id}, {source.region}, {target.name},
    /// {target.region}. A copy in the account and Region of the source needs a name that differs from the source's.
    #[serde(default = "source_name")]
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^([a-zA-Z0-9()\[\] ./'@_-]|\{source\.(name|id|region)\}|\{target\.(name|region)\})+$")
    )]
    pub name: String,

    /// The description of a copy, with the same placeholders; cut to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub description: Option<String>,

    /// Tags of a copy, beside those by which the operator knows it, which begin with amishare.dev/.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags")]
    pub tags: BTreeMap<String, String>,

    /// Tags of the snapshots of a copy, beside those by which the operator knows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags")]
    pub snapshot_tags: BTreeMap<String, String>,

    /// Whether a copy gets the tags of the source too. From another account AWS copies only those that begin with ec2:SharedTag/.
    #[serde(default)]
    pub copy_tags: bool,
}

fn source_name() -> String {
    "{source.name}".into()
}

impl Default for CopyTemplate {
    fn default() -> Self {
        let (tags, snapshot_tags) = (BTreeMap::new(), BTreeMap::new());
        Self { name: source_name(), description: None, tags, snapshot_tags, copy_tags: false }
    }
}

/// Tags as EC2 takes them: 40 leaves room for ours below its 50 (aws.md section 1.9).
fn tags(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 40,
        "additionalProperties": {"type": "string", "maxLength": 256},
        "x-kubernetes-validations": [{
            "rule": "self.all(key, size(key) > 0 && size(key) <= 128 && !key.startsWith('aws:') && !key.startsWith('amishare.dev/'))",
            "message": "tag keys have 1 to 128 characters, and begin neither with aws: nor with amishare.dev/, which are not yours to set",
        }],
    })
}

/// What happens to copies when their target or the whole distribution is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum CopyDeletionPolicy {
    /// Copies stay, and stay shared with whom they are shared.
    #[default]
    Retain,
    /// What the copies were shared with is taken back; then they are deregistered, and their snapshots deleted. Only copies that this
    /// object made: never the source, and no copy that it has found.
    Delete,
}

/// Whether copies are protected from being deregistered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum DeregistrationProtection {
    /// They are not. What somebody else has protected is unprotected.
    Disabled,
    /// Nobody can deregister them before the protection is disabled.
    Enabled,
    /// Nobody can deregister them before the protection has been disabled for 24 hours.
    EnabledWithCooldown,
}

/// Which copies of earlier sources go, and how: first what this object has shared them with is taken back, then, after a time in which
/// that can be undone, they are deregistered and their snapshots deleted. What never goes: the image that a target has now, images that
/// this object did not make, and copies that somebody uses or shares.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// How many images each target keeps at least, the present one and the newest of the others: from 1, which keeps the present one
    /// alone, to 100.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub keep_last: i64,

    /// How old a copy has to be besides, since it was made, such as 90d. Without it, the number alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<Age>,

    /// For how long after an instance was last started from it a copy is in use, such as 30d. AWS tells that up to a day late.
    #[serde(default = "month")]
    pub unused_for: Age,

    /// How long a copy stays after what this object has shared it with has been taken back, such as 1d. To undo it until then, raise
    /// keepLast or name the former source again.
    #[serde(default = "day")]
    pub grace_period: Age,
}

fn one() -> i64 {
    1
}

fn month() -> Age {
    Age::days(30)
}

fn day() -> Age {
    Age::days(1)
}

/// Where an image must exist, and who may use each copy.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "amishare.dev",
    version = "v1alpha1",
    kind = "AmiDistribution",
    namespaced,
    status = "AmiDistributionStatus",
    derive = "PartialEq",
    shortname = "amd",
    doc = "AmiDistribution says in which Regions and accounts copies of an EC2 image (AMI) exist, and who may use each copy. It makes \
           the copies and owns one AmiShare for each.",
    printcolumn(
        name = "Source",
        type_ = "string",
        json_path = ".status.source.id",
        description = "The image that is copied"
    ),
    printcolumn(
        name = "Targets",
        type_ = "string",
        json_path = ".status.readyTargets",
        description = "How many of the targets have their copy, shared as the spec says"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether AWS is as the distribution says"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AmiDistributionSpec {
    /// The image that is copied, and where it is.
    pub source: DistributionSource,

    /// The places in which it is to be.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<DistributionTarget>,

    /// How copies look.
    #[serde(default)]
    pub template: CopyTemplate,

    /// Who may use the copies. Without it, and without one of its own, a target has a copy that is not shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareTemplate>,

    /// When copies are deprecated: so long after they were made, such as 180d. They can still be launched. Images that are public are
    /// deprecated after two years at the latest (AWS does that). Without it, copies are not deprecated by this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecate_after: Option<Age>,

    /// Whether copies are protected from being deregistered. This object disables that for copies that it deletes. Without it, the
    /// protection is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregistration_protection: Option<DeregistrationProtection>,

    /// Which copies of earlier sources are deleted. Without it, all of them stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// What happens to copies when their target or the distribution is deleted.
    #[serde(default)]
    pub deletion_policy: CopyDeletionPolicy,

    /// How often AWS is compared with the spec, such as 10m or 1h30m: between 10s and 24h.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!self.matches('^([0-9]{1,6}(s|m|h))+$') || (duration(self) >= duration('10s') && duration(self) <= duration('24h'))")
        .message("interval must be between 10s and 24h, such as 10m or 1h30m"))]
    pub interval: Interval,

    /// Whether the distribution is left alone for now: no copy is begun or deleted. Its AmiShares go on as they are.
    #[serde(default)]
    pub suspend: bool,
}

/// What the operator last saw and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AmiDistributionStatus {
    /// The generation of the spec that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready is the summary, the others are its parts. Reconciling and Stalled are there only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::conditions::schema")]
    pub conditions: Vec<Condition>,

    /// The source as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,

    /// Of how many targets everything is as it should be, such as 3/4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready_targets: Option<String>,

    /// Every target, and every one that was removed from the spec and is not done with yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub targets: Vec<TargetStatus>,

    /// The value of the annotation reconcile.amishare.dev/requestedAt that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// The source as it was last seen.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The image's id.
    pub id: ImageId,

    /// The image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub name: Option<String>,

    /// The account that owns the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<AccountId>,

    /// The state that EC2 reports, such as available.
    #[schemars(length(max = 32))]
    pub state: String,

    /// Whether any of its snapshots is encrypted.
    pub encrypted: bool,
}

/// How far a target is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum TargetState {
    /// Nothing has been done yet.
    #[default]
    Waiting,
    /// The copy is being made.
    Copying,
    /// The image is there.
    Available,
    /// It is not there, and nothing happens before somebody changes something, or before another attempt.
    Failed,
    /// The target is no longer in the spec, and is being cleaned up.
    Leaving,
}

/// One target.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its name.
    #[schemars(length(max = 40))]
    pub name: String,

    /// Its Region.
    pub region: Region,

    /// Its identity.
    pub identity: IdentityName,

    /// The account of its identity, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,

    /// How far it is.
    pub state: TargetState,

    /// Why, in one word of the vocabulary of the conditions.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// The same in words.
    #[schemars(length(max = 1024))]
    pub message: String,

    /// Whether the image is there and shared as the spec says.
    pub ready: bool,

    /// The image of the target, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,

    /// The image that it is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image_id: Option<ImageId>,

    /// How much of the copy is done, in percent, while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<i64>,

    /// Which copy the attempts are about: of which image and with which key, as a short text that is also in the tag amishare.dev/copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub copy: Option<String>,

    /// The generation of the spec with which the attempts at this copy began. It goes into their client tokens: a copy that was deleted
    /// and is wanted again is another one.
    #[serde(default)]
    pub begun_with: i64,

    /// The number of the present attempt. It is stored before a copy is begun, and goes into its client token.
    #[serde(default)]
    pub attempt: i64,

    /// How many attempts have failed in a row.
    #[serde(default)]
    pub failures: i64,

    /// The copy that failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_image_id: Option<ImageId>,

    /// Why the last attempt failed, in AWS's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub last_failure: Option<String>,

    /// When the present attempt began, or the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// After how long this object has had its copies deprecated, if it has: what it takes back when the spec does not say so any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecate_after: Option<Age>,

    /// The protection from being deregistered that this object has given its copies, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregistration_protection: Option<DeregistrationProtection>,

    /// Copies that spec.retention lets go, and how far that is or why they stay. At most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["imageId".into()]))]
    pub older: Vec<OlderCopy>,
}

/// A copy of an earlier source that retention lets go.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OlderCopy {
    /// The copy.
    pub image_id: ImageId,

    /// When it was begun to take back what it was shared with. None as long as it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Time>,

    /// How far it is, or why it stays.
    #[schemars(length(max = 512))]
    pub message: String,
}

impl TargetStatus {
    /// Where the copy is.
    pub fn site(&self) -> Site {
        Site { identity: self.identity.clone(), region: self.region.clone() }
    }
}
