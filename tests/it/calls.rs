//! How many calls the operator makes: so many for each image, none for each account, and no write without a reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use amishare::api::AmiShare;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, PostParams};

use crate::harness::{
    Setup, World, eventually,
    world::{OWNER, REGION},
};

fn image(number: usize) -> String {
    format!("ami-0abc{number:013x}")
}

fn account(number: usize) -> String {
    format!("1000{number:08}")
}

/// An interval at which no check comes due while a test counts.
const NEVER: &str = "24h";

/// A world with this many images, each of which one AmiShare shares with this many accounts, and no operator yet.
async fn world(images: usize, accounts: usize, interval: &str) -> World {
    let mut scenario = format!("accounts: [{{id: \"{OWNER}\"}}]\nimages:\n");
    for number in 0..images {
        let id = image(number);
        writeln!(scenario, "- {{id: {id}, region: {REGION}, owner: \"{OWNER}\", name: image-{number}}}").unwrap();
    }
    let world = World::without_operator(Setup { scenario: scenario.leak(), ..Setup::default() }).await;
    let accounts: Vec<String> = (0..accounts).map(account).collect();
    let shares = world.shares();
    stream::iter(0..images)
        .map(|number| {
            let object: AmiShare = serde_json::from_value(serde_json::json!({
                "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": format!("share-{number}")},
                "spec": {
                    "region": REGION, "image": {"id": image(number)}, "shareWith": {"accountIds": accounts},
                    "interval": interval
                },
            }))
            .unwrap();
            let shares = &shares;
            async move { shares.create(&PostParams::default(), &object).await }
        })
        .buffer_unordered(8)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    world
}

/// Waits until the operator has finished with this many images since the test began.
async fn finished(world: &World, reconciles: usize) {
    eventually(&format!("{reconciles} reconciles"), || async {
        let counted = counts(world, "amishare_reconcile_total").into_iter().collect::<Vec<_>>();
        let succeeded = "amishare_reconcile_total{controller=\"amishare\",result=\"success\"}";
        match &counted[..] {
            [(series, count)] if series == succeeded && *count == reconciles => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The counters whose names begin so.
fn counts(world: &World, name: &str) -> BTreeMap<String, usize> {
    let text = world.metrics.render().unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(series, count)| (series.to_owned(), count.parse().unwrap())).collect()
}

async fn versions(world: &World) -> Vec<(Option<String>, Option<String>)> {
    let list = world.shares().list(&ListParams::default()).await.unwrap();
    list.items.into_iter().map(|share| (share.metadata.name, share.metadata.resource_version)).collect()
}

/// The calls that a start of the operator makes before it has seen to `images` images.
async fn calls_of_a_start(world: &mut World, images: usize) -> BTreeMap<String, usize> {
    world.stop_operator().await;
    world.aws.clear_calls();
    let before = counts(world, "amishare_reconcile_total").values().sum::<usize>();
    world.start_operator().await;
    finished(world, before + images).await;
    world.calls_by_action()
}

fn calls(describe: usize, attributes: usize, modify: usize) -> BTreeMap<String, usize> {
    [("DescribeImages", describe), ("DescribeImageAttribute", attributes), ("ModifyImageAttribute", modify)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| (action.to_owned(), count))
        .collect()
}

async fn twenty_images_need_the_same_calls_for(accounts: usize) {
    let mut world = world(20, accounts, NEVER).await;
    assert_eq!(calls_of_a_start(&mut world, 20).await, calls(1, 20, 20), "to converge");
    for number in 0..20 {
        assert_eq!(world.launch_permissions(&image(number)).len(), accounts);
    }

    let (writes, stored) = (counts(&world, "amishare_kube_requests"), versions(&world).await);
    assert!(writes.values().sum::<usize>() >= 40, "a finalizer and a status for each: {writes:?}");
    assert_eq!(calls_of_a_start(&mut world, 20).await, calls(0, 0, 0), "a restart asks for nothing before it is due");
    assert_eq!(counts(&world, "amishare_kube_requests"), writes, "nothing is written to Kubernetes");
    assert_eq!(versions(&world).await, stored);

    let (stranger, listed) = ("888877776666", account(0));
    for number in [3, 7, 11] {
        let parameters = [
            ("ImageId", image(number)),
            ("LaunchPermission.Add.1.UserId", stranger.into()),
            ("LaunchPermission.Remove.1.UserId", listed.clone()),
        ];
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.rogue(OWNER, "ModifyImageAttribute", &parameters);
    }
    world.aws.clear_calls();
    for number in 0..20 {
        world.check_now(&format!("share-{number}")).await;
    }
    let mut made = world.calls_by_action();
    assert!(made.remove("DescribeImages").is_some_and(|count| count <= 20), "one at a time, each is asked for anew");
    assert_eq!(made, calls(0, 20, 3), "to put three right");
    for number in 0..20 {
        let held = world.launch_permissions(&image(number));
        assert!(held.len() == accounts && held.contains(&listed) && !held.contains(stranger), "{number}: {held:?}");
    }
}

#[tokio::test]
async fn twenty_images_shared_with_twenty_accounts_need_one_question_and_a_call_for_each_image() {
    twenty_images_need_the_same_calls_for(20).await;
}

#[tokio::test]
async fn the_number_of_accounts_changes_no_number_of_calls() {
    twenty_images_need_the_same_calls_for(2).await;
}

#[tokio::test]
async fn two_hundred_images_are_asked_for_in_one_call() {
    let mut world = world(250, 1, NEVER).await;
    assert_eq!(calls_of_a_start(&mut world, 250).await, calls(2, 250, 250));
}

#[tokio::test]
async fn checks_that_find_nothing_share_one_question_are_spread_over_the_interval_and_write_nothing() {
    let mut world = world(40, 3, "10s").await;
    world.start_operator().await;
    for number in 0..40 {
        world.wait_ready(&format!("share-{number}"), "True", "Synced").await;
    }
    let (writes, stored) = (counts(&world, "amishare_kube_requests"), versions(&world).await);
    world.aws.clear_calls();
    let looks = eventually("every image has been checked", || async {
        let looks: Vec<_> = world.aws.calls().into_iter().filter(|c| c.action == "DescribeImageAttribute").collect();
        let images: BTreeSet<_> = looks.iter().map(|call| call.params["ImageId"].clone()).collect();
        if images.len() == 40 { Ok(looks) } else { Err(format!("{} of 40", images.len())) }
    })
    .await;
    let made = world.calls_by_action();
    assert!(looks.len() <= 80 && made.get("DescribeImages").copied().unwrap_or_default() <= 2, "{made:?}");
    assert_eq!(made.get("ModifyImageAttribute"), None);
    let mut seconds = BTreeMap::<i64, usize>::new();
    for call in &looks {
        *seconds.entry(call.time.as_second()).or_default() += 1;
    }
    assert!(seconds.values().all(|count| *count <= 20), "{seconds:?}");
    assert_eq!(counts(&world, "amishare_kube_requests"), writes, "nothing is written to Kubernetes");
    assert_eq!(versions(&world).await, stored);
}
