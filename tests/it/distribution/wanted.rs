//! A distribution to five Regions and two accounts: what it says, and what there is to be in the end.

use std::collections::{BTreeMap, BTreeSet};

use amishare::simulator::{ImageState, Simulator};
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
}

impl Wanted {
    /// The spec.
    pub fn spec(&self) -> Value {
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|index| TARGETS[*index])
            .map(|(name, region, identity)| json!({"name": name, "region": region, "identity": identity}))
            .collect();
        json!({
            "source": {"region": "us-east-1", "image": {"id": self.source}}, "targets": targets, "interval": "10s",
            "share": {"shareWith": {"accountIds": [self.with]}}, "deletionPolicy": "Delete",
            "template": {"name": "{source.name}-{target.name}"},
            "retention": {"keepLast": 1, "gracePeriod": "0m", "unusedFor": "0m"},
        })
    }
    /// A copy of the first image in every target.
    pub fn everywhere() -> Self {
        Self { source: IMAGE, targets: (0..TARGETS.len()).collect(), with: WITH[0] }
    }

    /// What there is in the end: one image for each target, and the sources.
    pub fn everything(&self) -> Everything {
        let source = if self.source == IMAGE { "golden" } else { "golden-2" };
        let mut everything = Everything::before();
        for (name, region, identity) in self.targets.iter().map(|index| TARGETS[*index]) {
            let owner = if identity == "prod" { "444455556666" } else { "999988887777" };
            let image = if name == "home" { source.to_owned() } else { format!("{source}-{name}") };
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
    /// How many AmiShares.
    pub shares: usize,
}

impl Everything {
    /// Before there is a distribution, and when it is gone.
    pub fn before() -> Self {
        let source = |name: &str| (("us-east-1".to_owned(), format!("{name} of 999988887777")), Vec::new());
        Self { images: ["golden", "golden-2"].map(source).into(), snapshots: 2, shares: 0 }
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
        let held = |region: &str, id: &str| aws.launch_permissions(region, id).into_iter().collect();
        let images = there.into_iter().map(|(region, id, name)| {
            let held = held(&region, &id);
            ((region, name), held)
        });
        Self { images: images.collect(), snapshots, shares }
    }
}
