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
    observed::{Image, KeySight, Observed, Permissions, Sight, Target},
    policy::Policy,
    store::Shares,
};
use crate::{
    api::{GrantsOn, ImageRef, KeyArn, Principal, Reason, SnapshotId},
    aws::{
        Ec2, Freshness, Services,
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
pub async fn observe(aws: &Services, image: &ImageRef, claims: &[Claim], look: &Look) -> Result<Observed, Failure> {
    let (ec2, urgency) = (&aws.ec2, look.urgency);
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
    let mut observed = Observed { snapshots, public_blocked, ..Observed::of(sight, launch) };
    look_at_keys(aws, &mut observed, claims, look).await;
    Ok(observed)
}

/// Looks at the keys of the image that was `observed`, and at those on which claims have given something.
pub async fn look_at_keys(aws: &Services, observed: &mut Observed, claims: &[Claim], look: &Look) {
    if !claims.iter().any(is_acting) {
        return;
    }
    observed.snapshot_keys = match observed.sight.image() {
        Some(image) => keys_of(&aws.ec2, image, look.urgency).await,
        None => Ok(BTreeMap::new()),
    };
    let targets = grants_to_read(observed, claims);
    let of_image = observed.image_keys().unwrap_or_default().into_iter().cloned();
    let arns: BTreeSet<KeyArn> = of_image.chain(targets.iter().map(|on| on.key.clone())).collect();
    let owner = observed.sight.image().and_then(|image| image.owner).or(aws.ec2.account());
    let seen = join_all(arns.into_iter().map(|arn| async move {
        let sight = if owner.is_some() && arn.account() != owner {
            KeySight::Foreign
        } else {
            match aws.kms.key(&arn, look.urgency, look.freshness).await {
                Ok(key) => KeySight::Own(key),
                Err(failure) if failure.code.as_deref() == Some("NotFoundException") => KeySight::Gone,
                Err(failure) => KeySight::Unread(failure),
            }
        };
        (arn, sight)
    }));
    observed.keys = seen.await.into_iter().collect();
    let permissions = |on: &GrantsOn| {
        let target = Target::Grants(on.clone());
        let given = claims.iter().filter_map(|claim| claim.granted.of(&target)).flatten();
        let listed = claims.iter().filter_map(|claim| claim.lists_on(&target)).flatten();
        match observed.keys.get(&on.key) {
            Some(KeySight::Own(key)) => match &key.grants {
                Ok(_) => Permissions::Held(key.holders(on, given.chain(listed))),
                Err(failure) => Permissions::Unread(failure.clone()),
            },
            Some(KeySight::Unread(failure)) => Permissions::Unread(failure.clone()),
            // To whoever is not its owner KMS tells nothing of a key: no reason to forget what was given.
            Some(KeySight::Foreign) if given.count() > 0 => {
                let message = format!("{} belongs to another account than the operator's", on.key);
                Permissions::Unread(Failure::wrong_identity(message))
            }
            Some(KeySight::Foreign | KeySight::Gone) | None => Permissions::Gone,
        }
    };
    observed.grants = targets.into_iter().map(|on| (on.clone(), permissions(&on))).collect();
}

/// With which keys the snapshots of an image are encrypted that are. All of them have to be known: nobody can launch an image with all keys but one.
///
/// # Errors
/// When AWS cannot be asked, or does not show one of them.
pub async fn keys_of(ec2: &Ec2, image: &Image, urgency: Urgency) -> Result<BTreeMap<SnapshotId, KeyArn>, Failure> {
    if !image.encrypted {
        return Ok(BTreeMap::new());
    }
    let keys = ec2.keys_of(&image.snapshots, urgency).await?;
    if let Some(unknown) = image.snapshots.iter().find(|id| !keys.contains_key(*id)) {
        let message = format!("{unknown} is not listed by AWS");
        return Err(Failure::answered("DescribeSnapshots", "InvalidSnapshot.NotFound", &message));
    }
    Ok(keys.into_iter().filter_map(|(snapshot, key)| Some((snapshot, key?))).collect())
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

/// Whether anything is looked at for a claim.
fn is_acting(claim: &Claim) -> bool {
    claim.standing.takes_back() || claim.standing == Standing::Observing
}

/// The snapshots whose permissions matter: all of the image's when a claim asks for createVolumePermission, and those on which
/// one has given some.
fn snapshots_to_read(sight: &Sight, claims: &[Claim]) -> BTreeSet<SnapshotId> {
    let acting = || claims.iter().filter(|claim| is_acting(claim));
    let asked = acting().any(|c| c.lists_for_volumes.is_some());
    let of_image = match sight {
        Sight::Shareable(image) if asked => image.snapshots.clone(),
        _ => BTreeSet::new(),
    };
    acting().flat_map(|c| c.granted.volumes.keys().cloned()).chain(of_image).collect()
}

/// The lists of grants that matter: those that claims ask for on the keys of the image, and those on which one has given some.
fn grants_to_read(observed: &Observed, claims: &[Claim]) -> BTreeSet<GrantsOn> {
    let acting = || claims.iter().filter(|claim| is_acting(claim));
    let keys = match (&observed.sight, observed.image_keys()) {
        (Sight::Shareable(_), Ok(keys)) => keys,
        _ => BTreeSet::new(),
    };
    let operations: BTreeSet<_> =
        acting().filter_map(|c| c.lists_for_grants.as_ref()).filter_map(|grants| grants.operations.as_ref()).collect();
    let on = |key: &KeyArn| {
        let key = key.clone();
        let with = move |operations: &BTreeSet<_>| GrantsOn { key: key.clone(), operations: operations.clone() };
        operations.iter().map(|operations| with(operations)).collect::<Vec<_>>()
    };
    let asked = keys.into_iter().flat_map(on);
    acting().flat_map(|c| c.granted.grants.keys().cloned()).chain(asked).collect()
}
