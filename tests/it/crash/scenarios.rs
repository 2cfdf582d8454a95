//! The scenarios. CONTRIBUTING.md says how to add one.

use serde_json::json;

use super::{
    commands::Command::{
        Batch, Event, Give, GiveAndTake, GiveVolumes, Grant, Hold, Images, IsNewest, Key, Keys, LaunchPermissions,
        LetGo, List, Narrow, PublicAccess, Record, Revoke, Status, Take, TakeVolumes, VolumePermissions, Watch,
    },
    scenario::{
        Scenario,
        Step::{Ask, Change, Create, Delete, End, InAws, Rest},
        set,
    },
};
use crate::{
    harness::world::{IMAGE, SNAPSHOT},
    keys::KEY,
    moving::{OTHER_IMAGE, TWO_IMAGES},
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";
const STRANGER: &str = "666666666666";
const CLOSED: &str = "444455556666";
const OTHER_SNAPSHOT: &str = "snap-0fedcba9876543210";

/// [`IMAGE`], which somebody has shared with [`STRANGER`] before, and [`CLOSED`], which is nobody's account.
const STRANGE: &str = r#"
closedAccounts: ["444455556666"]
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0],
     launchPermissions: ["666666666666"]}
"#;

/// [`IMAGE`] in an account that may publish images.
const UNBLOCKED: &str = r#"
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}]
"#;

/// Two images that were registered from one snapshot.
const ONE_SNAPSHOT: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}
"#;

/// The spec of a share of the image and its snapshots.
fn with_volumes(accounts: &[&str]) -> serde_json::Value {
    json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": accounts}})
}

/// The same in mode `Additive`.
fn additive(accounts: &[&str]) -> serde_json::Value {
    json!({"mode": "Additive", "createVolumePermission": "Accounts", "shareWith": {"accountIds": accounts}})
}

fn accounts(accounts: &[&str]) -> serde_json::Value {
    json!({"shareWith": {"accountIds": accounts}})
}

/// More accounts than AWS takes in one call for a snapshot.
fn many() -> Vec<String> {
    (1..=501).map(|number| format!("{number:012}")).collect()
}

pub fn new_share() -> Scenario {
    Scenario {
        name: "new share",
        trigger: vec![Create("base", with_volumes(&[A, B]))],
        done: |end| end.held.on(IMAGE) == set(&[A, B]) && end.held.on(SNAPSHOT) == set(&[A, B]),
        reaches: &[
            List,
            Watch,
            Images,
            LaunchPermissions,
            VolumePermissions,
            IsNewest,
            Hold,
            Record,
            GiveVolumes,
            Give,
            Status,
            Event,
        ],
        ..Scenario::default()
    }
}

/// [`IMAGE`], encrypted with [`KEY`].
const ENCRYPTED: &str = r#"
snapshots: [{id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}]
"#;

const ROOT_OF_A: &str = "arn:aws:iam::111111111111:root";
const ROOT_OF_B: &str = "arn:aws:iam::222222222222:root";

fn with_grants(accounts: &[&str]) -> serde_json::Value {
    json!({"kms": {"grants": "Accounts"}, "shareWith": {"accountIds": accounts}})
}

pub fn new_share_of_an_encrypted_image() -> Scenario {
    Scenario {
        name: "new share of an encrypted image",
        world: ENCRYPTED,
        trigger: vec![Create("base", with_grants(&[A, B]))],
        done: |end| end.held.on(IMAGE) == set(&[A, B]) && end.held.on(KEY) == set(&[ROOT_OF_A, ROOT_OF_B]),
        reaches: &[Keys, Key, Grant, Give],
        ..Scenario::default()
    }
}

/// In simulated time only: of a grant that was revoked when the answer was lost, it takes five minutes to tell that it is gone.
pub fn account_taken_off_an_encrypted_image() -> Scenario {
    Scenario {
        name: "account taken off an encrypted image",
        world: ENCRYPTED,
        before: vec![Create("base", with_grants(&[A, B]))],
        trigger: vec![Change("base", with_grants(&[A]))],
        done: |end| end.held.on(IMAGE) == set(&[A]) && end.held.on(KEY) == set(&[ROOT_OF_A]),
        reaches: &[Take, Revoke],
        ..Scenario::default()
    }
}

pub fn taken_over() -> Scenario {
    Scenario {
        name: "image taken over",
        world: STRANGE,
        trigger: vec![Create("base", accounts(&[A]))],
        done: |end| end.held.on(IMAGE) == set(&[A]),
        reaches: &[GiveAndTake],
        ..Scenario::default()
    }
}

pub fn accounts_taken_off() -> Scenario {
    Scenario {
        name: "accounts taken off",
        before: vec![Create("base", with_volumes(&[A, B, C]))],
        trigger: vec![Change("base", accounts(&[A]))],
        done: |end| end.held.on(IMAGE) == set(&[A]) && end.held.on(SNAPSHOT) == set(&[A]),
        reaches: &[Take, TakeVolumes],
        ..Scenario::default()
    }
}

pub fn accounts_exchanged() -> Scenario {
    Scenario {
        name: "accounts exchanged",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Change("base", accounts(&[B, C]))],
        done: |end| end.held.on(IMAGE) == set(&[B, C]) && end.held.on(SNAPSHOT) == set(&[B, C]),
        reaches: &[Record, GiveVolumes, GiveAndTake, TakeVolumes],
        ..Scenario::default()
    }
}

pub fn drift() -> Scenario {
    Scenario {
        name: "drift",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![
            InAws(
                "ModifyImageAttribute",
                vec![
                    ("ImageId", IMAGE),
                    ("LaunchPermission.Add.1.UserId", STRANGER),
                    ("LaunchPermission.Remove.1.UserId", A),
                ],
            ),
            InAws(
                "ModifySnapshotAttribute",
                vec![("SnapshotId", SNAPSHOT), ("CreateVolumePermission.Remove.1.UserId", B)],
            ),
        ],
        is_drift: true,
        done: |end| end.held.on(IMAGE) == set(&[A, B]) && end.held.on(SNAPSHOT) == set(&[A, B]),
        reaches: &[GiveVolumes, GiveAndTake],
        ..Scenario::default()
    }
}

pub fn refusal() -> Scenario {
    Scenario {
        name: "refusal isolated",
        world: STRANGE,
        trigger: vec![Create("base", with_volumes(&[A, CLOSED, B]))],
        done: |end| end.held.on(IMAGE) == set(&[A, B]) && end.held.on(SNAPSHOT) == set(&[A, B]),
        reaches: &[Narrow, Take, Give],
        ..Scenario::default()
    }
}

pub fn refusal_by_one_of_two() -> Scenario {
    Scenario {
        name: "refusal of one of two",
        world: STRANGE,
        before: vec![Create("well", additive(&[A]))],
        trigger: vec![Create("typo", additive(&[A, B, CLOSED]))],
        done: |end| end.held.on(IMAGE) == set(&[A, B, STRANGER]) && end.ready("typo") == "False PrincipalRefused",
        reaches: &[Narrow],
        ..Scenario::default()
    }
}

pub fn batches_given() -> Scenario {
    Scenario {
        name: "snapshot batches given",
        trigger: vec![Create(
            "base",
            json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": many()}}),
        )],
        done: |end| end.held.on(SNAPSHOT).len() == 501,
        reaches: &[GiveVolumes, Batch],
        ..Scenario::default()
    }
}

pub fn batches_taken() -> Scenario {
    Scenario {
        name: "snapshot batches taken",
        before: vec![Create(
            "base",
            json!({"createVolumePermission": "Accounts", "shareWith": {"accountIds": many()}}),
        )],
        trigger: vec![Change("base", json!({"createVolumePermission": "None"}))],
        done: |end| end.held.on(SNAPSHOT).is_empty(),
        reaches: &[TakeVolumes, Batch],
        ..Scenario::default()
    }
}

pub fn second_share() -> Scenario {
    Scenario {
        name: "second share comes",
        before: vec![Create("one", with_volumes(&[A, B]))],
        trigger: vec![Create("two", additive(&[B, C]))],
        done: |end| end.held.on(IMAGE) == set(&[A, B, C]) && end.held.on(SNAPSHOT) == set(&[A, B, C]),
        reaches: &[Hold, Record, Give, GiveVolumes],
        ..Scenario::default()
    }
}

pub fn one_of_two_deleted() -> Scenario {
    Scenario {
        name: "one of two shares deleted",
        before: vec![Create("one", with_volumes(&[A, B])), Rest, Create("two", additive(&[B, C]))],
        trigger: vec![Delete("one")],
        done: |end| end.held.on(IMAGE) == set(&[B, C]) && end.objects.len() == 1,
        reaches: &[Take, TakeVolumes, LetGo],
        ..Scenario::default()
    }
}

pub fn one_hands_over_to_another() -> Scenario {
    Scenario {
        name: "one share leaves to another",
        before: vec![Create("one", with_volumes(&[A, B]))],
        trigger: vec![Create("two", additive(&[A, B])), Delete("one")],
        done: |end| end.held.on(IMAGE) == set(&[A, B]) && end.objects.len() == 1,
        reaches: &[LetGo],
        ..Scenario::default()
    }
}

pub fn deleted() -> Scenario {
    Scenario {
        name: "deleted",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Delete("base")],
        done: |end| end.objects.is_empty() && end.held.on(IMAGE).is_empty() && end.held.on(SNAPSHOT).is_empty(),
        reaches: &[Take, TakeVolumes, LetGo, Event],
        ..Scenario::default()
    }
}

pub fn deleted_and_retained() -> Scenario {
    Scenario {
        name: "deleted and retained",
        before: vec![Create(
            "base",
            json!({"deletionPolicy": "Retain", "createVolumePermission": "Accounts", "shareWith": {"accountIds": [A, B]}}),
        )],
        trigger: vec![Delete("base")],
        done: |end| end.objects.is_empty() && end.held.on(SNAPSHOT) == set(&[A, B]),
        reaches: &[LetGo, Event],
        ..Scenario::default()
    }
}

pub fn made_and_deleted() -> Scenario {
    Scenario {
        name: "made and deleted at once",
        trigger: vec![Create("base", with_volumes(&[A, B])), Delete("base")],
        meanwhile: &[(IMAGE, &[A, B]), (SNAPSHOT, &[A, B])],
        done: |end| end.objects.is_empty() && end.held.on(IMAGE).is_empty(),
        ..Scenario::default()
    }
}

pub fn expired() -> Scenario {
    Scenario {
        name: "expired",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![End("base", 2)],
        done: |end| end.ready("base") == "False Expired" && end.held.on(IMAGE).is_empty(),
        reaches: &[Take, TakeVolumes],
        ..Scenario::default()
    }
}

pub fn observed_then_enforced() -> Scenario {
    Scenario {
        name: "mode from Observe to Authoritative",
        world: STRANGE,
        before: vec![Create("base", json!({"mode": "Observe", "shareWith": {"accountIds": [A]}}))],
        trigger: vec![Change("base", json!({"mode": "Authoritative"}))],
        done: |end| end.held.on(IMAGE) == set(&[A]),
        reaches: &[Hold, Record, GiveAndTake],
        ..Scenario::default()
    }
}

pub fn enforced_then_additive() -> Scenario {
    Scenario {
        name: "mode from Authoritative to Additive",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Change("base", additive(&[B, C]))],
        done: |end| end.held.on(IMAGE) == set(&[B, C]) && end.held.on(SNAPSHOT) == set(&[B, C]),
        reaches: &[GiveAndTake],
        ..Scenario::default()
    }
}

pub fn image_replaced() -> Scenario {
    Scenario {
        name: "image replaced",
        world: TWO_IMAGES,
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Change("base", json!({"image": {"id": OTHER_IMAGE}}))],
        done: |end| {
            let (there, here) = (end.held.on(OTHER_IMAGE), end.held.on(IMAGE));
            there == set(&[A, B]) && end.held.on(OTHER_SNAPSHOT) == there && here.is_empty()
        },
        reaches: &[Give, GiveVolumes, Take, TakeVolumes],
        ..Scenario::default()
    }
}

pub fn image_replaced_and_deleted() -> Scenario {
    Scenario {
        name: "image replaced, then deleted",
        world: TWO_IMAGES,
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Change("base", json!({"image": {"id": OTHER_IMAGE}})), Delete("base")],
        meanwhile: &[(OTHER_IMAGE, &[A, B]), (OTHER_SNAPSHOT, &[A, B])],
        done: |end| end.objects.is_empty() && end.held.on(OTHER_IMAGE).is_empty() && end.held.on(IMAGE).is_empty(),
        reaches: &[Take, TakeVolumes, LetGo],
        ..Scenario::default()
    }
}

/// [`IMAGE`] and [`OTHER_IMAGE`], which is newer; both have a role, and one of them is found by it.
const ROLES: &str = r#"
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0], tags: {role: base},
     created: "2026-01-01T00:00:00Z"}
  - {id: ami-0fedcba9876543210, region: us-east-1, owner: "999988887777", snapshots: [snap-0fedcba9876543210], tags: {role: next},
     created: "2026-02-01T00:00:00Z"}
"#;

/// The spec of a share of the newest image with a role, and its snapshots.
fn newest(role: &str, accounts: &[&str]) -> serde_json::Value {
    let mut spec = with_volumes(accounts);
    spec["image"] = json!({"tags": {"role": role}, "newest": true});
    spec
}

pub fn image_found() -> Scenario {
    Scenario {
        name: "image found",
        world: ROLES,
        trigger: vec![Create("base", newest("*", &[A, B]))],
        done: |end| end.held.on(OTHER_IMAGE) == set(&[A, B]) && end.held.on(OTHER_SNAPSHOT) == set(&[A, B]),
        reaches: &[Images, IsNewest, Hold, Record, Give, Status, Event],
        ..Scenario::default()
    }
}

pub fn newer_image_found() -> Scenario {
    Scenario {
        name: "newer image found",
        world: ROLES,
        before: vec![Create("base", newest("base", &[A, B]))],
        trigger: vec![InAws(
            "CreateTags",
            vec![("ResourceId.1", OTHER_IMAGE), ("Tag.1.Key", "role"), ("Tag.1.Value", "base")],
        )],
        is_drift: true,
        done: |end| end.held.on(OTHER_IMAGE) == set(&[A, B]) && end.held.on(IMAGE).is_empty(),
        reaches: &[Images, Give, Take, TakeVolumes, Status],
        ..Scenario::default()
    }
}

pub fn another_image_looked_for() -> Scenario {
    Scenario {
        name: "another image looked for, and fewer accounts",
        world: ROLES,
        before: vec![Create("base", newest("base", &[A, B]))],
        trigger: vec![Change("base", newest("next", &[B, C]))],
        done: |end| end.held.on(OTHER_IMAGE) == set(&[B, C]) && end.held.on(IMAGE).is_empty(),
        reaches: &[Give, Take],
        ..Scenario::default()
    }
}

pub fn no_image_found_and_deleted() -> Scenario {
    Scenario {
        name: "no image found any more, then deleted",
        world: ROLES,
        before: vec![Create("base", newest("base", &[A, B]))],
        trigger: vec![Change("base", newest("none", &[B])), Delete("base")],
        done: |end| end.objects.is_empty() && end.held.on(SNAPSHOT).is_empty() && end.held.on(IMAGE).is_empty(),
        reaches: &[Take, TakeVolumes, LetGo],
        ..Scenario::default()
    }
}

pub fn image_replaced_beside_another() -> Scenario {
    Scenario {
        name: "image replaced beside another share",
        world: TWO_IMAGES,
        before: vec![Create("moves", with_volumes(&[A, B])), Rest, Create("stays", additive(&[B]))],
        trigger: vec![Change("moves", json!({"image": {"id": OTHER_IMAGE}}))],
        done: |end| end.held.on(OTHER_IMAGE) == set(&[A, B]) && end.held.on(IMAGE) == set(&[B]),
        reaches: &[Give, GiveVolumes, Take, TakeVolumes],
        ..Scenario::default()
    }
}

pub fn made_public() -> Scenario {
    Scenario {
        name: "made public",
        world: UNBLOCKED,
        flags: &["--allow-public-sharing"],
        before: vec![Create("base", accounts(&[A]))],
        trigger: vec![Change("base", json!({"shareWith": {"public": true}}))],
        done: |end| end.held.on(IMAGE) == set(&[A, "all"]),
        reaches: &[PublicAccess, Give],
        ..Scenario::default()
    }
}

pub fn suspended_and_resumed() -> Scenario {
    Scenario {
        name: "resumed",
        before: vec![
            Create("base", accounts(&[A])),
            Rest,
            Change("base", json!({"suspend": true})),
            Rest,
            Change("base", accounts(&[B])),
        ],
        trigger: vec![Change("base", json!({"suspend": false}))],
        done: |end| end.held.on(IMAGE) == set(&[B]),
        reaches: &[GiveAndTake],
        ..Scenario::default()
    }
}

pub fn one_snapshot_of_two_images() -> Scenario {
    Scenario {
        name: "one of two images of a snapshot given up",
        world: ONE_SNAPSHOT,
        before: vec![
            Create("one", with_volumes(&[A, B])),
            Create(
                "other",
                json!({
                    "image": {"id": OTHER_IMAGE}, "createVolumePermission": "Accounts", "shareWith": {"accountIds": [B, C]},
                }),
            ),
        ],
        trigger: vec![Delete("one")],
        done: |end| end.objects.len() == 1 && end.held.on(SNAPSHOT) == set(&[B, C]),
        reaches: &[Take, TakeVolumes, LetGo],
        ..Scenario::default()
    }
}

pub fn image_gone() -> Scenario {
    Scenario {
        name: "deleted after its image",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![InAws("DeregisterImage", vec![("ImageId", IMAGE)]), Delete("base")],
        done: |end| end.objects.is_empty() && end.held.on(SNAPSHOT).is_empty(),
        reaches: &[TakeVolumes, LetGo],
        ..Scenario::default()
    }
}

pub fn asked_for_a_check() -> Scenario {
    Scenario {
        name: "check with nothing to do",
        before: vec![Create("base", with_volumes(&[A, B]))],
        trigger: vec![Ask("base")],
        done: |end| end.ready("base") == "True Synced",
        reaches: &[Status],
        ..Scenario::default()
    }
}
