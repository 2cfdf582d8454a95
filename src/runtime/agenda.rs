//! What is to be done when, and in which order: the runner's book of work.
//!
//! Pure: `now` is an argument, and equal histories give equal answers, so that a run in simulated time can be repeated. (kube's
//! scheduler picks among what is due in the order of a hash map, and knows no urgency; docs/adr/0011.)

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use tokio::time::Instant;

/// What goes first when not everything can be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody has access that he should not have any more.
    Take,
    /// Somebody waits for access, or for an answer.
    Give,
    /// A look whether everything is still as it should be.
    Check,
}

/// Where a piece of work belongs: lanes do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<L> {
    /// The lane.
    pub lane: L,
    /// Its place in the lane.
    pub urgency: Urgency,
}

/// A piece of work that may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun<K> {
    /// What is to be worked on.
    pub key: K,
    /// The latest instant for which it was asked for: what was seen before is not news to it.
    pub asked: Instant,
}

#[derive(Debug)]
struct Lane<K> {
    ready: BTreeMap<(Urgency, u64), K>,
    under_way: usize,
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { ready: BTreeMap::new(), under_way: 0 }
    }
}

#[derive(Debug)]
struct Ready<L> {
    place: Place<L>,
    number: u64,
    asked: Instant,
}

/// The book.
#[derive(Debug)]
pub struct Agenda<K, L> {
    /// How many pieces of work of one lane may be under way at once.
    concurrency: usize,
    /// What comes due, in the order of time; what was asked for first comes first.
    timed: BTreeMap<(Instant, u64), K>,
    /// When each key comes due.
    due: HashMap<K, (Instant, u64)>,
    lanes: BTreeMap<L, Lane<K>>,
    ready: HashMap<K, Ready<L>>,
    /// What is under way, and in which lane.
    under_way: HashMap<K, L>,
    /// What has come due while it is under way.
    again: HashMap<K, Instant>,
    /// Lanes in which something may begin, which have not been looked through yet.
    open: Vec<L>,
    next: u64,
}

impl<K, L> Agenda<K, L>
where
    K: Hash + Eq + Clone,
    L: Ord + Clone,
{
    /// A book in which `concurrency` pieces of work of each lane may be under way at once.
    pub fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            timed: BTreeMap::new(),
            due: HashMap::new(),
            lanes: BTreeMap::new(),
            ready: HashMap::new(),
            under_way: HashMap::new(),
            again: HashMap::new(),
            open: Vec::new(),
            next: 0,
        }
    }

    /// Asks for work on `key` at an instant. Of several requests for one key the earliest counts.
    pub fn ask(&mut self, key: K, at: Instant) {
        if let Some(known) = self.due.get(&key) {
            if known.0 <= at {
                return;
            }
            self.timed.remove(known);
        }
        let entry = (at, self.number());
        self.due.insert(key.clone(), entry);
        self.timed.insert(entry, key);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// When the next key comes due, if one is waiting for its time.
    pub fn next_due(&self) -> Option<Instant> {
        self.timed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Puts whatever is due by `now` into its lane.
    pub fn come_due(&mut self, now: Instant, mut place: impl FnMut(&K) -> Place<L>) {
        while let Some(entry) = self.timed.first_entry()
            && entry.key().0 <= now
        {
            let ((at, _), key) = entry.remove_entry();
            self.due.remove(&key);
            if self.under_way.contains_key(&key) {
                self.again.insert(key, at);
            } else {
                let place = place(&key);
                self.put(key, at, place);
            }
        }
    }

    /// Puts a key into its lane, or moves it there to where it belongs now.
    fn put(&mut self, key: K, asked: Instant, place: Place<L>) {
        let mut number = self.number();
        if let Some(known) = self.ready.remove(&key) {
            let lane = self.lanes.entry(known.place.lane.clone()).or_default();
            lane.ready.remove(&(known.place.urgency, known.number));
            if known.place == place {
                number = known.number;
            }
        }
        let lane = self.lanes.entry(place.lane.clone()).or_default();
        lane.ready.insert((place.urgency, number), key.clone());
        self.open.push(place.lane.clone());
        self.ready.insert(key, Ready { place, number, asked });
    }

    /// The next piece of work that may begin. It counts as under way from now on.
    pub fn begin(&mut self) -> Option<Begun<K>> {
        while let Some(name) = self.open.last() {
            if let Some(lane) = self.lanes.get_mut(name)
                && let Some(first) = lane.ready.first_entry()
                && lane.under_way < room(first.key().0, self.concurrency)
            {
                let key = first.remove();
                lane.under_way += 1;
                self.under_way.insert(key.clone(), name.clone());
                // It was put there with its place.
                let asked = self.ready.remove(&key).map_or_else(Instant::now, |ready| ready.asked);
                return Some(Begun { key, asked });
            }
            self.open.pop();
        }
        None
    }

    /// A piece of work has ended.
    pub fn ended(&mut self, key: &K, place: impl FnOnce(&K) -> Place<L>) {
        let Some(name) = self.under_way.remove(key) else { return };
        if let Some(lane) = self.lanes.get_mut(&name) {
            lane.under_way -= 1;
            if lane.under_way == 0 && lane.ready.is_empty() {
                self.lanes.remove(&name);
            }
        }
        self.open.push(name);
        if let Some(asked) = self.again.remove(key) {
            let place = place(key);
            self.put(key.clone(), asked, place);
        }
    }

    /// How many pieces of work are under way.
    pub fn count_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// How many pieces of work are due and wait for room in their lanes.
    pub fn count_ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether nothing is due, waits for its time, or is under way.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.due.is_empty() && self.under_way.is_empty()
    }
}

/// How much of a lane work of this urgency may fill: checks never keep those out who wait for access, and neither of them keeps
/// out who takes access away.
fn room(urgency: Urgency, concurrency: usize) -> usize {
    let quarter = concurrency / 4;
    match urgency {
        Urgency::Take => concurrency,
        Urgency::Give => (concurrency - quarter).max(1),
        Urgency::Check => (concurrency - 2 * quarter).max(1),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use proptest::prelude::*;

    use super::*;

    const CHECK: Place<&str> = Place { lane: "one", urgency: Urgency::Check };

    fn begun(agenda: &mut Agenda<u32, &'static str>) -> Vec<u32> {
        std::iter::from_fn(|| agenda.begin().map(|begun| begun.key)).collect()
    }

    #[test]
    fn what_is_asked_for_twice_is_done_once_at_the_earlier_time() {
        let (mut agenda, now) = (Agenda::new(8), Instant::now());
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
        agenda.ask(1, later);
        agenda.ask(1, soon);
        agenda.ask(1, later);
        assert_eq!(agenda.next_due(), Some(soon));
        agenda.come_due(now, |_| CHECK);
        assert_eq!(begun(&mut agenda), [0u32; 0]);
        agenda.come_due(soon, |_| CHECK);
        assert_eq!(begun(&mut agenda), [1]);
        agenda.ended(&1, |_| CHECK);
        assert!(agenda.is_empty());
    }

    #[test]
    fn who_loses_access_goes_before_who_gains_it_and_both_before_checks() {
        let (mut agenda, now) = (Agenda::new(64), Instant::now());
        let urgency = |key: &u32| match key {
            1..=3 => Urgency::Check,
            4 => Urgency::Give,
            _ => Urgency::Take,
        };
        (1..=5).for_each(|key| agenda.ask(key, now));
        agenda.come_due(now, |key| Place { lane: "one", urgency: urgency(key) });
        assert_eq!(begun(&mut agenda), [5, 4, 1, 2, 3]);
    }

    #[test]
    fn checks_leave_room_for_those_who_wait_and_nobody_keeps_out_who_takes_access_away() {
        let (mut agenda, now) = (Agenda::new(4), Instant::now());
        let place = |urgency| move |_: &u32| Place { lane: "one", urgency };
        (0..9).for_each(|key| agenda.ask(key, now));
        agenda.come_due(now, place(Urgency::Check));
        assert_eq!(begun(&mut agenda), [0, 1]);
        (10..19).for_each(|key| agenda.ask(key, now));
        agenda.come_due(now, place(Urgency::Give));
        assert_eq!(begun(&mut agenda), [10]);
        (20..29).for_each(|key| agenda.ask(key, now));
        agenda.come_due(now, place(Urgency::Take));
        assert_eq!(begun(&mut agenda), [20]);
    }

    #[test]
    fn a_full_lane_holds_back_no_other() {
        let (mut agenda, now) = (Agenda::new(1), Instant::now());
        (0..6).for_each(|key| agenda.ask(key, now));
        let lanes = ["one", "two", "three"];
        agenda.come_due(now, |key| Place { lane: lanes[*key as usize % 3], urgency: Urgency::Give });
        let mut first = begun(&mut agenda);
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
        agenda.ended(&1, |_| CHECK);
        assert_eq!(begun(&mut agenda), [4]);
    }

    #[test]
    fn what_has_become_urgent_while_it_waited_overtakes() {
        let (mut agenda, now) = (Agenda::new(64), Instant::now());
        (0..3).for_each(|key| agenda.ask(key, now));
        agenda.come_due(now, |_| CHECK);
        agenda.ask(2, now);
        agenda.come_due(now, |_| Place { lane: "one", urgency: Urgency::Take });
        assert_eq!(begun(&mut agenda), [2, 0, 1]);
    }

    proptest! {
        /// Nothing is lost, nothing is done twice at once, and no lane holds more than it may, whatever the order.
        #[test]
        fn everything_that_is_asked_for_is_done(
            steps in prop::collection::vec((0u32..12, 0u64..5, any::<bool>()), 1..200), concurrency in 1usize..5,
        ) {
            let (mut agenda, mut now) = (Agenda::new(concurrency), Instant::now());
            let place = |key: &u32| Place {
                lane: key % 3,
                urgency: [Urgency::Take, Urgency::Give, Urgency::Check][(*key as usize / 3) % 3],
            };
            // When each key comes due, and what is due.
            let (mut timed, mut due, mut running) = (HashMap::<u32, Instant>::new(), HashSet::new(), Vec::new());
            for (key, delay, ends) in steps {
                let at = now + Duration::from_secs(delay);
                agenda.ask(key, at);
                timed.entry(key).and_modify(|known| *known = (*known).min(at)).or_insert(at);
                now += Duration::from_millis(700);
                agenda.come_due(now, place);
                due.extend(timed.extract_if(|_, at| *at <= now).map(|(key, _)| key));
                while let Some(Begun { key, asked }) = agenda.begin() {
                    prop_assert!(!running.contains(&key));
                    prop_assert!(asked <= now);
                    prop_assert!(due.remove(&key));
                    running.push(key);
                    for lane in 0..3 {
                        prop_assert!(running.iter().filter(|key| **key % 3 == lane).count() <= concurrency);
                    }
                }
                if ends && !running.is_empty() {
                    agenda.ended(&running.remove(0), place);
                }
            }
            now += Duration::from_secs(10);
            due.extend(timed.into_keys());
            for _ in 0..100 {
                agenda.come_due(now, place);
                while let Some(Begun { key, .. }) = agenda.begin() {
                    prop_assert!(due.remove(&key));
                    running.push(key);
                }
                for key in running.drain(..) {
                    agenda.ended(&key, place);
                }
            }
            prop_assert!(due.is_empty(), "{due:?}");
            prop_assert!(agenda.is_empty());
        }
    }
}
