//! What the tests of this module build their worlds from: names, shares, an AWS that is plain data, and random ones of each.
//!
//! Compiled into the unit tests and, by its path, into the integration tests: it names the crate as `amishare` in both.

pub mod arbitrary;
pub mod aws;
pub mod cluster;
pub mod rules;
pub mod share;
pub mod world;

use std::collections::BTreeSet;

use amishare::{
    api::{GrantOperation, GrantsOn, ImageRef, KeyArn, Principal, Site, SnapshotId},
    share::claim::ObjectKey,
};
use k8s_openapi::jiff::Timestamp;

/// The account whose images are shared.
pub const OWNER: &str = "999988887777";

/// The account that owns images which are not [`OWNER`]'s.
pub const OTHER: &str = "123456789012";

/// Where everything is.
pub const REGION: &str = "us-east-1";

/// The accounts that exist are 1 to 5; these two do not.
pub const CLOSED: [u64; 2] = [8, 9];

/// The time at which everything happens.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The image by a number: 1 has the snapshots 1 and 2, 2 has the snapshot 3.
pub fn image(number: u64) -> ImageRef {
    ImageRef { site: Site::own(REGION.parse().unwrap()), id: format!("ami-{number:08x}").parse().unwrap() }
}

/// A snapshot by its number; 4 belongs to no image any more.
pub fn snapshot(number: u64) -> SnapshotId {
    format!("snap-{number:08x}").parse().unwrap()
}

/// The key of images that are encrypted with one of the owner's, or `aws/ebs`.
pub fn kms_key(default: bool) -> KeyArn {
    // Those that the simulator makes up.
    let id = if default { "11111111-2222-4333-8444-555555555555" } else { "22222222-3333-4444-8555-666666666666" };
    format!("arn:aws:kms:{REGION}:{OWNER}:key/{id}").parse().unwrap()
}

/// The grants on the owner's key: all that a launch and a copy take, or only what a launch does.
pub fn grants_on(lean: bool) -> GrantsOn {
    let operations = if lean { GrantOperation::LAUNCH.into() } else { GrantOperation::LAUNCH_AND_COPY.into() };
    GrantsOn { key: kms_key(false), operations }
}

/// An account by its number.
pub fn account(number: u64) -> Principal {
    format!("{number:012}").parse().unwrap()
}

/// Accounts by their numbers.
pub fn accounts(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Principal> {
    numbers.into_iter().map(account).collect()
}

/// The one organization.
pub fn organization() -> Principal {
    "arn:aws:organizations::123456789012:organization/o-abcde12345".parse().unwrap()
}

/// The one organizational unit.
pub fn unit() -> Principal {
    "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234".parse().unwrap()
}

/// The owner's own account.
pub fn owner() -> Principal {
    OWNER.parse().unwrap()
}

/// An object by its name: `c` and `d` are in a namespace of their own.
pub fn key(name: &str) -> ObjectKey {
    let namespace = if matches!(name, "c" | "d") { "partners" } else { "images" };
    ObjectKey { namespace: namespace.into(), name: name.into() }
}
