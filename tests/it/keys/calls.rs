//! How many calls of KMS there are: so many for each key, whatever number of images is encrypted with it.

use std::fmt::Write;

use serde_json::json;

use super::{KEY, grantees};
use crate::harness::{
    Setup, World,
    world::{OWNER, REGION},
};

const IMAGES: usize = 20;
const KEYS: usize = 2;
const ACCOUNTS: usize = 10;

fn image(number: usize) -> String {
    format!("ami-0abc{number:013x}")
}

#[tokio::test]
async fn twenty_images_on_two_keys_shared_with_ten_accounts_list_each_key_a_few_times_and_make_each_grant_once() {
    let mut scenario = String::from("snapshots:\n");
    for number in 0..IMAGES {
        let key = KEY.replace("22222222", &format!("2222222{}", number % KEYS));
        writeln!(
            scenario,
            "- {{id: snap-0abc{number:013x}, region: {REGION}, owner: \"{OWNER}\", encryption: customerKey, kmsKeyId: \"{key}\"}}"
        )
        .unwrap();
    }
    scenario.push_str("images:\n");
    for number in 0..IMAGES {
        let (id, snapshot) = (image(number), format!("snap-0abc{number:013x}"));
        writeln!(scenario, "- {{id: {id}, region: {REGION}, owner: \"{OWNER}\", snapshots: [{snapshot}]}}").unwrap();
    }
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|number| format!("{number:012}")).collect();
    let mut world = World::without_operator(Setup { scenario: scenario.leak(), ..Setup::default() }).await;
    for number in 0..IMAGES {
        let spec = json!({
            "image": {"id": image(number)}, "shareWith": {"accountIds": accounts}, "kms": {"grants": "Accounts"},
        });
        world.create(&format!("share-{number}"), spec).await;
    }
    world.start_operator().await;
    for number in 0..IMAGES {
        world.wait_ready(&format!("share-{number}"), "True", "Synced").await;
    }
    let calls = world.calls_by_action();
    assert_eq!(calls["CreateGrant"], KEYS * ACCOUNTS, "{calls:?}");
    assert!(calls["ListGrants"] <= 4 * KEYS, "{calls:?}");
    assert!(calls["DescribeSnapshots"] <= IMAGES, "{calls:?}");
    assert_eq!(grantees(&world, &KEY.replace("22222222", "22222221")).len(), ACCOUNTS);
}
