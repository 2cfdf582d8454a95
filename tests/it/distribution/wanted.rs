//! A distribution to five Regions and two accounts: what it says, and what there is to be in the end.

use std::collections::{BTreeMap, BTreeSet};

use amishare::simulator::{ImageState, Key, Simulator};
use serde_json::{Value, json};

use crate::harness::world::IMAGE;

/// The simulated AWS.
pub const SCENARIO: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"]}]
copies: {milliseconds: 400}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", name: golden-2, snapshots: [snap-0aaaaaaaaaaaaaaa1]}
"#;

/// The same with sources that are encrypted, and a key where each target is.
pub const ENCRYPTED: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"]}]
keys:
  - {arn: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
  - {arn: "arn:aws:kms:eu-west-1:999988887777:key/00000000-3333-4444-8555-000000000000", aliases: [alias/images]}
  - {arn: "arn:aws:kms:eu-central-1:999988887777:key/00000000-3333-4444-8555-000000000001", aliases: [alias/images]}
  - {arn: "arn:aws:kms:us-west-2:999988887777:key/00000000-3333-4444-8555-000000000002", aliases: [alias/images]}
  - {arn: "arn:aws:kms:eu-west-1:444455556666:key/00000000-3333-4444-8555-000000000003", aliases: [alias/images]}
  - {arn: "arn:aws:kms:ap-southeast-2:444455556666:key/00000000-3333-4444-8555-000000000004", aliases: [alias/images]}
  - {arn: "arn:aws:kms:us-east-1:999988887777:key/00000000-3333-4444-8555-000000000005", aliases: [alias/images]}
snapshots:
  - {id: snap-0123456789abcdef0, region: us-east-1, owner: "999988887777", encryption: customerKey, kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
  - {id: snap-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", encryption: customerKey, kmsKeyId: "arn:aws:kms:us-east-1:999988887777:key/22222222-3333-4444-8555-666666666666"}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", name: golden-2, snapshots: [snap-0aaaaaaaaaaaaaaa1]}
"#;

/// All targets: name, Region, identity.
pub const TARGETS: [(&str, &str, &str); 6] = [
    ("ie", "eu-west-1", "default"),
    ("de", "eu-central-1", "default"),
    ("us", "us-west-2", "default"),
    ("prod-ie", "eu-west-1", "prod"),
    ("prod-au", "ap-southeast-2", "prod"),
    ("home", "us-east-1", "default"),
];

/// With whom copies are shared.
pub const WITH: [&str; 2] = ["111122223333", "222233334444"];

/// What the spec says.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub source: &'static str,
    pub targets: BTreeSet<usize>,
    pub with: &'static str,
    /// Whether the sources are encrypted, and every target has a key.
    pub encrypted: bool,
}

impl Wanted {
    /// The spec.
    pub fn spec(&self) -> Value {
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|index| TARGETS[*index])
            .map(|(name, region, identity)| {
                let key = self.encrypted.then_some("alias/images");
                json!({"name": name, "region": region, "identity": identity, "kmsKeyId": key})
            })
            .collect();
        let grants = if self.encrypted { "Accounts" } else { "None" };
        json!({
            "source": {"region": "us-east-1", "image": {"id": self.source}}, "targets": targets, "interval": "10s",
            "share": {"shareWith": {"accountIds": [self.with]}, "kms": {"grants": grants}}, "deletionPolicy": "Delete",
            "template": {"name": "{source.name}-{target.name}"},
            "retention": {"keepLast": 1, "gracePeriod": "0m", "unusedFor": "0m"},
        })
    }

    /// A copy of the first image in every target.
    pub fn everywhere() -> Self {
        Self { source: IMAGE, targets: (0..TARGETS.len()).collect(), with: WITH[0], encrypted: false }
    }

    /// What there is in the end: one image for each target, and the sources.
    pub fn everything(&self) -> Everything {
        let source = if self.source == IMAGE { "golden" } else { "golden-2" };
        let mut everything = Everything::before();
        for index in &self.targets {
            let (name, region, identity) = TARGETS[*index];
            let owner = if identity == "prod" { "444455556666" } else { "999988887777" };
            // Encrypted with another key it is a copy there too.
            let is_the_source = name == "home" && !self.encrypted;
            if self.encrypted {
                let key = format!("arn:aws:kms:{region}:{owner}:key/00000000-3333-4444-8555-{index:012}");
                everything.grants.insert((key, format!("arn:aws:iam::{}:root", self.with)));
            }
            let image = if is_the_source { source.to_owned() } else { format!("{source}-{name}") };
            everything.images.insert((region.into(), format!("{image} of {owner}")), vec![self.with.to_owned()]);
        }
        // Each image has one snapshot.
        everything.snapshots = everything.images.len();
        everything.shares = self.targets.len();
        everything
    }
}

/// What there is.
#[derive(Debug, PartialEq, Eq)]
pub struct Everything {
    /// Every image, by Region and name, with those with whom it is shared.
    pub images: BTreeMap<(String, String), Vec<String>>,
    pub snapshots: usize,
    /// Every grant: of which key, and to whom.
    pub grants: BTreeSet<(String, String)>,
    /// How many AmiShares.
    pub shares: usize,
}

impl Everything {
    /// Before there is a distribution, and when it is gone.
    pub fn before() -> Self {
        let source = |name: &str| (("us-east-1".to_owned(), format!("{name} of 999988887777")), Vec::new());
        Self { images: ["golden", "golden-2"].map(source).into(), snapshots: 2, grants: BTreeSet::new(), shares: 0 }
    }

    /// What there is now.
    pub fn of(aws: &Simulator, shares: usize) -> Self {
        let (there, snapshots) = aws.with_world(|aws| {
            let mut there = Vec::new();
            for (region, here) in &aws.regions {
                let images = here.images.values().filter(|image| image.state != ImageState::Deregistered);
                there.extend(
                    images
                        .map(|image| (region.clone(), image.id.clone(), format!("{} of {}", image.name, image.owner))),
                );
            }
            (there, aws.regions.values().map(|here| here.snapshots.len()).sum())
        });
        let grants = aws.with_world(|aws| {
            let keys = aws.regions.values().flat_map(|here| here.keys.values());
            let of = |key: &Key| {
                let grants = key.grants.values().map(|grant| (key.arn.clone(), grant.grantee.clone()));
                grants.collect::<Vec<_>>()
            };
            keys.flat_map(of).collect()
        });
        let held = |region: &str, id: &str| aws.launch_permissions(region, id).into_iter().collect();
        let images = there.into_iter().map(|(region, id, name)| {
            let held = held(&region, &id);
            ((region, name), held)
        });
        Self { images: images.collect(), snapshots, grants, shares }
    }
}
