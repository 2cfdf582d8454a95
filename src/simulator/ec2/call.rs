//! One call while it is executed: the world and who calls, and the look-ups that most actions begin with.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::{is_image_id, is_snapshot_id};
use crate::simulator::params::Params;
use crate::simulator::world::{Caller, Image, ImageState, RecycleBin, RegionState, Snapshot, World};

/// What a Region without anything in it holds. Calls to Regions that do not exist do not come this far.
static NOTHING: RegionState = RegionState {
    images: BTreeMap::new(),
    snapshots: BTreeMap::new(),
    keys: BTreeMap::new(),
    instances: BTreeMap::new(),
    bin: RecycleBin { images: BTreeMap::new(), snapshots: BTreeMap::new() },
    usage_reports: BTreeMap::new(),
    snapshot_copies: BTreeMap::new(),
    image_copies: BTreeMap::new(),
    public_access: BTreeMap::new(),
};

/// What an action works with.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) caller: &'a Caller,
    pub(super) region: &'a str,
    pub(super) params: &'a Params,
}

impl<'a> Call<'a> {
    /// The account that calls.
    pub(super) fn account(&self) -> &'a str {
        &self.caller.account
    }

    /// The time that it is.
    pub(super) fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// What is in the Region.
    pub(super) fn here(&self) -> &RegionState {
        self.world.regions.get(self.region).unwrap_or(&NOTHING)
    }

    /// What is in the Region, to be changed.
    pub(super) fn here_mut(&mut self) -> &mut RegionState {
        self.world.regions.entry(self.region.to_owned()).or_default()
    }

    /// The parameter `ImageId`, which has to be there and well formed.
    pub(super) fn image_id(&self) -> Result<&'a str, ApiError> {
        let id = self.params.required("ImageId")?;
        if is_image_id(id) { Ok(id) } else { Err(errors::image_id_malformed(id)) }
    }

    /// The image with this id, or its tombstone.
    pub(super) fn existing_image(&self, id: &str) -> Result<&Image, ApiError> {
        self.here().images.get(id).ok_or_else(|| errors::image_not_found(&[id]))
    }

    /// The image that the call is about: it exists, is the caller's, and not deregistered.
    pub(super) fn owned_image(&self, id: &str) -> Result<&Image, ApiError> {
        let image = self.existing_image(id)?;
        if image.owner != self.account() {
            return Err(errors::not_authorized_for_image(id));
        }
        if image.state == ImageState::Deregistered {
            return Err(errors::image_deregistered(id));
        }
        Ok(image)
    }

    /// [`Call::owned_image`], which can be modified: a pending or disabled one cannot.
    pub(super) fn modifiable_image(&self, id: &str) -> Result<&Image, ApiError> {
        let image = self.owned_image(id)?;
        if image.state == ImageState::Available { Ok(image) } else { Err(errors::image_unavailable(id)) }
    }

    /// Changes the image, which the action has looked up before.
    pub(super) fn change_image(&mut self, id: &str, change: impl FnOnce(&mut Image)) {
        if let Some(image) = self.here_mut().images.get_mut(id) {
            change(image);
        }
    }

    /// Takes a snapshot away that nothing needs any more.
    pub(super) fn take_away_snapshot(&mut self, id: &str) {
        let (now, keeps) = (self.now(), self.world.recycle_bin);
        self.here_mut().delete_snapshot(id, now, keeps);
    }

    /// The parameter `SnapshotId`, which has to be there and well formed.
    pub(super) fn snapshot_id(&self) -> Result<&'a str, ApiError> {
        let id = self.params.required("SnapshotId")?;
        check_snapshot_id(id)?;
        Ok(id)
    }

    /// The snapshot that the call is about: it exists and is the caller's. EC2 does not tell the two apart \[C, aws.md
    /// section 1.0\].
    pub(super) fn owned_snapshot(&self, id: &str) -> Result<&Snapshot, ApiError> {
        let snapshot = self.here().snapshots.get(id).filter(|snapshot| snapshot.owner == self.account());
        snapshot.ok_or_else(|| errors::snapshot_not_found(id))
    }
}

/// Whether the id can be a snapshot's; there are two errors for one that cannot (aws.md section 1.1).
pub(super) fn check_snapshot_id(id: &str) -> Result<(), ApiError> {
    match id {
        _ if is_snapshot_id(id) => Ok(()),
        _ if id.starts_with("snap-") => Err(errors::snapshot_id_malformed(id)),
        _ => Err(errors::snapshot_id_expected(id)),
    }
}
