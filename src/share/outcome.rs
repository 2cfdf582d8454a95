//! What came of a plan.
//!
//! Pure data. Status is computed from it, so a thing that was not done cannot be reported as done.

use std::collections::BTreeMap;

use super::{
    observed::{Observed, Permissions, Sight, Target},
    plan::{Change, Refusal},
};
use crate::{api::Principal, aws::failure::Failure};

/// The result of every change of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What AWS carried out.
    pub done: Vec<Change>,
    /// Whom AWS refused by name, on which target, and why.
    pub refused: BTreeMap<(Target, Principal), Refusal>,
    /// What failed as a whole.
    pub failed: Vec<(Change, Failure)>,
    /// What was left for the next reconcile, because too many refusals came before it, or because the rules that it was decided
    /// under are not in force any more.
    pub deferred: Vec<Change>,
}

impl Outcome {
    /// Whether the call that gives a principal the permission, or takes it, failed. It may have taken effect; and if not, it
    /// is made again, so that what is on record for it stays there: dropping it would be a write per attempt, and putting it
    /// back another.
    pub fn unfinished(&self, target: &Target, principal: &Principal) -> bool {
        self.failed.iter().any(|(change, _)| {
            &change.target == target && (change.add.contains(principal) || change.remove.contains(principal))
        })
    }

    /// The gravest failure that passes by itself, if the reconcile should be tried again soon.
    pub fn to_retry(&self) -> Option<&Failure> {
        self.failed.iter().map(|(_, failure)| failure).find(|f| f.reason().passes_by_itself())
    }
}

impl Observed {
    /// What there is after `outcome`: what was seen, with what was done.
    #[must_use]
    pub fn after(&self, outcome: &Outcome) -> Self {
        let mut after = self.clone();
        for change in &outcome.done {
            let held = match &change.target {
                Target::Image(_) => after.launch.as_mut(),
                Target::Snapshot(id) => match after.snapshots.get_mut(id) {
                    Some(Permissions::Held(held)) => Some(held),
                    _ => None,
                },
            };
            if let Some(held) = held {
                held.extend(change.add.iter().cloned());
                held.retain(|p| !change.remove.contains(p));
            }
            if let (Target::Image(_), Sight::Shareable(image)) = (&change.target, &mut after.sight) {
                image.public = after.launch.as_ref().is_some_and(|held| held.contains(&Principal::Everyone));
            }
        }
        after
    }
}
