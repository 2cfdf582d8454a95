//! The API `amishare.dev/v1alpha1`: what users write and read.
//!
//! Kubernetes types live here and in the controllers, nowhere else. Pure: no I/O, no clock.

pub mod age;
pub mod ami_distribution;
pub mod ami_share;
pub mod compact;
pub mod conditions;
pub mod crd;
pub mod docs;
pub mod image_selector;
pub mod interval;
pub mod keys;
pub mod names;
pub mod principal;
pub mod stored;

pub use age::Age;
pub use ami_distribution::{AmiDistribution, AmiDistributionSpec, AmiDistributionStatus};
pub use ami_share::{AmiShare, AmiShareSpec, AmiShareStatus};
pub use compact::{Compact, PrincipalList};
pub use conditions::{ConditionType, Reason};
pub use image_selector::ImageSelector;
pub use interval::Interval;
pub use keys::{GrantOperation, GranteeArn, GrantsOn, KeyArn, KmsKeyId};
pub use names::{
    AccountId, IdentityName, ImageId, ImageRef, OrganizationArn, OrganizationalUnitArn, Region, Site, SnapshotId,
};
pub use principal::Principal;

/// The API group.
pub const GROUP: &str = "amishare.dev";

/// Set on an object to have it checked now, whatever its interval: any new value will do, a timestamp by custom.
pub const REQUESTED_AT: &str = "reconcile.amishare.dev/requestedAt";

/// Holds an object that is being deleted until what it gave has been taken back.
pub const FINALIZER: &str = "amishare.dev/revoke";

/// The way out when AWS cannot be reached any more: set to `abandon` on an object, its deletion leaves AWS as it is.
pub const ON_DELETE: &str = "amishare.dev/on-delete";

/// The value of [`ON_DELETE`] that has an effect.
pub const ABANDON: &str = "abandon";

/// A tag of every copy, and a label of its AmiShare: the uid of the AmiDistribution that made it.
pub const DISTRIBUTION: &str = "amishare.dev/distribution";
