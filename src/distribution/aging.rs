//! What becomes of copies as they grow old: when they are deprecated, whether they are protected, and which of them go.
//!
//! Pure: no clock, no I/O. Which copies may go is decided by the spec; whether somebody uses them is looked at; then what is to be
//! done is decided. A copy goes in two stages, and what is on record of the first decides when it is time for the second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::marks::Owner;
use crate::{
    api::{
        AccountId, Age, ImageId, Principal,
        ami_distribution::{
            AmiDistributionSpec, DeregistrationProtection, DistributionTarget, OlderCopy, Retention, TargetStatus,
        },
        conditions::whole_seconds,
        principal::in_words,
    },
    aws::{
        failure::Failure,
        words::{Copy, Protection, Report},
    },
};

/// How many copies of a target are looked at for being let go at once, and named in its status.
const AT_ONCE: usize = 20;

/// Public images are deprecated two years after they were made at the latest (aws.md section 1.6).
const PUBLIC: Age = Age::days(730);

/// How late a deprecation may be set whose time has come: EC2 takes no time that is past.
const LATE: Duration = Duration::from_mins(2);

/// How old a report on who uses an image may be.
const REPORTED_WITHIN: Duration = Duration::from_hours(24);

/// How long after a report that failed another one is ordered.
const REPORT_AGAIN: Duration = Duration::from_hours(1);

/// How soon to look whether a report is made.
const REPORT_SOON: Duration = Duration::from_secs(15);

/// What other accounts do with an image, by a report of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// These use it.
    UsedBy(BTreeSet<AccountId>),
    /// The report is being made.
    Pending,
    /// There is none that is new enough.
    Missing,
    /// Nobody has allowed us to ask.
    NotAllowed,
}

/// What is to be done about a report before it can be read.
pub enum Reading {
    /// It can be read.
    Now(String),
    /// It cannot.
    NotYet(Reported),
}

/// What is to be made of the newest report on an image.
pub fn reading(report: Option<Report>, now: Timestamp) -> Reading {
    let Some(report) = report else { return Reading::NotYet(Reported::Missing) };
    let age = Duration::try_from(now.duration_since(report.created)).unwrap_or_default();
    match report.state.as_str() {
        "available" if age < REPORTED_WITHIN => Reading::Now(report.id),
        "available" => Reading::NotYet(Reported::Missing),
        "pending" if age < REPORTED_WITHIN => Reading::NotYet(Reported::Pending),
        _ if age < REPORT_AGAIN => Reading::NotYet(Reported::Pending),
        _ => Reading::NotYet(Reported::Missing),
    }
}

/// Who uses a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who may launch it or create volumes from its snapshots.
    pub held: BTreeSet<Principal>,
    /// Whom of them its own AmiShare has given that.
    pub ours: BTreeSet<Principal>,
    /// Whether that AmiShare is still there.
    pub has_share: bool,
    /// Whether its account has instances of it.
    pub has_instances: bool,
    /// Another distribution, namespace and name, that has it as its source.
    pub source_of: Option<String>,
    /// What other accounts do with it. Asked for only if nothing else keeps it.
    pub reported: Option<Reported>,
}

/// Something that is to be done about a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is to be deprecated at a time.
    Deprecate(ImageId, Timestamp),
    /// It is not to be deprecated any more.
    DoNotDeprecate(ImageId),
    /// It is to be protected, with a cooldown or without.
    Protect(ImageId, bool),
    /// It is not to be protected any more.
    DoNotProtect(ImageId),
    /// A report is to be made on who uses it.
    Report(ImageId, String),
    /// It is to be deregistered, and its snapshots deleted.
    Remove(ImageId),
}

impl Change {
    /// The copy.
    pub fn image(&self) -> &ImageId {
        match self {
            Self::Deprecate(image, _)
            | Self::DoNotDeprecate(image)
            | Self::Protect(image, _)
            | Self::DoNotProtect(image)
            | Self::Report(image, _)
            | Self::Remove(image) => image,
        }
    }

    /// Whether the target is not as the spec says without it. What is let go, or will be, keeps no target from being ready.
    pub fn is_of_the_spec(&self) -> bool {
        !matches!(self, Self::Report(..) | Self::Remove(_))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deprecate(image, at) => write!(f, "have {image} deprecated at {at}"),
            Self::DoNotDeprecate(image) => write!(f, "have {image} not deprecated"),
            Self::Protect(image, true) => write!(f, "protect {image} from deregistration, with a cooldown"),
            Self::Protect(image, false) => write!(f, "protect {image} from deregistration"),
            Self::DoNotProtect(image) => write!(f, "disable the protection of {image} from deregistration"),
            Self::Report(image, _) => write!(f, "have a report made on who uses {image}"),
            Self::Remove(image) => write!(f, "deregister {image} and delete its snapshots"),
        }
    }
}

/// What is to be done about the copies of a target as they grow old.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aged {
    /// What is to be done, in this order.
    pub changes: Vec<Change>,
    /// Copies that are not to be shared any more, by anybody of ours.
    pub retiring: BTreeSet<ImageId>,
    /// What is to be on record of those that retention lets go, before any of it is done.
    pub older: Vec<OlderCopy>,
    /// After how long this object has its copies deprecated, as far as it has something to take back.
    pub deprecate_after: Option<Age>,
    /// The protection that it gives its copies, in the same sense.
    pub protection: Option<DeregistrationProtection>,
    /// How soon there is more to be done.
    pub look_again: Option<Duration>,
}

impl Aged {
    /// Whether it is on record already.
    pub fn is_in(&self, known: Option<&TargetStatus>) -> bool {
        let retired = |older: &[OlderCopy]| -> BTreeSet<ImageId> {
            older.iter().filter(|copy| copy.retired_at.is_some()).map(|copy| copy.image_id.clone()).collect()
        };
        match known {
            Some(known) => {
                retired(&known.older) == retired(&self.older)
                    && known.deprecate_after == self.deprecate_after
                    && known.deregistration_protection == self.protection
            }
            None => self.older.is_empty() && self.deprecate_after.is_none() && self.protection.is_none(),
        }
    }

    /// Those that begin to go.
    pub fn retired_anew<'a>(&'a self, known: Option<&'a TargetStatus>) -> impl Iterator<Item = &'a ImageId> {
        self.retiring.iter().filter(move |image| retired_at(known, image).is_none())
    }
}

/// When a copy was begun to be let go.
fn retired_at(known: Option<&TargetStatus>, image: &ImageId) -> Option<Timestamp> {
    let older = known.into_iter().flat_map(|known| &known.older).find(|copy| copy.image_id == *image);
    older.and_then(|copy| copy.retired_at.as_ref()).map(|time| time.0)
}

/// The copies of a target, and what is known of them.
#[derive(Debug, Clone)]
pub struct Aging<'a> {
    /// The object.
    pub owner: &'a Owner,
    /// Its spec.
    pub spec: &'a AmiDistributionSpec,
    /// The target.
    pub target: &'a DistributionTarget,
    /// The images that carry the tags of the object, in the account and Region of the target.
    pub own: &'a [Copy],
    /// The image that the target has, if it has one.
    pub keep: Option<&'a ImageId>,
    /// Copies that are deleted for other reasons.
    pub discard: &'a BTreeSet<ImageId>,
    /// What is on record of the target.
    pub record: Option<&'a TargetStatus>,
    /// The time.
    pub now: Timestamp,
}

impl<'a> Aging<'a> {
    /// The copies of the target that are there.
    fn copies(&self) -> impl Iterator<Item = &'a Copy> {
        self.own.iter().filter(|copy| {
            matches!(copy.state.as_str(), "available" | "disabled")
                && self.owner.made(copy, &self.target.name)
                && !self.discard.contains(&copy.id)
        })
    }

    fn retired_at(&self, copy: &Copy) -> Option<Timestamp> {
        retired_at(self.record, &copy.id)
    }

    fn age(&self, copy: &Copy) -> Option<Duration> {
        copy.created.map(|created| since(created, self.now))
    }

    /// The copies that retention lets go if nobody uses them: those that are going already, then the oldest.
    fn candidates(&self) -> Vec<&'a Copy> {
        let Some(Retention { keep_last, keep_for, .. }) = &self.spec.retention else { return Vec::new() };
        let mut others: Vec<&Copy> = self.copies().filter(|copy| Some(&copy.id) != self.keep).collect();
        // The newest first; of which it is not known when they were made, before all others.
        others.sort_by_key(|copy| (copy.created.is_some(), std::cmp::Reverse(copy.created), copy.id.clone()));
        let kept = usize::try_from(*keep_last).unwrap_or(1).max(1) - usize::from(self.keep.is_some());
        let is_old = |copy: &Copy| {
            keep_for.is_none_or(|keep_for| self.age(copy).is_some_and(|age| age >= keep_for.as_duration()))
        };
        let mut old: Vec<&Copy> = others.into_iter().skip(kept).filter(|copy| is_old(copy)).collect();
        old.reverse();
        old.sort_by_key(|copy| self.retired_at(copy).is_none());
        old.truncate(AT_ONCE);
        old
    }

    /// Why a copy stays that retention lets go, as far as the copy itself tells.
    fn stays(&self, copy: &Copy) -> Option<String> {
        let unused_for = self.spec.retention.as_ref()?.unused_for;
        if copy.launched.is_some_and(|launched| since(launched, self.now) < unused_for.as_duration()) {
            return Some(format!("it is in use: an instance was started from it within {unused_for}"));
        }
        let known = self.record.and_then(|record| record.deregistration_protection);
        let is_ours = self.spec.deregistration_protection.or(known).is_some();
        if copy.protection != Protection::Off && self.retired_at(copy).is_none() && !is_ours {
            return Some("somebody else has protected it from deregistration".into());
        }
        None
    }

    /// The copies of which it has to be looked at who uses them.
    pub fn to_look_at(&self) -> Vec<&'a Copy> {
        self.candidates().into_iter().filter(|copy| self.stays(copy).is_none()).collect()
    }

    /// Decides.
    pub fn decide(&self, uses: &BTreeMap<ImageId, Result<Use, Failure>>) -> Aged {
        let known = self.record;
        let mut aged = Aged {
            deprecate_after: self.spec.deprecate_after.or(known.and_then(|known| known.deprecate_after)),
            protection: self.spec.deregistration_protection.or(known.and_then(|known| known.deregistration_protection)),
            ..Aged::default()
        };
        let candidates = self.candidates();
        for copy in &candidates {
            let stays = match (self.stays(copy), uses.get(&copy.id)) {
                (Some(why), _) => Err(why),
                (None, Some(Ok(seen))) => Ok(seen),
                (None, Some(Err(failure))) => Err(format!("it cannot be told whether it is in use: {failure}")),
                (None, None) => Err("it is not known whether it is in use".into()),
            };
            self.let_go(copy, stays, &mut aged);
        }
        for copy in self.copies().filter(|copy| !aged.retiring.contains(&copy.id)) {
            // One that was on its way out and is wanted again.
            let is_back = self.retired_at(copy).is_some();
            aged.changes.extend(self.deprecation(copy));
            if !candidates.iter().any(|one| one.id == copy.id) || is_back {
                aged.changes.extend(self.protection(copy, is_back));
            }
        }
        aged
    }

    /// Decides about one that retention lets go. One that has begun to go does not come back for being used: what it was shared with is
    /// gone, and it stays until nobody uses it.
    fn let_go(&self, copy: &Copy, used: Result<&Use, String>, aged: &mut Aged) {
        let Some(Retention { grace_period, .. }) = &self.spec.retention else { return };
        let begun = self.retired_at(copy);
        let stays = used.and_then(|used| {
            let foreign: BTreeSet<&Principal> = used.held.difference(&used.ours).collect();
            if let Some(other) = &used.source_of {
                return Err(format!("it is the source of the AmiDistribution {other}"));
            }
            if used.has_instances {
                return Err("it is in use: its account has instances of it".into());
            }
            if !foreign.is_empty() {
                return Err(format!("it is shared with {}, and not by this object", in_words(foreign)));
            }
            match &used.reported {
                Some(Reported::UsedBy(accounts)) if !accounts.is_empty() => {
                    Err(format!("it is in use by {}", in_words(accounts)))
                }
                Some(Reported::UsedBy(_) | Reported::NotAllowed) | None => Ok(used.has_share),
                Some(Reported::Pending) => {
                    aged.look_again = Some(REPORT_SOON);
                    Err("AWS is reporting on who uses it".into())
                }
                Some(Reported::Missing) => {
                    let hour = self.now.as_second() / 3600;
                    let token = self.owner.report_token(&copy.id, hour);
                    aged.changes.push(Change::Report(copy.id.clone(), token));
                    aged.look_again = Some(REPORT_SOON);
                    Err("AWS is reporting on who uses it".into())
                }
            }
        });
        let is_protected = copy.protection != Protection::Off;
        let (retired_at, message) = match (stays, begun) {
            (Err(why), None) => (None, format!("stays: {why}")),
            (Err(why), Some(begun)) => (Some(begun), format!("is not shared any more, and not deleted yet: {why}")),
            (Ok(_), None) if is_protected => {
                aged.changes.push(Change::DoNotProtect(copy.id.clone()));
                (None, "its protection from deregistration is being disabled".into())
            }
            (Ok(has_share), begun) => {
                let begun = begun.unwrap_or(self.now);
                let left = grace_period.as_duration().saturating_sub(since(begun, self.now));
                let message = if has_share {
                    "what it was shared with is being taken back".into()
                } else if left.is_zero() {
                    aged.changes.push(Change::Remove(copy.id.clone()));
                    "is being deleted".into()
                } else {
                    format!("is not shared any more, and deleted {grace_period} after that began")
                };
                if !has_share && !left.is_zero() {
                    aged.look_again = Some(aged.look_again.map_or(left, |soon| soon.min(left)));
                }
                (Some(begun), message)
            }
        };
        if retired_at.is_some() {
            aged.retiring.insert(copy.id.clone());
        }
        let retired_at = retired_at.map(whole_seconds);
        let message = message.chars().take(500).collect();
        aged.older.push(OlderCopy { image_id: copy.id.clone(), retired_at, message });
    }

    fn deprecation(&self, copy: &Copy) -> Option<Change> {
        let created = copy.created.filter(|_| copy.state == "available")?;
        let after = |age: Age| to_the_minute(created.saturating_add(signed(age.as_duration())).ok()?);
        let Some(age) = self.spec.deprecate_after else {
            // What this object has set: at this time, or later where that was past.
            let at = after(self.record?.deprecate_after?)?;
            let is_ours = copy.deprecated.is_some_and(|deprecated| deprecated >= at);
            return is_ours.then(|| Change::DoNotDeprecate(copy.id.clone()));
        };
        let at = after(if copy.public { age.min(PUBLIC) } else { age })?;
        if at > self.now {
            return (copy.deprecated != Some(at)).then(|| Change::Deprecate(copy.id.clone(), at));
        }
        let soon = self.now.saturating_add(signed(LATE)).ok()?;
        let is_well = copy.deprecated.is_some_and(|deprecated| deprecated <= soon);
        (!is_well).then_some(Change::Deprecate(copy.id.clone(), to_the_minute(soon)?))
    }

    fn protection(&self, copy: &Copy, is_back: bool) -> Option<Change> {
        use DeregistrationProtection::{Disabled, Enabled, EnabledWithCooldown};
        let known = self.record.and_then(|record| record.deregistration_protection);
        let protect = |with_cooldown| Some(Change::Protect(copy.id.clone(), with_cooldown));
        let disable = || Some(Change::DoNotProtect(copy.id.clone()));
        match (self.spec.deregistration_protection, copy.protection) {
            (Some(Enabled), Protection::Off | Protection::WithCooldown) => protect(false),
            (Some(EnabledWithCooldown), Protection::Off | Protection::Plain) => protect(true),
            // While it cools down it looks as if it were still protected.
            (Some(EnabledWithCooldown), Protection::WithCooldown) if is_back => protect(true),
            (Some(Disabled), Protection::Plain) => disable(),
            // The same: that it was disabled is on record.
            (Some(Disabled), Protection::WithCooldown) if known != Some(Disabled) => disable(),
            (None, Protection::Plain | Protection::WithCooldown) if known.is_some_and(|known| known != Disabled) => {
                disable()
            }
            _ => None,
        }
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// EC2 rounds to the nearest minute: so that what is seen can be compared with what was sent, whole minutes are sent.
fn to_the_minute(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(time.as_second().div_euclid(60) * 60).ok()
}

#[cfg(test)]
mod tests;
