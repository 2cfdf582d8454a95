//! How long to wait after failures, per object of work.
//!
//! The delay doubles with each failure, up to a limit, and has jitter. A failure counts only when the delay before it had passed:
//! early triggers of a failing object must not make its delay explode (the bug class of kubernetes#132805).

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// The first delay.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_mins(5);

/// The failures in a row of everything that fails.
#[derive(Debug)]
pub struct Backoff<K> {
    failing: HashMap<K, Failing>,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    times: u32,
    until: Instant,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failing: HashMap::new() }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// Notes a failure, and says how long to wait. `jitter` is between 0 and 1.
    pub fn failed(&mut self, key: K, now: Instant, jitter: f64) -> Duration {
        let failing = self.failing.entry(key).or_insert(Failing { times: 0, until: now });
        if failing.until > now {
            return failing.until - now;
        }
        let full = FIRST.saturating_mul(1 << failing.times.min(16)).min(LONGEST);
        failing.times += 1;
        let delay = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        failing.until = now + delay;
        delay
    }

    /// Notes a success: the next failure is the first one again.
    pub fn succeeded(&mut self, key: &K) {
        self.failing.remove(key);
    }

    /// How many are failing.
    pub fn len(&self) -> usize {
        self.failing.len()
    }

    /// Whether nothing is failing.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_limit_and_a_success_resets_it() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..12 {
            let delay = backoff.failed("image", now, 1.0);
            delays.push(delay.as_secs());
            now += delay;
        }
        assert_eq!(delays[..5], [1, 2, 4, 8, 16]);
        assert_eq!(delays[11], LONGEST.as_secs());
        backoff.succeeded(&"image");
        assert_eq!(backoff.failed("image", now, 1.0), FIRST);
    }

    #[test]
    fn a_failure_before_its_time_does_not_lengthen_the_delay() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.failed("image", now, 1.0);
        let early = now + Duration::from_millis(400);
        for _ in 0..10 {
            assert_eq!(backoff.failed("image", early, 1.0), Duration::from_millis(600));
        }
    }
}
