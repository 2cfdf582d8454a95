//! Other images: a snapshot or a key can be a part of several, and then the reconcile of one has to do with the claims on the others
//! (docs/adr/0013).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;

use super::{
    claim::{ObjectKey, Standing},
    claimant::Claimant,
    due,
    observe::{Look, describe, keys_of},
    observed::{Elsewhere, Observed, Part, Target},
    outcome::Outcome,
    plan::{Change, Plan, Policy},
    reconcile::Reconciler,
    store::Work,
    writer::{Sameness, WriteError},
};
use crate::{
    api::{ImageId, ImageRef, Principal, stored::Stored},
    aws::{Freshness, Services, failure::Failure},
    runtime::runner::Failed,
};

/// Whether a plan can take from somebody what claims on other images list, or leave it to them.
pub(super) fn matters(plan: &Plan, claimants: &[Claimant]) -> bool {
    let leaves = |c: &Claimant| c.claim.standing == Standing::Leaving && c.claim.granted.parts().next().is_some();
    plan.closes_parts() || claimants.iter().any(leaves)
}

impl Reconciler {
    /// The parts of the images that objects ask for and have not seen. Which they are never changes, so that a description of
    /// any age will do.
    ///
    /// # Errors
    /// When AWS cannot be asked.
    pub(super) async fn parts_elsewhere(
        &self,
        aws: &Services,
        image: &ImageRef,
        look: &Look,
    ) -> Result<BTreeMap<ImageId, BTreeSet<Part>>, Failure> {
        let look = &Look { freshness: Freshness::Whenever, ..look.clone() };
        let unseen = self.shares.unseen_at(&image.site, &look.policy).into_iter().filter(|id| *id != image.id);
        let described = join_all(unseen.map(|id| async move {
            let Some(other) = describe(&aws.ec2, &image.beside(id), look).await? else { return Ok(None) };
            let keys = keys_of(&aws.ec2, &other, look.urgency).await?;
            let snapshots = other.snapshots.iter().cloned().map(Part::Snapshot);
            Ok(Some((other.id.clone(), snapshots.chain(keys.into_values().map(Part::Key)).collect())))
        }));
        let found: Result<Vec<_>, Failure> = described.await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Looks at what claims on other images say about the parts of one, after the API server has been asked whether that is the
    /// newest.
    ///
    /// # Errors
    /// When it is not, or the API server cannot be asked.
    pub(super) async fn look_elsewhere(
        &self,
        image: &ImageRef,
        before: &mut Observed,
        parts: &BTreeMap<ImageId, BTreeSet<Part>>,
        now: Timestamp,
        policy: &Policy,
    ) -> Result<(), Failed> {
        let others = self.shares.images_with(image, &before.parts_seen(), parts);
        if !others.is_empty() {
            let known = |other: &ImageRef| self.shares.concerning(other);
            let known: BTreeMap<ObjectKey, Arc<Stored>> =
                others.iter().flat_map(known).map(|object| (ObjectKey::of(object.as_ref()), object)).collect();
            let known: Vec<Arc<Stored>> = known.into_values().collect();
            self.ask_for_newest(&others, &known, Sameness::Lists).await?;
        }
        before.elsewhere = self.elsewhere(image, before, parts, now, policy);
        Ok(())
    }

    /// Has objects put on record what they inherit for other images. Returns whether all of them could be written; one that the API
    /// server refuses is told so, and holds up only those who leave it something.
    ///
    /// # Errors
    /// When one of them has changed since the plan was made.
    pub(super) async fn bequeath(
        &self,
        image: &ImageRef,
        plan: &Plan,
        claimants: &mut [Claimant],
        now: Timestamp,
    ) -> Result<bool, WriteError> {
        let mut all = true;
        for ((key, other), bequest) in &plan.bequests {
            let other = image.beside(other.clone());
            let mut heir = self.shares.get(key).ok_or_else(|| WriteError::Gone(key.clone()))?;
            // An object can inherit from itself: when it moves between images that have a snapshot in common.
            let itself = claimants.iter_mut().find(|claimant| claimant.claim.key == *key);
            let version = |object: &Stored| object.metadata.resource_version.clone();
            if version(&heir) != bequest.version
                || itself.as_ref().is_some_and(|itself| version(&itself.object) != bequest.version)
            {
                return Err(WriteError::Conflict(key.clone()));
            }
            match self.put_on_record(&mut heir, &other, &bequest.inherited, now).await {
                Ok(()) => {
                    self.queue.ask(Work::Image(other), Duration::ZERO);
                    if let Some(itself) = itself {
                        itself.object = heir;
                    }
                }
                Err(error @ WriteError::Refused { .. }) => {
                    self.tell_refused(&heir, "KubernetesApi", &error).await;
                    all = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Asks for the other images whose objects have to do with what has been done here.
    pub(super) fn wake_others(
        &self,
        image: &ImageRef,
        claimants: &[Claimant],
        outcome: &Outcome,
        now: Timestamp,
        policy: &Policy,
    ) {
        self.wake_who_has_on_record_what_was_revoked(image, outcome, now, policy);
        self.wake_who_may_be_able_to_launch(image, outcome);
        self.wake_who_answers_for_what_has_ended(claimants);
    }

    /// Asks for the images on which something is on record that only a share protected whose time has just ended.
    fn wake_who_answers_for_what_has_ended(&self, claimants: &[Claimant]) {
        for claimant in claimants.iter().filter(|claimant| due::has_just_ended(claimant)) {
            for other in self.shares.answering(&claimant.object) {
                self.queue.ask(Work::Image(other), Duration::ZERO);
            }
        }
    }

    /// Asks for the images whose objects have grants on record that have just been revoked: it was left to them because this image was
    /// still launched with them, and that is over once it is reported.
    fn wake_who_has_on_record_what_was_revoked(
        &self,
        image: &ImageRef,
        outcome: &Outcome,
        now: Timestamp,
        policy: &Policy,
    ) {
        let are_grants = |change: &&Change| matches!(change.target, Target::Grants(_));
        let taken = outcome.done.iter().filter(are_grants);
        self.wake(image, taken, |other| &other.granted, now, policy);
    }

    /// Asks for the images whose objects list somebody from whom a permission on a part has just been taken. They may have begun to
    /// while the call was under way, and have seen that it was held.
    pub(super) fn wake_who_lists_whom_it_was_taken_from(
        &self,
        image: &ImageRef,
        outcome: &Outcome,
        now: Timestamp,
        policy: &Policy,
    ) {
        let failed = outcome.failed.iter().map(|(change, _)| change);
        self.wake(image, outcome.done.iter().chain(failed), |other| &other.lists, now, policy);
    }

    /// Asks for the images that are launched with a key on which grants have just been given, where it is not known of everybody
    /// listed that they can: some of them may be able to now, whether their own objects ask for grants or not.
    fn wake_who_may_be_able_to_launch(&self, image: &ImageRef, outcome: &Outcome) {
        let given = outcome.done.iter().filter(|change| !change.add.is_empty());
        let keys =
            given.filter_map(|change| change.target.part()).filter(|part| matches!(part, Part::Key(_))).collect();
        let cannot = |object: &Arc<Stored>| {
            let consumers = object.known_status().and_then(|status| status.consumers.as_ref());
            consumers.is_none_or(|consumers| consumers.unable + consumers.unknown > 0)
        };
        for other in self.shares.images_with(image, &keys, &BTreeMap::new()) {
            if self.shares.concerning(&other).iter().any(cannot) {
                self.queue.ask(Work::Image(other), Duration::ZERO);
            }
        }
    }

    /// Asks for the other images of which a changed target is a part too, where claims have to do with somebody who has lost it.
    fn wake<'a>(
        &self,
        image: &ImageRef,
        changes: impl Iterator<Item = &'a Change>,
        concerned: impl Fn(&Elsewhere) -> &BTreeSet<Principal>,
        now: Timestamp,
        policy: &Policy,
    ) {
        for change in changes.filter(|change| !change.remove.is_empty()) {
            let target = std::iter::once(change.target.clone());
            let elsewhere = self.shares.elsewhere(image, target, &BTreeMap::new(), now, policy);
            for other in elsewhere.into_values().flatten().filter(|other| !concerned(other).is_disjoint(&change.remove))
            {
                self.queue.ask(Work::Image(image.beside(other.image)), Duration::ZERO);
            }
        }
    }
}
