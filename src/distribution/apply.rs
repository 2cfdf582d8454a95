//! Carries out what was decided: orders copies, and deletes those that are of no use.

use std::{collections::BTreeSet, sync::Arc};

use super::marks::DISTRIBUTION;
use crate::{
    api::ImageId,
    aws::{
        Services,
        failure::Failure,
        words::{Copy, CopyOrder},
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
            tracing::info!("will deregister {} and delete its snapshots", copy.id);
            if let Err(failure) = aws.copies.deregister(&copy.id, &|| self.holds()).await {
                result = Err(failure);
            }
        }
        result
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
