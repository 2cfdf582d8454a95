//! What is given, and taken back.

use amishare::simulator::{Fault, FaultKind};

use super::{
    ENCRYPTED, KEY, ONE, OTHER_KEY, TWO, TWO_KEYS, can_launch, grantees, granting, roots, wait_grantees, wait_keys,
};
use crate::harness::{
    Setup, World,
    world::{IMAGE, REGION},
};

async fn world(scenario: &'static str) -> World {
    World::start(Setup { scenario, ..Setup::default() }).await
}

/// The calls that change something, in the order in which AWS got them.
fn changes(world: &World) -> Vec<String> {
    let changing = |action: &str| action.starts_with("Modify") || action.ends_with("eGrant");
    world.aws.calls().into_iter().map(|call| call.action).filter(|action| changing(action)).collect()
}

#[tokio::test]
async fn an_account_can_launch_an_encrypted_image_once_its_share_is_ready() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    let message = world.wait_ready("base", "True", "Synced").await;
    assert_eq!(message, "shared with 2 accounts");
    assert!(can_launch(&world, ONE) && can_launch(&world, TWO));
    assert_eq!(grantees(&world, KEY), roots(&[ONE, TWO]));
    assert_eq!(changes(&world), ["CreateGrant", "CreateGrant", "ModifyImageAttribute"], "the key comes first");
    let status = world.status("base").await;
    assert_eq!(status.image.unwrap().kms_key_arns.iter().map(ToString::to_string).collect::<Vec<_>>(), [KEY]);
    let consumers = status.consumers.unwrap();
    assert_eq!((consumers.able, consumers.unable, consumers.unknown, consumers.obstacles), (2, 0, 0, vec![]));
    assert_eq!(status.granted[0].kms_grants[0].grantees.iter().count(), 2);
}

#[tokio::test]
async fn whoever_loses_an_image_loses_its_key_after_it() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    wait_grantees(&world, KEY, &[ONE]).await;
    world.wait_shared_with(&[ONE]).await;
    assert_eq!(changes(&world), ["ModifyImageAttribute", "RevokeGrant"]);
    world.wait_event("base", "Revoked", &format!("took grant on {KEY} from {TWO}")).await;
}

#[tokio::test]
async fn a_share_that_is_deleted_takes_its_grants_with_it() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.kubectl(&["delete", "ams", "base"]).await;
    world.wait_gone("base").await;
    assert!(grantees(&world, KEY).is_empty() && world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_share_that_retains_leaves_its_grants_and_no_other_share_takes_them() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &(granting(&[ONE]) + "\n  deletionPolicy: Retain")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.kubectl(&["delete", "ams", "base"]).await;
    world.wait_gone("base").await;
    assert!(can_launch(&world, ONE));
    world.apply("other", &(granting(&[TWO]) + "\n  mode: Additive")).await;
    world.wait_ready("other", "True", "Synced").await;
    assert_eq!(grantees(&world, KEY), roots(&[ONE, TWO]));
}

#[tokio::test]
async fn a_share_that_expires_revokes_its_grants() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.apply("base", &(granting(&[ONE]) + "\n  expiresAt: \"2020-01-01T00:00:00Z\"")).await;
    world.wait_ready("base", "False", "Expired").await;
    assert!(grantees(&world, KEY).is_empty() && !can_launch(&world, ONE));
}

#[tokio::test]
async fn every_key_of_an_image_is_opened_and_multi_region_keys_are_keys_like_others() {
    let world = world(TWO_KEYS).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!((grantees(&world, KEY), grantees(&world, OTHER_KEY)), (roots(&[ONE]), roots(&[ONE])));
    assert!(can_launch(&world, ONE));
    assert_eq!(world.status("base").await.granted[0].kms_grants.len(), 1, "keys with the same grantees share an entry");
}

#[tokio::test]
async fn a_grant_that_somebody_revokes_is_made_again() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "True", "Synced").await;
    // Until KMS has listed a grant that we made, we know better than its listings.
    world.check_now("base").await;
    world.aws.with_world(|aws| aws.key_mut(KEY).unwrap().grants.clear());
    assert!(!can_launch(&world, ONE));
    world.check_now("base").await;
    wait_grantees(&world, KEY, &[ONE]).await;
    world.wait_event("base", "DriftCorrected", &format!("gave grant on {KEY} back to {ONE}")).await;
    assert!(can_launch(&world, ONE));
}

#[tokio::test]
async fn nobody_is_given_an_image_whose_key_they_are_refused() {
    let world = world(ENCRYPTED).await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("CreateGrant"));
    world.apply("base", &granting(&[ONE])).await;
    let message = wait_keys(&world, "base", "False", "AccessDenied").await;
    assert!(message.starts_with(&format!("not given to {ONE}: CreateGrant was refused: AccessDenied")), "{message}");
    assert!(world.launch_permissions(IMAGE).is_empty());
    world.aws.clear_faults();
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(can_launch(&world, ONE));
}

#[tokio::test]
async fn nobody_loses_a_key_from_whom_the_image_could_not_be_taken() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("ModifyImageAttribute"));
    world.apply("base", &granting(&[ONE])).await;
    world.wait_ready("base", "False", "AccessDenied").await;
    assert_eq!(grantees(&world, KEY), roots(&[ONE, TWO]));
    assert!(can_launch(&world, TWO));
    world.aws.clear_faults();
    world.check_now("base").await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(grantees(&world, KEY), roots(&[ONE]));
}

#[tokio::test]
async fn a_quiet_check_changes_nothing_and_writes_nothing() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &granting(&[ONE, TWO])).await;
    world.wait_ready("base", "True", "Synced").await;
    world.check_now("base").await;
    world.aws.clear_calls();
    let before = world.share("base").await.status;
    world.check_now("base").await;
    assert_eq!(changes(&world), Vec::<String>::new());
    let after = world.share("base").await.status;
    assert_eq!(before.unwrap().conditions, after.unwrap().conditions);
}

#[tokio::test]
async fn a_role_gets_a_grant_besides_the_accounts_and_loses_it_with_its_entry() {
    let role = "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
    let world = world(ENCRYPTED).await;
    let with_role = |roles: &str| {
        format!(
            "  shareWith: {{accountIds: [\"{ONE}\"]}}\n  kms: {{grants: Accounts, additionalGranteeArns: [{roles}]}}"
        )
    };
    world.apply("base", &with_role(&format!("\"{role}\""))).await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(grantees(&world, KEY).contains(role));
    assert!(world.aws.can_launch(REGION, IMAGE, role).is_ok(), "a service-linked role is let in by nothing else");
    world.apply("base", &with_role("")).await;
    wait_grantees(&world, KEY, &[ONE]).await;
}

#[tokio::test]
async fn an_observing_share_says_what_it_would_grant_and_grants_nothing() {
    let world = world(ENCRYPTED).await;
    world.apply("base", &(granting(&[ONE]) + "\n  mode: Observe")).await;
    world.wait_ready("base", "False", "ChangesPending").await;
    let pending = world.status("base").await.pending_changes;
    assert_eq!(pending[0], format!("give grant on {KEY} to {ONE}"));
    assert!(grantees(&world, KEY).is_empty());
}
