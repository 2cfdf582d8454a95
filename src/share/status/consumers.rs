//! Who of those that a spec lists can launch the image, and why the others cannot.
//!
//! Pure.

use std::{cell::LazyCell, collections::BTreeSet};

use super::{
    View,
    verdicts::{Faults, why},
};
use crate::{
    api::{
        Principal, Reason,
        ami_share::{Consumers as InStatus, Obstacle},
        conditions::Verdict,
    },
    share::{
        claim::Claim,
        keys::{Access, KeyRing, judge, statement},
        observed::{Sight, Target},
        policy::Refusal,
    },
};

/// How many reasons the status gives, and how many principals for each.
const MAX_OBSTACLES: usize = 20;
const MAX_NAMED: usize = 10;

/// The longest message that the status gives for a reason.
const MAX_MESSAGE: usize = 1024;

/// Those that a spec lists, by whether they can launch the image.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    able: usize,
    unable: Faults,
    unknown: Faults,
    /// The same of the keys alone, which have a condition of their own.
    without_keys: Faults,
    not_known_to_have_keys: Faults,
}

impl Consumers {
    /// Judges everybody that a claim lists, in vain or not.
    pub(super) fn of(claim: &Claim, view: &View<'_>) -> Self {
        let ring = KeyRing::of(view.after);
        let target = Target::Image(view.image.id.clone());
        let mut all = Self::default();
        let is_shareable = matches!(view.after.sight, Sight::Shareable(_));
        let owner = view.after.sight.image().and_then(|image| image.owner).map(Principal::Account);
        for principal in claim.lists.iter().chain(claim.forbidden.keys()) {
            if matches!(principal, Principal::Grantee(_)) {
                continue;
            }
            let forbidden = claim.forbidden.get(principal);
            let unshared = || forbidden.cloned().unwrap_or_else(|| why(&target, principal, view));
            // The lists are long: whether somebody gets through the keys is worked out once, if it is asked.
            let access = LazyCell::new(|| ring.access(principal));
            match judge(principal, view.after, || Access::clone(&access), unshared) {
                Access::Yes => all.able += 1,
                Access::No(refusal) => all.unable.note(principal, refusal),
                Access::Unknown(refusal) => all.unknown.note(principal, refusal),
            }
            // What is encrypted cannot be public, whatever the keys say, and who may use its keys the owner knows best.
            let is_asked = *principal != Principal::Everyone && Some(principal) != owner.as_ref();
            if forbidden.is_none() && is_shareable && is_asked {
                match &*access {
                    Access::Yes => {}
                    Access::No(refusal) => all.without_keys.note(principal, refusal.clone()),
                    Access::Unknown(refusal) => all.not_known_to_have_keys.note(principal, refusal.clone()),
                }
            }
        }
        all
    }

    /// What the keys keep from launching the image, but for those whom the condition names already.
    pub(super) fn of_keys(&self, named: &BTreeSet<&Principal>) -> Option<Verdict> {
        let (no, unknown) = (self.without_keys.without(named), self.not_known_to_have_keys.without(named));
        let messages: Vec<String> =
            [(&no, "cannot be launched by"), (&unknown, "it is not known whether it can be launched by")]
                .into_iter()
                .filter(|(faults, _)| !faults.is_empty())
                .map(|(faults, lead)| faults.message_with(lead, explained))
                .collect();
        if let Some(reason) = no.gravest() {
            return Some(Verdict::no(reason, messages.join("; ")));
        }
        unknown.gravest().map(|reason| Verdict::unknown(reason, messages.join("; ")))
    }

    /// The same, as the status has it.
    pub(super) fn to_status(&self) -> InStatus {
        let count = |faults: &Faults| faults.groups().map(|(_, principals)| number(principals.len())).sum();
        let groups = self.unable.groups().chain(self.unknown.groups());
        let obstacles = groups.take(MAX_OBSTACLES).map(|(refusal, principals)| Obstacle {
            count: number(principals.len()),
            principals: principals.iter().take(MAX_NAMED).cloned().collect(),
            reason: refusal.reason.as_str().into(),
            message: explained(&refusal, principals).chars().take(MAX_MESSAGE).collect(),
        });
        InStatus {
            able: number(self.able),
            unable: count(&self.unable),
            unknown: count(&self.unknown),
            obstacles: obstacles.collect(),
        }
    }
}

fn number(many: usize) -> i64 {
    i64::try_from(many).unwrap_or(i64::MAX)
}

/// Why, and what to do about it.
fn explained(refusal: &Refusal, principals: &BTreeSet<Principal>) -> String {
    match (refusal.reason, statement(principals.iter())) {
        (Reason::GrantNotPossibleForOrganization, Some(statement)) => format!("{}; {statement}", refusal.message),
        _ => refusal.message.clone(),
    }
}
