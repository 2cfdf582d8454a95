//! `Filter.N.Name` and `Filter.N.Value.M`: all filters have to match, each with any of its values.

use std::collections::BTreeMap;

use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::wildcard;

const MAX_FILTERS: usize = 50;
const MAX_VALUES: usize = 200;

/// The filters of one call.
pub(super) struct Filters(Vec<Filter>);

struct Filter {
    name: String,
    patterns: Vec<String>,
}

impl Filters {
    /// Reads the filters. `names` are the ones that the action has; `tag:<key>` is one of them when `tag-key` is.
    pub(super) fn read(params: &Params, names: &[&str]) -> Result<Self, ApiError> {
        let filters = params.structures("Filter");
        if filters.len() > MAX_FILTERS {
            return Err(errors::filter_limit_exceeded("The maximum number of filters is 50"));
        }
        let read = |filter: &Params| {
            let name = filter.required("Name").map_err(|_| errors::missing_parameter("Filter.Name"))?;
            let is_tag = names.contains(&"tag-key") && name.starts_with("tag:");
            if !is_tag && !names.contains(&name) {
                return Err(errors::invalid_filter(name));
            }
            let patterns: Vec<String> = filter.list("Value").into_iter().map(str::to_owned).collect();
            if patterns.len() > MAX_VALUES {
                return Err(errors::filter_limit_exceeded(
                    "The maximum number of filter values specified on a single call is 200",
                ));
            }
            Ok(Filter { name: name.to_owned(), patterns })
        };
        filters.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an item passes. `values` gives what the item has under the filter's name: one value, several or none;
    /// `tags` are the item's tags as the caller sees them.
    pub(super) fn pass(&self, tags: &BTreeMap<String, String>, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|Filter { name, patterns }| {
            let found = match name.strip_prefix("tag:") {
                Some(key) => tags.get(key).cloned().into_iter().collect(),
                None if name == "tag-key" => tags.keys().cloned().collect(),
                None => values(name),
            };
            found.iter().any(|value| patterns.iter().any(|pattern| wildcard::matches(pattern, value)))
        })
    }
}
