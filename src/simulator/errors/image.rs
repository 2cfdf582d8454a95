//! Errors about images and their launch permissions.

use super::ApiError;

/// No image ever had this id \[C, section 1.0\]. Several ids fail the whole call, which is recollection (appendix B).
pub(in crate::simulator) fn image_not_found(ids: &[&str]) -> ApiError {
    let message = match ids {
        [id] => format!("The image id '[{id}]' does not exist"),
        _ => format!("The image ids '[{}]' do not exist", ids.join(", ")),
    };
    ApiError::client("InvalidAMIID.NotFound", message)
}

/// The id cannot be one \[C, section 1.0\].
pub(in crate::simulator) fn image_id_malformed(id: &str) -> ApiError {
    ApiError::client("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\""))
}

/// The image is deregistered \[C for a second `DeregisterImage`, section 1.1\].
pub(in crate::simulator) fn image_deregistered(id: &str) -> ApiError {
    ApiError::client("InvalidAMIID.Unavailable", format!("The image ID '{id}' is no longer available"))
}

/// The image is pending, disabled or failed: the code is \[D, section 1.1\]; the text takes up the documentation's words.
pub(in crate::simulator) fn image_unavailable(id: &str) -> ApiError {
    ApiError::client(
        "InvalidAMIID.Unavailable",
        format!("The image ID '{id}' is not in a state from which you can launch an instance or modify attributes"),
    )
}

/// Somebody else's image \[C for `DescribeImageAttribute`, I for the others, section 1.0\].
pub(in crate::simulator) fn not_authorized_for_image(id: &str) -> ApiError {
    ApiError::client("AuthFailure", format!("Not authorized for image:{id}"))
}

/// The attribute that nobody may read, not even the owner \[C, section 1.2\].
pub(in crate::simulator) fn restricted_resource() -> ApiError {
    ApiError::client("AuthFailure", "Unauthorized attempt to access restricted resource")
}

/// `ModifyImageAttribute` without anything to modify \[C, section 1.1\].
pub(in crate::simulator) fn no_attributes() -> ApiError {
    ApiError::client("InvalidParameterCombination", "No attributes specified.")
}

/// `ModifyImageAttribute` with more than one kind of attribute \[C, section 1.1\].
pub(in crate::simulator) fn several_attributes(names: &[&str]) -> ApiError {
    ApiError::client(
        "InvalidParameterCombination",
        format!("Fields for multiple attribute types specified: {}", names.join(", ")),
    )
}

/// Not a principal that images can be shared with \[C and X, section 1.1\]. `kind` is `userId`, `UserGroup`,
/// `OrganizationArn`; `OrganizationalUnitArn` is inferred from them.
pub(in crate::simulator) fn invalid_item(kind: &str, value: &str) -> ApiError {
    ApiError::client(
        "InvalidAMIAttributeItemValue",
        format!("Invalid attribute item value \"{value}\" for {kind} item type."),
    )
}

/// Sharing an image with a snapshot under the `aws/ebs` key \[X, section 1.1\].
pub(in crate::simulator) fn image_with_default_key() -> ApiError {
    ApiError::client(
        "InvalidParameter",
        "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot.",
    )
}

/// Making an image public that has a snapshot under a customer-managed key. That it is refused is section 2.1; neither
/// code nor text is known, so the code is the one of the neighbouring rule ([`image_with_default_key`]).
pub(in crate::simulator) fn encrypted_image_public() -> ApiError {
    ApiError::client(
        "InvalidParameter",
        "Images with encrypted snapshots can't be shared publicly. Specify another snapshot.",
    )
}

/// Making an image with product codes public. That it is refused is \[M doc, section 1.3\]; code and text are chosen.
pub(in crate::simulator) fn product_code_image_public() -> ApiError {
    ApiError::client("OperationNotPermitted", "Images with product codes can't be made public.")
}

/// Block public access for images forbids it. The code is section 1.1; the text is chosen.
pub(in crate::simulator) fn image_public_blocked() -> ApiError {
    ApiError::client(
        "OperationNotPermitted",
        "You can't publicly share this image because block public access for AMIs is enabled in this Region.",
    )
}

/// The quota of public images \[X, section 1.1\]; the source cuts the text where it goes on to say how to ask for more.
pub(in crate::simulator) fn public_image_quota(quota: usize) -> ApiError {
    ApiError::client(
        "ResourceLimitExceeded",
        format!("You have reached your quota of {quota} for the number of public images allowed in this Region."),
    )
}

/// The quota of accounts, organizations and units that one image is shared with. Code and text were never seen: appendix
/// B gives this code as the default, and the text mirrors [`public_image_quota`].
pub(in crate::simulator) fn image_sharing_quota(quota: usize) -> ApiError {
    ApiError::client(
        "ResourceLimitExceeded",
        format!("You have reached your quota of {quota} for the number of entities that an image can be shared with."),
    )
}

/// Giving up a launch permission that was not given to the account itself. Not in the reference: the code is that of the
/// other calls on an image which exists and is not the caller's to change.
pub(in crate::simulator) fn no_launch_permission_to_cancel(id: &str) -> ApiError {
    not_authorized_for_image(id)
}

/// The image's name is taken \[C, section 1.1\].
pub(in crate::simulator) fn image_name_duplicate(name: &str, holder: &str) -> ApiError {
    ApiError::client("InvalidAMIName.Duplicate", format!("AMI name {name} is already in use by AMI {holder}"))
}

/// The image's name is too short, too long or has other characters than the allowed ones \[C code, section 1.1\]; the text
/// takes up the rule there.
pub(in crate::simulator) fn image_name_malformed() -> ApiError {
    ApiError::client(
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, spaces, '(', ')', '[', ']', \
         '.', '/', '-', ''', '@' and '_'",
    )
}

/// No such report on the use of an image. Code and text are chosen.
pub(in crate::simulator) fn usage_report_not_found(id: &str) -> ApiError {
    ApiError::client("InvalidImageUsageReportId.NotFound", format!("The image usage report '{id}' does not exist"))
}

/// Deregistering a protected image. The text was never seen; the code is appendix B's default.
pub(in crate::simulator) fn deregistration_protected(id: &str) -> ApiError {
    ApiError::client("OperationNotPermitted", format!("The image {id} is protected from deregistration."))
}

/// Enabling or disabling an image in a state that does not allow it \[D code, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn image_incorrect_state(id: &str, state: &str) -> ApiError {
    ApiError::client(
        "IncorrectState",
        format!("The image {id} is in the state {state}, which does not allow this operation."),
    )
}
