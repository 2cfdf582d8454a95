//! Attempts to share outside the guard rails. Each waits until the operator has dealt with it, and AWS was asked for nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{A, B, C, Config, ORGANIZATION, UNIT, asked_for, only};
use crate::harness::{
    World,
    world::{IMAGE, OWNER, SNAPSHOT},
};

/// What is refused to a share of the first namespace; it must say so.
async fn denied(world: &World, name: &str) -> String {
    denied_in(world, world.namespace(), name).await
}

async fn denied_in(world: &World, namespace: &str, name: &str) -> String {
    world.wait_condition(namespace, name, "Ready", "False", "GuardrailDenied").await
}

/// AWS has been asked to give something to these and to nobody else.
fn given(world: &World, to: &[&str]) {
    assert_eq!(asked_for(world), to.iter().map(|p| (*p).to_owned()).collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn the_rule_is_named_and_everybody_whom_it_allows_is_served() {
    let config = Config::with(&only(A));
    let world = config.world(&[]).await;
    let spec = json!({"shareWith": {"accountIds": [A, B]}, "createVolumePermission": "Accounts"});
    world.create("base", spec).await;
    let message = denied(&world, "base").await;
    assert_eq!(
        message,
        format!(
            "not given to {B}: the guard rail only does not let namespace {} share with accounts that it does not list; take it out \
             of the spec, or have whoever runs the operator change the rule",
            world.namespace()
        )
    );
    world.wait_shared_with(&[A]).await;
    world.wait_volume_permissions(SNAPSHOT, &[A]).await;
    given(&world, &[A]);
    let status = world.status("base").await;
    assert_eq!(status.shared_with.unwrap().accounts, 1);
    assert!(status.conditions.iter().any(|c| c.type_ == "Stalled" && c.status == "True"));
}

#[tokio::test]
async fn nothing_is_given_to_any_kind_of_principal_that_the_rule_does_not_list() {
    let config = Config::with(&only(A));
    // The flag does not open what a rule closes.
    let world = config.world(&["--allow-public-sharing"]).await;
    for (name, with) in [
        ("account", json!({"accountIds": [B]})),
        ("organization", json!({"organizationArns": [ORGANIZATION]})),
        ("unit", json!({"organizationalUnitArns": [UNIT]})),
        ("public", json!({"public": true})),
    ] {
        world.create(name, json!({"shareWith": with, "createVolumePermission": "Accounts"})).await;
        assert!(denied(&world, name).await.contains("guard rail only"), "{name}");
    }
    given(&world, &[]);
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn nothing_is_given_by_an_edit_a_second_object_another_mode_or_a_new_object_of_the_same_name() {
    let config = Config::with(&only(A));
    let world = config.world(&[]).await;
    world.create("edited", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("edited", "True", "Synced").await;
    world.change("edited", json!({"shareWith": {"accountIds": [A, B]}})).await;
    denied(&world, "edited").await;
    for mode in ["Additive", "Authoritative"] {
        let name = mode.to_lowercase();
        let spec = json!({"shareWith": {"accountIds": [B]}, "mode": mode, "createVolumePermission": "Accounts"});
        world.create(&name, spec.clone()).await;
        denied(&world, &name).await;
        world.delete(&name).await;
        world.wait_gone(&name).await;
        world.create(&name, spec).await;
        denied(&world, &name).await;
    }
    world.change("edited", json!({"suspend": true})).await;
    world.change("edited", json!({"suspend": false, "expiresAt": "2100-01-01T00:00:00Z"})).await;
    denied(&world, "edited").await;
    given(&world, &[A]);
    assert_eq!(world.launch_permissions(IMAGE), [A.to_owned()].into());
}

#[tokio::test]
async fn a_namespace_gets_no_more_because_another_one_may() {
    let config = Config::with("[]");
    let mut world = config.without_operator(&[]).await;
    let (here, there) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    config.say(&format!(
        r#"[{{name: here, namespaces: [{here}], shareWith: {{accountIds: ["{A}"]}}}},
            {{name: there, namespaces: ["*"], exceptNamespaces: [{here}], shareWith: {{accountIds: ["{B}"]}}}}]"#
    ));
    world.start_operator().await;
    let all = json!({"shareWith": {"accountIds": [A, B, C]}});
    world.create_in(&here, "all", all.clone()).await;
    assert!(denied_in(&world, &here, "all").await.contains("guard rail here"));
    world.wait_shared_with(&[A]).await;
    given(&world, &[A]);
    world.create_in(&there, "all", all).await;
    assert!(denied_in(&world, &there, "all").await.contains("guard rail there"));
    world.wait_shared_with(&[A, B]).await;
    // Each of them may have been given what the other one may not, and neither calls it its own.
    assert_eq!(world.on_record("all", IMAGE).await, [A.to_owned()].into());
    given(&world, &[A, B]);
    assert!(denied_in(&world, &here, "all").await.contains(B), "it is held, and still not for this namespace to give");
}

#[tokio::test]
async fn an_image_of_a_region_that_the_rule_does_not_list_is_shared_with_nobody() {
    let config = Config::with(r#"[{name: home, namespaces: ["*"], regions: [eu-west-1]}]"#);
    let world = config.world(&[]).await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    assert!(denied(&world, "base").await.contains("guard rail home does not let namespace"));
    given(&world, &[]);
}

#[tokio::test]
async fn a_rule_opens_public_sharing_for_its_namespaces_without_the_flag() {
    let config = Config::with("[]");
    let mut world = config.without_operator(&[]).await;
    let (here, there) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    config.say(&format!("[{{name: open, namespaces: [{here}], shareWith: {{public: true}}}}]"));
    world.start_operator().await;
    let public = json!({"shareWith": {"public": true}});
    world.create_in(&there, "public", public.clone()).await;
    let message = denied_in(&world, &there, "public").await;
    assert!(message.contains("the operator does not allow public sharing"), "{message}");
    given(&world, &[]);
    world.create_in(&here, "public", public).await;
    world.wait_ready("public", "True", "Synced").await;
    world.wait_shared_with(&["all"]).await;
}

/// What is forbidden is as if it were not listed: an authoritative share removes it, and an additive one leaves what others gave.
#[tokio::test]
async fn what_somebody_else_has_given_is_removed_by_an_authoritative_share_although_it_lists_it() {
    let config = Config::with(&only(A));
    let world = config.world(&[]).await;
    let give = [("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", B)];
    let spec = |mode: &str| -> Value { json!({"shareWith": {"accountIds": [A, B]}, "mode": mode}) };
    world.rogue(OWNER, "ModifyImageAttribute", &give);
    world.create("additive", spec("Additive")).await;
    denied(&world, "additive").await;
    world.wait_shared_with(&[A, B]).await;
    world.create("base", spec("Authoritative")).await;
    denied(&world, "base").await;
    world.wait_shared_with(&[A]).await;
    world.wait_event("base", "DriftCorrected", &format!("from {B}, whom no AmiShare may list that does")).await;
    given(&world, &[A]);
}
