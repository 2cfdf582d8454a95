//! The binary itself, as a process: its help, its answers, its logs, and how it ends.

mod cli;
mod isolation;
mod probes;
mod secrets;
mod stopping;
