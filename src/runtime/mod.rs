//! What keeps the process running and observable: clock, work queue, metrics, probes, logs, shutdown.
//!
//! Knows nothing of AWS and nothing of shares.

pub mod backoff;
pub mod clock;
pub mod health;
pub mod metrics;
pub mod runner;
pub mod shutdown;
pub mod telemetry;
