//! Block public access, for images and for snapshots: of the calling account, in the Region. Takes effect at once, where
//! AWS may take ten minutes.

#![allow(clippy::unnecessary_wraps, reason = "all actions have the same signature, also those that cannot fail")]

use super::Action;
use super::call::Call;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::world::{ImagePublicAccess, PublicAccess, SnapshotPublicAccess};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action { name: "GetImageBlockPublicAccessState", parameters: &[], lacking: &[], run: get_images },
    Action {
        name: "EnableImageBlockPublicAccess",
        parameters: &["ImageBlockPublicAccessState"],
        lacking: &[],
        run: enable_images,
    },
    Action { name: "DisableImageBlockPublicAccess", parameters: &[], lacking: &[], run: disable_images },
    Action { name: "GetSnapshotBlockPublicAccessState", parameters: &[], lacking: &[], run: get_snapshots },
    Action { name: "EnableSnapshotBlockPublicAccess", parameters: &["State"], lacking: &[], run: enable_snapshots },
    Action { name: "DisableSnapshotBlockPublicAccess", parameters: &[], lacking: &[], run: disable_snapshots },
];

/// The element that the three calls about images answer with.
const IMAGES: &str = "imageBlockPublicAccessState";

fn get_images(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let access = call.here().public_access_of(call.account());
    Ok(answer(IMAGES, access.images.as_str(), true))
}

fn enable_images(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    match call.params.required("ImageBlockPublicAccessState")? {
        "block-new-sharing" => Ok(set_images(call, ImagePublicAccess::BlockNewSharing)),
        other => Err(invalid_state(other)),
    }
}

fn disable_images(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    Ok(set_images(call, ImagePublicAccess::Unblocked))
}

fn set_images(call: &mut Call<'_>, state: ImagePublicAccess) -> Xml {
    own_access(call).images = state;
    answer(IMAGES, state.as_str(), false)
}

fn get_snapshots(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let access = call.here().public_access_of(call.account());
    Ok(answer("state", access.snapshots.as_str(), true))
}

fn enable_snapshots(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    match call.params.required("State")? {
        "block-all-sharing" => Ok(set_snapshots(call, SnapshotPublicAccess::BlockAllSharing)),
        "block-new-sharing" => Ok(set_snapshots(call, SnapshotPublicAccess::BlockNewSharing)),
        // `unblocked` is in the model's values; switching off is the other call's.
        other => Err(invalid_state(other)),
    }
}

fn disable_snapshots(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    Ok(set_snapshots(call, SnapshotPublicAccess::Unblocked))
}

fn set_snapshots(call: &mut Call<'_>, state: SnapshotPublicAccess) -> Xml {
    own_access(call).snapshots = state;
    answer("state", state.as_str(), false)
}

fn own_access<'a>(call: &'a mut Call<'_>) -> &'a mut PublicAccess {
    let account = call.account().to_owned();
    call.here_mut().public_access.entry(account).or_default()
}

fn answer(element: &str, state: &str, managed: bool) -> Xml {
    let mut answer = Xml::new();
    answer.text(element, state);
    if managed {
        answer.text("managedBy", "account");
    }
    answer
}

fn invalid_state(value: &str) -> ApiError {
    errors::invalid_parameter_value(format!("Value ({value}) for parameter state is invalid."))
}
