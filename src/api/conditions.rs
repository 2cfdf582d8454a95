//! The conditions of both kinds: their types, the closed vocabulary of their reasons, and how one is set.
//!
//! Pure. Types and reasons are part of the API: `docs/conditions.md` is generated from the doc comments here, and the same
//! words appear in events.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use strum::{EnumIter, EnumMessage, EnumString, IntoStaticStr, VariantArray};

/// What a condition speaks of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, EnumString, EnumIter, EnumMessage, VariantArray,
)]
pub enum ConditionType {
    /// The summary: AWS is as the object says. Its message lists every part that is not.
    Ready,
    /// The image exists, is owned by the operator's AWS account and is in a state in which it can be shared.
    ImageAvailable,
    /// The launch permissions of the image are what the shares of the image say.
    LaunchPermissionsSynced,
    /// The createVolumePermission of the image's snapshots is what the shares of the image say.
    SnapshotPermissionsSynced,
    /// Whoever is listed may use the KMS keys of an encrypted image, by grants or by the key policies, and the grants are what the
    /// shares of the image say.
    KmsGrantsSynced,
    /// Of an AmiDistribution: the image that is copied exists and is available.
    SourceAvailable,
    /// Of an AmiDistribution: every target has its copy.
    CopiesAvailable,
    /// Of an AmiDistribution: every copy is shared as the spec says.
    Shared,
    /// Present while the operator is working towards the spec or will try again by itself.
    Reconciling,
    /// Present while nothing will get better before somebody changes the object, the image or the account.
    Stalled,
    /// Present while expiresAt has passed: what the share listed is revoked.
    Expired,
}

/// Why a condition has its status. The vocabulary is closed: automation may match on it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    IntoStaticStr,
    EnumString,
    EnumIter,
    EnumMessage,
    VariantArray,
)]
pub enum Reason {
    /// AWS is as the share says.
    Synced,
    /// The image is available.
    Available,
    /// The spec asks for nothing here.
    NotRequested,
    /// The operator has begun to act on this generation of the spec.
    Progressing,
    /// AWS was changed by somebody else, and the operator has put it right. Used in events.
    DriftCorrected,
    /// In mode Observe: AWS differs from the spec; pendingChanges lists how.
    ChangesPending,
    /// The share is suspended: nothing is checked or changed.
    Suspended,
    /// expiresAt has passed, and what the share listed has been revoked.
    Expired,
    /// The object cannot be read as an AmiShare of this version, so nothing is changed for it.
    InvalidSpec,
    /// No image has this id in this Region, or it is private to another account.
    ImageNotFound,
    /// The image is not yet available; it is looked at again by itself.
    ImagePending,
    /// The image has been disabled, which removed all its launch permissions; enable it to share it.
    ImageDisabled,
    /// The image has been deregistered.
    ImageDeregistered,
    /// The image is in a state in which it cannot be shared, such as failed or invalid.
    ImageNotUsable,
    /// The image belongs to another AWS account than the operator's; only the owner can share it.
    NotOwner,
    /// AWS refused to share with a principal: the account is closed or does not exist, or the ARN names nothing.
    PrincipalRefused,
    /// The account that owns the image is listed; it may launch the image anyway, and needs no entry.
    OwnerAccountListed,
    /// The operator's configuration forbids it in this namespace; the message names the guard rail or the identity.
    GuardrailDenied,
    /// Block public access is on in this account and Region.
    PublicSharingBlocked,
    /// An image with an encrypted snapshot cannot be public.
    EncryptedImageCannotBePublic,
    /// An image with a product code (AWS Marketplace) cannot be public.
    ProductCodeImageCannotBePublic,
    /// A snapshot of the image is encrypted with the AWS managed key aws/ebs, so it cannot be shared with anyone; copy the
    /// image with a customer managed key.
    DefaultKmsKeyNotShareable,
    /// A KMS key of the image is disabled, waits for its deletion or is gone, so that nobody can launch the image.
    KmsKeyNotUsable,
    /// A KMS key of the image belongs to another account than the image: only that account can let others use it.
    KmsKeyNotOwned,
    /// KMS knows no role or user of this ARN, or no such account; tried again by itself, since new roles appear late.
    GranteeNotFound,
    /// A grant cannot name an organization or an organizational unit: a key policy has to let them in. The message has the
    /// statement that is missing.
    GrantNotPossibleForOrganization,
    /// Neither a grant nor the key policy lets somebody who is listed use a KMS key of the image.
    KmsAccessMissing,
    /// Whether the key policy lets in whoever is listed cannot be told.
    KmsAccessUnknown,
    /// A snapshot of the image is gone or belongs to another account.
    SnapshotNotFound,
    /// The image would be shared with more entities than the account's quota allows.
    QuotaExceeded,
    /// IAM, an SCP or the credentials deny the call; the message names the call.
    AccessDenied,
    /// AWS answers that there are too many requests; tried again by itself.
    Throttled,
    /// AWS could not be reached or answered with a server error; tried again by itself.
    AwsUnavailable,
    /// AWS answered with an error that the operator does not know; the message has it.
    AwsRefused,
    /// What the object gave or made cannot be taken back, so its deletion waits.
    DeletionBlocked,
    /// Of an AmiDistribution: a copy has failed; the message has AWS's reason. It is tried again a few times by itself, each time
    /// later, and then when somebody changes the spec or asks for it.
    CopyFailed,
    /// Several images have the name and tags by which one is looked for, and the spec does not say that the newest is meant.
    ImageAmbiguous,
    /// Of an AmiDistribution: another image of the target's account and Region has the name that the copy is to have.
    NameTaken,
    /// Of an AmiDistribution: the source is encrypted, so that the target has to name the key of its copy.
    KmsKeyRequired,
    /// Of an AmiDistribution: the image carries a product code or a billing product, and cannot be copied to another account.
    CopyNotPossible,
    /// Of an AmiDistribution: a name or description that is made of the template is not one that EC2 takes.
    InvalidTemplate,
}

impl ConditionType {
    /// The type as the condition carries it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Reason {
    /// The reason as conditions and events carry it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the operator gets over this by itself: such a state is `Reconciling`, any other is `Stalled`.
    pub fn passes_by_itself(self) -> bool {
        matches!(self, Self::Progressing | Self::ImagePending | Self::Throttled | Self::AwsUnavailable)
    }
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Not known, because it was not or could not be looked at.
    Unknown,
}

/// What a condition says, before it is stamped with a time and a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is so.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// In words, for a person. Stable: no times, no request ids, no order that can change.
    pub message: String,
}

impl Verdict {
    /// It is so.
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::True, reason, message: message.into() }
    }

    /// It is not so.
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::False, reason, message: message.into() }
    }

    /// Not known.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: Status::Unknown, reason, message: message.into() }
    }
}

/// The longest message that is stored. metav1 allows 32,768; nobody reads that, and every object carries several.
const MAX_MESSAGE: usize = 2048;

/// Cuts a message to what a condition may hold, at a character boundary.
fn bounded(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut cut: String = message.chars().take(MAX_MESSAGE / 4).collect();
    cut.push_str(" …");
    cut
}

/// The conditions that the verdicts make, in the order of [`ConditionType`]. A condition keeps its transition time from
/// `old` as long as its status stays the same; one without a verdict is not there.
pub fn conditions(
    old: &[Condition],
    verdicts: impl IntoIterator<Item = (ConditionType, Verdict)>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut verdicts: Vec<_> = verdicts.into_iter().collect();
    verdicts.sort_by_key(|(kind, _)| *kind);
    verdicts
        .into_iter()
        .map(|(kind, Verdict { status, reason, message })| {
            let status: &'static str = status.into();
            let before = old.iter().find(|c| c.type_ == kind.as_str() && c.status == status);
            Condition {
                type_: kind.as_str().into(),
                status: status.into(),
                reason: reason.as_str().into(),
                message: bounded(&message),
                observed_generation: Some(generation),
                last_transition_time: before.map_or_else(|| whole_seconds(now), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// metav1.Time holds whole seconds; a finer time would differ from what the API server gives back, on every comparison.
pub fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The condition of a type, if it is there.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == kind.as_str())
}

/// The schema of a list of metav1 conditions, with the bounds and patterns that Go CRDs get and that the Rust type does not
/// carry by itself.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the share's state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status last changed."
                },
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "The state in words."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The generation of the spec that the condition speaks of."
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why the condition has its status, in one word of a closed vocabulary."
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "Whether it is so."
                },
                "type": {
                    "type": "string", "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "What the condition speaks of."
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn one(verdict: Verdict, old: &[Condition], now: Timestamp) -> Condition {
        conditions(old, [(ConditionType::Ready, verdict)], 3, now).remove(0)
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let first = one(Verdict::no(Reason::Throttled, "a"), &[], at(10));
        let again = one(Verdict::no(Reason::AccessDenied, "b"), std::slice::from_ref(&first), at(20));
        let ready = one(Verdict::yes(Reason::Synced, "c"), std::slice::from_ref(&again), at(30));
        assert_eq!(again.last_transition_time.0, at(10));
        assert_eq!(ready.last_transition_time.0, at(30));
    }

    #[test]
    fn a_condition_without_a_verdict_goes() {
        let old = conditions(&[], [(ConditionType::Stalled, Verdict::yes(Reason::NotOwner, ""))], 1, at(1));
        assert!(conditions(&old, [], 1, at(2)).is_empty());
    }

    #[test]
    fn a_message_is_bounded_at_a_character_boundary() {
        let condition = one(Verdict::no(Reason::AwsRefused, "ä".repeat(9000)), &[], at(1));
        assert!(condition.message.len() <= MAX_MESSAGE + 8);
    }
}
