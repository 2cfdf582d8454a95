//! Changes of the spec: another image, and every field there and back.

use std::collections::{BTreeMap, BTreeSet};

use amishare::api::{GrantOperation, crd};
use kube::api::{Patch, PatchParams};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{
    Setup, World,
    actions::in_seconds,
    eventually,
    world::{IMAGE, OWNER, SNAPSHOT},
};

/// The image that shares move to.
pub const OTHER_IMAGE: &str = "ami-0fedcba9876543210";
/// Its snapshot.
const OTHER_SNAPSHOT: &str = "snap-0fedcba9876543210";

/// [`IMAGE`] and [`OTHER_IMAGE`], in an account that may publish images.
pub const TWO_IMAGES: &str = r#"
accounts: [{id: "999988887777"}]
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", snapshots: [snap-0fedcba9876543210]}
"#;

const A: &str = "111111111111";
const B: &str = "222222222222";
const ORGANIZATION: &str = "arn:aws:organizations::123456789012:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";

async fn two_images() -> World {
    World::start(Setup { scenario: TWO_IMAGES, flags: &["--allow-public-sharing"], ..Setup::default() }).await
}

#[tokio::test]
async fn a_share_that_names_another_image_gives_there_takes_back_here_and_its_record_moves() {
    let world = two_images().await;
    let record = world.record().await;
    let spec = json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}});
    world.create("base", spec).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.on_record("base", IMAGE).await, BTreeSet::from([A.into(), B.into()]));

    world.change("base", json!({"image": {"id": OTHER_IMAGE}})).await;
    world.wait_ready("base", "True", "Synced").await;
    assert_eq!(world.launch_permissions(OTHER_IMAGE), BTreeSet::from([A.into(), B.into()]));
    assert_eq!(world.volume_permissions(OTHER_SNAPSHOT), BTreeSet::from([A.into(), B.into()]));
    assert!(world.launch_permissions(IMAGE).is_empty(), "Ready means that the old image is taken back");
    assert!(world.volume_permissions(SNAPSHOT).is_empty());
    let status = world.status("base").await;
    assert_eq!(status.granted.iter().map(|g| g.image_id.to_string()).collect::<Vec<_>>(), [OTHER_IMAGE]);
    assert_eq!(status.image.unwrap().id.to_string(), OTHER_IMAGE);

    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(OTHER_IMAGE).is_empty());
    record.check().await;
}

#[tokio::test]
async fn a_record_of_which_somebody_else_owns_a_part_is_dropped_all_the_same() {
    let world = two_images().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    // As a backup is restored.
    let granted = world.status("base").await.granted;
    let restored = json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": "base"}, "status": {"granted": granted},
    });
    let params = PatchParams::apply("backup").force();
    world.shares().patch_status("base", &params, &Patch::Apply(&restored)).await.unwrap();

    world.change("base", json!({"image": {"id": OTHER_IMAGE}})).await;
    world.wait_ready("base", "True", "Synced").await;
    let status = world.status("base").await;
    assert_eq!(status.granted.iter().map(|g| g.image_id.to_string()).collect::<Vec<_>>(), [OTHER_IMAGE]);
    world.aws.clear_calls();
    world.check_now("base").await;
    assert!(world.changes().is_empty(), "it is not taken back again and again");
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(OTHER_IMAGE).is_empty());
}

#[tokio::test]
async fn a_share_that_retains_leaves_the_old_image_as_it_is_when_it_moves() {
    let world = two_images().await;
    world.create("base", json!({"deletionPolicy": "Retain", "shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.change("base", json!({"image": {"id": OTHER_IMAGE}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.wait_launch_permissions(OTHER_IMAGE, &[A]).await;
    world.wait_shared_with(&[A]).await;
    assert!(world.on_record("base", IMAGE).await.is_empty(), "it does not answer for the old image any more");
}

#[tokio::test]
async fn what_another_share_lists_on_the_old_image_stays_when_one_moves_away() {
    let world = two_images().await;
    world.create("moves", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.create("stays", json!({"mode": "Additive", "shareWith": {"accountIds": [B]}})).await;
    world.wait_ready("moves", "True", "Synced").await;
    world.wait_ready("stays", "True", "Synced").await;
    world.change("moves", json!({"image": {"id": OTHER_IMAGE}})).await;
    world.wait_ready("moves", "True", "Synced").await;
    world.wait_launch_permissions(OTHER_IMAGE, &[A, B]).await;
    world.wait_shared_with(&[B]).await;
}

#[tokio::test]
async fn a_suspended_share_that_moves_gives_and_takes_nothing_and_takes_back_when_it_is_deleted() {
    let world = two_images().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.aws.clear_calls();
    world.change("base", json!({"suspend": true, "image": {"id": OTHER_IMAGE}})).await;
    world.wait_ready("base", "Unknown", "Suspended").await;
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    assert_eq!(world.on_record("base", IMAGE).await, BTreeSet::from([A.into()]));
    world.delete("base").await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty());
}

#[tokio::test]
async fn a_share_that_is_deleted_in_the_middle_of_a_move_takes_back_on_both_images() {
    let mut world = two_images().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    world.stop_operator().await;
    // What an operator leaves that dies after it has given on the new image.
    for image in [IMAGE, OTHER_IMAGE] {
        world.rogue(OWNER, "ModifyImageAttribute", &[("ImageId", image), ("LaunchPermission.Add.1.UserId", A)]);
    }
    let granted = [IMAGE, OTHER_IMAGE].map(|image| json!({"imageId": image, "launchPermission": [A]}));
    let status = Patch::Merge(json!({"status": {"granted": granted}}));
    world.shares().patch_status("base", &PatchParams::default(), &status).await.unwrap();
    world.change("base", json!({"image": {"id": OTHER_IMAGE}})).await;
    world.delete("base").await;
    world.start_operator().await;
    world.wait_gone("base").await;
    assert!(world.launch_permissions(IMAGE).is_empty() && world.launch_permissions(OTHER_IMAGE).is_empty());
}

#[tokio::test]
async fn shares_that_change_faster_than_they_are_worked_on_end_as_the_last_change_says() {
    const ACCOUNTS: [&str; 4] = ["000000000001", "000000000002", "000000000003", "000000000004"];
    const SHARES: [&str; 3] = ["one", "two", "three"];
    let world = two_images().await;
    let record = world.record().await;
    for name in SHARES {
        world.create(name, json!({"shareWith": {"accountIds": []}})).await;
    }
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..4 {
        let mut last: BTreeMap<&str, (&str, BTreeSet<String>, bool)> = BTreeMap::new();
        for _ in 0..40 {
            let name = SHARES[random.random_range(0..SHARES.len())];
            let image = [IMAGE, OTHER_IMAGE][random.random_range(0..2)];
            let accounts = ACCOUNTS.iter().filter(|_| random.random_bool(0.5)).map(|a| (*a).to_owned()).collect();
            let volumes = random.random_bool(0.5);
            let spec = json!({
                "image": {"id": image}, "shareWith": {"accountIds": accounts},
                "createVolumePermission": if volumes { "Accounts" } else { "None" },
            });
            world.change(name, spec).await;
            last.insert(name, (image, accounts, volumes));
        }
        for name in last.keys() {
            world.wait_ready(name, "True", "Synced").await;
        }
        let mut wanted: BTreeMap<&str, BTreeSet<String>> =
            [IMAGE, OTHER_IMAGE, SNAPSHOT, OTHER_SNAPSHOT].into_iter().map(|id| (id, BTreeSet::new())).collect();
        for (image, accounts, volumes) in last.values() {
            let snapshot = if *image == IMAGE { SNAPSHOT } else { OTHER_SNAPSHOT };
            wanted.get_mut(image).unwrap().extend(accounts.iter().cloned());
            if *volumes {
                wanted.get_mut(snapshot).unwrap().extend(accounts.iter().cloned());
            }
        }
        eventually("AWS is the union of the shares", || async {
            let now = state(&world);
            if now == wanted { Ok(()) } else { Err(format!("{now:?} instead of {wanted:?}")) }
        })
        .await;
    }
    record.check().await;
}

/// Who holds what in AWS, on everything there is.
fn state(world: &World) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut state = BTreeMap::new();
    for image in [IMAGE, OTHER_IMAGE] {
        state.insert(image, world.launch_permissions(image));
    }
    for snapshot in [SNAPSHOT, OTHER_SNAPSHOT] {
        state.insert(snapshot, world.volume_permissions(snapshot));
    }
    state
}

#[tokio::test]
async fn every_field_of_the_spec_changed_and_changed_back_leaves_aws_as_it_was() {
    // Each field of the spec: what it is changed to, back to, and whether the change shows in AWS.
    let fields = [
        ("shareWith.accountIds", json!([B]), json!([A]), true),
        ("shareWith.organizationArns", json!([ORGANIZATION]), json!([]), true),
        ("shareWith.organizationalUnitArns", json!([UNIT]), json!([]), true),
        ("shareWith.public", json!(true), json!(false), true),
        ("image.id", json!(OTHER_IMAGE), json!(IMAGE), true),
        ("createVolumePermission", json!("Accounts"), json!("None"), true),
        ("mode", json!("Observe"), json!("Authoritative"), false),
        ("deletionPolicy", json!("Retain"), json!("Revoke"), false),
        ("expiresAt", json!(in_seconds(-60)), Value::Null, true),
        ("interval", json!("1h"), json!("10m"), false),
        ("suspend", json!(true), json!(false), false),
        // These images have no keys; what these fields do to others is in tests/it/keys/.
        ("kms.grants", json!("Accounts"), json!("None"), false),
        ("kms.additionalGranteeArns", json!(["arn:aws:iam::111111111111:role/launcher"]), json!([]), false),
        ("kms.operations", json!(["Decrypt"]), json!(GrantOperation::LAUNCH_AND_COPY), false),
    ];
    // How an image is found: in tests/it/selecting.rs.
    let found_by = ["image.name", "image.newest", "image.owner", "image.tags"];
    let covered: BTreeSet<String> =
        fields.iter().map(|(field, ..)| *field).chain(found_by).map(ToOwned::to_owned).collect();
    assert_eq!(covered, fields_of_the_spec(), "a new field of the spec needs its round trip here");

    let world = two_images().await;
    let record = world.record().await;
    world.create("base", json!({"shareWith": {"accountIds": [A]}})).await;
    world.wait_ready("base", "True", "Synced").await;
    let first = state(&world);
    for (field, there, back, shows) in fields {
        world.change("base", at(field, there)).await;
        world.settled("base").await;
        assert_eq!(state(&world) != first, shows, "{field} changed: {:?}", state(&world));
        world.change("base", at(field, back)).await;
        world.wait_ready("base", "True", "Synced").await;
        assert_eq!(state(&world), first, "{field} changed back");
    }
    record.check().await;
}

/// `{"a": {"b": value}}` for `a.b`.
fn at(field: &str, value: Value) -> Value {
    field.rsplit('.').fold(value, |value, name| json!({ name: value }))
}

/// The fields of the spec that can be changed, from the definition: objects by their fields, everything else as it is.
fn fields_of_the_spec() -> BTreeSet<String> {
    let (_, definition) = crd::all().into_iter().find(|(_, d)| d.spec.names.kind == "AmiShare").unwrap();
    let definition = serde_json::to_value(definition).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = BTreeSet::new();
    collect("", spec, &mut fields);
    for fixed in ["region", "identity"] {
        assert!(fields.remove(fixed), "{fixed} cannot be changed: the image is where it is");
    }
    fields
}

fn collect(prefix: &str, schema: &Value, into: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().unwrap() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if property["properties"].is_object() {
            collect(&path, property, into);
        } else {
            into.insert(path);
        }
    }
}
