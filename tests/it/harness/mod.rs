//! What every test needs: a world of its own, on an API server that nearly all of them share.

pub mod actions;
mod cluster;
pub mod plane;
pub mod process;
pub mod python;
pub mod recorder;
mod wait;
pub mod world;

pub use cluster::{cluster, definition_of, kubectl, operators, own_cluster};
pub use wait::{DEADLINE, eventually, number, tell};
pub use world::{Setup, World};
