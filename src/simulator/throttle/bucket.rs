//! One token bucket: arithmetic, and nothing of whose it is.

use tokio::time::Instant;

/// As good as a whole token. The sum of ten times 0.1 falls short of 1 by rounding, and a caller that keeps exactly to the
/// refill rate must not be refused for that. It is what a bucket of 20 tokens per second gets in 50 nanoseconds.
const WHOLE: f64 = 1.0 - 1e-6;

/// A bucket that holds tokens up to its capacity, gets new ones all the time, and may be drained by others all the time.
#[derive(Debug)]
pub(in crate::simulator) struct Bucket {
    capacity: f64,
    /// In tokens per second.
    refill: f64,
    /// In tokens per second.
    drain: f64,
    tokens: f64,
    /// When `tokens` was right.
    settled: Instant,
}

impl Bucket {
    /// A full bucket that nobody else drains.
    pub(super) fn full(capacity: u32, refill_per_second: f64, now: Instant) -> Self {
        let capacity = f64::from(capacity);
        Self { capacity, refill: refill_per_second, drain: 0.0, tokens: capacity, settled: now }
    }

    /// Brings the bucket up to date.
    pub(super) fn settle(&mut self, now: Instant) {
        // Instants from outside of a runtime with paused time can be ahead of those inside; then no time has passed.
        let elapsed = now.saturating_duration_since(self.settled).as_secs_f64();
        self.tokens = (self.tokens + (self.refill - self.drain) * elapsed).clamp(0.0, self.capacity);
        self.settled = now;
    }

    /// From now on others take this many tokens per second, as far as there are any.
    pub(super) fn set_drain(&mut self, tokens_per_second: f64, now: Instant) {
        self.settle(now);
        self.drain = tokens_per_second;
    }

    /// Whether a call would get its token.
    pub(in crate::simulator) fn has_token(&self) -> bool {
        self.tokens >= WHOLE
    }

    /// Gives a call its token.
    pub(in crate::simulator) fn take(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}
