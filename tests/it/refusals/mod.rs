//! What cannot be done is refused by name, and everybody else is served all the same.

mod accounts;
mod iam;
mod image;
mod memory;
mod public;
mod quota;
mod snapshots;
mod stable;
mod weather;

use amishare::simulator::{Fault, FaultKind};

use crate::harness::{World, eventually};

/// A shareWith in one line of YAML, with these accounts.
fn with_accounts<S: AsRef<str>>(accounts: &[S]) -> String {
    let quoted: Vec<String> = accounts.iter().map(|a| format!("\"{}\"", a.as_ref())).collect();
    format!("  shareWith: {{accountIds: [{}]}}", quoted.join(", "))
}

/// So many accounts: 000000000001, 000000000002, …
fn accounts(number: usize) -> Vec<String> {
    (1..=number).map(|n| format!("{n:012}")).collect()
}

/// The accounts without these.
fn without<'a>(accounts: &'a [String], those: &[&str]) -> Vec<&'a str> {
    accounts.iter().map(String::as_str).filter(|a| !those.contains(a)).collect()
}

/// A fault on every call of an action.
fn always(kind: FaultKind, action: &str) -> Fault {
    Fault::new(kind).on(action)
}

/// How often AWS was asked to change something since the calls were last cleared.
fn changes(world: &World) -> usize {
    world.aws.calls().iter().filter(|call| call.action.starts_with("Modify")).count()
}

/// Waits until AWS has got so many calls of an action since the calls were last cleared.
async fn wait_calls(world: &World, action: &str, number: usize) {
    eventually(&format!("{number} calls of {action}"), || async {
        let calls = world.calls_by_action();
        if calls.get(action).is_some_and(|n| *n >= number) { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
}

/// Whether the share has a condition of this type that is true.
async fn is(world: &World, name: &str, kind: &str) -> bool {
    world.status(name).await.conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}
