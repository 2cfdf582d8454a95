//! Claimants: the objects of one reconcile, each with what it says about the image.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::jiff::Timestamp;

use super::{
    claim::Claim,
    observe::{Look, describe, keys_of},
    policy::Policy,
    status::Subject,
};
use crate::{
    api::{
        AmiShareStatus, ImageRef,
        stored::{Share, Stored},
    },
    aws::{Services, failure::Failure},
};

/// An object and what it says about the image, as the reconcile goes on.
pub(super) struct Claimant {
    pub(super) object: Arc<Stored>,
    pub(super) claim: Claim,
}

impl Claimant {
    pub(super) fn subject<'a>(&'a self, old: &'a AmiShareStatus) -> Subject<'a> {
        subject(&self.object, old)
    }

    pub(super) fn deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Whether the object says that it is suspended.
    pub(super) fn suspended(&self) -> bool {
        self.object.share().is_some_and(|share| share.spec.suspend)
    }

    /// Whether the object holds our finalizer.
    pub(super) fn is_held(&self) -> bool {
        self.object.is_held()
    }
}

/// What a status of an object is about.
pub(super) fn subject<'a>(object: &'a Stored, old: &'a AmiShareStatus) -> Subject<'a> {
    let selected = object.share().and_then(Share::selected);
    // Whoever asks for a check of an image that has to be found is answered when it has been looked for.
    let asked = object.requested_at();
    let looked_for = selected.filter(|selected| object.finds() && selected.image_id.is_some());
    let requested_at = match looked_for.map(|selected| selected.last_handled_reconcile_at.as_deref()) {
        Some(handled) if handled != asked => old.last_handled_reconcile_at.as_deref(),
        _ => asked,
    };
    Subject { old, generation: object.metadata.generation.unwrap_or_default(), requested_at, selected }
}

/// Has those who have lost their records answer for what they may have given on the snapshots and keys of the image.
///
/// # Errors
/// When AWS cannot be asked for the image or its keys.
pub(super) async fn recall_parts(
    aws: &Services,
    image: &ImageRef,
    claimants: &mut [Claimant],
    look: &Look,
) -> Result<(), Failure> {
    if claimants.iter().any(|claimant| claimant.claim.has_unrecorded())
        && let Some(seen) = describe(&aws.ec2, image, look).await?
    {
        let asks = claimants.iter().any(|claimant| claimant.claim.unrecorded_grants.is_some());
        let keys =
            if asks { keys_of(&aws.ec2, &seen, look.urgency).await?.into_values().collect() } else { BTreeSet::new() };
        for claimant in claimants {
            claimant.claim.recall(&seen.snapshots, &keys);
        }
    }
    Ok(())
}

/// The claims of all claimants.
pub(super) fn claims(claimants: &[Claimant]) -> Vec<Claim> {
    claimants.iter().map(|c| c.claim.clone()).collect()
}

/// The objects that say something about an image, with what they say.
pub(super) fn claimants(image: &ImageRef, objects: &[Arc<Stored>], now: Timestamp, policy: &Policy) -> Vec<Claimant> {
    let claimant = |object: &Arc<Stored>| {
        Claim::on(image, object, now, policy).map(|claim| Claimant { claim, object: Arc::clone(object) })
    };
    objects.iter().filter_map(claimant).collect()
}
