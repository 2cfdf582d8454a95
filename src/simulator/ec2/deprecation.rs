//! Deprecation and protection from deregistration: what is set on an image for later.

use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};

use super::call::Call;
use super::{Action, done};
use crate::simulator::clock::saturating_add;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::world::DeregistrationProtection;
use crate::simulator::xml::Xml;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "EnableImageDeprecation",
        parameters: &["ImageId", "DeprecateAt"],
        lacking: &[],
        run: enable_deprecation,
    },
    Action { name: "DisableImageDeprecation", parameters: &["ImageId"], lacking: &[], run: disable_deprecation },
    Action {
        name: "EnableImageDeregistrationProtection",
        parameters: &["ImageId", "WithCooldown"],
        lacking: &[],
        run: enable_protection,
    },
    Action {
        name: "DisableImageDeregistrationProtection",
        parameters: &["ImageId"],
        lacking: &[],
        run: disable_protection,
    },
];

/// How far ahead an image can be deprecated \[M, aws.md section 1.6\].
const TEN_YEARS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
const COOLDOWN: SignedDuration = SignedDuration::from_hours(24);

fn enable_deprecation(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let text = call.params.required("DeprecateAt")?;
    let invalid = |why: &str| {
        errors::invalid_parameter_value(format!("Value ({text}) for parameter deprecateAt is invalid. {why}"))
    };
    let given: Timestamp = text.parse().map_err(|_| invalid("Expected a timestamp."))?;
    // Seconds are rounded to the nearest minute \[M\].
    let at = given.round(TimestampRound::new().smallest(Unit::Minute)).map_err(|_| invalid("It is out of range."))?;
    let now = call.now();
    let image = call.modifiable_image(id)?;
    if at < now {
        return Err(invalid("It is in the past."));
    }
    if at > saturating_add(now, TEN_YEARS) {
        return Err(invalid("It is more than ten years from now."));
    }
    if image.launch_permissions.is_public() && at > image.latest_public_deprecation() {
        return Err(invalid("A public image is deprecated two years after its creation at the latest."));
    }
    call.change_image(id, |image| image.deprecate_at = Some(at));
    Ok(done())
}

fn disable_deprecation(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    call.modifiable_image(id)?;
    call.change_image(id, |image| image.deprecate_at = None);
    Ok(done())
}

fn enable_protection(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let cooldown = call.params.flag("WithCooldown")?.unwrap_or(false);
    call.owned_image(id)?;
    call.change_image(id, |image| image.protection = DeregistrationProtection::Enabled { cooldown });
    Ok(done())
}

fn disable_protection(call: &mut Call<'_>) -> Result<Xml, ApiError> {
    let id = call.image_id()?;
    let until = saturating_add(call.now(), COOLDOWN);
    call.owned_image(id)?;
    call.change_image(id, |image| {
        image.protection = match image.protection {
            DeregistrationProtection::Enabled { cooldown: true } => DeregistrationProtection::CoolingDown(until),
            DeregistrationProtection::Enabled { cooldown: false } => DeregistrationProtection::Disabled,
            other => other,
        };
    });
    Ok(done())
}
