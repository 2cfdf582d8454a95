//! The record of calls: what tests assert on, and what `--calls FILE` writes, one line of JSON for each call.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

/// One call that reached the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When, in the world's time.
    pub time: Timestamp,
    /// The account that made it; empty when the credentials are no account's.
    pub account: String,
    /// The Region that it went to; empty when the request was not signed.
    pub region: String,
    /// Such as `ModifyImageAttribute`.
    pub action: String,
    /// As sent, by name.
    pub params: BTreeMap<String, String>,
    /// The HTTP status of the answer; 0 when the connection was reset instead.
    pub status: u16,
    /// The error code of the answer; none for success, and for errors without a code.
    pub code: Option<String>,
    /// Whether it was refused for lack of a token in its bucket. A [`crate::simulator::FaultKind::Throttle`] is a fault.
    pub throttled: bool,
    /// The fault that befell the call.
    pub fault: Option<&'static str>,
    /// Which attempt of the SDK this is; 1 is the first.
    pub attempt: Option<u32>,
    /// The same for all attempts of one call of the SDK.
    pub invocation: Option<String>,
}

/// A line of the calls file.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    account: &'a str,
    region: &'a str,
    action: &'a str,
    parameters: &'a BTreeMap<String, String>,
    answer: Answer<'a>,
    #[serde(skip_serializing_if = "is_false")]
    throttled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

/// The calls so far.
#[derive(Debug)]
pub(super) struct CallLog {
    remembered: Option<Vec<Call>>,
    file: Option<File>,
    throttled: u64,
}

impl CallLog {
    /// Remembers every call, and writes none.
    pub(super) fn new() -> Self {
        Self { remembered: Some(Vec::new()), file: None, throttled: 0 }
    }

    /// Appends to the file from now on.
    pub(super) fn append_to(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(())
    }

    /// Remembers no call from now on: a simulator that runs for days must not grow by every call.
    pub(super) fn forget(&mut self) {
        self.remembered = None;
    }

    /// The calls that are remembered, oldest first.
    pub(super) fn all(&self) -> Vec<Call> {
        self.remembered.clone().unwrap_or_default()
    }

    /// How many calls found their bucket empty, remembered or not.
    pub(super) fn throttled(&self) -> u64 {
        self.throttled
    }

    /// Forgets the calls so far. The file keeps them.
    pub(super) fn clear(&mut self) {
        self.throttled = 0;
        if let Some(remembered) = &mut self.remembered {
            remembered.clear();
        }
    }

    /// Takes note of a call. A file that cannot be written is warned about and does not stop the simulation.
    pub(super) fn record(&mut self, call: Call) {
        self.throttled += u64::from(call.throttled);
        if let Some(file) = &mut self.file
            && let Err(error) = write_line(file, &call)
        {
            tracing::warn!(%error, "cannot write to the calls file");
        }
        if let Some(remembered) = &mut self.remembered {
            remembered.push(call);
        }
    }
}

fn write_line(file: &mut File, call: &Call) -> io::Result<()> {
    let line = Line {
        time: call.time,
        account: &call.account,
        region: &call.region,
        action: &call.action,
        parameters: &call.params,
        answer: Answer { status: call.status, code: call.code.as_deref() },
        throttled: call.throttled,
        fault: call.fault,
        attempt: call.attempt,
        invocation: call.invocation.as_deref(),
    };
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    // In one write, so that a reader that follows the file never sees half a line.
    file.write_all(text.as_bytes())
}
