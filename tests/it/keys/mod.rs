//! Encrypted images: grants on their keys, in the right order, and a true answer to who can launch them.
//!
//! Whether somebody can is for the simulator to say: what it takes to launch an image is decided there without any code of the
//! operator's.

mod calls;
mod changes;
mod companions;
mod giving;
mod late;
mod refusals;

use std::collections::BTreeSet;

use amishare::{aws::grant_name::PREFIX, simulator::KeyGrant};

use crate::harness::{
    World, eventually,
    world::{IMAGE, REGION},
};

/// The key of [`ENCRYPTED`].
pub(super) const KEY: &str = "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666";
/// The second key of [`TWO_KEYS`].
const OTHER_KEY: &str = "arn:aws:kms:us-east-1:999988887777:key/mrk-0123456789abcdef0123456789abcdef";
/// The second image of those that have one.
const OTHER_IMAGE: &str = "ami-0123456789abcdef1";
/// Accounts that can be shared with.
const ONE: &str = "111122223333";
const TWO: &str = "444455556666";

/// The image, encrypted with a key of its owner, and another with the same key.
const ENCRYPTED: &str = r#"
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}
  - {id: snap-0123456789abcdef1, region: us-east-1, owner: "999988887777", encryption: customerKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0123456789abcdef1, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef1]}
roles:
  - {arn: "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"}
"#;

/// The image with two snapshots, each encrypted with a key of its own, and a third that is not.
const TWO_KEYS: &str = r#"
keys:
  - {arn: "arn:aws:kms:us-east-1:999988887777:key/mrk-0123456789abcdef0123456789abcdef"}
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}
  - {id: snap-0123456789abcdef1, region: us-east-1, owner: "999988887777", encryption: customerKey,
     kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/mrk-0123456789abcdef0123456789abcdef"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777",
     snapshots: [snap-0123456789abcdef0, snap-0123456789abcdef1, snap-0123456789abcdef2]}
"#;

/// The image, and another with a key of its own.
const ONE_KEY_EACH: &str = r#"
keys:
  - {arn: "arn:aws:kms:us-east-1:999988887777:key/mrk-0123456789abcdef0123456789abcdef"}
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}
  - {id: snap-0123456789abcdef1, region: us-east-1, owner: "999988887777", encryption: customerKey,
     kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/mrk-0123456789abcdef0123456789abcdef"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0123456789abcdef1, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef1]}
"#;

/// A spec that shares with these accounts, and has them get grants.
fn granting(accounts: &[&str]) -> String {
    let quoted: Vec<String> = accounts.iter().map(|a| format!("\"{a}\"")).collect();
    format!("  shareWith: {{accountIds: [{}]}}\n  kms: {{grants: Accounts}}", quoted.join(", "))
}

/// The operations that a launch takes, and no more.
const LEAN: &str = "CreateGrant, Decrypt, DescribeKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo";

/// A spec that has an account get grants of only these operations.
fn granting_only(operations: &str) -> String {
    granting(&[ONE]).replace("Accounts}", &format!("Accounts, operations: [{operations}]}}"))
}

/// What each grant on the key of the image allows.
fn operations(world: &World) -> Vec<String> {
    let all = grants(world, KEY).into_iter();
    all.map(|grant| grant.operations.into_iter().collect::<Vec<_>>().join(", ")).collect()
}

/// All grants on a key.
fn grants(world: &World, key: &str) -> Vec<KeyGrant> {
    world.aws.with_world(|aws| aws.key(key).into_iter().flat_map(|key| key.grants.values().cloned()).collect())
}

/// Whom grants of the operator's name on a key.
fn grantees(world: &World, key: &str) -> BTreeSet<String> {
    let is_ours = |grant: &KeyGrant| grant.name.as_ref().is_some_and(|name| name.starts_with(PREFIX));
    grants(world, key).into_iter().filter(is_ours).map(|grant| grant.grantee).collect()
}

/// The roots of accounts, as grants name them.
fn roots(accounts: &[&str]) -> BTreeSet<String> {
    accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect()
}

/// Waits until the operator's grants on a key name exactly these accounts.
async fn wait_grantees(world: &World, key: &str, accounts: &[&str]) {
    let wanted = roots(accounts);
    eventually(&format!("the grants on {key} name {wanted:?}"), || async {
        let found = grantees(world, key);
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// Whether an account can launch the image.
fn can_launch(world: &World, principal: &str) -> bool {
    world.aws.can_launch(REGION, IMAGE, principal).is_ok()
}

/// Waits until the condition on the keys has this status and reason, and returns its message.
async fn wait_keys(world: &World, name: &str, status: &str, reason: &str) -> String {
    world.wait_condition(world.namespace(), name, "KmsGrantsSynced", status, reason).await
}

/// Who cannot launch the image, or may not be able to, by the status: reason and principals.
async fn obstacles(world: &World, name: &str) -> Vec<(String, Vec<String>)> {
    let consumers = world.status(name).await.consumers.unwrap();
    let named = |o: &amishare::api::ami_share::Obstacle| o.principals.iter().map(|p| p.to_string()).collect();
    consumers.obstacles.iter().map(|o| (o.reason.clone(), named(o))).collect()
}
