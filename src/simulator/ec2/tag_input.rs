//! Tags as they are sent: read, and checked against the rules of what a tag may be.

use std::collections::BTreeMap;

use super::call::Call;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::world::Image;

const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

/// The tags in `Tag.N.Key` and `Tag.N.Value`; a tag without a value has the empty one.
pub(super) fn read(params: &Params) -> Result<BTreeMap<String, String>, ApiError> {
    let tag = |tag: Params| {
        let (key, value) = (tag.get("Key").unwrap_or_default(), tag.get("Value").unwrap_or_default());
        check(key, value)?;
        Ok((key.to_owned(), value.to_owned()))
    };
    params.structures("Tag").into_iter().map(tag).collect()
}

/// The tags in `TagSpecification.N` for a resource that is being made. Other resource types are refused: the call does
/// not make them.
pub(super) fn specified(call: &Call<'_>, resource_type: &str) -> Result<BTreeMap<String, String>, ApiError> {
    Ok(specified_for(call, &[resource_type])?.remove(resource_type).unwrap_or_default())
}

/// The same for a call that makes resources of several types: the tags of each.
pub(super) fn specified_for<'a>(
    call: &Call<'_>,
    resource_types: &[&'a str],
) -> Result<BTreeMap<&'a str, BTreeMap<String, String>>, ApiError> {
    let mut all: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for specification in call.params.structures("TagSpecification") {
        let given = specification.required("ResourceType")?;
        let Some(resource_type) = resource_types.iter().find(|known| **known == given) else {
            return Err(errors::invalid_parameter_value(format!(
                "'{given}' is not a valid taggable resource type for this operation."
            )));
        };
        all.entry(resource_type).or_default().extend(read(&specification)?);
    }
    for (resource_type, tags) in &all {
        check_number(call, tags)?;
        if *resource_type != "image" && tags.keys().any(|key| key.starts_with(Image::SHARED_TAG)) {
            return Err(errors::shared_tag_not_permitted(resource_type));
        }
    }
    Ok(all)
}

/// Whether a resource may have all these tags.
pub(super) fn check_number(call: &Call<'_>, tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let limit = call.world.quotas.tags_per_resource;
    if tags.len() > limit { Err(errors::tag_limit_exceeded(limit)) } else { Ok(()) }
}

fn check(key: &str, value: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.chars().count() > LONGEST_KEY {
        return Err(errors::invalid_tag_key(key, "it has between 1 and 128 characters"));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(errors::invalid_tag_key(key, "the prefix 'aws:' is reserved"));
    }
    if value.chars().count() > LONGEST_VALUE {
        return Err(errors::invalid_parameter_value(format!(
            "Tag value exceeds the maximum length of {LONGEST_VALUE} characters"
        )));
    }
    Ok(())
}
