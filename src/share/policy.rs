//! The policy: what the operator's own configuration allows and assumes. IAM cannot say with whom an image is shared, so this is
//! the only thing that does (docs/adr/0016).
//!
//! Pure. What it forbids counts as not listed: [`Claim::on`](super::claim::Claim::on) asks it, and nothing after that has to.

use crate::{
    api::{Principal, Reason, Region},
    config::{Guardrail, words},
    planted::{self, Flaw},
};

/// What the operator's own configuration allows and assumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether images may be made public where no guard rail says with whom images may be shared.
    pub allow_public: bool,
    /// How many entities (accounts, organizations, organizational units) AWS lets one image be shared with.
    pub launch_permission_quota: usize,
    /// What is forbidden where. All that name a namespace must allow what is done for it; the first that does not is the one that is
    /// named.
    pub guardrails: Vec<Guardrail>,
}

impl Default for Policy {
    /// Nothing public, no other rules, and AWS's default quota (aws.md section 2.2).
    fn default() -> Self {
        Self { allow_public: false, launch_permission_quota: 1000, guardrails: Vec::new() }
    }
}

/// Why somebody is not given a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason that conditions give.
    pub reason: Reason,
    /// The same in words, without naming the principal.
    pub message: String,
}

impl Refusal {
    /// A refusal for a reason, in words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The part of a policy that is about the images of one Region in shares of one namespace.
#[derive(Debug)]
pub struct Rules<'a> {
    namespace: &'a str,
    region: &'a Region,
    guardrails: Vec<&'a Guardrail>,
    allow_public: bool,
}

impl Policy {
    /// What is forbidden for shares of a namespace.
    pub fn rules<'a>(&'a self, namespace: &'a str, region: &'a Region) -> Rules<'a> {
        let guardrails = self.guardrails.iter().filter(|rule| rule.namespaces.contains(namespace)).collect();
        Rules { namespace, region, guardrails, allow_public: self.allow_public }
    }
}

impl Rules<'_> {
    /// Whether a share can be forbidden nothing but to be public.
    pub fn are_none(&self) -> bool {
        self.guardrails.is_empty()
    }

    /// Why a share may not list `principal`, if it may not.
    pub fn forbid(&self, principal: &Principal) -> Option<Refusal> {
        if planted::has(Flaw::IgnoresTheGuardRail) {
            return None;
        }
        let Some((rule, what)) = self.guardrails.iter().find_map(|rule| Some((rule, self.what(rule, principal)?)))
        else {
            return self.public_by_default(principal);
        };
        let message = rule.refusal(self.namespace, &what);
        Some(Refusal::new(Reason::GuardrailDenied, message))
    }

    /// What one rule forbids of sharing with `principal`, in words.
    fn what(&self, rule: &Guardrail, principal: &Principal) -> Option<String> {
        if rule.regions.as_ref().is_some_and(|regions| !regions.contains(self.region)) {
            return Some(words::region(self.region.as_str()));
        }
        if rule.share_with.as_ref().is_none_or(|allowed| allowed.contains(principal)) {
            return None;
        }
        let what = match principal {
            Principal::Account(_) => words::ACCOUNTS,
            Principal::Organization(_) => words::ORGANIZATIONS,
            Principal::OrganizationalUnit(_) => words::ORGANIZATIONAL_UNITS,
            Principal::Everyone => words::PUBLIC,
        };
        Some(what.to_owned())
    }

    /// Public takes a yes: that of a rule, or, where none says with whom images may be shared, that of the flag.
    fn public_by_default(&self, principal: &Principal) -> Option<Refusal> {
        let is_allowed = self.allow_public || self.guardrails.iter().any(|rule| rule.share_with.is_some());
        (*principal == Principal::Everyone && !is_allowed)
            .then(|| Refusal::new(Reason::GuardrailDenied, words::PUBLIC_BY_DEFAULT))
    }
}

#[cfg(test)]
mod tests;
