//! Sharing images: from the claims on an image to the permissions in AWS, and back to the objects' status.
//!
//! Data flows one way, and each arrow is a type:
//! watch → claims → [`observe`] → `Observed` → [`plan`] (pure) → `Plan` → [`apply`] → `Outcome` → [`status`] (pure) → patch.

pub mod apply;
pub mod claim;
mod claimant;
pub mod controller;
mod due;
mod elsewhere;
pub mod granted;
pub mod key_policy;
pub mod keys;
pub mod live;
pub mod locks;
pub mod narrow;
pub mod notices;
pub mod observe;
pub mod observed;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod refused;
mod report;
pub mod select;
pub mod settle;
pub mod status;
pub mod store;
pub mod writer;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
