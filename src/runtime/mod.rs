//! What keeps the process running and observable: clock, chance, work queue, metrics, probes, logs, shutdown.
//!
//! Of AWS and of shares it knows only the words that label metrics.

pub mod agenda;
pub mod backoff;
pub mod clock;
pub mod entropy;
pub mod events;
pub mod health;
pub mod metrics;
pub mod runner;
pub mod shutdown;
pub mod telemetry;
