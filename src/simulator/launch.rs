//! Whether a principal could launch an image now: the decision that `RunInstances` stands for, without an instance.
//!
//! What a launch needs that the consumer's own account decides, such as its IAM and Allowed AMIs, is taken for granted; but for
//! service-linked roles, whose IAM nobody can extend (aws.md section 1.11).

use std::fmt;

use super::kms::access::{may, principal};
use super::world::{Encryption, ImageState, KeyState, World};

/// What EC2 does with the key of an encrypted snapshot, for whoever launches or copies \[D, aws.md section 1.11\].
pub(super) const KEY_OPERATIONS: &[&str] =
    &["CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"];

/// Why a principal cannot launch an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchRefusal {
    /// The ARN or account id is nobody's.
    NoPrincipal,
    /// There is no such image for the principal: `InvalidAMIID.NotFound`.
    NotShared,
    /// The image is in a state in which nobody can launch it: `InvalidAMIID.Unavailable`.
    NotAvailable,
    /// The key of a snapshot cannot be used by anybody: the instance ends with `Client.InternalError`.
    KeyNotUsable {
        /// The key's ARN.
        key: String,
    },
    /// Neither the key's policy nor a grant lets the principal do what a launch takes: the instance ends with
    /// `Client.InternalError`.
    KeyNotShared {
        /// The key's ARN.
        key: String,
        /// The first operation that is denied.
        operation: &'static str,
    },
}

impl fmt::Display for LaunchRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrincipal => f.write_str("there is no such principal"),
            Self::NotShared => f.write_str("InvalidAMIID.NotFound: the image is not shared with it"),
            Self::NotAvailable => f.write_str("InvalidAMIID.Unavailable: the image is not available"),
            Self::KeyNotUsable { key } => write!(f, "Client.InternalError: {key} cannot be used"),
            Self::KeyNotShared { key, operation } => write!(f, "Client.InternalError: {operation} on {key} is denied"),
        }
    }
}

/// Whether the principal, an account id or an ARN, could launch the image now.
pub(super) fn decide(world: &World, region: &str, image: &str, named: &str) -> Result<(), LaunchRefusal> {
    let arn = if world.is_account(named) { format!("arn:aws:iam::{named}:root") } else { named.to_owned() };
    let account = arn.split(':').nth(4).filter(|_| world.is_principal(&arn)).ok_or(LaunchRefusal::NoPrincipal)?;
    let mut user = principal(world, account, &arn);
    user.via = Some(format!("ec2.{region}.amazonaws.com"));

    let image = world.image(region, image).ok_or(LaunchRefusal::NotShared)?;
    if !image.is_visible_to(account, &user.membership) {
        return Err(LaunchRefusal::NotShared);
    }
    if image.state != ImageState::Available {
        return Err(LaunchRefusal::NotAvailable);
    }
    let snapshots = image.snapshot_ids().filter_map(|id| world.snapshot(region, id));
    for arn in snapshots.filter_map(|snapshot| match &snapshot.encryption {
        Encryption::None => None,
        Encryption::CustomerKey(arn) | Encryption::DefaultKey(arn) => Some(arn),
    }) {
        let Some(key) = world.key(arn).filter(|key| key.state == KeyState::Enabled) else {
            return Err(LaunchRefusal::KeyNotUsable { key: arn.clone() });
        };
        if let Some(operation) = KEY_OPERATIONS.iter().find(|operation| !may(world, key, &user, operation)) {
            return Err(LaunchRefusal::KeyNotShared { key: arn.clone(), operation });
        }
    }
    Ok(())
}
