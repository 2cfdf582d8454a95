//! Observe: looks at an image in AWS.
//!
//! Reads only, and decides nothing beyond what is worth reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use tokio::time::Instant;

use super::{
    claim::{Claim, Standing},
    observed::{Image, Observed, Permissions, Sight},
    policy::Policy,
    store::Shares,
};
use crate::{
    api::{ImageRef, Principal, Reason, SnapshotId},
    aws::{
        Ec2, Freshness,
        failure::{Class, Failure},
    },
    planted::{self, Flaw},
    runtime::agenda::Urgency,
};

/// How to look.
#[derive(Clone)]
pub struct Look {
    /// How urgent it is.
    pub urgency: Urgency,
    /// How old the description of the image may be. Permissions are always read now.
    pub freshness: Freshness,
    /// The other images, which the call that describes this one may describe too.
    pub others: Shares,
    /// Which of them may be asked for.
    pub policy: Arc<Policy>,
}

impl Look {
    /// A look now, for the sake of one image.
    pub fn now(urgency: Urgency) -> Self {
        Self { urgency, freshness: Freshness::Since(Instant::now()), others: Shares::default(), policy: Arc::default() }
    }
}

/// Looks at `image` as far as `claims` need it.
///
/// # Errors
/// When AWS cannot be asked.
pub async fn observe(ec2: &Arc<Ec2>, image: &ImageRef, claims: &[Claim], look: &Look) -> Result<Observed, Failure> {
    let urgency = look.urgency;
    let (sight, launch) = see(ec2, image, look).await?;
    // To whoever is not its owner, AWS says that a snapshot does not exist (aws.md section 1.0): no reason to forget what was given.
    let not_owner = matches!(&sight, Sight::Hindered { reason: Reason::NotOwner, .. });
    let snapshots = join_all(snapshots_to_read(&sight, claims).into_iter().map(|id| async move {
        let permissions = match ec2.create_volume_permissions(&id, urgency).await {
            Ok(held) => Permissions::Held(held),
            Err(failure) if failure.class == Class::NotFound && !not_owner => Permissions::Gone,
            Err(failure) => Permissions::Unread(failure),
        };
        (id, permissions)
    }));
    let snapshots = snapshots.await.into_iter().collect();

    let wants_public = claims.iter().any(|c| c.lists.contains(&Principal::Everyone))
        && launch.as_ref().is_some_and(|held| !held.contains(&Principal::Everyone));
    // If this cannot be read, AWS's answer to the change itself will tell.
    let public_blocked = if wants_public { ec2.blocks_public_access(urgency).await.ok() } else { None };
    Ok(Observed { sight, launch, snapshots, public_blocked, elsewhere: BTreeMap::new() })
}

/// The image as AWS describes it, if it does.
///
/// # Errors
/// When AWS cannot be asked.
pub async fn describe(ec2: &Arc<Ec2>, image: &ImageRef, look: &Look) -> Result<Option<Arc<Image>>, Failure> {
    let Look { urgency, freshness, others, policy } = look.clone();
    ec2.image(&image.id, urgency, freshness, others.at(&image.site, &policy)).await
}

/// The image and its launch permissions.
async fn see(ec2: &Arc<Ec2>, image: &ImageRef, look: &Look) -> Result<(Sight, Option<BTreeSet<Principal>>), Failure> {
    let urgency = look.urgency;
    // An image that was available most likely still is: its permissions can be asked for in the same moment.
    let (found, permissions) = if ec2.was_available(&image.id) {
        let permissions = async { Ok(ec2.launch_permissions(&image.id, urgency).await) };
        let (found, permissions) = futures::try_join!(describe(ec2, image, look), permissions)?;
        // They may have been read a moment before the image has become what it is.
        let too_soon = |failure: &Failure| matches!(failure.class, Class::NotUsable | Class::NotFound);
        (found, Some(permissions).filter(|permissions| !permissions.as_ref().is_err_and(too_soon)))
    } else {
        (describe(ec2, image, look).await?, None)
    };
    let found = found.map(Arc::unwrap_or_clone);
    if let Some(found) = found.as_ref().filter(|found| found.state != "available") {
        // DisableImage has removed every launch permission for good (aws.md section 1.6).
        let launch = (found.state == "disabled").then(BTreeSet::new);
        return Ok((hindered_by_state(found, image), launch));
    }
    let hindered = |image, reason, message: String, gone| Sight::Hindered { image, reason, message, gone };
    let (id, region) = (&image.id, image.region());
    let permissions = match permissions {
        Some(permissions) => permissions,
        None => ec2.launch_permissions(id, urgency).await,
    };
    match permissions {
        Ok(held) => {
            if planted::has(Flaw::AsksForEachAccount) {
                for _ in &held {
                    ec2.launch_permissions(id, urgency).await?;
                }
            }
            let Some(found) = found else {
                let message = format!("{id} in {region} is not listed by AWS yet; it is looked at again");
                return Ok((hindered(None, Reason::ImagePending, message, false), None));
            };
            // AWS tells them to the owner alone. The credentials have become another account's since they were asked whose they are.
            if let (Some(expected), Some(owner)) = (ec2.account(), found.owner)
                && owner != expected
            {
                let message =
                    format!("{id} in {region} belongs to account {owner}, and its identity is that of {expected}");
                return Ok((hindered(Some(found), Reason::NotOwner, message, false), None));
            }
            // The description may be older than the permissions, and than a change of ours.
            let public = held.contains(&Principal::Everyone);
            Ok((Sight::Shareable(Image { public, ..found }), Some(held)))
        }
        Err(failure) => match failure.class {
            Class::NotOwner => {
                let owner = found.as_ref().and_then(|found| found.owner);
                let owner = owner.map_or_else(|| "another account".into(), |owner| format!("account {owner}"));
                let message = format!(
                    "{id} in {region} belongs to {owner}, and only its owner can share it; name an image of the operator's \
                     own account, or run the operator with that account's credentials"
                );
                Ok((hindered(found, Reason::NotOwner, message, false), None))
            }
            Class::NotUsable if found.is_some() => {
                let message = format!("{id} in {region} is not in a state in which it can be shared");
                Ok((hindered(found, Reason::ImageNotUsable, message, false), None))
            }
            Class::NotUsable => {
                let message = format!("{id} in {region} has been deregistered; name another image");
                Ok((hindered(None, Reason::ImageDeregistered, message, true), None))
            }
            Class::NotFound => {
                let message = format!("no image {id} exists in {region}; check the id and the Region");
                Ok((hindered(None, Reason::ImageNotFound, message, true), None))
            }
            _ => Err(failure),
        },
    }
}

/// What a state other than `available` means.
fn hindered_by_state(found: &Image, image: &ImageRef) -> Sight {
    let (id, region, state) = (&image.id, image.region(), &found.state);
    let (reason, message, gone) = match state.as_str() {
        "pending" => {
            (Reason::ImagePending, format!("{id} in {region} is pending; it is shared once it is available"), false)
        }
        "disabled" => {
            let message = format!(
                "{id} in {region} is disabled, which removed all its launch permissions; enable it (aws ec2 enable-image) to \
                 share it"
            );
            (Reason::ImageDisabled, message, true)
        }
        "deregistered" => {
            (Reason::ImageDeregistered, format!("{id} in {region} has been deregistered; name another image"), true)
        }
        _ => (Reason::ImageNotUsable, format!("{id} in {region} is in state {state} and cannot be shared"), false),
    };
    Sight::Hindered { image: Some(found.clone()), reason, message, gone }
}

/// The snapshots whose permissions matter: all of the image's when a claim asks for createVolumePermission, and those on which
/// one has given some.
fn snapshots_to_read(sight: &Sight, claims: &[Claim]) -> BTreeSet<SnapshotId> {
    let acting = |c: &&Claim| c.standing.writes() || matches!(c.standing, Standing::Observing | Standing::Leaving);
    let asked = claims.iter().filter(acting).any(|c| c.lists_for_volumes.is_some());
    let of_image = match sight {
        Sight::Shareable(image) if asked => image.snapshots.clone(),
        _ => BTreeSet::new(),
    };
    let given = claims.iter().filter(acting).flat_map(|c| c.granted.volumes.keys().cloned());
    given.chain(of_image).collect()
}
