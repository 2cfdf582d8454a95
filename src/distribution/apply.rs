//! Carries out what was decided: orders copies, and deletes those that are of no use.

use std::{collections::BTreeSet, sync::Arc};

use super::{aging::Change, marks::DISTRIBUTION};
use crate::{
    api::ImageId,
    aws::{
        Services,
        failure::Failure,
        words::{Copy, CopyOrder, Protection},
    },
    runtime::agenda::Urgency,
    share::{live::Live, policy::Policy},
};

/// What everything is done under.
pub struct Applying<'a> {
    /// What the operator's configuration allows at the moment.
    pub policy: &'a Live,
    /// What it allowed when it was decided.
    pub under: &'a Arc<Policy>,
    /// The source, which is never deleted.
    pub source: Option<&'a ImageId>,
    /// The uid of the object.
    pub uid: &'a str,
    /// Whether it has a say over the protection of its copies: then that goes before they do.
    pub unprotects: bool,
}

impl Applying<'_> {
    fn holds(&self) -> bool {
        self.policy.is(self.under)
    }

    /// Orders a copy.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn order(&self, aws: &Services, order: &CopyOrder) -> Result<ImageId, Failure> {
        tracing::info!("will {order}");
        aws.copies.copy(order, &|| self.holds()).await
    }

    /// Deletes copies with their snapshots, those that failed copies leave behind too.
    ///
    /// # Errors
    /// When a call fails; the other copies are deleted all the same.
    pub async fn discard(&self, aws: &Services, copies: &[Copy], ids: &BTreeSet<ImageId>) -> Result<(), Failure> {
        let these: Vec<&Copy> = copies.iter().filter(|copy| ids.contains(&copy.id)).collect();
        self.deregister(aws, these.iter().copied()).await?;
        if these.iter().any(|copy| copy.state != "available") { self.sweep(aws).await } else { Ok(()) }
    }

    /// Deregisters copies, and with them deletes the snapshots that no other image has. Never the source.
    ///
    /// # Errors
    /// When a call fails; the others are made all the same.
    pub async fn deregister(&self, aws: &Services, copies: impl Iterator<Item = &Copy>) -> Result<(), Failure> {
        let mut result = Ok(());
        for copy in copies.filter(|copy| Some(&copy.id) != self.source) {
            if self.unprotects && copy.protection != Protection::Off {
                let unprotected = self.change(aws, &Change::DoNotProtect(copy.id.clone())).await;
                result = unprotected.and(result);
            }
            if let Err(failure) = self.change(aws, &Change::Remove(copy.id.clone())).await {
                result = Err(failure);
            }
        }
        result
    }

    /// Makes a change to a copy that grows old.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn change(&self, aws: &Services, change: &Change) -> Result<(), Failure> {
        tracing::info!("will {change}");
        let (lifecycle, holds) = (&aws.lifecycle, &|| self.holds());
        match change {
            Change::Deprecate(image, at) => lifecycle.deprecate(image, *at, holds).await,
            Change::DoNotDeprecate(image) => lifecycle.do_not_deprecate(image, holds).await,
            Change::Protect(image, with_cooldown) => lifecycle.protect(image, *with_cooldown, holds).await,
            Change::DoNotProtect(image) => lifecycle.do_not_protect(image, holds).await,
            Change::Report(image, token) => lifecycle.order_report(image, token, holds).await,
            Change::Remove(image) if Some(image) == self.source => Ok(()),
            Change::Remove(image) => aws.copies.deregister(image, holds).await,
        }
    }

    /// Deletes the snapshots of failed copies of the object that no image has any more.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn sweep(&self, aws: &Services) -> Result<(), Failure> {
        let snapshots = aws.copies.tagged_snapshots(DISTRIBUTION, self.uid, Urgency::Take).await?;
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.state == "error") {
            match aws.copies.delete_snapshot(&snapshot.id, &|| self.holds()).await {
                // An image has it: it goes with that.
                Err(failure) if failure.code.as_deref() == Some("InvalidSnapshot.InUse") => {}
                result => result?,
            }
        }
        Ok(())
    }
}
