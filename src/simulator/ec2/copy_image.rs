//! `CopyImage`: a copy of an image of any Region, made in the Region of the call and owned by the caller.

use std::collections::BTreeMap;

use super::Action;
use super::call::Call;
use super::{copying, register, tag_input};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_image_id;
use crate::simulator::params::Params;
use crate::simulator::permissions::Grantees;
use crate::simulator::world::{
    AccountTags, BlockDevice, DeregistrationProtection, Encryption, Image, ImageCopy, ImageState, Snapshot,
    SnapshotCopy, after, exchange,
};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "CopyImage",
    parameters: &[
        "ClientToken",
        "CopyImageTags",
        "Description",
        "Encrypted",
        "KmsKeyId",
        "Name",
        "SnapshotCopyCompletionDurationMinutes",
        "SourceImageId",
        "SourceRegion",
        "TagSpecification.N.ResourceType",
        "TagSpecification.N.Tag.N.Key",
        "TagSpecification.N.Tag.N.Value",
    ],
    lacking: &["DestinationAvailabilityZone", "DestinationAvailabilityZoneId", "DestinationOutpostArn"],
    run: copy_image,
}];

/// The longest client token \[M, aws.md section 1.0\].
const LONGEST_TOKEN: usize = 128;

/// The longest description \[M, aws.md section 1.5\].
const LONGEST_DESCRIPTION: usize = 255;

fn copy_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let params = call.params;
    let name = params.required("Name")?;
    let (source_id, source_region) = (params.required("SourceImageId")?, params.required("SourceRegion")?);
    let token = params.get("ClientToken").filter(|token| !token.is_empty());
    if token.is_some_and(|token| token.len() > LONGEST_TOKEN) {
        let message = format!("ClientToken has more than {LONGEST_TOKEN} characters.");
        return Err(errors::invalid_parameter_value(message));
    }
    let token = token.map(|token| (call.account().to_owned(), call.region.to_owned(), token.to_owned()));
    // A repetition is answered before anything else is looked at: by then the image may be gone, and the name is taken.
    if let Some(id) = token.as_ref().map(|token| repeated(call, token)).transpose()?.flatten() {
        return Ok(answer(&id));
    }
    register::check_name(call, name)?;
    let description = params.get("Description");
    if description.is_some_and(|text| text.chars().count() > LONGEST_DESCRIPTION) {
        let message = format!("Description has more than {LONGEST_DESCRIPTION} characters.");
        return Err(errors::invalid_parameter_value(message));
    }
    check_duration(params)?;
    let source = source_image(call, source_id, source_region)?;
    let snapshots = source_snapshots(call, &source, source_region)?;
    let encrypted = params.flag("Encrypted")?;
    if params.has("KmsKeyId") && encrypted != Some(true) {
        return Err(errors::key_without_encryption());
    }
    let is_encrypted = |snapshot: &&Snapshot| snapshot.encryption != Encryption::None;
    if let (Some(false), Some(snapshot)) = (encrypted, snapshots.iter().find(is_encrypted)) {
        return Err(errors::unencrypted_copy(&snapshot.id));
    }
    let (tags, snapshot_tags) = tags(call, &source)?;
    let quota = call.world.quotas.image_copies;
    if call.here().image_copies.values().filter(|copy| copy.account == call.account()).count() >= quota {
        return Err(errors::too_many_copies("image", quota));
    }

    let now = call.now();
    let trouble = call.world.copies.strike(call.region, source_id);
    let time = call.world.copies.milliseconds;
    let ends = trouble.as_ref().is_none_or(|trouble| !trouble.stalls).then(|| after(now, time));
    let id = call.world.ids.resource("ami-");
    let copies = copy_snapshots(call, &snapshots, source_region, encrypted == Some(true), ends, &snapshot_tags);
    let image = Image {
        id: id.clone(),
        owner: call.account().to_owned(),
        owner_alias: None,
        name: name.to_owned(),
        description: description.map(str::to_owned),
        state: ImageState::Pending,
        state_reason: None,
        created: now,
        // Neither this nor any permission is copied \[R and M doc, aws.md section 1.5\].
        deprecate_at: None,
        protection: DeregistrationProtection::Disabled,
        block_devices: source.block_devices.iter().map(|device| exchanged(device, &copies)).collect(),
        launch_permissions: Grantees::default(),
        tags,
        source: Some((source_id.to_owned(), source_region.to_owned())),
        last_launched: None,
        ..source
    };
    let failure = trouble.filter(|trouble| !trouble.stalls).map(|trouble| trouble.reason());
    let copy = ImageCopy { account: call.account().to_owned(), ends, failure };
    let here = call.here_mut();
    here.images.insert(id.clone(), image);
    here.image_copies.insert(id.clone(), copy);
    if let Some(token) = token {
        call.world.copy_tokens.insert(token, (without_dry_run(params), id.clone()));
    }
    Ok(answer(&id))
}

fn answer(id: &str) -> Xml {
    let mut answer = Xml::new();
    answer.text("imageId", id);
    answer
}

fn without_dry_run(params: &Params) -> Params {
    params.iter().filter(|(name, _)| *name != "DryRun").collect()
}

/// The image that was made for a client token before. How long EC2 remembers one is not documented; here it is for ever.
fn repeated(call: &Call<'_>, token: &(String, String, String)) -> Result<Option<String>, ApiError> {
    match call.world.copy_tokens.get(token) {
        Some((params, id)) if *params == without_dry_run(call.params) => Ok(Some(id.clone())),
        Some(_) => Err(errors::token_mismatch(&token.2)),
        None => Ok(None),
    }
}

/// Multiples of 15 minutes up to two days \[D, aws.md section 1.5\]. The copy takes as long as any other here: no longer.
fn check_duration(params: &Params) -> Result<(), ApiError> {
    match params.number("SnapshotCopyCompletionDurationMinutes")? {
        Some(minutes) if !((15..=2880).contains(&minutes) && minutes % 15 == 0) => {
            Err(errors::invalid_completion_duration(minutes))
        }
        _ => Ok(()),
    }
}

/// The image that is to be copied, which the caller may.
fn source_image(call: &Call<'_>, id: &str, region: &str) -> Result<Image, ApiError> {
    if !is_image_id(id) {
        return Err(errors::image_id_malformed(id));
    }
    if !call.world.regions.contains_key(region) {
        return Err(errors::invalid_region(region));
    }
    let membership = call.world.membership(call.account());
    let visible = |image: &&Image| image.is_visible_to(call.account(), &membership);
    let image = call.world.image(region, id).filter(visible).ok_or_else(|| errors::image_not_found(&[id]))?;
    if image.state != ImageState::Available {
        return Err(errors::image_unavailable(id));
    }
    if image.owner != call.account() {
        if !image.product_codes.is_empty() {
            return Err(errors::marketplace_copy());
        }
        if image.has_billing_product {
            return Err(errors::billing_product_copy());
        }
    }
    Ok(image.clone())
}

/// Its snapshots, all of which the caller has to own or to have been given: that the image is shared does not give them \[D, aws.md
/// section 1.5\].
fn source_snapshots(call: &Call<'_>, image: &Image, region: &str) -> Result<Vec<Snapshot>, ApiError> {
    let there = call.world.regions.get(region);
    let snapshot = |id: &str| {
        let there = there?;
        there.snapshots.get(id).filter(|snapshot| there.can_see_snapshot(snapshot, call.account())).cloned()
    };
    image.snapshot_ids().map(|id| snapshot(id).ok_or_else(errors::storage_not_permitted)).collect()
}

/// The tags of the copy, and of its snapshots: those that are asked for, and with `CopyImageTags` those that the caller has written
/// on the image; of somebody else's, those that its owner shares \[M doc, aws.md section 1.5\].
fn tags(call: &Call<'_>, source: &Image) -> Result<(AccountTags, AccountTags), ApiError> {
    let mut asked = tag_input::specified_for(call, &["image", "snapshot"])?;
    let mut image: BTreeMap<String, String> = BTreeMap::new();
    if call.params.flag("CopyImageTags")?.unwrap_or(false) {
        let seen = source.tags_seen_by(call.account());
        let is_own = source.owner == call.account();
        image.extend(seen.into_iter().filter(|(key, _)| is_own || key.starts_with(Image::SHARED_TAG)));
    }
    image.extend(asked.remove("image").unwrap_or_default());
    tag_input::check_number(call, &image)?;
    let written = |tags: BTreeMap<String, String>| {
        let mut written = AccountTags::default();
        *written.of_mut(call.account()) = tags;
        written
    };
    Ok((written(image), written(asked.remove("snapshot").unwrap_or_default())))
}

/// Begins to copy the snapshots. Gives the copy of each, and whether it will be encrypted.
fn copy_snapshots(
    call: &mut Call<'_>,
    snapshots: &[Snapshot],
    source_region: &str,
    encrypts: bool,
    ends: Option<jiff::Timestamp>,
    tags: &AccountTags,
) -> BTreeMap<String, (String, bool)> {
    let mut copies = BTreeMap::new();
    for source in snapshots {
        let encryption = match call.params.get("KmsKeyId") {
            // What is not found is an ARN of nothing: the copy fails later \[M doc, aws.md section 1.5\].
            Some(named) => {
                let key = copying::named_key(call.world, call.account(), call.region, named);
                let arn = key.map_or_else(|| named.to_owned(), |key| key.arn.clone());
                copying::with_key(call.world, &arn)
            }
            None => copying::without_a_key(call, &source.encryption, encrypts),
        };
        let is_encrypted = encryption != Encryption::None;
        let copy = SnapshotCopy {
            caller: call.caller.clone(),
            source_region: source_region.to_owned(),
            source_key: source.encryption.key().map(str::to_owned),
            encryption,
            volume_size: source.volume_size,
            started: call.now(),
            ends,
            failure: None,
            is_of_image: true,
        };
        let id = copying::begin(call, copy, Some(source), tags.clone());
        copies.insert(source.id.clone(), (id, is_encrypted));
    }
    copies
}

/// The device, made of the copy of its snapshot.
fn exchanged(device: &BlockDevice, copies: &BTreeMap<String, (String, bool)>) -> BlockDevice {
    BlockDevice {
        device_name: device.device_name.clone(),
        volume: exchange(&device.volume, |snapshot| copies.get(snapshot).cloned()),
    }
}
