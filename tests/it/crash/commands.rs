//! The kinds of calls by which the operator does something or decides to, as they are found in a run.
//!
//! Together the scenarios must reach all of them: a new kind of call goes here, and then a test fails until a scenario reaches it.

use std::collections::BTreeSet;

use amishare::{api::FINALIZER, simulator};
use serde_json::Value;
use strum::EnumIter;

use super::cut::Call;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter)]
pub enum Command {
    /// All AmiShares of a namespace, before anything is done.
    List,
    /// The start of a watch.
    Watch,
    /// The AmiShares that name an image, before it is changed.
    IsNewest,
    /// `DescribeImages`.
    Images,
    /// `DescribeImageAttribute`.
    LaunchPermissions,
    /// `DescribeSnapshotAttribute`.
    VolumePermissions,
    /// `GetImageBlockPublicAccessState`.
    PublicAccess,
    /// `DescribeSnapshots`.
    Keys,
    /// `DescribeKey`, `GetKeyPolicy` and `ListGrants`.
    Key,
    /// The finalizer comes.
    Hold,
    /// The finalizer goes.
    LetGo,
    /// The ownership record, before the first change.
    Record,
    /// The status, once everything is done.
    Status,
    /// An event.
    Event,
    /// Launch permissions are given.
    Give,
    /// Launch permissions are taken away.
    Take,
    /// Launch permissions are given and taken away in one call.
    GiveAndTake,
    /// createVolumePermission is given.
    GiveVolumes,
    /// createVolumePermission is taken away.
    TakeVolumes,
    /// A grant is made.
    Grant,
    /// A grant is revoked.
    Revoke,
    /// A further part of a change that is too large for one call.
    Batch,
    /// A part of what AWS has just refused.
    Narrow,
}

/// The kinds of calls that a process has sent: `calls` to the API server, and `aws`, all that reached AWS.
pub fn commands(calls: &[Call], aws: &[simulator::Call]) -> BTreeSet<Command> {
    let of_kubernetes = calls.iter().filter_map(|call| match call {
        Call::Kubernetes { method, path, body } => kubernetes(method, path, body),
        Call::Aws { .. } => None,
    });
    let reached = of_kubernetes.chain(aws.iter().map(read_or_write));
    let repeated = aws.iter().enumerate().filter_map(|(n, call)| repeated(&aws[..n], call));
    reached.chain(repeated).collect()
}

fn kubernetes(method: &str, path: &str, body: &Value) -> Option<Command> {
    match method {
        "GET" if path.contains("watch=true") => Some(Command::Watch),
        "GET" if path.contains("fieldSelector=") => Some(Command::IsNewest),
        "GET" if path.split('?').next()?.ends_with("/amishares") => Some(Command::List),
        "PATCH" if path.contains("/status?") => {
            let conditions = body["status"]["conditions"].as_array()?;
            let acts = conditions.iter().any(|c| c["type"] == "Ready" && c["message"] == "acting on the spec");
            Some(if acts { Command::Record } else { Command::Status })
        }
        "PATCH" => {
            let holds = body["metadata"]["finalizers"].as_array()?.iter().any(|f| f == FINALIZER);
            Some(if holds { Command::Hold } else { Command::LetGo })
        }
        "POST" if path.contains("/events") => Some(Command::Event),
        // An object is read again after a conflict, of which there is none in an undisturbed run.
        _ => None,
    }
}

fn read_or_write(call: &simulator::Call) -> Command {
    let has = |part: &str| call.params.keys().any(|name| name.contains(part));
    match call.action.as_str() {
        "DescribeImages" => Command::Images,
        "DescribeImageAttribute" => Command::LaunchPermissions,
        "DescribeSnapshotAttribute" => Command::VolumePermissions,
        "GetImageBlockPublicAccessState" => Command::PublicAccess,
        "ModifyImageAttribute" => match (has(".Add."), has(".Remove.")) {
            (true, true) => Command::GiveAndTake,
            (true, false) => Command::Give,
            (false, _) => Command::Take,
        },
        "ModifySnapshotAttribute" if call.params.get("OperationType").is_some_and(|o| o == "add") => {
            Command::GiveVolumes
        }
        "ModifySnapshotAttribute" => Command::TakeVolumes,
        "DescribeSnapshots" => Command::Keys,
        "DescribeKey" | "GetKeyPolicy" | "ListGrants" => Command::Key,
        "CreateGrant" => Command::Grant,
        "RevokeGrant" => Command::Revoke,
        other => panic!("{other} is a new kind of call: it needs a name here, and a scenario that reaches it"),
    }
}

/// What a write is besides, if the write before it was of the same kind on the same target.
fn repeated(before: &[simulator::Call], call: &simulator::Call) -> Option<Command> {
    let writes = |call: &&simulator::Call| call.action.starts_with("Modify");
    let last = before.iter().rev().find(writes).filter(|_| writes(&call))?;
    let target = |call: &simulator::Call| (call.action.clone(), call.params.get("SnapshotId").cloned());
    if target(last) != target(call) {
        return None;
    }
    if last.code.is_some() { Some(Command::Narrow) } else { Some(Command::Batch) }
}
