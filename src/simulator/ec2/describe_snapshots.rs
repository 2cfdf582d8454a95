//! `DescribeSnapshots`: which snapshots an account sees, and how they look to it.

use std::collections::{BTreeMap, BTreeSet};

use super::Action;
use super::call::{Call, check_snapshot_id};
use super::filters::Filters;
use super::paging::Page;
use crate::simulator::clock::ec2_time;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_account_id;
use crate::simulator::world::{Encryption, RegionState, Snapshot, SnapshotState};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "DescribeSnapshots",
    parameters: &[
        "SnapshotId.N",
        "Owner.N",
        "RestorableBy.N",
        "MaxResults",
        "NextToken",
        "Filter.N.Name",
        "Filter.N.Value.N",
    ],
    lacking: &[],
    run: describe_snapshots,
}];

const FILTERS: &[&str] = &[
    "description",
    "encrypted",
    "owner-alias",
    "owner-id",
    "progress",
    "snapshot-id",
    "start-time",
    "status",
    "storage-tier",
    "tag-key",
    "transfer-type",
    "volume-id",
    "volume-size",
];

fn describe_snapshots(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let params = call.params;
    let (account, here) = (call.account(), call.here());
    let (ids, owners, restorers) = (params.list("SnapshotId"), params.list("Owner"), params.list("RestorableBy"));
    for id in &ids {
        check_snapshot_id(id)?;
        // Unlike for images, what the caller cannot see does not exist \[C, aws.md section 1.0\].
        if !here.snapshots.get(*id).is_some_and(|snapshot| here.can_see_snapshot(snapshot, account)) {
            return Err(errors::snapshot_not_found(id));
        }
    }
    let is_user = |user: &str, others: &[&str]| others.contains(&user) || is_account_id(user);
    let wrong_owner = owners.iter().find(|owner| !is_user(owner, &["self", "amazon"]));
    if let Some(wrong) = wrong_owner.or_else(|| restorers.iter().find(|user| !is_user(user, &["self", "all"]))) {
        return Err(errors::invalid_user_id(wrong));
    }
    let ids: BTreeSet<&str> = ids.into_iter().collect();
    let filters = Filters::read(params, FILTERS)?;
    let page = Page::read(params, (!ids.is_empty()).then_some("snapshotSet"))?;

    // As for images: those that are asked for by id are looked up.
    let candidates: Vec<&Snapshot> = match filters.only("snapshot-id") {
        _ if !ids.is_empty() => ids.iter().filter_map(|id| here.snapshots.get(*id)).collect(),
        Some(ids) => ids.iter().filter_map(|id| here.snapshots.get(id)).collect(),
        None => here.snapshots.values().collect(),
    };
    let snapshots: Vec<&Snapshot> = candidates
        .into_iter()
        .filter(|snapshot| here.can_see_snapshot(snapshot, account))
        .filter(|snapshot| owners.is_empty() || owners.iter().any(|owner| is_owner(snapshot, owner, account)))
        .filter(|snapshot| {
            restorers.is_empty() || restorers.iter().any(|user| is_restorable_by(here, snapshot, user, account))
        })
        .filter(|snapshot| filters.pass(|| tags_seen_by(snapshot, account), |name| filter_values(snapshot, name)))
        .collect();

    let mut answer = Xml::new();
    let snapshots = page.cut(&mut answer, snapshots, |snapshot| snapshot.id.clone());
    answer.list("snapshotSet", snapshots, |item, snapshot| write_snapshot(item, snapshot, account));
    Ok(answer)
}

fn is_owner(snapshot: &Snapshot, owner: &str, account: &str) -> bool {
    snapshot.owner == if owner == "self" { account } else { owner }
}

/// `all` is public ones; `self` what the caller owns or was given by account; another account what the caller's own
/// snapshots give it by account (aws.md section 7.1).
fn is_restorable_by(here: &RegionState, snapshot: &Snapshot, user: &str, account: &str) -> bool {
    match user {
        "all" => snapshot.is_public(here.public_access_of(&snapshot.owner).snapshots),
        _ if user == "self" || user == account => {
            snapshot.owner == account || snapshot.create_volume_permissions.names_account(account)
        }
        _ => snapshot.owner == account && snapshot.create_volume_permissions.names_account(user),
    }
}

fn tags_seen_by(snapshot: &Snapshot, account: &str) -> BTreeMap<String, String> {
    snapshot.tags.of(account).cloned().unwrap_or_default()
}

fn progress(snapshot: &Snapshot) -> String {
    format!("{}%", if snapshot.state == SnapshotState::Completed { 100 } else { snapshot.progress })
}

fn filter_values(snapshot: &Snapshot, name: &str) -> Vec<String> {
    match name {
        "description" => snapshot.description.clone().into_iter().collect(),
        "encrypted" => vec![(snapshot.encryption != Encryption::None).to_string()],
        "owner-id" => vec![snapshot.owner.clone()],
        "progress" => vec![progress(snapshot)],
        "snapshot-id" => vec![snapshot.id.clone()],
        "start-time" => vec![ec2_time(snapshot.started)],
        "status" => vec![snapshot.state.as_str().to_owned()],
        "storage-tier" | "transfer-type" => vec!["standard".to_owned()],
        "volume-id" => vec![snapshot.volume_id.clone()],
        "volume-size" => vec![snapshot.volume_size.to_string()],
        // No snapshot here has an owner with an alias.
        _ => Vec::new(),
    }
}

/// The snapshot as `account` sees it.
pub(super) fn write_snapshot(item: &mut Xml, snapshot: &Snapshot, account: &str) {
    item.text("snapshotId", &snapshot.id);
    item.text("volumeId", &snapshot.volume_id);
    item.text("status", snapshot.state.as_str());
    item.optional("statusMessage", snapshot.state_message.as_ref());
    item.text("startTime", ec2_time(snapshot.started));
    item.text("progress", progress(snapshot));
    item.text("ownerId", &snapshot.owner);
    item.text("volumeSize", snapshot.volume_size);
    item.text("description", snapshot.description.as_deref().unwrap_or_default());
    item.text("encrypted", snapshot.encryption != Encryption::None);
    item.optional("kmsKeyId", snapshot.encryption.key());
    item.text("storageTier", "standard");
    let tags = tags_seen_by(snapshot, account);
    if !tags.is_empty() {
        super::tags::write_tags(item, &tags);
    }
}
