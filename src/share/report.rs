//! The end of a reconcile: what every object is told, and how one is let go.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    claim::{Claim, ObjectKey, Standing, images, is_shared},
    claimant::Claimant,
    granted::Granted,
    notices,
    plan::Refusal,
    reconcile::{Finished, Reconciler},
    status::{self, View},
    store::Work,
    writer::WriteError,
};
use crate::{
    api::{
        ABANDON, AmiShareStatus, ConditionType, ImageId, ImageRef, ON_DELETE, Reason,
        conditions::find,
        stored::{Content, Stored},
    },
    aws::failure::{Class, Failure},
    planted::{self, Flaw},
    runtime::{
        events::Notice,
        runner::{Failed, Next},
    },
};

/// What is said of an object that can be read and names no image.
const NO_IMAGE: &str = "spec.image names no image in a way that this operator knows: set spec.image.id, name or tags";

impl Reconciler {
    /// Reports to one object after everything is done.
    pub(super) async fn finish(
        &self,
        claimant: &Claimant,
        view: &View<'_>,
        now: Timestamp,
    ) -> Result<Finished, WriteError> {
        let Claimant { object, claim } = claimant;
        if claim.standing == Standing::Leaving {
            return match status::not_taken_back(claim, view).filter(|_| !planted::has(Flaw::LetsGoTooSoon)) {
                None => self.let_go(view.image, claimant).await.map(|()| Finished::Well),
                Some(why) => {
                    let old = object.status();
                    let mut new = old.clone();
                    if claimant.deleting() {
                        new = status::deletion_blocked(claimant.subject(&old), claim, &why, now);
                    }
                    new.granted = status::left_on_record(&old, claim, view);
                    self.report(claimant, &old, new).await.map(|()| Finished::Waiting)
                }
            };
        }
        if claim.standing == Standing::Waiting {
            let old = object.status();
            let new = AmiShareStatus { granted: status::left_on_record(&old, claim, view), ..old.clone() };
            return self.report(claimant, &old, new).await.map(|()| Finished::Well);
        }
        if !claim.standing.writes() && claim.standing != Standing::Observing {
            self.without_aws(view.image, claimant, now).await?;
            return Ok(Finished::Well);
        }
        let old = object.status();
        let new = status::status(claimant.subject(&old), claim, view, now);
        let finished = match find(&new.conditions, ConditionType::Stalled) {
            Some(_) => Finished::Stalled,
            None => Finished::Well,
        };
        let is_shared = object.finds() && is_shared(&new, &view.image.id);
        let left: Vec<ImageId> = new.granted.iter().map(|given| given.image_id.clone()).collect();
        self.report(claimant, &old, new).await?;
        // What it gave on the images before this one is not needed any more.
        for left in left.into_iter().filter(|left| is_shared && *left != view.image.id) {
            self.queue.ask(Work::Image(view.image.beside(left)), Duration::ZERO);
        }
        Ok(finished)
    }

    /// Sees to an object for which AWS need not be asked.
    pub(super) async fn without_aws(
        &self,
        image: &ImageRef,
        claimant: &Claimant,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let old = claimant.object.status();
        if let Some(new) = status::off(claimant.subject(&old), &claimant.claim, now) {
            return self.report(claimant, &old, new).await;
        }
        match (&claimant.claim.standing, &claimant.object.content) {
            (Standing::Leaving | Standing::LeavingAsItIs, _) => self.let_go(image, claimant).await,
            (Standing::Suspended, Content::Share(share)) if share.image() != Some(&image.id) => Ok(()),
            (Standing::Suspended, _) if claimant.suspended() => self.suspended(claimant, now).await,
            (Standing::Unreadable, _) => self.unreadable(claimant, now).await,
            _ => Ok(()),
        }
    }

    /// Reports to a suspended object. It gets its finalizer back if somebody has taken it: its deletion takes back what it gave.
    async fn suspended(&self, claimant: &Claimant, now: Timestamp) -> Result<(), WriteError> {
        let old = claimant.object.status();
        let new = status::suspended(claimant.subject(&old), now);
        if old.granted.is_empty() || claimant.is_held() || claimant.deleting() {
            return self.report(claimant, &old, new).await;
        }
        let object = Arc::new(self.writer.finalizer(&claimant.object, true).await?);
        self.report(&Claimant { object, claim: claimant.claim.clone() }, &old, new).await
    }

    /// Tells an object that it cannot be read. The API server may refuse any write of an object that its schema does not know;
    /// the others do not wait for it.
    async fn unreadable(&self, claimant: &Claimant, now: Timestamp) -> Result<(), WriteError> {
        let (error, writable) = match &claimant.object.content {
            Content::Unreadable(unreadable) => (unreadable.error.as_str(), unreadable.status_is_whole),
            Content::Share(_) => (NO_IMAGE, true),
        };
        let old = claimant.object.status();
        let new = status::unreadable(claimant.subject(&old), error, now);
        if !writable {
            self.tell_refused(&claimant.object, Reason::InvalidSpec.as_str(), error).await;
            return Ok(());
        }
        match self.report(claimant, &old, new).await {
            Err(refused @ WriteError::Refused { .. }) => {
                self.tell_refused(&claimant.object, Reason::InvalidSpec.as_str(), format!("{error}; {refused}")).await;
                Ok(())
            }
            result => result,
        }
    }

    /// Tells of an object for which nothing can be stored, once for each version of it.
    pub(super) async fn tell_refused(&self, object: &Stored, reason: &'static str, why: impl std::fmt::Display) {
        if self.told.is_new(object) {
            let note = format!("nothing is done for this object: {why}; correct it and apply it again");
            self.writer.tell(object, &Notice { warning: true, reason, action: "Reconcile", note }).await;
        }
    }

    /// Lets an object go from an image on which it holds nothing any more: drops the record, or the finalizer with the last one.
    async fn let_go(&self, image: &ImageRef, claimant: &Claimant) -> Result<(), WriteError> {
        let Claimant { object, claim } = claimant;
        let old = object.status();
        let elsewhere = old.granted.iter().any(|g| g.image_id != image.id);
        if claimant.deleting() && (!elsewhere || claim.standing == Standing::LeavingAsItIs) {
            if claimant.is_held() && !planted::has(Flaw::NeverLetsGo) {
                self.writer.finalizer(object, false).await?;
                if let Some(notice) = notices::of_what_stays(claim, image) {
                    self.writer.tell(object, &notice).await;
                }
            }
            return Ok(());
        }
        let new = status::moved_on(&old, image);
        if new != old {
            self.writer.status(object, &new).await?;
            // The image that the object names now reports what was left here.
            for other in images(object).into_iter().filter(|other| other != image) {
                self.queue.ask(Work::Image(other), Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Reports that AWS could not be asked.
    pub(super) async fn could_not_observe(
        &self,
        image: &ImageRef,
        claimants: &[Claimant],
        failure: &Failure,
        now: Timestamp,
    ) -> Result<Next, Failed> {
        let mut trouble = None;
        for claimant in claimants {
            let old = claimant.object.status();
            let subject = claimant.subject(&old);
            let result = match claimant.claim.standing {
                Standing::Leaving if !claimant.claim.granted.is_empty() && claimant.deleting() => {
                    let new = status::deletion_blocked(
                        subject,
                        &claimant.claim,
                        &Refusal::new(failure.reason(), failure.to_string()),
                        now,
                    );
                    self.report(claimant, &old, new).await
                }
                Standing::Leaving if !claimant.claim.granted.is_empty() => Ok(()),
                Standing::Authoritative | Standing::Additive | Standing::Observing => {
                    let new = status::unobserved(subject, &claimant.claim, failure, now);
                    self.report(claimant, &old, new).await
                }
                _ => self.without_aws(image, claimant, now).await,
            };
            if let Err(error) = result {
                trouble = Some(trouble.unwrap_or_else(|| Failed::from(error)));
            }
        }
        match trouble {
            // Nothing changes until the configuration does, and then everything is asked for.
            None if failure.class == Class::NoIdentity => Ok(Next::Rest),
            None => Err(failure.into()),
            Some(trouble) => Err(trouble),
        }
    }

    /// Stores a status if it differs from what is stored, tells what is new in it, and counts its conditions.
    pub(super) async fn report(
        &self,
        claimant: &Claimant,
        old: &AmiShareStatus,
        new: AmiShareStatus,
    ) -> Result<(), WriteError> {
        let object = &claimant.object;
        if (new != *old && !self.told.is_in_vain(object, &new)) || planted::has(Flaw::WritesAtRest) {
            let stored = self.writer.status(object, &new).await?;
            if stored.known_status() != Some(&new) {
                self.told.was_in_vain(&stored, new.clone());
            }
        }
        self.count_conditions(claimant, &new);
        if let Some(notice) = notices::of_summary(old, &new) {
            self.writer.tell(object, &notice).await;
        }
        Ok(())
    }

    /// Counts the conditions of an object once they are stored.
    pub(super) fn count_conditions(&self, claimant: &Claimant, status: &AmiShareStatus) {
        let ObjectKey { namespace, name } = &claimant.claim.key;
        let conditions = status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str()));
        self.metrics.conditions("AmiShare", (namespace, name), conditions, claimant.suspended());
        // The series of an object that is no more are forgotten once, and one of the two comes last.
        if self.shares.get(&claimant.claim.key).is_none() {
            self.metrics.forget("AmiShare", (namespace, name));
            self.told.forget(&claimant.claim.key);
        }
    }

    /// Sees to an object that concerns no image, because it cannot be read, or names none, or whose image has to be found.
    pub(super) async fn object_without_image(&self, key: &ObjectKey) -> Result<Next, Failed> {
        let Some(object) = self.shares.get(key) else { return Ok(Next::Rest) };
        if let Some(share) = object.share().filter(|_| object.finds()) {
            return self.select(&object, share).await;
        }
        if !images(&object).is_empty() {
            return Ok(Next::Rest);
        }
        let old = object.status();
        let all = old.granted.iter().map(|given| Granted::on(&given.image_id, &old.granted));
        let granted = all.fold(Granted::default(), |all, one| all.union(&one));
        let claim = Claim { granted, ..Claim::silent(&object, Standing::Unreadable) };
        let claimant = Claimant { claim, object: Arc::clone(&object) };
        if !claimant.deleting() {
            self.unreadable(&claimant, self.clock.now()).await?;
            return Ok(Next::Rest);
        }
        let abandoned = object.annotations().get(ON_DELETE).map(String::as_str) == Some(ABANDON);
        let as_it_is = matches!(&object.content, Content::Unreadable(unreadable) if unreadable.leaves_as_it_is);
        if claimant.claim.granted.is_empty() || abandoned || as_it_is {
            if claimant.is_held() {
                self.writer.finalizer(&object, false).await?;
            }
            return Ok(Next::Rest);
        }
        let why = Refusal::new(Reason::InvalidSpec, "the Region of what was given cannot be read from the object");
        let new = status::deletion_blocked(claimant.subject(&old), &claimant.claim, &why, self.clock.now());
        self.report(&claimant, &old, new).await?;
        Ok(Next::Rest)
    }
}
