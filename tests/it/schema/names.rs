//! The names of AWS in a manifest, and whether the schema and the operator's own parsers agree about them.

use std::{collections::BTreeSet, str::FromStr};

use amishare::api::{AccountId, IdentityName, ImageId, Interval, OrganizationArn, OrganizationalUnitArn, Region};
use futures::{StreamExt, stream};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    string::string_regex,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::{check, judge, spec, world};

const WAYS: &str = "spec.image: Invalid value: name the image in exactly one way: set id, such as id: ami-0123456789abcdef0, or set name, tags or both";

#[tokio::test]
async fn an_image_has_to_be_named_in_one_way() {
    let image = |image: &str| format!("{{region: us-east-1, image: {image}, shareWith: {{}}}}");
    let answers = judge(
        &world().await,
        &[
            ("by-id", image("{id: ami-0123456789abcdef0}")),
            ("by-short-id", image("{id: ami-12345678}")),
            ("by-nothing", image("{}")),
            ("by-null", image("{id: null}")),
            ("set-to-null", image("null")),
            ("without", "{region: us-east-1, shareWith: {}}".into()),
            ("text", image("ami-12345678")),
            ("by-name", image("{name: golden-*}")),
            ("by-tags", image("{tags: {team: platform}, newest: true, owner: self}")),
            ("by-both", image("{name: golden-*, tags: {team: plat*}, owner: \"111122223333\"}")),
            ("by-id-and-name", image("{id: ami-12345678, name: golden}")),
            ("by-newest", image("{newest: true}")),
            ("newest-of-one", image("{id: ami-12345678, newest: true}")),
            ("owner-of-one", image("{id: ami-12345678, owner: self}")),
            ("amazons", image("{name: al2023-*, newest: true, owner: amazon}")),
            ("odd-name", image("{name: \"golden$\"}")),
            ("odd-owner", image("{name: golden, owner: me}")),
            ("no-tags", image("{name: golden, tags: {}}")),
        ],
    )
    .await;
    answers.accepts("by-id");
    answers.accepts("by-short-id");
    for name in ["by-name", "by-tags", "by-both"] {
        answers.accepts(name);
    }
    answers.refuses("by-id-and-name", WAYS);
    answers.refuses("by-newest", WAYS);
    let found = "spec.image: Invalid value: owner and newest are for images that are found by name or tags; remove them, or remove id";
    answers.refuses("newest-of-one", found);
    answers.refuses("owner-of-one", found);
    answers.refuses("amazons", "only the owner of an image can share it: remove owner");
    answers.refuses("odd-name", "spec.image.name in body should match");
    answers.refuses("odd-owner", "spec.image.owner in body should match");
    answers.refuses("no-tags", "spec.image.tags in body should have at least 1 properties");
    answers.refuses("by-nothing", WAYS);
    answers.refuses("by-null", WAYS);
    answers.refuses("set-to-null", "spec.image: Required value");
    answers.refuses("without", "spec.image: Required value");
    answers.refuses("text", "spec.image: Invalid value: \"string\": spec.image in body must be of type object");
}

#[tokio::test]
async fn a_name_of_another_form_is_refused_where_it_stands() {
    let accounts = |list: &str| spec(&format!("{{accountIds: {list}}}"), "");
    let organization = |arn: &str| spec(&format!("{{organizationArns: [\"{arn}\"]}}"), "");
    let unit = |arn: &str| spec(&format!("{{organizationalUnitArns: [\"{arn}\"]}}"), "");
    let region = |region: &str| format!("{{region: {region}, image: {{id: ami-12345678}}, shareWith: {{}}}}");
    let image = |id: &str| format!("{{region: us-east-1, image: {{id: {id}}}, shareWith: {{}}}}");
    let an_organization = "arn:aws:organizations::123456789012:organization/o-abcde12345";
    let a_unit = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";
    let cases = [
        ("account-number", accounts("[111122223333]"), "accountIds[0] in body must be of type string: \"integer\""),
        ("account-octal", accounts("[\"111122223333\", 012345670123]"), "accountIds[1] in body must be of type string"),
        ("account-short", accounts("[\"11112222333\"]"), "accountIds[0] in body should match '^[0-9]{12}$'"),
        ("account-hyphens", accounts("[\"1111-2222-3333\"]"), "accountIds[0] in body should match '^[0-9]{12}$'"),
        ("account-letters", accounts("[\"11112222333x\"]"), "accountIds[0] in body should match '^[0-9]{12}$'"),
        ("account-null", accounts("[null]"), "spec.shareWith.accountIds[0]: Invalid value: \"null\""),
        ("image-short", image("ami-123"), "spec.image.id in body should match '^ami-("),
        ("image-upper", image("ami-0123456789ABCDEF0"), "spec.image.id in body should match '^ami-("),
        ("image-snapshot", image("snap-12345678"), "spec.image.id in body should match '^ami-("),
        ("region-zone", region("us-east-1a"), "spec.region in body should match '"),
        ("region-underscore", region("us_east_1"), "spec.region in body should match '"),
        ("region-empty", region("\"\""), "spec.region in body should match '"),
        (
            "organization-short",
            organization(&an_organization[..an_organization.len() - 1]),
            "organizationArns[0] in body should match",
        ),
        ("organization-id", organization("o-abcde12345"), "organizationArns[0] in body should match"),
        ("organization-unit", organization(a_unit), "organizationArns[0] in body should match"),
        ("unit-organization", unit(an_organization), "organizationalUnitArns[0] in body should match"),
        ("unit-id", unit("ou-ab12-abcd1234"), "organizationalUnitArns[0] in body should match"),
    ];
    let manifests: Vec<(&str, String)> = cases.iter().map(|(name, spec, _)| (*name, spec.clone())).collect();
    let answers = judge(&world().await, &manifests).await;
    for (name, _, with) in cases {
        answers.refuses(name, with);
    }
}

#[tokio::test]
async fn an_account_id_keeps_its_leading_zeros() {
    let world = world().await;
    world.apply("zeros", "  shareWith: {accountIds: [\"001234567890\"]}").await;
    let stored = world.kubectl(&["get", "ams", "zeros", "-o", "jsonpath={.spec.shareWith.accountIds[0]}"]).await;
    assert_eq!(stored, "001234567890");
    assert_eq!(
        world.shares().get("zeros").await.unwrap().spec.share_with.account_ids.iter().next().unwrap().to_string(),
        stored
    );
}

/// Texts of the form of `pattern`, and texts that are nearly so: the same ones every time.
fn texts(pattern: &str) -> BTreeSet<String> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$');
    let strange =
        prop::sample::select(vec!['0', '7', 'a', 'z', 'A', 'F', '-', ':', '/', '_', '.', ' ', '\n', 'é', '٣']);
    let strategy = (string_regex(inner).unwrap(), any::<prop::sample::Index>(), 0..5u8, strange);
    let changed = strategy.prop_map(|(text, at, how, strange)| {
        let mut letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len());
        match how {
            0 => drop(letters.remove(at)),
            1 => letters[at] = strange,
            2 => letters.insert(at, strange),
            3 => letters.push(strange),
            _ => {}
        }
        letters.into_iter().collect::<String>()
    });
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    (0..80).map(|_| changed.new_tree(&mut runner).unwrap().current()).collect()
}

/// Compares what the API server and a parser say of generated texts; `place` puts one into a spec. Gives how many both accepted.
async fn compare<T: FromStr>(pattern: &str, place: impl Fn(&str) -> Value) -> (usize, usize) {
    let world = world().await;
    let all = texts(pattern);
    let answers = stream::iter(&all).map(|text| {
        let checked = check(&world, place(text));
        async move { (text, checked.await) }
    });
    let answers: Vec<_> = answers.buffer_unordered(8).collect().await;
    let mut accepted = 0;
    for (text, answer) in answers {
        // That an ARN is of the Region's partition is a rule of its own.
        let well_formed = answer.as_ref().err().is_none_or(|e| !e.contains("should match") && !e.contains("Too long"));
        assert_eq!(well_formed, text.parse::<T>().is_ok(), "{text:?}: {answer:?}");
        accepted += usize::from(well_formed);
    }
    (accepted, all.len())
}

fn in_spec(region: &str, image: &str, share_with: &Value) -> Value {
    json!({"region": region, "image": {"id": image}, "shareWith": share_with})
}

#[tokio::test]
async fn the_schema_and_the_parsers_accept_the_same_names() {
    let one = "ami-12345678";
    let counts = [
        compare::<AccountId>(AccountId::PATTERN, |t| in_spec("us-east-1", one, &json!({"accountIds": [t]}))).await,
        compare::<ImageId>(ImageId::PATTERN, |t| in_spec("us-east-1", t, &json!({}))).await,
        compare::<Region>(Region::PATTERN, |t| in_spec(t, one, &json!({}))).await,
        compare::<IdentityName>(IdentityName::PATTERN, |t| {
            let mut spec = in_spec("us-east-1", one, &json!({}));
            spec["identity"] = json!(t);
            spec
        })
        .await,
        compare::<OrganizationArn>(OrganizationArn::PATTERN, |t| {
            in_spec("us-east-1", one, &json!({"organizationArns": [t]}))
        })
        .await,
        compare::<OrganizationalUnitArn>(OrganizationalUnitArn::PATTERN, |t| {
            in_spec("us-east-1", one, &json!({"organizationalUnitArns": [t]}))
        })
        .await,
    ];
    for (accepted, all) in counts {
        assert!(accepted >= 5 && all - accepted >= 5, "nothing was compared: {counts:?}");
    }
}

#[tokio::test]
async fn the_operator_can_read_every_interval_that_the_schema_accepts() {
    let world = world().await;
    let all = texts("([0-9]{1,3}(s|m|h)){1,3}");
    let answers = stream::iter(&all).map(|text| {
        let mut spec = in_spec("us-east-1", "ami-12345678", &json!({}));
        spec["interval"] = json!(text);
        let checked = check(&world, spec);
        async move { (text, checked.await) }
    });
    let answers: Vec<_> = answers.buffer_unordered(8).collect().await;
    let accepted = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    assert!(accepted >= 5 && answers.len() - accepted >= 5, "nothing was compared: {answers:?}");
    for (text, answer) in answers {
        let seconds = text.parse::<Interval>().ok().map(|interval| interval.as_duration().as_secs());
        let in_bounds = seconds.is_some_and(|seconds| (10..=24 * 3600).contains(&seconds));
        assert_eq!(answer.is_ok(), in_bounds, "{text:?}: {answer:?}");
    }
}
