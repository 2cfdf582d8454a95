//! Copies of images in one Region, in the operator's words.
//!
//! Knows the shapes of `aws-sdk-ec2`, as [`Ec2`](super::Ec2) does, with which it shares client and request lanes. Every call passes
//! through [`Calls`]. It sees only images of its own account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_ec2::{
    Client,
    types::{Filter, Image as SdkImage, ResourceType, Snapshot, Tag, TagSpecification},
};

use super::{
    action::Action,
    calls::{Calls, Holds},
    ec2::{PAGE, next_page},
    failure::{Class, Failure},
    words::{Copy, CopyOrder, Protection, SnapshotCopy},
};
use crate::{
    api::{ImageId, ImageSelector, Region, SnapshotId},
    runtime::agenda::Urgency,
};

/// The value of `Owner` that means the caller's account (aws.md section 1.2).
const OWN: &str = "self";

/// EC2 in one Region with one set of credentials, as far as it is about copies.
#[derive(Debug)]
pub struct Copies {
    client: Client,
    calls: Arc<Calls>,
}

impl Copies {
    pub(super) fn new(client: Client, calls: Arc<Calls>) -> Self {
        Self { client, calls }
    }

    /// The account's own images that carry a tag with this value, in whatever state, in the order of their ids.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn tagged(&self, key: &str, value: &str, urgency: Urgency) -> Result<Vec<Copy>, Failure> {
        self.describe([filter(&format!("tag:{key}"), [value.to_owned()])], urgency).await
    }

    /// The account's own images that were copied from an image, whoever has copied them.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn copied_from(&self, region: &Region, image: &ImageId, urgency: Urgency) -> Result<Vec<Copy>, Failure> {
        let filters =
            [filter("source-image-id", [image.to_string()]), filter("source-image-region", [region.to_string()])];
        self.describe(filters, urgency).await
    }

    /// The available images of an owner that have a name and tags, in which * and ? are wildcards (aws.md section 1.0); all of them, or
    /// the one with this id.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn matching(
        &self,
        wanted: &ImageSelector,
        id: Option<&ImageId>,
        urgency: Urgency,
    ) -> Result<Vec<Copy>, Failure> {
        let name = wanted.name.iter().map(|name| filter("name", [name.clone()]));
        let tags = wanted.tags.iter().map(|(key, value)| filter(&format!("tag:{key}"), [value.clone()]));
        let id = id.map(|id| filter("image-id", [id.to_string()]));
        let filters = name.chain(tags).chain(id).chain([filter("state", ["available".to_owned()])]);
        self.describe_of(wanted.owner.as_deref().unwrap_or(OWN), filters, urgency).await
    }

    async fn describe(
        &self,
        filters: impl IntoIterator<Item = Filter>,
        urgency: Urgency,
    ) -> Result<Vec<Copy>, Failure> {
        self.describe_of(OWN, filters, urgency).await
    }

    async fn describe_of(
        &self,
        owner: &str,
        filters: impl IntoIterator<Item = Filter>,
        urgency: Urgency,
    ) -> Result<Vec<Copy>, Failure> {
        let filters: Vec<Filter> = filters.into_iter().collect();
        let (mut found, mut page): (Vec<Copy>, Option<String>) = (Vec::new(), None);
        loop {
            let call = self
                .client
                .describe_images()
                .owners(owner)
                .set_filters(Some(filters.clone()))
                .include_disabled(true)
                .include_deprecated(true)
                .max_results(PAGE)
                .set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeImages, urgency, || call.clone().send()).await?;
            found.extend(answer.images().iter().filter_map(copy));
            page = next_page(answer.next_token());
            if page.is_none() {
                found.sort_by(|one, other| one.id.cmp(&other.id));
                return Ok(found);
            }
        }
    }

    /// The account's snapshots with these ids, and those that carry a tag with this value.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn snapshots(&self, ids: &BTreeSet<SnapshotId>, urgency: Urgency) -> Result<Vec<SnapshotCopy>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.describe_snapshots(filter("snapshot-id", ids.iter().map(ToString::to_string)), urgency).await
    }

    /// The account's snapshots that carry a tag with this value.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn tagged_snapshots(
        &self,
        key: &str,
        value: &str,
        urgency: Urgency,
    ) -> Result<Vec<SnapshotCopy>, Failure> {
        self.describe_snapshots(filter(&format!("tag:{key}"), [value.to_owned()]), urgency).await
    }

    async fn describe_snapshots(&self, filter: Filter, urgency: Urgency) -> Result<Vec<SnapshotCopy>, Failure> {
        let (mut found, mut page): (Vec<SnapshotCopy>, Option<String>) = (Vec::new(), None);
        loop {
            let call = self.client.describe_snapshots().owner_ids(OWN).filters(filter.clone()).max_results(PAGE);
            let call = call.set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeSnapshots, urgency, || call.clone().send()).await?;
            found.extend(answer.snapshots().iter().filter_map(snapshot));
            page = next_page(answer.next_token());
            if page.is_none() {
                return Ok(found);
            }
        }
    }

    /// Orders a copy. Returns its id, at once: whether it can be made, the key above all, turns out only later (aws.md section 1.5).
    ///
    /// # Errors
    /// When the call fails. Without an answer the copy may have been begun; the same order again returns it.
    pub async fn copy(&self, order: &CopyOrder, holds: &Holds<'_>) -> Result<ImageId, Failure> {
        let call = self
            .client
            .copy_image()
            .source_region(order.region.as_str())
            .source_image_id(order.image.as_str())
            .name(&order.name)
            .set_description(order.description.clone())
            .client_token(&order.token)
            .set_encrypted(order.key.is_some().then_some(true))
            .set_kms_key_id(order.key.as_ref().map(ToString::to_string))
            .copy_image_tags(order.copy_tags)
            .tag_specifications(specification(ResourceType::Image, &order.tags))
            .tag_specifications(specification(ResourceType::Snapshot, &order.snapshot_tags));
        let action = Action::CopyImage;
        let answer = self.calls.make_if(action, Urgency::Give, holds, || call.clone().send()).await?;
        let id = answer.image_id().and_then(|id| id.parse().ok());
        id.ok_or_else(|| Failure::unanswered(action.name(), "the answer does not name the copy"))
    }

    /// Deregisters an image, and deletes those of its snapshots that no other image has. That it is no more is as good.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn deregister(&self, id: &ImageId, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.deregister_image().image_id(id.as_str()).delete_associated_snapshots(true);
        let result = self.calls.make_if(Action::DeregisterImage, Urgency::Take, holds, || call.clone().send()).await;
        unless_gone(result.map(drop))
    }

    /// Deletes a snapshot. That it is no more is as good.
    ///
    /// # Errors
    /// When the call fails, as it does for a snapshot that an image has.
    pub async fn delete_snapshot(&self, id: &SnapshotId, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.delete_snapshot().snapshot_id(id.as_str());
        let result = self.calls.make_if(Action::DeleteSnapshot, Urgency::Take, holds, || call.clone().send()).await;
        unless_gone(result.map(drop))
    }
}

fn unless_gone(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure { class: Class::NotFound, .. }) => Ok(()),
        // So the second deregistration of an image is answered (aws.md section 1.1).
        Err(Failure { code: Some(code), .. }) if code == "InvalidAMIID.Unavailable" => Ok(()),
        result => result,
    }
}

/// A filter that one of the values passes.
pub(super) fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}

fn specification(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

/// An image of `DescribeImages`, if it has an id that can be read.
fn copy(image: &SdkImage) -> Option<Copy> {
    let disks = || image.block_device_mappings().iter().filter_map(|mapping| mapping.ebs());
    let source = image.source_image_region().zip(image.source_image_id());
    let reason = image.state_reason().map(|reason| {
        let parts = [reason.code(), reason.message()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    Some(Copy {
        id: image.image_id()?.parse().ok()?,
        name: image.name().map(ToOwned::to_owned),
        state: image.state().map_or("unknown", |state| state.as_str()).to_owned(),
        reason: reason.filter(|reason| !reason.is_empty()),
        created: image.creation_date().and_then(|date| date.parse().ok()),
        source: source.and_then(|(region, id)| Some((region.parse().ok()?, id.parse().ok()?))),
        tags: image
            .tags()
            .iter()
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
            .collect(),
        snapshots: disks().filter_map(|disk| disk.snapshot_id()?.parse().ok()).collect(),
        encrypted: disks().next().is_some() && disks().all(|disk| disk.encrypted().unwrap_or_default()),
        deprecated: image.deprecation_time().and_then(|date| date.parse().ok()),
        // aws.md section 1.2.
        protection: match image.deregistration_protection() {
            None | Some("disabled") => Protection::Off,
            Some("enabled-without-cooldown") => Protection::Plain,
            Some("enabled-with-cooldown") => Protection::WithCooldown,
            Some(_) => Protection::Other,
        },
        launched: image.last_launched_time().and_then(|date| date.parse().ok()),
        public: image.public().unwrap_or_default(),
    })
}

fn snapshot(snapshot: &Snapshot) -> Option<SnapshotCopy> {
    Some(SnapshotCopy {
        id: snapshot.snapshot_id()?.parse().ok()?,
        state: snapshot.state().map_or("unknown", |state| state.as_str()).to_owned(),
        message: snapshot.state_message().filter(|message| !message.is_empty()).map(ToOwned::to_owned),
        progress: snapshot.progress().and_then(|text| text.trim_end_matches('%').parse().ok()).unwrap_or(0),
        key: snapshot.kms_key_id().and_then(|arn| arn.parse().ok()),
    })
}
