//! Copies in other accounts.

use serde_json::json;

use super::world::{EU, children, counts, create, images, start_with, target, wait_ready};
use crate::harness::world::{IMAGE, OWNER};

#[tokio::test]
async fn a_copy_in_another_account_is_made_by_that_account_and_the_source_is_closed_again() {
    let world = start_with(
        r#"
apiVersion: config.amishare.dev/v1alpha1
kind: OperatorConfiguration
identities:
  - {name: default, namespaces: ["*"], accountId: "999988887777"}
  - {name: prod, namespaces: ["*"], assumeRole: {roleArn: "arn:aws:iam::444455556666:role/amishare"}}
"#,
    )
    .await;
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
