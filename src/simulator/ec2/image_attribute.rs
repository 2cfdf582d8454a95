//! `DescribeImageAttribute` and `ModifyImageAttribute`; what the latter does to launch permissions is `launch_permission`.

use super::call::Call;
use super::{Action, done, launch_permission};
use crate::simulator::clock::ec2_time;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::permissions::{Grantee, Grantees};
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "DescribeImageAttribute",
        parameters: &["Attribute", "ImageId"],
        lacking: &[],
        run: describe_image_attribute,
    },
    Action {
        name: "ModifyImageAttribute",
        parameters: &[
            "Attribute",
            "Description.Value",
            "ImageId",
            "ImdsSupport.Value",
            "LaunchPermission.Add.N.Group",
            "LaunchPermission.Add.N.OrganizationArn",
            "LaunchPermission.Add.N.OrganizationalUnitArn",
            "LaunchPermission.Add.N.UserId",
            "LaunchPermission.Remove.N.Group",
            "LaunchPermission.Remove.N.OrganizationArn",
            "LaunchPermission.Remove.N.OrganizationalUnitArn",
            "LaunchPermission.Remove.N.UserId",
            "OperationType",
            "OrganizationArn.N",
            "OrganizationalUnitArn.N",
            "UserGroup.N",
            "UserId.N",
            "Value",
        ],
        lacking: &["ProductCode"],
        run: modify_image_attribute,
    },
];

fn describe_image_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let attribute = call.params.required("Attribute")?;
    let image = call.owned_image(id)?;
    let mut answer = Xml::new();
    answer.text("imageId", id);
    let mut value = |name: &str, value: Option<String>| {
        answer.element(name, |inner| inner.optional("value", value));
    };
    match attribute {
        "launchPermission" => write_launch_permissions(&mut answer, &image.launch_permissions),
        "productCodes" => answer.list("productCodes", &image.product_codes, |item, code| {
            item.text("productCode", &code.code);
            item.text("type", &code.kind);
        }),
        "blockDeviceMapping" => return Err(errors::restricted_resource()),
        "description" => value(attribute, image.description.clone()),
        // No image here has a kernel, a RAM disk or a TPM.
        "kernel" | "ramdisk" | "tpmSupport" => value(attribute, None),
        "sriovNetSupport" => value(attribute, Some("simple".to_owned())),
        "bootMode" => value(attribute, image.boot_mode.clone()),
        "imdsSupport" => value(attribute, image.imds_support.clone()),
        "lastLaunchedTime" => value(attribute, image.last_launched.map(ec2_time)),
        "deregistrationProtection" => value(attribute, Some(image.protection.as_str().to_owned())),
        "uefiData" => return Err(errors::simulator_lacks("the attribute uefiData")),
        _ => return Err(errors::invalid_request()),
    }
    Ok(answer)
}

fn write_launch_permissions(answer: &mut Xml, permissions: &Grantees) {
    answer.list("launchPermission", permissions.iter(), |item, grantee| match grantee {
        Grantee::Account(id) => item.text("userId", id),
        Grantee::Everyone => item.text("group", "all"),
        Grantee::Organization(arn) => item.text("organizationArn", arn),
        Grantee::OrganizationalUnit(arn) => item.text("organizationalUnitArn", arn),
    });
}

fn modify_image_attribute(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let params = call.params;
    // The value of a simple attribute comes as `Description.Value`, or as `Attribute=description` and `Value`.
    let simple = |canonical: &str, attribute: &str| {
        let legacy = || params.get("Value").filter(|_| params.get("Attribute") == Some(attribute));
        params.get(canonical).or_else(legacy)
    };
    let description = simple("Description.Value", "description");
    let imds_support = simple("ImdsSupport.Value", "imdsSupport");
    let launch_permission = launch_permission::is_meant_by(params);
    check_attribute_name(params.get("Attribute"))?;

    let kinds = [
        description.is_some().then_some("description"),
        imds_support.is_some().then_some("imdsSupport"),
        launch_permission.then_some("launchPermission"),
    ];
    match kinds.into_iter().flatten().collect::<Vec<_>>()[..] {
        [] => return Err(errors::no_attributes()),
        [_] => {}
        ref several => return Err(errors::several_attributes(several)),
    }
    // Who may modify is asked before what: for snapshots that order was observed, for images it is inferred (aws.md 1.0).
    call.modifiable_image(id)?;
    if launch_permission {
        launch_permission::modify(call, id)?;
    } else if let Some(description) = description {
        let description = Some(description.to_owned()).filter(|text| !text.is_empty());
        call.change_image(id, |image| image.description = description);
    } else if let Some(imds_support) = imds_support {
        if imds_support != "v2.0" {
            return Err(errors::invalid_parameter_value(format!("Value ({imds_support}) for imdsSupport is invalid.")));
        }
        call.change_image(id, |image| image.imds_support = Some("v2.0".to_owned()));
    }
    Ok(done())
}

fn check_attribute_name(attribute: Option<&str>) -> Result<(), ApiError> {
    match attribute {
        None | Some("description" | "imdsSupport" | "launchPermission") => Ok(()),
        Some("productCodes") => Err(errors::simulator_lacks("modifying productCodes")),
        Some(_) => Err(errors::invalid_request()),
    }
}
