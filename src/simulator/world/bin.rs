//! The Recycle Bin: images and snapshots that were deleted, and can come back for a while.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Image, Snapshot};

/// Something in the bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Binned<T> {
    pub(in crate::simulator) content: T,
    pub(in crate::simulator) entered: Timestamp,
    /// When it is gone for good.
    pub(in crate::simulator) exits: Timestamp,
}

/// What is in the bin of a Region, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::simulator) struct RecycleBin {
    pub(in crate::simulator) images: BTreeMap<String, Binned<Image>>,
    pub(in crate::simulator) snapshots: BTreeMap<String, Binned<Snapshot>>,
}

impl RecycleBin {
    /// Forgets what has been in it for long enough.
    pub(in crate::simulator) fn empty(&mut self, now: Timestamp) {
        self.images.retain(|_, binned| binned.exits > now);
        self.snapshots.retain(|_, binned| binned.exits > now);
    }
}
