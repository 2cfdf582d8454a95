//! A Kubernetes API server in memory, for tests in simulated time: AmiShares, `AmiDistribution`s and events, versions, watches, the
//! deletion of what belongs to what is gone, and trouble on demand.
//!
//! It knows what the operator uses and nothing else; what it knows it does as the real one does, which `conformance` proves by
//! asking both. A real API server serves every test in which simulated time is not the point.

pub mod answer;
mod conformance;
pub mod faults;
mod fields;
mod lists;
mod schema;
mod service;
pub mod state;
mod tests;
pub mod trace;
mod watches;

pub use faults::{Trouble, Verb, Weather};
pub use service::Connection;
pub use state::Kind;
pub use watches::End;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amishare::runtime::clock::Clock;
use serde_json::Value;
use tokio::sync::watch;

use self::{
    answer::Answer,
    faults::Faults,
    state::{Form, Part, SOMEBODY, Stored},
    trace::Served,
    watches::Control,
};

const GROUP: &str = "amishare.dev";
const API_VERSION: &str = "amishare.dev/v1alpha1";

/// Of what kind an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Share,
    Distribution,
}

impl Sort {
    const ALL: [Self; 2] = [Self::Share, Self::Distribution];

    fn kind(self) -> &'static str {
        match self {
            Self::Share => "AmiShare",
            Self::Distribution => "AmiDistribution",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Share => "amishares",
            Self::Distribution => "amidistributions",
        }
    }
}

/// An API server. Clones are the same one.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<()>>,
}

struct State {
    clock: Clock,
    stored: Stored,
    distributions: Stored,
    watches: Control,
    faults: Faults,
    requests: u64,
    served: Vec<Served>,
}

impl State {
    fn of(&mut self, sort: Sort) -> &mut Stored {
        match sort {
            Sort::Share => &mut self.stored,
            Sort::Distribution => &mut self.distributions,
        }
    }

    /// Deletes what belongs to a distribution that is no more. The real garbage collector takes a moment longer.
    fn collect_garbage(&mut self) {
        for (namespace, name) in self.stored.belonging_to_none_of(&self.distributions) {
            self.stored.delete(&namespace, &name);
        }
    }
}

impl Memory {
    /// An API server without objects, whose draws follow from `seed`.
    pub fn new(clock: Clock, seed: u64) -> Self {
        let state = State {
            clock,
            stored: Stored::new(clock, Sort::Share),
            distributions: Stored::new(clock, Sort::Distribution),
            watches: Control::default(),
            faults: Faults::new(seed),
            requests: 0,
            served: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(watch::Sender::new(())) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.send_replace(());
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Somebody on the spot creates an AmiShare: no request, no trouble. The same holds for what follows.
    pub fn create(&self, namespace: &str, object: Value) -> Answer {
        self.at_once(|stored| stored.create(namespace, object))
    }

    /// Changes an AmiShare by a merge patch.
    pub fn patch(&self, namespace: &str, name: &str, patch: &Value) -> Answer {
        self.at_once(|stored| stored.patch(namespace, name, Part::Main, Form::Merge, SOMEBODY, patch))
    }

    /// Changes the status of an AmiShare by a merge patch.
    pub fn patch_status(&self, namespace: &str, name: &str, patch: &Value) -> Answer {
        self.at_once(|stored| stored.patch(namespace, name, Part::Status, Form::Merge, SOMEBODY, patch))
    }

    /// Deletes an AmiShare, or marks it as deleted.
    pub fn delete(&self, namespace: &str, name: &str) -> Answer {
        self.at_once(|stored| stored.delete(namespace, name))
    }

    fn at_once(&self, write: impl FnOnce(&mut Stored) -> Answer) -> Answer {
        let answer = write(&mut self.state().stored);
        self.wake();
        answer
    }

    /// Somebody does something with `AmiDistribution`s, or looks at them.
    pub fn distributions<T>(&self, act: impl FnOnce(&mut Stored) -> T) -> T {
        let mut state = self.state();
        let answer = act(&mut state.distributions);
        state.collect_garbage();
        drop(state);
        self.wake();
        answer
    }

    /// Looks at what is stored.
    pub fn look<T>(&self, look: impl FnOnce(&Stored) -> T) -> T {
        look(&self.state().stored)
    }

    /// The requests so far, in the order in which they were answered or lost.
    pub fn served(&self) -> Vec<Served> {
        self.state().served.clone()
    }

    /// The same, and forgets them.
    pub fn take_served(&self) -> Vec<Served> {
        std::mem::take(&mut self.state().served)
    }

    /// The number of requests so far.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }
}
