//! Copies: made once, found again, made anew when the source or the key changes.

use serde_json::json;

use super::world::{
    ENCRYPTED, EU, NEWER, counts, create, distributions, held, images, patch, snapshots, start, status, target,
    wait_ready,
};
use crate::harness::{
    World, eventually,
    world::{IMAGE, OWNER},
};

const A: &str = "111122223333";

#[tokio::test]
async fn an_image_is_copied_shared_and_reported() {
    let world = start().await;
    let spec = json!({
        "targets": [{"name": "home", "region": "us-east-1"}, {"name": "eu", "region": EU}],
        "template": {"name": "{source.name}-{target.name}", "tags": {"stage": "prod"}, "copyTags": true},
        "share": {"shareWith": {"accountIds": [A]}},
    });
    create(&world, "base", spec).await;
    let ready = wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!(ready.message, "2 of 2 targets are ready");

    let copies = images(&world, EU);
    let [copy] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!((copy.name.as_str(), copy.owner.as_str()), ("golden-eu", OWNER));
    let tags = copy.tags_seen_by(OWNER);
    assert_eq!((tags["stage"].as_str(), tags["team"].as_str()), ("prod", "platform"));
    assert_eq!(tags["amishare.dev/managed"], "true");
    assert_eq!(tags["amishare.dev/owner"], format!("{}/base", world.namespace()));
    assert_eq!(held(&world, EU, &copy.id), [A]);
    assert_eq!(held(&world, "us-east-1", IMAGE), [A]);

    let seen = status(&world, "base").await;
    assert_eq!(seen.ready_targets.as_deref(), Some("2/2"));
    assert_eq!(seen.source.unwrap().name.as_deref(), Some("golden"));
    let eu = target(&world, "base", "eu").await;
    assert_eq!(eu.image_id.unwrap().as_str(), copy.id);
    assert_eq!(eu.source_image_id.unwrap().as_str(), IMAGE);
    let home = target(&world, "base", "home").await;
    assert_eq!((home.image_id.unwrap().as_str(), home.source_image_id), (IMAGE, None));
    world.wait_event("base", "CopyStarted", "eu: ami-0123456789abcdef0 is being copied to eu-west-1").await;
    world.wait_event("base", "CopyCompleted", "is there after").await;

    let table = world.kubectl(&["get", "amd", "base"]).await;
    let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["base", IMAGE, "2/2", "True", "Synced"], "{table}");
}

#[tokio::test]
async fn a_copy_is_made_once_however_often_the_operator_starts_and_looks() {
    let mut world = start().await;
    create(&world, "base", json!({"targets": [{"name": "eu", "region": EU}]})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let version = distributions(&world).get("base").await.unwrap().metadata.resource_version;
    world.stop_operator().await;
    world.start_operator().await;
    let before = world.reconciles();
    world.wait_reconcile_after(before.saturating_sub(1)).await;
    patch(&world, "base", json!({"metadata": {"annotations": {"reconcile.amishare.dev/requestedAt": "1"}}})).await;
    eventually("the request is handled", || async {
        let handled = status(&world, "base").await.last_handled_reconcile_at;
        if handled.as_deref() == Some("1") { Ok(()) } else { Err(format!("{handled:?}")) }
    })
    .await;
    assert_eq!(images(&world, EU).len(), 1);
    assert_eq!(counts(&world)["CopyImage"], 1);
    assert_ne!(version, distributions(&world).get("base").await.unwrap().metadata.resource_version);
}

#[tokio::test]
async fn another_source_makes_another_copy_and_the_older_one_stays_shared() {
    let world = start().await;
    let spec = json!({"targets": [{"name": "eu", "region": EU}], "share": {"shareWith": {"accountIds": [A]}}});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let first = target(&world, "base", "eu").await.image_id.unwrap();
    patch(&world, "base", json!({"spec": {"source": {"image": {"id": NEWER}}}})).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let second = target(&world, "base", "eu").await.image_id.unwrap();
    assert_ne!(first, second);
    for image in [&first, &second] {
        assert_eq!(held(&world, EU, image.as_str()), [A], "{image}");
    }
    assert_eq!(images(&world, EU).len(), 2);
}

#[tokio::test]
async fn an_encrypted_source_needs_a_key_and_another_key_makes_another_copy() {
    let world = start().await;
    let source = json!({"region": "us-east-1", "image": {"id": ENCRYPTED}});
    create(&world, "base", json!({"source": source, "targets": [{"name": "eu", "region": EU}]})).await;
    let ready = wait_ready(&world, "base", "False", "KmsKeyRequired").await;
    assert!(ready.message.contains("set kmsKeyId of the target"), "{}", ready.message);
    assert!(images(&world, EU).is_empty());

    let with = |key: &str| json!({"spec": {"targets": [{"name": "eu", "region": EU, "kmsKeyId": key}]}});
    patch(&world, "base", with("alias/images")).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let first = target(&world, "base", "eu").await.image_id.unwrap();
    let of = |image: &str| {
        let image = images(&world, EU).into_iter().find(|one| one.id == image).unwrap();
        let snapshot = image.snapshot_ids().next().unwrap().to_owned();
        world.aws.with_world(|aws| aws.regions[EU].snapshots[&snapshot].encryption.key().unwrap().to_owned())
    };
    let key = "arn:aws:kms:eu-west-1:999988887777:key/22222222-3333-4444-8555-666666666666";
    assert_eq!(of(first.as_str()), key);
    patch(&world, "base", json!({"spec": {"template": {"name": "{source.name}-b"}}})).await;
    patch(&world, "base", with(key)).await;
    eventually("there is another copy", || async {
        let now = target(&world, "base", "eu").await;
        if now.image_id.is_some_and(|image| image != first) && now.ready { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    assert_eq!(images(&world, EU).len(), 2, "the copy with the older key stays");
}

/// Waits until all copies are done that somebody has made.
async fn wait_copied(world: &World) {
    eventually("the copies by hand are done", || async {
        let is_done = |image: &amishare::simulator::Image| image.state == amishare::simulator::ImageState::Available;
        world.rogue_in(EU, OWNER, "DescribeImages", &[]);
        if images(world, EU).iter().all(is_done) { Ok(()) } else { Err("pending".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_was_made_by_hand_is_adopted_and_never_deleted() {
    let world = start().await;
    let parameters =
        [("SourceRegion", "us-east-1"), ("SourceImageId", IMAGE), ("Name", "by-hand"), ("ClientToken", "mine")];
    world.rogue_in(EU, OWNER, "CopyImage", &parameters);
    wait_copied(&world).await;
    let spec = json!({"targets": [{"name": "eu", "region": EU}], "deletionPolicy": "Delete"});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    assert_eq!(images(&world, EU).len(), 1);
    super::world::delete(&world, "base").await;
    super::world::wait_gone(&world, "base").await;
    assert_eq!(images(&world, EU)[0].name, "by-hand");
    assert_eq!(snapshots(&world, EU).len(), 1);
}

#[tokio::test]
async fn an_encrypted_copy_that_was_made_by_hand_is_adopted_if_its_key_is_that_of_the_target() {
    let world = start().await;
    let by_hand = |name: &'static str, key: &'static str| {
        let parameters = [
            ("SourceRegion", "us-east-1"),
            ("SourceImageId", IMAGE),
            ("Name", name),
            ("Encrypted", "true"),
            ("KmsKeyId", key),
        ];
        world.rogue_in(EU, OWNER, "CopyImage", &parameters);
    };
    by_hand("with-another", "alias/others");
    by_hand("with-it", "alias/images");
    wait_copied(&world).await;
    let spec =
        json!({"targets": [{"name": "eu", "region": EU, "kmsKeyId": "alias/images"}], "deletionPolicy": "Delete"});
    create(&world, "base", spec).await;
    wait_ready(&world, "base", "True", "Synced").await;
    let adopted = target(&world, "base", "eu").await.image_id.unwrap();
    assert_eq!(images(&world, EU).len(), 2, "no other one is made");
    assert!(images(&world, EU).iter().any(|image| image.id == adopted.as_str() && image.name == "with-it"));
    super::world::delete(&world, "base").await;
    super::world::wait_gone(&world, "base").await;
    assert_eq!(images(&world, EU).len(), 2, "it is not ours to delete");
}

#[tokio::test]
async fn who_may_not_ask_which_key_an_alias_means_gets_a_copy_of_their_own() {
    use amishare::simulator::{Fault, FaultKind};
    let world = start().await;
    let parameters = [
        ("SourceRegion", "us-east-1"),
        ("SourceImageId", IMAGE),
        ("Name", "by-hand"),
        ("Encrypted", "true"),
        ("KmsKeyId", "alias/images"),
    ];
    world.rogue_in(EU, OWNER, "CopyImage", &parameters);
    wait_copied(&world).await;
    world.aws.add_fault(Fault::new(FaultKind::AccessDenied).on("DescribeKey"));
    create(&world, "base", json!({"targets": [{"name": "eu", "region": EU, "kmsKeyId": "alias/images"}]})).await;
    eventually("there is a copy of its own", || async {
        let seen = super::world::status(&world, "base").await;
        let has_one = seen.targets.iter().any(|line| line.image_id.is_some());
        if has_one && images(&world, EU).len() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_name_that_another_image_has_is_reported_with_that_image_until_the_name_is_another() {
    let world = start().await;
    create(&world, "base", json!({"targets": [{"name": "home", "region": "us-east-1", "kmsKeyId": "alias/none"}]}))
        .await;
    let ready = wait_ready(&world, "base", "False", "NameTaken").await;
    assert!(ready.message.contains(&format!("already in use by AMI {IMAGE}")), "{}", ready.message);
}

#[tokio::test]
async fn what_a_target_may_not_do_is_denied_and_the_others_go_on() {
    let config = r#"
apiVersion: config.amishare.dev/v1alpha1
kind: OperatorConfiguration
guardrails: [{name: two-regions, namespaces: ["*"], regions: [us-east-1, eu-west-1]}]
"#;
    let world = super::world::start_with(config).await;
    let targets = json!([{"name": "asia", "region": "ap-south-1"}, {"name": "eu", "region": EU}]);
    create(&world, "base", json!({"targets": targets})).await;
    let ready = wait_ready(&world, "base", "False", "GuardrailDenied").await;
    assert!(ready.message.contains("two-regions"), "{}", ready.message);
    eventually("eu is ready all the same", || async {
        if target(&world, "base", "eu").await.ready { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    assert_eq!(status(&world, "base").await.ready_targets.as_deref(), Some("1/2"));
    assert!(images(&world, "ap-south-1").is_empty());
}
