//! The trouble that the API server in memory makes, and that kube's client meets it as trouble of a real one.

use std::{sync::Arc, time::Duration};

use amishare::{api::AmiShare, runtime::clock::Clock};
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, VersionMatch},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{Connection, End, Kind, Memory, Trouble, Verb, Weather};

const NAMESPACE: &str = "images";

fn memory() -> Memory {
    Memory::new(Clock::set_to(Timestamp::from_second(1_800_000_000).unwrap()), 1)
}

fn share(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"region": "us-east-1", "image": {"id": "ami-12345678"}, "shareWith": {"accountIds": ["111122223333"]}},
    })
}

fn shares(connection: &Connection) -> Api<AmiShare> {
    Api::namespaced(connection.client(), NAMESPACE)
}

type Events = BoxStream<'static, watcher::Result<Event<AmiShare>>>;

/// A watch that has listed everything.
async fn watching(memory: &Memory) -> Events {
    let mut events = watcher(shares(&memory.connect("a watch")), watcher::Config::default()).boxed();
    until(&mut events, "InitDone").await;
    events
}

/// The name of an event, and of its object.
fn word(event: &watcher::Result<Event<AmiShare>>) -> String {
    match event {
        Ok(Event::Init) => "Init".into(),
        Ok(Event::InitDone) => "InitDone".into(),
        Ok(Event::InitApply(share)) => format!("InitApply {}", share.name_any()),
        Ok(Event::Apply(share)) => format!("Apply {}", share.name_any()),
        Ok(Event::Delete(share)) => format!("Delete {}", share.name_any()),
        Err(_) => "error".into(),
    }
}

/// The events up to one.
async fn until(events: &mut Events, last: &str) -> Vec<String> {
    let mut words = Vec::new();
    while words.last().is_none_or(|word| word != last) {
        words.push(word(&events.next().await.unwrap()));
    }
    words
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_lost_goes_on_where_it_was_and_one_that_is_too_old_lists_anew() {
    let memory = memory();
    memory.create(NAMESPACE, share("a"));
    let mut events = watching(&memory).await;
    memory.end_watches(End::Closed);
    memory.create(NAMESPACE, share("b"));
    assert_eq!(until(&mut events, "Apply b").await, ["Apply b"]);
    memory.end_watches(End::Broken);
    memory.delete(NAMESPACE, "b");
    assert_eq!(until(&mut events, "Delete b").await, ["error", "Delete b"]);
    memory.end_watches(End::Closed);
    memory.create(NAMESPACE, share("c"));
    memory.compact();
    let words = until(&mut events, "InitDone").await;
    assert_eq!(words, ["error", "Init", "InitApply a", "InitApply c", "InitDone"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_found_dead_and_a_late_one_tells_in_time() {
    let memory = memory();
    let mut events = watching(&memory).await;
    let start = Instant::now();
    memory.delay_watches(Duration::from_secs(30));
    memory.create(NAMESPACE, share("a"));
    assert_eq!(until(&mut events, "Apply a").await, ["Apply a"]);
    assert_eq!(start.elapsed().as_secs(), 30);
    memory.delay_watches(Duration::ZERO);
    memory.end_watches(End::Silent);
    memory.create(NAMESPACE, share("b"));
    assert_eq!(until(&mut events, "Apply b").await, ["Apply b"]);
    assert!((200..400).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_a_quiet_watch_from_becoming_too_old() {
    let memory = memory();
    memory.create("another", share("a"));
    let mut events = watching(&memory).await;
    memory.patch("another", "a", &json!({"metadata": {"labels": {"a": "b"}}}));
    let quiet = timeout(Duration::from_mins(2), events.next());
    assert!(quiet.await.is_err());
    memory.compact();
    memory.end_watches(End::Closed);
    memory.create(NAMESPACE, share("b"));
    assert_eq!(until(&mut events, "Apply b").await, ["Apply b"]);
}

#[tokio::test(start_paused = true)]
async fn only_a_list_that_allows_it_is_old_and_the_pages_of_one_list_are_of_one_moment() {
    let memory = memory();
    for name in ["a", "b", "c"] {
        memory.create(NAMESPACE, share(name));
    }
    let api = shares(&memory.connect("a reader"));
    let page = api.list(&ListParams::default().limit(2)).await.unwrap();
    memory.set_staleness(Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(20)).await;
    memory.delete(NAMESPACE, "c");
    let next = ListParams::default().limit(2).continue_token(page.metadata.continue_.as_ref().unwrap());
    assert_eq!(api.list(&next).await.unwrap().items.len(), 1);
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let any = ListParams::default().at("0").matching(VersionMatch::NotOlderThan);
    assert_eq!(api.list(&any).await.unwrap().items.len(), 3);
    memory.compact();
    assert_eq!(code(api.list(&next).await), 410);
}

fn code<T>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
        Ok(_) => 200,
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_befalls_the_requests_that_it_is_meant_for() {
    let memory = memory();
    memory.create(NAMESPACE, share("a"));
    let api = shares(&memory.connect("a writer"));
    let label = |value: &str| Patch::Merge(json!({"metadata": {"labels": {"a": value}}}));
    let weather = |trouble| {
        let until = Instant::now() + Duration::from_mins(1);
        memory.add_weather(Weather { trouble, verbs: &[Verb::Patch], chance: 1.0, until });
    };
    let stored = || memory.look(|stored| stored.object(NAMESPACE, "a").unwrap()["metadata"]["labels"]["a"].clone());
    let patch = async |value: &str| code(api.patch("a", &PatchParams::default(), &label(value)).await);
    for (trouble, answer, value) in [
        (Trouble::LostBefore, 0, Value::Null),
        (Trouble::LostAfter, 0, "1".into()),
        (Trouble::Refused(503), 503, "1".into()),
        (Trouble::Late(Duration::from_secs(5)), 200, "3".into()),
        (Trouble::Overtaken, 200, "4".into()),
    ] {
        weather(trouble);
        let number = memory.served().len();
        assert_eq!((patch(&number.to_string()).await, stored()), (answer, value), "{trouble:?}");
        assert_eq!(memory.served()[number].trouble, Some(trouble));
        memory.clear_weather();
    }
    weather(Trouble::Late(Duration::from_secs(5)));
    assert!(timeout(Duration::from_secs(1), patch("late")).await.is_err());
    assert_eq!(stored(), "4");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stored(), "late", "nobody waits for it any more, and it arrives all the same");
    memory.clear_weather();
    weather(Trouble::NeverAnswered);
    assert!(timeout(Duration::from_secs(1), patch("never")).await.is_err());
    assert_eq!(code(api.get("a").await), 200);
    assert_eq!(stored(), "late");
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(patch("again").await, 200, "it is over by itself");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_overtaken_is_told_of_the_conflict() {
    let memory = memory();
    let version = memory.create(NAMESPACE, share("a")).body["metadata"]["resourceVersion"].clone();
    memory.set_fate(Arc::new(|asked| (asked.number == 1 && asked.verb.writes()).then_some(Trouble::Overtaken)));
    let api = shares(&memory.connect("a writer"));
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}));
    assert_eq!(code(api.patch("a", &PatchParams::default(), &patch).await), 409);
    assert_eq!(memory.look(|stored| stored.history().last().map(|v| v.kind)), Some(Kind::Modified));
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_a_process_that_is_no_more_nor_does_it_hear() {
    let memory = memory();
    memory.create(NAMESPACE, share("a"));
    memory.set_latency(Duration::from_secs(2));
    let connection = memory.connect("a process");
    let api = shares(&connection);
    let dying = tokio::spawn(async move { api.get("a").await });
    tokio::task::yield_now().await;
    connection.die();
    assert!(timeout(Duration::from_mins(1), dying).await.is_err());
    let requests = memory.requests();
    assert!(timeout(Duration::from_mins(1), shares(&connection).get("a")).await.is_err());
    assert_eq!(memory.requests(), requests);
    assert_eq!(code(shares(&memory.connect("another process")).get("a").await), 200);
    assert!(memory.served()[0].to_string().contains("Get /apis/amishare.dev/v1alpha1/namespaces/images/amishares/a"));
}

#[tokio::test(start_paused = true)]
async fn a_status_and_an_event_are_stored_by_themselves() {
    let memory = memory();
    memory.create(NAMESPACE, share("a"));
    memory.patch_status(NAMESPACE, "a", &json!({"status": {"observedGeneration": 1}}));
    let stored = memory.look(|stored| stored.object(NAMESPACE, "a").unwrap());
    assert_eq!((&stored["status"]["observedGeneration"], &stored["metadata"]["generation"]), (&1.into(), &1.into()));
    assert_eq!(memory.look(|stored| stored.events().count()), 0);
}

#[tokio::test(start_paused = true)]
async fn every_version_tells_who_wrote_it() {
    let memory = memory();
    memory.create(NAMESPACE, share("a"));
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"seen": "yes"}}}));
    let params = PatchParams { field_manager: Some("operator".into()), ..PatchParams::default() };
    shares(&memory.connect("a client")).patch("a", &params, &patch).await.unwrap();
    let writers: Vec<String> = memory.look(|stored| stored.history().iter().map(|v| v.by.clone()).collect());
    assert_eq!(writers, ["somebody", "operator"]);
}
