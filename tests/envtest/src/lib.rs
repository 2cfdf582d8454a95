//! A real Kubernetes API server for tests and the demo.
//!
//! [`assets`] finds etcd, kube-apiserver, kube-controller-manager and kubectl, and [`helm`] helm, or builds them once into a
//! cache outside the checkout. [`ControlPlane::start`] runs them on free ports with fresh data and credentials. Nothing survives the
//! process that holds the [`ControlPlane`], however that process ends: see `supervisor.rs`. [`node::Node`] is a whole cluster with a real
//! node, on which pods run.

mod assets;
mod cache;
mod certificates;
mod control_plane;
mod files;
mod go;
mod kubeconfig;
pub mod node;
mod ports;
mod servers;
mod supervisor;

pub use assets::{Assets, assets, helm};
pub use cache::cache_dir;
pub use control_plane::ControlPlane;
