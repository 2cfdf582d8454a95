//! The integration tests: a real API server, the real AWS SDK over real HTTP to the simulator (or moto), real kubectl.
//!
//! One binary, because each one would link the AWS SDK anew. `make test` runs them all; `cargo test --all-features --test it
//! NAME` runs some.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bad_input;
mod calls;
mod chart;
mod claims;
mod clients;
mod crash;
mod deletion;
mod demo;
mod distribution;
mod docs;
mod drift;
mod generated;
mod gitops;
mod guardrails;
mod harness;
mod iam;
mod keys;
mod kustomize;
mod lanes;
mod leader;
mod memory;
mod modes;
mod moto;
mod moving;
mod ownership;
mod process;
mod properties;
mod refusals;
mod schedule;
mod schedules;
mod schema;
mod selecting;
mod sharing;
mod snapshots;
#[allow(dead_code, unreachable_pub)] // The unit tests use the rest.
#[path = "../../src/share/testing/mod.rs"]
mod testing;
