//! The cache outside the checkout, which `tests/python/venv.sh` shares.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// `$AMISHARE_CACHE`, or `$XDG_CACHE_HOME/amishare`, or `~/.cache/amishare`.
pub fn cache_dir() -> Result<PathBuf> {
    resolve(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn resolve(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    if let Some(dir) = variable("AMISHARE_CACHE") {
        return std::path::absolute(&dir).context("AMISHARE_CACHE is not a usable path");
    }
    // The XDG specification: a relative path is invalid and is ignored.
    if let Some(dir) = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir.join("amishare"));
    }
    let home = variable("HOME").context("there is no place for built binaries: set AMISHARE_CACHE, or HOME")?;
    Ok(PathBuf::from(home).join(".cache/amishare"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(variables: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        resolve(lookup).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn the_most_specific_variable_decides() {
        let home = ("HOME", "/home/me");
        assert_eq!(resolved(&[home]).as_deref(), Some("/home/me/.cache/amishare"));
        assert_eq!(resolved(&[home, ("XDG_CACHE_HOME", "/x")]).as_deref(), Some("/x/amishare"));
        assert_eq!(resolved(&[home, ("XDG_CACHE_HOME", "x")]).as_deref(), Some("/home/me/.cache/amishare"));
        assert_eq!(resolved(&[("XDG_CACHE_HOME", "/x"), ("AMISHARE_CACHE", "/a")]).as_deref(), Some("/a"));
        assert_eq!(resolved(&[]), None);
    }
}
