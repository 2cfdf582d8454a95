//! Leader election: of several operators on one cluster, one works and the others stand by.
//!
//! [`state`] decides, and does nothing else: a state machine without clock and network, which `model` checks against every order of
//! events. [`elector`] carries out what it says, against a `Lease` of the API server. [`permit`] is what the rest of the
//! operator sees of it: every write asks it first. What is guaranteed and what is not is in docs/adr/0015.

pub mod elector;
#[cfg(all(test, feature = "model"))]
mod model;
pub mod permit;
pub mod state;

pub use elector::{Elector, Ended, Ground};
pub use permit::{NotLeading, WritePermit};
pub use state::Terms;
