//! `RegisterImage`: an image made of snapshots.

use super::Action;
use super::call::{Call, check_snapshot_id};
use super::tag_input;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::params::Params;
use crate::simulator::permissions::Grantees;
use crate::simulator::world::{
    AccountTags, BlockDevice, DeregistrationProtection, Encryption, Image, ImageState, SnapshotState, Volume,
};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "RegisterImage",
    parameters: &[
        "Architecture",
        "BlockDeviceMapping.N.DeviceName",
        "BlockDeviceMapping.N.Ebs.DeleteOnTermination",
        "BlockDeviceMapping.N.Ebs.SnapshotId",
        "BlockDeviceMapping.N.Ebs.VolumeSize",
        "BlockDeviceMapping.N.Ebs.VolumeType",
        "BlockDeviceMapping.N.VirtualName",
        "BootMode",
        "Description",
        "EnaSupport",
        "ImdsSupport",
        "Name",
        "RootDeviceName",
        "SriovNetSupport",
        "TagSpecification.N.ResourceType",
        "TagSpecification.N.Tag.N.Key",
        "TagSpecification.N.Tag.N.Value",
        "VirtualizationType",
    ],
    lacking: &[
        "BillingProduct",
        "BlockDeviceMapping.N.Ebs",
        "BlockDeviceMapping.N.NoDevice",
        "ImageLocation",
        "KernelId",
        "RamdiskId",
        "TpmSupport",
        "UefiData",
    ],
    run: register_image,
}];

fn register_image(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let params = call.params;
    let name = params.required("Name")?;
    check_name(call, name)?;
    check_fixed_values(params)?;
    let root_device_name = params.required("RootDeviceName")?;
    let block_devices = params
        .structures("BlockDeviceMapping")
        .iter()
        .map(|mapping| block_device(call, mapping))
        .collect::<Result<Vec<_>, _>>()?;
    let is_root = |device: &BlockDevice| {
        device.device_name == root_device_name && matches!(device.volume, Volume::Ebs { snapshot_id: Some(_), .. })
    };
    if !block_devices.iter().any(is_root) {
        let message = format!("No snapshot is mapped to the root device {root_device_name}.");
        return Err(errors::invalid_parameter_value(message));
    }
    let tags = tag_input::specified(call, "image")?;

    let account = call.account();
    let mut written = AccountTags::default();
    *written.of_mut(account) = tags;
    let id = call.world.ids.resource("ami-");
    let text = |name: &str| params.get(name).map(str::to_owned);
    let image = Image {
        id: id.clone(),
        owner: account.to_owned(),
        owner_alias: None,
        name: name.to_owned(),
        description: text("Description"),
        state: ImageState::Available,
        state_reason: None,
        created: call.now(),
        deprecate_at: None,
        protection: DeregistrationProtection::Disabled,
        architecture: text("Architecture").unwrap_or_else(|| "i386".to_owned()),
        platform: None,
        root_device_name: Some(root_device_name.to_owned()),
        imds_support: text("ImdsSupport"),
        boot_mode: text("BootMode"),
        block_devices,
        product_codes: Vec::new(),
        has_billing_product: false,
        launch_permissions: Grantees::default(),
        tags: written,
        source: None,
        last_launched: None,
    };
    call.here_mut().images.insert(id.clone(), image);
    let mut answer = Xml::new();
    answer.text("imageId", id);
    Ok(answer)
}

/// 3 to 128 characters of a fixed set \[C and M, aws.md section 1.1\], and not the name of another image of the owner.
pub(super) fn check_name(call: &Call<'_>, name: &str) -> Result<(), ApiError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"()[]./-'@_ ".contains(&byte);
    if !(3..=128).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(errors::image_name_malformed());
    }
    let holds =
        |image: &&Image| image.owner == call.account() && image.name == name && image.state != ImageState::Deregistered;
    match call.here().images.values().find(holds) {
        Some(holder) => Err(errors::image_name_duplicate(name, &holder.id)),
        None => Ok(()),
    }
}

/// What every image in this world has. Another value would be accepted by AWS and described back; here it is refused.
fn check_fixed_values(params: &Params) -> Result<(), ApiError> {
    for (name, only) in [("VirtualizationType", "hvm"), ("SriovNetSupport", "simple"), ("EnaSupport", "true")] {
        if params.get(name).is_some_and(|value| value != only) {
            return Err(errors::simulator_lacks(&format!("{name} other than {only}")));
        }
    }
    Ok(())
}

fn block_device(call: &Call<'_>, mapping: &Params) -> Result<BlockDevice, ApiError> {
    let device_name = mapping.required("DeviceName")?.to_owned();
    if let Some(name) = mapping.get("VirtualName") {
        return Ok(BlockDevice { device_name, volume: Volume::Ephemeral(name.to_owned()) });
    }
    let snapshot_id = mapping.get("Ebs.SnapshotId");
    let snapshot = snapshot_id
        .map(|id| {
            check_snapshot_id(id)?;
            call.owned_snapshot(id)
        })
        .transpose()?;
    if let Some(snapshot) = snapshot
        && snapshot.state != SnapshotState::Completed
    {
        return Err(errors::snapshot_incorrect_state(&snapshot.id));
    }
    let least = snapshot.map_or(1, |snapshot| snapshot.volume_size);
    let size = mapping.number("Ebs.VolumeSize")?.or(snapshot.map(|snapshot| snapshot.volume_size));
    let size = size.ok_or_else(|| errors::missing_parameter("BlockDeviceMapping.Ebs.VolumeSize"))?;
    if size < least {
        return Err(errors::invalid_parameter_value(format!("Volume of size {size}GB is smaller than {least}GB.")));
    }
    let volume = Volume::Ebs {
        snapshot_id: snapshot_id.map(str::to_owned),
        size,
        volume_type: mapping.get("Ebs.VolumeType").unwrap_or("standard").to_owned(),
        delete_on_termination: mapping.flag("Ebs.DeleteOnTermination")?.unwrap_or(true),
        encrypted: snapshot.is_some_and(|snapshot| snapshot.encryption != Encryption::None),
    };
    Ok(BlockDevice { device_name, volume })
}
