//! Public sharing: what AWS, the image and the operator's configuration forbid.

use super::{changes, is};
use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER},
};

const ACCOUNT: &str = "111122223333";
const PUBLIC: &str = r#"  shareWith: {public: true, accountIds: ["111122223333"]}"#;
const ALLOWED: &[&str] = &["--allow-public-sharing"];

const UNBLOCKED: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}]
"#;

const BLOCKED: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: block-new-sharing}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
"#;

const ENCRYPTED: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
snapshots: [{id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}]
"#;

const SOLD: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", productCodes: [{code: abc}]}]
"#;

const NO_ROOM: &str = r#"
quotas: {publicImages: 0}
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
"#;

async fn world(scenario: &'static str, flags: &'static [&'static str]) -> World {
    World::start(Setup { scenario, flags, ..Setup::default() }).await
}

/// Public is refused for this reason, and the account is served; gives the message.
async fn refused(world: &World, reason: &str) -> String {
    world.apply("public", PUBLIC).await;
    let message = world.wait_ready("public", "False", reason).await;
    assert!(message.starts_with("not given to all: "), "{message}");
    world.wait_shared_with(&[ACCOUNT]).await;
    let status = world.status("public").await;
    let shared = status.shared_with.unwrap();
    assert_eq!((shared.accounts, shared.public), (1, false));
    assert!(!status.image.unwrap().public);
    assert!(is(world, "public", "Stalled").await);
    message
}

#[tokio::test]
async fn an_image_is_public_when_spec_flag_and_account_say_so() {
    let world = world(UNBLOCKED, ALLOWED).await;
    world.apply("public", PUBLIC).await;
    let message = world.wait_ready("public", "True", "Synced").await;
    assert_eq!(message, "shared with 1 account, everyone");
    world.wait_shared_with(&[ACCOUNT, "all"]).await;
    assert!(world.status("public").await.image.unwrap().public);
}

#[tokio::test]
async fn an_image_with_an_encrypted_snapshot_is_not_made_public_and_the_accounts_get_it() {
    let world = world(ENCRYPTED, ALLOWED).await;
    let message = refused(&world, "EncryptedImageCannotBePublic").await;
    let words = "an image with an encrypted snapshot cannot be public; list accounts or organizations instead";
    assert!(message.contains(words), "{message}");
}

#[tokio::test]
async fn an_image_with_a_product_code_is_not_made_public_and_the_accounts_get_it() {
    let world = world(SOLD, ALLOWED).await;
    let message = refused(&world, "ProductCodeImageCannotBePublic").await;
    assert!(message.ends_with("an image with a product code cannot be public; list accounts or organizations instead"));
}

#[tokio::test]
async fn block_public_access_is_found_before_aws_is_asked_in_vain() {
    let world = world(BLOCKED, ALLOWED).await;
    let message = refused(&world, "PublicSharingBlocked").await;
    assert!(
        message.contains("block public access for AMIs is on in this account and Region; disable it there"),
        "{message}"
    );
    assert_eq!(changes(&world), 1, "one call for the account, none for everyone");
}

#[tokio::test]
async fn a_share_becomes_public_at_the_next_check_after_block_public_access_is_off() {
    let world = world(BLOCKED, ALLOWED).await;
    refused(&world, "PublicSharingBlocked").await;
    world.rogue(OWNER, "DisableImageBlockPublicAccess", &[]);
    world.check_now("public").await;
    world.wait_ready("public", "True", "Synced").await;
    world.wait_shared_with(&[ACCOUNT, "all"]).await;
}

#[tokio::test]
async fn the_quota_of_public_images_is_named_in_awss_words_and_the_accounts_get_the_image() {
    let world = world(NO_ROOM, ALLOWED).await;
    let message = refused(&world, "QuotaExceeded").await;
    assert!(message.contains("You have reached your quota of 0 for the number of public images"), "{message}");
}

#[tokio::test]
async fn nothing_becomes_public_unless_the_operator_allows_it() {
    let world = world(UNBLOCKED, &[]).await;
    let message = refused(&world, "GuardrailDenied").await;
    assert!(
        message.contains("the operator does not allow public sharing; whoever runs it can with --allow-public-sharing")
    );
    assert!(world.aws.calls().iter().all(|call| call.params.values().all(|value| value != "all")));
}

#[tokio::test]
async fn what_somebody_else_made_public_is_made_private_although_the_spec_lists_everyone() {
    let world = world(UNBLOCKED, &[]).await;
    refused(&world, "GuardrailDenied").await;
    world.rogue(OWNER, "ModifyImageAttribute", &[("ImageId", IMAGE), ("LaunchPermission.Add.1.Group", "all")]);
    world.check_now("public").await;
    world.wait_shared_with(&[ACCOUNT]).await;
    world.wait_event("public", "DriftCorrected", "took launch permission on ami-0123456789abcdef0 from all").await;
    world.wait_ready("public", "False", "GuardrailDenied").await;
}

#[tokio::test]
async fn an_additive_share_leaves_public_what_somebody_else_made_public_and_does_not_call_it_its_own() {
    let world = world(UNBLOCKED, &[]).await;
    world.rogue(OWNER, "ModifyImageAttribute", &[("ImageId", IMAGE), ("LaunchPermission.Add.1.Group", "all")]);
    world.apply("public", &format!("{PUBLIC}\n  mode: Additive")).await;
    world.wait_ready("public", "False", "GuardrailDenied").await;
    world.wait_shared_with(&[ACCOUNT, "all"]).await;
    world.kubectl(&["delete", "ams", "public"]).await;
    world.wait_gone("public").await;
    assert_eq!(world.launch_permissions(IMAGE).into_iter().collect::<Vec<_>>(), ["all"]);
}

/// A refusal of public sharing that cannot be foreseen, because block public access cannot be read.
#[tokio::test]
async fn a_refusal_that_comes_from_aws_itself_leaves_the_accounts_in() {
    let scenario = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: block-new-sharing}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777"}]
faults: [{kind: {type: accessDenied}, action: GetImageBlockPublicAccessState}]
"#;
    let world = world(scenario, ALLOWED).await;
    let message = refused(&world, "PublicSharingBlocked").await;
    assert!(message.contains("disable block public access for this account and Region"), "{message}");
}
