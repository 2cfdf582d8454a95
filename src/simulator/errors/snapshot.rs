//! Errors about snapshots and their create-volume permissions.

use super::ApiError;

/// The snapshot does not exist, or not for this caller: EC2 does not tell the two apart \[C, section 1.0\].
pub(in crate::simulator) fn snapshot_not_found(id: &str) -> ApiError {
    ApiError::client("InvalidSnapshot.NotFound", format!("The snapshot '{id}' does not exist."))
}

/// Not even the beginning of a snapshot id \[C, section 1.1\].
pub(in crate::simulator) fn snapshot_id_expected(value: &str) -> ApiError {
    ApiError::client(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter snapshotId is invalid. Expected: 'snap-...'."),
    )
}

/// Begins like a snapshot id and cannot be one \[D code, section 1.1\]; the text mirrors that of images.
pub(in crate::simulator) fn snapshot_id_malformed(value: &str) -> ApiError {
    ApiError::client("InvalidSnapshotID.Malformed", format!("Invalid id: \"{value}\""))
}

/// An image still refers to the snapshot \[C, section 1.1\].
pub(in crate::simulator) fn snapshot_in_use(id: &str, images: &[&str]) -> ApiError {
    ApiError::client("InvalidSnapshot.InUse", format!("The snapshot {id} is currently in use by {}", images.join(", ")))
}

/// Add and remove in one call, or neither \[C for both at once, section 1.1\].
pub(in crate::simulator) fn one_operation_type() -> ApiError {
    ApiError::client(
        "InvalidParameterCombination",
        "One and only one operation type may be specified for createVolumePermissions",
    )
}

/// More entries than one call may have, duplicates included \[C, section 1.4\].
pub(in crate::simulator) fn modification_size(limit: usize) -> ApiError {
    ApiError::client("InvalidParameterValue", format!("Modification size must not be greater than {limit}."))
}

/// An account that cannot be given a snapshot, named in `CreateVolumePermission.Add.N.UserId` \[C, section 1.4\].
pub(in crate::simulator) fn snapshot_account_canonical(account: &str) -> ApiError {
    ApiError::client("InvalidAMIAttributeItemValue", format!("UserId {account}"))
}

/// An account that cannot be given a snapshot, named in `UserId.N` \[C, section 1.4\].
pub(in crate::simulator) fn snapshot_account_legacy(account: &str) -> ApiError {
    ApiError::client("InvalidAMIAttributeItemValue", format!("UserId ({account}) is invalid."))
}

/// Sharing a snapshot under the `aws/ebs` key \[C and X, section 1.4\].
pub(in crate::simulator) fn snapshot_with_default_key() -> ApiError {
    ApiError::client("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
}

/// Making an encrypted snapshot public. That it is refused is \[D, section 1.4\]; the text was only seen in an emulator,
/// and the code is that of the neighbouring rule ([`snapshot_with_default_key`]).
pub(in crate::simulator) fn encrypted_snapshot_public() -> ApiError {
    ApiError::client("OperationNotPermitted", "Encrypted snapshots cannot be shared publicly.")
}

/// Block public access for snapshots forbids it \[C code, section 1.4\]; the text is chosen.
pub(in crate::simulator) fn snapshot_public_blocked() -> ApiError {
    ApiError::client(
        "OperationNotPermitted",
        "You can't publicly share this snapshot because block public access for snapshots is enabled in this Region.",
    )
}

/// The snapshot is not completed. The code is \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn snapshot_incorrect_state(id: &str) -> ApiError {
    ApiError::client("IncorrectState", format!("The snapshot {id} is not completed."))
}

/// Not a volume id. The code is in AWS's list of client errors; the text mirrors that of images.
pub(in crate::simulator) fn volume_id_malformed(id: &str) -> ApiError {
    ApiError::client("InvalidVolumeID.Malformed", format!("Invalid id: \"{id}\""))
}
