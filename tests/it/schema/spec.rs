//! The other fields: what they may be, what they are when they are absent, and what cannot be changed.

use super::{document, judge, spec, world};

#[tokio::test]
async fn what_has_to_be_there_is_named_when_it_is_not() {
    let answers = judge(
        &world().await,
        &[
            ("region", "{image: {id: ami-12345678}, shareWith: {}}".into()),
            ("share-with", "{region: us-east-1, image: {id: ami-12345678}}".into()),
            ("spec", "null".into()),
            ("empty-share-with", spec("{}", "")),
        ],
    )
    .await;
    answers.refuses("region", "spec.region: Required value");
    answers.refuses("share-with", "spec.shareWith: Required value");
    answers.refuses("spec", "spec: Required value");
    answers.accepts("empty-share-with");
}

#[tokio::test]
async fn a_value_that_a_field_does_not_have_is_answered_with_those_that_it_has() {
    let answers = judge(
        &world().await,
        &[
            ("mode", spec("{}", ", mode: Eager")),
            ("volumes", spec("{}", ", createVolumePermission: Organizations")),
            ("deletion", spec("{}", ", deletionPolicy: Delete")),
            ("public", spec("{public: \"yes\"}", "")),
            ("suspend", spec("{}", ", suspend: 1")),
        ],
    )
    .await;
    let supported = "supported values: \"Authoritative\", \"Additive\", \"Observe\"";
    answers.refuses("mode", &format!("spec.mode: Unsupported value: \"Eager\": {supported}"));
    answers.refuses(
        "volumes",
        "spec.createVolumePermission: Unsupported value: \"Organizations\": supported values: \"None\", \"Accounts\"",
    );
    answers.refuses(
        "deletion",
        "spec.deletionPolicy: Unsupported value: \"Delete\": supported values: \"Revoke\", \"Retain\"",
    );
    answers.refuses("public", "spec.shareWith.public in body must be of type boolean");
    answers.refuses("suspend", "spec.suspend in body must be of type boolean");
}

#[tokio::test]
async fn every_value_that_a_field_has_is_accepted() {
    let specs = [
        ("public", spec("{public: true}", "")),
        ("public-and-accounts", spec("{public: true, accountIds: [\"111122223333\"]}", "")),
        ("suspend", spec("{}", ", suspend: true")),
        ("volumes", spec("{}", ", createVolumePermission: Accounts")),
        ("retain", spec("{}", ", deletionPolicy: Retain")),
        ("authoritative", spec("{}", ", mode: Authoritative")),
        ("additive", spec("{}", ", mode: Additive")),
        ("observe", spec("{}", ", mode: Observe")),
    ];
    let answers = judge(&world().await, &specs).await;
    for (name, _) in &specs {
        answers.accepts(name);
    }
}

#[tokio::test]
async fn an_interval_is_between_ten_seconds_and_a_day() {
    let interval = |text: &str| spec("{}", &format!(", interval: {text}"));
    let answers = judge(
        &world().await,
        &[
            ("shortest", interval("10s")),
            ("longest", interval("24h")),
            ("in-minutes", interval("1440m")),
            ("in-parts", interval("1h30m")),
            ("too-short", interval("9s")),
            ("zero", interval("0s")),
            ("too-long", interval("24h1s")),
            ("much-too-long", interval("999999h999999h")),
            ("number", interval("600")),
            ("no-unit", interval("\"600\"")),
            ("fraction", interval("1.5h")),
            ("negative", interval("-10m")),
            ("days", interval("1d")),
        ],
    )
    .await;
    for name in ["shortest", "longest", "in-minutes", "in-parts"] {
        answers.accepts(name);
    }
    for name in ["too-short", "zero", "too-long", "much-too-long"] {
        answers.refuses(name, "interval must be between 10s and 24h, such as 10m or 1h30m");
    }
    answers.refuses("number", "spec.interval in body must be of type string: \"integer\"");
    for name in ["no-unit", "fraction", "negative", "days"] {
        answers.refuses(name, "spec.interval in body should match '^([0-9]{1,6}(s|m|h))+$'");
    }
}

#[tokio::test]
async fn an_end_in_the_past_is_accepted_and_one_that_is_no_instant_is_not() {
    let expires = |text: &str| spec("{}", &format!(", expiresAt: {text}"));
    let answers = judge(
        &world().await,
        &[
            ("past", expires("\"2001-01-01T00:00:00Z\"")),
            ("future", expires("\"2101-01-01T00:00:00Z\"")),
            ("with-offset", expires("\"2101-01-01T00:00:00+02:00\"")),
            ("to-the-nanosecond", expires("\"2101-01-01T00:00:00.123456789Z\"")),
            ("never", expires("null")),
            ("too-exact", expires("\"2101-01-01T00:00:00.1234567890Z\"")),
            ("word", expires("tomorrow")),
            ("day", expires("\"2101-01-01\"")),
            ("no-zone", expires("\"2101-01-01T00:00:00\"")),
            ("month", expires("\"2101-13-01T00:00:00Z\"")),
            ("end-of-time", expires("\"9999-12-31T23:59:59Z\"")),
        ],
    )
    .await;
    for name in ["past", "future", "with-offset", "to-the-nanosecond", "never"] {
        answers.accepts(name);
    }
    answers.refuses("too-exact", "spec.expiresAt in body should match");
    for name in ["word", "day", "no-zone", "month"] {
        answers.refuses(name, "spec.expiresAt in body must be of type date-time");
    }
    answers.refuses("end-of-time", "expiresAt must be before 9999-12-30: leave it out for a share that does not end");
}

#[tokio::test]
async fn a_misspelled_field_is_refused_by_its_name() {
    let world = world().await;
    let fields = [
        (spec("{accounts: [\"111122223333\"]}", ""), "unknown field \"spec.shareWith.accounts\""),
        (spec("{}", ", intervall: 10m"), "unknown field \"spec.intervall\""),
        (
            "{region: us-east-1, image: {id: ami-12345678, nam: golden}, shareWith: {}}".into(),
            "unknown field \"spec.image.nam\"",
        ),
    ];
    for (spec, message) in fields {
        let refusal = world.apply_in(world.namespace(), &document("misspelled", &spec)).await.unwrap_err();
        assert!(refusal.contains(message), "{refusal}");
    }
}

#[tokio::test]
async fn the_region_cannot_be_changed_and_the_image_can() {
    let world = world().await;
    let in_region = |region: &str, image: &str| {
        document("moved", &format!("{{region: {region}, image: {{id: {image}}}, shareWith: {{}}}}"))
    };
    world.apply_in(world.namespace(), &in_region("us-east-1", "ami-12345678")).await.unwrap();
    let refusal = world.apply_in(world.namespace(), &in_region("eu-west-1", "ami-12345678")).await.unwrap_err();
    let why = "region cannot be changed: an image lives in one Region; create another AmiShare for the other Region";
    assert!(refusal.contains("spec.region: Invalid value") && refusal.contains(why), "{refusal}");
    world.apply_in(world.namespace(), &in_region("us-east-1", "ami-87654321")).await.unwrap();
    let share = world.shares().get("moved").await.unwrap();
    assert_eq!(share.spec.image.id.unwrap().as_str(), "ami-87654321");
    assert_eq!(share.metadata.generation, Some(2));
}

#[tokio::test]
async fn the_identity_cannot_be_changed_nor_left_out_later() {
    let world = world().await;
    let of = |identity: &str| {
        document("owned", &format!("{{region: us-east-1, {identity}image: {{id: ami-12345678}}, shareWith: {{}}}}"))
    };
    world.apply_in(world.namespace(), &of("identity: prod, ")).await.unwrap();
    for other in ["identity: test, ", "", "identity: null, "] {
        let refusal = world.apply_in(world.namespace(), &of(other)).await.unwrap_err();
        let why =
            "identity cannot be changed: an image lives in one account; create another AmiShare for the other one";
        assert!(refusal.contains("spec.identity: Invalid value") && refusal.contains(why), "{other}: {refusal}");
    }
    assert_eq!(world.shares().get("owned").await.unwrap().spec.identity.as_str(), "prod");
}

#[tokio::test]
async fn what_is_absent_or_null_is_shown_with_its_default() {
    let world = world().await;
    let file = document("absent", &spec("{}", ""))
        + &document("nulls", &spec("{accountIds: null, public: null}", ", mode: null, interval: null, suspend: null"));
    world.apply_in(world.namespace(), &file).await.unwrap();
    let wanted = "  spec:\n    createVolumePermission: None\n    deletionPolicy: Revoke\n    identity: default\n    image:\n      id: ami-12345678\n    \
                  interval: 10m\n    kms:\n      additionalGranteeArns: []\n      grants: None\n      operations:\n      - CreateGrant\n      - Decrypt\n      \
                  - DescribeKey\n      - GenerateDataKey\n      - GenerateDataKeyWithoutPlaintext\n      - ReEncryptFrom\n      - \
                  ReEncryptTo\n    mode: Authoritative\n    region: us-east-1\n    shareWith:\n      accountIds: []\n      \
                  organizationArns: []\n      organizationalUnitArns: []\n      public: false\n    suspend: false\n";
    let shown = world.kubectl(&["get", "ams", "-o", "yaml"]).await;
    assert_eq!(shown.matches(wanted).count(), 2, "{shown}");
}
