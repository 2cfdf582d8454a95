//! `DeregisterImage`, `DisableImage` and `EnableImage`.

use super::call::Call;
use super::{Action, done, recycle_bin};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::world::ImageState;
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "DeregisterImage",
        parameters: &["ImageId", "DeleteAssociatedSnapshots"],
        lacking: &[],
        run: deregister_image,
    },
    Action { name: "DisableImage", parameters: &["ImageId"], lacking: &[], run: disable_image },
    Action { name: "EnableImage", parameters: &["ImageId"], lacking: &[], run: enable_image },
];

fn deregister_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let delete_snapshots = call.params.flag("DeleteAssociatedSnapshots")?.unwrap_or(false);
    let image = call.owned_image(id)?;
    if image.protection.holds_at(call.now()) {
        return Err(errors::deregistration_protected(id));
    }
    let snapshots: Vec<String> = image.snapshot_ids().map(str::to_owned).collect();
    recycle_bin::keep(call, id);
    call.world.cancel_copy(call.region, id);
    call.change_image(id, |image| {
        image.state = ImageState::Deregistered;
        image.launch_permissions.clear();
    });
    let mut answer = done();
    if delete_snapshots {
        let results: Vec<(String, &str)> = snapshots
            .into_iter()
            .map(|snapshot| {
                let result = delete_snapshot(call, &snapshot);
                (snapshot, result)
            })
            .collect();
        answer.list("deleteSnapshotResultSet", results, |item, (snapshot, result)| {
            item.text("snapshotId", snapshot);
            item.text("returnCode", result);
        });
    }
    Ok(answer)
}

/// Deletes a snapshot of an image that is gone, unless another image is made of it too; gives the `returnCode`.
fn delete_snapshot(call: &mut Call<'_>, id: &str) -> &'static str {
    if call.owned_snapshot(id).is_err() {
        return "missing-permissions";
    }
    if !call.here().images_of_snapshot(id).is_empty() {
        return "skipped";
    }
    call.take_away_snapshot(id);
    "success"
}

/// Removes every launch permission, and they do not come back when the image is enabled \[M doc, aws.md section 1.6\].
fn disable_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let image = call.owned_image(id)?;
    if image.state != ImageState::Available {
        return Err(errors::image_incorrect_state(id, image.state.as_str()));
    }
    call.change_image(id, |image| {
        image.state = ImageState::Disabled;
        image.launch_permissions.clear();
    });
    Ok(done())
}

fn enable_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let image = call.owned_image(id)?;
    if image.state != ImageState::Disabled {
        return Err(errors::image_incorrect_state(id, image.state.as_str()));
    }
    call.change_image(id, |image| image.state = ImageState::Available);
    Ok(done())
}
