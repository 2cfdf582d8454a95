//! The operator's configuration file: what it can say, and how it is read (docs/adr/0016).
//!
//! Everything but [`reload`] is pure: a text goes in, and a [`Configuration`] or an error that names line, column and field comes
//! out. What guard rails mean for a share is decided in [`share::policy`](crate::share::policy).

pub mod admission;
mod guardrail;
mod list;
mod namespaces;
pub mod reload;

use std::fmt;

use serde::Deserialize;

pub use guardrail::{Allowed, Guardrail, Principals, RuleName, words};
pub use namespaces::{NamespacePattern, Namespaces};

use crate::yaml::{self, YamlError};

/// The `apiVersion` of the file.
pub const API_VERSION: &str = "config.amishare.dev/v1alpha1";

/// The `kind` of the file.
pub const KIND: &str = "OperatorConfiguration";

/// What the configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What is forbidden where, in the order of the file. Every rule that names a namespace must allow what is done for it.
    pub guardrails: Vec<Guardrail>,
}

/// Why a configuration file cannot be used: `FILE:LINE:COLUMN: FIELD: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    /// Line and column, both from 1, where they are known.
    place: Option<(usize, usize)>,
    message: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl ConfigError {
    fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into() }
    }

    fn of_yaml(file: &str, error: &YamlError) -> Self {
        Self { file: file.to_owned(), place: error.place(), message: error.without_place() }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map that begins with apiVersion and kind")]
struct File {
    #[serde(rename = "apiVersion", deserialize_with = "api_version")]
    _api_version: (),
    #[serde(rename = "kind", deserialize_with = "kind")]
    _kind: (),
    #[serde(default, deserialize_with = "list::named")]
    guardrails: Vec<Guardrail>,
}

fn api_version<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    deserializer.deserialize_str(list::Exactly(API_VERSION))
}

fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    deserializer.deserialize_str(list::Exactly(KIND))
}

/// Reads a configuration file. `file` is its name in errors.
///
/// # Errors
/// When the text is not YAML, or a field is unknown, missing, given twice or not what it should be.
pub fn parse(file: &str, text: &str) -> Result<Configuration, ConfigError> {
    // Comments alone are nothing too. A file that is empty for a moment must not mean that there are no rules.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let message = format!("is empty; begin it with apiVersion: {API_VERSION} and kind: {KIND}");
        return Err(ConfigError::of_file(file, message));
    }
    let File { guardrails, .. } = yaml::from_str(text).map_err(|error| ConfigError::of_yaml(file, &error))?;
    Ok(Configuration { guardrails })
}

#[cfg(test)]
mod tests;
