//! How large AWS's buckets are, and which calls take from which.

use crate::simulator::params::Params;
use crate::simulator::scenario::BucketScenario;
use crate::simulator::wildcard;
use crate::simulator::{ec2, kms};

/// What listings of all snapshots take from, instead of from the bucket of `DescribeSnapshots`.
const UNFILTERED_SNAPSHOTS: &str = "DescribeSnapshots unfiltered";

/// Bucket, capacity in tokens, refill in tokens per second: "Request token bucket sizes and refill rates" of AWS's page
/// "Request throttling for the Amazon EC2 API" \[D ec2-api-throttling, aws.md section 2.3\], as far as it is about images and
/// snapshots. The first row that matches counts; `*` stands for any characters.
const DOCUMENTED: &[(&str, u32, f64)] = &[
    // KMS has quotas of requests per second \[D, aws.md section 2.4\]; that a second's worth may come at once is chosen.
    ("CreateGrant", 50, 50.0),
    ("DescribeKey", 2000, 2000.0),
    ("GetKeyPolicy", 1000, 1000.0),
    ("ListGrants", 100, 100.0),
    ("PutKeyPolicy", 15, 15.0),
    ("RetireGrant", 50, 50.0),
    ("RevokeGrant", 50, 50.0),
    ("CopyImage", 100, 1.0),
    ("CreateRestoreImageTask", 50, 0.1),
    ("CreateSnapshot", 100, 5.0),
    ("CreateSnapshots", 100, 5.0),
    ("CreateStoreImageTask", 50, 0.1),
    ("CreateTags", 100, 10.0),
    ("DeleteSnapshot", 100, 5.0),
    ("DeleteTags", 100, 10.0),
    ("DeregisterImage", 100, 5.0),
    (UNFILTERED_SNAPSHOTS, 50, 10.0),
    ("DescribeStoreImageTasks", 50, 0.5),
    ("DisableFastLaunch", 5, 2.0),
    ("DisableImageBlockPublicAccess", 1, 0.1),
    ("DisableSnapshotBlockPublicAccess", 1, 0.1),
    ("EnableFastLaunch", 5, 2.0),
    ("EnableImageBlockPublicAccess", 1, 0.1),
    ("EnableSnapshotBlockPublicAccess", 1, 0.1),
    ("ModifyImageAttribute", 100, 5.0),
    ("ModifySnapshotAttribute", 100, 5.0),
    // "Non-mutating actions".
    ("Describe*", 100, 20.0),
    ("Get*", 100, 20.0),
    ("List*", 100, 20.0),
];

/// "Mutating actions": all others.
const MUTATING: (u32, f64) = (50, 5.0);

/// Capacity and refill per second of the bucket: as the scenario says, else as AWS documents.
pub(super) fn size_of(bucket: &str, overrides: &[BucketScenario]) -> (u32, f64) {
    let overridden = overrides
        .iter()
        .find(|one| wildcard::matches(&one.action, bucket))
        .map(|one| (one.capacity, one.refill_per_second));
    let documented = DOCUMENTED
        .iter()
        .find(|(name, ..)| wildcard::matches(name, bucket))
        .map(|(_, capacity, refill)| (*capacity, *refill));
    overridden.or(documented).unwrap_or(MUTATING)
}

/// The name of the bucket that a call takes its token from: the action, except for listings of all snapshots. AWS calls
/// "unfiltered and unpaginated" what specifies "either pagination or a filter"; whether ids and owners count as a filter it
/// does not say, and here they do not.
pub(super) fn bucket_name<'a>(action: &'a str, params: &Params) -> &'a str {
    let is_narrowed = || ["Filter", "MaxResults", "NextToken"].iter().any(|name| params.has(name));
    if action == "DescribeSnapshots" && !is_narrowed() { UNFILTERED_SNAPSHOTS } else { action }
}

/// The names of all buckets: one for each action of EC2 and KMS that the simulator serves. For STS, AWS documents none.
pub(in crate::simulator) fn bucket_names() -> impl Iterator<Item = &'static str> {
    ec2::action_names().chain([UNFILTERED_SNAPSHOTS]).chain(kms::action_names())
}
