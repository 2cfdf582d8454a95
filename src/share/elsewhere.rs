//! Other images: a snapshot can be a part of several, and then the reconcile of one has to do with the claims on the others
//! (docs/adr/0013).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use kube::ResourceExt;

use super::{
    observe::{Look, describe},
    plan::Plan,
    reconcile::{Claimant, Reconciler},
    status,
    writer::WriteError,
};
use crate::{
    api::{FINALIZER, ImageId, ImageRef, SnapshotId},
    aws::{Ec2, Freshness, failure::Failure},
    runtime::agenda::Urgency,
};

impl Reconciler {
    /// The snapshots of the images that objects ask for and have not seen. Which they are never changes, so that a description of
    /// any age will do.
    ///
    /// # Errors
    /// When AWS cannot be asked.
    pub(super) async fn parts_elsewhere(
        &self,
        ec2: &Arc<Ec2>,
        image: &ImageRef,
        urgency: Urgency,
    ) -> Result<BTreeMap<ImageId, BTreeSet<SnapshotId>>, Failure> {
        let look = &Look { urgency, freshness: Freshness::Whenever, others: self.shares.clone() };
        let unseen = self.shares.unseen_in(&image.region).into_iter().filter(|id| *id != image.id);
        let described = join_all(unseen.map(|id| async move {
            let other = ImageRef { region: image.region.clone(), id };
            describe(ec2, &other, look).await
        }));
        let found: Result<Vec<_>, Failure> = described.await.into_iter().collect();
        Ok(found?.into_iter().flatten().map(|image| (image.id.clone(), image.snapshots.clone())).collect())
    }

    /// Has objects put on record what they inherit for other images.
    ///
    /// # Errors
    /// When one of them has changed since it was read, or the API server refuses. Nobody lets go of anything then.
    pub(super) async fn bequeath(&self, plan: &Plan, claimants: &mut [Claimant]) -> Result<(), WriteError> {
        for ((key, image), inherited) in &plan.bequests {
            let Some(mut heir) = self.shares.get(key) else { continue };
            if !heir.finalizers().iter().any(|f| f == FINALIZER) {
                heir = Arc::new(self.writer.finalizer(&heir, true).await?);
            }
            let status = status::inheriting(&heir.status(), image, inherited);
            heir = Arc::new(self.writer.status(&heir, &status).await?);
            // An object can inherit from itself: when it moves between images that have a snapshot in common.
            if let Some(claimant) = claimants.iter_mut().find(|claimant| claimant.claim.key == *key) {
                claimant.object = heir;
            }
        }
        Ok(())
    }
}
