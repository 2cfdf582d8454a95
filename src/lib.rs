//! amishare: a Kubernetes operator that shares golden AMIs.
//!
//! [`api`] is what users write, [`share`] turns it into changes of AWS, [`aws`] is the only place that names the AWS SDK,
//! [`config`] is the operator's configuration file, [`lease`] lets one replica at a time work, [`runtime`] keeps the process running, [`cli`] puts it together. ARCHITECTURE.md has
//! the picture.

// The support of the tests names the crate so, because the integration tests share it.
#[cfg(test)]
extern crate self as amishare;

pub mod api;
pub mod aws;
pub mod cli;
pub mod config;
pub mod distribution;
pub mod lease;
pub mod planted;
pub mod runtime;
pub mod share;
#[cfg(feature = "simulator")]
pub mod simulator;
mod yaml;
