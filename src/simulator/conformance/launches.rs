//! Who could launch an image now: sections 1.11, 2.1 and 4.4.

use serde_json::{Value, json};

use super::harness::{
    Aws, CLOSED, DEFAULT_KEY_IMAGE, FRIEND, IMAGE, KEY_IMAGE, ORGANIZATION, OWNER, PENDING_IMAGE, REGION, STRANGER,
    scenario,
};
use super::keys::{KEY, grant, kms};
use crate::simulator::{KeyState, LaunchRefusal, RoleScenario, Scenario};

const AUTO_SCALING: &str =
    "arn:aws:iam::444455556666:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";

fn can(aws: &Aws, image: &str, principal: &str) -> Result<(), LaunchRefusal> {
    aws.0.can_launch(REGION, image, principal)
}

fn give(aws: &Aws, grantee: &str) {
    let (status, answer) = kms(aws, OWNER, REGION, "CreateGrant", &grant(KEY, grantee, "a"));
    assert_eq!(status, 200, "{answer}");
}

fn denied(operation: &'static str) -> Result<(), LaunchRefusal> {
    Err(LaunchRefusal::KeyNotShared { key: KEY.into(), operation })
}

fn set_policy(aws: &Aws, statement: &Value) {
    let own = json!({"Effect": "Allow", "Principal": {"AWS": OWNER}, "Action": "kms:*", "Resource": "*"});
    let policy = json!({"Statement": [own, statement]}).to_string();
    aws.0.with_world(|world| world.key_mut(KEY).unwrap().policy = policy);
}

#[test]
fn an_unencrypted_image_is_launched_by_its_owner_and_by_whom_it_is_shared_with() {
    let aws = Aws::new();
    assert_eq!(can(&aws, IMAGE, OWNER), Ok(()));
    assert_eq!(can(&aws, IMAGE, FRIEND), Err(LaunchRefusal::NotShared));
    aws.share(IMAGE, FRIEND);
    assert_eq!(can(&aws, IMAGE, FRIEND), Ok(()));
    assert_eq!(can(&aws, PENDING_IMAGE, OWNER), Err(LaunchRefusal::NotAvailable));
    assert_eq!(can(&aws, IMAGE, CLOSED), Err(LaunchRefusal::NoPrincipal));
}

#[test]
fn an_encrypted_image_takes_its_key_besides_the_launch_permission() {
    let aws = Aws::new();
    assert_eq!(can(&aws, KEY_IMAGE, OWNER), Ok(()));
    aws.share(KEY_IMAGE, FRIEND);
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), denied("CreateGrant"));
    give(&aws, "arn:aws:iam::444455556666:root");
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), Ok(()));
    aws.0.with_world(|world| world.key_mut(KEY).unwrap().state = KeyState::Disabled);
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), Err(LaunchRefusal::KeyNotUsable { key: KEY.into() }));
}

#[test]
fn a_grant_without_one_of_the_operations_is_not_enough() {
    let aws = Aws::new();
    aws.share(KEY_IMAGE, FRIEND);
    let mut lacking = grant(KEY, "arn:aws:iam::444455556666:root", "a");
    lacking["Operations"] =
        json!(["CreateGrant", "Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptTo"]);
    assert_eq!(kms(&aws, OWNER, REGION, "CreateGrant", &lacking).0, 200);
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), denied("ReEncryptFrom"));
}

#[test]
fn a_key_policy_lets_an_account_or_an_organization_in_without_a_grant() {
    let aws = Aws::new();
    let actions =
        json!(["kms:DescribeKey", "kms:CreateGrant", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]);
    aws.share(KEY_IMAGE, FRIEND);
    set_policy(&aws, &json!({"Effect": "Allow", "Principal": {"AWS": FRIEND}, "Action": actions, "Resource": "*"}));
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), Ok(()));

    aws.share(KEY_IMAGE, ORGANIZATION);
    assert_eq!(can(&aws, KEY_IMAGE, STRANGER), denied("CreateGrant"), "of the organization");
    let condition = json!({"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}});
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": actions, "Resource": "*", "Condition": condition});
    set_policy(&aws, &statement);
    assert_eq!(can(&aws, KEY_IMAGE, STRANGER), Ok(()));
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), denied("CreateGrant"), "of no organization");
}

#[test]
fn what_the_policy_denies_no_grant_gives() {
    let aws = Aws::new();
    aws.share(KEY_IMAGE, FRIEND);
    give(&aws, "arn:aws:iam::444455556666:root");
    set_policy(
        &aws,
        &json!({"Effect": "Deny", "Principal": {"AWS": FRIEND}, "Action": "kms:Decrypt", "Resource": "*"}),
    );
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), denied("Decrypt"));
}

#[test]
fn a_service_linked_role_takes_a_grant_of_its_own() {
    let role: RoleScenario = crate::yaml::from_str(&format!("arn: \"{AUTO_SCALING}\"")).unwrap();
    let mut scenario: Scenario = scenario();
    scenario.roles.push(role);
    let aws = Aws::of(scenario);
    aws.share(KEY_IMAGE, FRIEND);
    give(&aws, "arn:aws:iam::444455556666:root");
    assert_eq!(can(&aws, KEY_IMAGE, FRIEND), Ok(()));
    assert_eq!(can(&aws, KEY_IMAGE, AUTO_SCALING), denied("CreateGrant"));
    give(&aws, AUTO_SCALING);
    assert_eq!(can(&aws, KEY_IMAGE, AUTO_SCALING), Ok(()));
}

#[test]
fn an_image_under_the_key_of_aws_is_launched_by_its_owner_alone() {
    let aws = Aws::new();
    assert_eq!(can(&aws, DEFAULT_KEY_IMAGE, OWNER), Ok(()));
    aws.share(DEFAULT_KEY_IMAGE, FRIEND);
    assert!(matches!(can(&aws, DEFAULT_KEY_IMAGE, FRIEND), Err(LaunchRefusal::KeyNotShared { .. })));
}
