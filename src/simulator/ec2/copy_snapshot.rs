//! `CopySnapshot`: a copy of one snapshot. There is no client token: every call makes another one \[M and C, aws.md section 1.4\].

use super::Action;
use super::call::{Call, check_snapshot_id};
use super::{copying, tag_input};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::kms::access::{may, principal};
use crate::simulator::world::{AccountTags, Encryption, Snapshot, SnapshotCopy, SnapshotState, after};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "CopySnapshot",
    parameters: &[
        "CompletionDurationMinutes",
        "Description",
        // SDKs send these two, which say again what the call says already.
        "DestinationRegion",
        "Encrypted",
        "KmsKeyId",
        "PresignedUrl",
        "SourceRegion",
        "SourceSnapshotId",
        "TagSpecification.N.ResourceType",
        "TagSpecification.N.Tag.N.Key",
        "TagSpecification.N.Tag.N.Value",
    ],
    lacking: &["DestinationAvailabilityZone", "DestinationOutpostArn"],
    run: copy_snapshot,
}];

fn copy_snapshot(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let params = call.params;
    let (source_id, source_region) = (params.required("SourceSnapshotId")?, params.required("SourceRegion")?);
    check_snapshot_id(source_id)?;
    if !call.world.regions.contains_key(source_region) {
        return Err(errors::invalid_region(source_region));
    }
    if let Some(other) = params.get("DestinationRegion").filter(|region| *region != call.region) {
        return Err(errors::invalid_parameter_value(format!(
            "Value ({other}) for parameter destinationRegion is invalid."
        )));
    }
    if let Some(minutes) = params.number("CompletionDurationMinutes")?
        && !((15..=2880).contains(&minutes) && minutes % 15 == 0)
    {
        return Err(errors::invalid_completion_duration(minutes));
    }
    // "Encrypted: false" for an encrypted source has no effect \[C\].
    let encrypts = params.flag("Encrypted")?.unwrap_or(false);
    if params.has("KmsKeyId") && !encrypts {
        return Err(errors::key_without_encryption());
    }
    let named = named_key(call)?;
    let tags = tag_input::specified(call, "snapshot")?;
    let quota = call.world.quotas.snapshot_copies;
    let mine = |copy: &&SnapshotCopy| copy.caller.account == call.account() && !copy.is_of_image;
    if call.here().snapshot_copies.values().filter(mine).count() >= quota {
        return Err(errors::too_many_copies("snapshot", quota));
    }

    let there = call.world.regions.get(source_region);
    let visible = |snapshot: &&Snapshot| there.is_some_and(|there| there.can_see_snapshot(snapshot, call.account()));
    let source = call.world.snapshot(source_region, source_id).filter(visible).cloned();
    // What is not there is found out later \[C\].
    let failure = match source.as_ref().map(|source| source.state) {
        None => Some("Source snapshot is not found."),
        Some(SnapshotState::Completed) => None,
        Some(_) => Some("Source snapshot is not complete"),
    };
    let of_source = source.as_ref().map_or(Encryption::None, |source| source.encryption.clone());
    let encryption = match named {
        Some(encryption) => encryption,
        None => copying::without_a_key(call, &of_source, encrypts),
    };
    let now = call.now();
    let copy = SnapshotCopy {
        caller: call.caller.clone(),
        source_region: source_region.to_owned(),
        source_key: of_source.key().map(str::to_owned),
        encryption,
        volume_size: source.as_ref().map_or(0, |source| source.volume_size),
        started: now,
        ends: Some(after(now, call.world.copies.milliseconds)),
        failure: failure.map(str::to_owned),
        is_of_image: false,
    };
    let mut written = AccountTags::default();
    written.of_mut(call.account()).clone_from(&tags);
    let id = copying::begin(call, copy, source.as_ref(), written);
    let mut answer = Xml::new();
    answer.text("snapshotId", id);
    if !tags.is_empty() {
        super::tags::write_tags(&mut answer, &tags);
    }
    Ok(answer)
}

/// The key that is named, which here is looked at at once, as far as the caller may look at it \[C, aws.md section 1.4\].
fn named_key(call: &Call<'_>) -> Result<Option<Encryption>, ApiError> {
    let Some(named) = call.params.get("KmsKeyId") else { return Ok(None) };
    let key = copying::named_key(call.world, call.account(), call.region, named);
    let key = key.ok_or_else(|| errors::copy_key_invalid(named))?;
    let mut user = principal(call.world, call.account(), &call.caller.arn);
    user.via = Some(format!("ec2.{}.amazonaws.com", call.region));
    if !may(call.world, key, &user, "DescribeKey") {
        return Err(errors::copy_key_not_authorized(&key.arn));
    }
    if !copying::is_enabled(key) {
        return Err(errors::copy_key_disabled(named));
    }
    Ok(Some(copying::with_key(call.world, &key.arn)))
}
