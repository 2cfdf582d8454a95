//! Copies in other accounts.

use serde_json::json;

use super::world::{EU, IDENTITIES, children, counts, create, images, start_in, start_with, target, wait_ready};
use crate::harness::world::{IMAGE, OWNER};

#[tokio::test]
async fn a_copy_in_another_account_is_made_by_that_account_and_the_source_is_closed_again() {
    let world = start_with(IDENTITIES).await;
    create(&world, "base", json!({"targets": [{"name": "prod", "region": EU, "identity": "prod"}]})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let copies = images(&world, EU);
    assert_eq!(copies[0].owner, "444455556666");
    let line = target(&world, "base", "prod").await;
    assert_eq!(line.account_id.unwrap().to_string(), "444455556666");
    crate::harness::eventually("the source is closed", || async {
        let held = world.launch_permissions(IMAGE);
        let shares = children(&world).await.len();
        if held.is_empty() && shares == 0 { Ok(()) } else { Err(format!("{held:?}, {shares} shares")) }
    })
    .await;
    assert_eq!(counts(&world)["CopyImage"], 1);
    assert_ne!(copies[0].owner, OWNER);
}

/// An encrypted image, and a key in each of two accounts.
const ENCRYPTED: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"]}]
copies: {milliseconds: 700}
keys:
  - {arn: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
  - {arn: "arn:aws:kms:eu-west-1:444455556666:key/33333333-4444-4555-8666-777777777777", aliases: [alias/images]}
snapshots:
  - {id: snap-0fedcba9876543210, region: us-east-1, owner: "999988887777", encryption: customerKey, kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0fedcba9876543210]}
"#;

#[tokio::test]
async fn an_encrypted_copy_in_another_account_has_that_accounts_key_and_the_sources_key_is_closed_again() {
    const SOURCES: &str = "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666";
    const COPYS: &str = "arn:aws:kms:eu-west-1:444455556666:key/33333333-4444-4555-8666-777777777777";
    let world = start_in(ENCRYPTED, IDENTITIES).await;
    let consumer = "111122223333";
    create(
        &world,
        "base",
        json!({
            "targets": [{"name": "prod", "region": EU, "identity": "prod", "kmsKeyId": "alias/images"}],
            "share": {"shareWith": {"accountIds": [consumer]}, "kms": {"grants": "Accounts"}},
        }),
    )
    .await;
    wait_ready(&world, "base", "True", "Synced").await;
    let copy = images(&world, EU).remove(0);
    assert_eq!(copy.owner, "444455556666");
    world.aws.can_launch(EU, &copy.id, consumer).unwrap();
    let grants = |key: &str| world.aws.with_world(|aws| aws.key(key).unwrap().grants.len());
    assert_eq!(grants(COPYS), 1, "the consumer's");
    crate::harness::eventually("the source is closed", || async {
        let held = (world.launch_permissions(IMAGE).len(), grants(SOURCES), children(&world).await.len());
        if held == (0, 0, 1) { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}
