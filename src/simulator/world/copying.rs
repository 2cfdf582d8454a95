//! Copies of snapshots and images that are under way, and what becomes of them as time passes.
//!
//! A copy is looked at when somebody looks at the world: there is no other clock that drives it.

use jiff::{SignedDuration, Timestamp};

use super::{Caller, Encryption, ImageState, KeyState, RegionState, SnapshotState, Volume, World};
use crate::simulator::kms::access::{may, principal};
use crate::simulator::launch::KEY_OPERATIONS;

/// A snapshot that is being copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct SnapshotCopy {
    /// Who copies.
    pub(in crate::simulator) caller: Caller,
    /// The Region that it is copied from.
    pub(in crate::simulator) source_region: String,
    /// The key of what is copied.
    pub(in crate::simulator) source_key: Option<String>,
    /// What the copy will be.
    pub(in crate::simulator) encryption: Encryption,
    pub(in crate::simulator) volume_size: i64,
    pub(in crate::simulator) started: Timestamp,
    /// When it is done; never, if it stalls.
    pub(in crate::simulator) ends: Option<Timestamp>,
    /// Why it will fail, if that is known from the beginning.
    pub(in crate::simulator) failure: Option<String>,
    /// Whether it is copied for an image.
    pub(in crate::simulator) is_of_image: bool,
}

/// An image that is being copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct ImageCopy {
    pub(in crate::simulator) account: String,
    /// When it is done at the earliest; never, if it stalls.
    pub(in crate::simulator) ends: Option<Timestamp>,
    /// Code and message of why it will fail, if that is known from the beginning.
    pub(in crate::simulator) failure: Option<(String, String)>,
}

/// What AWS says of a key that cannot be used \[C for `CopySnapshot`, aws.md section 1.4\].
const KEY_NOT_ACCESSIBLE: &str = "Given key ID is not accessible";

impl SnapshotCopy {
    /// How much is done, in percent. Of a copy that stalls it is half.
    fn progress(&self, now: Timestamp) -> u8 {
        let Some(ends) = self.ends else { return 50 };
        let (whole, passed) = (ends.duration_since(self.started), now.duration_since(self.started));
        let (whole, passed) = (whole.as_millis().max(1), passed.as_millis().clamp(0, whole.as_millis()));
        u8::try_from(passed * 100 / whole).unwrap_or(100).min(99)
    }
}

impl World {
    /// Lets copies go on as far as they are by now.
    pub(in crate::simulator) fn go_on_copying(&mut self) {
        let copies = |here: &RegionState| !(here.snapshot_copies.is_empty() && here.image_copies.is_empty());
        let regions: Vec<String> =
            self.regions.iter().filter(|(_, here)| copies(here)).map(|(name, _)| name.clone()).collect();
        let now = self.now();
        for region in regions {
            self.go_on_with_snapshots(&region, now);
            self.go_on_with_images(&region, now);
        }
    }

    fn go_on_with_snapshots(&mut self, region: &str, now: Timestamp) {
        let Some(here) = self.regions.get(region).filter(|here| !here.snapshot_copies.is_empty()) else { return };
        let copies: Vec<(String, SnapshotCopy)> =
            here.snapshot_copies.iter().map(|(id, copy)| (id.clone(), copy.clone())).collect();
        for (id, copy) in copies {
            let is_over = copy.ends.is_some_and(|ends| ends <= now);
            let result = is_over.then(|| self.result(region, &copy));
            let Some(here) = self.regions.get_mut(region) else { return };
            if is_over {
                here.snapshot_copies.remove(&id);
            }
            let Some(snapshot) = here.snapshots.get_mut(&id) else { continue };
            snapshot.progress = copy.progress(now);
            // At first nothing is known of it \[C, aws.md section 1.4\]; that this ends before the copy does is chosen.
            if snapshot.progress >= 10 || is_over {
                (snapshot.volume_size, snapshot.encryption) = (copy.volume_size, copy.encryption);
                snapshot.state_message = None;
            }
            match result {
                None => {}
                Some(Ok(())) => (snapshot.state, snapshot.progress) = (SnapshotState::Completed, 100),
                Some(Err(message)) => {
                    snapshot.state = SnapshotState::Error;
                    snapshot.state_message = Some(message);
                }
            }
        }
    }

    /// Whether a copy succeeds. Keys are looked at when it is done \[M doc: asynchronously, aws.md section 1.5\]: whoever closes one
    /// before that has been too early.
    fn result(&self, region: &str, copy: &SnapshotCopy) -> Result<(), String> {
        if let Some(failure) = &copy.failure {
            return Err(failure.clone());
        }
        let can_use = |arn: &str, region: &str| {
            let mut user = principal(self, &copy.caller.account, &copy.caller.arn);
            user.via = Some(format!("ec2.{region}.amazonaws.com"));
            self.key(arn).is_some_and(|key| {
                key.state == KeyState::Enabled
                    && KEY_OPERATIONS.iter().all(|operation| may(self, key, &user, operation))
            })
        };
        let source = copy.source_key.iter().all(|arn| can_use(arn, &copy.source_region));
        let destination = copy.encryption.key().into_iter().all(|arn| can_use(arn, region));
        if source && destination { Ok(()) } else { Err(KEY_NOT_ACCESSIBLE.to_owned()) }
    }

    fn go_on_with_images(&mut self, region: &str, now: Timestamp) {
        let Some(here) = self.regions.get_mut(region) else { return };
        let mut over = Vec::new();
        for (id, copy) in &here.image_copies {
            let Some(image) = here.images.get_mut(id) else {
                over.push(id.clone());
                continue;
            };
            let snapshots: Vec<_> = image.snapshot_ids().filter_map(|id| here.snapshots.get(id)).collect();
            let failed = snapshots.iter().find(|snapshot| snapshot.state == SnapshotState::Error);
            let is_over = copy.ends.is_some_and(|ends| ends <= now);
            let reason = match (failed, &copy.failure) {
                // The text is \[X\], and the code is one of those that begin with `Client.` (aws.md section 1.5).
                (Some(snapshot), _) => {
                    let why = snapshot.state_message.as_deref().unwrap_or_default();
                    let message = format!("AMI snapshot copy failed with error: {why}");
                    Some(("Client.InternalError".to_owned(), message))
                }
                (None, Some(failure)) if is_over => Some(failure.clone()),
                _ => None,
            };
            if reason.is_some() {
                image.state = ImageState::Failed;
                image.state_reason = reason;
                over.push(id.clone());
            } else if is_over && snapshots.iter().all(|snapshot| snapshot.state == SnapshotState::Completed) {
                image.state = ImageState::Available;
                over.push(id.clone());
            }
        }
        for id in over {
            here.image_copies.remove(&id);
        }
    }

    /// Ends the copy of an image that is deregistered meanwhile \[D, aws.md section 1.5\]. What was copied so far goes with it.
    pub(in crate::simulator) fn cancel_copy(&mut self, region: &str, image: &str) {
        let Some(here) = self.regions.get_mut(region) else { return };
        if here.image_copies.remove(image).is_none() {
            return;
        }
        let snapshots: Vec<String> =
            here.images.get(image).into_iter().flat_map(super::Image::snapshot_ids).map(str::to_owned).collect();
        for id in snapshots {
            if here.snapshot_copies.remove(&id).is_some() {
                here.snapshots.remove(&id);
            }
        }
    }
}

/// A time from now.
pub(in crate::simulator) fn after(now: Timestamp, milliseconds: u64) -> Timestamp {
    let time = SignedDuration::from_millis(milliseconds.try_into().unwrap_or(i64::MAX));
    crate::simulator::clock::saturating_add(now, time)
}

/// A volume, made of the copy of its snapshot: its id, and whether it is encrypted.
pub(in crate::simulator) fn exchange(volume: &Volume, copy_of: impl Fn(&str) -> Option<(String, bool)>) -> Volume {
    let mut volume = volume.clone();
    if let Volume::Ebs { snapshot_id, encrypted, .. } = &mut volume
        && let Some((id, is_encrypted)) = snapshot_id.as_deref().and_then(copy_of)
    {
        *snapshot_id = Some(id);
        *encrypted = is_encrypted;
    }
    volume
}
