//! Lists: consistent ones, pages of one revision, and ones that may be stale.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{API_VERSION, answer::Answer, state::Stored};

/// What a list is asked for.
pub type Query = BTreeMap<String, String>;

/// Answers a list of one namespace or of all. `behind` is how old an answer may be of which the request allows that.
pub fn list(stored: &Stored, namespace: Option<&str>, query: &Query, behind: Duration) -> Answer {
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (fields, label) = (selector(text("fieldSelector")), text("labelSelector"));
    let token = text("continue").split_once('/').map(|(revision, after)| (revision.parse::<u64>().unwrap(), after));
    let revision = match token {
        Some((revision, _)) if revision < stored.compacted => {
            return Answer::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                 without the continue parameter.",
            );
        }
        Some((revision, _)) => revision,
        None => match text("resourceVersion") {
            "" => stored.revision(),
            // Whatever there is, but not older than asked for.
            least => past(stored, behind).max(least.parse().unwrap()),
        },
    };
    let matches = |object: &Value| {
        let holds = |(path, wanted): &(Vec<String>, String)| {
            path.iter().fold(object, |value, field| &value[field]).as_str().unwrap_or_default() == wanted
        };
        fields.iter().all(holds) && has_label(object, label)
    };
    let after = token.map_or("", |(_, after)| after);
    let name = |(namespace, name): &(String, String)| format!("{namespace}/{name}");
    let mut items: Vec<(String, Value)> = stored
        .objects_at(revision)
        .into_iter()
        .filter(|(key, object)| namespace.is_none_or(|n| n == key.0) && matches(object) && name(key).as_str() > after)
        .map(|(key, object)| (name(&key), object.as_ref().clone()))
        .collect();
    let limit = text("limit").parse().unwrap_or(usize::MAX);
    let mut metadata = json!({"continue": "", "resourceVersion": revision.to_string()});
    if items.len() > limit {
        let more = items.split_off(limit).len();
        metadata["continue"] = format!("{revision}/{}", items[limit - 1].0).into();
        if fields.is_empty() && label.is_empty() {
            metadata["remainingItemCount"] = more.into();
        }
    }
    let items: Vec<Value> = items.into_iter().map(|(_, object)| object).collect();
    let body = json!({"apiVersion": API_VERSION, "kind": format!("{}List", stored.sort.kind()), "metadata": metadata, "items": items});
    Answer::new(200, body)
}

/// Whether an object has a label, of whatever value; if there is one that it is to have.
pub(super) fn has_label(object: &Value, label: &str) -> bool {
    assert!(!label.contains(['=', ',', '(', '!']), "the API server in memory does not know the label selector {label}");
    label.is_empty() || object["metadata"]["labels"][label].is_string()
}

/// The last revision that is at least so old.
fn past(stored: &Stored, behind: Duration) -> u64 {
    let Some(then) = Instant::now().checked_sub(behind).filter(|_| !behind.is_zero()) else { return stored.revision() };
    stored.history().iter().rev().find(|version| version.at <= then).map_or(0, |version| version.revision)
}

fn selector(text: &str) -> Vec<(Vec<String>, String)> {
    let parts = text.split(',').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap());
    parts
        .map(|(field, wanted)| {
            assert!(["spec.image.id", "spec.region"].contains(&field), "{field} is not selectable");
            (field.split('.').map(ToOwned::to_owned).collect(), wanted.to_owned())
        })
        .collect()
}
