//! The Recycle Bin of images and snapshots: listed, and brought back.

use super::call::{Call, check_snapshot_id};
use super::paging::Page;
use super::{Action, done};
use crate::simulator::clock::{ec2_time, saturating_add};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_image_id;
use crate::simulator::world::{Binned, ImageState};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "ListImagesInRecycleBin",
        parameters: &["ImageId.N", "MaxResults", "NextToken"],
        lacking: &[],
        run: list_images,
    },
    Action { name: "RestoreImageFromRecycleBin", parameters: &["ImageId"], lacking: &[], run: restore_image },
    Action {
        name: "ListSnapshotsInRecycleBin",
        parameters: &["SnapshotId.N", "MaxResults", "NextToken"],
        lacking: &[],
        run: list_snapshots,
    },
    Action { name: "RestoreSnapshotFromRecycleBin", parameters: &["SnapshotId"], lacking: &[], run: restore_snapshot },
];

/// How many ids a call may have \[M, aws.md section 1.6\].
const MOST_IDS: usize = 20;

/// Keeps an image that is about to be deregistered, if there is a rule that says so; with its permissions, which come back with it.
pub(super) fn keep(call: &mut Call<'_>, id: &str) {
    let (now, keeps) = (call.now(), call.world.recycle_bin);
    let here = call.here_mut();
    // One that is being copied, or was in vain, is nothing to come back to.
    let image = here.images.get(id).filter(|image| matches!(image.state, ImageState::Available | ImageState::Disabled));
    if let (Some(content), Some(keeps)) = (image.cloned(), keeps) {
        let binned = Binned { content, entered: now, exits: saturating_add(now, keeps) };
        here.bin.images.insert(id.to_owned(), binned);
    }
}

/// Those of a list that are asked for, by the ids in a parameter; all, if there are none.
fn asked<'a>(call: &Call<'a>, parameter: &str) -> Result<Vec<&'a str>, ApiError> {
    let ids = call.params.list(parameter);
    if ids.len() > MOST_IDS {
        return Err(errors::invalid_parameter_value(format!("At most {MOST_IDS} ids can be given.")));
    }
    Ok(ids)
}

fn list_images(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    empty(call);
    let (ids, account) = (asked(call, "ImageId")?, call.account());
    let page = Page::read(call.params, (!ids.is_empty()).then_some("imageIdsSet"))?;
    let binned = call.here().bin.images.values().filter(|binned| binned.content.owner == account);
    let binned = binned.filter(|binned| ids.is_empty() || ids.contains(&binned.content.id.as_str())).collect();
    let mut answer = Xml::new();
    let binned = page.cut(&mut answer, binned, |binned| binned.content.id.clone());
    answer.list("imageSet", binned, |item, binned| {
        item.text("imageId", &binned.content.id);
        item.text("name", &binned.content.name);
        item.optional("description", binned.content.description.as_ref());
        write_times(item, binned);
    });
    Ok(answer)
}

fn list_snapshots(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    empty(call);
    let (ids, account) = (asked(call, "SnapshotId")?, call.account());
    let page = Page::read(call.params, (!ids.is_empty()).then_some("snapshotSet"))?;
    let binned = call.here().bin.snapshots.values().filter(|binned| binned.content.owner == account);
    let binned = binned.filter(|binned| ids.is_empty() || ids.contains(&binned.content.id.as_str())).collect();
    let mut answer = Xml::new();
    let binned = page.cut(&mut answer, binned, |binned| binned.content.id.clone());
    answer.list("snapshotSet", binned, |item, binned| {
        item.text("snapshotId", &binned.content.id);
        write_times(item, binned);
        item.optional("description", binned.content.description.as_ref());
        item.text("volumeId", &binned.content.volume_id);
    });
    Ok(answer)
}

fn write_times<T>(item: &mut Xml, binned: &Binned<T>) {
    item.text("recycleBinEnterTime", ec2_time(binned.entered));
    item.text("recycleBinExitTime", ec2_time(binned.exits));
}

fn restore_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    empty(call);
    let id = call.params.required("ImageId")?;
    if !is_image_id(id) {
        return Err(errors::image_id_malformed(id));
    }
    let account = call.account().to_owned();
    let bin = &mut call.here_mut().bin.images;
    let binned = bin.get(id).filter(|binned| binned.content.owner == account).cloned();
    let binned = binned.ok_or_else(|| errors::image_not_found(&[id]))?;
    bin.remove(id);
    call.here_mut().images.insert(id.to_owned(), binned.content);
    Ok(done())
}

fn restore_snapshot(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    empty(call);
    let id = call.params.required("SnapshotId")?;
    check_snapshot_id(id)?;
    let account = call.account().to_owned();
    let bin = &mut call.here_mut().bin.snapshots;
    let binned = bin.get(id).filter(|binned| binned.content.owner == account).cloned();
    let binned = binned.ok_or_else(|| errors::snapshot_not_found(id))?;
    bin.remove(id);
    let mut answer = Xml::new();
    super::describe_snapshots::write_snapshot(&mut answer, &binned.content, &account);
    call.here_mut().snapshots.insert(id.to_owned(), binned.content);
    Ok(answer)
}

fn empty(call: &mut Call<'_>) {
    let now = call.now();
    call.here_mut().bin.empty(now);
}
