//! The conventions that every generated CustomResourceDefinition keeps, and that the API server has nothing against it.

use amishare::api::crd;
use serde_json::Value;

use super::world;

/// Walks a schema, and notes what is wrong with it.
fn lint(path: &str, schema: &Value, wrong: &mut Vec<String>) {
    let has = |key: &str| schema.get(key).is_some();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!("{path}: {what}"));
        }
    };
    must(!has("x-kubernetes-preserve-unknown-fields"), "keeps unknown fields");
    must(!has("x-kubernetes-int-or-string"), "is two types");
    match schema["type"].as_str() {
        Some("string") => {
            let bounded = has("maxLength") || has("enum") || schema["format"] == "date-time";
            must(bounded, "a string without maxLength, enum or format");
        }
        Some("array") => {
            must(has("maxItems"), "a list without maxItems");
            match schema["x-kubernetes-list-type"].as_str() {
                Some("atomic" | "set") => {}
                Some("map") => must(has("x-kubernetes-list-map-keys"), "a list of type map without keys"),
                _ => must(false, "a list without a list type"),
            }
        }
        Some("object") => {
            must(has("properties") != has("additionalProperties"), "an object that is neither a struct nor a map");
            must(!has("additionalProperties") || has("maxProperties"), "a map without maxProperties");
        }
        Some("integer" | "boolean") => {}
        other => must(false, &format!("is of type {other:?}")),
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // What every object has is described by Kubernetes.
        if !matches!(path.as_str(), ".apiVersion" | ".kind" | ".metadata") {
            let description = property["description"].as_str().unwrap_or_default();
            if !description.ends_with(['.', '`']) || description.len() < 9 {
                wrong.push(format!("{path}: its description is not a sentence: {description:?}"));
            }
            lint(&path, property, wrong);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner) {
            lint(&format!("{path}[]"), inner, wrong);
        }
    }
}

#[test]
fn everything_in_the_schema_is_described_and_bounded() {
    for (file, crd) in crd::all() {
        for version in crd.spec.versions {
            let schema = version.schema.unwrap().open_api_v3_schema.unwrap();
            let mut wrong = Vec::new();
            lint("", &serde_json::to_value(schema).unwrap(), &mut wrong);
            assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
        }
    }
}

#[test]
fn the_linter_sees_what_it_is_there_for() {
    let mut wrong = Vec::new();
    let schema = serde_json::json!({"type": "object", "properties": {
        "name": {"type": "string", "description": "A name."},
        "list": {"type": "array", "description": "Names.", "items": {"type": "string", "maxLength": 3}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    }});
    lint("", &schema, &mut wrong);
    let all = wrong.join("\n");
    for fault in
        [".name: a string", ".list: a list without maxItems", "list type", ".map: a map", ".map: its description"]
    {
        assert!(all.contains(fault), "{fault}: {all}");
    }
}

#[test]
fn every_rule_has_a_message() {
    fn walk(schema: &Value, rules: &mut Vec<Value>) {
        rules.extend(schema["x-kubernetes-validations"].as_array().into_iter().flatten().cloned());
        schema["properties"].as_object().into_iter().flatten().for_each(|(_, inner)| walk(inner, rules));
        schema.get("items").into_iter().for_each(|inner| walk(inner, rules));
    }
    for (_, crd) in crd::all() {
        for version in crd.spec.versions {
            let mut rules = Vec::new();
            walk(&serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap(), &mut rules);
            assert!(rules.len() >= 4, "{rules:?}");
            for rule in rules {
                assert!(rule["message"].as_str().is_some_and(|message| message.len() > 20), "{rule}");
            }
        }
    }
}

#[tokio::test]
async fn the_api_server_installs_the_definitions_without_a_word_of_warning() {
    let world = world().await;
    for (_, crd) in crd::all() {
        let name = crd.metadata.name.clone().unwrap();
        let file = crd::to_yaml(&crd).unwrap();
        // An update checks everything that a creation does, the cost of the rules included.
        let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
        let output = world.kubectl_output(world.namespace(), &arguments, &file).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
        let conditions = world
            .kubectl(&["get", "crd", &name, "-o", "jsonpath={range .status.conditions[*]}{.type}={.status} {end}"])
            .await;
        let mut conditions: Vec<&str> = conditions.split_whitespace().collect();
        conditions.sort_unstable();
        assert_eq!(conditions, ["Established=True", "NamesAccepted=True"], "NonStructuralSchema, for one, is a fault");
    }
}
