//! AWS: the only place that names the SDK.

mod batch;
mod clients;
pub mod ec2;
pub mod failure;
pub mod words;

pub use clients::Aws;
pub use ec2::Ec2;
