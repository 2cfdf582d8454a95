//! `Filter.N.Name` and `Filter.N.Value.M`: all filters have to match, each with any of its values.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::wildcard;

const MAX_FILTERS: usize = 50;
const MAX_VALUES: usize = 200;

/// The filters of one call.
pub(super) struct Filters(Vec<Filter>);

struct Filter {
    name: String,
    /// The values that stand for themselves. Looked up and not matched: two hundred ids against ten thousand images must not
    /// be two million matches.
    exact: BTreeSet<String>,
    wildcards: Vec<String>,
}

impl Filter {
    fn accepts(&self, value: &str) -> bool {
        self.exact.contains(value) || self.wildcards.iter().any(|pattern| wildcard::matches(pattern, value))
    }
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
            let values = filter.list("Value");
            if values.len() > MAX_VALUES {
                return Err(errors::filter_limit_exceeded(
                    "The maximum number of filter values specified on a single call is 200",
                ));
            }
            let (wildcards, exact): (Vec<&str>, Vec<&str>) =
                values.into_iter().partition(|value| value.contains(wildcard::SPECIAL));
            Ok(Filter {
                name: name.to_owned(),
                exact: exact.into_iter().map(str::to_owned).collect(),
                wildcards: wildcards.into_iter().map(str::to_owned).collect(),
            })
        };
        filters.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The values of a filter that are all that can pass it; none when there is no such filter, or one with wildcards.
    pub(super) fn only(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.0.iter().find(|filter| filter.name == name && filter.wildcards.is_empty()).map(|filter| &filter.exact)
    }

    /// Whether an item passes. `values` gives what the item has under the filter's name: one value, several or none;
    /// `tags` gives the item's tags as the caller sees them.
    pub(super) fn pass(
        &self,
        tags: impl Fn() -> BTreeMap<String, String>,
        values: impl Fn(&str) -> Vec<String>,
    ) -> bool {
        self.0.iter().all(|filter| {
            let found = match filter.name.strip_prefix("tag:") {
                Some(key) => tags().remove(key).into_iter().collect(),
                None if filter.name == "tag-key" => tags().into_keys().collect(),
                None => values(&filter.name),
            };
            found.iter().any(|value| filter.accepts(value))
        })
    }
}
