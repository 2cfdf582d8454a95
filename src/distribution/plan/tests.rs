use std::collections::BTreeMap;

use k8s_openapi::jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::{
    api::{AmiDistribution, SnapshotId},
    aws::words::Protection,
    distribution::status::{self, Applied, Sharing},
};

const EU: &str = "eu-west-1";

fn id(number: u64) -> ImageId {
    format!("ami-{number:08x}").parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn spec(key: Option<&str>) -> AmiDistributionSpec {
    let target = serde_json::json!({"name": "eu", "region": EU, "kmsKeyId": key});
    let object = serde_json::json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": "base"},
        "spec": {"source": {"region": "us-east-1", "image": {"id": id(1)}}, "targets": [target]},
    });
    serde_json::from_value::<AmiDistribution>(object).unwrap().spec
}

fn image(encrypted: bool) -> Image {
    Image {
        id: id(1),
        name: Some("golden".into()),
        owner: "999988887777".parse().ok(),
        state: "available".into(),
        public: false,
        encrypted,
        has_product_code: false,
        snapshots: BTreeSet::<SnapshotId>::new(),
    }
}

fn owner() -> Owner {
    Owner { uid: "u".into(), namespace: "images".into(), name: "base".into() }
}

/// One target, with its copies and its record.
struct Bench {
    spec: AmiDistributionSpec,
    image: Image,
    own: Vec<Copy>,
    found: Vec<Copy>,
    with_its_key: BTreeSet<ImageId>,
    record: Option<TargetStatus>,
    asked_anew: bool,
    access: Access,
    now: Timestamp,
    spec_generation: i64,
}

impl Bench {
    fn new() -> Self {
        let (own, found, record) = (Vec::new(), Vec::new(), None);
        let (spec, image) = (spec(None), image(false));
        Self {
            spec,
            image,
            own,
            found,
            with_its_key: BTreeSet::new(),
            record,
            asked_anew: false,
            access: Access::Own,
            now: now(),
            spec_generation: 1,
        }
    }

    fn decide(&self) -> Verdict {
        let source = Source::Seen(&self.image);
        let owner = owner();
        Situation {
            owner: &owner,
            spec: &self.spec,
            spec_generation: self.spec_generation,
            source: &source,
            source_id: &self.image.id,
            target: &self.spec.targets[0],
            own: &self.own,
            found: &self.found,
            with_its_key: &self.with_its_key,
            record: self.record.as_ref(),
            asked_anew: self.asked_anew,
            access: self.access.clone(),
            now: self.now,
        }
        .decide()
    }

    fn record_it(&mut self, verdict: &Verdict, applied: &Applied) {
        let begun = status::begin(&self.spec.targets[0], None, Some(&verdict.record));
        let line = status::line(begun, verdict, applied, Sharing::NotRequested, None, &self.image.id);
        self.record = Some(line.status);
    }

    fn pass(&mut self, time: Duration) {
        self.now += SignedDuration::try_from(time).unwrap();
    }

    /// A copy of ours.
    fn copy(&self, number: u64, state: &str) -> Copy {
        let target = &self.spec.targets[0];
        let generation = Generation::of(&self.spec.source.region, &self.image.id, target.kms_key_id.as_ref());
        Copy {
            id: id(number),
            name: Some("golden".into()),
            state: state.into(),
            reason: None,
            created: Some(self.now),
            source: Some((self.spec.source.region.clone(), self.image.id.clone())),
            tags: owner().tags("eu", &generation, &self.image.id),
            snapshots: BTreeSet::new(),
            encrypted: target.kms_key_id.is_some(),
            deprecated: None,
            protection: Protection::Off,
            launched: None,
            public: false,
        }
    }
}

fn order(verdict: &Verdict) -> &CopyOrder {
    match &verdict.decision {
        Decision::Order(order) => order,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_is_ordered_with_tags_by_which_it_is_known_again() {
    let bench = Bench::new();
    let verdict = bench.decide();
    let order = order(&verdict);
    assert_eq!((order.name.as_str(), order.key.as_ref()), ("golden", None));
    assert_eq!(order.tags[DISTRIBUTION], "u");
    assert_eq!(order.tags, order.snapshot_tags);
    assert_eq!(verdict.record.attempt, 1);
}

#[test]
fn an_order_that_got_no_answer_is_repeated_with_the_same_token_and_not_after_what_it_made_can_be_seen() {
    let mut bench = Bench::new();
    let verdict = bench.decide();
    bench.record_it(&verdict, &Applied::Nothing);
    bench.pass(Duration::from_mins(2));
    assert_eq!(order(&bench.decide()).token, order(&verdict).token);
    bench.pass(Duration::from_mins(4));
    assert_ne!(order(&bench.decide()).token, order(&verdict).token, "nothing was made of it");
}

#[test]
fn a_copy_that_was_deleted_and_is_wanted_again_is_ordered_anew_and_the_same_order_with_a_changed_spec_is_not() {
    let mut bench = Bench::new();
    let first = bench.decide();
    bench.spec_generation = 3;
    let token = order(&bench.decide()).token.clone();
    assert_ne!(token, order(&first).token, "EC2 would name the copy that is no more");
    bench.record_it(&first, &Applied::Nothing);
    assert_eq!(order(&bench.decide()).token, order(&first).token, "it may be under way");
}

#[test]
fn a_copy_that_is_not_shown_yet_is_waited_for() {
    let mut bench = Bench::new();
    let verdict = bench.decide();
    bench.record_it(&verdict, &Applied::Ordered(id(7)));
    bench.pass(Duration::from_secs(30));
    assert!(matches!(bench.decide().decision, Decision::Wait(Some(image), _) if image == id(7)));
}

#[test]
fn a_copy_that_is_under_way_is_looked_at_ever_more_seldom() {
    let mut bench = Bench::new();
    let verdict = bench.decide();
    bench.record_it(&verdict, &Applied::Ordered(id(7)));
    bench.own = vec![bench.copy(7, "pending")];
    let (mut looks, mut passed) = (0, Duration::ZERO);
    while passed < Duration::from_hours(10) {
        let Decision::Wait(_, after) = bench.decide().decision else { panic!() };
        bench.pass(after);
        passed += after;
        looks += 1;
    }
    assert!(looks < 30, "{looks} looks in ten hours");
}

#[test]
fn an_encrypted_source_is_never_copied_without_a_key() {
    let mut bench = Bench::new();
    bench.image = image(true);
    assert!(matches!(bench.decide().decision, Decision::Refuse(Reason::KmsKeyRequired, ..)));
    bench.spec = spec(Some("alias/images"));
    assert_eq!(order(&bench.decide()).key, "alias/images".parse().ok());
}

#[test]
fn who_finds_two_copies_keeps_the_one_that_is_known_or_else_the_first() {
    let mut bench = Bench::new();
    let (first, mut second) = (bench.copy(8, "available"), bench.copy(7, "available"));
    second.created = Some(now() + SignedDuration::from_secs(60));
    bench.own = vec![first, second];
    let verdict = bench.decide();
    assert_eq!((verdict.decision, verdict.discard), (Decision::Keep(id(8)), BTreeSet::from([id(7)])));
    let mut known = status::begin(&bench.spec.targets[0], None, None);
    known.image_id = Some(id(7));
    bench.record = Some(known);
    let verdict = bench.decide();
    assert_eq!((verdict.decision, verdict.discard), (Decision::Keep(id(7)), BTreeSet::from([id(8)])));
}

#[test]
fn a_copy_that_fails_is_tried_again_ever_later_and_in_the_end_only_when_somebody_asks() {
    let mut bench = Bench::new();
    let mut waited = Vec::new();
    for number in 7.. {
        let verdict = bench.decide();
        if let Decision::Refuse(Reason::CopyFailed, message, after) = &verdict.decision {
            bench.record_it(&verdict, &Applied::Nothing);
            let Some(after) = after else {
                assert!(message.contains("failed 5 times") && message.contains("out of luck"), "{message}");
                break;
            };
            waited.push(after.as_secs());
            bench.pass(*after);
            continue;
        }
        order(&verdict);
        bench.record_it(&verdict, &Applied::Ordered(id(number)));
        bench.own = vec![Copy { reason: Some("out of luck".into()), ..bench.copy(number, "failed") }];
        let failed = bench.decide();
        assert_eq!(failed.discard, BTreeSet::from([id(number)]));
        assert!(failed.failure.is_some());
        bench.record_it(&failed, &Applied::Nothing);
        // It is counted once, also if the operator dies before it is deleted.
        assert_eq!(bench.decide().record.failures, failed.record.failures);
        assert_eq!(bench.decide().discard, BTreeSet::from([id(number)]));
        bench.own.clear();
    }
    assert_eq!(waited, [60, 120, 240, 480]);
    bench.asked_anew = true;
    order(&bench.decide());
}

#[test]
fn a_copy_by_hand_is_adopted_unless_it_is_another_distributions_or_of_another_kind() {
    let mut bench = Bench::new();
    let by_hand = Copy { tags: BTreeMap::new(), ..bench.copy(9, "available") };
    bench.found = vec![by_hand.clone()];
    assert_eq!(bench.decide().decision, Decision::Keep(id(9)));
    let former = Copy { encrypted: true, ..bench.copy(9, "available") };
    let of_another_life = |mut copy: Copy| {
        copy.tags.insert(DISTRIBUTION.to_owned(), "before".to_owned());
        copy
    };
    bench.found = vec![of_another_life(former)];
    assert_eq!(bench.decide().decision, Decision::Keep(id(9)), "of the object that had this name before");
    let anothers = BTreeMap::from([(DISTRIBUTION.to_owned(), "v".to_owned())]);
    for strange in [
        Copy { tags: anothers, ..by_hand.clone() },
        Copy { encrypted: true, ..by_hand.clone() },
        Copy { state: "pending".into(), ..by_hand.clone() },
        Copy { source: Some(("us-east-1".parse().unwrap(), id(2))), ..by_hand.clone() },
    ] {
        bench.found = vec![strange.clone()];
        order(&bench.decide());
    }
}

#[test]
fn a_copy_by_hand_of_a_target_with_a_key_is_adopted_if_it_is_encrypted_with_that_key() {
    let mut bench = Bench::new();
    bench.spec.targets[0].kms_key_id = Some("alias/images".parse().unwrap());
    bench.found = vec![Copy { tags: BTreeMap::new(), encrypted: true, ..bench.copy(9, "available") }];
    order(&bench.decide());
    bench.with_its_key = [id(9)].into();
    assert_eq!(bench.decide().decision, Decision::Keep(id(9)));
    bench.spec.targets[0].kms_key_id = None;
    order(&bench.decide());
}

#[test]
fn a_copy_of_a_copy_with_its_tags_is_not_taken_for_ours() {
    let mut bench = Bench::new();
    let ours = bench.copy(7, "available");
    bench.own = vec![Copy { id: id(8), source: Some((EU.parse().unwrap(), id(7))), ..ours }];
    let verdict = bench.decide();
    assert!(verdict.discard.is_empty());
    order(&verdict);
}

#[test]
fn the_source_itself_is_not_copied() {
    let mut bench = Bench::new();
    bench.spec.targets[0].region = "us-east-1".parse().unwrap();
    assert_eq!(bench.decide().decision, Decision::Keep(id(1)));
}

#[test]
fn nothing_is_ordered_before_the_source_is_open_to_the_account() {
    let mut bench = Bench::new();
    bench.access = Access::Closed;
    assert!(matches!(bench.decide().decision, Decision::Open(..)));
    bench.access = Access::Opening(Reason::GuardrailDenied, "no".into());
    assert_eq!(bench.decide().decision, Decision::Open(Reason::GuardrailDenied, "no".into()));
    bench.access = Access::Opened;
    order(&bench.decide());
    bench.image.has_product_code = true;
    assert!(matches!(bench.decide().decision, Decision::Refuse(Reason::CopyNotPossible, ..)));
}

/// What happens to a target.
#[derive(Debug, Clone)]
enum Event {
    /// A reconcile, which ends after so many of its steps: the record, the deletions and the order, the record of what came of it.
    Reconcile(u8),
    /// Time passes.
    Pass(u16),
    /// What is under way is done.
    Done,
    /// It fails.
    Fails,
    /// What was made is shown.
    Shown,
    /// Somebody deletes a copy.
    Deletes,
    /// Somebody asks.
    Asks,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u8..=3).prop_map(Event::Reconcile),
        2 => (1u16..900).prop_map(Event::Pass),
        2 => Just(Event::Done),
        1 => Just(Event::Fails),
        3 => Just(Event::Shown),
        1 => Just(Event::Deletes),
        1 => Just(Event::Asks),
    ]
}

/// AWS, as far as it is about one target.
#[derive(Default)]
struct Made {
    copies: Vec<(Copy, bool)>,
    tokens: BTreeMap<String, ImageId>,
    orders: u64,
}

impl Made {
    fn shown(&self) -> Vec<Copy> {
        self.copies.iter().filter(|(_, shown)| *shown).map(|(copy, _)| copy.clone()).collect()
    }

    fn alive(&self) -> usize {
        self.copies.iter().filter(|(copy, _)| copy.state != "failed").count()
    }
}

fn reconcile(bench: &mut Bench, made: &mut Made, steps: u8) {
    bench.own = made.shown();
    let verdict = bench.decide();
    bench.asked_anew = false;
    bench.record_it(&verdict, &Applied::Nothing);
    if steps < 2 {
        return;
    }
    made.copies.retain(|(copy, _)| !verdict.discard.contains(&copy.id));
    let mut applied = Applied::Nothing;
    if let Decision::Order(order) = &verdict.decision {
        let known = made.tokens.get(&order.token).cloned();
        let image = known.unwrap_or_else(|| {
            made.orders += 1;
            let copy = bench.copy(100 + made.orders, "pending");
            made.tokens.insert(order.token.clone(), copy.id.clone());
            made.copies.push((copy, false));
            id(100 + made.orders)
        });
        applied = Applied::Ordered(image);
    }
    if steps >= 3 {
        bench.record_it(&verdict, &applied);
    }
}

proptest! {
    /// Whatever happens, there is one copy in the end, and nothing else that is ours.
    #[test]
    fn there_is_exactly_one_copy_in_the_end(events in proptest::collection::vec(event(), 0..40)) {
        let (mut bench, mut made) = (Bench::new(), Made::default());
        let mut unseen_since = None;
        for event in events {
            match event {
                Event::Reconcile(steps) => reconcile(&mut bench, &mut made, steps),
                Event::Pass(seconds) => bench.pass(Duration::from_secs(seconds.into())),
                Event::Done => made.copies.iter_mut().filter(|(c, _)| c.state == "pending").for_each(|(c, _)| c.state = "available".into()),
                Event::Fails => made.copies.iter_mut().filter(|(c, _)| c.state == "pending").for_each(|(c, _)| c.state = "failed".into()),
                Event::Shown => made.copies.iter_mut().for_each(|(_, shown)| *shown = true),
                Event::Deletes => drop(made.copies.pop()),
                Event::Asks => bench.asked_anew = true,
            }
            // EC2 shows within five minutes what it has made.
            let hides = made.copies.iter().any(|(_, shown)| !shown);
            let since = *unseen_since.get_or_insert(bench.now);
            if !hides {
                unseen_since = None;
            } else if bench.now.duration_since(since) > SignedDuration::from_mins(4) {
                made.copies.iter_mut().for_each(|(_, shown)| *shown = true);
                unseen_since = None;
            }
            prop_assert!(made.alive() <= 2, "{:?}", made.copies);
        }
        bench.asked_anew = true;
        for _ in 0..40 {
            made.copies.iter_mut().for_each(|(copy, shown)| {
                *shown = true;
                if copy.state == "pending" {
                    copy.state = "available".into();
                }
            });
            reconcile(&mut bench, &mut made, 3);
            bench.pass(Duration::from_mins(6));
        }
        let left: Vec<&str> = made.copies.iter().map(|(copy, _)| copy.state.as_str()).collect();
        prop_assert_eq!(left, ["available"]);
        let orders = made.orders;
        reconcile(&mut bench, &mut made, 3);
        prop_assert_eq!(orders, made.orders);
    }
}
