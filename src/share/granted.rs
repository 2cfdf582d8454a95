//! The ownership record: what a claim has given on one image.
//!
//! Pure. The record is written to the object's status before the call that gives, so a crash can leave an entry for something
//! that was never given (harmless: it is dropped when AWS is next seen) and never the other way round.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::{
        Compact, GrantsOn, ImageId, KeyArn, Principal, SnapshotId,
        ami_share::{GrantedOnImage, GrantedOnKeys, GrantedOnSnapshots},
    },
    aws::words::Target,
};

/// What one claim has given on one image and its snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Who got a launch permission.
    pub launch: BTreeSet<Principal>,
    /// Who got createVolumePermission, by snapshot. No set is empty.
    pub volumes: BTreeMap<SnapshotId, BTreeSet<Principal>>,
    /// Who got a grant, by what the grant is. No set is empty.
    pub grants: BTreeMap<GrantsOn, BTreeSet<Principal>>,
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
        let mut grants: BTreeMap<GrantsOn, BTreeSet<Principal>> = BTreeMap::new();
        for GrantedOnKeys { key_arns, operations, grantees } in &record.kms_grants {
            for key in key_arns.iter().filter(|_| !grantees.is_empty()) {
                let on = GrantsOn { key: key.clone(), operations: operations.clone() };
                grants.entry(on).or_default().extend(grantees.iter());
            }
        }
        Self { launch: record.launch_permission.iter().collect(), volumes, grants }
    }

    /// Whether nothing has been given.
    pub fn is_empty(&self) -> bool {
        self.launch.is_empty() && self.volumes.is_empty() && self.grants.is_empty()
    }

    /// Who got the permission on a target.
    pub fn of(&self, target: &Target) -> Option<&BTreeSet<Principal>> {
        match target {
            Target::Image(_) => Some(&self.launch),
            Target::Snapshot(id) => self.volumes.get(id),
            Target::Grants(on) => self.grants.get(on),
        }
    }

    /// Who got what on the parts of the image: its snapshots, and its keys.
    pub fn parts(&self) -> impl Iterator<Item = (Target, &BTreeSet<Principal>)> {
        let volumes = self.volumes.iter().map(|(id, given)| (Target::Snapshot(id.clone()), given));
        volumes.chain(self.grants.iter().map(|(on, given)| (Target::Grants(on.clone()), given)))
    }

    /// Puts on record what was given on a part, or, of nobody, that nothing was.
    pub fn put(&mut self, part: Target, given: BTreeSet<Principal>) {
        match part {
            Target::Image(_) => self.launch = given,
            Target::Snapshot(id) if given.is_empty() => drop(self.volumes.remove(&id)),
            Target::Snapshot(id) => drop(self.volumes.insert(id, given)),
            Target::Grants(on) if given.is_empty() => drop(self.grants.remove(&on)),
            Target::Grants(on) => drop(self.grants.insert(on, given)),
        }
    }

    /// Puts on record that somebody was given something on a part.
    pub fn add(&mut self, part: Target, principal: Principal) {
        match part {
            Target::Image(_) => self.launch.insert(principal),
            Target::Snapshot(id) => self.volumes.entry(id).or_default().insert(principal),
            Target::Grants(on) => self.grants.entry(on).or_default().insert(principal),
        };
    }

    /// Everybody who got something.
    pub fn everybody(&self) -> BTreeSet<&Principal> {
        self.launch.iter().chain(self.parts().flat_map(|(_, given)| given)).collect()
    }

    /// Whether everything in `other` is in here.
    pub fn covers(&self, other: &Self) -> bool {
        other.launch.is_subset(&self.launch)
            && other.parts().all(|(part, given)| self.of(&part).is_some_and(|mine| given.is_subset(mine)))
    }

    /// Everything in here and in `other`.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.launch.extend(other.launch.iter().cloned());
        for (part, given) in other.parts() {
            let mine = self.of(&part).into_iter().flatten();
            both.put(part.clone(), mine.chain(given).cloned().collect());
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
        let mut by_grantees: BTreeMap<_, BTreeSet<KeyArn>> = BTreeMap::new();
        for (GrantsOn { key, operations }, grantees) in &self.grants {
            by_grantees.entry((operations, grantees)).or_default().insert(key.clone());
        }
        GrantedOnImage {
            image_id: image.clone(),
            launch_permission: self.launch.iter().cloned().collect(),
            create_volume_permission: by_accounts
                .into_iter()
                .map(|(account_ids, snapshot_ids)| GrantedOnSnapshots { snapshot_ids, account_ids })
                .collect(),
            kms_grants: by_grantees
                .into_iter()
                .map(|((operations, grantees), key_arns)| GrantedOnKeys {
                    key_arns,
                    operations: operations.clone(),
                    grantees: grantees.iter().cloned().collect(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::GrantOperation;

    fn grants_on(key: &str) -> GrantsOn {
        let key = format!("arn:aws:kms:us-east-1:123456789012:key/{key}").parse().unwrap();
        GrantsOn { key, operations: GrantOperation::LAUNCH_AND_COPY.into() }
    }

    fn role() -> Principal {
        "arn:aws:iam::111122223333:role/launcher".parse().unwrap()
    }

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
            grants: BTreeMap::from([
                (grants_on("1"), BTreeSet::from([account("111122223333"), role()])),
                (grants_on("2"), BTreeSet::from([account("111122223333"), role()])),
            ]),
        }
    }

    #[test]
    fn a_record_survives_the_status_and_parts_with_equal_principals_share_an_entry() {
        let image = "ami-12345678".parse().unwrap();
        let stored = granted().replace_in(&image, &[]);
        assert_eq!((stored[0].create_volume_permission.len(), stored[0].kms_grants.len()), (2, 1));
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
