//! `CreateTags`, `DeleteTags` and `DescribeTags` on images and snapshots. Each account has a view of its own; only what the
//! owner of an image writes under `ec2:SharedTag/` is seen by those that it is shared with (aws.md section 1.9).

use std::collections::BTreeMap;

use super::call::{Call, check_snapshot_id};
use super::filters::Filters;
use super::paging::Page;
use super::{Action, done, tag_input};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_image_id;
use crate::simulator::params::Params;
use crate::simulator::world::{AccountTags, Image};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "CreateTags",
        parameters: &["ResourceId.N", "Tag.N.Key", "Tag.N.Value"],
        lacking: &[],
        run: create_tags,
    },
    Action {
        name: "DeleteTags",
        parameters: &["ResourceId.N", "Tag.N.Key", "Tag.N.Value"],
        lacking: &[],
        run: delete_tags,
    },
    Action {
        name: "DescribeTags",
        parameters: &["MaxResults", "NextToken", "Filter.N.Name", "Filter.N.Value.N"],
        lacking: &[],
        run: describe_tags,
    },
];

const MAX_RESOURCES: usize = 1000;

fn create_tags(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let ids = resource_ids(call)?;
    let tags = tag_input::read(call.params)?;
    if tags.is_empty() {
        return Err(errors::missing_parameter("Tag"));
    }
    for id in &ids {
        let mut after =
            resource_tags(call, id).and_then(|written| written.of(call.account())).cloned().unwrap_or_default();
        after.extend(tags.clone());
        tag_input::check_number(call, &after)?;
        if tags.keys().any(|key| key.starts_with(Image::SHARED_TAG)) {
            check_shared_tag(call, id)?;
        }
    }
    for id in ids {
        change_tags(call, id, |written| written.extend(tags.clone()));
    }
    Ok(done())
}

fn delete_tags(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let ids = resource_ids(call)?;
    let doomed = call.params.structures("Tag");
    for tag in &doomed {
        tag.required("Key")?;
    }
    // Without any tag all go; a tag without a value goes whatever its value is \[M, aws.md section 1.9\].
    let is_doomed = |key: &str, value: &str| {
        let names = |tag: &Params| tag.get("Key") == Some(key) && tag.get("Value").is_none_or(|wanted| wanted == value);
        doomed.is_empty() || doomed.iter().any(names)
    };
    for id in ids {
        change_tags(call, id, |written| written.retain(|key, value| !is_doomed(key, value)));
    }
    Ok(done())
}

fn describe_tags(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let filters = Filters::read(call.params, &["key", "resource-id", "resource-type", "tag-key", "value"])?;
    let page = Page::read(call.params, None)?;
    let account = call.account();
    let membership = call.world.membership(account);
    let here = call.here();
    let images = here.images.values().filter(|image| image.is_visible_to(account, &membership));
    let of_images = images.flat_map(|image| entries(&image.id, "image", image.tags_seen_by(account)));
    let snapshots = here.snapshots.values().filter(|snapshot| here.can_see_snapshot(snapshot, account));
    let of_snapshots = snapshots
        .flat_map(|snapshot| entries(&snapshot.id, "snapshot", snapshot.tags.of(account).cloned().unwrap_or_default()));
    let found: Vec<Entry> = of_images.chain(of_snapshots).filter(|entry| entry.passes(&filters)).collect();

    let mut answer = Xml::new();
    let found = page.cut(&mut answer, found, |entry| format!("{}/{}", entry.resource_id, entry.key));
    answer.list("tagSet", found, |item, entry| {
        item.text("key", &entry.key);
        item.text("resourceId", &entry.resource_id);
        item.text("resourceType", entry.resource_type);
        item.text("value", &entry.value);
    });
    Ok(answer)
}

/// One tag of one resource.
struct Entry {
    resource_id: String,
    resource_type: &'static str,
    key: String,
    value: String,
}

fn entries(id: &str, resource_type: &'static str, tags: BTreeMap<String, String>) -> Vec<Entry> {
    let entry = |(key, value)| Entry { resource_id: id.to_owned(), resource_type, key, value };
    tags.into_iter().map(entry).collect()
}

impl Entry {
    fn passes(&self, filters: &Filters) -> bool {
        let tags = || BTreeMap::from([(self.key.clone(), self.value.clone())]);
        filters.pass(tags, |name| match name {
            "key" => vec![self.key.clone()],
            "resource-id" => vec![self.resource_id.clone()],
            "resource-type" => vec![self.resource_type.to_owned()],
            "value" => vec![self.value.clone()],
            _ => Vec::new(),
        })
    }
}

/// The resources of the call, each of which the caller can see.
fn resource_ids<'a>(call: &Call<'a>) -> Result<Vec<&'a str>, ApiError> {
    let ids = call.params.list("ResourceId");
    if ids.is_empty() {
        return Err(errors::missing_parameter("ResourceId"));
    }
    if ids.len() > MAX_RESOURCES {
        return Err(errors::invalid_parameter_value(format!("The maximum number of resources is {MAX_RESOURCES}.")));
    }
    let membership = call.world.membership(call.account());
    for id in &ids {
        if id.starts_with("ami-") {
            if !is_image_id(id) {
                return Err(errors::image_id_malformed(id));
            }
            let image = call.existing_image(id)?;
            if !image.is_visible_to(call.account(), &membership) {
                return Err(errors::image_not_found(&[id]));
            }
        } else if id.starts_with("snap-") {
            check_snapshot_id(id)?;
            let here = call.here();
            if !here.snapshots.get(*id).is_some_and(|snapshot| here.can_see_snapshot(snapshot, call.account())) {
                return Err(errors::snapshot_not_found(id));
            }
        } else {
            return Err(errors::invalid_resource_id(id));
        }
    }
    Ok(ids)
}

fn check_shared_tag(call: &Call<'_>, id: &str) -> Result<(), ApiError> {
    let is_own_image = call.here().images.get(id).is_some_and(|image| image.owner == call.account());
    if is_own_image { Ok(()) } else { Err(errors::shared_tag_not_permitted(id)) }
}

fn resource_tags<'a>(call: &'a Call<'_>, id: &str) -> Option<&'a AccountTags> {
    let of_image = || call.here().images.get(id).map(|image| &image.tags);
    of_image().or_else(|| call.here().snapshots.get(id).map(|snapshot| &snapshot.tags))
}

fn change_tags(call: &mut Call<'_>, id: &str, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let account = call.account();
    let here = call.here_mut();
    if let Some(image) = here.images.get_mut(id) {
        change(image.tags.of_mut(account));
    } else if let Some(snapshot) = here.snapshots.get_mut(id) {
        change(snapshot.tags.of_mut(account));
    }
}

/// `<tagSet>`.
pub(super) fn write_tags(item: &mut Xml, tags: &BTreeMap<String, String>) {
    item.list("tagSet", tags, |entry, (key, value)| {
        entry.text("key", key);
        entry.text("value", value);
    });
}
