//! EC2's and KMS's request throttling: which bucket a call takes its token from, and whether there is one. Off unless the scenario or a
//! test switches it on.
//!
//! Buckets follow tokio's clock and not the world's: throttling is about how fast calls come, whatever time the world thinks
//! it is, and tokio's clock can be paused.

mod bucket;
mod documented;

pub(super) use bucket::Bucket;
pub(super) use documented::bucket_names;

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::params::Params;
use super::scenario::{ForeignLoad, Throttling};
use documented::{bucket_name, size_of};

/// Each account has a bucket for each API in each Region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    account: String,
    region: String,
    /// The name of the API, for most of them (see [`bucket_name`]).
    name: String,
}

impl Key {
    fn of(load: &ForeignLoad) -> Self {
        Self { account: load.account.clone(), region: load.region.clone(), name: load.action.clone() }
    }
}

/// The buckets of every account.
#[derive(Debug)]
pub(super) struct Throttle {
    rules: Throttling,
    /// Those that have been asked for. Any other is full, for who drains one is here: callers, and foreign load.
    buckets: BTreeMap<Key, Bucket>,
}

impl Throttle {
    /// Full buckets by these rules.
    pub(super) fn new(mut rules: Throttling) -> Self {
        let load = std::mem::take(&mut rules.foreign_load);
        let mut throttle = Self { rules, buckets: BTreeMap::new() };
        throttle.set_foreign_load(load);
        throttle
    }

    /// Replaces the foreign load from now on. The buckets keep what is in them.
    pub(super) fn set_foreign_load(&mut self, load: Vec<ForeignLoad>) {
        let now = Instant::now();
        for bucket in self.buckets.values_mut() {
            bucket.set_drain(0.0, now);
        }
        let mut drains: BTreeMap<Key, f64> = BTreeMap::new();
        for one in load.iter().filter(|_| self.rules.enabled) {
            *drains.entry(Key::of(one)).or_default() += one.calls_per_second;
        }
        for (key, drain) in drains {
            self.at(key, now).set_drain(drain, now);
        }
        self.rules.foreign_load = load;
    }

    /// The bucket that a call of this action, which is one of EC2 or KMS, takes its token from; none while throttling is off.
    pub(super) fn bucket(&mut self, account: &str, region: &str, action: &str, params: &Params) -> Option<&mut Bucket> {
        if !self.rules.enabled {
            return None;
        }
        let name = bucket_name(action, params).to_owned();
        let now = Instant::now();
        let bucket = self.at(Key { account: account.to_owned(), region: region.to_owned(), name }, now);
        bucket.settle(now);
        Some(bucket)
    }

    fn at(&mut self, key: Key, now: Instant) -> &mut Bucket {
        let Self { rules, buckets } = self;
        buckets.entry(key).or_insert_with_key(|key| {
            let (capacity, refill_per_second) = size_of(&key.name, &rules.buckets);
            Bucket::full(capacity, refill_per_second, now)
        })
    }
}
