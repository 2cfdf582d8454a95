//! Which image is meant: one by its id, or one that is found.

#![allow(clippy::duplicated_attributes, reason = "kube's derive repeats the attributes that it passes on")]

use std::{collections::BTreeMap, fmt};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::ImageId;

/// Which image is meant: one by its id, or the one that has a name and tags. Of those that can be found, only available images count that
/// are not deprecated, and no copies that an AmiDistribution has made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.id) != (has(self.name) || has(self.tags))")
    .message("name the image in exactly one way: set id, such as id: ami-0123456789abcdef0, or set name, tags or both, by which it is found"))]
#[x_kube(validation = Rule::new("!has(self.id) || (!has(self.owner) && (!has(self.newest) || !self.newest))")
    .message("owner and newest are for images that are found by name or tags; remove them, or remove id"))]
pub struct ImageSelector {
    /// The image's id in its Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ImageId>,

    /// The name of the image, where * stands for any characters and ? for one, such as al2023-*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z0-9()\[\] ./'@_*?-]+$"))]
    pub name: Option<String>,

    /// Tags that the image has, with all of these values, in which * and ? stand for the same. AWS shows the tags of an image to its
    /// owner alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags")]
    pub tags: BTreeMap<String, String>,

    /// The account that owns the image, or amazon. Without it, the account of the identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12), regex(pattern = r"^([0-9]{12}|self|amazon)$"))]
    pub owner: Option<String>,

    /// Whether the newest is taken where several images are found, and a newer one that appears takes its place. Without it, several
    /// are an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newest: bool,
}

impl ImageSelector {
    /// The image with this id.
    pub fn by_id(id: ImageId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// Whether the image has to be found.
    pub fn finds(&self) -> bool {
        self.id.is_none() && (self.name.is_some() || !self.tags.is_empty())
    }
}

/// As many filters as EC2 takes (aws.md section 1.2), with room for ours.
fn tags(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 20,
        "additionalProperties": {"type": "string", "maxLength": 256},
        "x-kubernetes-validations": [{
            "rule": "self.all(key, size(key) > 0 && size(key) <= 128)",
            "message": "tag keys have 1 to 128 characters",
        }],
    })
}

impl fmt::Display for ImageSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            return write!(f, "{id}");
        }
        let name = self.name.iter().map(|name| format!("name {name}"));
        let tags = self.tags.iter().map(|(key, value)| format!("tag {key}={value}"));
        f.write_str(&name.chain(tags).collect::<Vec<_>>().join(" and "))
    }
}
