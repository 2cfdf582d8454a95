//! Identities: each image is reached with the credentials of its account and of no other, and only from the namespaces that may.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use amishare::{api::ConditionType, runtime::clock::Clock, simulator::Call};
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use serde_json::json;

use super::{A, B, Config};
use crate::harness::{
    World, cluster, eventually, operators,
    process::Operator,
    world::{IMAGE, OWNER},
};

/// The account of the identity `prod`.
const PROD: &str = "444455556666";
/// Its image.
const PRODS: &str = "ami-0123456789abcdef1";
/// What its role asks for.
const EXTERNAL_ID: &str = "keep-me-to-yourself";

const TWO_ACCOUNTS: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles:
  - {arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"], externalId: keep-me-to-yourself}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0123456789abcdef1, region: us-east-1, owner: "444455556666", snapshots: [snap-0123456789abcdef1]}
"#;

/// The operator's own account for everybody, and `prod` for some.
fn identities(namespaces: &str, external_id: &str) -> String {
    format!(
        r#"identities:
- {{name: default, namespaces: ["*"], accountId: "{OWNER}"}}
- name: prod
  namespaces: {namespaces}
  assumeRole: {{roleArn: "arn:aws:iam::{PROD}:role/amishare", externalId: {external_id}}}
"#
    )
}

async fn world(config: &Config) -> World {
    let mut world = config.in_front_of(TWO_ACCOUNTS, &[]).await;
    world.start_operator().await;
    world
}

/// What has been asked of EC2 with the credentials of an account.
fn calls_as(world: &World, account: &str) -> Vec<Call> {
    let is_sts = |call: &Call| matches!(call.action.as_str(), "AssumeRole" | "GetCallerIdentity");
    world.aws.calls().into_iter().filter(|call| call.account == account && !is_sts(call)).collect()
}

fn prods_image(accounts: &[&str]) -> serde_json::Value {
    json!({"identity": "prod", "image": {"id": PRODS}, "shareWith": {"accountIds": accounts}})
}

#[tokio::test]
async fn each_image_is_shared_by_the_identity_of_its_account_which_is_asked_who_it_is_before_anything_else() {
    let config = Config::of(&identities(r#"["*"]"#, EXTERNAL_ID));
    let world = world(&config).await;
    world.create("ours", json!({"shareWith": {"accountIds": [A]}})).await;
    world.create("prods", prods_image(&[B])).await;
    world.wait_ready("ours", "True", "Synced").await;
    world.wait_ready("prods", "True", "Synced").await;
    world.wait_launch_permissions(IMAGE, &[A]).await;
    world.wait_launch_permissions(PRODS, &[B]).await;
    let calls = world.aws.calls();
    for account in [OWNER, PROD] {
        let first = calls.iter().find(|call| call.account == account && call.action != "AssumeRole").unwrap();
        assert_eq!(first.action, "GetCallerIdentity", "{account}");
        let asked = calls.iter().filter(|call| call.account == account && call.action == "GetCallerIdentity");
        assert_eq!(asked.count(), 1, "{account}");
    }
    for call in &calls {
        let image = call.params.values().find(|value| value.starts_with("ami-"));
        let owner = image.map(|image| if image == PRODS { PROD } else { OWNER });
        assert!(owner.is_none_or(|owner| owner == call.account), "{call:?}");
    }
    // Drift is put right there too, and the deletion takes back what was given.
    world
        .aws
        .call(PROD, "us-east-1", "ModifyImageAttribute", &[("ImageId", PRODS), ("LaunchPermission.Add.1.UserId", A)])
        .unwrap();
    world.check_now("prods").await;
    world.wait_launch_permissions(PRODS, &[B]).await;
    world.delete("prods").await;
    world.wait_gone("prods").await;
    assert!(world.launch_permissions(PRODS).is_empty());
}

#[tokio::test]
async fn an_identity_that_is_not_who_it_should_be_is_not_used_and_the_others_go_on() {
    // What the ambient credentials are said to be, and are not.
    let config = Config::of(&format!(
        r#"identities:
- {{name: default, namespaces: ["*"], accountId: "{PROD}"}}
- {{name: other, namespaces: ["*"], assumeRole: {{roleArn: "arn:aws:iam::777766665555:role/amishare"}}}}
"#
    ));
    let world = world(&config).await;
    world.create("ours", json!({"shareWith": {"accountIds": [A]}})).await;
    world.create("unreachable", json!({"identity": "other", "shareWith": {"accountIds": [A]}})).await;
    let message = world.wait_ready("ours", "False", "AccessDenied").await;
    assert_eq!(
        message,
        format!(
            "the credentials of the identity default are of account {OWNER}, and it should be in account {PROD}; nothing is done with \
             them: correct the operator's configuration or its credentials"
        )
    );
    world.wait_ready("unreachable", "False", "AccessDenied").await;
    for account in [OWNER, PROD] {
        assert_eq!(calls_as(&world, account), [], "{account}");
    }
    config.fields(&identities(r#"["*"]"#, EXTERNAL_ID));
    world.wait_ready("ours", "True", "Synced").await;
    let message = world.wait_ready("unreachable", "False", "GuardrailDenied").await;
    assert!(message.starts_with("the operator's configuration has no identity other;"), "{message}");
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_stops_its_own_identity_alone_and_its_external_id_is_told_nobody() {
    let config = Config::of(&identities(r#"["*"]"#, "mistyped-secret"));
    let world = world(&config).await;
    world.create("ours", json!({"shareWith": {"accountIds": [A]}})).await;
    world.create("prods", prods_image(&[B])).await;
    world.wait_ready("ours", "True", "Synced").await;
    let message = world.wait_ready("prods", "False", "AccessDenied").await;
    let begins = format!("the identity prod cannot assume arn:aws:iam::{PROD}:role/amishare: ");
    assert!(message.starts_with(&begins) && message.contains("AccessDenied"), "{message}");
    assert!(message.contains("is not authorized to perform: sts:AssumeRole"), "{message}");
    assert_eq!(calls_as(&world, PROD), []);
    let told = format!("{:?} {:?}", world.share("prods").await, world.events("prods").await);
    assert!(!told.contains("mistyped-secret"), "{told}");
    // Once it is right, the identity is asked for again by itself.
    config.fields(&identities(r#"["*"]"#, EXTERNAL_ID));
    world.wait_ready("prods", "True", "Synced").await;
    world.wait_launch_permissions(PRODS, &[B]).await;
}

#[tokio::test]
async fn credentials_that_become_another_accounts_are_not_used_on_its_images() {
    let config = Config::of(&format!(r#"identities: [{{name: default, namespaces: ["*"], accountId: "{OWNER}"}}]"#));
    let mut world = config.in_front_of(TWO_ACCOUNTS, &[]).await;
    let is_other = Arc::new(AtomicBool::new(false));
    let given = Arc::clone(&is_other);
    let credentials = provide_credentials_fn(move || {
        let account = if given.load(Ordering::Relaxed) { PROD } else { OWNER };
        // They are renewed for every call.
        let expires = SystemTime::from(Clock::wall().now()) + Duration::from_secs(1);
        async move { Ok(Credentials::new(account, "secret", None, Some(expires), "test")) }
    });
    let sdk = world.sdk(OWNER).to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build();
    world.start_operator_with(sdk).await;
    let spec = json!({"image": {"id": PRODS}, "shareWith": {"accountIds": [B]}, "mode": "Additive"});
    world.create("cross", spec).await;
    world.wait_ready("cross", "False", "NotOwner").await;
    is_other.store(true, Ordering::Relaxed);
    world.check_now("cross").await;
    let message = world.wait_ready("cross", "False", "NotOwner").await;
    assert!(message.contains(&format!("belongs to account {PROD}, and its identity is that of {OWNER}")), "{message}");
    assert!(world.launch_permissions(PRODS).is_empty());
}

#[tokio::test]
async fn what_is_suspended_or_only_observes_does_not_keep_what_was_given_with_an_identity_that_is_withdrawn() {
    let config = Config::of(&identities(r#"["*"]"#, EXTERNAL_ID));
    let world = world(&config).await;
    world.create("suspended", prods_image(&[A])).await;
    world.create("observes", prods_image(&[B])).await;
    world.wait_ready("suspended", "True", "Synced").await;
    world.wait_ready("observes", "True", "Synced").await;
    world.change("suspended", json!({"suspend": true})).await;
    world.wait_ready("suspended", "Unknown", "Suspended").await;
    world.change("observes", json!({"mode": "Observe"})).await;
    eventually("it observes", || async {
        let share = world.share("observes").await;
        let seen = share.status.and_then(|status| status.observed_generation);
        if seen == share.metadata.generation { Ok(()) } else { Err("not yet") }
    })
    .await;
    config.fields(&identities("[images]", EXTERNAL_ID));
    for name in ["suspended", "observes"] {
        world.wait_ready(name, "False", "GuardrailDenied").await;
        let status = world.status(name).await;
        assert!(status.granted.is_empty() && status.image.is_none(), "{name}: {status:?}");
    }
    assert!(world.launch_permissions(PRODS).is_empty());
}

#[tokio::test]
async fn an_external_id_is_in_no_line_of_the_log_whatever_is_asked_for() {
    let config = Config::of(&identities(r#"["*"]"#, EXTERNAL_ID));
    let world = config.in_front_of(TWO_ACCOUNTS, &[]).await;
    let namespaces = format!("--namespaces={}", world.namespace());
    let flags = [&*namespaces, &config.flag(), "--log=trace,aws_smithy_runtime=trace"];
    let mut command = Operator::command(&operators(&cluster()), &world.endpoint, &flags);
    let operator = Operator::start(&cluster(), &mut command).await;
    operator.ready().await;
    world.create("prods", prods_image(&[A])).await;
    world.wait_ready("prods", "True", "Synced").await;
    let (log, metrics) = (operator.process.stderr(), operator.metrics().await);
    assert!(log.contains("TRACE"), "{log}");
    let found: Vec<&str> = log.lines().chain(metrics.lines()).filter(|line| line.contains(EXTERNAL_ID)).collect();
    assert!(found.is_empty(), "{found:?}");
    operator.process.kill();
}

#[tokio::test]
async fn from_a_namespace_that_may_not_use_the_identity_nothing_reaches_its_account() {
    let config = Config::of(&identities("[images]", EXTERNAL_ID));
    let mut world = config.in_front_of(TWO_ACCOUNTS, &[]).await;
    world
        .aws
        .call(PROD, "us-east-1", "ModifyImageAttribute", &[("ImageId", PRODS), ("LaunchPermission.Add.1.UserId", A)])
        .unwrap();
    world.aws.clear_calls();
    world.start_operator().await;
    // To give, to take from whom others gave it, only to look, and to have it taken from those who are listed by pretending that the
    // operator has given it and lost its record.
    world.create("gives", prods_image(&[B])).await;
    world.create("takes", json!({"identity": "prod", "image": {"id": PRODS}, "shareWith": {}})).await;
    world
        .create("looks", json!({"identity": "prod", "image": {"id": PRODS}, "shareWith": {}, "mode": "Observe"}))
        .await;
    let pretends = World::manifest("pretends", &format!("  shareWith: {{accountIds: [\"{A}\"]}}\n  identity: prod"))
        .replace(IMAGE, PRODS)
        .replace("{name: pretends}", "{name: pretends, finalizers: [amishare.dev/revoke]}");
    world.apply_in(world.namespace(), &pretends).await.unwrap();
    for name in ["gives", "takes", "looks", "pretends"] {
        // One that seems to have lost its record goes on without, and so without the generation that it was seen with.
        let message = eventually(&format!("{name} is told"), || async {
            let ready = world.condition(name, ConditionType::Ready).await;
            ready.filter(|ready| ready.reason == "GuardrailDenied").map(|ready| ready.message).ok_or("nothing yet")
        })
        .await;
        let sentence = format!("the identity prod is not for namespace {};", world.namespace());
        assert!(message.contains(&sentence), "{name}: {message}");
        let status = world.status(name).await;
        assert!(
            status.image.is_none() && status.shared_with.is_none(),
            "{name} is told nothing of the image: {status:?}"
        );
    }
    for name in ["pretends", "gives", "takes", "looks"] {
        world.delete(name).await;
        world.wait_gone(name).await;
    }
    assert_eq!(world.aws.calls().iter().filter(|call| call.account == PROD).count(), 0, "{:?}", world.aws.calls());
    assert_eq!(world.launch_permissions(PRODS), BTreeSet::from([A.to_owned()]));
}

#[tokio::test]
async fn what_a_namespace_has_given_with_an_identity_that_is_withdrawn_is_taken_back_and_given_again_when_it_returns() {
    let config = Config::of(&identities(r#"["*"]"#, EXTERNAL_ID));
    let world = world(&config).await;
    world.create("prods", prods_image(&[A, B])).await;
    world.wait_ready("prods", "True", "Synced").await;
    config.fields(&identities("[images]", EXTERNAL_ID));
    world.wait_ready("prods", "False", "GuardrailDenied").await;
    world.wait_launch_permissions(PRODS, &[]).await;
    config.fields(&identities(r#"["*"]"#, EXTERNAL_ID));
    world.wait_ready("prods", "True", "Synced").await;
    world.wait_launch_permissions(PRODS, &[A, B]).await;
}

#[tokio::test]
async fn what_was_given_with_an_identity_that_is_gone_stays_on_record_until_it_is_back_or_let_go() {
    let config = Config::of(&identities(r#"["*"]"#, EXTERNAL_ID));
    let world = world(&config).await;
    world.create("prods", prods_image(&[A])).await;
    world.wait_ready("prods", "True", "Synced").await;
    config.fields(&format!(r#"identities: [{{name: default, namespaces: ["*"], accountId: "{OWNER}"}}]"#));
    let message = world.wait_ready("prods", "False", "GuardrailDenied").await;
    assert!(message.starts_with("the operator's configuration has no identity prod;"), "{message}");
    assert_eq!(world.on_record("prods", PRODS).await, BTreeSet::from([A.to_owned()]));
    world.delete("prods").await;
    let message = world.wait_ready("prods", "False", "DeletionBlocked").await;
    assert!(message.contains("no identity prod") && message.contains("amishare.dev/on-delete=abandon"), "{message}");
    config.fields(&identities(r#"["*"]"#, EXTERNAL_ID));
    world.wait_gone("prods").await;
    assert!(world.launch_permissions(PRODS).is_empty());
}
