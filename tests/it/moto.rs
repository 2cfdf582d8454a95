//! The operator against moto, an EC2 that nobody here wrote: a second opinion, for what moto models, on what the simulator
//! answers. What moto leaves out is in the comments of the tests that meet it.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::Arc,
};

use amishare::{
    api::{GrantOperation, GrantsOn, ImageSelector, Principal, Site},
    aws::{
        Aws, Freshness,
        words::{CopyOrder, KeyManager},
    },
    config::Identities,
    runtime::{agenda::Urgency, entropy::Entropy, metrics::Metrics},
    share::key_policy::KeyPolicy,
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::{
    Client,
    config::{Credentials, SharedCredentialsProvider},
    types::{ImageAttributeName, SnapshotAttributeName},
};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::harness::{
    Setup, World, cluster, eventually, operators,
    process::{Operator, Process, run_to_end},
    python::{programs, python, script},
    world::{IMAGE, REGION},
};

/// The account that moto takes every unknown access key for.
const MOTO_ACCOUNT: &str = "123456789012";

/// moto's server, which all tests here share; it ends with the control plane, and so with this process.
async fn moto() -> &'static str {
    static MOTO: OnceCell<(Process, String)> = OnceCell::const_new();
    let start = || async {
        let server = programs().await.join("moto_server");
        let mut command = Command::new(server);
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let process = Process::start(&cluster(), &mut command);
        let line = process.logged("Running on http://127.0.0.1:").await;
        let endpoint = line.rsplit(' ').next().unwrap().trim().to_owned();
        (process, endpoint)
    };
    &MOTO.get_or_init(start).await.1
}

/// The SDK's configuration of somebody else who talks to moto.
fn sdk(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A world whose operator talks to moto, and an image there. The world's simulated AWS is not used.
struct Moto {
    world: World,
    _operator: Operator,
    client: Client,
    image: String,
    snapshot: String,
}

/// Runs `moto_seed.py`, and gives what it prints.
async fn seed(arguments: &[&str]) -> String {
    let mut command = python().await;
    command.arg(script("moto_seed.py")).arg(moto().await).args(arguments);
    let (code, printed, errors) = run_to_end(&mut command).await;
    assert_eq!(code, Some(0), "{errors}");
    printed
}

impl Moto {
    async fn start(name: &str, flags: &[&str]) -> Self {
        let world = World::without_operator(Setup::default()).await;
        let endpoint = moto().await;
        let made: Value = serde_json::from_str(&seed(&["image", name]).await).unwrap();
        let namespaces = format!("--namespaces={}", world.namespace());
        let flags: Vec<&str> = flags.iter().copied().chain([namespaces.as_str()]).collect();
        let mut command = Operator::command(&operators(&cluster()), endpoint, &flags);
        let operator = Operator::start(&cluster(), command.env("AWS_ACCESS_KEY_ID", "test")).await;
        operator.ready().await;
        let sdk = sdk(endpoint);
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self { world, _operator: operator, client: Client::new(&sdk), image: text("image"), snapshot: text("snapshot") }
    }

    /// Applies an AmiShare of the image.
    async fn apply(&self, name: &str, spec: &str) {
        let manifest = World::manifest(name, spec).replace(IMAGE, &self.image);
        self.world.apply_in(self.world.namespace(), &manifest).await.unwrap();
    }

    /// Waits until exactly these hold a launch permission, and says so if they do not.
    async fn wait_shared_with(&self, principals: &[&str]) {
        let wanted: BTreeSet<String> = principals.iter().map(|p| (*p).to_owned()).collect();
        eventually(&format!("the image in moto is shared with {wanted:?}"), || async {
            let attribute = ImageAttributeName::LaunchPermission;
            let call = self.client.describe_image_attribute().image_id(&self.image).attribute(attribute);
            let answer = call.send().await.unwrap();
            let held: BTreeSet<String> = answer
                .launch_permissions()
                .iter()
                .flat_map(|p| [p.user_id(), p.group().map(aws_sdk_ec2::types::PermissionGroup::as_str)])
                .flatten()
                .map(ToOwned::to_owned)
                .collect();
            if held == wanted { Ok(()) } else { Err(format!("{held:?}")) }
        })
        .await;
    }

    /// Who may create volumes of the snapshot now.
    async fn volume_permissions(&self) -> BTreeSet<String> {
        let attribute = SnapshotAttributeName::CreateVolumePermission;
        let call = self.client.describe_snapshot_attribute().snapshot_id(&self.snapshot).attribute(attribute);
        let answer = call.send().await.unwrap();
        answer.create_volume_permissions().iter().filter_map(|p| p.user_id().map(ToOwned::to_owned)).collect()
    }
}

#[tokio::test]
async fn moto_shares_with_the_accounts_listed_and_revokes_one_that_no_longer_is() {
    let moto = Moto::start("revoked", &[]).await;
    moto.apply("base", "  shareWith: {accountIds: [\"111122223333\", \"444455556666\"]}").await;
    assert_eq!(moto.world.wait_ready("base", "True", "Synced").await, "shared with 2 accounts");
    moto.wait_shared_with(&["111122223333", "444455556666"]).await;
    let status = moto.world.status("base").await.image.unwrap();
    assert_eq!(status.owner_id.unwrap().to_string(), MOTO_ACCOUNT);
    assert_eq!(status.name.as_deref(), Some("revoked"));

    moto.apply("base", "  shareWith: {accountIds: [\"444455556666\", \"000011112222\"]}").await;
    moto.world.wait_ready("base", "True", "Synced").await;
    moto.wait_shared_with(&["000011112222", "444455556666"]).await;
}

#[tokio::test]
async fn moto_has_what_boto3_changed_put_right() {
    let moto = Moto::start("drifted", &[]).await;
    moto.apply("base", "  shareWith: {accountIds: [\"111122223333\", \"444455556666\"]}").await;
    moto.world.wait_ready("base", "True", "Synced").await;
    seed(&["add", &moto.image, "888877776666"]).await;
    seed(&["remove", &moto.image, "111122223333"]).await;
    moto.wait_shared_with(&["444455556666", "888877776666"]).await;
    moto.world.check_now("base").await;
    moto.wait_shared_with(&["111122223333", "444455556666"]).await;
    moto.world.wait_event("base", "DriftCorrected", "888877776666").await;
}

#[tokio::test]
async fn moto_keeps_the_union_of_two_shares_and_an_additive_one_takes_back_only_what_it_gave() {
    let moto = Moto::start("union", &[]).await;
    seed(&["add", &moto.image, "888877776666"]).await;
    moto.apply("one", "  shareWith: {accountIds: [\"111122223333\"]}\n  mode: Additive").await;
    moto.apply("two", "  shareWith: {accountIds: [\"444455556666\"]}\n  mode: Additive").await;
    moto.world.wait_ready("one", "True", "Synced").await;
    moto.world.wait_ready("two", "True", "Synced").await;
    moto.wait_shared_with(&["111122223333", "444455556666", "888877776666"]).await;
    moto.world.kubectl(&["delete", "amishare", "one", "--wait=false"]).await;
    moto.world.wait_gone("one").await;
    moto.wait_shared_with(&["444455556666", "888877776666"]).await;
    moto.apply(
        "two",
        "  shareWith: {accountIds: [\"444455556666\"]}\n  mode: Additive\n  expiresAt: \"2020-01-01T00:00:00Z\"",
    )
    .await;
    moto.world.wait_ready("two", "False", "Expired").await;
    moto.wait_shared_with(&["888877776666"]).await;
}

#[tokio::test]
async fn moto_is_only_looked_at_in_mode_observe() {
    let moto = Moto::start("observed", &[]).await;
    seed(&["add", &moto.image, "888877776666"]).await;
    moto.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}\n  mode: Observe").await;
    moto.world.wait_ready("base", "False", "ChangesPending").await;
    let pending = moto.world.status("base").await.pending_changes.join("; ");
    assert!(pending.contains("111122223333") && pending.contains("888877776666"), "{pending}");
    moto.wait_shared_with(&["888877776666"]).await;
}

/// moto has no block public access: it answers with a web page and status 500, and the operator goes on without the answer.
#[tokio::test]
async fn moto_makes_an_image_public_only_where_the_operator_allows_it() {
    let public = "  shareWith: {public: true, accountIds: [\"111122223333\"]}";
    let (denying, allowing) =
        (Moto::start("denied", &[]).await, Moto::start("public", &["--allow-public-sharing"]).await);
    denying.apply("base", public).await;
    allowing.apply("base", public).await;
    denying.world.wait_ready("base", "False", "GuardrailDenied").await;
    denying.wait_shared_with(&["111122223333"]).await;
    allowing.world.wait_ready("base", "True", "Synced").await;
    allowing.wait_shared_with(&["111122223333", "all"]).await;
    allowing.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    allowing.wait_shared_with(&["111122223333"]).await;
}

#[tokio::test]
async fn moto_shares_the_snapshot_too_and_a_deletion_takes_everything_back() {
    let moto = Moto::start("copied", &[]).await;
    moto.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}\n  createVolumePermission: Accounts").await;
    moto.world.wait_ready("base", "True", "Synced").await;
    assert_eq!(moto.volume_permissions().await, BTreeSet::from(["111122223333".to_owned()]));
    moto.apply("base", "  shareWith: {accountIds: [\"444455556666\"]}\n  createVolumePermission: Accounts").await;
    moto.world.wait_ready("base", "True", "Synced").await;
    moto.wait_shared_with(&["444455556666"]).await;
    assert_eq!(moto.volume_permissions().await, BTreeSet::from(["444455556666".to_owned()]));
    moto.world.kubectl(&["delete", "amishare", "base", "--wait=false"]).await;
    moto.world.wait_gone("base").await;
    moto.wait_shared_with(&[]).await;
    assert!(moto.volume_permissions().await.is_empty());
}

/// Where EC2 says `InvalidAMIID.NotFound`, moto answers `DescribeImageAttribute` with a web page and status 500.
#[tokio::test]
async fn moto_fails_over_an_image_that_it_does_not_have_and_another_one_is_shared_all_the_same() {
    let moto = Moto::start("found", &[]).await;
    moto.world.apply("missing", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    moto.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    moto.world.wait_ready("base", "True", "Synced").await;
    moto.wait_shared_with(&["111122223333"]).await;
    let message = moto.world.wait_ready("missing", "False", "AwsUnavailable").await;
    assert!(message.contains("DescribeImageAttribute") && message.contains("500"), "{message}");
    moto.world.kubectl(&["delete", "amishare", "missing", "--wait=false"]).await;
    moto.world.wait_gone("missing").await;
}

#[tokio::test]
async fn moto_has_a_grant_made_and_revoked_and_one_of_somebody_else_left() {
    // moto's images have one disk that is not encrypted, whatever they are registered with: only the client meets its KMS.
    let endpoint = moto().await;
    let sdk = sdk(endpoint);
    let theirs = aws_sdk_kms::Client::new(&sdk);
    let made = theirs.create_key().send().await.unwrap();
    let arn = made.key_metadata().unwrap().arn().unwrap().to_owned();
    let foreign = theirs.create_grant().key_id(&arn).grantee_principal("arn:aws:iam::444455556666:role/by-hand");
    foreign.operations(aws_sdk_kms::types::GrantOperation::Decrypt).send().await.unwrap();

    let aws = Aws::new(&sdk, 1.0, Entropy::from_seed(0), Arc::new(Metrics::new()));
    let site = Site::own(REGION.parse().unwrap());
    let kms = aws.reach(&site, &Identities::default().all()[0]).await.unwrap().kms;
    let on = GrantsOn { key: arn.parse().unwrap(), operations: GrantOperation::LAUNCH_AND_COPY.into() };
    let account: Principal = "111122223333".parse().unwrap();
    // To make it again would make another one here: moto does not look at names.
    kms.grant(&on, &account, &|| true).await.unwrap();
    let look = || async {
        let key = kms.key(&on.key, Urgency::Check, Freshness::Since(tokio::time::Instant::now())).await.unwrap();
        assert_eq!((key.manager, key.state.as_str()), (KeyManager::Customer, "Enabled"));
        assert!(KeyPolicy::read(key.policy.as_ref().unwrap()).is_ok());
        (key.holders(&on, [&account]), key.grants.as_ref().unwrap().len())
    };
    assert_eq!(look().await, ([account.clone()].into(), 2));
    kms.revoke(&on, &account, &|| true).await.unwrap();
    assert_eq!(look().await, ([].into(), 1), "the other one is not ours");
}

#[tokio::test]
async fn moto_copies_an_image_and_has_the_copy_deleted() {
    // It makes the copy at once, and takes no notice of tags, keys and tokens; nor does it know the filter by source.
    let moto = Moto::start("copied", &[]).await;
    let aws = Aws::new(&sdk(self::moto().await), 1.0, Entropy::from_seed(0), Arc::new(Metrics::new()));
    let there = Site::own("eu-west-1".parse().unwrap());
    let copies = aws.reach(&there, &Identities::default().all()[0]).await.unwrap().copies;
    let order = CopyOrder {
        region: REGION.parse().unwrap(),
        image: moto.image.parse().unwrap(),
        name: "copied-to-eu".into(),
        description: Some("a copy".into()),
        key: None,
        tags: [("amishare.dev/managed".to_owned(), "true".to_owned())].into(),
        snapshot_tags: BTreeMap::new(),
        copy_tags: false,
        token: "token".into(),
    };
    let id = copies.copy(&order, &|| true).await.unwrap();
    let named = ImageSelector { name: Some("copied-to-*".into()), ..ImageSelector::default() };
    let look = || async { copies.matching(&named, None, Urgency::Check).await.unwrap() };
    let found = look().await.into_iter().find(|copy| copy.id == id).unwrap();
    assert_eq!((found.name.as_deref(), found.state.as_str()), (Some("copied-to-eu"), "available"));
    assert_eq!(copies.snapshots(&found.snapshots, Urgency::Check).await.unwrap().len(), found.snapshots.len());
    copies.deregister(&id, &|| true).await.unwrap();
    assert!(!look().await.iter().any(|copy| copy.id == id));
    copies.deregister(&id, &|| true).await.unwrap();
}
