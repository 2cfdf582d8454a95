//! Errors about copying images and snapshots.

use super::ApiError;

/// What cannot be copied at all; the callers give the text.
fn invalid_request(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidRequest", message)
}

/// A snapshot of the image is not the caller's, and not shared with it \[X, section 1.1\].
pub(in crate::simulator) fn storage_not_permitted() -> ApiError {
    invalid_request("You do not have permission to access the storage of this ami")
}

/// The image is sold on AWS Marketplace, by somebody else \[X, section 1.1\].
pub(in crate::simulator) fn marketplace_copy() -> ApiError {
    invalid_request("Images from AWS Marketplace cannot be copied to another AWS account")
}

/// The operating system of somebody else's image is paid for by the hour \[X, section 1.1\].
pub(in crate::simulator) fn billing_product_copy() -> ApiError {
    invalid_request("Images with EC2 BillingProduct codes cannot be copied to another AWS account")
}

/// An unencrypted copy of an encrypted snapshot \[X, section 1.1\].
pub(in crate::simulator) fn unencrypted_copy(snapshot: &str) -> ApiError {
    invalid_request(format!(
        "Snapshot {snapshot} is encrypted. Creating an unencrypted copy from an encrypted snapshot is not supported."
    ))
}

/// A key for a copy that nobody asked to encrypt. The code is in AWS's list of client errors; the text is chosen.
pub(in crate::simulator) fn key_without_encryption() -> ApiError {
    ApiError::client("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
}

/// The same client token with other parameters \[D code, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn token_mismatch(token: &str) -> ApiError {
    ApiError::client(
        "IdempotentParameterMismatch",
        format!("The client token {token} was used before with other parameters."),
    )
}

/// Too many copies at a time \[D code, section 2.2\]; the text is chosen.
pub(in crate::simulator) fn too_many_copies(what: &str, quota: usize) -> ApiError {
    ApiError::client(
        "ResourceLimitExceeded",
        format!("You have reached your quota of {quota} for the number of {what} copies in progress in this Region."),
    )
}

/// A key of a copy of a snapshot that cannot be used \[C, section 1.4\].
pub(in crate::simulator) fn copy_key_disabled(named: &str) -> ApiError {
    ApiError::client("InvalidParameterValue", format!("The specified keyId {named} is disabled"))
}

/// The key of a copy of a snapshot is no key's name \[C, section 1.4\].
pub(in crate::simulator) fn copy_key_invalid(named: &str) -> ApiError {
    ApiError::client("InvalidParameterValue", format!("The specified keyId {named} is invalid"))
}

/// The caller may not look at the key of a copy of a snapshot \[C code and status, section 1.4\]; the text is cut off in the source.
pub(in crate::simulator) fn copy_key_not_authorized(arn: &str) -> ApiError {
    ApiError::new(403, "AuthFailure", format!("Not authorized to use key {arn}"))
}

/// A time for copies to take that is none of those that there are \[C for `CopySnapshot`, section 1.4\]; the text is chosen.
pub(in crate::simulator) fn invalid_completion_duration(minutes: i64) -> ApiError {
    ApiError::client(
        "InvalidParameterValue",
        format!("{minutes} is not a completion duration: expected a multiple of 15 minutes from 15 to 2880."),
    )
}
