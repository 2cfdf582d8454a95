//! `AmiShare`: who may launch an EC2 image. Doc comments here are what `kubectl explain` shows.

#![allow(clippy::duplicated_attributes, reason = "kube's derive repeats the attributes that it passes on")]

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;

use super::compact::{Compact, PrincipalList};
use super::image_selector::ImageSelector;
use super::interval::Interval;
use super::keys::{GrantOperation, GranteeArn, KeyArn};
use super::names::{AccountId, IdentityName, ImageId, OrganizationArn, OrganizationalUnitArn, Region, SnapshotId};
use super::principal::Principal;

/// Who may launch the image. An empty list gives nobody.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShareWith {
    /// The AWS accounts that may launch the image: twelve digits each, in quotes, because leading zeros count and
    /// YAML would read a bare number. The account that owns the image needs no entry.
    // At most five times the default quota of entities that an AMI can be shared with (1,000, adjustable), and few enough
    // that a full spec, its record in the status and their managed fields fit into one etcd request.
    #[serde(default)]
    #[schemars(length(max = 5000))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub account_ids: Compact<AccountId>,

    /// The organizations whose accounts may all launch the image, by ARN.
    #[serde(default)]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub organization_arns: BTreeSet<OrganizationArn>,

    /// The organizational units below which all accounts may launch the image, by ARN.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub organizational_unit_arns: BTreeSet<OrganizationalUnitArn>,

    /// Whether everybody may launch the image. Has an effect only when the operator allows public sharing too.
    #[serde(default)]
    pub public: bool,
}

impl ShareWith {
    /// Everyone that is listed, as launch permissions.
    pub fn principals(&self) -> BTreeSet<Principal> {
        let Self { account_ids, organization_arns, organizational_unit_arns, public } = self;
        let accounts = account_ids.iter().copied().map(Principal::Account);
        let organizations = organization_arns.iter().cloned().map(Principal::Organization);
        let units = organizational_unit_arns.iter().cloned().map(Principal::OrganizationalUnit);
        accounts.chain(organizations).chain(units).chain(public.then_some(Principal::Everyone)).collect()
    }
}

/// Whether the accounts may also create volumes from the image's snapshots.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum CreateVolumePermission {
    /// Only launch. The permissions of the snapshots are not looked at.
    #[default]
    None,
    /// The accounts in accountIds get createVolumePermission on every EBS snapshot of the image: they need it to copy
    /// the image. Snapshots cannot be shared with organizations or organizational units.
    Accounts,
}

/// Whether the accounts get grants on the keys of an encrypted image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum KmsGrants {
    /// None. Whether the key policies let everybody in who is listed is checked all the same.
    #[default]
    None,
    /// Each account in accountIds gets a grant on every customer managed key with which a snapshot of the image is encrypted.
    /// Organizations and organizational units need a statement in the key policy: a grant cannot name them.
    Accounts,
}

/// What is done for the KMS keys with which the snapshots of an image are encrypted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Kms {
    /// Whether the accounts in accountIds get a grant on every customer managed key of the image.
    #[serde(default)]
    pub grants: KmsGrants,

    /// Roles and users that get a grant on every customer managed key of the image too, whatever grants says, by ARN: such as the
    /// service-linked role of Auto Scaling in an account of a consumer, which cannot be let use a key by its own account.
    #[serde(default)]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub additional_grantee_arns: BTreeSet<GranteeArn>,

    /// What each grant allows. The default is what it takes to launch the image and to copy it. Of a change, the new grants are made
    /// before the old ones are revoked.
    #[serde(default = "launch_and_copy")]
    #[schemars(length(min = 1, max = 11))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: BTreeSet<GrantOperation>,
}

fn launch_and_copy() -> BTreeSet<GrantOperation> {
    GrantOperation::LAUNCH_AND_COPY.into()
}

impl Default for Kms {
    fn default() -> Self {
        Self { grants: KmsGrants::default(), additional_grantee_arns: BTreeSet::new(), operations: launch_and_copy() }
    }
}

/// What the share may change in AWS.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum ShareMode {
    /// The shares of an image are the whole truth: whoever none of them lists is removed.
    #[default]
    Authoritative,
    /// Gives what it lists, and takes back only what it gave itself.
    Additive,
    /// Never changes AWS: reports what it would do, and protects whom it lists from being removed.
    Observe,
}

/// What happens in AWS when the share is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Display)]
pub enum DeletionPolicy {
    /// What the share gave, and no other share lists, is taken back before the object goes.
    #[default]
    Revoke,
    /// AWS stays as it is.
    Retain,
}

/// What is shared, with whom, and how.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "amishare.dev",
    version = "v1alpha1",
    kind = "AmiShare",
    namespaced,
    status = "AmiShareStatus",
    derive = "PartialEq",
    shortname = "ams",
    category = "amishare",
    doc = "AmiShare says who may launch an EC2 image (AMI). All AmiShares that name one image add up: its launch \
           permissions are the union of what they list.",
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".spec.image['id','name']",
        description = "The image that is shared, or the name by which it is found"
    ),
    printcolumn(
        name = "Region",
        type_ = "string",
        json_path = ".spec.region",
        description = "The Region of the image"
    ),
    printcolumn(
        name = "Accounts",
        type_ = "integer",
        json_path = ".status.sharedWith.accounts",
        description = "How many of the listed accounts hold a launch permission"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether AWS is as the share says"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Selected",
        type_ = "string",
        json_path = ".status.selected.imageId",
        description = "The image that was found, if it is not named by its id",
        priority = "1"
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = "1"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".spec.identity", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    ),
    selectable = ".spec.image.id",
    selectable = ".spec.region",
    selectable = ".spec.identity",
    selectable = ".spec.mode"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(PARTITION_RULE)
    .message("organizationArns and organizationalUnitArns must be in the partition of region, such as arn:aws: for \
              us-east-1, arn:aws-cn: for cn-north-1 and arn:aws-us-gov: for us-gov-west-1")
    .field_path(".shareWith"))]
#[x_kube(validation = Rule::new(GRANTEE_PARTITION_RULE)
    .message("additionalGranteeArns must be in the partition of region, such as arn:aws: for us-east-1, arn:aws-cn: for \
              cn-north-1 and arn:aws-us-gov: for us-gov-west-1")
    .field_path(".kms"))]
pub struct AmiShareSpec {
    /// The AWS Region that holds the image, such as us-east-1. Cannot be changed: create another AmiShare instead.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("region cannot be changed: an image lives in one Region; create another AmiShare for the other Region"))]
    pub region: Region,

    /// The identity of the operator's configuration file in whose account the image is. default, if nothing is said, is the
    /// operator's own credentials unless the file says otherwise. The file says which namespaces may use which identity. Cannot
    /// be changed: create another AmiShare instead.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("identity cannot be changed: an image lives in one account; create another AmiShare for the other one"))]
    pub identity: IdentityName,

    /// Which image is shared. When another one takes its place, because the spec says so or a newer one is found, the share moves: what was
    /// given on the old image is taken back unless deletionPolicy is Retain.
    #[x_kube(validation = Rule::new("!has(self.owner) || self.owner != 'amazon'")
        .message("only the owner of an image can share it: remove owner, or set it to the account of the identity").field_path(".owner"))]
    pub image: ImageSelector,

    /// Who may launch the image.
    pub share_with: ShareWith,

    /// Whether the accounts may also create volumes from the image's snapshots, which they need to copy the image.
    #[serde(default)]
    pub create_volume_permission: CreateVolumePermission,

    /// What is done for the KMS keys of an encrypted image.
    #[serde(default)]
    pub kms: Kms,

    /// What the share may change in AWS. Authoritative: whoever no share of the image lists is removed. Additive: only
    /// what the share gave itself is ever taken back. Observe: nothing is changed, differences are reported.
    #[serde(default)]
    pub mode: ShareMode,

    /// What happens in AWS when the share is deleted. Revoke: what it gave is taken back. Retain: AWS stays as it is.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// When the share ends: at this instant what it lists is revoked, and the condition Expired says so. From then on it has no
    /// say over what others give, whatever its mode. Moving the date into the future makes the share valid again.
    // An API server takes as many digits of a second as one likes, and nobody can read more than nine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = r"^[^.]*([.][0-9]{1,9})?([Zz]|[+-][0-9:]+)$"))]
    #[x_kube(validation = Rule::new("self < timestamp('9999-12-30T00:00:00Z')")
        .message("expiresAt must be before 9999-12-30: leave it out for a share that does not end"))]
    pub expires_at: Option<Time>,

    /// How often AWS is compared with the spec, such as 10m or 1h30m: between 10s and 24h. Each image has its own moment in
    /// every interval, so that many are not checked at once.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!self.matches('^([0-9]{1,6}(s|m|h))+$') || (duration(self) >= duration('10s') && duration(self) <= duration('24h'))")
        .message("interval must be between 10s and 24h, such as 10m or 1h30m"))]
    pub interval: Interval,

    /// Whether the share is left alone for now: AWS is not changed for it, and whom it lists is protected from being
    /// removed by other shares of the image. Deleting a suspended share still follows deletionPolicy.
    #[serde(default)]
    pub suspend: bool,
}

/// CEL: a list of the one beginning of ARNs that are in the partition of the share's Region.
macro_rules! partition_of_region {
    () => {
        "[\
        self.region.startsWith('cn-') ? 'arn:aws-cn:' : \
        self.region.startsWith('us-gov-') ? 'arn:aws-us-gov:' : \
        self.region.startsWith('us-isob-') ? 'arn:aws-iso-b:' : \
        self.region.startsWith('us-isof-') ? 'arn:aws-iso-f:' : \
        self.region.startsWith('eu-isoe-') ? 'arn:aws-iso-e:' : \
        self.region.startsWith('us-iso-') ? 'arn:aws-iso:' : \
        self.region.startsWith('eusc-') ? 'arn:aws-eusc:' : 'arn:aws:'\
        ]"
    };
}

/// CEL: every ARN begins with the partition that the Region's prefix tells. Says the same as
/// [`super::names::PARTITION_OF_REGION_PREFIX`]; a test holds them together.
const PARTITION_RULE: &str = concat!(
    partition_of_region!(),
    ".all(partition, \
    (!has(self.shareWith.organizationArns) || self.shareWith.organizationArns.all(arn, arn.startsWith(partition))) && \
    (!has(self.shareWith.organizationalUnitArns) || \
    self.shareWith.organizationalUnitArns.all(arn, arn.startsWith(partition))))"
);

/// The same of the roles and users that get grants.
const GRANTEE_PARTITION_RULE: &str = concat!(
    "!has(self.kms) || !has(self.kms.additionalGranteeArns) || ",
    partition_of_region!(),
    ".all(partition, self.kms.additionalGranteeArns.all(arn, arn.startsWith(partition)))"
);

/// What the operator last saw and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AmiShareStatus {
    /// The generation of the spec that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready is the summary; ImageAvailable, LaunchPermissionsSynced, SnapshotPermissionsSynced and KmsGrantsSynced are its parts.
    /// Reconciling, Stalled and Expired are there only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::conditions::schema")]
    pub conditions: Vec<Condition>,

    /// The image that was found, where the spec does not name one by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<SelectedImage>,

    /// The image as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageStatus>,

    /// How many of those that the spec lists hold a launch permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<SharedWith>,

    /// Who of those that the spec lists can launch the image as it is, and who cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,

    /// What this share has given and will take back: written before the call that gives it, so that it is known even if
    /// the operator dies in between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["imageId".into()]))]
    pub granted: Vec<GrantedOnImage>,

    /// In mode Observe: what the share would do if its mode were Authoritative.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pending_changes: Vec<String>,

    /// The value of the annotation reconcile.amishare.dev/requestedAt that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// The image that was found for a selector. As long as nothing else is found, it stays.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SelectedImage {
    /// What it was looked for by. While the spec says something else, the image that is now meant has yet to be found.
    pub by: ImageSelector,

    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,

    /// The value of the annotation reconcile.amishare.dev/requestedAt for which it was last looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,

    /// Why no image can be found any more, or not which one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SelectionProblem>,
}

/// Why it cannot be told which image is meant.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SelectionProblem {
    /// In one word of the vocabulary of the conditions.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// In words.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// An image as it was last seen.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The image's id.
    pub id: ImageId,

    /// The image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub name: Option<String>,

    /// The account that owns the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<AccountId>,

    /// The state that EC2 reports, such as available, pending or disabled.
    #[schemars(length(max = 32))]
    pub state: String,

    /// Whether everybody may launch the image.
    pub public: bool,

    /// Whether any of its snapshots is encrypted.
    pub encrypted: bool,

    /// Its EBS snapshots.
    #[serde(default, skip_serializing_if = "Compact::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub snapshot_ids: Compact<SnapshotId>,

    /// The KMS keys with which they are encrypted, as far as they are known.
    #[serde(default, skip_serializing_if = "Compact::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub kms_key_arns: Compact<KeyArn>,
}

/// How many of those that the spec lists hold a launch permission.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SharedWith {
    /// Accounts.
    pub accounts: i64,
    /// Organizations.
    pub organizations: i64,
    /// Organizational units.
    pub organizational_units: i64,
    /// Whether everybody does.
    pub public: bool,
}

/// Who of those that the spec lists can launch the image as it is: what it takes is a launch permission, and for an encrypted image
/// the use of every key. What their own accounts allow them is not known.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Consumers {
    /// How many can.
    pub able: i64,

    /// How many cannot.
    pub unable: i64,

    /// Of how many it cannot be told.
    pub unknown: i64,

    /// The first of those who cannot, or of whom it cannot be told, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub obstacles: Vec<Obstacle>,
}

/// Why some of those that the spec lists cannot launch the image, or why that cannot be told.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// How many are concerned.
    pub count: i64,

    /// The first of them: account ids and ARNs.
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub principals: PrincipalList,

    /// Why, in one word of the vocabulary of the conditions.
    #[schemars(length(max = 64))]
    pub reason: String,

    /// The same in words.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What a share has given on one image.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedOnImage {
    /// The image.
    pub image_id: ImageId,

    /// Who got a launch permission on it: account ids, ARNs, or all.
    #[serde(default, skip_serializing_if = "PrincipalList::is_empty")]
    // Twice what a spec can list: while one list replaces another, both are on record.
    #[schemars(length(max = 12000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub launch_permission: PrincipalList,

    /// Who got createVolumePermission on its snapshots. Snapshots with the same accounts share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub create_volume_permission: Vec<GrantedOnSnapshots>,

    /// Who got grants on the keys of its snapshots. Keys with the same grantees share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub kms_grants: Vec<GrantedOnKeys>,
}

/// Grants that a share has made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedOnKeys {
    /// The KMS keys.
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub key_arns: BTreeSet<KeyArn>,

    /// What each grant allows.
    #[schemars(length(max = 11))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: BTreeSet<GrantOperation>,

    /// Who got a grant on each of them: account ids, and the ARNs of roles and users.
    #[schemars(length(max = 12000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub grantees: PrincipalList,
}

/// What a share has given on snapshots.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GrantedOnSnapshots {
    /// The snapshots.
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub snapshot_ids: BTreeSet<SnapshotId>,

    /// The accounts that got createVolumePermission on each of them.
    #[schemars(length(max = 12000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub account_ids: Compact<AccountId>,
}
