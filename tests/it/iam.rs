//! The policies of `config/iam/` and the calls of the operator are the same: what it does is allowed, and nothing else is.
//!
//! IAM is not simulated; `Policy` here knows as much of it as the files use, and gives up on anything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use amishare::{
    api::GrantOperation,
    aws::action::Action,
    simulator::{Call, ImageState, SnapshotState},
};
use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::{Value, json};
use strum::VariantArray;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    chart::render::{NAME, rendered, repository, the},
    docs::block,
    harness::{
        Setup, World, cluster, eventually, operators,
        process::Operator,
        world::{IMAGE, OWNER, REGION, SNAPSHOT},
    },
};

const WHOLE: &str = "source-account.json";
const NARROW: &str = "source-account-narrow.json";
const COPIES: &str = "copies.json";

/// What only distributions do, for which there is a policy of its own.
const COPYING: [Action; 11] = [
    Action::CopyImage,
    Action::DeregisterImage,
    Action::DeleteSnapshot,
    Action::EnableImageDeprecation,
    Action::DisableImageDeprecation,
    Action::EnableImageDeregistrationProtection,
    Action::DisableImageDeregistrationProtection,
    Action::DescribeInstances,
    Action::CreateImageUsageReport,
    Action::DescribeImageUsageReports,
    Action::DescribeImageUsageReportEntries,
];

fn file(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(repository().join("config/iam").join(name)).unwrap()).unwrap()
}

/// What a policy has one or several of.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Policy {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    sid: String,
    effect: String,
    action: Texts,
    resource: Texts,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, Texts>>,
}

/// A call as IAM sees it.
#[derive(Clone)]
struct Request {
    action: String,
    resource: String,
    keys: BTreeMap<String, BTreeSet<String>>,
}

impl Request {
    /// A text of a policy with its variable replaced.
    fn resolve(&self, text: &str) -> String {
        if text == "${aws:PrincipalAccount}" {
            return self.keys["aws:PrincipalAccount"].first().unwrap().clone();
        }
        assert!(!text.contains("${"), "the test does not know the variable {text}");
        text.to_owned()
    }
}

impl Policy {
    fn read(name: &str) -> Self {
        let policy: Self = serde_json::from_value(file(name)).unwrap();
        assert_eq!(policy.version, "2012-10-17");
        let sids: BTreeSet<&str> = policy.statement.iter().map(|statement| statement.sid.as_str()).collect();
        assert_eq!(sids.len(), policy.statement.len(), "{name}: each statement has a name of its own");
        policy
    }

    fn statements(&self, effect: &'static str) -> impl Iterator<Item = &Statement> {
        assert!(self.statement.iter().all(|statement| ["Allow", "Deny"].contains(&statement.effect.as_str())));
        self.statement.iter().filter(move |statement| statement.effect == effect)
    }

    fn allows(&self, request: &Request) -> bool {
        !self.statements("Deny").any(|s| s.applies_to(request))
            && self.statements("Allow").any(|s| s.applies_to(request))
    }

    /// Every action that is allowed, with every resource that it is allowed on.
    fn allowed(&self) -> BTreeSet<(String, String)> {
        let pairs = |statement: &Statement| {
            let resources = statement.resource.all().to_vec();
            let with = |action: &String| resources.iter().map(|r| (action.clone(), r.clone())).collect::<Vec<_>>();
            statement.action.all().iter().flat_map(with).collect::<Vec<_>>()
        };
        self.statements("Allow").flat_map(pairs).collect()
    }
}

impl Statement {
    fn applies_to(&self, request: &Request) -> bool {
        let action = self.action.all().contains(&request.action);
        let resource = self.resource.all().iter().any(|pattern| matches(pattern, &request.resource));
        action
            && resource
            && self.condition.iter().all(|(operator, keys)| {
                keys.iter().all(|(key, wanted)| {
                    let sent = request.keys.get(key).cloned().unwrap_or_default();
                    let wanted: Vec<String> = wanted.all().iter().map(|text| request.resolve(text)).collect();
                    let is_wanted = |value: &String| wanted.contains(value);
                    let is_like = |value: &String| wanted.iter().any(|pattern| matches(pattern, value));
                    match operator.as_str() {
                        "StringEquals" => sent.len() == 1 && sent.iter().all(is_wanted),
                        "StringLike" => sent.len() == 1 && sent.iter().all(is_like),
                        "ForAllValues:StringEquals" => sent.iter().all(is_wanted),
                        "ForAnyValue:StringEquals" => sent.iter().any(is_wanted),
                        other => panic!("the test does not know the operator {other}"),
                    }
                })
            })
    }
}

/// Whether the pattern, in which `*` stands for any characters, is the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, rest)) => text.strip_prefix(begin).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// A call as IAM sees it, of images, snapshots and keys with these tags.
fn request(call: &Call, tags: &[(&str, &str)]) -> Request {
    let known = Action::VARIANTS.iter().find(|action| action.name() == call.action);
    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:{}::{kind}/{id}", call.region);
    let resource = match known.map(|action| action.resource()) {
        Some(None) => "*".to_owned(),
        Some(Some("image")) => {
            arn("image", call.params.get("SourceImageId").unwrap_or_else(|| &call.params["ImageId"]))
        }
        Some(Some("snapshot")) => arn("snapshot", &call.params["SnapshotId"]),
        Some(Some("key")) => call.params["KeyId"].clone(),
        other => panic!("the operator calls {}: {other:?}", call.action),
    };
    let values =
        |begin: &str| call.params.iter().filter(|(name, _)| name.starts_with(begin)).map(|(_, v)| v.clone()).collect();
    let one = |key: &str, value: &str| (key.to_owned(), BTreeSet::from([value.to_owned()]));
    let mut keys =
        BTreeMap::from([one("aws:RequestedRegion", &call.region), one("aws:PrincipalAccount", &call.account)]);
    if let Some(account) = resource.strip_prefix("arn:aws:kms:").and_then(|rest| rest.split(':').nth(1)) {
        keys.extend([one("aws:ResourceAccount", account)]);
    }
    if call.action == "CreateGrant" {
        keys.extend([one("kms:GranteePrincipal", &call.params["GranteePrincipal"])]);
        keys.insert("kms:GrantOperations".to_owned(), values("Operations."));
    }
    if let Some(operation) = call.params.get("OperationType") {
        let operation = if operation == "add" { "Add" } else { "Remove" };
        keys.insert(format!("ec2:{operation}/userId"), values("UserId."));
        keys.insert(format!("ec2:{operation}/group"), values("UserGroup."));
    }
    if resource != "*" {
        keys.extend(tags.iter().map(|(key, value)| one(&format!("aws:ResourceTag/{key}"), value)));
    }
    let action = known.unwrap().in_policies();
    Request { action, resource, keys }
}

const TAGGED: &[(&str, &str)] = &[("amishare.dev/managed", "true")];

#[test]
fn the_policy_allows_exactly_what_the_code_can_call_on_exactly_what_iam_can_allow_it_on() {
    let pair = |action: &Action| {
        let resource = match action.resource() {
            None => "*".to_owned(),
            Some("key") => "arn:aws:kms:*:*:key/*".to_owned(),
            Some(kind) => format!("arn:aws:ec2:*::{kind}/*"),
        };
        (action.in_policies(), resource)
    };
    let of_the_code: BTreeSet<_> =
        Action::VARIANTS.iter().filter(|action| !COPYING.contains(action)).map(pair).collect();
    assert_eq!(Policy::read(WHOLE).allowed(), of_the_code);
    let actions =
        |pairs: BTreeSet<(String, String)>| pairs.into_iter().map(|(action, _)| action).collect::<BTreeSet<_>>();
    assert_eq!(actions(Policy::read(NARROW).allowed()), actions(of_the_code));
}

#[test]
fn the_policy_of_copies_allows_what_only_distributions_do_and_to_delete_nothing_that_the_operator_has_not_made() {
    let policy = Policy::read(COPIES);
    let actions: BTreeSet<String> = policy.allowed().into_iter().map(|(action, _)| action).collect();
    let of_the_code = COPYING.map(Action::in_policies);
    // To tag what is copied is a permission of its own, and EC2 uses the keys in the name of whoever copies (aws.md section 1.5).
    let of_ec2 = [
        "ec2:CreateTags",
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey*",
        "kms:ReEncrypt*",
    ];
    assert_eq!(actions, of_the_code.into_iter().chain(of_ec2.map(ToOwned::to_owned)).collect());
    for statement in policy.statements("Allow") {
        let changes = ["Deregister", "Delete", "Enable", "Disable"].map(|verb| format!("ec2:{verb}"));
        let changes = statement.action.all().iter().any(|action| changes.iter().any(|verb| action.starts_with(verb)));
        let conditions: Vec<&String> = statement.condition.values().flat_map(BTreeMap::keys).collect();
        assert_eq!(
            changes,
            conditions.iter().any(|key| *key == "aws:ResourceTag/amishare.dev/managed"),
            "{}",
            statement.sid
        );
        let is_of_keys = statement.action.all().iter().any(|action| action.starts_with("kms:"));
        let is_for_ec2 = |key: &&&String| ["kms:ViaService", "kms:GrantIsForAWSResource"].contains(&key.as_str());
        assert_eq!(is_of_keys, conditions.iter().any(|key| is_for_ec2(&key)), "{}", statement.sid);
    }
}

#[test]
fn the_document_explains_every_action_and_how_it_can_be_narrowed() {
    let text = fs::read_to_string(repository().join("docs/iam.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split(" | ").next());
    let words: Vec<&str> = rows.flat_map(|row| row.split(['`', ',', ' '])).collect();
    for action in Action::VARIANTS {
        assert!(words.contains(&action.in_policies().as_str()), "the first table of docs/iam.md has no {action:?}");
        assert!(words.contains(&action.name()), "the table of docs/iam.md with conditions has no {action:?}");
    }
    let named = words.iter().filter(|word| word.starts_with("ec2:") || word.starts_with("kms:"));
    let with_copies = "ec2:CreateTags".to_owned();
    let known: Vec<String> = Action::VARIANTS.iter().map(|action| action.in_policies()).chain([with_copies]).collect();
    let unknown: Vec<&str> = named.copied().filter(|name| !known.iter().any(|action| action == name)).collect();
    assert_eq!(unknown, [""; 0], "in docs/iam.md");
}

#[test]
fn grants_can_be_made_of_the_default_operations_and_of_no_others_and_by_the_operator_itself() {
    let default: BTreeSet<String> = GrantOperation::LAUNCH_AND_COPY.map(|o| o.name().to_owned()).into();
    for name in [WHOLE, NARROW] {
        let policy = Policy::read(name);
        let makes = |s: &&Statement| s.action.all().iter().any(|action| action == "kms:CreateGrant");
        let statements: Vec<&Statement> = policy.statements("Allow").filter(makes).collect();
        let [statement] = statements[..] else { panic!("{name} has {} of them", statements.len()) };
        let operations = &statement.condition["ForAllValues:StringEquals"]["kms:GrantOperations"];
        assert_eq!(operations.all().iter().cloned().collect::<BTreeSet<_>>(), default, "{name}");
        // With this, only services of AWS could make grants in the operator's name (aws.md section 4.1).
        let keys = statement.condition.values().flat_map(BTreeMap::keys);
        assert!(keys.into_iter().all(|key| key != "kms:GrantIsForAWSResource"), "{name}");
    }
}

/// The key of the encrypted image.
const KEY: &str = "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666";

/// Three images of one account: plain, encrypted, and one that is to be public.
const EVERYTHING: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
copies: {milliseconds: 300}
snapshots:
  - {id: snap-0fedcba9876543210, region: us-east-1, owner: "999988887777", encryption: customerKey, kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", snapshots: [snap-0fedcba9876543210]}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777"}
"#;

const ENCRYPTED: &str = "ami-0fedcba9876543210";
const PUBLIC: &str = "ami-0aaaaaaaaaaaaaaa1";

/// Has an image copied, which fails once; somebody deregisters what has failed and leaves its snapshot.
async fn copies_of_everything(world: &World) {
    use crate::distribution::world::{create, delete, images, wait_gone, wait_ready};
    let target = json!({"name": "again", "region": REGION, "kmsKeyId": KEY});
    let spec = json!({
        "targets": [target], "template": {"name": "{source.id}-again"}, "deletionPolicy": "Delete",
    });
    create(world, "copies", spec).await;
    wait_ready(world, "copies", "True", "Synced").await;
    let copy = images(world, REGION).into_iter().find(|image| image.name.ends_with("-again")).unwrap();
    let snapshot = copy.snapshot_ids().next().unwrap().to_owned();
    world.rogue(OWNER, "DeregisterImage", &[("ImageId", &copy.id)]);
    world.aws.with_world(|aws| {
        let here = aws.regions.get_mut(REGION).unwrap();
        here.snapshots.get_mut(&snapshot).unwrap().state = SnapshotState::Error;
    });
    world.kubectl(&["annotate", "amd", "copies", "reconcile.amishare.dev/requestedAt=now"]).await;
    eventually("there is another copy", || async {
        let now = images(world, REGION).into_iter().find(|image| image.name.ends_with("-again"));
        if now.is_some_and(|now| now.state == ImageState::Available) { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    wait_ready(world, "copies", "True", "Synced").await;
    older_copies(world).await;
    delete(world, "copies").await;
    wait_gone(world, "copies").await;
    assert!(!world.aws.with_world(|aws| aws.regions[REGION].snapshots.contains_key(&snapshot)));
}

/// Has copies deprecated and protected, and not any more; then another image copied, and the older copy let go.
async fn older_copies(world: &World) {
    use crate::distribution::world::{images, patch, wait_ready};
    let grown = json!({"spec": {"deprecateAfter": "30d", "deregistrationProtection": "Enabled", "interval": "10s"}});
    patch(world, "copies", grown).await;
    wait_ready(world, "copies", "True", "Synced").await;
    let as_before = json!({"spec": {"deprecateAfter": null, "deregistrationProtection": null}});
    patch(world, "copies", as_before).await;
    wait_ready(world, "copies", "True", "Synced").await;
    let retention = json!({"keepLast": 1, "gracePeriod": "0m"});
    patch(world, "copies", json!({"spec": {"source": {"image": {"id": ENCRYPTED}}, "retention": retention}})).await;
    eventually("the older copy is gone", || async {
        let copies = images(world, REGION).into_iter().filter(|image| image.name.ends_with("-again"));
        match &copies.map(|image| image.name).collect::<Vec<_>>()[..] {
            [name] if name.starts_with(ENCRYPTED) => Ok(()),
            names => Err(format!("{names:?}")),
        }
    })
    .await;
}

/// The calls of an operator that gives, repairs, watches, moves, and takes back all that it can.
async fn calls_of_everything() -> Vec<Call> {
    let setup = Setup { scenario: EVERYTHING, flags: &["--allow-public-sharing"], ..Setup::default() };
    let world = World::start(setup).await;
    let [a, b, stranger] = ["111111111111", "222222222222", "666666666666"];
    let organization = "arn:aws:organizations::123456789012:organization/o-abcde12345";
    let spec = json!({
        "shareWith": {"accountIds": [a, b], "organizationArns": [organization]}, "createVolumePermission": "Accounts",
    });
    world.create("base", spec.clone()).await;
    world.wait_ready("base", "True", "Synced").await;
    let spec = json!({
        "image": {"id": ENCRYPTED}, "shareWith": {"accountIds": [a]}, "mode": "Additive", "kms": {"grants": "Accounts"},
    });
    world.create("encrypted", spec).await;
    world.wait_ready("encrypted", "True", "Synced").await;
    world.create("public", json!({"image": {"id": PUBLIC}, "shareWith": {"public": true}})).await;
    world.wait_ready("public", "True", "Synced").await;
    world.create("audit", json!({"shareWith": {"accountIds": [a]}, "mode": "Observe"})).await;
    world.wait_ready("audit", "True", "Synced").await;

    world.stranger_gives(&[stranger]);
    let open = [("OperationType", "add"), ("Attribute", "createVolumePermission"), ("UserGroup.1", "all")];
    world.rogue(OWNER, "ModifySnapshotAttribute", &[&[("SnapshotId", SNAPSHOT)], &open[..]].concat());
    world.check_now("base").await;
    world.wait_shared_with(&[a, b, organization]).await;
    world.wait_volume_permissions(SNAPSHOT, &[a, b]).await;

    world.change("base", json!({"shareWith": {"accountIds": [a]}})).await;
    world.wait_volume_permissions(SNAPSHOT, &[a]).await;
    world.change("encrypted", json!({"image": {"id": IMAGE}})).await;
    world.wait_ready("encrypted", "True", "Synced").await;
    world.change("public", json!({"suspend": true})).await;
    copies_of_everything(&world).await;
    for name in ["audit", "base", "encrypted", "public"] {
        world.delete(name).await;
        world.wait_gone(name).await;
    }
    for image in [IMAGE, ENCRYPTED, PUBLIC] {
        world.wait_launch_permissions(image, &[]).await;
    }
    world.wait_volume_permissions(SNAPSHOT, &[]).await;
    assert_eq!(world.aws.with_world(|aws| aws.key(KEY).unwrap().grants.len()), 0);
    world.aws.calls()
}

#[tokio::test]
async fn a_run_through_everything_makes_each_call_that_the_policies_allow_and_no_other() {
    let calls = calls_of_everything().await;
    let made: BTreeSet<&str> = calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(
        made,
        Action::VARIANTS.iter().map(|action| action.name()).collect(),
        "what is never called needs no leave"
    );
    let (whole, narrow, copies) = (Policy::read(WHOLE), Policy::read(NARROW), Policy::read(COPIES));
    for call in &calls {
        assert_eq!(call.region, REGION);
        if COPYING.iter().any(|action| action.name() == call.action) {
            assert!(copies.allows(&request(call, TAGGED)), "{COPIES} does not allow {call:?}");
            let is_of_all = ["CopyImage", "CreateImageUsageReport"].contains(&call.action.as_str());
            let is_free = is_of_all || call.action.starts_with("Describe");
            assert_eq!(copies.allows(&request(call, &[])), is_free, "without the tag: {call:?}");
            continue;
        }
        let (tagged, bare) = (request(call, TAGGED), request(call, &[]));
        assert!(whole.allows(&bare), "{WHOLE} does not allow {call:?}");
        assert!(narrow.allows(&tagged), "{NARROW} does not allow {call:?}");
        let reads = ["Describe", "Get", "List"].iter().any(|verb| call.action.starts_with(verb));
        assert_eq!(narrow.allows(&bare), reads, "without the tag: {call:?}");
        let elsewhere = Call { region: "ap-south-1".into(), ..call.clone() };
        assert!(!narrow.allows(&request(&elsewhere, TAGGED)), "in another Region: {call:?}");
    }

    // And what is not the operator's business: to make a snapshot public, to touch anything but images, snapshots and keys of its own
    // account, to do more to them.
    let opens = |call: &&Call| call.params.get("OperationType").is_some_and(|operation| operation == "add");
    let mut public = calls.iter().find(opens).unwrap().clone();
    public.params.insert("UserGroup.1".into(), "all".into());
    let gives = request(calls.iter().find(|call| call.action == "ModifyImageAttribute").unwrap(), TAGGED);
    let resets = Request { action: "ec2:ResetImageAttribute".into(), ..gives.clone() };
    let another = Request { resource: format!("arn:aws:ec2:{REGION}:{OWNER}:volume/vol-1"), ..gives };
    let grants = calls.iter().find(|call| call.action == "CreateGrant").unwrap();
    let with = |name: &str, value: &str| {
        let mut call = grants.clone();
        call.params.insert(name.into(), value.into());
        request(&call, TAGGED)
    };
    let more = with("Operations.99", "Encrypt");
    let elsewhere = with("KeyId", &KEY.replace(OWNER, "666666666666"));
    let policy_of_the_key = Request { action: "kms:PutKeyPolicy".into(), ..request(grants, TAGGED) };
    for policy in [&whole, &narrow] {
        for never in [&request(&public, TAGGED), &resets, &another, &more, &elsewhere, &policy_of_the_key] {
            assert!(!policy.allows(never), "{} on {} is allowed", never.action, never.resource);
        }
    }
    let stranger = with("GranteePrincipal", "arn:aws:iam::666666666666:root");
    assert!(whole.allows(&stranger) && !narrow.allows(&stranger));
}

#[test]
fn the_trust_policies_name_the_service_account_that_the_chart_makes() {
    let account = the("ServiceAccount", &rendered(&[]))["metadata"].clone();
    assert_eq!((&account["name"], &account["namespace"]), (&json!(NAME), &json!(NAME)));
    let irsa = &file("trust-irsa.json")["Statement"][0];
    let issuer = irsa["Principal"]["Federated"].as_str().unwrap().split_once("oidc-provider/").unwrap().1.to_owned();
    let equal = &irsa["Condition"]["StringEquals"];
    assert_eq!(equal[format!("{issuer}:sub")], json!(format!("system:serviceaccount:{NAME}:{NAME}")));
    assert_eq!(equal[format!("{issuer}:aud")], json!("sts.amazonaws.com"));
    let equal = &file("trust-pod-identity.json")["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(equal["aws:RequestTag/kubernetes-namespace"], json!(NAME));
    assert_eq!(equal["aws:RequestTag/kubernetes-service-account"], json!(NAME));
}

#[test]
fn who_launches_encrypted_images_is_allowed_the_same_by_the_key_and_by_their_own_account() {
    let actions = |statements: &Value| {
        let of = |statement: &Value| {
            statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()])
        };
        let all = statements.as_array().unwrap().iter().flat_map(of);
        all.map(|action| action.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let of_the_key = file("key-policy-statements.json");
    assert_eq!(actions(&of_the_key), actions(&file("consumer-key-use.json")["Statement"]));
    // What a launch, a volume and a copy take of a key (aws.md section 1.11).
    let needed = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*"];
    assert_eq!(actions(&of_the_key), needed.map(ToOwned::to_owned).into());
}

/// An image of an account whose role trusts the operator's, as docs/iam.md has it.
const ANOTHER_ACCOUNT: &str = r#"
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["111122223333"], externalId: EXTERNAL-ID}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "444455556666", snapshots: [snap-0123456789abcdef0]}]
"#;

/// Where the SDK finds credentials of an account, as EKS Pod Identity gives them.
async fn pod_identity(account: &'static str) -> String {
    let credentials = json!({
        "AccessKeyId": account, "SecretAccessKey": "secret", "Token": "token", "Expiration": "2036-01-01T00:00:00Z",
    });
    let answer = move || async move { ([("content-type", "application/json")], credentials.to_string()) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/credentials", get(answer))).await });
    format!("http://{address}/v1/credentials")
}

/// An operator in a Pod of another account, with this file for the SDK.
async fn operator_with(world: &World, sdk: &str) -> (Operator, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let [config, token] = ["config", "token"].map(|name| folder.path().join(name));
    fs::write(&config, sdk).unwrap();
    fs::write(&token, "token").unwrap();
    let namespaces = format!("--namespaces={}", world.namespace());
    let mut command = Operator::command(&operators(&cluster()), &world.endpoint, &[&namespaces]);
    for static_key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(static_key);
    }
    command.env("AWS_PROFILE", "images").env("AWS_CONFIG_FILE", config);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod_identity("111122223333").await);
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    let operator = Operator::start(&cluster(), &mut command).await;
    operator.ready().await;
    (operator, folder)
}

#[tokio::test]
async fn a_role_in_another_account_is_assumed_with_its_external_id_as_the_documents_have_it() {
    let world = World::without_operator(Setup { scenario: ANOTHER_ACCOUNT, ..Setup::default() }).await;
    let sdk = block("docs/iam.md", "[profile images]");
    let (operator, _folder) = operator_with(&world, &sdk).await;
    world.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    world.wait_ready("base", "True", "Synced").await;
    let assumed = world.aws.calls().into_iter().find(|call| call.action == "AssumeRole").unwrap();
    assert_eq!((assumed.account.as_str(), assumed.params["ExternalId"].as_str()), ("111122223333", "EXTERNAL-ID"));
    let ec2 = world.aws.calls().into_iter().filter(|call| call.action != "AssumeRole");
    assert!(ec2.map(|call| call.account).all(|account| account == "444455556666"));
    operator.process.kill();
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_told_in_the_words_of_sts_which_do_not_change_from_one_attempt_to_the_next() {
    let world = World::without_operator(Setup { scenario: ANOTHER_ACCOUNT, ..Setup::default() }).await;
    // Paths and sessions make names long.
    let role = format!("arn:aws:iam::444455556666:role{}/amishare", "/platform-images".repeat(5));
    let sdk = block("docs/iam.md", "[profile images]").replace("arn:aws:iam::444455556666:role/amishare", &role);
    let (operator, _folder) = operator_with(&world, &sdk).await;
    world.apply("base", "  shareWith: {accountIds: [\"111122223333\"]}").await;
    let first = world.wait_ready("base", "False", "AccessDenied").await;
    let denial = format!("is not authorized to perform: sts:AssumeRole on resource: {role}");
    assert!(first.ends_with(&denial), "{first}");
    assert!(first.contains("no AWS credentials could be loaded: AccessDenied: User: "), "{first}");
    world.check_now("base").await;
    assert_eq!(world.wait_ready("base", "False", "AccessDenied").await, first);
    operator.process.kill();
}

#[test]
fn the_identity_of_the_documents_names_the_role_that_the_pods_may_assume_and_the_external_id_that_it_asks_for() {
    let values: Value = serde_yaml::from_str(&block("docs/iam.md", "# values of the chart\nsettings:")).unwrap();
    let identities = json!({
        "apiVersion": amishare::config::API_VERSION, "kind": amishare::config::KIND,
        "identities": values["settings"]["identities"],
    });
    let configuration = amishare::config::parse("docs/iam.md", &identities.to_string()).unwrap();
    let role = configuration.identities.all().iter().find_map(|identity| identity.assume_role.as_ref()).unwrap();
    let may = &file("assume-role.json")["Statement"][0];
    assert_eq!((&may["Action"], &may["Resource"]), (&json!("sts:AssumeRole"), &json!(role.role_arn.to_string())));
    let trust = &file("trust-external-id.json")["Statement"][0];
    let asked = &trust["Condition"]["StringEquals"]["sts:ExternalId"];
    assert_eq!(asked, &json!(role.external_id.as_ref().unwrap().reveal()));
}
