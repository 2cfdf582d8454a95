//! What a distribution does: copies, shares the copies, follows what changes, and cleans up.

mod accounts;
mod aging;
mod any_order;
mod copying;
mod crash;
mod failing;
mod leaving;
mod selecting;
mod sharing;
mod simulated;
mod unreadable;
mod wanted;
pub mod world;
