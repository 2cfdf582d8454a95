//! Who may launch an image: the rules by which `ModifyImageAttribute` gives and takes, and the two calls that only take.

use std::collections::BTreeSet;

use super::call::Call;
use super::{Action, done};
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::is_account_id;
use crate::simulator::params::Params;
use crate::simulator::permissions::{Grantee, Grantees, is_organization_arn, is_organizational_unit_arn};
use crate::simulator::world::{Encryption, Image, ImagePublicAccess, ImageState, World};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "ResetImageAttribute",
        parameters: &["Attribute", "ImageId"],
        lacking: &[],
        run: reset_image_attribute,
    },
    Action {
        name: "CancelImageLaunchPermission",
        parameters: &["ImageId"],
        lacking: &[],
        run: cancel_image_launch_permission,
    },
];

/// The most account ids in one request \[M doc, aws.md section 1.3\].
const MAX_ACCOUNTS: usize = 10_000;

const LEGACY: &[&str] = &["OperationType", "UserId", "UserGroup", "OrganizationArn", "OrganizationalUnitArn"];

/// Who is meant, in the legacy form.
const LEGACY_PRINCIPALS: &[&str] = &["UserId", "UserGroup", "OrganizationArn", "OrganizationalUnitArn"];

/// Whether the parameters of `ModifyImageAttribute` are about launch permissions, in the canonical or the legacy form.
pub(super) fn is_meant_by(params: &Params) -> bool {
    params.has("LaunchPermission") || LEGACY.iter().any(|name| params.has(name))
}

/// Gives and takes as the parameters say: everything, or nothing and why. The image has been found to be modifiable.
pub(super) fn modify(call: &mut Call<'_>, id: &str) -> Result<(), ApiError> {
    let changes = Changes::read(call.params)?;
    let add = grantees(&changes.add, |account| call.world.is_account(account))?;
    // An account that was closed after it had been given the image must be removable: only the form is checked.
    let remove: BTreeSet<Grantee> = grantees(&changes.remove, is_account_id)?.into_iter().collect();

    let image = call.existing_image(id)?;
    let mut permissions = image.launch_permissions.clone();
    for grantee in &add {
        permissions.give(grantee.clone());
    }
    // What a call means that adds and removes the same is not known: the side on which nobody gets access.
    permissions.take_all(&remove);
    check_sharing(call, image, &add, &permissions)?;
    call.change_image(id, |image| image.launch_permissions = permissions);
    Ok(())
}

/// One entry as it was sent: the kind in the words of the error message, and the value.
type Entry<'a> = (&'static str, &'a str);

const USER_ID: &str = "userId";
const USER_GROUP: &str = "UserGroup";
const ORGANIZATION: &str = "OrganizationArn";
const ORGANIZATIONAL_UNIT: &str = "OrganizationalUnitArn";

/// What is to be given and taken, not yet checked.
struct Changes<'a> {
    add: Vec<Entry<'a>>,
    remove: Vec<Entry<'a>>,
}

impl<'a> Changes<'a> {
    fn read(params: &'a Params) -> Result<Self, ApiError> {
        // `OperationType` beside the canonical form has no effect: Cloud Custodian sends it so, and AWS serves it.
        let is_legacy = LEGACY_PRINCIPALS.iter().any(|name| params.has(name));
        let changes = match (params.has("LaunchPermission"), is_legacy) {
            (true, true) => {
                let message = "The parameter launchPermission cannot be used with the parameter userId";
                return Err(errors::invalid_parameter_combination(message));
            }
            (true, false) => Self { add: canonical(params, "Add"), remove: canonical(params, "Remove") },
            (false, _) => Self::read_legacy(params)?,
        };
        let accounts = changes.add.iter().chain(&changes.remove).filter(|(kind, _)| *kind == USER_ID).count();
        if accounts > MAX_ACCOUNTS {
            // What AWS answers is not known (appendix B).
            return Err(errors::invalid_parameter_value(format!(
                "Modification size must not be greater than {MAX_ACCOUNTS}."
            )));
        }
        Ok(changes)
    }

    fn read_legacy(params: &'a Params) -> Result<Self, ApiError> {
        let of_kind = |name: &str, kind| params.list(name).into_iter().map(move |value| (kind, value));
        let entries: Vec<Entry<'a>> = of_kind("UserId", USER_ID)
            .chain(of_kind("UserGroup", USER_GROUP))
            .chain(of_kind("OrganizationArn", ORGANIZATION))
            .chain(of_kind("OrganizationalUnitArn", ORGANIZATIONAL_UNIT))
            .collect();
        if entries.is_empty() {
            return Err(errors::no_attributes());
        }
        match params.required("OperationType")? {
            "add" => Ok(Self { add: entries, remove: Vec::new() }),
            "remove" => Ok(Self { add: Vec::new(), remove: entries }),
            other => {
                Err(errors::invalid_parameter_value(format!("Value ({other}) for parameter operationType is invalid.")))
            }
        }
    }
}

/// The entries of `LaunchPermission.Add.N` or `….Remove.N`. One entry with several fields counts as several.
fn canonical<'a>(params: &'a Params, operation: &str) -> Vec<Entry<'a>> {
    let prefix = format!("LaunchPermission.{operation}.");
    let mut found: Vec<(u32, Entry<'a>)> = params
        .iter()
        .filter_map(|(name, value)| {
            let (index, field) = name.strip_prefix(&prefix)?.split_once('.')?;
            let kind = match field {
                "UserId" => USER_ID,
                "Group" => USER_GROUP,
                "OrganizationArn" => ORGANIZATION,
                "OrganizationalUnitArn" => ORGANIZATIONAL_UNIT,
                _ => return None,
            };
            Some((index.parse().ok()?, (kind, value)))
        })
        .collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// The entries as principals; the first that is none fails the call.
fn grantees(entries: &[Entry<'_>], is_account: impl Fn(&str) -> bool) -> Result<Vec<Grantee>, ApiError> {
    let grantee = |&(kind, value): &Entry<'_>| match kind {
        USER_ID if is_account(value) => Ok(Grantee::Account(value.to_owned())),
        USER_GROUP if value == "all" => Ok(Grantee::Everyone),
        ORGANIZATION if is_organization_arn(value) => Ok(Grantee::Organization(value.to_owned())),
        ORGANIZATIONAL_UNIT if is_organizational_unit_arn(value) => Ok(Grantee::OrganizationalUnit(value.to_owned())),
        _ => Err(errors::invalid_item(kind, value)),
    };
    entries.iter().map(grantee).collect()
}

/// The rules of aws.md sections 2.1 and 2.2. `after` is the list as it would be. Taking is never refused.
fn check_sharing(call: &Call<'_>, image: &Image, add: &[Grantee], after: &Grantees) -> Result<(), ApiError> {
    if add.is_empty() {
        return Ok(());
    }
    let is_encrypted_with = |test: fn(&Encryption) -> bool| {
        image.snapshot_ids().filter_map(|id| call.here().snapshots.get(id)).any(|snapshot| test(&snapshot.encryption))
    };
    if is_encrypted_with(|encryption| matches!(encryption, Encryption::DefaultKey(_))) {
        return Err(errors::image_with_default_key());
    }
    if after.is_public() && !image.launch_permissions.is_public() {
        // What the image itself forbids comes before what the account forbids: that order is not known.
        if is_encrypted_with(|encryption| *encryption != Encryption::None) {
            return Err(errors::encrypted_image_public());
        }
        if !image.product_codes.is_empty() {
            return Err(errors::product_code_image_public());
        }
        if call.here().public_access_of(&image.owner).images == ImagePublicAccess::BlockNewSharing {
            return Err(errors::image_public_blocked());
        }
        let quota = call.world.quotas.public_images;
        if call.here().public_images_of(&image.owner) >= quota {
            return Err(errors::public_image_quota(quota));
        }
    }
    check_sharing_quota(call.world, image, after)
}

/// A list that is over the quota, which was lowered since, may shrink and change but not grow.
fn check_sharing_quota(world: &World, image: &Image, after: &Grantees) -> Result<(), ApiError> {
    let quota = world.quotas.sharing_entities_per_image;
    if after.entities() > quota.max(image.launch_permissions.entities()) {
        return Err(errors::image_sharing_quota(quota));
    }
    Ok(())
}

fn reset_image_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    if call.params.required("Attribute")? != "launchPermission" {
        return Err(errors::invalid_request());
    }
    call.modifiable_image(id)?;
    call.change_image(id, |image| image.launch_permissions.clear());
    Ok(done())
}

/// The recipient gives up what was given to its own account; not what an organization, a unit or everyone was given
/// \[M doc, aws.md section 1.3\].
fn cancel_image_launch_permission(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let image = call.existing_image(id)?;
    if image.state == ImageState::Deregistered {
        return Err(errors::image_deregistered(id));
    }
    if !image.launch_permissions.names_account(call.account()) {
        return Err(errors::no_launch_permission_to_cancel(id));
    }
    let own = Grantee::Account(call.account().to_owned());
    call.change_image(id, |image| {
        image.launch_permissions.take(&own);
    });
    Ok(done())
}
