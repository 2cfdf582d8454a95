//! A length of time as users write it: `10m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How often a share is checked. Whole seconds, written in hours, minutes and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(Duration);

/// A text that is not an interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time, such as 10m or 1h30m")]
pub struct InvalidInterval(String);

impl Interval {
    /// The bounds, as the schema has them.
    const BOUNDS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(24));

    /// The length of time.
    pub fn as_duration(self) -> Duration {
        self.0
    }

    /// The length of time within the bounds. An object that got past the schema must not make us spin.
    pub fn bounded(self) -> Duration {
        self.0.clamp(Self::BOUNDS.0, Self::BOUNDS.1)
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self(Duration::from_mins(10))
    }
}

impl FromStr for Interval {
    type Err = InvalidInterval;

    fn from_str(text: &str) -> Result<Self, InvalidInterval> {
        seconds(text, &[('h', 3600), ('m', 60), ('s', 1)]).map(|seconds| Self(Duration::from_secs(seconds)))
    }
}

/// How many seconds a text of numbers with units is.
pub(super) fn seconds(text: &str, units: &[(char, u64)]) -> Result<u64, InvalidInterval> {
    let invalid = || InvalidInterval(text.chars().take(32).collect());
    let mut seconds = 0;
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let unit = part.chars().next_back().and_then(|last| units.iter().find(|(unit, _)| *unit == last));
        let (unit, length) = unit.ok_or_else(invalid)?;
        let number = part.strip_suffix(*unit).filter(|number| number.len() <= 6);
        seconds += number.and_then(|number| number.parse::<u64>().ok()).ok_or_else(invalid)? * length;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(seconds) }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
        if seconds == 0 {
            return f.write_str("0s");
        }
        parts.into_iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl TryFrom<String> for Interval {
    type Error = InvalidInterval;

    fn try_from(text: String) -> Result<Self, InvalidInterval> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> String {
        interval.to_string()
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 16, "pattern": "^([0-9]{1,6}(s|m|h))+$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_prints_as_people_write_it() {
        for text in ["10m", "1h30m", "45s", "24h", "1h1s", "0s"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<Interval>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn a_text_that_is_not_an_interval_is_refused() {
        for bad in ["", "10", "-10m", "1.5h", "10 m", "100ms", "m"] {
            assert!(bad.parse::<Interval>().is_err(), "{bad:?}");
        }
    }
}
