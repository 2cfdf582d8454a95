//! What can befall a request, and what decides it.

use std::{fmt, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::Memory;

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is lost on its way, and the connection breaks.
    LostBefore,
    /// It takes effect, and the connection breaks instead of an answer.
    LostAfter,
    /// It is lost on its way, and nobody ever hears of it.
    NeverAnswered,
    /// It takes effect and is answered this much later, whether somebody still waits for that or not.
    Late(Duration),
    /// It is refused with this code, and has no effect.
    Refused(u16),
    /// Somebody else writes the object just before.
    Overtaken,
}

/// A request, as far as it decides what befalls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number among the requests of all connections, from 1.
    pub number: u64,
    /// The name of the connection.
    pub connection: String,
    /// What it wants.
    pub verb: Verb,
    /// Without the query.
    pub path: String,
    /// The name of the object, where the path has one.
    pub name: Option<String>,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    List,
    Watch,
    Get,
    Patch,
    PatchStatus,
    Create,
    CreateEvent,
    Delete,
}

impl Verb {
    /// Whether the request changes an AmiShare.
    pub fn writes(self) -> bool {
        matches!(self, Self::Patch | Self::PatchStatus | Self::Create | Self::Delete)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.verb, self.path)
    }
}

/// Decides what befalls each request. Asked once for each, in the order in which they come.
pub type Fate = Arc<dyn Fn(&Asked) -> Option<Trouble> + Send + Sync>;

/// Trouble that befalls some requests for some time.
#[derive(Clone, Debug)]
pub struct Weather {
    /// What.
    pub trouble: Trouble,
    /// Which requests.
    pub verbs: &'static [Verb],
    /// How many of them, between 0 and 1.
    pub chance: f64,
    /// Until when.
    pub until: Instant,
}

/// What befalls requests by chance.
pub(super) struct Faults {
    chance: StdRng,
    weather: Vec<Weather>,
    fate: Option<Fate>,
    /// The longest that a request or its answer is on its way.
    pub(super) latency: Duration,
    /// How old an answer may be where the request allows an old one.
    pub(super) staleness: Duration,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        Self { chance, weather: Vec::new(), fate: None, latency: Duration::ZERO, staleness: Duration::ZERO }
    }

    /// How long a request is on its way. Drawn only where it can be more than nothing.
    pub(super) fn way(&mut self) -> Duration {
        if self.latency.is_zero() { Duration::ZERO } else { self.latency.mul_f64(self.chance.random()) }
    }

    pub(super) fn strike(&mut self, asked: &Asked) -> Option<Trouble> {
        if let Some(trouble) = self.fate.as_ref().and_then(|fate| fate(asked)) {
            return Some(trouble);
        }
        let now = Instant::now();
        self.weather.retain(|weather| weather.until > now);
        let Self { chance, weather, .. } = self;
        let hit = weather.iter().find(|w| w.verbs.contains(&asked.verb) && chance.random_bool(w.chance));
        hit.map(|weather| weather.trouble)
    }
}

impl Memory {
    /// Has trouble befall requests from now on.
    pub fn add_weather(&self, weather: Weather) {
        self.state().faults.weather.push(weather);
    }

    /// Ends all trouble, late watches and old answers, and lets watches that are silent be found dead.
    pub fn clear_weather(&self) {
        let mut state = self.state();
        state.faults.weather.clear();
        state.faults.fate = None;
        state.faults.staleness = Duration::ZERO;
        drop(state);
        self.delay_watches(Duration::ZERO);
    }

    /// Lets somebody else decide what befalls each request first.
    pub fn set_fate(&self, fate: Fate) {
        self.state().faults.fate = Some(fate);
    }

    /// Lets requests and answers be on their way for up to this long.
    pub fn set_latency(&self, latency: Duration) {
        self.state().faults.latency = latency;
    }

    /// Answers lists that need not be new as they were this long ago.
    pub fn set_staleness(&self, staleness: Duration) {
        self.state().faults.staleness = staleness;
    }
}
