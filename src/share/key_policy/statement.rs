//! The statements of a policy, read strictly: what is not as IAM's language has it is not guessed at.
//!
//! Pure.

use serde_json::{Map, Value};

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// What it is called in messages.
    pub(super) name: String,
    pub(super) denies: bool,
    pub(super) actions: Actions,
    pub(super) principals: Principals,
    pub(super) resource: Resource,
    /// Nothing, if they cannot be read.
    pub(super) conditions: Option<Vec<Condition>>,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actions {
    These(Vec<String>),
    AllBut(Vec<String>),
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principals {
    /// The names of those in IAM. Services and federated users launch nothing through EC2.
    These(Vec<String>),
    AllButSome,
}

/// On what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// `*`, which in a key policy means the key that has it, and can be written no other way that is not the key's ARN (KMS developer
    /// guide).
    ThisKey,
    Missing,
    SomethingElse,
}

/// One line of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) operator: String,
    pub(super) key: String,
    /// Nothing, if one of them is no text, truth value or number.
    pub(super) values: Option<Vec<String>>,
}

/// Reads the statements of a policy.
pub(super) fn read_all(json: &str) -> Result<Vec<Statement>, String> {
    let policy: Value = serde_json::from_str(json).map_err(|_| "it is not JSON".to_owned())?;
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return Err("it has no list of statements".into()),
    };
    statements.into_iter().map(read).collect()
}

fn read(statement: &Value) -> Result<Statement, String> {
    let Value::Object(statement) = statement else { return Err("a statement is no object".into()) };
    let sid: String = statement.get("Sid").and_then(Value::as_str).unwrap_or_default().chars().take(64).collect();
    let name = if sid.is_empty() { "a statement without Sid".into() } else { format!("the statement {sid:?}") };
    let no = |what: &str| format!("{name} has no {what} that can be read");
    let denies = match statement.get("Effect").and_then(Value::as_str) {
        Some("Allow") => false,
        Some("Deny") => true,
        _ => return Err(no("Effect")),
    };
    let actions = match (statement.get("Action"), statement.get("NotAction")) {
        (Some(these), None) => texts(these).map(Actions::These),
        (None, Some(but)) => texts(but).map(Actions::AllBut),
        _ => None,
    };
    let principals = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(these), None) => principals(these).map(Principals::These),
        (None, Some(but)) => principals(but).map(|_| Principals::AllButSome),
        _ => None,
    };
    let resource = match (statement.get("Resource"), statement.get("NotResource")) {
        (None, None) => Resource::Missing,
        (Some(named), None) => match texts(named) {
            Some(all) if all.iter().any(|one| one == "*") => Resource::ThisKey,
            _ => Resource::SomethingElse,
        },
        (_, Some(_)) => Resource::SomethingElse,
    };
    Ok(Statement {
        actions: actions.ok_or_else(|| no("Action"))?,
        principals: principals.ok_or_else(|| no("Principal"))?,
        denies,
        resource,
        conditions: conditions(statement),
        name,
    })
}

/// What IAM lets be one text or a list of them.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect(),
        _ => None,
    }
}

/// Those in IAM whom an element names.
fn principals(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(_) => texts(value),
        Value::Object(kinds) => {
            let mut all = Vec::new();
            for (kind, named) in kinds {
                let named = texts(named)?;
                if kind == "AWS" {
                    all.extend(named);
                }
            }
            Some(all)
        }
        _ => None,
    }
}

fn conditions(statement: &Map<String, Value>) -> Option<Vec<Condition>> {
    let operators = match statement.get("Condition") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Object(operators)) => operators,
        Some(_) => return None,
    };
    let mut all = Vec::new();
    for (operator, keys) in operators {
        for (key, values) in keys.as_object()? {
            all.push(Condition { operator: operator.clone(), key: key.clone(), values: values_of(values) });
        }
    }
    Some(all)
}

fn values_of(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(all) => all.iter().map(text).collect(),
        one => text(one).map(|text| vec![text]),
    }
}
