//! amishare: a Kubernetes operator that shares golden AMIs.
pub mod api;
mod yaml;
