//! A length of time of days: `180d`, `12h`, `1d12h`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::interval::{InvalidInterval, seconds};

/// The units, the largest first, with their seconds.
const UNITS: [(char, u64); 3] = [('d', 86_400), ('h', 3600), ('m', 60)];

/// How old something is, or is to become. Whole minutes, written in days, hours and minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age(Duration);

impl Age {
    /// So many days.
    pub const fn days(days: u64) -> Self {
        Self(Duration::from_secs(days * 86_400))
    }

    /// The length of time.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Age {
    type Err = InvalidInterval;

    fn from_str(text: &str) -> Result<Self, InvalidInterval> {
        seconds(text, &UNITS).map(|seconds| Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return f.write_str("0m");
        }
        UNITS.into_iter().try_for_each(|(unit, length)| {
            let number = left / length;
            left %= length;
            if number > 0 { write!(f, "{number}{unit}") } else { Ok(()) }
        })
    }
}

impl TryFrom<String> for Age {
    type Error = InvalidInterval;

    fn try_from(text: String) -> Result<Self, InvalidInterval> {
        text.parse()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> String {
        age.to_string()
    }
}

impl JsonSchema for Age {
    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Less than ten years, which is as far ahead as EC2 lets an image be deprecated (aws.md section 1.6).
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 2, "maxLength": 12,
            "pattern": "^([0-9]|[1-9][0-9]{1,2}|[12][0-9]{3}|3[0-5][0-9]{2})d([0-9]{1,2}h)?([0-9]{1,2}m)?$|^[0-9]{1,4}h([0-9]{1,2}m)?$|^[0-9]{1,5}m$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_prints_as_people_write_it() {
        for text in ["180d", "1d12h", "36m", "23h59m", "0m"] {
            assert_eq!(text.parse::<Age>().unwrap().to_string(), text);
        }
        assert_eq!("48h".parse::<Age>().unwrap().to_string(), "2d");
        assert_eq!("0d".parse::<Age>().unwrap(), Age::days(0));
    }

    #[test]
    fn a_text_that_is_not_an_age_is_refused() {
        for bad in ["", "d", "10", "-1d", "1.5d", "10s", "1 d", "1y"] {
            assert!(bad.parse::<Age>().is_err(), "{bad:?}");
        }
    }
}
