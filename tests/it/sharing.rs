//! What a share does: gives, takes, corrects, and reports it.

use std::collections::BTreeSet;

use amishare::api::FINALIZER;
use serde_json::json;

use crate::harness::{
    Setup, World,
    world::{IMAGE, OWNER, SNAPSHOT},
};

const TWO_ACCOUNTS: &str = r#"  shareWith: {accountIds: ["111122223333", "444455556666"]}"#;

#[tokio::test]
async fn an_applied_share_gives_launch_permissions_and_becomes_ready() {
    let world = World::start(Setup::default()).await;
    world.apply("base", TWO_ACCOUNTS).await;
    let message = world.wait_ready("base", "True", "Synced").await;
    assert_eq!(message, "shared with 2 accounts");
    world.wait_shared_with(&["111122223333", "444455556666"]).await;
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    let status = world.status("base").await;
    assert_eq!(status.shared_with.unwrap().accounts, 2);
    assert_eq!(status.image.unwrap().owner_id.unwrap().to_string(), OWNER);
    world.wait_event("base", "Shared", "111122223333, 444455556666").await;
}

#[tokio::test]
async fn a_deleted_share_takes_back_what_it_gave_before_it_goes() {
    let world = World::start(Setup::default()).await;
    world.apply("base", &format!("{TWO_ACCOUNTS}\n  createVolumePermission: Accounts")).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &["111122223333", "444455556666"]).await;
    world.kubectl(&["delete", "amishare", "base"]).await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
}

const A: &str = "111122223333";
const ORGANIZATION: &str = "arn:aws:organizations::123456789012:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";

#[tokio::test]
async fn create_volume_permission_is_given_first_and_taken_back_when_it_is_no_longer_asked_for() {
    let world = World::start(Setup::default()).await;
    let record = world.record().await;
    world.create("base", json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &[A]).await;
    let order: Vec<String> = world.changes().into_iter().map(|call| call.action).collect();
    assert_eq!(order, ["ModifySnapshotAttribute", "ModifyImageAttribute"], "nobody can launch what they cannot copy");

    world.change("base", json!({"createVolumePermission": "None"})).await;
    world.wait_ready("base", "True", "Synced").await;
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    world.wait_shared_with(&[A]).await;
    let status = world.status("base").await;
    assert!(status.granted[0].create_volume_permission.is_empty(), "{:?}", status.granted);
    let condition = status.conditions.iter().find(|c| c.type_ == "SnapshotPermissionsSynced").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "NotRequested"));
    record.check().await;
}

#[tokio::test]
async fn create_volume_permission_that_others_gave_is_not_touched_unless_it_is_asked_for() {
    let world = World::start(Setup::default()).await;
    let parameters = [
        ("SnapshotId", SNAPSHOT),
        ("Attribute", "createVolumePermission"),
        ("CreateVolumePermission.Add.1.UserId", "666666666666"),
    ];
    world.rogue(OWNER, "ModifySnapshotAttribute", &parameters);
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &["666666666666"]).await;
    world.change("base", json!({"createVolumePermission": "Accounts"})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_volume_permissions(SNAPSHOT, &[A]).await;
}

#[tokio::test]
async fn an_image_is_shared_with_organizations_and_units_and_its_snapshots_only_with_accounts() {
    let world = World::start(Setup::default()).await;
    let spec = json!({
        "createVolumePermission": "Accounts",
        "shareWith": {"accountIds": [A], "organizationArns": [ORGANIZATION], "organizationalUnitArns": [UNIT]},
    });
    world.create("base", spec).await;
    let message = world.wait_ready("base", "True", "Synced").await;
    assert_eq!(message, "shared with 1 account, 1 organization, 1 organizational unit");
    world.wait_shared_with(&[A, ORGANIZATION, UNIT]).await;
    world.wait_volume_permissions(SNAPSHOT, &[A]).await;
    assert_eq!(world.changes().len(), 2, "{:?}", world.changes());
    world.change("base", json!({"shareWith": {"organizationArns": []}})).await;
    world.wait_shared_with(&[A, UNIT]).await;
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn an_image_becomes_public_only_when_the_operator_allows_it_too() {
    let public = json!({"shareWith": {"accountIds": [A], "public": true}});
    let scenario = crate::moving::TWO_IMAGES;
    let allowed = World::start(Setup { scenario, flags: &["--allow-public-sharing"], ..Setup::default() }).await;
    allowed.create("base", public.clone()).await;
    assert_eq!(allowed.wait_ready("base", "True", "Synced").await, "shared with 1 account, everyone");
    allowed.wait_shared_with(&[A, "all"]).await;
    assert!(allowed.status("base").await.image.unwrap().public);
    allowed.change("base", json!({"shareWith": {"public": false}})).await;
    allowed.wait_ready("base", "True", "Synced").await;
    allowed.wait_shared_with(&[A]).await;

    let world = World::start(Setup { scenario, ..Setup::default() }).await;
    world.create("base", public).await;
    let message = world.wait_ready("base", "False", "GuardrailDenied").await;
    assert!(message.contains("not given to all") && message.contains("--allow-public-sharing"), "{message}");
    world.wait_shared_with(&[A]).await;
    // Who made it public was not the operator, and whoever lists it does not protect it.
    world.rogue(OWNER, "ModifyImageAttribute", &[("ImageId", IMAGE), ("LaunchPermission.Add.1.Group", "all")]);
    world.check_now("base").await;
    world.wait_shared_with(&[A]).await;
}

#[tokio::test]
async fn kubectl_wait_ends_when_the_share_is_ready() {
    let world = World::start(Setup::default()).await;
    world.apply("base", TWO_ACCOUNTS).await;
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "amishare/base"];
    world.kubectl(&wait).await;
    assert_eq!(world.launch_permissions(IMAGE).len(), 2, "Ready means that it is done");
    // A change is not mistaken for done because the state before it was.
    world.apply("base", r#"  shareWith: {accountIds: ["111122223333"]}"#).await;
    world.kubectl(&wait).await;
    assert_eq!(world.launch_permissions(IMAGE), BTreeSet::from([A.into()]));
    let table = world.kubectl(&["get", "ams", "base"]).await;
    let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["base", IMAGE, "us-east-1", "1", "True", "Synced"], "{table}");
}

#[tokio::test]
async fn what_other_field_managers_own_is_left_to_them_and_the_status_is_ours() {
    let world = World::start(Setup::default()).await;
    let manifest = World::manifest("base", TWO_ACCOUNTS);
    let apply = ["apply", "--server-side", "--field-manager=gitops", "-f", "-"];
    world.kubectl_in(world.namespace(), &apply, &manifest).await.unwrap();
    world.wait_ready("base", "True", "Synced").await;
    world.kubectl(&["annotate", "amishare", "base", "example.com/owner=platform"]).await;
    world.kubectl(&["label", "amishare", "base", "team=platform"]).await;

    // Applied again, nothing conflicts, and the finalizer, which is not in the manifest, stays.
    let fewer = World::manifest("base", r#"  shareWith: {accountIds: ["111122223333"]}"#);
    world.kubectl_in(world.namespace(), &apply, &fewer).await.unwrap();
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A]).await;
    let metadata = world.share("base").await.metadata;
    assert_eq!(metadata.finalizers.unwrap(), [FINALIZER]);
    assert_eq!(metadata.annotations.unwrap()["example.com/owner"], "platform");
    assert_eq!(metadata.labels.unwrap()["team"], "platform");
    let ours = metadata.managed_fields.unwrap();
    let ours: BTreeSet<_> = ours
        .into_iter()
        .filter(|m| m.manager.as_deref() == Some("amishare"))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|m| {
            let fields = serde_json::to_value(m.fields_v1).unwrap();
            let top: Vec<String> = fields.as_object().unwrap().keys().cloned().collect();
            (m.operation.unwrap(), m.subresource.unwrap_or_default(), top.join(","))
        })
        .collect();
    let update = ("Update".to_owned(), String::new(), "f:metadata".to_owned());
    let status = ("Apply".to_owned(), "status".to_owned(), "f:status".to_owned());
    assert_eq!(ours, BTreeSet::from([update, status]), "the operator writes its finalizer and its status, no more");
}
