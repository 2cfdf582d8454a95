//! What is to be done for one target: the rules about copies, in one place.
//!
//! Pure: no clock, no I/O. What is not seen is decided by what is on record, and the record is stored before anything is done by it.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{
    marks::{COPY, DISTRIBUTION, Generation, Owner},
    template::Filling,
};
use crate::{
    api::{
        ImageId, Reason,
        ami_distribution::{AmiDistributionSpec, DistributionTarget, TargetState, TargetStatus},
        conditions::whole_seconds,
    },
    aws::words::{Copy, CopyOrder, Image},
};

/// How often in a row a copy may fail before a person has to say that it is to be tried again.
pub const MOST_FAILURES: i64 = 5;

/// How long after the first failure a copy is tried again; twice as long after each of the next.
const FIRST_RETRY: Duration = Duration::from_mins(1);

/// How late EC2 may show what it has made (aws.md section 3).
const SHOWN_WITHIN: Duration = Duration::from_mins(5);

/// How soon a copy that is under way is looked at again at the earliest.
const SOONEST: Duration = Duration::from_secs(5);

/// The source, as far as it could be seen.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// It is there, in whatever state.
    Seen(&'a Image),
    /// It is not to be seen: why, in words.
    Unseen(Reason, String),
}

/// Whether the account of a target can read the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It owns it.
    Own,
    /// It is another account, to which the source has been opened.
    Opened,
    /// It is another account, and opening the source to it is under way.
    Opening(Reason, String),
    /// It is another account, and the source is still to be opened to it.
    Closed,
    /// It is not known which account it is.
    Unknown,
}

/// Everything that a decision about a target follows from.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The object.
    pub owner: &'a Owner,
    /// Its spec.
    pub spec: &'a AmiDistributionSpec,
    /// The generation of the spec.
    pub spec_generation: i64,
    /// The source.
    pub source: &'a Source<'a>,
    /// The id of the source.
    pub source_id: &'a ImageId,
    /// The target.
    pub target: &'a DistributionTarget,
    /// The images that carry the tags of the object, in the account and Region of the target.
    pub own: &'a [Copy],
    /// Other copies of the source there.
    pub found: &'a [Copy],
    /// Those of them that are encrypted with the key of the target.
    pub with_its_key: &'a BTreeSet<ImageId>,
    /// What is on record of the target.
    pub record: Option<&'a TargetStatus>,
    /// Whether somebody has changed the spec, or asked for another attempt, since the record was written.
    pub asked_anew: bool,
    /// Whether the target's account can read the source.
    pub access: Access,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The image of the target is there.
    Keep(ImageId),
    /// A copy is under way; looked at again after this time. It may not be known which.
    Wait(Option<ImageId>, Duration),
    /// A copy is to be ordered.
    Order(Box<CopyOrder>),
    /// A copy is to be ordered once the source has been opened to the account of the target; why it is not yet.
    Open(Reason, String),
    /// Nothing can be done before this time, or before somebody changes something.
    Refuse(Reason, String, Option<Duration>),
}

/// A decision, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be done.
    pub decision: Decision,
    /// Copies of the object that are to be deleted: failed ones, and those that are there twice.
    pub discard: BTreeSet<ImageId>,
    /// What is to be on record before any of it is done.
    pub record: Record,
    /// Why the last copy failed, if that has just been seen.
    pub failure: Option<String>,
}

/// What is on record of the attempts at a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// At which copy.
    pub generation: Generation,
    /// The generation of the spec with which the attempts began.
    pub begun_with: i64,
    /// The number of the present attempt.
    pub attempt: i64,
    /// How many have failed in a row.
    pub failures: i64,
    /// The copy that failed last.
    pub failed: Option<ImageId>,
    /// Why it failed.
    pub why: Option<String>,
    /// When the present attempt began, or the last one failed.
    pub since: Option<Timestamp>,
}

impl Record {
    fn of(situation: &Situation<'_>, generation: Generation) -> Self {
        let known = situation.record.filter(|known| known.copy.as_deref() == Some(generation.as_str()));
        let since = known.and_then(|known| known.since.as_ref()).map(|time| time.0);
        Self {
            begun_with: known.map_or(situation.spec_generation, |known| known.begun_with),
            attempt: known.map_or(1, |known| known.attempt.max(1)),
            failures: known.map_or(0, |known| known.failures),
            failed: known.and_then(|known| known.failed_image_id.clone()),
            why: known.and_then(|known| known.last_failure.clone()),
            since,
            generation,
        }
    }

    /// How long ago the present attempt began, or the last one failed.
    fn age(&self, now: Timestamp) -> Option<Duration> {
        self.since.map(|since| now.duration_since(since).try_into().unwrap_or(Duration::ZERO))
    }

    /// Whether the attempt, and what has failed, are on record already: a crash after the next call is none that anything is lost in.
    pub fn is_in(&self, known: Option<&TargetStatus>) -> bool {
        known.is_some_and(|known| {
            known.copy.as_deref() == Some(self.generation.as_str())
                && (known.begun_with, known.attempt) == (self.begun_with, self.attempt)
                && known.failed_image_id == self.failed
        })
    }

    fn begins(&mut self, now: Timestamp) {
        self.since = Some(whole_seconds(now).0);
    }
}

/// Whether EC2 is still at it.
fn is_pending(copy: &Copy) -> bool {
    matches!(copy.state.as_str(), "pending" | "transient")
}

/// Whether it has failed, and will never be of use.
pub fn is_broken(copy: &Copy) -> bool {
    matches!(copy.state.as_str(), "failed" | "error" | "invalid")
}

/// The order of copies: the one that was made first is the one that is kept.
fn first<'a>(copies: impl Iterator<Item = &'a Copy>) -> Option<&'a Copy> {
    copies.min_by_key(|copy| (copy.created, copy.id.clone()))
}

/// After so many failures, how long to wait for the next attempt.
fn retry_after(failures: i64) -> Duration {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(10);
    FIRST_RETRY * 2u32.pow(doublings)
}

/// How long to wait before a copy that has been under way for so long is looked at again: half as long again. So a copy of hours is
/// looked at two dozen times.
fn look_again(age: Option<Duration>) -> Duration {
    (age.unwrap_or_default() / 2).max(SOONEST)
}

impl Situation<'_> {
    /// Whether the target is the source itself.
    pub fn is_source(&self) -> bool {
        is_source(self.spec, self.target)
    }

    /// Of what the target is to have a copy.
    pub fn generation(&self) -> Generation {
        Generation::of(&self.spec.source.region, self.source_id, self.target.kms_key_id.as_ref())
    }

    /// Decides.
    pub fn decide(&self) -> Verdict {
        let generation = self.generation();
        let mut record = Record::of(self, generation.clone());
        let mine: Vec<&Copy> = self.own.iter().filter(|copy| self.owner.made(copy, &self.target.name)).collect();
        let is_of_it = |copy: &&&Copy| copy.tags.get(COPY).is_some_and(|tag| *tag == *generation.as_str());
        let (these, older): (Vec<&Copy>, Vec<&Copy>) = {
            let (these, older): (Vec<&&Copy>, Vec<&&Copy>) = mine.iter().partition(is_of_it);
            (these.into_iter().copied().collect(), older.into_iter().copied().collect())
        };
        let mut discard: BTreeSet<ImageId> =
            older.iter().chain(&these).filter(|copy| is_broken(copy)).map(|copy| copy.id.clone()).collect();
        if self.is_source() {
            let decision = match self.source {
                Source::Seen(_) => self.unusable().unwrap_or_else(|| Decision::Keep(self.source_id.clone())),
                Source::Unseen(reason, message) => Decision::Refuse(*reason, message.clone(), None),
            };
            return Verdict { decision, discard, record, failure: None };
        }

        let in_state = |state: &'static str| these.iter().copied().filter(move |copy| copy.state == state);
        let known = self.record.and_then(|record| record.image_id.as_ref());
        let keep = in_state("available").find(|copy| Some(&copy.id) == known).or_else(|| first(in_state("available")));
        let alive = || these.iter().copied().filter(|copy| copy.state == "available" || is_pending(copy));
        if let Some(keep) = keep {
            discard.extend(alive().filter(|copy| copy.id != keep.id).map(|copy| copy.id.clone()));
            (record.failures, record.failed, record.why) = (0, None, None);
            return Verdict { decision: Decision::Keep(keep.id.clone()), discard, record, failure: None };
        }
        if let Some(keep) = first(these.iter().copied().filter(|copy| is_pending(copy))) {
            discard.extend(alive().filter(|copy| copy.id != keep.id).map(|copy| copy.id.clone()));
            if record.since.is_none() {
                record.since = keep.created.map(|created| whole_seconds(created).0);
            }
            let after = look_again(record.age(self.now));
            return Verdict { decision: Decision::Wait(Some(keep.id.clone()), after), discard, record, failure: None };
        }
        if let Some(disabled) = first(in_state("disabled")) {
            let message = format!(
                "{} is disabled; enable it (aws ec2 enable-image), or deregister it to have another copy made",
                disabled.id
            );
            let decision = Decision::Refuse(Reason::ImageDisabled, message, None);
            return Verdict { decision, discard, record, failure: None };
        }
        if let Some(broken) = first(these.iter().copied().filter(|copy| is_broken(copy)))
            && record.failed.as_ref() != Some(&broken.id)
        {
            let why = broken.reason.clone().unwrap_or_else(|| format!("its state is {}", broken.state));
            record.failures += 1;
            record.attempt += 1;
            record.failed = Some(broken.id.clone());
            record.why = Some(why.chars().take(500).collect());
            record.begins(self.now);
            let decision = self.failed(&record);
            return Verdict { decision, discard, record, failure: Some(why) };
        }
        let decision = self.without_a_copy(&mut record);
        Verdict { decision, discard, record, failure: None }
    }

    fn failed(&self, record: &Record) -> Decision {
        let why = record.why.as_deref().unwrap_or("an unknown reason");
        let Some(age) = record.age(self.now).filter(|_| record.failures < MOST_FAILURES) else {
            let message = format!(
                "the copy has failed {} times, the last time because of: {why}; put that right, and annotate the AmiDistribution with \
                 reconcile.amishare.dev/requestedAt to have it tried again",
                record.failures
            );
            return Decision::Refuse(Reason::CopyFailed, message, None);
        };
        let message = format!("the copy has failed: {why}; it is tried again by itself, up to {MOST_FAILURES} times");
        let left = retry_after(record.failures).saturating_sub(age);
        Decision::Refuse(Reason::CopyFailed, message, Some(left.max(Duration::from_secs(1))))
    }

    /// What is to be done as there is no copy of ours, as far as one can see.
    fn without_a_copy(&self, record: &mut Record) -> Decision {
        let known = self.record.filter(|known| known.copy.as_deref() == Some(record.generation.as_str()));
        let age = record.age(self.now);
        match known.map(|known| (known.state, known.image_id.as_ref())) {
            Some((TargetState::Copying, ordered)) => {
                if age.is_some_and(|age| age < SHOWN_WITHIN) {
                    if let Some(ordered) = ordered {
                        return Decision::Wait(Some(ordered.clone()), look_again(age));
                    }
                } else {
                    // It was made and somebody has deleted it, or its token is used up.
                    record.attempt += 1;
                }
            }
            Some((TargetState::Available, Some(_))) if !self.found_any() => record.attempt += 1,
            _ => {}
        }
        if let Some(found) = first(self.found.iter().filter(|copy| self.is_as_wanted(copy))) {
            return Decision::Keep(found.id.clone());
        }
        if let Some(refusal) = self.unusable().or_else(|| self.impossible()) {
            return refusal;
        }
        let is_under_way = known.is_some_and(|known| known.state == TargetState::Copying);
        if self.asked_anew {
            record.failures = 0;
        } else if record.failures > 0 && !is_under_way {
            let is_to_wait =
                record.failures >= MOST_FAILURES || age.is_none_or(|age| age < retry_after(record.failures));
            if is_to_wait {
                return self.failed(record);
            }
        }
        let order = match self.order(record) {
            Ok(order) => order,
            Err(message) => return Decision::Refuse(Reason::InvalidTemplate, message, None),
        };
        match &self.access {
            Access::Own | Access::Opened => {
                if !known.is_some_and(|known| known.state == TargetState::Copying && known.attempt == record.attempt) {
                    record.begins(self.now);
                }
                Decision::Order(Box::new(order))
            }
            Access::Opening(reason, message) => Decision::Open(*reason, message.clone()),
            Access::Closed => {
                Decision::Open(Reason::Progressing, "the source is being opened to the account of the target".into())
            }
            Access::Unknown => Decision::Refuse(
                Reason::GuardrailDenied,
                format!(
                    "it is not known in which account the identity {} is, so the source cannot be opened to it; have whoever runs the \
                     operator give it an accountId",
                    self.target.identity
                ),
                None,
            ),
        }
    }

    fn found_any(&self) -> bool {
        self.found.iter().any(|copy| self.is_as_wanted(copy))
    }

    /// Whether a copy that this object has not made is what the target is to have: one by hand, or one of the object that had this name
    /// before, which was deleted, or restored from a backup. One that another AmiDistribution has made is its own business: it may
    /// delete it.
    fn is_as_wanted(&self, copy: &Copy) -> bool {
        let source = &self.spec.source.region;
        let is_from = copy.source.as_ref().is_some_and(|(region, id)| region == source && id == self.source_id);
        let is_as_encrypted = match self.target.kms_key_id {
            Some(_) => self.with_its_key.contains(&copy.id),
            // With which key is nobody's wish.
            None => !copy.encrypted,
        };
        let is_by_hand = !copy.tags.contains_key(DISTRIBUTION) && is_as_encrypted;
        let is_former = self.owner.is_of_its_name(copy, &self.target.name, &self.generation());
        is_from && copy.state == "available" && (is_by_hand || is_former)
    }

    /// Why the source cannot be shared or copied as it is.
    fn unusable(&self) -> Option<Decision> {
        let image = match self.source {
            Source::Seen(image) => image,
            Source::Unseen(reason, message) => return Some(Decision::Refuse(*reason, message.clone(), None)),
        };
        let (id, region) = (&image.id, &self.spec.source.region);
        let (reason, message) = match image.state.as_str() {
            "available" => return None,
            "pending" | "transient" => {
                (Reason::ImagePending, format!("the source {id} in {region} is not yet available"))
            }
            "disabled" => (
                Reason::ImageDisabled,
                format!("the source {id} in {region} is disabled; enable it (aws ec2 enable-image) to have it copied"),
            ),
            "deregistered" => (Reason::ImageDeregistered, format!("the source {id} in {region} has been deregistered")),
            state => (Reason::ImageNotUsable, format!("the source {id} in {region} is in the state {state}")),
        };
        Some(Decision::Refuse(reason, message, None))
    }

    /// Why no copy of the source can be made for the target.
    fn impossible(&self) -> Option<Decision> {
        let Source::Seen(image) = self.source else { return None };
        if image.encrypted && self.target.kms_key_id.is_none() {
            let message = format!(
                "the source {} is encrypted, so its copy has to be; set kmsKeyId of the target to a customer managed key of {}",
                image.id, self.target.region
            );
            return Some(Decision::Refuse(Reason::KmsKeyRequired, message, None));
        }
        if image.has_product_code && self.access != Access::Own {
            let message = format!(
                "the source {} carries a product code (AWS Marketplace), and AWS copies such an image only within its account",
                image.id
            );
            return Some(Decision::Refuse(Reason::CopyNotPossible, message, None));
        }
        None
    }

    fn order(&self, record: &Record) -> Result<CopyOrder, String> {
        let Source::Seen(image) = self.source else { return Err("the source is not known".into()) };
        let (template, region) = (&self.spec.template, &self.spec.source.region);
        let filling = Filling { source_name: image.name.as_deref(), source: &image.id, region, target: self.target };
        let own = self.owner.tags(&self.target.name, &record.generation, &image.id);
        let with = |tags: &std::collections::BTreeMap<String, String>| {
            tags.iter().chain(&own).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Ok(CopyOrder {
            region: region.clone(),
            image: image.id.clone(),
            name: filling.name(template)?,
            description: filling.description(template),
            key: self.target.kms_key_id.clone(),
            tags: with(&template.tags),
            snapshot_tags: with(&template.snapshot_tags),
            copy_tags: template.copy_tags,
            token: self.owner.token(&self.target.name, &record.generation, record.begun_with, record.attempt),
        })
    }
}

/// Whether a target is the source itself.
pub fn is_source(spec: &AmiDistributionSpec, target: &DistributionTarget) -> bool {
    let source = &spec.source;
    target.region == source.region && target.identity == source.identity && target.kms_key_id.is_none()
}

#[cfg(test)]
mod tests;
