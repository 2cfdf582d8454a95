//! Errors of KMS. The codes are \[M, aws.md section 1.11\]; HTTP statuses are not in AWS's model and follow its SDKs: 400 for what
//! the caller did, 500 for what KMS did \[R\]. Texts are chosen where nothing else is said.

use super::ApiError;

/// No such key, alias or grant.
pub(in crate::simulator) fn kms_not_found(message: impl Into<String>) -> ApiError {
    ApiError::client("NotFoundException", message)
}

/// The key's ARN is in another Region, or nothing that could be one.
pub(in crate::simulator) fn invalid_key_arn(arn: &str) -> ApiError {
    ApiError::client("InvalidArnException", format!("Invalid arn {arn}"))
}

/// The grantee does not exist \[C, section 1.11\].
pub(in crate::simulator) fn no_such_principal(arn: &str) -> ApiError {
    ApiError::client("InvalidArnException", format!("ARN does not refer to a valid principal: {arn}"))
}

/// The grantee is no ARN of a principal \[C, section 1.11\].
pub(in crate::simulator) fn invalid_principal(arn: &str) -> ApiError {
    ApiError::client("InvalidArnException", format!("ARN is not valid: {arn}"))
}

/// The key is switched off.
pub(in crate::simulator) fn key_disabled(arn: &str) -> ApiError {
    ApiError::client("DisabledException", format!("{arn} is disabled."))
}

/// The key is on its way out.
pub(in crate::simulator) fn key_pending_deletion(arn: &str) -> ApiError {
    ApiError::client("KMSInvalidStateException", format!("{arn} is pending deletion."))
}

/// The key has as many grants as it can have \[D, section 2.2\].
pub(in crate::simulator) fn too_many_grants(arn: &str) -> ApiError {
    ApiError::client("LimitExceededException", format!("The number of grants of {arn} has reached its limit."))
}

/// The marker is not one that an answer gave.
pub(in crate::simulator) fn invalid_marker() -> ApiError {
    ApiError::client("InvalidMarkerException", "The marker is not valid.")
}

/// A grant id that cannot be one.
pub(in crate::simulator) fn invalid_grant_id() -> ApiError {
    ApiError::client("InvalidGrantIdException", "The specified GrantId is not valid.")
}

/// What a dry run answers that would have worked; the status is \[R\].
pub(in crate::simulator) fn kms_dry_run() -> ApiError {
    ApiError::new(412, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
}

/// A parameter that cannot be, in the form that all of AWS's JSON services have.
pub(in crate::simulator) fn kms_validation(value: &str, name: &str, constraint: &str) -> ApiError {
    let message =
        format!("1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {constraint}");
    ApiError::client("ValidationException", message)
}

/// The operation is none that a key of this kind can do \[C, section 1.11\].
pub(in crate::simulator) fn grant_operation_unsupported(operation: &str) -> ApiError {
    ApiError::client(
        "ValidationException",
        format!("Grant operation {operation} is not supported for a key of usage ENCRYPT_DECRYPT."),
    )
}

/// The body is not JSON.
pub(in crate::simulator) fn serialization() -> ApiError {
    ApiError::client("SerializationException", "The request body is not valid JSON.")
}

/// An action that the simulator does not serve, in the words for one that does not exist.
pub(in crate::simulator) fn unknown_operation() -> ApiError {
    ApiError::client("UnknownOperationException", "The operation is not known.")
}

/// Neither the key's policy nor a grant lets the caller in; across accounts AWS does not name the resource \[C, section 1.11\].
pub(in crate::simulator) fn kms_access_denied(caller: &str, action: &str, resource: Option<&str>) -> ApiError {
    let message = match resource {
        Some(arn) => format!(
            "User: {caller} is not authorized to perform: kms:{action} on resource: {arn} because no identity-based policy \
             allows the kms:{action} action"
        ),
        None => format!(
            "User: {caller} is not authorized to perform: kms:{action} on this resource because no resource-based policy \
             allows the kms:{action} action"
        ),
    };
    ApiError::client("AccessDeniedException", message)
}

/// KMS's throttle \[D, section 2.4\].
pub(in crate::simulator) fn kms_throttling() -> ApiError {
    ApiError::client(
        "ThrottlingException",
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    )
}

/// KMS failed.
pub(in crate::simulator) fn kms_internal(status: u16) -> ApiError {
    ApiError::new(status, "KMSInternalException", "An internal error has occurred in KMS.")
}

/// What KMS says to credentials that nobody has, or had until a while ago; the texts are chosen.
pub(in crate::simulator) fn in_words_of_kms(refusal: ApiError) -> ApiError {
    match refusal.code.as_ref() {
        "InvalidClientTokenId" => kms_unrecognized(),
        "RequestExpired" => {
            ApiError::client("ExpiredTokenException", "The security token included in the request is expired")
        }
        _ => refusal,
    }
}

/// The Region's KMS knows no such credentials: what of an account comes that has not opted in, or to a Region that is none.
pub(in crate::simulator) fn kms_unrecognized() -> ApiError {
    ApiError::client("UnrecognizedClientException", "The security token included in the request is invalid.")
}
