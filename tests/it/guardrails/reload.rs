//! The configuration file while the operator works.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{A, B, C, Config, only};
use crate::{
    harness::{eventually, world::REGION},
    lanes::{Virtual, simulated},
};

/// The longest that a change of the file takes to be in force: read every two seconds, and taken in when it was the same twice.
const IN_FORCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_rule_that_comes_takes_back_what_was_given_and_a_rule_that_goes_gives_it_back() {
    let config = Config::with("[]");
    let world = config.world(&[]).await;
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}, "interval": "24h"})).await;
    world.wait_ready("base", "True", "Synced").await;
    config.say(&only(A));
    world.wait_shared_with(&[A]).await;
    let message = world.wait_ready("base", "False", "GuardrailDenied").await;
    assert!(message.contains("guard rail only"), "{message}");
    config.say("[]");
    world.wait_ready("base", "True", "Synced").await;
    world.wait_shared_with(&[A, B]).await;
}

#[tokio::test]
async fn a_file_with_a_mistake_changes_nothing_and_is_told_and_the_next_good_one_is_taken_in() {
    let config = Config::with(&only(A));
    let world = config.world(&[]).await;
    let valid = |number: u64| {
        let world = &world;
        async move {
            eventually("the metric says so", || async {
                let is = world.metric("amishare_configuration_valid");
                if is == number { Ok(()) } else { Err(is) }
            })
            .await;
        }
    };
    valid(1).await;
    // Without its rules, and with a field that does not exist.
    config.say("[]\nguardrail: []");
    valid(0).await;
    world.create("base", json!({"shareWith": {"accountIds": [A, B]}})).await;
    world.wait_ready("base", "False", "GuardrailDenied").await;
    world.wait_shared_with(&[A]).await;
    config.say(&only(B));
    valid(1).await;
    world.wait_shared_with(&[B]).await;
}

/// Whom the calls since they were last cleared have given a launch permission.
fn given(world: &Virtual) -> BTreeSet<String> {
    let calls = world.aws.calls();
    let params = calls.iter().flat_map(|call| &call.params);
    params.filter(|(name, _)| name.starts_with("LaunchPermission.Add")).map(|(_, value)| value.clone()).collect()
}

#[test]
fn a_reload_overtakes_what_was_decided_and_waits_for_its_turn() {
    simulated(async {
        let config = Config::with("[]");
        let world = Virtual::start_with(300, &[&config.flag()]);
        for number in 0..300 {
            world.share(REGION, number, &[A, B]);
        }
        // The burst is over, and two hundred wait for their turn with what was decided under the old rules.
        let with_b = || (0..300).filter(|number| world.holders(REGION, *number).contains(B)).count();
        world.until("a third is shared", || with_b() >= 100).await;
        config.say(&only(A));
        tokio::time::sleep(IN_FORCE).await;
        assert!(with_b() < 150, "the rest waits for its turn");
        world.aws.clear_calls();
        let is_right = |number| world.holders(REGION, number).iter().map(String::as_str).eq([A]);
        world.until("everybody has what the new rules say", || (0..300).all(is_right)).await;
        assert_eq!(given(&world), [A.to_owned()].into(), "nothing that the new rules forbid was given any more");
    });
}

#[test]
fn reloads_under_load_lose_nothing() {
    simulated(async {
        let config = Config::with("[]");
        let world = Virtual::start_with(60, &["--request-rate-factor=20", &config.flag()]);
        let mut expected: Vec<BTreeSet<&str>> = Vec::new();
        let rules = [only(A), "[]".to_owned(), only(B), "{broken".to_owned(), only(C)];
        for number in 0..60 {
            world.share(REGION, number, &[A, B]);
            expected.push([A, B].into());
            if number % 3 == 0 && number > 0 {
                let name = format!("{REGION}-{}", number - 1);
                world.memory.patch("images", &name, &json!({"spec": {"shareWith": {"accountIds": [B, C]}}}));
                expected[number - 1] = [B, C].into();
            }
            config.say(&rules[number % rules.len()]);
            // Any phase of the two seconds, and of the second reading.
            tokio::time::sleep(Duration::from_millis(700 + 130 * u64::try_from(number % 17).unwrap())).await;
        }
        config.say("[]");
        let started = Instant::now();
        let is_right = |(number, all): (usize, &BTreeSet<&str>)| {
            world.holders(REGION, number).iter().map(String::as_str).eq(all.iter().copied())
        };
        world.until("everybody has what the specs say", || expected.iter().enumerate().all(is_right)).await;
        world.until("and they say so", || world.ready() == 60).await;
        assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    });
}
