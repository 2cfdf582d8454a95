//! `AmiDistribution`: from a spec to copies in AWS and one AmiShare for each.
//!
//! Data flows one way: watch, observe, plan (pure), apply, status (pure), patch. Nothing here sets a permission: AmiShares do, those
//! of the copies, and those that open the source to another account for as long as a copy takes.

pub mod aging;
pub mod apply;
pub mod berths;
pub mod children;
pub mod controller;
mod family;
mod leave;
mod look;
pub mod marks;
pub mod mirror;
pub mod observe;
pub mod plan;
pub mod reconcile;
pub mod status;
mod tell;
pub mod template;
pub mod writer;
