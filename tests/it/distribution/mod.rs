//! What a distribution does: copies, shares the copies, follows what changes, and cleans up.

mod accounts;
mod aging;
mod copying;
mod crash;
mod failing;
mod leaving;
mod sharing;
pub mod world;
