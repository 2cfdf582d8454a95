//! A distribution to five Regions and two accounts, whatever happens to it in whatever order: in the end there is one copy for each
//! target, and nothing else.
//!
//! `AMISHARE_DISTRIBUTION_SEED` runs one order again, and `AMISHARE_DISTRIBUTION_SEEDS` says how many are run.

use std::collections::{BTreeMap, BTreeSet};

use amishare::{
    api::ami_distribution::{TargetState, TargetStatus},
    simulator::{Fault, FaultKind, ImageState},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::world::{IDENTITIES, NEWER, children, counts, create, delete, patch, status, wait_gone, wait_ready};
use crate::harness::{Setup, World, cluster, eventually, number, operators, process::Operator, tell, world::IMAGE};

const SCENARIO: &str = r#"
accounts: [{id: "999988887777"}, {id: "444455556666"}]
roles: [{arn: "arn:aws:iam::444455556666:role/amishare", trusts: ["999988887777"]}]
copies: {milliseconds: 400}
images:
  - {id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", name: golden, snapshots: [snap-0123456789abcdef0]}
  - {id: ami-0aaaaaaaaaaaaaaa1, region: us-east-1, owner: "999988887777", name: golden-2, snapshots: [snap-0aaaaaaaaaaaaaaa1]}
"#;

/// All targets: name, Region, identity.
const TARGETS: [(&str, &str, &str); 6] = [
    ("ie", "eu-west-1", "default"),
    ("de", "eu-central-1", "default"),
    ("us", "us-west-2", "default"),
    ("prod-ie", "eu-west-1", "prod"),
    ("prod-au", "ap-southeast-2", "prod"),
    ("home", "us-east-1", "default"),
];

const WITH: [&str; 2] = ["111122223333", "222233334444"];

/// What the spec says last.
#[derive(Debug, Clone)]
struct Wanted {
    source: &'static str,
    targets: BTreeSet<usize>,
    with: &'static str,
}

impl Wanted {
    fn spec(&self) -> Value {
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
}

struct Play {
    world: World,
    operator: Option<Operator>,
    configuration: String,
}

impl Play {
    async fn start() -> Self {
        let world = World::without_operator(Setup { scenario: SCENARIO, ..Setup::default() }).await;
        let file = tempfile::NamedTempFile::new().unwrap().keep().unwrap().1;
        std::fs::write(&file, IDENTITIES).unwrap();
        Self { world, operator: None, configuration: format!("--config={}", file.display()) }
    }

    async fn operator(&mut self) {
        let namespaces = format!("--namespaces={}", self.world.namespace());
        let flags = [namespaces.as_str(), self.configuration.as_str()];
        let mut command = Operator::command(&operators(&cluster()), &self.world.endpoint, &flags);
        self.operator = Some(Operator::start(&cluster(), &mut command).await);
    }

    fn kill(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.process.kill();
        }
    }

    /// Waits until so many more calls have been made.
    async fn calls(&self, more: usize) {
        let wanted = self.world.aws.calls().len() + more;
        eventually(&format!("{wanted} calls are made"), || async {
            let made = self.world.aws.calls().len();
            if made >= wanted { Ok(()) } else { Err(made.to_string()) }
        })
        .await;
    }

    /// Every image that is there, by Region and name, with whom it is shared; and how many snapshots there are.
    fn images(&self) -> (BTreeMap<(String, String), Vec<String>>, usize) {
        let (there, snapshots) = self.world.aws.with_world(|aws| {
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
        let held = |region: &str, id: &str| self.world.aws.launch_permissions(region, id).into_iter().collect();
        let images = there.into_iter().map(|(region, id, name)| {
            let held = held(&region, &id);
            ((region, name), held)
        });
        (images.collect(), snapshots)
    }

    /// Waits until there is what there is to be, and nothing else.
    async fn is_whole(&self, wanted: &Wanted) {
        wait_ready(&self.world, "base", "True", "Synced").await;
        let source = if wanted.source == IMAGE { "golden" } else { "golden-2" };
        let mut images: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for name in ["golden", "golden-2"] {
            images.insert(("us-east-1".into(), format!("{name} of 999988887777")), Vec::new());
        }
        for (name, region, identity) in wanted.targets.iter().map(|index| TARGETS[*index]) {
            let owner = if identity == "prod" { "444455556666" } else { "999988887777" };
            let image = if name == "home" { source.to_owned() } else { format!("{source}-{name}") };
            images.insert((region.into(), format!("{image} of {owner}")), vec![wanted.with.to_owned()]);
        }
        eventually("there is one copy for each target and nothing else", || async {
            let seen = self.images();
            let shares = children(&self.world).await.len();
            // Each image has one snapshot.
            let is_it = seen == (images.clone(), images.len()) && shares == wanted.targets.len();
            if is_it { Ok(()) } else { Err(format!("{seen:#?}, {shares} AmiShares, but should be {images:#?}")) }
        })
        .await;
    }
}

/// Something that happens.
async fn happens(play: &mut Play, wanted: &mut Wanted, rng: &mut StdRng) -> String {
    match rng.random_range(0..7) {
        0 => {
            wanted.source = if wanted.source == IMAGE { NEWER } else { IMAGE };
            patch(&play.world, "base", json!({"spec": wanted.spec()})).await;
            format!("the source becomes {}", wanted.source)
        }
        1 | 2 => {
            let index = rng.random_range(0..TARGETS.len());
            if !wanted.targets.remove(&index) || wanted.targets.is_empty() {
                wanted.targets.insert(index);
            }
            patch(&play.world, "base", json!({"spec": wanted.spec()})).await;
            format!("the targets become {:?}", wanted.targets)
        }
        3 => {
            wanted.with = if wanted.with == WITH[0] { WITH[1] } else { WITH[0] };
            patch(&play.world, "base", json!({"spec": wanted.spec()})).await;
            format!("it is shared with {}", wanted.with)
        }
        4 => {
            play.kill();
            play.operator().await;
            "the operator is killed and started".into()
        }
        5 => {
            let kinds = [
                FaultKind::ResetBefore,
                FaultKind::ResetAfter,
                FaultKind::Throttle,
                FaultKind::ServerError { status: 500, html: false },
            ];
            let actions = ["CopyImage", "Describe*", "Modify*", "Deregister*", "*"];
            let action = *actions.choose(rng).unwrap();
            let fault = Fault { count: Some(rng.random_range(1..6)), ..Fault::new(kinds.choose(rng).unwrap().clone()) };
            let words = format!("{fault:?} on {action}");
            play.world.aws.add_fault(fault.on(action));
            words
        }
        _ => {
            // One that the operator has not seen yet would be waited for, for as long as EC2 may take to show it: five minutes.
            let lines = status(&play.world, "base").await.targets;
            let is_copy = |line: &&TargetStatus| line.state == TargetState::Available && line.source_image_id.is_some();
            let copies: Vec<&TargetStatus> = lines.iter().filter(is_copy).collect();
            let Some(line) = copies.choose(rng) else { return "nothing".into() };
            let (region, owner) = (line.region.as_str(), line.account_id.unwrap().to_string());
            let id = line.image_id.as_ref().unwrap().to_string();
            let parameters = [("ImageId", id.as_str()), ("DeleteAssociatedSnapshots", "true")];
            // It may be gone already.
            let done = play.world.aws.call(&owner, region, "DeregisterImage", &parameters).is_ok();
            format!("somebody deregisters {id} in {region}: {done}")
        }
    }
}

async fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut play = Play::start().await;
    let mut wanted = Wanted { source: IMAGE, targets: (0..TARGETS.len()).collect(), with: WITH[0] };
    create(&play.world, "base", wanted.spec()).await;
    play.operator().await;
    for _ in 0..12 {
        play.calls(rng.random_range(0..25)).await;
        let what = happens(&mut play, &mut wanted, &mut rng).await;
        tell(&format!("distributions: seed {seed}: {what}"));
    }
    play.world.aws.clear_faults();
    play.is_whole(&wanted).await;
    delete(&play.world, "base").await;
    wait_gone(&play.world, "base").await;
    let (images, snapshots) = play.images();
    assert_eq!((images.len(), snapshots), (2, 2), "seed {seed}: {images:?}");
    assert!(images.values().all(Vec::is_empty), "seed {seed}: {images:?}");
    tell(&format!("distributions: seed {seed}: {:?}", counts(&play.world)));
    play.kill();
}

#[tokio::test]
async fn whatever_happens_in_whatever_order_there_is_one_copy_for_each_target_in_the_end() {
    let seeds = match number("AMISHARE_DISTRIBUTION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("AMISHARE_DISTRIBUTION_SEEDS").unwrap_or(3),
    };
    for seed in seeds {
        run(seed).await;
    }
}

#[tokio::test]
async fn an_operator_that_is_killed_at_any_call_of_a_distribution_to_five_regions_leaves_one_copy_for_each_target() {
    let points: Vec<u32> = match number("AMISHARE_DISTRIBUTION_POINTS") {
        Some(every) => (0..170).step_by(usize::try_from(every).unwrap()).collect(),
        None => (3..150).step_by(29).collect(),
    };
    for skip in points {
        let mut play = Play::start().await;
        let wanted = Wanted { source: IMAGE, targets: (0..TARGETS.len()).collect(), with: WITH[0] };
        create(&play.world, "base", wanted.spec()).await;
        // The call takes effect, and its answer is on its way for ever.
        play.world.aws.add_fault(Fault { skip, count: Some(1), ..Fault::new(FaultKind::Stall) });
        play.operator().await;
        play.calls(usize::try_from(skip).unwrap() + 1).await;
        let action = play.world.aws.calls().last().map(|call| call.action.clone());
        play.kill();
        play.world.aws.clear_faults();
        play.operator().await;
        play.is_whole(&wanted).await;
        let copies = counts(&play.world)["CopyImage"];
        tell(&format!("distributions: killed at call {skip} ({action:?}): {copies} orders for 5 copies"));
        delete(&play.world, "base").await;
        wait_gone(&play.world, "base").await;
        let (images, snapshots) = play.images();
        assert_eq!((images.len(), snapshots), (2, 2), "killed at call {skip}: {images:?}");
        play.kill();
    }
}
