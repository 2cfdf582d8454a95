//! What the API server answers: a code and a body, and the Status bodies of the real one, word by word.

use serde_json::{Value, json};

use super::{GROUP, Sort};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// An object, a list, or a Status.
    pub body: Value,
}

impl Answer {
    pub(super) fn new(code: u16, body: Value) -> Self {
        Self { code, body }
    }

    pub(super) fn failure(code: u16, reason: &str, message: &str, details: Value) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": code,
        });
        if !details.is_null() {
            body["details"] = details;
        }
        Self { code, body }
    }

    pub(super) fn not_found(sort: Sort, name: &str) -> Self {
        let message = format!("{}.{GROUP} \"{name}\" not found", sort.plural());
        Self::failure(404, "NotFound", &message, details(sort, name))
    }

    pub(super) fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{plural}.{group} \"{name}\" already exists");
        Self::failure(409, "AlreadyExists", &message, json!({"name": name, "group": group, "kind": plural}))
    }

    /// The object has another version than the request was decided on.
    pub(super) fn modified(sort: Sort, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(sort.plural(), name, why)
    }

    /// Another object than the one that is there is to be deleted.
    pub(super) fn deletes_another(sort: Sort, name: &str, wanted: &str, there: &str) -> Self {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({there}). The object might have been \
             deleted and then recreated"
        );
        Self::conflict(sort.kind(), name, &why)
    }

    fn conflict(kind: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {kind}.{GROUP} \"{name}\": {why}");
        Self::failure(409, "Conflict", &message, json!({"name": name, "group": GROUP, "kind": kind}))
    }

    /// There is another object under this name than the request is about.
    pub(super) fn another(sort: Sort, name: &str, wanted: &str) -> Self {
        let kind = sort.kind();
        let why = format!("Invalid value: \"{wanted}\": field is immutable");
        let message = format!("{kind}.{GROUP} \"{name}\" is invalid: metadata.uid: {why}");
        let cause = json!({"field": "metadata.uid", "message": why, "reason": "FieldValueInvalid"});
        let details = json!({"name": name, "group": GROUP, "kind": kind, "causes": [cause, cause]});
        Self::failure(422, "Invalid", &message, details)
    }

    /// What was asked for is too long ago.
    pub(super) fn expired(message: &str) -> Self {
        Self::failure(410, "Expired", message, Value::Null)
    }

    /// A server that cannot serve now.
    pub(super) fn trouble(code: u16) -> Self {
        match code {
            429 => Self::failure(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
                json!({"retryAfterSeconds": 1}),
            ),
            503 => Self::failure(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
                json!({}),
            ),
            504 => Self::failure(504, "Timeout", "the request did not complete within the allotted time", json!({})),
            403 => Self::failure(403, "Forbidden", "the operator's role does not allow this", json!({})),
            _ => Self::failure(500, "InternalError", "Internal error occurred: etcdserver: leader changed", json!({})),
        }
    }

    /// Whether the request did what it was to do.
    pub fn is_success(&self) -> bool {
        self.code < 300
    }
}

pub(super) fn details(sort: Sort, name: &str) -> Value {
    json!({"name": name, "group": GROUP, "kind": sort.plural()})
}
