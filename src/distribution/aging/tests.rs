use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::AmiDistribution,
    distribution::{
        marks::Generation,
        status::{self, Line, Sharing},
    },
};

const DAY: u64 = 86_400;

fn id(number: u64) -> ImageId {
    format!("ami-{number:08x}").parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-28T12:00:30Z".parse().unwrap()
}

fn owner() -> Owner {
    Owner { uid: "u".into(), namespace: "images".into(), name: "base".into() }
}

/// One target, whose image is number 1, with older copies: what AWS has, and what is on record.
struct Bench {
    spec: AmiDistributionSpec,
    own: Vec<Copy>,
    uses: BTreeMap<ImageId, Result<Use, Failure>>,
    record: Option<TargetStatus>,
    now: Timestamp,
}

fn unused() -> Use {
    let reported = Some(Reported::UsedBy(BTreeSet::new()));
    Use {
        held: BTreeSet::new(),
        ours: BTreeSet::new(),
        has_share: false,
        has_instances: false,
        source_of: None,
        reported,
    }
}

impl Bench {
    /// The present copy and so many older ones, each a hundred days older than the one before.
    fn new(rest: &Value, older: u64) -> Self {
        let mut spec = json!({
            "source": {"region": "us-east-1", "image": {"id": id(99)}}, "targets": [{"name": "eu", "region": "eu-west-1"}],
        });
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution", "metadata": {"name": "base"}, "spec": spec,
        });
        let spec = serde_json::from_value::<AmiDistribution>(object).unwrap().spec;
        let own: Vec<Copy> = (1..=older + 1).map(copy).collect();
        let uses = own.iter().map(|copy| (copy.id.clone(), Ok(unused()))).collect();
        Self { spec, own, uses, record: None, now: now() }
    }

    fn decide(&self) -> Aged {
        let (owner, discard, keep) = (owner(), BTreeSet::new(), id(1));
        let aging = Aging {
            owner: &owner,
            spec: &self.spec,
            target: &self.spec.targets[0],
            own: &self.own,
            keep: Some(&keep),
            discard: &discard,
            record: self.record.as_ref(),
            now: self.now,
        };
        let looked: BTreeSet<&ImageId> = aging.to_look_at().into_iter().map(|copy| &copy.id).collect();
        aging.decide(
            &self.uses.iter().filter(|(id, _)| looked.contains(id)).map(|(i, u)| (i.clone(), u.clone())).collect(),
        )
    }

    /// Carries out what was decided, as AWS does it, and records it.
    fn carry_out(&mut self, aged: &Aged) {
        let target = &self.spec.targets[0];
        let mut line = Line { status: status::begin(target, None, None), passes: true, sharing: Sharing::NotRequested };
        status::age(&mut line, aged);
        for image in &aged.retiring {
            self.used(image, |used| {
                used.held = used.held.difference(&used.ours).cloned().collect();
                used.ours.clear();
                used.has_share = false;
            });
        }
        let changed: Vec<_> = aged.changes.iter().map(|change| (change.clone(), Ok(()))).collect();
        for (change, _) in &changed {
            let copy = self.own.iter_mut().find(|copy| copy.id == *change.image()).unwrap();
            match change {
                Change::Deprecate(_, at) => copy.deprecated = Some(*at),
                Change::DoNotDeprecate(_) => copy.deprecated = None,
                Change::Protect(_, with) => {
                    copy.protection = if *with { Protection::WithCooldown } else { Protection::Plain };
                }
                // With a cooldown it looks as before for a day.
                Change::DoNotProtect(_) if copy.protection == Protection::Plain => copy.protection = Protection::Off,
                Change::DoNotProtect(_) => {}
                Change::Report(..) => self.used(change.image(), |used| used.reported = Some(Reported::Pending)),
                Change::Remove(_) => copy.state = "deregistered".into(),
            }
        }
        status::aged(&mut line, &self.spec, &changed, self.now);
        self.record = Some(line.status);
    }

    fn step(&mut self) -> Aged {
        let aged = self.decide();
        self.carry_out(&aged);
        aged
    }

    fn pass(&mut self, seconds: u64) {
        self.now += SignedDuration::from_secs(i64::try_from(seconds).unwrap());
    }

    fn used(&mut self, image: &ImageId, change: impl FnOnce(&mut Use)) {
        change(self.uses.get_mut(image).unwrap().as_mut().unwrap());
    }

    fn message(&self, number: u64) -> &str {
        let older = &self.record.as_ref().unwrap().older;
        &older.iter().find(|copy| copy.image_id == id(number)).unwrap_or_else(|| panic!("{older:?}")).message
    }
}

/// A copy of ours, of another source for each number.
fn copy(number: u64) -> Copy {
    let generation = Generation::of(&"us-east-1".parse().unwrap(), &id(100 + number), None);
    let age = SignedDuration::from_hours(24 * 100 * i64::try_from(number - 1).unwrap());
    Copy {
        id: id(number),
        name: None,
        state: "available".into(),
        reason: None,
        created: Some(now() - age),
        source: Some(("us-east-1".parse().unwrap(), id(100 + number))),
        tags: owner().tags("eu", &generation, &id(100 + number)),
        snapshots: BTreeSet::new(),
        encrypted: false,
        deprecated: None,
        protection: Protection::Off,
        launched: None,
        public: false,
    }
}

fn ids(numbers: &[u64]) -> BTreeSet<ImageId> {
    numbers.iter().map(|number| id(*number)).collect()
}

#[test]
fn without_retention_all_copies_stay() {
    assert_eq!(Bench::new(&json!({}), 5).decide(), Aged::default());
}

#[test]
fn the_newest_stay_and_the_others_go_in_two_stages() {
    let mut bench = Bench::new(&json!({"retention": {"keepLast": 2, "gracePeriod": "1d"}}), 3);
    bench.used(&id(3), |used| (used.has_share, used.ours) = (true, ["111122223333".parse().unwrap()].into()));
    bench.used(&id(3), |used| used.held.clone_from(&used.ours.clone()));
    let first = bench.step();
    assert_eq!((first.retiring, first.changes), (ids(&[3, 4]), vec![]));
    bench.pass(DAY - 1);
    let waiting = bench.step();
    assert_eq!((waiting.retiring.clone(), waiting.changes), (ids(&[3, 4]), vec![]));
    assert_eq!(waiting.look_again, Some(Duration::from_secs(1)));
    bench.pass(1);
    assert_eq!(bench.step().changes, [Change::Remove(id(4)), Change::Remove(id(3))]);
    assert_eq!(bench.step(), Aged::default());
}

#[test]
fn a_copy_is_kept_by_its_number_or_by_its_age() {
    let bench = Bench::new(&json!({"retention": {"keepLast": 1, "keepFor": "150d"}}), 3);
    assert_eq!(bench.decide().retiring, ids(&[3, 4]));
    let mut unknown = Bench::new(&json!({"retention": {"keepLast": 1, "keepFor": "150d"}}), 3);
    unknown.own[3].created = None;
    assert_eq!(unknown.decide().retiring, ids(&[3]), "how old it is is not known");
}

#[test]
fn a_copy_that_somebody_uses_or_shares_stays_and_says_why() {
    let mut bench = Bench::new(&json!({"retention": {"keepLast": 1}}), 7);
    bench.used(&id(8), |used| used.source_of = Some("images/next".into()));
    let stranger: Principal = "444455556666".parse().unwrap();
    bench.own[1].launched = Some(bench.now - SignedDuration::from_hours(24 * 29));
    bench.used(&id(3), |used| used.has_instances = true);
    bench.used(&id(4), |used| used.held = [stranger].into());
    bench.used(&id(5), |used| used.reported = Some(Reported::UsedBy(["777788889999".parse().unwrap()].into())));
    bench.own[5].protection = Protection::Plain;
    bench.uses.insert(id(7), Err(Failure::answered("DescribeInstances", "UnauthorizedOperation", "no")));
    let aged = bench.step();
    assert_eq!((aged.retiring, aged.changes), (ids(&[]), vec![]));
    for (number, words) in [
        (2, "started from it within 30d"),
        (3, "its account has instances"),
        (4, "shared with 444455556666, and not by this object"),
        (5, "in use by 777788889999"),
        (6, "somebody else has protected it"),
        (7, "cannot be told whether it is in use"),
        (8, "source of the AmiDistribution images/next"),
    ] {
        let message = bench.message(number);
        assert!(message.starts_with("stays: ") && message.contains(words), "{number}: {message}");
    }
}

#[test]
fn a_report_is_ordered_waited_for_and_believed_for_a_day() {
    let report = |state: &str, hours: i64| {
        let created = now() - SignedDuration::from_hours(hours);
        let report = Report { id: "r".into(), created, state: state.into(), is_whole: true };
        match reading(Some(report), now()) {
            Reading::Now(id) => Ok(id),
            Reading::NotYet(why) => Err(why),
        }
    };
    assert!(matches!(reading(None, now()), Reading::NotYet(Reported::Missing)));
    assert_eq!(report("available", 23), Ok("r".into()));
    assert_eq!(report("available", 24), Err(Reported::Missing));
    assert_eq!(report("pending", 23), Err(Reported::Pending));
    assert_eq!(report("error", 0), Err(Reported::Pending), "it is not ordered again and again");
    assert_eq!(report("error", 1), Err(Reported::Missing));

    let mut bench = Bench::new(&json!({"retention": {"keepLast": 1}}), 1);
    bench.used(&id(2), |used| used.reported = Some(Reported::Missing));
    assert!(matches!(&bench.step().changes[..], [Change::Report(image, _)] if *image == id(2)));
    let pending = bench.step();
    assert!(pending.changes.is_empty() && pending.retiring.is_empty() && pending.look_again.is_some());
    bench.used(&id(2), |used| used.reported = Some(Reported::NotAllowed));
    assert_eq!(bench.step().retiring, ids(&[2]), "where nobody may ask, the other signs have to do");
}

#[test]
fn a_copy_that_has_begun_to_go_and_is_used_again_is_neither_deleted_nor_shared_again() {
    let mut bench = Bench::new(&json!({"retention": {"keepLast": 1, "gracePeriod": "1d"}}), 1);
    bench.step();
    bench.pass(2 * DAY);
    bench.used(&id(2), |used| used.has_instances = true);
    let aged = bench.step();
    assert_eq!((aged.retiring, aged.changes), (ids(&[2]), vec![]));
    bench.used(&id(2), |used| used.has_instances = false);
    assert_eq!(bench.step().changes, [Change::Remove(id(2))]);
}

#[test]
fn until_it_is_deleted_a_copy_that_is_wanted_again_comes_back() {
    let mut bench =
        Bench::new(&json!({"retention": {"keepLast": 1}, "deregistrationProtection": "EnabledWithCooldown"}), 1);
    bench.own[0].protection = Protection::WithCooldown;
    bench.own[1].protection = Protection::WithCooldown;
    assert_eq!(bench.step().changes, [Change::DoNotProtect(id(2))]);
    assert_eq!(bench.step().retiring, ids(&[2]));
    bench.spec.retention.as_mut().unwrap().keep_last = 2;
    let back = bench.step();
    assert_eq!((back.retiring, back.changes), (ids(&[]), vec![Change::Protect(id(2), true)]));
    assert!(bench.step().changes.is_empty());
}

#[test]
fn a_protected_copy_is_unprotected_once_and_deleted_a_grace_period_later() {
    let mut bench = Bench::new(
        &json!({"retention": {"keepLast": 1, "gracePeriod": "1d"}, "deregistrationProtection": "EnabledWithCooldown"}),
        1,
    );
    bench.own.iter_mut().for_each(|copy| copy.protection = Protection::WithCooldown);
    assert_eq!(bench.step().changes, [Change::DoNotProtect(id(2))]);
    bench.pass(DAY / 2);
    assert_eq!(bench.step().changes, [], "it is not begun anew");
    bench.pass(DAY / 2);
    assert_eq!(bench.step().changes, [Change::Remove(id(2))]);
}

#[test]
fn copies_are_deprecated_to_the_minute_and_not_again() {
    let mut bench = Bench::new(&json!({"deprecateAfter": "180d"}), 1);
    let aged = bench.step();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(
        aged.changes,
        [Change::Deprecate(id(1), at("2027-05-27T12:00:00Z")), Change::Deprecate(id(2), at("2027-02-16T12:00:00Z")),]
    );
    assert!(bench.step().changes.is_empty());
}

#[test]
fn a_copy_whose_time_has_come_is_deprecated_at_once_and_stays_so() {
    let mut bench = Bench::new(&json!({"deprecateAfter": "30d"}), 1);
    let aged = bench.step();
    assert!(matches!(&aged.changes[1], Change::Deprecate(image, at) if *image == id(2) && *at > bench.now));
    for _ in 0..3 {
        bench.pass(40);
        assert!(bench.step().changes.is_empty());
    }
}

#[test]
fn a_public_copy_is_not_deprecated_later_than_aws_lets_it() {
    let mut bench = Bench::new(&json!({"deprecateAfter": "1000d"}), 0);
    bench.own[0].public = true;
    let limit: Timestamp = "2028-11-27T12:00:00Z".parse().unwrap();
    assert_eq!(bench.step().changes, [Change::Deprecate(id(1), limit)]);
}

#[test]
fn what_is_no_longer_in_the_spec_is_taken_back_and_what_others_have_set_stays() {
    let mut bench = Bench::new(&json!({"deprecateAfter": "180d", "deregistrationProtection": "Enabled"}), 1);
    bench.step();
    let theirs = bench.now + SignedDuration::from_hours(24);
    bench.own[1].deprecated = Some(theirs);
    (bench.spec.deprecate_after, bench.spec.deregistration_protection) = (None, None);
    let aged = bench.step();
    let wanted = [Change::DoNotDeprecate(id(1)), Change::DoNotProtect(id(1)), Change::DoNotProtect(id(2))];
    assert_eq!(aged.changes, wanted);
    assert!(bench.step().changes.is_empty());
    bench.own[0].protection = Protection::Plain;
    assert!(bench.step().changes.is_empty(), "somebody else protects it");
}

#[test]
fn copies_of_others_and_of_other_targets_and_failed_ones_are_nobodys_to_age() {
    let mut bench = Bench::new(
        &json!({"retention": {"keepLast": 1}, "deprecateAfter": "1d", "deregistrationProtection": "Enabled"}),
        3,
    );
    bench.own.iter_mut().for_each(|copy| copy.id = id(copy.id.as_str().len() as u64 * 1000 + 7));
    bench.own[0].tags.insert(super::super::marks::DISTRIBUTION.into(), "another".into());
    bench.own[1].tags.insert(super::super::marks::TARGET.into(), "us".into());
    bench.own[2].state = "failed".into();
    bench.own[3].state = "pending".into();
    assert!(bench.decide().changes.is_empty());
}

fn arb_copy() -> impl Strategy<Value = (u64, bool, bool, bool, u8)> {
    (0..400_u64, any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8)
}

proptest! {
    /// Whatever there is: the present image and the newest others stay, nothing goes that is used or too young, nothing goes in one
    /// stage, and it comes to rest.
    #[test]
    fn nothing_goes_that_must_stay(
        copies in prop::collection::vec(arb_copy(), 0..12),
        keep_last in 1..5_i64,
        keep_for in prop::option::of(0..300_u64),
    ) {
        let mut bench = Bench::new(&json!({"retention": {"keepLast": keep_last, "gracePeriod": "1d"}}), copies.len() as u64);
        bench.spec.retention.as_mut().unwrap().keep_for = keep_for.map(Age::days);
        for (index, (days, instances, foreign, launched, protection)) in copies.iter().enumerate() {
            let number = index as u64 + 2;
            let copy = &mut bench.own[index + 1];
            copy.created = Some(now() - SignedDuration::from_hours(24 * i64::try_from(*days).unwrap()));
            copy.launched = launched.then(now);
            copy.protection = if *protection == 0 { Protection::Plain } else { Protection::Off };
            bench.used(&id(number), |used| {
                used.has_instances = *instances;
                used.held = if *foreign { ["444455556666".parse().unwrap()].into() } else { BTreeSet::new() };
            });
        }
        let mut newest: Vec<(u64, u64)> =
            copies.iter().enumerate().map(|(index, copy)| (copy.0, index as u64 + 2)).collect();
        newest.sort_unstable();
        let must_stay: BTreeSet<ImageId> = newest.iter().take(usize::try_from(keep_last).unwrap() - 1).map(|(_, n)| id(*n)).collect();
        let mut retired = BTreeSet::new();
        for half_days in 0..6_u64 {
            let aged = bench.step();
            for change in &aged.changes {
                let Change::Remove(image) = change else { panic!("{change:?}") };
                prop_assert!(retired.contains(image), "in one stage");
            }
            for image in &aged.retiring {
                let index = usize::from_str_radix(&image.as_str()[4..], 16).unwrap() - 2;
                let (days, instances, foreign, launched, protection) = copies[index];
                prop_assert!(*image != id(1) && !must_stay.contains(image));
                prop_assert!(!(instances || foreign || launched || protection == 0));
                prop_assert!(keep_for.is_none_or(|keep_for| days + half_days / 2 >= keep_for), "too young");
            }
            retired.extend(aged.retiring);
            bench.pass(DAY / 2);
        }
        bench.step();
        prop_assert!(bench.step().changes.is_empty(), "it does not come to rest while no time passes");
    }
}
