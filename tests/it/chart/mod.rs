//! The Helm chart: what it renders, what it refuses, and what it does on a real API server with the real helm.

mod install;
mod monitoring;
pub mod render;
mod secure;
mod values;
mod written;
