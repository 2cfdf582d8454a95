//! Notices: what is told as Kubernetes events, when something changed and only then.
//!
//! Pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    claim::{Claim, Standing},
    observed::Target,
    status::View,
};
use crate::{
    api::{AmiShareStatus, ConditionType, ImageRef, Principal, Reason, conditions::find, principal::in_words},
    runtime::events::Notice,
};

/// What came of the plan, as far as it concerns `claim`.
pub fn of_changes(claim: &Claim, view: &View<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    for change in &view.outcome.done {
        let permission = change.target.permission();
        let target = &change.target;
        let lists = claim.lists_on(target);
        let on_record = |p: &Principal| on_record(target, p, claim);
        if claim.standing.writes() {
            let mine: BTreeSet<&Principal> =
                change.add.iter().filter(|p| lists.is_some_and(|l| l.contains(*p))).collect();
            let (again, new): (Vec<&Principal>, Vec<&Principal>) =
                mine.into_iter().partition(|p| on_record(p) && !claim.unfinished);
            if !new.is_empty() {
                let note = format!("gave {permission} on {target} to {}", in_words(new));
                notices.push(Notice { warning: false, reason: "Shared", action: "Share", note });
            }
            if !again.is_empty() {
                let note = format!("gave {permission} on {target} back to {}, who had lost it", in_words(again));
                notices.push(drift(note));
            }
        }
        let (mine, strange): (Vec<&Principal>, Vec<&Principal>) = change.remove.iter().partition(|p| on_record(p));
        if !mine.is_empty() {
            let note = format!("took {permission} on {target} from {}", in_words(mine));
            notices.push(Notice { warning: false, reason: "Revoked", action: "Revoke", note });
        }
        let rogue: Vec<&Principal> = strange.into_iter().filter(|p| !on_any_record(target, p, view)).collect();
        let is_forbidden = |p: &&Principal| view.claims.iter().any(|claim| claim.forbidden.contains_key(*p));
        let (forbidden, rogue): (Vec<&Principal>, Vec<&Principal>) = rogue.into_iter().partition(is_forbidden);
        if claim.standing == Standing::Authoritative && !forbidden.is_empty() {
            let whom = in_words(forbidden);
            notices
                .push(drift(format!("took {permission} on {target} from {whom}, whom no AmiShare may list that does")));
        }
        if claim.standing == Standing::Authoritative && !rogue.is_empty() {
            let note = format!("took {permission} on {target} from {}, whom no AmiShare lists", in_words(rogue));
            notices.push(drift(note));
        }
    }
    notices
}

/// Who keeps what a claim gave, when its object is deleted and AWS stays as it is.
pub fn of_what_stays(claim: &Claim, image: &ImageRef) -> Option<Notice> {
    if claim.standing != Standing::LeavingAsItIs || claim.granted.is_empty() {
        return None;
    }
    let who = in_words(claim.granted.everybody());
    let note = format!("AWS stays as it is: {who} keep what they were given on {}", image.id);
    Some(Notice { warning: false, reason: "Retained", action: "Retain", note })
}

/// How many principals were put right that somebody else had changed.
pub fn drift_corrected(view: &View<'_>) -> usize {
    view.outcome
        .done
        .iter()
        .map(|change| {
            let lost = |p: &&Principal| view.claims.iter().any(|c| !c.unfinished && on_record(&change.target, p, c));
            let strange = |p: &&Principal| !on_any_record(&change.target, p, view);
            change.add.iter().filter(lost).count() + change.remove.iter().filter(strange).count()
        })
        .sum()
}

fn on_any_record(target: &Target, principal: &Principal, view: &View<'_>) -> bool {
    view.claims.iter().any(|claim| on_record(target, principal, claim))
}

fn on_record(target: &Target, principal: &Principal, claim: &Claim) -> bool {
    claim.granted.of(target).is_some_and(|given| given.contains(principal))
}

fn drift(note: String) -> Notice {
    Notice { warning: false, reason: Reason::DriftCorrected.as_str(), action: "Correct", note }
}

/// What the summary newly says: a failure when it begins or changes, and its end.
pub fn of_summary(old: &AmiShareStatus, new: &AmiShareStatus) -> Option<Notice> {
    of_conditions(&old.conditions, &new.conditions)
}

/// The same, of the conditions of any object.
pub fn of_conditions(old: &[Condition], new: &[Condition]) -> Option<Notice> {
    let (before, now) = (find(old, ConditionType::Ready), find(new, ConditionType::Ready)?);
    let same = before.is_some_and(|b| (&b.status, &b.reason, &b.message) == (&now.status, &now.reason, &now.message));
    let recovered = before.is_some_and(|b| b.status == "False");
    let reason: Reason = now.reason.parse().ok()?;
    let (warning, action) = match now.status.as_str() {
        _ if same => return None,
        "True" if !recovered => return None,
        "True" => (false, "Reconcile"),
        "False" => (!matches!(reason, Reason::Progressing | Reason::ImagePending | Reason::Expired), "Reconcile"),
        _ if reason == Reason::Suspended => (false, "Suspend"),
        _ => return None,
    };
    Some(Notice { warning, reason: reason.as_str(), action, note: now.message.clone() })
}

#[cfg(test)]
mod tests;
