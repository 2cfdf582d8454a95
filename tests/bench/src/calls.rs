//! What the simulator was asked: it writes one line of JSON for each call.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::world::OWNER;

/// Calls of the owner's account, counted.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// By action.
    pub by_action: BTreeMap<String, usize>,
    /// How many of them were answered with too many requests.
    pub throttled: usize,
    /// How many of them were refused otherwise.
    pub refused: usize,
}

impl Calls {
    /// All of them.
    pub fn total(&self) -> usize {
        self.by_action.values().sum()
    }

    /// How many of one action.
    pub fn of(&self, action: &str) -> usize {
        self.by_action.get(action).copied().unwrap_or_default()
    }

    /// Those that change something.
    pub fn writes(&self) -> usize {
        let reads = ["Describe", "Get", "List"];
        let changes = |action: &str| !reads.iter().any(|verb| action.starts_with(verb));
        self.by_action.iter().filter(|(action, _)| changes(action)).map(|(_, count)| count).sum()
    }
}

/// One call.
#[derive(Debug, Deserialize)]
pub struct Call {
    /// Who made it.
    pub account: String,
    /// What it did.
    pub action: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    answer: Answer,
}

#[derive(Debug, Deserialize)]
struct Answer {
    code: Option<String>,
}

/// Reads the calls file as it grows.
pub struct CallsFile {
    path: PathBuf,
    offset: u64,
}

impl CallsFile {
    /// A calls file from its beginning.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The calls since the last time.
    pub fn new_calls(&mut self) -> Result<Vec<Call>> {
        let mut file = File::open(&self.path).with_context(|| format!("could not read {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.offset))?;
        let (mut reader, mut line, mut calls) = (BufReader::new(file), String::new(), Vec::new());
        loop {
            line.clear();
            let length = reader.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Ok(calls);
            }
            self.offset += u64::try_from(length)?;
            calls.push(serde_json::from_str(&line).context("the calls file cannot be read")?);
        }
    }

    /// The owner's calls since the last time, counted.
    pub fn count(&mut self) -> Result<Calls> {
        let mut counted = Calls::default();
        for call in self.new_calls()?.into_iter().filter(|call| call.account == OWNER) {
            *counted.by_action.entry(call.action).or_default() += 1;
            match call.answer.code.as_deref() {
                None => {}
                Some("RequestLimitExceeded" | "Throttling" | "ThrottlingException") => counted.throttled += 1,
                Some(_) => counted.refused += 1,
            }
        }
        Ok(counted)
    }
}
