//! Apply: carries a plan out.
//!
//! Writes to AWS and decides nothing: what to do after a refusal is for [`narrow`](super::narrow) to say, and what has to wait for what
//! else is the plan's order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use futures::{StreamExt, stream};

use super::{
    narrow::{Narrowed, narrow},
    observed::Target,
    outcome::Outcome,
    plan::{Change, Plan},
};
use crate::{
    api::{GrantsOn, Principal},
    aws::{
        Holds, Services,
        failure::{Class, Failure},
    },
    planted::{self, Flaw},
};

/// How many calls one change may take when AWS refuses parts of it. Dozens of closed accounts are found in one reconcile;
/// beyond that the rest waits for the next one, which remembers those already found.
const MAX_CALLS: usize = 200;

/// How many grants are made or revoked at once: each takes a call of its own, and the lanes see to the rate.
const GRANTS_AT_ONCE: usize = 16;

/// Makes every change of the plan, one call each unless AWS refuses a part of it; each grant takes a call of its own. A change that
/// fails holds back only what must not be done without it: nobody is given a launch permission whose grant could not be made, and
/// nobody's grant is revoked who could not be taken the launch permission from. Both wait, too, until KMS shows the grants that they
/// need: it makes them known late. What is to be taken away never waits for what cannot
/// be given.
///
/// `holds` is asked right before every call whether the rules that the plan was made under are still in force.
pub async fn apply(aws: &Services, plan: &Plan, holds: &Holds<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    for planned in &plan.changes {
        let Some(planned) = outcome.without_the_impossible(planned, plan) else { continue };
        let Some(planned) = without_the_waiting(aws, planned, plan, &mut outcome).await else { continue };
        if let Target::Grants(on) = &planned.target {
            grants(aws, on, &planned, holds, &mut outcome).await;
            continue;
        }
        let mut queue = VecDeque::from([planned]);
        let mut calls = 0;
        while let Some(change) = queue.pop_front() {
            if calls == MAX_CALLS || !holds() {
                outcome.deferred.push(change);
                continue;
            }
            calls += 1;
            let failure = match make(aws, &change, holds).await {
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

/// Leaves out of a change whom it needs grants for that KMS does not show yet: EC2 would not find them either.
async fn without_the_waiting(aws: &Services, planned: Change, plan: &Plan, outcome: &mut Outcome) -> Option<Change> {
    let (mut late, mut look_again) = (BTreeMap::new(), Duration::MAX);
    let needs = if planted::has(Flaw::DoesNotWaitForGrants) { BTreeMap::new() } else { plan.needs_of(&planned) };
    for (on, principals) in needs {
        if let Some(unshown) = aws.kms.unshown(on, &principals).await {
            look_again = look_again.min(unshown.look_again);
            late.extend(unshown.principals.into_iter().map(|principal| (principal, on.clone())));
        }
    }
    outcome.without_the_waiting(planned, late, look_again)
}

/// Makes one change of permissions that EC2 keeps: one call.
async fn make(aws: &Services, change: &Change, holds: &Holds<'_>) -> Result<(), Failure> {
    let Change { target, add, remove } = change;
    match target {
        Target::Image(id) => aws.ec2.modify_image(id, add, remove, holds).await,
        Target::Snapshot(id) => aws.ec2.modify_snapshot(id, add, remove, holds).await,
        Target::Grants(on) => {
            for principal in add {
                aws.kms.grant(on, principal, holds).await?;
            }
            for principal in remove.iter().filter(|_| !planted::has(Flaw::KeepsGrants)) {
                aws.kms.revoke(on, principal, holds).await?;
            }
            Ok(())
        }
    }
}

/// Makes and revokes grants, and tells of each what came of it.
async fn grants(aws: &Services, on: &GrantsOn, planned: &Change, holds: &Holds<'_>, outcome: &mut Outcome) {
    let nobody = Change { add: BTreeSet::new(), remove: BTreeSet::new(), ..planned.clone() };
    let one = |principal: &Principal, gives: bool| {
        let alone = BTreeSet::from([principal.clone()]);
        if gives { Change { add: alone, ..nobody.clone() } } else { Change { remove: alone, ..nobody.clone() } }
    };
    let adds = planned.add.iter().map(|principal| one(principal, true));
    let all: Vec<Change> = adds.chain(planned.remove.iter().map(|principal| one(principal, false))).collect();
    let calls = stream::iter(all).map(|change| async move {
        let result = if holds() { make(aws, &change, holds).await } else { Err(Failure::overtaken(on_what(&change))) };
        (change, result)
    });
    let results: Vec<(Change, Result<(), Failure>)> = calls.buffered(GRANTS_AT_ONCE).collect().await;
    let (mut done, mut deferred) = (nobody.clone(), nobody.clone());
    let mut failed: Vec<(Change, Failure)> = Vec::new();
    for (change, result) in results {
        let failure = match result {
            Ok(()) => {
                done.merge(change);
                continue;
            }
            Err(failure) => failure,
        };
        if failure.class == Class::Overtaken {
            deferred.merge(change);
            continue;
        }
        match narrow(&change, &failure) {
            Narrowed::Refused { principals, refusal, .. } => {
                outcome.refused.extend(principals.into_iter().map(|p| ((change.target.clone(), p), refusal.clone())));
            }
            Narrowed::Instead(_) | Narrowed::GiveUp => match failed.iter_mut().find(|(_, known)| *known == failure) {
                Some((all, _)) => all.merge(change),
                None => failed.push((change, failure)),
            },
        }
    }
    tracing::debug!(%on, done = done.add.len() + done.remove.len(), "grants");
    outcome.done.extend((!done.is_empty()).then_some(done));
    outcome.deferred.extend((!deferred.is_empty()).then_some(deferred));
    outcome.failed.append(&mut failed);
}

/// The call that a change of grants takes.
fn on_what(change: &Change) -> &'static str {
    if change.add.is_empty() { "RevokeGrant" } else { "CreateGrant" }
}
