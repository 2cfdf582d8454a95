//! The ownership record: what a claim has given on one image.
//!
//! Pure. The record is written to the object's status before the call that gives, so a crash can leave an entry for something
//! that was never given (harmless: it is dropped when AWS is next seen) and never the other way round.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    Compact, ImageId, Principal, SnapshotId,
    ami_share::{GrantedOnImage, GrantedOnSnapshots},
};

/// What one claim has given on one image and its snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Who got a launch permission.
    pub launch: BTreeSet<Principal>,
    /// Who got createVolumePermission, by snapshot. No set is empty.
    pub volumes: BTreeMap<SnapshotId, BTreeSet<Principal>>,
}

impl Granted {
    /// The record of an image, as the status holds it.
    pub fn on(image: &ImageId, records: &[GrantedOnImage]) -> Self {
        let Some(record) = records.iter().find(|r| &r.image_id == image) else { return Self::default() };
        let mut volumes: BTreeMap<SnapshotId, BTreeSet<Principal>> = BTreeMap::new();
        for GrantedOnSnapshots { snapshot_ids, account_ids } in &record.create_volume_permission {
            for snapshot in snapshot_ids.iter().filter(|_| !account_ids.is_empty()) {
                volumes
                    .entry(snapshot.clone())
                    .or_default()
                    .extend(account_ids.iter().copied().map(Principal::Account));
            }
        }
        Self { launch: record.launch_permission.iter().collect(), volumes }
    }

    /// Whether nothing has been given.
    pub fn is_empty(&self) -> bool {
        self.launch.is_empty() && self.volumes.is_empty()
    }

    /// Whether everything in `other` is in here.
    pub fn covers(&self, other: &Self) -> bool {
        other.launch.is_subset(&self.launch)
            && other
                .volumes
                .iter()
                .all(|(snapshot, accounts)| self.volumes.get(snapshot).is_some_and(|mine| accounts.is_subset(mine)))
    }

    /// Everything in here and in `other`.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.launch.extend(other.launch.iter().cloned());
        for (snapshot, accounts) in &other.volumes {
            both.volumes.entry(snapshot.clone()).or_default().extend(accounts.iter().cloned());
        }
        both
    }

    /// `records` with the record of `image` replaced by this one, in the form and order of the status.
    pub fn replace_in(&self, image: &ImageId, records: &[GrantedOnImage]) -> Vec<GrantedOnImage> {
        let mut all: BTreeMap<&ImageId, GrantedOnImage> = records.iter().map(|r| (&r.image_id, r.clone())).collect();
        if self.is_empty() {
            all.remove(image);
        } else {
            all.insert(image, self.to_status(image));
        }
        all.into_values().collect()
    }

    fn to_status(&self, image: &ImageId) -> GrantedOnImage {
        // Nearly always every snapshot has the same accounts: one entry for all of them keeps the status small.
        let mut by_accounts: BTreeMap<Compact<_>, BTreeSet<SnapshotId>> = BTreeMap::new();
        for (snapshot, principals) in &self.volumes {
            let accounts = principals.iter().filter_map(|p| match p {
                Principal::Account(account) => Some(*account),
                _ => None,
            });
            by_accounts.entry(accounts.collect()).or_default().insert(snapshot.clone());
        }
        GrantedOnImage {
            image_id: image.clone(),
            launch_permission: self.launch.iter().cloned().collect(),
            create_volume_permission: by_accounts
                .into_iter()
                .map(|(account_ids, snapshot_ids)| GrantedOnSnapshots { snapshot_ids, account_ids })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted() -> Granted {
        let account = |text: &str| text.parse::<Principal>().unwrap();
        let both = BTreeSet::from([account("111122223333"), account("444455556666")]);
        Granted {
            launch: both.clone(),
            volumes: BTreeMap::from([
                ("snap-00000001".parse().unwrap(), both.clone()),
                ("snap-00000002".parse().unwrap(), both),
                ("snap-00000003".parse().unwrap(), BTreeSet::from([account("111122223333")])),
            ]),
        }
    }

    #[test]
    fn a_record_survives_the_status_and_snapshots_with_equal_accounts_share_an_entry() {
        let image = "ami-12345678".parse().unwrap();
        let stored = granted().replace_in(&image, &[]);
        assert_eq!(stored[0].create_volume_permission.len(), 2);
        assert_eq!(Granted::on(&image, &stored), granted());
    }

    #[test]
    fn an_empty_record_leaves_no_entry_and_other_images_keep_theirs() {
        let (one, other) = ("ami-12345678".parse().unwrap(), "ami-87654321".parse().unwrap());
        let stored = granted().replace_in(&other, &granted().replace_in(&one, &[]));
        let left = Granted::default().replace_in(&one, &stored);
        assert_eq!(left.len(), 1);
        assert_eq!(Granted::on(&other, &left), granted());
    }
}
