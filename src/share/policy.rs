//! The policy: what the operator's own configuration allows and assumes. IAM cannot say with whom an image is shared, so this is
//! the only thing that does (docs/adr/0016).
//!
//! Pure. What it forbids counts as not listed: [`Claim::on`](super::claim::Claim::on) asks it, and nothing after that has to.

use crate::{
    api::{Principal, Reason, Site},
    config::{Guardrail, Identities, words},
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
    /// With which credentials images are reached, and who may use which.
    pub identities: Identities,
}

impl Default for Policy {
    /// Nothing public, no other rules, the ambient credentials for all, and AWS's default quota (aws.md section 2.2).
    fn default() -> Self {
        let (guardrails, identities) = (Vec::new(), Identities::default());
        Self { allow_public: false, launch_permission_quota: 1000, guardrails, identities }
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

/// The part of a policy that is about the images of one account and Region in shares of one namespace.
#[derive(Debug)]
pub struct Rules<'a> {
    namespace: &'a str,
    site: &'a Site,
    guardrails: Vec<&'a Guardrail>,
    identities: &'a Identities,
    allow_public: bool,
}

impl Policy {
    /// What is forbidden for shares of a namespace.
    pub fn rules<'a>(&'a self, namespace: &'a str, site: &'a Site) -> Rules<'a> {
        let guardrails = self.guardrails.iter().filter(|rule| rule.namespaces.contains(namespace)).collect();
        Rules { namespace, site, guardrails, identities: &self.identities, allow_public: self.allow_public }
    }
}

impl Rules<'_> {
    /// Whether a share can be forbidden nothing but to be public.
    pub fn are_none(&self) -> bool {
        self.guardrails.is_empty()
    }

    /// Why a share may have nothing to do with images there, if it may not: they are not its namespace's business.
    pub fn bar(&self) -> Option<Refusal> {
        if planted::has(Flaw::IgnoresTheGuardRail) {
            return None;
        }
        let Site { identity, region } = self.site;
        let denied = |message| Refusal::new(Reason::GuardrailDenied, message);
        if let Some(message) = self.identities.refusal(identity, self.namespace) {
            return Some(denied(message));
        }
        let rule =
            self.guardrails.iter().find(|r| r.regions.as_ref().is_some_and(|regions| !regions.contains(region)))?;
        Some(denied(rule.refusal(self.namespace, &words::region(region.as_str()))))
    }

    /// Why a share may not list `principal`, if it may not.
    pub fn forbid(&self, principal: &Principal) -> Option<Refusal> {
        if planted::has(Flaw::IgnoresTheGuardRail) {
            return None;
        }
        let Some((rule, what)) = self.guardrails.iter().find_map(|rule| Some((rule, what(rule, principal)?))) else {
            return self.public_by_default(principal);
        };
        let message = rule.refusal(self.namespace, what);
        Some(Refusal::new(Reason::GuardrailDenied, message))
    }

    /// Public takes a yes: that of a rule, or, where none says with whom images may be shared, that of the flag.
    fn public_by_default(&self, principal: &Principal) -> Option<Refusal> {
        let is_allowed = self.allow_public || self.guardrails.iter().any(|rule| rule.share_with.is_some());
        (*principal == Principal::Everyone && !is_allowed)
            .then(|| Refusal::new(Reason::GuardrailDenied, words::PUBLIC_BY_DEFAULT))
    }
}

/// What one rule forbids of sharing with `principal`, in words.
fn what(rule: &Guardrail, principal: &Principal) -> Option<&'static str> {
    if rule.share_with.as_ref().is_none_or(|allowed| allowed.contains(principal)) {
        return None;
    }
    Some(match principal {
        Principal::Account(_) | Principal::Grantee(_) => words::ACCOUNTS,
        Principal::Organization(_) => words::ORGANIZATIONS,
        Principal::OrganizationalUnit(_) => words::ORGANIZATIONAL_UNITS,
        Principal::Everyone => words::PUBLIC,
    })
}

#[cfg(test)]
mod tests;
