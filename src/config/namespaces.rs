//! Which namespaces an entry of the configuration file is about.
//!
//! Pure.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// A namespace by its name, some by the beginning of their names, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamespacePattern {
    /// `*`: every namespace.
    Any,
    /// `team-*`: every namespace whose name begins so.
    Beginning(String),
    /// One namespace.
    Exactly(String),
}

/// A text that is no pattern of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a namespace: lower-case letters, digits and hyphens, such as team-a, the beginning of some names and a star, \
     such as team-*, or \"*\" for all"
)]
pub struct InvalidPattern(String);

/// The longest name of a namespace (RFC 1123 label).
const LONGEST: usize = 63;

/// Whether a text is made as names of namespaces are. One that is only a beginning may end with a hyphen.
pub(super) fn is_label(text: &str, is_beginning: bool) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(|c| alphanumeric(c) || c == '-')
        && text.starts_with(alphanumeric)
        && (is_beginning || text.ends_with(alphanumeric))
}

impl FromStr for NamespacePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Any),
            Some(beginning) if is_label(beginning, true) => Ok(Self::Beginning(beginning.to_owned())),
            None if is_label(text, false) => Ok(Self::Exactly(text.to_owned())),
            _ => Err(InvalidPattern(text.chars().take(2 * LONGEST).collect())),
        }
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
            Self::Exactly(name) => f.write_str(name),
        }
    }
}

impl NamespacePattern {
    /// Whether a namespace is meant.
    pub fn matches(&self, namespace: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Beginning(beginning) => namespace.starts_with(beginning.as_str()),
            Self::Exactly(name) => namespace == name,
        }
    }
}

/// Some namespaces, with exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespaces {
    /// Those that are meant.
    pub these: BTreeSet<NamespacePattern>,
    /// Those among them that are not.
    pub but: BTreeSet<NamespacePattern>,
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |patterns: &BTreeSet<NamespacePattern>| {
            patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        write!(f, "namespaces {}", list(&self.these))?;
        if self.but.is_empty() { Ok(()) } else { write!(f, " without {}", list(&self.but)) }
    }
}

impl Namespaces {
    /// Whether a namespace is meant.
    pub fn contains(&self, namespace: &str) -> bool {
        let any = |patterns: &BTreeSet<NamespacePattern>| patterns.iter().any(|pattern| pattern.matches(namespace));
        any(&self.these) && !any(&self.but)
    }
}
