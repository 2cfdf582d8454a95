//! Who may create volumes of a snapshot: `DescribeSnapshotAttribute`, `ModifySnapshotAttribute`, `ResetSnapshotAttribute`.

use super::call::Call;
use super::{Action, done};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_account_id;
use crate::simulator::params::Params;
use crate::simulator::permissions::Grantee;
use crate::simulator::world::{Encryption, Snapshot, SnapshotPublicAccess};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "DescribeSnapshotAttribute",
        parameters: &["Attribute", "SnapshotId"],
        lacking: &[],
        run: describe_snapshot_attribute,
    },
    Action {
        name: "ModifySnapshotAttribute",
        parameters: &[
            "Attribute",
            "CreateVolumePermission.Add.N.Group",
            "CreateVolumePermission.Add.N.UserId",
            "CreateVolumePermission.Remove.N.Group",
            "CreateVolumePermission.Remove.N.UserId",
            "OperationType",
            "SnapshotId",
            "UserGroup.N",
            "UserId.N",
        ],
        lacking: &[],
        run: modify_snapshot_attribute,
    },
    Action {
        name: "ResetSnapshotAttribute",
        parameters: &["Attribute", "SnapshotId"],
        lacking: &[],
        run: reset_snapshot_attribute,
    },
];

fn describe_snapshot_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.snapshot_id()?;
    let attribute = call.params.required("Attribute")?;
    let snapshot = call.owned_snapshot(id)?;
    let mut answer = Xml::new();
    answer.text("snapshotId", id);
    match attribute {
        "createVolumePermission" => {
            answer.list("createVolumePermission", snapshot.create_volume_permissions.iter(), |item, grantee| {
                match grantee {
                    Grantee::Everyone => item.text("group", "all"),
                    account => item.text("userId", account),
                }
            });
        }
        "productCodes" => answer.list("productCodes", &snapshot.product_codes, |item, code| {
            item.text("productCode", &code.code);
            item.text("type", &code.kind);
        }),
        _ => return Err(errors::invalid_request()),
    }
    Ok(answer)
}

fn modify_snapshot_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.snapshot_id()?;
    // Id and ownership come before anything else \[C, aws.md section 1.0\].
    let snapshot = call.owned_snapshot(id)?;
    if call.params.get("Attribute").is_some_and(|attribute| attribute != "createVolumePermission") {
        return Err(errors::invalid_request());
    }
    let change = Change::read(call.params)?;
    let limit = call.world.quotas.modifications_per_snapshot_call;
    if change.size() > limit {
        return Err(errors::modification_size(limit));
    }
    let grantees = change.grantees(call)?;
    let mut permissions = snapshot.create_volume_permissions.clone();
    if change.adds {
        let becomes_public = grantees.contains(&Grantee::Everyone) && !permissions.is_public();
        check_sharing(call, snapshot, becomes_public)?;
        let owner = Grantee::Account(snapshot.owner.clone());
        for grantee in grantees {
            // The owner's own id is accepted and not listed, unlike for images \[C, aws.md section 1.4\].
            if grantee != owner {
                permissions.give(grantee);
            }
        }
    } else {
        permissions.take_all(&grantees.into_iter().collect());
    }
    set_permissions(call, id, |snapshot| snapshot.create_volume_permissions = permissions);
    Ok(done())
}

/// What a call gives or takes, not yet checked. It is one or the other, never both.
struct Change<'a> {
    adds: bool,
    accounts: Vec<&'a str>,
    groups: Vec<&'a str>,
    /// Which of the two forms of the request it came in: the error for a wrong account differs.
    is_legacy: bool,
}

impl<'a> Change<'a> {
    fn read(params: &'a Params) -> Result<Self, ApiError> {
        let adds = params.has("CreateVolumePermission.Add");
        let removes = params.has("CreateVolumePermission.Remove");
        let is_legacy = ["OperationType", "UserId", "UserGroup"].iter().any(|name| params.has(name));
        match (adds, removes, is_legacy) {
            (true, false, false) => Ok(Self::canonical(params, true)),
            (false, true, false) => Ok(Self::canonical(params, false)),
            (false, false, true) => {
                let adds = match params.required("OperationType")? {
                    "add" => true,
                    "remove" => false,
                    _ => return Err(errors::one_operation_type()),
                };
                Ok(Self { adds, accounts: params.list("UserId"), groups: params.list("UserGroup"), is_legacy })
            }
            _ => Err(errors::one_operation_type()),
        }
    }

    fn canonical(params: &'a Params, adds: bool) -> Self {
        let prefix = if adds { "CreateVolumePermission.Add." } else { "CreateVolumePermission.Remove." };
        let mut entries: Vec<(u32, &str, &str)> = params
            .iter()
            .filter_map(|(name, value)| {
                let (index, field) = name.strip_prefix(prefix)?.split_once('.')?;
                Some((index.parse().ok()?, field, value))
            })
            .collect();
        entries.sort_by_key(|(index, ..)| *index);
        let of_field = |wanted: &str| {
            entries.iter().filter(|(_, field, _)| *field == wanted).map(|(_, _, value)| *value).collect()
        };
        Self { adds, accounts: of_field("UserId"), groups: of_field("Group"), is_legacy: false }
    }

    /// Raw entries, duplicates included \[C, aws.md section 1.4\].
    fn size(&self) -> usize {
        self.accounts.len() + self.groups.len()
    }

    fn grantees(&self, call: &Call<'_>) -> Result<Vec<Grantee>, ApiError> {
        // As for images, an account that was closed since must be removable: then only the form is checked.
        let is_account =
            |account: &str| if self.adds { call.world.is_account(account) } else { is_account_id(account) };
        let accounts = self.accounts.iter().map(|account| match is_account(account) {
            true => Ok(Grantee::Account((*account).to_owned())),
            false if self.is_legacy => Err(errors::snapshot_account_legacy(account)),
            false => Err(errors::snapshot_account_canonical(account)),
        });
        // The error for a group that is not `all` is known for images only.
        let groups = self.groups.iter().map(|group| match *group {
            "all" => Ok(Grantee::Everyone),
            other => Err(errors::invalid_item("UserGroup", other)),
        });
        accounts.chain(groups).collect()
    }
}

/// The rules of aws.md sections 1.4 and 2.1 for giving. Taking is never refused.
fn check_sharing(call: &Call<'_>, snapshot: &Snapshot, becomes_public: bool) -> Result<(), ApiError> {
    match snapshot.encryption {
        Encryption::DefaultKey(_) => return Err(errors::snapshot_with_default_key()),
        Encryption::CustomerKey(_) if becomes_public => return Err(errors::encrypted_snapshot_public()),
        Encryption::CustomerKey(_) | Encryption::None => {}
    }
    let guard = call.here().public_access_of(&snapshot.owner).snapshots;
    if becomes_public && guard != SnapshotPublicAccess::Unblocked {
        return Err(errors::snapshot_public_blocked());
    }
    Ok(())
}

fn reset_snapshot_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.snapshot_id()?;
    call.owned_snapshot(id)?;
    if call.params.required("Attribute")? != "createVolumePermission" {
        return Err(errors::invalid_request());
    }
    set_permissions(call, id, |snapshot| snapshot.create_volume_permissions.clear());
    Ok(done())
}

fn set_permissions(call: &mut Call<'_>, id: &str, set: impl FnOnce(&mut Snapshot)) {
    if let Some(snapshot) = call.here_mut().snapshots.get_mut(id) {
        set(snapshot);
    }
}
