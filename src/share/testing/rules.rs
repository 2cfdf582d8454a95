//! The semantics in one sentence for each principal: who must hold a permission after a reconcile. Written from design.md
//! section 4, not from the code, and without its set algebra.

use std::collections::BTreeSet;

use amishare::{
    api::{ImageRef, Principal, Region},
    config::{Identity, NamespacePattern, Namespaces, Principals},
    share::{
        claim::{Claim, Standing},
        observed::{Observed, Permissions, Sight, Target},
        plan::Policy,
    },
};

use super::{aws::Aws, owner};

/// Whether `principal` must hold the permission on `target` after a reconcile of `image` that nothing interrupts.
pub fn must_hold(
    principal: &Principal,
    target: &Target,
    image: &ImageRef,
    claims: &[Claim],
    before: &Observed,
    aws: &Aws,
    policy: &Policy,
) -> bool {
    let holds = aws.held(target).contains(principal);
    if matches!(target, Target::Image(id) if *id != image.id) {
        return holds;
    }
    let lists = |claim: &Claim| {
        !is_forbidden(claim, image, principal, policy) && !claim.standing.leaves() && listed(claim, target, principal)
    };
    let Sight::Shareable(seen) = &before.sight else {
        let barred = |claim: &Claim| is_barred(claim, image, policy);
        return holds && !is_taken_from_the_unshareable(claims, target, principal, before, &lists, &barred);
    };
    let is_the_images = match target {
        Target::Image(id) => *id == image.id,
        Target::Snapshot(id) => seen.snapshots.contains(id),
    };
    if holds {
        let has_given = |claim: &Claim| on_record(claim, target, principal);
        let takes = |claim: &Claim| match claim.standing {
            // What one that has lost its record seems to have given is only what it lists.
            _ if is_barred(claim, image, policy) => gives_up(claim) && has_given(claim),
            Standing::Authoritative => {
                let speaks_for_it = match target {
                    Target::Image(_) => true,
                    Target::Snapshot(_) => claim.lists_for_volumes.is_some() && is_the_images,
                };
                speaks_for_it || has_given(claim)
            }
            Standing::Additive | Standing::Leaving => has_given(claim),
            _ => false,
        };
        let is_listed = (is_the_images && claims.iter().any(lists)) || is_listed_elsewhere(before, target, principal);
        return is_listed || !claims.iter().any(takes);
    }
    let is_given = claims.iter().any(|claim| claim.standing.writes() && lists(claim));
    is_given && is_the_images && *principal != owner() && aws.could_give(target, principal)
}

/// Whether the operator's configuration keeps a claim off the image altogether.
pub fn is_barred(claim: &Claim, image: &ImageRef, policy: &Policy) -> bool {
    let rules = || policy.guardrails.iter().filter(|rule| names(&rule.namespaces, claim));
    let other_regions = |regions: &BTreeSet<Region>| regions.iter().all(|region| region != image.region());
    let may_use = |identity: &Identity| identity.name == image.site.identity && names(&identity.namespaces, claim);
    rules().any(|rule| rule.regions.as_ref().is_some_and(other_regions)) || !policy.identities.all().iter().any(may_use)
}

/// Whether a claim that is kept off takes back what it has on record.
fn gives_up(claim: &Claim) -> bool {
    !claim.lost && !matches!(claim.standing, Standing::Unreadable | Standing::LeavingAsItIs)
}

/// Whether an entry of the configuration is about the namespace of a claim.
fn names(namespaces: &Namespaces, claim: &Claim) -> bool {
    let namespace = claim.key.namespace.as_str();
    let names = |pattern: &NamespacePattern| match pattern.to_string().as_str() {
        "*" => true,
        text if text.ends_with('*') => namespace.starts_with(text.trim_end_matches('*')),
        text => namespace == text,
    };
    namespaces.these.iter().any(names) && !namespaces.but.iter().any(names)
}

/// Whether the operator's configuration forbids a claim to list a principal. Written from docs/adr/0016, without the code's rules.
pub fn is_forbidden(claim: &Claim, image: &ImageRef, principal: &Principal, policy: &Policy) -> bool {
    let (mut denied, mut spoken) = (is_barred(claim, image, policy), false);
    for rule in policy.guardrails.iter().filter(|rule| names(&rule.namespaces, claim)) {
        if let Some(allowed) = &rule.share_with {
            spoken = true;
            denied |= match principal {
                Principal::Account(id) => matches!(&allowed.account_ids, Principals::These(ids) if !ids.contains(id)),
                Principal::Organization(arn) => {
                    matches!(&allowed.organization_arns, Principals::These(arns) if !arns.contains(arn))
                }
                Principal::OrganizationalUnit(arn) => {
                    matches!(&allowed.organizational_unit_arns, Principals::These(arns) if !arns.contains(arn))
                }
                Principal::Everyone => !allowed.public,
            };
        }
    }
    denied || (*principal == Principal::Everyone && !spoken && !policy.allow_public)
}

/// An image that cannot be shared keeps what it has; only what was given and nobody lists any more is taken back from its snapshots.
fn is_taken_from_the_unshareable(
    claims: &[Claim],
    target: &Target,
    principal: &Principal,
    before: &Observed,
    lists: &dyn Fn(&Claim) -> bool,
    barred: &dyn Fn(&Claim) -> bool,
) -> bool {
    let Target::Snapshot(id) = target else { return false };
    if !matches!(before.snapshots.get(id), Some(Permissions::Held(_))) {
        return false;
    }
    let is_the_images = before.sight.image().is_none_or(|image| image.snapshots.contains(id));
    let is_listed = claims.iter().any(lists);
    let is_known = before.sight.image().is_some() || before.sight.is_gone();
    let takes = |claim: &Claim| match claim.standing {
        _ if barred(claim) => gives_up(claim),
        Standing::Leaving => true,
        Standing::Authoritative | Standing::Additive => is_known || !is_the_images || claim.lists_for_volumes.is_none(),
        _ => false,
    };
    !((is_the_images && is_listed) || is_listed_elsewhere(before, target, principal))
        && claims.iter().any(|c| takes(c) && on_record(c, target, principal))
}

/// Whether a claim on another image, which the snapshot is a part of too, lists the principal.
fn is_listed_elsewhere(before: &Observed, target: &Target, principal: &Principal) -> bool {
    let Target::Snapshot(id) = target else { return false };
    before.elsewhere.get(id).into_iter().flatten().any(|other| other.lists.contains(principal))
}

/// Whether the claim lists the principal for the target.
pub fn listed(claim: &Claim, target: &Target, principal: &Principal) -> bool {
    match target {
        Target::Image(_) => claim.lists.contains(principal),
        Target::Snapshot(_) => claim.lists_for_volumes.as_ref().is_some_and(|lists| lists.contains(principal)),
    }
}

/// Whether the claim has it on record that it gave this.
pub fn on_record(claim: &Claim, target: &Target, principal: &Principal) -> bool {
    match target {
        Target::Image(_) => claim.granted.launch.contains(principal),
        Target::Snapshot(id) => claim.granted.volumes.get(id).is_some_and(|given| given.contains(principal)),
    }
}
