//! The time of day, from one place.
//!
//! It follows tokio's clock, so that the controller can run in simulated time.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that was set once and goes on with tokio's time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    set_to: Timestamp,
    at: Instant,
}

impl Clock {
    /// A clock that shows the time of day.
    pub fn wall() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place where the time of day is read")]
        Self::set_to(Timestamp::now())
    }

    /// A clock that shows `time` now.
    pub fn set_to(time: Timestamp) -> Self {
        Self { set_to: time, at: Instant::now() }
    }

    /// The time that the clock shows.
    pub fn now(&self) -> Timestamp {
        let gone = SignedDuration::try_from(self.at.elapsed()).unwrap_or(SignedDuration::MAX);
        self.set_to.checked_add(gone).unwrap_or(Timestamp::MAX)
    }
}
