//! A distribution to five Regions and two accounts, whatever happens to it in whatever order: in the end there is one copy for each
//! target, and nothing else.
//!
//! `AMISHARE_DISTRIBUTION_SEED` runs one order again, and `AMISHARE_DISTRIBUTION_SEEDS` says how many are run.

use amishare::{
    api::ami_distribution::{TargetState, TargetStatus},
    simulator::{Fault, FaultKind},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use super::{
    wanted::{Everything, SCENARIO, TARGETS, WITH, Wanted},
    world::{IDENTITIES, NEWER, children, counts, create, delete, patch, status, wait_gone, wait_ready},
};
use crate::harness::{Setup, World, cluster, eventually, number, operators, process::Operator, tell, world::IMAGE};

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

    /// Waits until there is what there is to be, and nothing else.
    async fn is_whole(&self, wanted: &Wanted) {
        wait_ready(&self.world, "base", "True", "Synced").await;
        eventually("there is one copy for each target and nothing else", || async {
            let (seen, wanted) =
                (Everything::of(&self.world.aws, children(&self.world).await.len()), wanted.everything());
            if seen == wanted { Ok(()) } else { Err(format!("{seen:#?}, but should be {wanted:#?}")) }
        })
        .await;
    }

    /// Nothing is left of the distribution.
    async fn is_gone(&self, what: &str) {
        let seen = Everything::of(&self.world.aws, children(&self.world).await.len());
        assert_eq!(seen, Everything::before(), "{what}");
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
    let mut wanted = Wanted::everywhere();
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
    play.is_gone(&format!("seed {seed}")).await;
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
        let wanted = Wanted::everywhere();
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
        play.is_gone(&format!("killed at call {skip}")).await;
        play.kill();
    }
}
