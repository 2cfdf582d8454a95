//! Errors about tags, and of STS about roles.

use super::ApiError;

/// A tag cannot be put on that. The code is in AWS's list of client errors; the text is chosen.
pub(in crate::simulator) fn invalid_resource_id(id: &str) -> ApiError {
    ApiError::client("InvalidID", format!("The ID '{id}' is not valid"))
}

/// A tag key that is empty, too long or reserved \[D code, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn invalid_tag_key(key: &str, why: &str) -> ApiError {
    ApiError::client("InvalidTagKey.Malformed", format!("The tag key '{key}' is not valid: {why}"))
}

/// More tags than a resource may have \[D code, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn tag_limit_exceeded(limit: usize) -> ApiError {
    ApiError::client("TagLimitExceeded", format!("You have reached the maximum of {limit} tags for the resource."))
}

/// A `ec2:SharedTag/` on something else than an image of one's own. That only an image's owner may write one is \[D,
/// section 1.9\]; code and text are chosen.
pub(in crate::simulator) fn shared_tag_not_permitted(id: &str) -> ApiError {
    ApiError::client(
        "OperationNotPermitted",
        format!(
            "Tags with the prefix 'ec2:SharedTag/' can be written by the owner of an AMI only, and {id} is no AMI of yours."
        ),
    )
}

/// A parameter of STS out of its bounds \[M bounds, section 1.12\]; code and text are chosen.
pub(in crate::simulator) fn sts_validation(message: impl Into<String>) -> ApiError {
    ApiError::client("ValidationError", message)
}

/// STS in a Region that the account has not opted in to \[M, section 1.12\]; the text is chosen.
pub(in crate::simulator) fn region_disabled() -> ApiError {
    ApiError::new(403, "RegionDisabledException", "STS is not activated in this region for account")
}
