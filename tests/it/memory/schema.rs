//! The definitions of our kinds as the API server uses it: defaults, unknown fields, and how lists are merged.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::Sort;

/// The schema of a kind.
pub fn of(sort: Sort) -> &'static Value {
    static SCHEMAS: OnceLock<[Value; 2]> = OnceLock::new();
    let read = |sort: Sort| {
        let (_, definition) =
            amishare::api::crd::all().into_iter().find(|(_, crd)| crd.spec.names.kind == sort.kind()).unwrap();
        let version = definition.spec.versions.into_iter().next().unwrap();
        serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
    };
    &SCHEMAS.get_or_init(|| Sort::ALL.map(read))[sort as usize]
}

/// How a list is merged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// As a whole.
    Atomic,
    /// By its members.
    Set,
    /// By the keys of its members.
    Map,
}

/// How the list of this schema is merged.
pub fn list_kind(schema: &Value) -> ListKind {
    match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map,
        _ => ListKind::Atomic,
    }
}

/// What tells the members of a list from each other.
pub fn key_of(schema: &Value, member: &Value) -> String {
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    keys.map(|key| member[key.as_str().unwrap()].to_string()).collect::<Vec<_>>().join(",")
}

/// The schema of a field.
pub fn field<'a>(schema: &'a Value, name: &str) -> &'a Value {
    &schema["properties"][name]
}

/// Drops what the schema does not know, and adds its defaults: what is stored is what is read.
pub fn conform(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            let Some(fields) = schema["properties"].as_object() else { return };
            object.retain(|name, value| {
                fields.get(name).is_some_and(|field| !value.is_null() || field["nullable"] == true)
            });
            add_defaults(fields, object);
            for (name, value) in object.iter_mut() {
                conform(&fields[name], value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| conform(&schema["items"], item)),
        _ => {}
    }
}

fn add_defaults(fields: &Map<String, Value>, object: &mut Map<String, Value>) {
    for (name, field) in fields {
        if let Some(default) = field.get("default").filter(|_| !object.contains_key(name)) {
            object.insert(name.clone(), default.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_added_and_unknown_fields_are_dropped() {
        let mut spec = json!({"region": "us-east-1", "shareWith": {"everybody": true}, "mood": "good"});
        conform(field(of(Sort::Share), "spec"), &mut spec);
        assert_eq!(spec["interval"], "10m");
        assert_eq!(spec["shareWith"]["accountIds"], json!([]));
        assert_eq!((&spec["mood"], &spec["shareWith"]["everybody"]), (&Value::Null, &Value::Null));
    }
}
