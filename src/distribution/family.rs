//! The AmiShares of a distribution: which there are to be, and how they are made so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::ResourceExt;

use super::{
    children::{self, Child},
    plan::{Access, Decision, is_source},
    reconcile::{Barred, Planned, Reconciler, Work},
    status::Sharing,
};
use crate::{
    api::{
        AmiDistribution, AmiShare, ImageId, Reason,
        ami_distribution::{DistributionTarget, TargetStatus},
        ami_share::DeletionPolicy,
    },
    aws::words::Copy,
    runtime::runner::Failed,
    share::{claim::ObjectKey, writer::WriteError},
};

/// Images that were the source once and are shared for a target that is the source itself.
#[derive(Debug, Default)]
pub(super) struct FormerSources {
    /// Those that stay shared.
    kept: BTreeSet<ImageId>,
    /// Those that do not.
    pub(super) dropped: BTreeSet<ImageId>,
}

impl Planned<'_> {
    /// The images of the target, if they can be seen: the one that it is to have, and copies of what was the source before.
    fn images(&self, work: &Work<'_>) -> Option<BTreeSet<ImageId>> {
        let (Ok(verdict), Ok((_, seen))) = (&self.verdict, &self.looked.aws) else { return None };
        let target = self.looked.target;
        let is_there = |copy: &&Copy| {
            copy.state == "available"
                && work.owner.made(copy, &target.name)
                && !verdict.discard.contains(&copy.id)
                && !self.aged.retiring.contains(&copy.id)
        };
        let own = seen.own.iter().filter(|_| !is_source(&work.object.spec, target)).filter(is_there);
        let kept = match &verdict.decision {
            Decision::Keep(image) => Some(image.clone()),
            _ => None,
        };
        Some(own.map(|copy| copy.id.clone()).chain(kept).collect())
    }
}

impl Reconciler {
    pub(super) fn sharing(&self, work: &Work<'_>, target: &DistributionTarget, image: &ImageId) -> Sharing {
        let Some(child) = children::of_image(&work.owner, &work.object.spec, target, image) else {
            return Sharing::NotRequested;
        };
        let key = ObjectKey { namespace: work.owner.namespace.clone(), name: child.name.clone() };
        let Some(stored) = self.children.get(&key).filter(|stored| child.is(stored, work.object)) else {
            let message = format!("the AmiShare {} is being written", child.name);
            return Sharing::Lacking { reason: Reason::Progressing, message, passes: true };
        };
        match children::state(&stored) {
            Ok(()) => Sharing::Done,
            Err((reason, message)) => Sharing::Lacking { reason, message, passes: reason.passes_by_itself() },
        }
    }

    /// The children that there are to be: one for each image of a target, of whatever source it is a copy, and those that open the
    /// source.
    pub(super) fn wanted_children(&self, work: &Work<'_>, planned: &[Planned<'_>]) -> BTreeMap<String, Child> {
        let spec = &work.object.spec;
        let mut wanted = BTreeMap::new();
        for one in planned {
            let mut images = one.images(work).unwrap_or_else(|| self.shared_images(work, one.looked.target));
            images.extend(self.former_sources(work, one).kept);
            let children =
                images.iter().filter_map(|image| children::of_image(&work.owner, spec, one.looked.target, image));
            wanted.extend(children.map(|child| (child.name.clone(), child)));
            if let Some(account) = one.looked.account.filter(|_| self.is_to_be_opened(work, one)) {
                let child = children::opening(&work.owner, spec, &work.source_id, account);
                wanted.insert(child.name.clone(), child);
            }
        }
        wanted
    }

    /// Whether the source is to be open to the account of a target. As long as it cannot be seen whether a copy still needs that, it
    /// stays as it is.
    fn is_to_be_opened(&self, work: &Work<'_>, one: &Planned<'_>) -> bool {
        let access = self.access(work, &one.looked);
        let is_open = matches!(access, Access::Opened | Access::Opening(..));
        match &one.verdict {
            Ok(verdict) => {
                let needs = matches!(verdict.decision, Decision::Open(..) | Decision::Wait(..) | Decision::Order(_));
                needs && (is_open || access == Access::Closed)
            }
            Err(Barred::Failed(_)) => is_open,
            Err(Barred::Denied(_)) => false,
        }
    }

    /// The images that were shared for a target that is the source itself, before another one was the source. They are nobody's to delete
    /// here, and what retention lets go is that they are shared. The source stays shared too while it cannot be told how it is.
    pub(super) fn former_sources(&self, work: &Work<'_>, one: &Planned<'_>) -> FormerSources {
        let (target, retention) = (one.looked.target, work.object.spec.retention.as_ref());
        let mut former = FormerSources::default();
        let Ok(verdict) = &one.verdict else { return former };
        if !is_source(&work.object.spec, target) {
            return former;
        }
        if !matches!(verdict.decision, Decision::Keep(_)) && self.shared_images(work, target).contains(&work.source_id)
        {
            former.kept.insert(work.source_id.clone());
        }
        let mut children = self.own_children(&work.owner.uid);
        children.retain(|share| {
            let is_gone = children::state(share)
                .is_err_and(|(reason, _)| matches!(reason, Reason::ImageDeregistered | Reason::ImageNotFound));
            share.labels().get(children::FOR) == Some(&target.name)
                && share.spec.image.id.as_ref() != Some(&work.source_id)
                && share.metadata.deletion_timestamp.is_none()
                && !is_gone
        });
        let since = |share: &Arc<AmiShare>| share.metadata.creation_timestamp.as_ref().map(|time| time.0);
        children.sort_by_key(|share| (std::cmp::Reverse(since(share)), share.name_any()));
        for (index, share) in children.iter().enumerate() {
            let Some(image) = share.spec.image.id.clone() else { continue };
            let stays = retention.is_none_or(|retention| {
                let keeps = usize::try_from(retention.keep_last).unwrap_or(1) > index + 1;
                let age = since(share).map(|since| work.now.duration_since(since).try_into().unwrap_or_default());
                keeps || retention.keep_for.zip(age).is_some_and(|(keep, age): (_, Duration)| age < keep.as_duration())
            });
            if stays {
                former.kept.insert(image)
            } else {
                former.dropped.insert(image)
            };
        }
        former
    }

    /// The images of a target that have AmiShares: what cannot be seen is left as it is.
    fn shared_images(&self, work: &Work<'_>, target: &DistributionTarget) -> BTreeSet<ImageId> {
        let mut children = self.own_children(&work.owner.uid);
        children.retain(|share| share.labels().get(children::FOR) == Some(&target.name));
        children.iter().filter_map(|share| share.spec.image.id.clone()).collect()
    }

    pub(super) fn own_children(&self, uid: &str) -> Vec<Arc<AmiShare>> {
        self.children.filter(|share| children::belongs_to(share, Some(uid)))
    }

    /// The children that are not to be, but for those of targets that leave, which go in their own time.
    pub(super) fn stale_children(
        &self,
        work: &Work<'_>,
        wanted: &BTreeMap<String, Child>,
        leaving: &[TargetStatus],
    ) -> Vec<Arc<AmiShare>> {
        let mut children = self.own_children(&work.owner.uid);
        children.retain(|share| {
            let is_of_leaving = share
                .labels()
                .get(children::FOR)
                .is_some_and(|target| leaving.iter().any(|known| known.name == *target));
            share.metadata.deletion_timestamp.is_none() && !wanted.contains_key(&share.name_any()) && !is_of_leaving
        });
        children
    }

    pub(super) fn lacks_children(&self, object: &AmiDistribution, wanted: &BTreeMap<String, Child>) -> bool {
        wanted.values().any(|child| self.lacks(object, child))
    }

    pub(super) fn lacks(&self, object: &AmiDistribution, child: &Child) -> bool {
        let key = ObjectKey { namespace: object.namespace().unwrap_or_default(), name: child.name.clone() };
        match self.children.get(&key) {
            // What is being deleted is made again once it is gone.
            Some(stored) => stored.metadata.deletion_timestamp.is_none() && !child.is(&stored, object),
            None => true,
        }
    }

    /// Writes the children that are not as they are to be, and deletes those that are not to be. Returns what the API server has
    /// refused, by target.
    pub(super) async fn write_children(
        &self,
        object: &AmiDistribution,
        wanted: &BTreeMap<String, Child>,
        stale: &[Arc<AmiShare>],
        retiring: &BTreeSet<ImageId>,
    ) -> Result<BTreeMap<String, String>, Failed> {
        let mut refused = BTreeMap::new();
        for child in wanted.values().filter(|child| self.lacks(object, child)) {
            if let Err(error) = self.writer.child(child, object).await {
                match (&error, &child.target) {
                    (WriteError::Refused { message, .. }, Some(target)) => {
                        let message = format!("the AmiShare {} is refused: {message}", child.name);
                        refused.insert(target.clone(), message);
                    }
                    _ => return Err(error.into()),
                }
            }
        }
        for child in stale {
            // A copy that goes is taken from whom it was given to, whatever becomes of those that stay.
            let goes = child.spec.image.id.as_ref().is_some_and(|image| retiring.contains(image));
            if goes && child.spec.deletion_policy != DeletionPolicy::Revoke {
                self.writer.child_policy(child, DeletionPolicy::Revoke).await?;
            }
            self.writer.delete_child(child).await?;
        }
        Ok(refused)
    }

    /// Deletes children that the object no longer wants. Says what is waited for as long as they are there.
    pub(super) async fn delete_children(&self, object: &AmiDistribution, children: &[Arc<AmiShare>]) -> Option<String> {
        for child in children.iter().filter(|child| child.metadata.deletion_timestamp.is_none()) {
            let deleted = async {
                let policy = children::deletion_policy(object.spec.deletion_policy);
                let is_copy = child.labels().contains_key(children::FOR);
                if is_copy && child.spec.deletion_policy != policy {
                    self.writer.child_policy(child, policy).await?;
                }
                self.writer.delete_child(child).await
            };
            if let Err(error) = deleted.await {
                return Some(error.to_string());
            }
        }
        let names: Vec<String> = children
            .iter()
            .filter(|child| {
                self.children.get(&ObjectKey::of(child.as_ref())).is_some_and(|known| known.uid() == child.uid())
            })
            .map(|child| child.name_any())
            .collect();
        (!names.is_empty()).then(|| format!("waits until what was given is taken back: AmiShare {}", names.join(", ")))
    }
}
