//! How much fits into one AmiShare.

use serde_json::{Value, json};

use super::{check, document, spec, world};

fn accounts(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("{n:012}")).collect()
}

fn organizations(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("arn:aws:organizations::123456789012:organization/o-{n:010}")).collect()
}

fn units(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-{n:08}")).collect()
}

fn with(share_with: &Value) -> Value {
    json!({"region": "us-east-1", "image": {"id": "ami-12345678"}, "shareWith": share_with})
}

#[tokio::test]
async fn five_thousand_accounts_fit_and_one_more_does_not() {
    let world = world().await;
    let full = |number| document("full", &spec(&format!("{{accountIds: {}}}", json!(accounts(number))), ""));
    world.apply_in(world.namespace(), &full(5000)).await.unwrap();
    assert_eq!(world.shares().get("full").await.unwrap().spec.share_with.account_ids.len(), 5000);
    let refusal = world.apply_in(world.namespace(), &full(5001)).await.unwrap_err();
    assert!(refusal.contains("spec.shareWith.accountIds: Too many: 5001: must have at most 5000 items"), "{refusal}");
}

#[tokio::test]
async fn organizations_and_units_have_bounds_of_their_own_and_all_lists_may_be_full_at_once() {
    let world = world().await;
    let everything = json!({"accountIds": accounts(5000), "organizationArns": organizations(50), "organizationalUnitArns": units(200)});
    check(&world, with(&everything)).await.unwrap();
    let refusal = check(&world, with(&json!({"organizationArns": organizations(51)}))).await.unwrap_err();
    assert!(refusal.contains("spec.shareWith.organizationArns: Too many: 51: must have at most 50 items"), "{refusal}");
    let refusal = check(&world, with(&json!({"organizationalUnitArns": units(201)}))).await.unwrap_err();
    assert!(refusal.contains("organizationalUnitArns: Too many: 201: must have at most 200 items"), "{refusal}");
}

#[tokio::test]
async fn nobody_is_listed_twice() {
    let world = world().await;
    for (field, one) in
        [("accountIds", accounts(1)), ("organizationArns", organizations(1)), ("organizationalUnitArns", units(1))]
    {
        let refusal = check(&world, with(&json!({field: [one[0], one[0]]}))).await.unwrap_err();
        let wanted = format!("spec.shareWith.{field}[1]: Duplicate value: \"{}\"", one[0]);
        assert!(refusal.contains(&wanted), "{refusal}");
    }
}
