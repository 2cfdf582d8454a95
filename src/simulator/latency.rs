//! How much later than at once answers are given.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The wait before every answer. The server and the connector do the waiting; calls take effect before it.
#[derive(Debug)]
pub(super) struct Latency {
    least: Duration,
    jitter: Duration,
    draws: StdRng,
}

impl Latency {
    /// At least `least`, and up to `jitter` more, by draws that follow from the seed.
    pub(super) fn new(least: Duration, jitter: Duration, seed: u64) -> Self {
        Self { least, jitter, draws: StdRng::seed_from_u64(seed) }
    }

    /// Other waits from now on; the draws go on.
    pub(super) fn set(&mut self, least: Duration, jitter: Duration) {
        (self.least, self.jitter) = (least, jitter);
    }

    /// The wait before the next answer.
    pub(super) fn next(&mut self) -> Duration {
        if self.jitter.is_zero() {
            return self.least;
        }
        self.least.saturating_add(self.jitter.mul_f64(self.draws.random()))
    }
}
