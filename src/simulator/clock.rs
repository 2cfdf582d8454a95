//! The time of the simulated world. The only place of the simulator that may ask the machine for the time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The clock as the scenario file states it. Without any field the world runs in real time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockScenario {
    /// Time stands still at this instant, until [`Clock::advance`] moves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Timestamp>,
    /// Time runs, this much ahead of the machine's clock (`PT90M`; negative for behind: `-PT24H`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<SignedDuration>,
}

/// Where the world takes its time from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Runs with the machine's clock, shifted.
    Running {
        /// How far the world is ahead of the machine.
        ahead: SignedDuration,
    },
    /// Stands still.
    Fixed(Timestamp),
    /// Runs with tokio's clock, which can be simulated.
    Following {
        /// What it showed at first.
        from: Timestamp,
        /// When that was.
        since: Instant,
    },
}

impl Clock {
    /// The instant that the world is at. Saturates at the ends of representable time, which no scenario comes near.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Running { ahead } => saturating_add(machine_time(), *ahead),
            Self::Fixed(instant) => *instant,
            Self::Following { from, since } => {
                saturating_add(*from, SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX))
            }
        }
    }

    /// Moves the world forward; a running clock goes on running from there.
    pub fn advance(&mut self, by: SignedDuration) {
        match self {
            Self::Running { ahead } => *ahead = ahead.saturating_add(by),
            Self::Fixed(instant) | Self::Following { from: instant, .. } => *instant = saturating_add(*instant, by),
        }
    }
}

impl From<&ClockScenario> for Clock {
    fn from(scenario: &ClockScenario) -> Self {
        match scenario.fixed {
            Some(instant) => Self::Fixed(instant),
            None => Self::Running { ahead: scenario.offset.unwrap_or(SignedDuration::ZERO) },
        }
    }
}

/// Adds without panicking; jiff's own `saturating_add` can still fail for calendar units, which a duration has not.
pub(super) fn saturating_add(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(instant)
}

/// The form of most of EC2's timestamps: UTC, and milliseconds that are always zero (aws.md section 1.2).
pub(super) fn ec2_time(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

#[allow(
    clippy::disallowed_methods,
    reason = "the simulated world is its own clock; the controller's is not in reach here"
)]
fn machine_time() -> Timestamp {
    Timestamp::now()
}
