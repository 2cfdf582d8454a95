//! What the keys keep from being launched is said by name.

use amishare::simulator::{Fault, FaultKind, KeyState};
use serde_json::json;

use super::{ENCRYPTED, KEY, ONE, TWO, can_launch, grantees, granting, obstacles, roots, wait_keys};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER, REGION},
};

const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-abcde12345/ou-ab12-abcd1234";

async fn world(scenario: &'static str) -> World {
    World::start(Setup { scenario, ..Setup::default() }).await
}

/// Shares with these accounts and asks for no grants.
fn plain(accounts: &[&str]) -> String {
    granting(accounts).replace("Accounts}", "None}")
}

/// Puts statements into the policy of the key besides the one that leaves everything to its own account.
fn add_to_policy(world: &World, statements: &str) {
    let own = json!({
        "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{OWNER}:root")}, "Action": "kms:*", "Resource": "*"
    });
    let policy = format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{own}, {statements}]}}");
    world.rogue(OWNER, "PutKeyPolicy", &[("KeyId", KEY), ("PolicyName", "default"), ("Policy", &policy)]);
}

#[tokio::test]
async fn a_share_without_grants_is_not_ready_and_names_those_who_cannot_launch() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &plain(&[ONE, TWO])).await;
    let message = world.wait_ready("base", "False", "KmsAccessMissing").await;
    let expected =
        format!("cannot be launched by {ONE}, {TWO}: neither a grant nor the policy of {KEY} lets them use the key");
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.contains("set kms.grants: Accounts"), "{message}");
    world.wait_shared_with(&[ONE, TWO]).await;
    assert!(!can_launch(&world, ONE));
    assert_eq!(
        obstacles(&world, "base").await,
        [("KmsAccessMissing".to_owned(), vec![ONE.to_owned(), TWO.to_owned()])]
    );
}

#[tokio::test]
async fn a_share_without_grants_is_ready_once_the_policy_lets_everybody_in() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &plain(&[ONE])).await;
    world.wait_ready("base", "False", "KmsAccessMissing").await;
    add_to_policy(
        &world,
        &json!({"Effect": "Allow", "Principal": {"AWS": ONE}, "Action": "kms:*", "Resource": "*"}).to_string(),
    );
    assert!(can_launch(&world, ONE));
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(grantees(&world, KEY).is_empty());
}

#[tokio::test]
async fn an_organization_is_told_the_statement_that_lets_it_in_and_it_does() {
    const MEMBERS: &str = r#"
accounts:
  - {id: "444455556666", organizationArn: "arn:aws:organizations::111122223333:organization/o-abcde12345",
     organizationalUnitArns: ["arn:aws:organizations::111122223333:ou/o-abcde12345/ou-ab12-abcd1234"]}
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;
    for (field, arn) in [("organizationArns", ORGANIZATION), ("organizationalUnitArns", UNIT)] {
        let world = world(MEMBERS).await;
        let spec = format!("  shareWith: {{{field}: [\"{arn}\"]}}\n  kms: {{grants: Accounts}}");
        world.apply("base", &spec).await;
        let message = wait_keys(&world, "base", "False", "GrantNotPossibleForOrganization").await;
        let (_, statement) = message.split_once("add to the key policy: ").unwrap();
        assert!(!can_launch(&world, TWO));
        add_to_policy(&world, statement);
        assert!(can_launch(&world, TWO), "{statement}");
        world.check_now("base").await;
        world.wait_ready("base", "True", "Synced").await;
    }
}

#[tokio::test]
async fn a_key_that_is_disabled_or_waits_for_its_deletion_is_named() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.rogue(OWNER, "DisableKey", &[("KeyId", KEY)]);
    world.check_now("base").await;
    let message = wait_keys(&world, "base", "False", "KmsKeyNotUsable").await;
    assert!(message.contains(&format!("{KEY} is disabled: enable it")), "{message}");
    assert_eq!(obstacles(&world, "base").await[0].0, "KmsKeyNotUsable");

    // A new account waits for the key, and gets the image together with it.
    world.apply("base", &granting(&[ONE, TWO])).await;
    wait_keys(&world, "base", "False", "KmsKeyNotUsable").await;
    world.wait_shared_with(&[ONE]).await;
    world.aws.with_world(|aws| aws.key_mut(KEY).unwrap().state = KeyState::PendingDeletion);
    world.check_now("base").await;
    let message = wait_keys(&world, "base", "False", "KmsKeyNotUsable").await;
    assert!(message.contains("waits for its deletion"), "{message}");
    world.aws.with_world(|aws| aws.key_mut(KEY).unwrap().state = KeyState::Enabled);
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(can_launch(&world, TWO));
}

#[tokio::test]
async fn a_key_of_another_account_is_named_and_never_touched() {
    const FOREIGN: &str = r#"
keys: [{arn: "arn:aws:kms:us-east-1:222233334444:key/33333333-3333-4444-8555-666666666666"}]
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey,
     kmsKeyId: "arn:aws:kms:us-east-1:222233334444:key/33333333-3333-4444-8555-666666666666"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;
    let world = world(FOREIGN).await;
    world.apply("base", &granting(&[ONE])).await;
    let message = wait_keys(&world, "base", "False", "KmsKeyNotOwned").await;
    assert!(message.contains("belongs to account 222233334444, which alone can let others use it"), "{message}");
    assert!(world.launch_permissions(IMAGE).is_empty(), "it would be worth nothing");
    let kms = ["DescribeKey", "GetKeyPolicy", "ListGrants", "CreateGrant"];
    assert!(world.aws.calls().iter().all(|call| !kms.contains(&call.action.as_str())));
}

#[tokio::test]
async fn the_default_key_is_refused_without_asking() {
    const DEFAULT_KEY: &str = r#"
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: defaultKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;
    let world = world(DEFAULT_KEY).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "False", "DefaultKmsKeyNotShareable").await;
    wait_keys(&world, "base", "False", "DefaultKmsKeyNotShareable").await;
    assert!(world.aws.calls().iter().all(|call| call.action != "ModifyImageAttribute" && call.action != "CreateGrant"));
}

#[tokio::test]
async fn a_grantee_that_does_not_exist_is_named_and_tried_again_and_the_others_are_served() {
    let role = "arn:aws:iam::111122223333:role/late";
    let world = world(ENCRYPTED).await;
    let spec = format!(
        "  shareWith: {{accountIds: [\"{ONE}\"]}}\n  kms: {{grants: Accounts, additionalGranteeArns: [\"{role}\"]}}"
    );
    world.apply("base", &spec).await;
    let message = wait_keys(&world, "base", "False", "GranteeNotFound").await;
    assert!(message.starts_with(&format!("not given to {role}: ")), "{message}");
    world.wait_shared_with(&[ONE]).await;
    assert!(can_launch(&world, ONE));
    world.aws.with_world(|aws| {
        let mut known = aws.roles.values().next().unwrap().clone();
        known.trusts.clear();
        aws.roles.insert(role.into(), known);
    });
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(grantees(&world, KEY).contains(role));
}

#[tokio::test]
async fn a_key_without_room_for_another_grant_says_so() {
    const FULL: &str = r#"
quotas: {grantsPerKey: 1}
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;
    let world = world(FULL).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    let message = wait_keys(&world, "base", "False", "QuotaExceeded").await;
    assert!(message.contains("50,000 grants"), "{message}");
    let able = grantees(&world, KEY);
    assert_eq!(able.len(), 1);
    let held: std::collections::BTreeSet<String> =
        world.launch_permissions(IMAGE).iter().flat_map(|account| roots(&[account])).collect();
    assert_eq!(held, able, "whoever has no key has no image");
}

#[tokio::test]
async fn an_operator_that_may_not_read_keys_says_so_and_shares_all_the_same_where_no_grants_are_asked_for() {
    for denied in ["DescribeSnapshots", "DescribeKey", "GetKeyPolicy"] {
        let world = world(ENCRYPTED).await;
        world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on(denied));
        world.apply("base", &plain(&[ONE])).await;
        let message = wait_keys(&world, "base", "Unknown", "AccessDenied").await;
        assert!(message.contains(denied), "{message}");
        world.wait_shared_with(&[ONE]).await;
        let consumers = world.status("base").await.consumers.unwrap();
        assert_eq!((consumers.able, consumers.unknown), (0, 1));
    }
}

#[tokio::test]
async fn a_guard_rail_holds_for_roles_too() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    let rules = "apiVersion: config.amishare.dev/v1alpha1\nkind: OperatorConfiguration\nguardrails:\n- name: ours\n  namespaces: [\"*\"]\n  \
                 shareWith: {accountIds: [\"444455556666\"]}\n";
    std::fs::write(&path, rules).unwrap();
    let flag: &'static str = format!("--config={}", path.display()).leak();
    let flags: &'static [&'static str] = vec![flag].leak();
    let world = World::start(Setup { scenario: ENCRYPTED, flags, ..Setup::default() }).await;
    let role = "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
    let spec = format!(
        "  shareWith: {{accountIds: [\"{TWO}\"]}}\n  kms: {{grants: Accounts, additionalGranteeArns: [\"{role}\"]}}"
    );
    world.apply("base", &spec).await;
    let message = wait_keys(&world, "base", "False", "GuardrailDenied").await;
    assert!(message.contains(role), "{message}");
    assert_eq!(grantees(&world, KEY), roots(&[TWO]));
    assert!(world.aws.can_launch(REGION, IMAGE, role).is_err());
}
