//! What was asked of the API server, and what came of it.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{
    faults::{Asked, Trouble},
    lists::Query,
};

/// A request and its fate.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// When it was answered, or lost.
    pub time: Timestamp,
    pub asked: Asked,
    pub query: Query,
    pub body: Value,
    pub trouble: Option<Trouble>,
    /// The code of the answer; none if there was none.
    pub code: Option<u16>,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, asked, query, body, trouble, code } = self;
        write!(f, "{time} {} {asked}", asked.connection)?;
        if !query.is_empty() {
            write!(f, " {query:?}")?;
        }
        if !body.is_null() {
            write!(f, " {body}")?;
        }
        if let Some(trouble) = trouble {
            write!(f, " [{trouble:?}]")?;
        }
        write!(f, " -> {}", code.map_or_else(|| "nothing".into(), |code| code.to_string()))
    }
}
