//! What can go wrong with a call to AWS, in the operator's words.
//!
//! Pure: knows AWS's error codes (aws.md section 1.1) and nothing of the SDK. Everything that decides by an error decides by
//! [`Class`]; the texts are for people.

use std::{fmt, time::Duration};

use strum::IntoStaticStr;

use crate::api::{KeyArn, Reason};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// What kind of failure it is.
    pub class: Class,
    /// The call, such as `ModifyImageAttribute`.
    pub operation: &'static str,
    /// AWS's error code, when AWS answered with one.
    pub code: Option<String>,
    /// AWS's message, without anything that differs from call to call.
    pub message: String,
}

/// The kinds of failure that the operator treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum Class {
    /// The image or snapshot does not exist, or is not this account's.
    NotFound,
    /// The image is deregistered, or not in a state in which its attributes can be changed.
    NotUsable,
    /// The image belongs to another account.
    NotOwner,
    /// The credentials or IAM deny the call.
    AccessDenied,
    /// A principal that the call names was refused; nothing of the call took effect.
    PrincipalRefused,
    /// Public sharing was refused; nothing of the call took effect.
    PublicRefused,
    /// The image has a snapshot encrypted with `aws/ebs`; nothing of the call took effect.
    DefaultKey,
    /// A KMS key is disabled, waits for its deletion or is gone; nothing of the call took effect.
    KeyNotUsable,
    /// KMS knows nobody by the ARN that a grant is to name; nothing of the call took effect.
    GranteeUnknown,
    /// A quota is used up; nothing of the call took effect.
    Quota,
    /// The name that an image is to have is that of another one; nothing of the call took effect.
    NameTaken,
    /// The client token was used before, with other parameters: what it was used for has been done.
    TokenUsed,
    /// The image cannot be copied, or not by this account; nothing of the call took effect.
    NotCopyable,
    /// Too many requests.
    Throttled,
    /// KMS does not show yet what may be there: no call was made.
    NotShown,
    /// No answer, or a server error: the call may or may not have taken effect.
    Unavailable,
    /// The call was not made, because what it was decided on does not hold any more.
    Overtaken,
    /// The operator's configuration has no credentials for it; no call was made.
    NoIdentity,
    /// AWS said no with a code that the operator does not know; nothing of the call took effect.
    Other,
}

impl Class {
    /// The class of an error code that AWS answered with. `message` is needed where EC2 uses one code for several things.
    pub fn of(code: &str, message: &str) -> Self {
        match code {
            "InvalidAMIID.NotFound"
            | "InvalidAMIID.Malformed"
            | "InvalidSnapshot.NotFound"
            | "InvalidSnapshotID.Malformed" => Self::NotFound,
            "InvalidAMIID.Unavailable" | "IncorrectState" | "InvalidState" => Self::NotUsable,
            "AuthFailure" if message.contains("Not authorized for image") => Self::NotOwner,
            "AuthFailure"
            | "UnauthorizedOperation"
            | "AccessDenied"
            | "AccessDeniedException"
            | "OptInRequired"
            | "PendingVerification"
            | "Blocked"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "RequestExpired"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "MissingAuthenticationToken" => Self::AccessDenied,
            "InvalidAMIAttributeItemValue" | "InvalidUserID.Malformed" => Self::PrincipalRefused,
            "NotFoundException" | "DisabledException" | "KMSInvalidStateException" => Self::KeyNotUsable,
            "InvalidArnException" => Self::GranteeUnknown,
            "OperationNotPermitted" if message.contains("EBS default key") => Self::DefaultKey,
            "OperationNotPermitted" => Self::PublicRefused,
            "InvalidParameter" if message.contains("AWS Managed CMK") => Self::DefaultKey,
            "ResourceLimitExceeded" if message.contains("public images") => Self::PublicRefused,
            "ResourceLimitExceeded" | "ResourceCountLimitExceeded" | "LimitExceededException" => Self::Quota,
            "InvalidAMIName.Duplicate" => Self::NameTaken,
            "IdempotentParameterMismatch" => Self::TokenUsed,
            "InvalidRequest" if message.contains("cannot be copied") => Self::NotCopyable,
            // Those that the SDK counts as throttling too.
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "EC2ThrottledException"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "SlowDown"
            | "BandwidthLimitExceeded" => Self::Throttled,
            "InternalError"
            | "InternalFailure"
            | "ServerInternal"
            | "ServiceUnavailable"
            | "Unavailable"
            | "RetryableError"
            | "DependencyTimeoutException"
            | "KMSInternalException" => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

/// The call that tells whose credentials are used.
pub(super) const WHO: &str = "GetCallerIdentity";

impl Failure {
    /// The failure that an answer of AWS makes.
    pub fn answered(operation: &'static str, code: &str, message: &str) -> Self {
        Self { class: Class::of(code, message), operation, code: Some(code.to_owned()), message: stable(message) }
    }

    /// The same, when the answer came with a status of 5xx: whatever its code, the call may have taken effect.
    #[must_use]
    pub fn with_server_error(self) -> Self {
        let class = if self.class == Class::Other { Class::Unavailable } else { self.class };
        Self { class, ..self }
    }

    /// The failure of a call that got no answer that could be understood.
    pub fn unanswered(operation: &'static str, message: impl Into<String>) -> Self {
        Self { class: Class::Unavailable, operation, code: None, message: message.into() }
    }

    /// The failure of a call that has waited so long for its turn in a request lane.
    pub fn without_a_turn(operation: &'static str, waited: Duration) -> Self {
        let message = format!(
            "it was not made, because the account's request rate for it is used up: no turn within {} s",
            waited.as_secs()
        );
        Self { class: Class::Throttled, operation, code: None, message }
    }

    /// The failure of a call that was not made: what it was decided on has changed before it had its turn.
    pub fn overtaken(operation: &'static str) -> Self {
        let message = "it was not made, because the operator's configuration has changed meanwhile".into();
        Self { class: Class::Overtaken, operation, code: None, message }
    }

    /// The failure to revoke a grant that may be there and is not seen.
    pub fn not_shown(key: &KeyArn) -> Self {
        let message = format!(
            "a grant on {key} that may have been made is not listed: KMS can take five minutes to show one, and it is looked for again"
        );
        Self { class: Class::NotShown, operation: "RevokeGrant", code: None, message }
    }

    /// The failure of whatever would have been done with an identity that is not there, in words.
    pub fn without_an_identity(message: String) -> Self {
        Self { class: Class::NoIdentity, operation: WHO, code: None, message }
    }

    /// The failure of whatever would have been done with an identity that cannot be used, in words.
    pub fn wrong_identity(message: String) -> Self {
        Self { class: Class::AccessDenied, ..Self::without_an_identity(message) }
    }

    /// The reason that conditions give for it.
    pub fn reason(&self) -> Reason {
        match self.class {
            Class::NotFound if self.code.as_deref().is_some_and(|c| c.starts_with("InvalidSnapshot")) => {
                Reason::SnapshotNotFound
            }
            Class::NotFound => Reason::ImageNotFound,
            Class::NotUsable => Reason::ImageNotUsable,
            Class::NotOwner => Reason::NotOwner,
            Class::AccessDenied => Reason::AccessDenied,
            Class::PrincipalRefused => Reason::PrincipalRefused,
            Class::PublicRefused if self.code.as_deref() == Some("ResourceLimitExceeded") => Reason::QuotaExceeded,
            Class::PublicRefused => Reason::PublicSharingBlocked,
            Class::DefaultKey => Reason::DefaultKmsKeyNotShareable,
            Class::KeyNotUsable => Reason::KmsKeyNotUsable,
            Class::GranteeUnknown => Reason::GranteeNotFound,
            Class::Quota => Reason::QuotaExceeded,
            Class::NameTaken => Reason::NameTaken,
            Class::NotCopyable => Reason::CopyNotPossible,
            Class::Throttled => Reason::Throttled,
            Class::Unavailable => Reason::AwsUnavailable,
            Class::NotShown | Class::TokenUsed | Class::Overtaken => Reason::Progressing,
            Class::NoIdentity => Reason::GuardrailDenied,
            Class::Other => Reason::AwsRefused,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            // No call is to blame.
            None if self.operation == WHO && self.class != Class::Unavailable => f.write_str(&self.message),
            None if self.class == Class::NotShown => f.write_str(&self.message),
            Some(code) => write!(f, "{} was refused: {code}: {}", self.operation, self.message),
            None => write!(f, "{} got no answer: {}", self.operation, self.message),
        }
    }
}

/// AWS's text without what differs from call to call: a condition with a request id in it would be written for ever.
/// (openshift/hypershift#958 and others learned it the hard way.)
fn stable(message: &str) -> String {
    // The blob after these words is encrypted afresh in every answer (aws.md section 1.0).
    let text = message.split("Encoded authorization failure message").next().unwrap_or(message).trim();
    // "User: arn:aws:sts::…:assumed-role/ROLE/SESSION is not …": the session's name changes with every new credential.
    let text = match (text.find("assumed-role/"), text.find(" is not authorized")) {
        (Some(role), Some(end)) if role < end => {
            let session = text[role..end].rfind('/').map_or(end, |slash| role + slash);
            format!("{}{}", &text[..session], &text[end..])
        }
        _ => text.to_owned(),
    };
    without_request_ids(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The length of a UUID, which is what AWS's request ids are.
const UUID: usize = 36;

/// The text without UUIDs, whatever stands around them: `Request ID: …`, `(requestId=…)`. Those of keys stay: they are names.
fn without_request_ids(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let follows_a_word = kept.ends_with(|c: char| c.is_ascii_alphanumeric()) || kept.ends_with("key/");
        let candidate = rest.get(..UUID).filter(|id| !follows_a_word && is_uuid(id));
        if candidate.is_some() && !rest[UUID..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
            rest = &rest[UUID..];
        } else {
            kept.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    kept
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_denials_that_differ_only_in_session_blob_and_request_id_read_the_same() {
        let denial = |session: &str, id: &str, blob: &str| {
            let text = format!(
                "You are not authorized to perform this operation. User: arn:aws:sts::111122223333:assumed-role/amishare/{session} \
                 is not authorized to perform: ec2:ModifyImageAttribute (request {id}) because no identity-based policy \
                 allows it. Encoded authorization failure message: {blob}"
            );
            Failure::answered("ModifyImageAttribute", "UnauthorizedOperation", &text)
        };
        let first = denial("1700000001", "59dbff89-35bd-4eac-99ed-be587ed81825", "q1w2");
        let second = denial("1700000002", "60bc441d-fa2c-494d-b155-5d6a3fe81825", "e3r4");
        assert_eq!(first, second);
        assert!(first.message.contains("assumed-role/amishare is not authorized to perform: ec2:ModifyImageAttribute"));
        assert!(!first.message.contains("Encoded"), "{}", first.message);
    }

    #[test]
    fn a_key_is_named_by_its_whole_arn() {
        let arn = "arn:aws:kms:us-east-1:111122223333:key/59dbff89-35bd-4eac-99ed-be587ed81825";
        let failure = Failure::answered("CreateGrant", "DisabledException", &format!("{arn} is disabled."));
        assert_eq!(failure.message, format!("{arn} is disabled."));
    }

    #[test]
    fn one_code_for_several_things_is_told_apart_by_its_text() {
        assert_eq!(Class::of("AuthFailure", "Not authorized for image:ami-1"), Class::NotOwner);
        assert_eq!(Class::of("AuthFailure", "AWS was not able to validate the credentials"), Class::AccessDenied);
        assert_eq!(
            Class::of("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared"),
            Class::DefaultKey
        );
        assert_eq!(
            Class::of("ResourceLimitExceeded", "You have reached your quota of 5 for the number of public images"),
            Class::PublicRefused
        );
    }

    #[test]
    fn the_errors_of_kms_say_whether_it_is_the_key_the_grantee_or_the_moment() {
        for (code, class, reason) in [
            ("NotFoundException", Class::KeyNotUsable, Reason::KmsKeyNotUsable),
            ("DisabledException", Class::KeyNotUsable, Reason::KmsKeyNotUsable),
            ("KMSInvalidStateException", Class::KeyNotUsable, Reason::KmsKeyNotUsable),
            ("InvalidArnException", Class::GranteeUnknown, Reason::GranteeNotFound),
            ("LimitExceededException", Class::Quota, Reason::QuotaExceeded),
            ("AccessDeniedException", Class::AccessDenied, Reason::AccessDenied),
            ("ThrottlingException", Class::Throttled, Reason::Throttled),
            ("DependencyTimeoutException", Class::Unavailable, Reason::AwsUnavailable),
            ("KMSInternalException", Class::Unavailable, Reason::AwsUnavailable),
            ("ValidationException", Class::Other, Reason::AwsRefused),
        ] {
            let failure = Failure::answered("CreateGrant", code, "");
            assert_eq!((failure.class, failure.reason()), (class, reason), "{code}");
        }
    }
}
