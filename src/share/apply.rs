//! Apply: carries a plan out.
//!
//! Writes to AWS and decides nothing: what to do after a refusal is for [`narrow`](super::narrow) to say.

use std::collections::VecDeque;

use super::{
    narrow::{Narrowed, narrow},
    outcome::Outcome,
    plan::Plan,
};
use crate::aws::{Ec2, ec2::Holds, failure::Class};

/// How many calls one change may take when AWS refuses parts of it. Dozens of closed accounts are found in one reconcile;
/// beyond that the rest waits for the next one, which remembers those already found.
const MAX_CALLS: usize = 200;

/// Makes every change of the plan, one call each unless AWS refuses a part of it. A change that fails holds back no other:
/// what is to be taken away never waits for what cannot be given.
///
/// `holds` is asked right before every call whether the rules that the plan was made under are still in force.
pub async fn apply(ec2: &Ec2, plan: &Plan, holds: &Holds<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for planned in &plan.changes {
        let mut queue = VecDeque::from([planned.clone()]);
        let mut calls = 0;
        while let Some(change) = queue.pop_front() {
            if calls == MAX_CALLS || !holds() {
                outcome.deferred.push(change);
                continue;
            }
            calls += 1;
            let failure = match ec2.change(&change, holds).await {
                Ok(()) => {
                    outcome.done.push(change);
                    continue;
                }
                Err(failure) => failure,
            };
            if failure.class == Class::Overtaken {
                outcome.deferred.push(change);
                continue;
            }
            match narrow(&change, &failure) {
                Narrowed::Instead(parts) => parts.into_iter().rev().for_each(|part| queue.push_front(part)),
                Narrowed::Refused { principals, refusal, rest } => {
                    let refused = principals.into_iter().map(|p| ((change.target.clone(), p), refusal.clone()));
                    outcome.refused.extend(refused);
                    queue.extend(rest);
                }
                Narrowed::GiveUp => outcome.failed.push((change, failure)),
            }
        }
    }
    outcome
}
