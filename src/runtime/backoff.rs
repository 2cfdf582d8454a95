//! How long to wait after failures, per object of work.
//!
//! The delay doubles with each failure, up to a limit, and has jitter. A failure counts only when the delay before it had passed:
//! early triggers of a failing object must not make its delay explode (the bug class of kubernetes#132805).

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// How soon it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Something is broken: after a second at first, and every five minutes in the end.
    Slow,
    /// Somebody else was faster, and the next try probably goes well: at once at first. Who loses again and again has to let others
    /// go first: every 25 seconds in the end.
    Fast,
}

impl Pace {
    const fn first(self) -> Duration {
        match self {
            Self::Slow => Duration::from_secs(1),
            Self::Fast => Duration::from_millis(50),
        }
    }
}

/// How often a delay doubles.
const DOUBLINGS: u32 = 9;
/// The longest delay.
const LONGEST: Duration = Duration::from_mins(5);

/// The failures in a row of everything that fails.
#[derive(Debug)]
pub struct Backoff<K> {
    failing: HashMap<K, Failing>,
}

/// The failures in a row of each pace. They are counted apart: who was overtaken while something is broken does not wait for that.
#[derive(Debug, Clone, Copy, Default)]
struct Failing {
    slow: Row,
    fast: Row,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    times: u32,
    until: Option<Instant>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failing: HashMap::new() }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// Notes a failure, and says how long to wait. `jitter` is between 0 and 1.
    pub fn failed(&mut self, key: K, pace: Pace, now: Instant, jitter: f64) -> Duration {
        let failing = self.failing.entry(key).or_default();
        let row = match pace {
            Pace::Slow => &mut failing.slow,
            Pace::Fast => &mut failing.fast,
        };
        if let Some(until) = row.until.filter(|until| *until > now) {
            return until - now;
        }
        let full = pace.first().saturating_mul(1 << row.times.min(DOUBLINGS)).min(LONGEST);
        row.times += 1;
        let delay = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        row.until = Some(now + delay);
        delay
    }

    /// Notes a success: the next failure is the first one again.
    pub fn succeeded(&mut self, key: &K) {
        self.failing.remove(key);
    }

    /// How many have failed, or were overtaken, the last time.
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
            let delay = backoff.failed("image", Pace::Slow, now, 1.0);
            delays.push(delay.as_secs());
            now += delay;
        }
        assert_eq!(delays[..5], [1, 2, 4, 8, 16]);
        assert_eq!(delays[11], LONGEST.as_secs());
        backoff.succeeded(&"image");
        assert_eq!(backoff.failed("image", Pace::Slow, now, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn a_failure_before_its_time_does_not_lengthen_the_delay() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.failed("image", Pace::Slow, now, 1.0);
        let early = now + Duration::from_millis(400);
        for _ in 0..10 {
            assert_eq!(backoff.failed("image", Pace::Slow, early, 1.0), Duration::from_millis(600));
        }
    }

    #[test]
    fn who_is_overtaken_tries_again_at_once_but_not_for_ever() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let delays: Vec<_> = (0..12)
            .map(|_| {
                let delay = backoff.failed("image", Pace::Fast, now, 1.0);
                now += delay;
                delay.as_millis()
            })
            .collect();
        assert_eq!(delays[..4], [50, 100, 200, 400]);
        assert_eq!(delays[11], 25_600);
    }

    #[test]
    fn who_is_overtaken_while_something_is_broken_does_not_wait_for_that() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.failed("image", Pace::Slow, now, 1.0);
        assert_eq!(backoff.failed("image", Pace::Fast, now, 1.0), Duration::from_millis(50));
        assert_eq!(backoff.len(), 1);
    }
}
