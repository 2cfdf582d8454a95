//! `CreateSnapshot` and `DeleteSnapshot`.

use super::call::Call;
use super::{Action, done, tag_input};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_volume_id;
use crate::simulator::permissions::Grantees;
use crate::simulator::world::{AccountTags, Encryption, Snapshot, SnapshotState};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "CreateSnapshot",
        parameters: &[
            "Description",
            "VolumeId",
            "TagSpecification.N.ResourceType",
            "TagSpecification.N.Tag.N.Key",
            "TagSpecification.N.Tag.N.Value",
        ],
        lacking: &["OutpostArn", "Location"],
        run: create_snapshot,
    },
    Action { name: "DeleteSnapshot", parameters: &["SnapshotId"], lacking: &[], run: delete_snapshot },
];

/// There are no volumes in this world: every well-formed id is one of the caller's, of 8 GiB, not encrypted. Unlike on
/// AWS, the snapshot is complete at once.
fn create_snapshot(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let volume_id = call.params.required("VolumeId")?;
    if !is_volume_id(volume_id) {
        return Err(errors::volume_id_malformed(volume_id));
    }
    let tags = tag_input::specified(call, "snapshot")?;
    let account = call.account();
    let mut written = AccountTags::default();
    *written.of_mut(account) = tags;
    let snapshot = Snapshot {
        id: call.world.ids.resource("snap-"),
        owner: account.to_owned(),
        volume_id: volume_id.to_owned(),
        volume_size: 8,
        state: SnapshotState::Completed,
        progress: 100,
        state_message: None,
        started: call.now(),
        description: call.params.get("Description").map(str::to_owned),
        encryption: Encryption::None,
        product_codes: Vec::new(),
        create_volume_permissions: Grantees::default(),
        tags: written,
    };
    let mut answer = Xml::new();
    super::describe_snapshots::write_snapshot(&mut answer, &snapshot, account);
    call.here_mut().snapshots.insert(snapshot.id.clone(), snapshot);
    Ok(answer)
}

fn delete_snapshot(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.snapshot_id()?;
    call.owned_snapshot(id)?;
    let images = call.here().images_of_snapshot(id);
    if !images.is_empty() {
        return Err(errors::snapshot_in_use(id, &images));
    }
    call.take_away_snapshot(id);
    Ok(done())
}
