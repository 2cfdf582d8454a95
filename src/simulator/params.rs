//! The parameters of one call: flat names such as `Filter.1.Value.2`, read as lists and structures.

use std::collections::BTreeMap;

use serde_json::Value;

use super::errors::{self, ApiError};

/// What the caller sent, by parameter name, without `Action` and `Version`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// The value of a parameter that may be absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter that has to be there and not be empty.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| errors::missing_parameter(name))
    }

    /// A boolean; absent is `None`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(errors::not_a_boolean(name, other)),
        }
    }

    /// An integer; absent is `None`.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| text.parse().map_err(|_| errors::not_an_integer(name, text))).transpose()
    }

    /// The values of `name.1`, `name.2` and so on, in the order of their indices.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let mut found: Vec<(u32, &str)> =
            self.below(name).filter_map(|(rest, value)| rest.parse().ok().map(|index| (index, value))).collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// The structures `name.1.…`, `name.2.…` and so on, in the order of their indices, each with its own fields.
    pub(super) fn structures(&self, name: &str) -> Vec<Params> {
        let mut found: BTreeMap<u32, Params> = BTreeMap::new();
        for (rest, value) in self.below(name) {
            if let Some((index, field)) = rest.split_once('.')
                && let Ok(index) = index.parse()
            {
                found.entry(index).or_default().0.insert(field.to_owned(), value.to_owned());
            }
        }
        found.into_values().collect()
    }

    /// Whether any parameter is `name` itself or below it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || self.below(name).next().is_some()
    }

    /// Every parameter, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every parameter, by name, to be kept.
    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// The parameters whose names begin with `name.`, without that beginning.
    fn below(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("{name}.");
        self.0
            .range(prefix.clone()..)
            .map_while(move |(key, value)| Some((key.strip_prefix(prefix.as_str())?, value.as_str())))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A JSON object in the form of the query protocol: `{"Operations": ["Decrypt"]}` is `Operations.1=Decrypt`. So faults, the
/// record of calls and actions need to know one form only.
pub(super) fn flattened(content: &Value) -> Params {
    fn add(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
        let below = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
        match value {
            Value::Null => {}
            Value::Object(fields) => fields.iter().for_each(|(field, value)| add(&below(field), value, into)),
            Value::Array(values) => {
                (1..).zip(values).for_each(|(index, value)| add(&below(&index.to_string()), value, into));
            }
            Value::String(text) => drop(into.insert(name.to_owned(), text.clone())),
            Value::Bool(_) | Value::Number(_) => drop(into.insert(name.to_owned(), value.to_string())),
        }
    }
    let mut all = BTreeMap::new();
    add("", content, &mut all);
    Params(all)
}

/// The name with every index replaced by `N`: `Filter.1.Value.2` becomes `Filter.N.Value.N`, the form that the actions
/// list the parameters in that they understand.
pub(super) fn pattern_of(name: &str) -> String {
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = name.split('.').map(|part| if is_index(part) { "N" } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_order_a_list_as_numbers_and_not_as_text() {
        let params: Params =
            [("Owner.10", "j"), ("Owner.9", "i"), ("Owner.1", "a"), ("OwnerX.1", "no")].into_iter().collect();
        assert_eq!(params.list("Owner"), ["a", "i", "j"]);
    }

    #[test]
    fn a_structure_holds_its_own_fields_and_lists() {
        let params: Params =
            [("Filter.2.Name", "b"), ("Filter.1.Name", "a"), ("Filter.1.Value.2", "y"), ("Filter.1.Value.1", "x")]
                .into_iter()
                .collect();
        let filters = params.structures("Filter");
        assert_eq!(filters.len(), 2);
        assert_eq!(filters[0].get("Name"), Some("a"));
        assert_eq!(filters[0].list("Value"), ["x", "y"]);
    }

    #[test]
    fn json_becomes_flat_names() {
        let content = serde_json::json!({"KeyId": "k", "Operations": ["a", "b"], "Limit": 5, "No": null, "C": {"E": {"x:y": "z"}}});
        let params = flattened(&content);
        assert_eq!(params.list("Operations"), ["a", "b"]);
        assert_eq!(params.iter().count(), 5);
        assert_eq!((params.get("Limit"), params.get("C.E.x:y")), (Some("5"), Some("z")));
    }

    #[test]
    fn a_pattern_has_no_indices() {
        assert_eq!(pattern_of("LaunchPermission.Add.12.UserId"), "LaunchPermission.Add.N.UserId");
        assert_eq!(pattern_of("ImageId"), "ImageId");
    }
}
