//! YAML in and out: the only module that names the YAML library.
//!
//! The library is `yaml_serde`, the YAML organisation's maintained fork of the archived `serde_yaml`, taken under the old
//! name by Cargo's `package =`. Should it have to change, it changes here.

use serde::{Serialize, de::DeserializeOwned};

/// Why a text could not be read as YAML, or a value not be written; the message names line and column where it can.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct YamlError(#[from] serde_yaml::Error);

impl YamlError {
    /// Line and column of what is wrong, both from 1, where they are known.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.0.location().map(|location| (location.line(), location.column()))
    }

    /// What is wrong, with the path of the field, and without the place where that is known.
    pub fn without_place(&self) -> String {
        let text = self.to_string();
        let suffix = self.place().map(|(line, column)| format!(" at line {line} column {column}"));
        // The library leaves out the first line's first column.
        suffix.and_then(|suffix| text.strip_suffix(&suffix).map(ToOwned::to_owned)).unwrap_or(text)
    }
}

/// Reads one YAML document.
///
/// # Errors
/// When the text is not YAML or does not have the shape of `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    Ok(serde_yaml::from_str(text)?)
}

/// Writes a value as one YAML document.
///
/// # Errors
/// When the value has a map with keys that YAML cannot hold.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    Ok(serde_yaml::to_string(value)?)
}
