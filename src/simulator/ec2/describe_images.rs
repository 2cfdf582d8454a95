//! `DescribeImages`: which images an account sees, and how they look to it.

use std::collections::BTreeSet;

use super::Action;
use super::call::Call;
use super::filters::Filters;
use super::paging::Page;
use crate::simulator::clock::ec2_time;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::ids::{is_account_id, is_image_id};
use crate::simulator::world::{BlockDevice, Image, ImageState, Membership, ProductCode, Volume};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "DescribeImages",
    parameters: &[
        "ImageId.N",
        "Owner.N",
        "ExecutableBy.N",
        "IncludeDeprecated",
        "IncludeDisabled",
        "MaxResults",
        "NextToken",
        "Filter.N.Name",
        "Filter.N.Value.N",
    ],
    lacking: &[],
    run: describe_images,
}];

const OWNER_ALIASES: &[&str] = &["amazon", "aws-backup-vault", "aws-marketplace"];

const FILTERS: &[&str] = &[
    "architecture",
    "block-device-mapping.delete-on-termination",
    "block-device-mapping.device-name",
    "block-device-mapping.encrypted",
    "block-device-mapping.snapshot-id",
    "block-device-mapping.volume-size",
    "block-device-mapping.volume-type",
    "creation-date",
    "description",
    "ena-support",
    "free-tier-eligible",
    "hypervisor",
    "image-allowed",
    "image-id",
    "image-type",
    "is-public",
    "kernel-id",
    "manifest-location",
    "name",
    "owner-alias",
    "owner-id",
    "platform",
    "product-code",
    "product-code.type",
    "ramdisk-id",
    "root-device-name",
    "root-device-type",
    "source-image-id",
    "source-image-region",
    "source-instance-id",
    "sriov-net-support",
    "state",
    "state-reason-code",
    "state-reason-message",
    "tag-key",
    "virtualization-type",
];

fn describe_images(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let selection = Selection::read(call)?;
    let filters = Filters::read(call.params, FILTERS)?;
    let page = Page::read(call.params, selection.by_id().then_some("imageIdsSet"))?;
    let account = call.account();
    let all = &call.here().images;
    // Those that are asked for by id are looked up: there may be many others. The order is that of the ids in any case.
    let candidates: Vec<&Image> = match filters.only("image-id") {
        _ if selection.by_id() => selection.ids.iter().filter_map(|id| all.get(*id)).collect(),
        Some(ids) => ids.iter().filter_map(|id| all.get(id)).collect(),
        None => all.values().collect(),
    };
    let images: Vec<&Image> = candidates
        .into_iter()
        .filter(|image| selection.selects(image))
        .filter(|image| filters.pass(|| image.tags_seen_by(account), |name| filter_values(image, name)))
        .collect();

    let mut answer = Xml::new();
    let images = page.cut(&mut answer, images, |image| image.id.clone());
    answer.list("imagesSet", images, |item, image| write_image(item, image, account));
    Ok(answer)
}

/// What the parameters other than filters ask for.
struct Selection<'a> {
    account: &'a str,
    membership: Membership,
    /// None means any.
    ids: BTreeSet<&'a str>,
    owners: Vec<&'a str>,
    executable_by: Vec<&'a str>,
    include_deprecated: bool,
    include_disabled: bool,
    now: jiff::Timestamp,
}

impl<'a> Selection<'a> {
    fn read(call: &Call<'a>) -> Result<Self, ApiError> {
        let params = call.params;
        let ids = params.list("ImageId");
        if let Some(malformed) = ids.iter().find(|id| !is_image_id(id)) {
            return Err(errors::image_id_malformed(malformed));
        }
        // Tombstones count as existing: by id, a deregistered image is an empty set for a while.
        let unknown: Vec<&str> = ids.iter().copied().filter(|id| !call.here().images.contains_key(*id)).collect();
        if !unknown.is_empty() {
            return Err(errors::image_not_found(&unknown));
        }
        let owners = params.list("Owner");
        let is_owner = |owner: &str| owner == "self" || OWNER_ALIASES.contains(&owner) || is_account_id(owner);
        let executable_by = params.list("ExecutableBy");
        let is_executor = |user: &str| matches!(user, "self" | "all") || is_account_id(user);
        let wrong_owner = owners.iter().find(|owner| !is_owner(owner));
        if let Some(wrong) = wrong_owner.or_else(|| executable_by.iter().find(|user| !is_executor(user))) {
            return Err(errors::invalid_user_id(wrong));
        }
        Ok(Self {
            account: call.account(),
            membership: call.world.membership(call.account()),
            ids: ids.into_iter().collect(),
            owners,
            executable_by,
            include_deprecated: params.flag("IncludeDeprecated")?.unwrap_or(false),
            include_disabled: params.flag("IncludeDisabled")?.unwrap_or(false),
            now: call.now(),
        })
    }

    fn by_id(&self) -> bool {
        !self.ids.is_empty()
    }

    fn selects(&self, image: &Image) -> bool {
        image.is_visible_to(self.account, &self.membership)
            && (self.ids.is_empty() || self.ids.contains(image.id.as_str()))
            && (self.owners.is_empty() || self.owners.iter().any(|owner| self.is_owner(image, owner)))
            && (self.executable_by.is_empty()
                || self.executable_by.iter().any(|user| self.is_executable_by(image, user)))
            && (self.include_disabled || image.state != ImageState::Disabled)
            && self.shows_despite_deprecation(image)
    }

    /// Owners always see their deprecated images; everybody else by id or on request \[D, aws.md section 1.2\].
    fn shows_despite_deprecation(&self, image: &Image) -> bool {
        let is_deprecated = image.deprecated_at().is_some_and(|at| at <= self.now);
        !is_deprecated || image.owner == self.account || self.include_deprecated || self.by_id()
    }

    fn is_owner(&self, image: &Image, owner: &str) -> bool {
        match owner {
            "self" => image.owner == self.account,
            _ => image.owner == owner || image.owner_alias.as_deref() == Some(owner),
        }
    }

    /// Organizations and units count for the caller only, and what is shared with another account can only be seen on the
    /// caller's own images \[M doc, aws.md section 1.2\].
    fn is_executable_by(&self, image: &Image, user: &str) -> bool {
        match user {
            "all" => image.launch_permissions.is_public(),
            _ if user == "self" || user == self.account => image.is_shared_with(self.account, &self.membership),
            _ => image.owner == self.account && image.launch_permissions.names_account(user),
        }
    }
}

fn filter_values(image: &Image, name: &str) -> Vec<String> {
    let one = |value: &str| vec![value.to_owned()];
    let optional = |value: Option<&str>| value.map(str::to_owned).into_iter().collect();
    match name {
        "architecture" => one(&image.architecture),
        "creation-date" => vec![ec2_time(image.created)],
        "description" => optional(image.description.as_deref()),
        "ena-support" | "free-tier-eligible" | "image-allowed" => one("true"),
        "hypervisor" => one("xen"),
        "image-id" => one(&image.id),
        "image-type" => one("machine"),
        "is-public" => vec![image.launch_permissions.is_public().to_string()],
        "manifest-location" => vec![location(image)],
        "name" => one(&image.name),
        "owner-alias" => optional(image.owner_alias.as_deref()),
        "owner-id" => one(&image.owner),
        "platform" => optional(image.platform.as_deref()),
        "product-code" => image.product_codes.iter().map(|code| code.code.clone()).collect(),
        "product-code.type" => image.product_codes.iter().map(|code| code.kind.clone()).collect(),
        "root-device-name" => optional(image.root_device_name.as_deref()),
        "root-device-type" => one(root_device_type(image)),
        "source-image-id" => optional(image.source.as_ref().map(|(id, _)| id.as_str())),
        "source-image-region" => optional(image.source.as_ref().map(|(_, region)| region.as_str())),
        "sriov-net-support" => one("simple"),
        "state" => one(image.state.as_str()),
        "state-reason-code" => optional(image.state_reason.as_ref().map(|(code, _)| code.as_str())),
        "state-reason-message" => optional(image.state_reason.as_ref().map(|(_, message)| message.as_str())),
        "virtualization-type" => one("hvm"),
        _ => match name.strip_prefix("block-device-mapping.") {
            Some(field) => image.block_devices.iter().filter_map(|device| device_value(device, field)).collect(),
            // Kernels, RAM disks and source instances, which no image here has.
            None => Vec::new(),
        },
    }
}

fn device_value(device: &BlockDevice, field: &str) -> Option<String> {
    if field == "device-name" {
        return Some(device.device_name.clone());
    }
    let Volume::Ebs { snapshot_id, size, volume_type, delete_on_termination, encrypted } = &device.volume else {
        return None;
    };
    match field {
        "delete-on-termination" => Some(delete_on_termination.to_string()),
        "encrypted" => Some(encrypted.to_string()),
        "snapshot-id" => snapshot_id.clone(),
        "volume-size" => Some(size.to_string()),
        "volume-type" => Some(volume_type.clone()),
        _ => None,
    }
}

fn location(image: &Image) -> String {
    format!("{}/{}", image.owner, image.name)
}

fn root_device_type(image: &Image) -> &'static str {
    if image.snapshot_ids().next().is_some() { "ebs" } else { "instance-store" }
}

/// The image as `account` sees it: tags of its own, and the protection for the owner only \[C, aws.md section 1.2\].
fn write_image(item: &mut Xml, image: &Image, account: &str) {
    let is_windows = image.platform.as_deref() == Some("windows");
    item.text("imageId", &image.id);
    item.text("imageLocation", location(image));
    item.text("imageState", image.state.as_str());
    item.text("imageOwnerId", &image.owner);
    item.optional("imageOwnerAlias", image.owner_alias.as_ref());
    item.text("creationDate", ec2_time(image.created));
    item.text("isPublic", image.launch_permissions.is_public());
    write_product_codes(item, &image.product_codes);
    item.text("architecture", &image.architecture);
    item.text("imageType", "machine");
    item.optional("platform", image.platform.as_ref());
    item.text("platformDetails", if is_windows { "Windows" } else { "Linux/UNIX" });
    item.text("usageOperation", if is_windows { "RunInstances:0002" } else { "RunInstances" });
    item.text("sriovNetSupport", "simple");
    item.text("enaSupport", true);
    item.text("name", &image.name);
    item.optional("description", image.description.as_ref());
    if let Some((code, message)) = &image.state_reason {
        item.element("stateReason", |reason| {
            reason.text("code", code);
            reason.text("message", message);
        });
    }
    item.text("rootDeviceType", root_device_type(image));
    item.optional("rootDeviceName", image.root_device_name.as_ref());
    item.list("blockDeviceMapping", &image.block_devices, write_block_device);
    item.text("virtualizationType", "hvm");
    item.text("hypervisor", "xen");
    item.optional("bootMode", image.boot_mode.as_ref());
    item.optional("imdsSupport", image.imds_support.as_ref());
    item.optional("deprecationTime", image.deprecated_at().map(ec2_time));
    item.optional("sourceImageId", image.source.as_ref().map(|(id, _)| id));
    item.optional("sourceImageRegion", image.source.as_ref().map(|(_, region)| region));
    item.text("freeTierEligible", true);
    item.text("imageAllowed", true);
    if account == image.owner {
        item.text("deregistrationProtection", image.protection.as_str());
        item.optional("lastLaunchedTime", image.last_launched.map(ec2_time));
    }
    let tags = image.tags_seen_by(account);
    if !tags.is_empty() {
        super::tags::write_tags(item, &tags);
    }
}

fn write_block_device(item: &mut Xml, device: &BlockDevice) {
    item.text("deviceName", &device.device_name);
    match &device.volume {
        Volume::Ephemeral(name) => item.text("virtualName", name),
        Volume::Ebs { snapshot_id, size, volume_type, delete_on_termination, encrypted } => {
            item.element("ebs", |ebs| {
                ebs.optional("snapshotId", snapshot_id.as_ref());
                ebs.text("volumeSize", size);
                ebs.text("deleteOnTermination", delete_on_termination);
                ebs.text("volumeType", volume_type);
                ebs.text("encrypted", encrypted);
            });
        }
    }
}

/// `<productCodes>`, which is left out when there are none.
pub(super) fn write_product_codes(item: &mut Xml, codes: &[ProductCode]) {
    if !codes.is_empty() {
        item.list("productCodes", codes, |entry, code| {
            entry.text("productCode", &code.code);
            entry.text("type", &code.kind);
        });
    }
}
