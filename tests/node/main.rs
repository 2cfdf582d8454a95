//! The image and the chart where users have them: on a real node, whose kubelet and containerd run the pods.
//!
//! The node is the one that envtest starts, in namespaces of its own, or the cluster of `E2E_KUBECONFIG`. A machine that can have neither
//! skips these tests and says why, unless `AMISHARE_REQUIRE_NODE` is set. They run one after another: there is one node, and the
//! chart has one release on it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod authorities;
mod cluster;
mod configuration;
mod install;
mod leader;
mod mistakes;
mod release;
mod uninstall;
mod upgrade;

#[path = "../it/chart/render.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod render;
#[path = "../it/harness/wait.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod wait;
