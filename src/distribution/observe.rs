//! What there is in AWS for a distribution.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::jiff::Timestamp;

use super::{
    aging::{Reading, Reported, Use, reading},
    marks::{COPY, DISTRIBUTION, Owner},
    plan::{is_broken, is_source},
};
use crate::{
    api::{
        AmiShare, ImageId, KeyArn, KmsKeyId, Principal, Reason, SnapshotId,
        ami_distribution::{AmiDistributionSpec, DistributionTarget},
    },
    aws::{
        Company, Freshness, Services,
        failure::{Class, Failure},
        words::{Copy, Image},
    },
    runtime::agenda::Urgency,
};

/// Nobody: the source of a distribution is asked for alone.
#[derive(Debug)]
struct Alone;

impl Company for Alone {
    fn all(&self) -> Vec<ImageId> {
        Vec::new()
    }

    fn awaited(&self) -> BTreeSet<ImageId> {
        BTreeSet::new()
    }
}

/// What is seen of the source.
#[derive(Debug, Clone)]
pub enum Sight {
    /// The image.
    Seen(Arc<Image>),
    /// Why it is not seen.
    Unseen(Reason, String),
    /// AWS could not be asked.
    Failed(Failure),
}

/// Looks at the source.
pub async fn source(aws: &Services, spec: &AmiDistributionSpec, id: &ImageId, freshness: Freshness) -> Sight {
    match aws.ec2.image(id, Urgency::Give, freshness, Alone).await {
        Ok(Some(image)) => Sight::Seen(image),
        Ok(None) => {
            let message = format!(
                "no image {id} in {}, or it is private to another account; check spec.source",
                spec.source.region
            );
            Sight::Unseen(Reason::ImageNotFound, message)
        }
        Err(failure) => Sight::Failed(failure),
    }
}

/// What is seen in the account and Region of a target.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The images that carry the tags of the object and the target.
    pub own: Vec<Copy>,
    /// Other copies of the source, if it was looked for them.
    pub found: Vec<Copy>,
    /// Those of them that are encrypted with the key of the target.
    pub with_its_key: BTreeSet<ImageId>,
    /// How much of the copy is done, if one is under way.
    pub progress: Option<i64>,
}

/// Looks at what there is for a target. Of a copy that is under way, or has failed, the snapshots tell more.
///
/// # Errors
/// When a call fails.
pub async fn target(
    aws: &Services,
    owner: &Owner,
    spec: &AmiDistributionSpec,
    source: &ImageId,
    target: &DistributionTarget,
    generation: &str,
) -> Result<Seen, Failure> {
    let all = aws.copies.tagged(DISTRIBUTION, &owner.uid, Urgency::Give).await?;
    let mut own: Vec<Copy> = all.into_iter().filter(|copy| owner.made(copy, &target.name)).collect();
    let mut seen = Seen::default();
    let is_of_it = |copy: &Copy| copy.tags.get(COPY).is_some_and(|tag| tag == generation);
    if !is_source(spec, target) && !own.iter().any(|copy| is_of_it(copy) && copy.state == "available") {
        seen.found = aws.copies.copied_from(&spec.source.region, source, Urgency::Give).await?;
        seen.found.retain(|copy| !own.iter().any(|known| known.id == copy.id));
        // What the filter of the tags does not show yet, or any more, the other one may.
        let (late, found): (Vec<Copy>, Vec<Copy>) =
            seen.found.into_iter().partition(|copy| owner.made(copy, &target.name));
        (own, seen.found) = (own.into_iter().chain(late).collect(), found);
        if let Some(key) = &target.kms_key_id {
            seen.with_its_key = with_key(aws, &seen.found, key).await?;
        }
    }
    for copy in &mut own {
        let is_pending = copy.state == "pending";
        if !is_of_it(copy) || !(is_pending || is_broken(copy)) {
            continue;
        }
        let snapshots = aws.copies.snapshots(&copy.snapshots, Urgency::Check).await?;
        if is_pending && !snapshots.is_empty() {
            let count = i64::try_from(snapshots.len()).unwrap_or(i64::MAX);
            seen.progress = Some(snapshots.iter().map(|snapshot| snapshot.progress).sum::<i64>() / count);
        }
        let told: BTreeSet<String> = snapshots.into_iter().filter_map(|snapshot| snapshot.message).collect();
        // The image may have it already, in its own words.
        let reason = copy.reason.clone().unwrap_or_default();
        let more: Vec<String> = told.into_iter().filter(|message| !is_pending && !reason.contains(message)).collect();
        if !more.is_empty() {
            let all: Vec<String> = Some(reason).into_iter().filter(|reason| !reason.is_empty()).chain(more).collect();
            copy.reason = Some(all.join("; "));
        }
    }
    seen.own = own;
    Ok(seen)
}

/// Which copies by hand are encrypted with a key, as far as the role may see what key that is.
async fn with_key(aws: &Services, found: &[Copy], key: &KmsKeyId) -> Result<BTreeSet<ImageId>, Failure> {
    let could_be = |copy: &&Copy| copy.encrypted && copy.state == "available" && !copy.tags.contains_key(DISTRIBUTION);
    let could_be: Vec<&Copy> = found.iter().filter(could_be).collect();
    if could_be.is_empty() {
        return Ok(BTreeSet::new());
    }
    let meant = if key.is_alias() {
        match aws.kms.meant_by(key, Urgency::Give).await {
            Ok(meant) => Some(meant),
            Err(failure) if matches!(failure.class, Class::AccessDenied | Class::NotFound) => {
                return Ok(BTreeSet::new());
            }
            Err(failure) => return Err(failure),
        }
    } else {
        None
    };
    let is_it = |arn: &KeyArn| meant.as_ref().map_or_else(|| key.names(arn), |meant| meant == arn);
    let ids = could_be.iter().flat_map(|copy| &copy.snapshots).cloned().collect();
    let snapshots = aws.copies.snapshots(&ids, Urgency::Give).await?;
    let with_it: BTreeSet<&SnapshotId> =
        snapshots.iter().filter(|s| s.key.as_ref().is_some_and(is_it)).map(|s| &s.id).collect();
    let is_encrypted_with_it = |copy: &&&Copy| copy.snapshots.iter().all(|id| with_it.contains(id));
    Ok(could_be.iter().filter(is_encrypted_with_it).map(|copy| copy.id.clone()).collect())
}

/// All copies that an object has made in one account and Region.
///
/// # Errors
/// When the call fails.
pub async fn of_object(aws: &Services, owner: &Owner) -> Result<Vec<Copy>, Failure> {
    let mut all = aws.copies.tagged(DISTRIBUTION, &owner.uid, Urgency::Take).await?;
    all.retain(|copy| owner.made_for(copy).is_some());
    Ok(all)
}

/// Looks at who uses a copy, which has this AmiShare if it has one. The first use that is found will do.
///
/// # Errors
/// When a call fails.
pub async fn uses(aws: &Services, copy: &Copy, share: Option<&AmiShare>, now: Timestamp) -> Result<Use, Failure> {
    let mut held: BTreeSet<Principal> = match copy.state.as_str() {
        "available" => aws.ec2.launch_permissions(&copy.id, Urgency::Check).await?,
        // DisableImage has removed every launch permission for good (aws.md section 1.6).
        _ => BTreeSet::new(),
    };
    for snapshot in &copy.snapshots {
        match aws.ec2.create_volume_permissions(snapshot, Urgency::Check).await {
            Ok(permissions) => held.extend(permissions),
            Err(failure) if failure.class == Class::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    let records = share.and_then(|share| share.status.as_ref()).into_iter().flat_map(|status| &status.granted);
    let mut ours: BTreeSet<Principal> = BTreeSet::new();
    for record in records.filter(|record| record.image_id == copy.id) {
        let accounts = record.create_volume_permission.iter().flat_map(|volumes| &volumes.account_ids);
        ours.extend(record.launch_permission.iter());
        ours.extend(accounts.map(|account| Principal::Account(*account)));
    }
    let mut used =
        Use { held, ours, has_share: share.is_some(), has_instances: false, source_of: None, reported: None };
    if used.held.is_subset(&used.ours) {
        used.has_instances = aws.lifecycle.has_instances(&copy.id, Urgency::Check).await?;
        if !used.has_instances {
            used.reported = Some(reported(aws, &copy.id, now).await?);
        }
    }
    Ok(used)
}

/// What AWS reports on who uses an image.
async fn reported(aws: &Services, image: &ImageId, now: Timestamp) -> Result<Reported, Failure> {
    let allowed = |failure: Failure| match failure.class {
        Class::AccessDenied => Ok(Reported::NotAllowed),
        _ => Err(failure),
    };
    let report = match aws.lifecycle.report(image, Urgency::Check).await {
        Ok(report) => report,
        Err(failure) => return allowed(failure),
    };
    match reading(report, now) {
        Reading::NotYet(reported) => Ok(reported),
        Reading::Now(id) => aws.lifecycle.reported(&id, Urgency::Check).await.map(Reported::UsedBy).or_else(allowed),
    }
}
