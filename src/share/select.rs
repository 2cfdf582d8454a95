//! Which image is meant, where it is named by what it is found by.
//!
//! [`Search::choose`] is the rule, and pure. The image that was found last is on record in the status of an AmiShare, and its claim is on that
//! image (`Share::image`).

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{
    claim::{Claim, Standing, has_lost_its_record, images},
    claimant::Claimant,
    due,
    reconcile::Reconciler,
    status,
    store::Work,
};
use crate::{
    api::{
        AmiShareStatus, DISTRIBUTION, ImageId, ImageSelector, Reason, Region,
        ami_share::{SelectedImage, SelectionProblem},
        stored::{Share, Stored},
    },
    aws::{
        Services,
        failure::{Class, Failure},
        words::Copy,
    },
    runtime::{
        agenda::Urgency,
        events::Notice,
        runner::{Failed, Next},
    },
};

/// Whether an image counts. A copy that a distribution has made never does: by a name that it shares with its source it would be the
/// next source, and its copy the next.
fn counts(image: &Copy, now: Timestamp) -> bool {
    image.state == "available"
        && image.deprecated.is_none_or(|deprecated| deprecated > now)
        && !image.tags.contains_key(DISTRIBUTION)
}

/// Which image is meant, or why that cannot be told.
pub type Chosen = Result<ImageId, (Reason, String)>;

/// Where a selector is, and what was found by it last.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// What is looked for.
    pub wanted: &'a ImageSelector,
    /// Where.
    pub region: &'a Region,
    /// The field that says so.
    pub field: &'a str,
    /// What was found last.
    pub known: Option<&'a ImageId>,
}

impl Search<'_> {
    /// Looks for the image.
    ///
    /// # Errors
    /// When AWS cannot be asked.
    pub async fn find(&self, aws: &Services, now: Timestamp) -> Result<Chosen, Failure> {
        let mut found = aws.copies.matching(self.wanted, None, Urgency::Give).await?;
        // EC2 may show late or not at all for a moment what is there: nothing goes for the sake of an older image because of that.
        if let Some(known) = self.known.filter(|known| !found.iter().any(|image| image.id == **known)) {
            found.extend(aws.copies.matching(self.wanted, Some(known), Urgency::Give).await?);
        }
        Ok(self.choose(&found, now))
    }

    /// The image among those that were found.
    ///
    /// # Errors
    /// When there is none, or it cannot be told which.
    pub fn choose(&self, found: &[Copy], now: Timestamp) -> Chosen {
        let Self { wanted, region, field, .. } = self;
        let mut images: Vec<&Copy> = found.iter().filter(|image| counts(image, now)).collect();
        images.sort_by_key(|image| std::cmp::Reverse((image.created, image.id.clone())));
        let owner = wanted.owner.as_deref().unwrap_or("self");
        match images[..] {
            [] => {
                let message = format!(
                    "no image of {owner} in {region} has {wanted}, is available and not deprecated; check {field}, and whether the \
                     image is there"
                );
                Err((Reason::ImageNotFound, message))
            }
            [one] => Ok(one.id.clone()),
            [newest, ..] if wanted.newest => Ok(newest.id.clone()),
            [one, other, ..] => {
                let message = format!(
                    "{} images of {owner} in {region} have {wanted}, {} and {} among them; set newest: true, or say more exactly \
                     which",
                    images.len(),
                    one.id,
                    other.id
                );
                Err((Reason::ImageAmbiguous, message))
            }
        }
    }
}

impl Reconciler {
    /// Looks for the image of an object, and puts on record which one it is. Its claim is on that image from then on.
    pub(super) async fn select(&self, object: &Arc<Stored>, share: &Share) -> Result<Next, Failed> {
        let Some(site) = object.site() else { return Ok(Next::Rest) };
        let (now, policy, old) = (self.clock.now(), self.policy.now(), object.status());
        let lost = has_lost_its_record(object);
        let claim = Claim { lost, ..Claim::silent(object, Standing::Waiting) };
        let claimant = Claimant { object: Arc::clone(object), claim };
        let subject = claimant.subject(&old);
        // Of an object that has an image, the reconcile of that image reports.
        let tell = async |new: AmiShareStatus| match share.image() {
            Some(_) => Ok(()),
            None => self.report(&claimant, &old, new).await,
        };
        if share.spec.suspend {
            tell(status::suspended(subject, now)).await?;
            return Ok(Next::Rest);
        }
        if let Some(refusal) = policy.rules(&claimant.claim.key.namespace, &site).bar() {
            tell(status::kept_off(subject, &claimant.claim, &refusal, old.granted.clone(), now)).await?;
            return Ok(Next::Rest);
        }
        let search = Search {
            wanted: &share.spec.image,
            region: &site.region,
            field: "spec.image",
            known: old.selected.as_ref().and_then(|selected| selected.image_id.as_ref()),
        };
        let found = match self.reach(&site, &policy).await {
            Ok(aws) => search.find(&aws, now).await,
            Err(failure) => Err(failure),
        };
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                tell(status::unobserved(subject, &claimant.claim, &failure, now)).await?;
                // Nothing changes until the configuration does, and then everything is asked for.
                return if failure.class == Class::NoIdentity { Ok(Next::Rest) } else { Err((&failure).into()) };
            }
        };
        let after = due::until_due(&claimant.claim.key, share.spec.interval.bounded(), now);
        let problem = found
            .as_ref()
            .err()
            .map(|(reason, message)| SelectionProblem { reason: reason.as_str().to_owned(), message: message.clone() });
        let next = if problem.is_some() { Next::Stalled(after) } else { Next::After(after) };
        let selected = SelectedImage {
            by: share.spec.image.clone(),
            image_id: found.ok().or_else(|| share.image().cloned()),
            last_handled_reconcile_at: object.requested_at().map(ToOwned::to_owned),
            problem,
        };
        match &selected {
            SelectedImage { image_id: None, problem: Some(problem), .. } => {
                self.report(&claimant, &old, status::not_found(subject, problem, lost, now)).await?;
            }
            _ if share.selected() != Some(&selected) => {
                let status = AmiShareStatus { selected: Some(selected), ..status::begun(subject, now) };
                self.put_on_record_what_was_found(object, status).await?;
            }
            _ => {}
        }
        Ok(next)
    }

    /// Puts on record which image was found, and has that and the one before worked on.
    async fn put_on_record_what_was_found(&self, object: &Arc<Stored>, status: AmiShareStatus) -> Result<(), Failed> {
        let stored = self.writer.status(object, &status).await?;
        for image in &images(object) | &images(&stored) {
            self.queue.ask(Work::Image(image), Duration::ZERO);
        }
        let found = |status: &AmiShareStatus| status.selected.as_ref().and_then(|selected| selected.image_id.clone());
        let (before, by) =
            (object.known_status().and_then(found), status.selected.as_ref().map(|selected| &selected.by));
        if let Some((found, by)) = found(&status).filter(|found| before.as_ref() != Some(found)).zip(by) {
            let note = match before {
                Some(before) => format!("the image with {by} is now {found}, and was {before}"),
                None => format!("the image with {by} is {found}"),
            };
            self.writer.tell(object, &Notice { warning: false, reason: "ImageSelected", action: "Select", note }).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use k8s_openapi::jiff::SignedDuration;

    use super::*;
    use crate::aws::words::Protection;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    /// An image that is so many days old.
    fn image(days: i64) -> Copy {
        Copy {
            id: format!("ami-{days:08x}").parse().unwrap(),
            name: Some("golden".into()),
            state: "available".into(),
            reason: None,
            created: Some(now() - SignedDuration::from_hours(24 * days)),
            source: None,
            tags: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            encrypted: false,
            deprecated: None,
            protection: Protection::Off,
            launched: None,
            public: false,
        }
    }

    fn choose(newest: bool, found: &[Copy]) -> Chosen {
        let wanted = ImageSelector { name: Some("golden*".into()), newest, ..ImageSelector::default() };
        let region = "us-east-1".parse().unwrap();
        Search { wanted: &wanted, region: &region, field: "spec.image", known: None }.choose(found, now())
    }

    #[test]
    fn the_newest_is_taken_if_that_is_wanted_and_several_are_an_error_otherwise() {
        let found = [image(3), image(1), image(2)];
        assert_eq!(choose(true, &found), Ok(image(1).id));
        let (reason, message) = choose(false, &found).unwrap_err();
        assert_eq!(reason, Reason::ImageAmbiguous);
        assert!(message.contains("3 images") && message.contains("newest: true"), "{message}");
        assert_eq!(choose(false, &found[..1]), Ok(image(3).id));
    }

    #[test]
    fn what_is_not_available_or_deprecated_or_a_copy_of_ours_does_not_count() {
        let (mut pending, mut deprecated, mut ours) = (image(1), image(2), image(3));
        pending.state = "pending".into();
        deprecated.deprecated = Some(now());
        ours.tags.insert(DISTRIBUTION.into(), "u".into());
        let all = [pending, deprecated, ours, image(4)];
        assert_eq!(choose(true, &all), Ok(image(4).id));
        let (reason, message) = choose(true, &all[..3]).unwrap_err();
        assert_eq!(reason, Reason::ImageNotFound);
        assert!(message.contains("name golden*"), "{message}");
    }

    #[test]
    fn of_two_that_were_made_at_once_it_is_always_the_same() {
        let mut other = image(1);
        other.id = "ami-0fffffff".parse().unwrap();
        assert_eq!(choose(true, &[image(1), other.clone()]), choose(true, &[other, image(1)]));
    }
}
