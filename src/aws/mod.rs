//! AWS: the only place that names the SDK.

pub mod action;
mod bucket;
mod clients;
mod described;
pub mod ec2;
mod failed;
pub mod failure;
mod fence;
mod lanes;
mod proof;
pub mod words;

pub use clients::Aws;
pub use described::{Company, Freshness};
pub use ec2::Ec2;
