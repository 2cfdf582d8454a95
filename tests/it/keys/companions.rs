//! Several shares, images and strangers on one key.

use std::collections::BTreeMap;

use amishare::simulator::KeyGrant;
use serde_json::json;

use super::{ENCRYPTED, KEY, ONE, OTHER_IMAGE, TWO, can_launch, granting, grants, roots, wait_grantees};
use crate::harness::{
    Setup, World,
    world::{OWNER, REGION},
};

async fn world() -> World {
    let world = World::start(Setup { scenario: ENCRYPTED, ..Setup::default() }).await;
    // One that EBS made for a volume, one by hand, and one that only looks like ours.
    world.aws.with_world(|aws| {
        let created = aws.now();
        let grant = |id: u8, name: Option<&str>, grantee: &str, constrained: bool| KeyGrant {
            id: format!("{id:064x}"),
            name: name.map(ToOwned::to_owned),
            grantee: grantee.into(),
            retiring: None,
            issuing_account: format!("arn:aws:iam::{OWNER}:root"),
            operations: ["Decrypt".to_owned()].into(),
            constraints: if constrained {
                [("EncryptionContextEquals.aws:ebs:id".to_owned(), "vol-1".to_owned())].into()
            } else {
                BTreeMap::new()
            },
            created,
            effective: created,
        };
        let key = aws.key_mut(KEY).unwrap();
        for grant in [
            grant(1, None, "arn:aws:iam::999988887777:root", true),
            grant(2, Some("by-hand"), "arn:aws:iam::111122223333:root", false),
            grant(3, Some("amishare-dev/of-another-cluster"), "arn:aws:iam::444455556666:root", false),
        ] {
            key.grants.insert(grant.id.clone(), grant);
        }
    });
    world
}

fn strangers(world: &World) -> usize {
    grants(world, KEY).iter().filter(|grant| grant.id.starts_with("000000000000")).count()
}

async fn share_other_image(world: &World, name: &str, accounts: &[&str]) {
    let kms = json!({"grants": "Accounts"});
    let spec = json!({"image": {"id": OTHER_IMAGE}, "shareWith": {"accountIds": accounts}, "kms": kms});
    world.create(name, spec).await;
    world.wait_ready(name, "True", "Synced").await;
}

#[tokio::test]
async fn a_grant_lives_while_any_share_of_the_image_needs_it_and_those_of_strangers_are_never_touched() {
    let world = world().await;
    for name in ["one", "two"] {
        world.apply(name, &granting(&[ONE])).await;
        world.wait_ready(name, "True", "Synced").await;
    }
    world.kubectl(&["delete", "ams", "one"]).await;
    world.wait_gone("one").await;
    assert!(can_launch(&world, ONE));
    world.kubectl(&["delete", "ams", "two"]).await;
    world.wait_gone("two").await;
    assert!(!can_launch(&world, ONE));
    assert_eq!((grants(&world, KEY).len(), strangers(&world)), (3, 3));
}

#[tokio::test]
async fn a_grant_lives_while_any_image_with_the_key_is_shared() {
    let world = world().await;
    world.apply("one", &granting(&[ONE])).await;
    world.wait_ready("one", "True", "Synced").await;
    share_other_image(&world, "two", &[ONE, TWO]).await;
    world.kubectl(&["delete", "ams", "one"]).await;
    world.wait_gone("one").await;
    assert!(world.aws.can_launch(REGION, OTHER_IMAGE, ONE).is_ok());
    world.kubectl(&["delete", "ams", "two"]).await;
    world.wait_gone("two").await;
    assert_eq!((grants(&world, KEY).len(), strangers(&world)), (3, 3));
}

#[tokio::test]
async fn an_account_that_two_images_drop_at_once_loses_the_key_after_the_last_of_them() {
    let world = world().await;
    world.apply("one", &granting(&[ONE, TWO])).await;
    world.wait_ready("one", "True", "Synced").await;
    share_other_image(&world, "two", &[ONE, TWO]).await;
    let spec = json!({"shareWith": {"accountIds": [ONE]}});
    tokio::join!(world.change("one", spec.clone()), world.change("two", spec));
    for name in ["one", "two"] {
        world.wait_ready(name, "True", "Synced").await;
    }
    wait_grantees(&world, KEY, &[ONE, TWO]).await;
    let of_two = grants(&world, KEY).into_iter().filter(|grant| grant.grantee == *roots(&[TWO]).first().unwrap());
    assert_eq!(
        of_two.map(|grant| grant.name).collect::<Vec<_>>(),
        [Some("amishare-dev/of-another-cluster".to_owned())]
    );
    assert_eq!(strangers(&world), 3);
}
