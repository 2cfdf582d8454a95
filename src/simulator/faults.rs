//! Faults on demand: which calls go wrong, and how. Decides; the server and the connector carry it out.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize};

use super::wildcard;

/// A fault, and the calls that it befalls. Of several faults that match a call, the first one acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// Only calls of this action; `*` stands for any characters (`Describe*`). Absent: every action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only calls that this account makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only calls to this Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// This many matching calls are let through first.
    #[serde(default)]
    pub skip: u32,
    /// At most this many calls are hit. Absent: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Each matching call is hit with this probability, between 0 and 1; the draws follow from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// The call takes effect, and its answer's headers come this much later.
    Delay {
        /// How much.
        milliseconds: u64,
    },
    /// The call takes effect; headers and half of the body come, and then nothing more.
    #[serde(deserialize_with = "nothing_more")]
    Stall,
    /// The connection is reset, and the call has no effect.
    #[serde(deserialize_with = "nothing_more")]
    ResetBefore,
    /// The call takes effect, and the connection is reset instead of an answer.
    #[serde(deserialize_with = "nothing_more")]
    ResetAfter,
    /// `RequestLimitExceeded` 503 from EC2, `Throttling` 400 from STS; no effect.
    #[serde(deserialize_with = "nothing_more")]
    Throttle,
    /// A 5xx; no effect.
    ServerError {
        /// The HTTP status; 500 when absent.
        #[serde(default = "internal_error")]
        status: u16,
        /// Whether the body is a web page without an error code, as load balancers send it.
        #[serde(default)]
        html: bool,
    },
    /// `UnauthorizedOperation` 403 from EC2, `AccessDenied` 403 from STS; no effect.
    #[serde(deserialize_with = "nothing_more")]
    AccessDenied,
    /// Any other error; no effect.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
        /// The text.
        #[serde(default)]
        message: String,
    },
}

/// The rest of a kind that is only a name. Without this, serde would ignore whatever else is written there.
fn nothing_more<'de, D: Deserializer<'de>>(rest: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(rest).map(|Nothing {}| ())
}

fn internal_error() -> u16 {
    500
}

impl FaultKind {
    /// The name of the fault, as in the scenario file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Stall => "stall",
            Self::ResetBefore => "resetBefore",
            Self::ResetAfter => "resetAfter",
            Self::Throttle => "throttle",
            Self::ServerError { .. } => "serverError",
            Self::AccessDenied => "accessDenied",
            Self::Error { .. } => "error",
        }
    }

    /// How long [`FaultKind::Delay`] keeps the answer back.
    pub(super) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Delay { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }
}

impl Fault {
    /// The fault for every call.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, action: None, account: None, region: None, skip: 0, count: None, probability: None }
    }

    /// Only calls of this action; `*` stands for any characters.
    #[must_use]
    pub fn on(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Only calls that this account makes.
    #[must_use]
    pub fn by(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Only calls to this Region.
    #[must_use]
    pub fn in_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Lets this many matching calls through first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Hits at most this many calls.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }

    /// Hits each matching call with this probability.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    fn matches(&self, account: &str, region: &str, action: &str) -> bool {
        self.account.as_deref().is_none_or(|wanted| wanted == account)
            && self.region.as_deref().is_none_or(|wanted| wanted == region)
            && self.action.as_deref().is_none_or(|wanted| wildcard::matches(wanted, action))
    }
}

/// A fault and how far it has come.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    /// Each fault draws from its own source, so that the draws of one do not depend on the calls that others see.
    draws: StdRng,
}

/// The faults that are in force.
#[derive(Debug)]
pub(super) struct Faults {
    seed: u64,
    added: u64,
    armed: Vec<Armed>,
}

impl Faults {
    /// No faults yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, added: 0, armed: Vec::new() }
    }

    /// Puts another fault in force, after the ones that are.
    pub(super) fn add(&mut self, fault: Fault) {
        let draws = StdRng::seed_from_u64(self.seed.wrapping_add(self.added));
        self.added += 1;
        self.armed.push(Armed { fault, draws });
    }

    /// Ends all faults.
    pub(super) fn clear(&mut self) {
        self.armed.clear();
    }

    /// What befalls this call, if anything; it counts as one of the fault's calls.
    pub(super) fn strike(&mut self, account: &str, region: &str, action: &str) -> Option<FaultKind> {
        let hit = self.armed.iter_mut().find_map(|armed| {
            let Armed { fault, draws } = armed;
            if fault.count == Some(0) || !fault.matches(account, region, action) {
                return None;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return None;
            }
            // Probabilities from code are not checked like those from files: out of bounds means never or always.
            if !fault.probability.is_none_or(|probability| draws.random_bool(probability.clamp(0.0, 1.0))) {
                return None;
            }
            fault.count = fault.count.map(|left| left - 1);
            Some(fault.kind.clone())
        });
        self.armed.retain(|armed| armed.fault.count != Some(0));
        hit
    }
}
