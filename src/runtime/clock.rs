//! The time of day, from one place.
//!
//! It can follow tokio's clock instead, so that the controller can run in simulated time.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The system's. Read anew each time: it is corrected, and a machine can sleep.
    Wall,
    /// One that was set at an instant, and goes on with tokio's time.
    Set { to: Timestamp, at: Instant },
}

impl Clock {
    /// A clock that shows the time of day.
    pub fn wall() -> Self {
        Self(Kind::Wall)
    }

    /// A clock that shows `time` now.
    pub fn set_to(time: Timestamp) -> Self {
        Self(Kind::Set { to: time, at: Instant::now() })
    }

    /// The time that the clock shows.
    pub fn now(&self) -> Timestamp {
        match self.0 {
            #[allow(clippy::disallowed_methods, reason = "the one place where the time of day is read")]
            Kind::Wall => Timestamp::now(),
            Kind::Set { to, at } => {
                let gone = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
                to.checked_add(gone).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
