//! Logs: text for a person at a terminal, JSON for everything else.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, prelude::*};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `filter` is a level, or directives such as `info,amishare=debug`.
///
/// # Errors
/// When the filter cannot be read, or logging has been started before.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter: EnvFilter = filter.parse()?;
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    // At that level the AWS SDK prints what it sends, external ids included, whatever is asked for.
    let harmless = filter_fn(|of| !(*of.level() == Level::TRACE && of.target().starts_with("aws_")));
    if json {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(std::io::stderr).with_filter(harmless)).try_init()?;
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let layer = fmt::layer().with_target(false).with_ansi(colours).with_writer(std::io::stderr);
        registry.with(layer.with_filter(harmless)).try_init()?;
    }
    Ok(())
}
