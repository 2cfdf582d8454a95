//! When an image is due, and how urgent it is.
//!
//! Pure: `now` is an argument. Nothing here is random, and nothing is remembered: each image has its own moment in every interval, so
//! that checks are spread evenly, and a restart of the operator changes nothing of when they are due.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    claim::{Claim, Standing},
    claimant::Claimant,
    observed::Sight,
};
use crate::{
    api::{ConditionType, ImageRef, Reason, conditions::find, stored::Share},
    runtime::{agenda::Urgency, runner::Next},
};

/// How often a pending image is looked at.
const PENDING: Duration = Duration::from_secs(15);

/// The claimants that are acted on at intervals.
fn acting(claimants: &[Claimant]) -> impl Iterator<Item = &Share> {
    let asks = |claim: &Claim| claim.standing.writes() || claim.standing == Standing::Observing;
    // Whoever has nothing to do with the image does not say either how often it is looked at.
    let acts = move |c: &&Claimant| asks(&c.claim) && c.claim.barred.is_none();
    claimants.iter().filter(acts).filter_map(|c| c.object.share())
}

/// How long it is until each share that has an end ends.
pub(super) fn time_left(claimants: &[Claimant], now: Timestamp) -> impl Iterator<Item = Duration> {
    let waiting = claimants.iter().filter(|c| c.claim.standing == Standing::Waiting).filter_map(|c| c.object.share());
    acting(claimants)
        .chain(waiting)
        .filter_map(|share| share.spec.expires_at.as_ref())
        .filter_map(move |end| Duration::try_from(end.0.duration_since(now)).ok())
        .filter(|left| !left.is_zero())
}

/// How often an image is checked: as often as the claimant wants that wants it most often. None if nobody wants it checked.
pub(super) fn interval(claimants: &[Claimant]) -> Option<Duration> {
    acting(claimants).map(|share| share.spec.interval.bounded()).min()
}

/// How long it is until an image, or whatever else is looked at, is due by its interval.
///
/// Its moment in the interval follows from its name and the time of day alone. If that is near, the next one is meant: what has
/// just been seen to is not checked again at once. So it is at most 1.1 intervals.
pub(super) fn until_due(image: &impl Hash, interval: Duration, now: Timestamp) -> Duration {
    let left = until_moment(image, interval, now);
    if left < interval / 10 { left + interval } else { left }
}

/// How long it is until an image's moment in the interval. For who has just started: nothing has been seen to yet.
pub(super) fn until_moment(image: &impl Hash, interval: Duration, now: Timestamp) -> Duration {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    let length = i128::try_from(interval.as_nanos()).unwrap_or(i128::MAX).max(1);
    let gone = (now.as_nanosecond() + i128::from(hasher.finish())).rem_euclid(length);
    // Both are at most a day.
    Duration::from_nanos(u64::try_from(length - gone).unwrap_or_default())
}

/// When to look at an image again after everything was done that could be.
pub(super) fn next(
    image: &ImageRef,
    claimants: &[Claimant],
    sight: &Sight,
    retry_refused: Option<Duration>,
    now: Timestamp,
) -> Next {
    let by_interval = interval(claimants).map(|interval| until_due(image, interval, now));
    let Some(after) = by_interval.into_iter().chain(retry_refused).min() else { return Next::Rest };
    match sight {
        Sight::Hindered { reason: Reason::ImagePending, .. } => Next::Soon(after.min(PENDING)),
        Sight::Hindered { .. } => Next::Stalled(after),
        Sight::Shareable(_) => Next::After(after),
    }
}

/// Whether everything that the claimants want has been done and reported, so that only drift can have changed anything.
pub(super) fn is_settled(claimants: &[Claimant]) -> bool {
    claimants.iter().all(|claimant| {
        let Claimant { object, claim } = claimant;
        // It is told what it has to be told without a look at AWS.
        if claim.is_off() {
            return true;
        }
        // Another process may have seen to it under other rules, and its status may say that it holds what it must not any more.
        if !claim.forbidden.is_empty() {
            return false;
        }
        match claim.standing {
            Standing::Leaving | Standing::LeavingAsItIs | Standing::Unrecorded => return false,
            Standing::Waiting => return !claim.has_to_take(),
            // They are told what they have to be told without a look at AWS.
            Standing::Suspended | Standing::Unreadable => return true,
            Standing::Authoritative | Standing::Additive | Standing::Observing => {}
        }
        let Some(status) = object.known_status() else { return false };
        let generation = object.metadata.generation;
        let ready = find(&status.conditions, ConditionType::Ready);
        // Of an image that cannot be shared as it is, an old description tells nothing.
        let available = || find(&status.conditions, ConditionType::ImageAvailable).is_some_and(|c| c.status == "True");
        let well = ready.is_some_and(|ready| {
            ready.observed_generation == generation
                && (ready.status == "True"
                    || (claim.expired && ready.reason == Reason::Expired.as_str() && available()))
        });
        // Another image was found since, and everything that is said is about the one before.
        let named = object.share().filter(|_| object.finds()).and_then(Share::image);
        let is_about_it = named.is_none_or(|id| status.image.as_ref().is_some_and(|seen| seen.id == *id));
        let over = claim.expired == find(&status.conditions, ConditionType::Expired).is_some();
        let held = !claim.standing.writes() || claim.granted.is_empty() || claimant.is_held();
        object.is_dealt_with() && is_about_it && well && over && held && !claim.unfinished
    })
}

/// Whether the time of a share is over, and its status does not say so yet.
pub(super) fn has_just_ended(claimant: &Claimant) -> bool {
    let said = claimant.object.known_status().and_then(|status| find(&status.conditions, ConditionType::Expired));
    claimant.claim.expired && said.is_none()
}

/// How urgent the work on an image is.
pub(super) fn urgency(claimants: &[Claimant]) -> Urgency {
    if claimants.iter().any(|claimant| claimant.claim.has_to_take()) {
        Urgency::Take
    } else if is_settled(claimants) {
        Urgency::Check
    } else {
        Urgency::Give
    }
}

#[cfg(test)]
mod tests;
