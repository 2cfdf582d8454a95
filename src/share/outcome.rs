//! What came of a plan.
//!
//! Pure data. Status is computed from it, so a thing that was not done cannot be reported as done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    observed::{KeySight, Observed, Permissions, Sight, Target},
    plan::{Change, Plan, Refusal},
};
use crate::{
    api::{GrantsOn, Principal},
    aws::failure::Failure,
};

/// How soon what was left over goes on, when too many refusals came before it or the configuration has changed.
const AFTER_DEFERRAL: Duration = Duration::from_secs(1);

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
    /// Who has to wait on which target until KMS shows a grant that was made, and which.
    pub waiting: BTreeMap<(Target, Principal), GrantsOn>,
    /// How soon to look for those grants again.
    pub look_again: Option<Duration>,
}

impl Outcome {
    /// Whether the call that gives a principal the permission, or takes it, failed, or is still to be made. It may have taken effect;
    /// and if not, it is made soon, so that what is on record for it stays there: dropping it would be a write per attempt, and
    /// putting it back another. And a write that got no answer may take effect after the call that was made meanwhile.
    pub fn unfinished(&self, target: &Target, principal: &Principal) -> bool {
        let left = self.failed.iter().map(|(change, _)| change).chain(&self.deferred);
        let names = |change: &Change| {
            &change.target == target && (change.add.contains(principal) || change.remove.contains(principal))
        };
        left.into_iter().any(names) || self.waiting.contains_key(&(target.clone(), principal.clone()))
    }

    /// What is left of a planned change once what cannot be done before it is left out; that is noted with the reason. Without its
    /// grants nobody is given a launch permission that is worth nothing without them. As long as somebody may still launch the image,
    /// the grant stays with which they do, and so does one that was to be replaced and could not be.
    pub fn without_the_impossible(&mut self, planned: &Change, plan: &Plan) -> Option<Change> {
        let mut change = planned.clone();
        match &planned.target {
            Target::Image(_) => {
                for principal in &planned.add {
                    if self.hold_back(&change, principal, plan.is_needed(&planned.target, principal), |c| &c.add) {
                        change.add.remove(principal);
                    }
                }
            }
            Target::Grants(_) => {
                let takes =
                    |target: &Target, p: &Principal| matches!(target, Target::Image(_)) && plan.takes(target, p);
                for principal in &planned.remove {
                    let launch = |target: &Target| takes(target, principal);
                    if self.hold_back(&change, principal, launch, |c| &c.remove)
                        || self.hold_back(&change, principal, plan.is_needed(&planned.target, principal), |c| &c.add)
                    {
                        change.remove.remove(principal);
                    }
                }
            }
            Target::Snapshot(_) => {}
        }
        (!change.is_empty()).then_some(change)
    }

    /// What is left of a change once those are left out who have to wait until KMS shows the grants that they need: `late` of them, to be
    /// looked for again so soon.
    pub fn without_the_waiting(
        &mut self,
        mut change: Change,
        late: BTreeMap<Principal, GrantsOn>,
        look_again: Duration,
    ) -> Option<Change> {
        if !late.is_empty() {
            self.look_again = Some(self.look_again.map_or(look_again, |known| known.min(look_again)));
        }
        for (principal, on) in late {
            if let Target::Image(_) = change.target {
                change.add.remove(&principal);
            } else {
                change.remove.remove(&principal);
            }
            self.waiting.insert((change.target.clone(), principal), on);
        }
        (!change.is_empty()).then_some(change)
    }

    /// Whether what was to be done before for `principal`, on a target that `is_before`, was not. The same becomes of `change` then, as
    /// far as it is about them.
    fn hold_back(
        &mut self,
        change: &Change,
        principal: &Principal,
        is_before: impl Fn(&Target) -> bool,
        side: impl Fn(&Change) -> &BTreeSet<Principal>,
    ) -> bool {
        let names = |before: &Change| is_before(&before.target) && side(before).contains(principal);
        let alone = |set: &BTreeSet<Principal>| set.iter().filter(|p| *p == principal).cloned().collect();
        let mine = Change { target: change.target.clone(), add: alone(&change.add), remove: alone(&change.remove) };
        if let Some((_, failure)) = self.failed.iter().find(|(before, _)| names(before)) {
            let failure = failure.clone();
            self.failed.push((mine, failure));
            return true;
        }
        if self.deferred.iter().any(&names) {
            self.deferred.push(mine);
            return true;
        }
        let refusal = self.refused.iter().find(|((target, p), _)| is_before(target) && p == principal);
        let Some((_, refusal)) = refusal.map(|(key, refusal)| (key.clone(), refusal.clone())) else { return false };
        self.refused.insert((change.target.clone(), principal.clone()), refusal);
        true
    }

    /// How soon to go on with what was left over or has to wait, if anything.
    pub fn goes_on_after(&self) -> Option<Duration> {
        if self.deferred.is_empty() { self.look_again } else { Some(AFTER_DEFERRAL) }
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
                Target::Snapshot(id) => after.snapshots.get_mut(id).and_then(Permissions::held),
                Target::Grants(on) => {
                    if let Some(KeySight::Own(key)) = after.keys.get_mut(&on.key) {
                        Arc::make_mut(key).change(on, &change.add, &change.remove);
                    }
                    after.grants.get_mut(on).and_then(Permissions::held)
                }
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
