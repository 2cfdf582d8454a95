//! AWS: the only place that names the SDK.

pub mod action;
mod bucket;
mod calls;
mod clients;
pub mod copies;
mod described;
pub mod ec2;
mod failed;
pub mod failure;
mod fence;
pub mod grant_name;
mod key_book;
pub mod kms;
mod lanes;
pub mod lifecycle;
mod proof;
pub mod words;

pub use calls::Holds;
pub use clients::{Aws, Services};
pub use copies::Copies;
pub use described::{Company, Freshness};
pub use ec2::Ec2;
pub use kms::Kms;
pub use lifecycle::Lifecycle;
