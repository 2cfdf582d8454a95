//! The semantics in one sentence for each principal: who must hold a permission after a reconcile. Written from design.md
//! section 4, not from the code, and without its set algebra.

use std::collections::BTreeSet;

use amishare::{
    api::{GrantsOn, ImageRef, Principal, Region},
    config::{Identity, NamespacePattern, Namespaces, Principals},
    share::{
        claim::{Claim, Standing},
        observed::{Observed, Permissions, Sight, Target},
        plan::Policy,
    },
};

use super::{
    aws::{Aws, Encryption},
    owner,
};

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
        let forbidden = |claim: &Claim| is_forbidden(claim, image, principal, policy);
        return holds && !is_taken_from_the_unshareable(claims, target, principal, before, &lists, &barred, &forbidden);
    };
    let keys_unknown = before.snapshot_keys.is_err();
    let is_the_images = match target {
        Target::Image(id) => *id == image.id,
        Target::Snapshot(id) => seen.snapshots.contains(id),
        Target::Grants(_) => keys_unknown || aws.images[&image.id].encryption == Encryption::CustomerKey,
    };
    if holds {
        let has_given = |claim: &Claim| on_record(claim, target, principal);
        let takes = |claim: &Claim| match claim.standing {
            // What one that has lost its record seems to have given is only what it lists.
            _ if is_barred(claim, image, policy) => gives_up(claim) && has_given(claim),
            standing if standing.writes() && keys_unknown && asks_for_grants(claim, target) => false,
            Standing::Authoritative => {
                let speaks_for_it = match target {
                    Target::Image(_) => true,
                    Target::Snapshot(_) => claim.lists_for_volumes.is_some() && is_the_images,
                    // Of grants nobody has a say but over their own.
                    Target::Grants(_) => false,
                };
                speaks_for_it || has_given(claim)
            }
            Standing::Additive | Standing::Leaving | Standing::Waiting => has_given(claim),
            _ => false,
        };
        let is_listed = (is_the_images && claims.iter().any(lists)) || is_listed_elsewhere(before, target, principal);
        // Nobody who can launch the image loses a grant for the sake of another one that they cannot be given.
        let others = match target {
            Target::Grants(on) => aws.grants.keys().filter(|other| *other != on).cloned().collect(),
            _ => Vec::new(),
        };
        let wants = |other: &GrantsOn| {
            let other = Target::Grants(other.clone());
            let wants = |claim: &Claim| {
                claim.standing.writes()
                    && !is_forbidden(claim, image, principal, policy)
                    && listed(claim, &other, principal)
            };
            is_the_images && claims.iter().any(wants)
        };
        let gets = |other: &GrantsOn| {
            let other = Target::Grants(other.clone());
            let is_given = || !keys_unknown && *principal != owner() && aws.could_give(&other, principal);
            is_seen_to_hold(before, &other, principal) || is_given()
        };
        let in_vain = holds_a_launch_permission(before, principal)
            && others.iter().any(wants)
            && !others.iter().filter(|other| wants(other)).any(gets);
        return is_listed || in_vain || !claims.iter().any(takes);
    }
    let is_given = claims.iter().any(|claim| claim.standing.writes() && lists(claim));
    // Whoever is to have grants too has to wait until it is known on which keys.
    let wants_grants = |claim: &Claim| {
        claim.standing.writes()
            && !is_forbidden(claim, image, principal, policy)
            && claim.lists_for_grants.as_ref().is_some_and(|grants| grants.grantees.contains(principal))
    };
    let waits = !matches!(target, Target::Snapshot(_)) && keys_unknown && claims.iter().any(wants_grants);
    !waits && is_given && is_the_images && *principal != owner() && aws.could_give(target, principal)
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
                Principal::Grantee(arn) => {
                    matches!(&allowed.account_ids, Principals::These(ids) if !ids.contains(&arn.account().unwrap()))
                }
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
    forbidden: &dyn Fn(&Claim) -> bool,
) -> bool {
    if !matches!(before.on(target), Some(Permissions::Held(_))) {
        return false;
    }
    let is_the_images = before.has(target).unwrap_or(true);
    let is_listed = claims.iter().any(lists);
    let is_known = before.has(target).is_some() || before.sight.is_gone();
    let takes = |claim: &Claim| match claim.standing {
        _ if barred(claim) => gives_up(claim),
        Standing::Leaving | Standing::Waiting => true,
        Standing::Authoritative | Standing::Additive => {
            let asks = claim.lists_on(target).is_some() || (!is_known && asks_for_grants(claim, target));
            is_known || !is_the_images || !asks
        }
        _ => false,
    };
    // As long as it cannot be seen who may launch the image, nobody loses the use of its key who was given a launch permission.
    let may_launch = matches!(target, Target::Grants(_))
        && before.launch.is_none()
        && !before.sight.is_gone()
        && claims
            .iter()
            .any(|claim| claim.standing != Standing::LeavingAsItIs && claim.granted.launch.contains(principal));
    // Nobody is given the grants that would replace those.
    let is_to_be_replaced = |claim: &Claim| {
        let Target::Grants(on) = target else { return false };
        let wants = claim.lists_for_grants.as_ref().filter(|_| claim.standing.writes() && !forbidden(claim));
        let other = wants.filter(|grants| grants.operations.as_ref() != Some(&on.operations));
        let other = other.filter(|grants| grants.grantees.contains(principal));
        other.is_some_and(|grants| {
            let other = GrantsOn { key: on.key.clone(), operations: grants.operations.clone().unwrap() };
            !is_seen_to_hold(before, &Target::Grants(other), principal)
        })
    };
    let stays = holds_a_launch_permission(before, principal)
        && before.has(target).unwrap_or(!before.sight.is_gone())
        && claims.iter().any(is_to_be_replaced);
    !((is_the_images && is_listed) || is_listed_elsewhere(before, target, principal) || may_launch || stays)
        && claims.iter().any(|c| takes(c) && on_record(c, target, principal))
}

/// Whether somebody holds a launch permission, or may hold one for all that was seen.
fn holds_a_launch_permission(before: &Observed, principal: &Principal) -> bool {
    before.launch.as_ref().is_none_or(|held| held.contains(principal))
}

/// Whether somebody was seen to hold a permission on a part.
fn is_seen_to_hold(before: &Observed, target: &Target, principal: &Principal) -> bool {
    matches!(before.on(target), Some(Permissions::Held(held)) if held.contains(principal))
}

/// Whether a target is grants, and the claim wants some, of these operations or others.
fn asks_for_grants(claim: &Claim, target: &Target) -> bool {
    matches!(target, Target::Grants(_)) && claim.lists_for_grants.is_some()
}

/// Whether a claim on another image, which the snapshot is a part of too, lists the principal.
fn is_listed_elsewhere(before: &Observed, target: &Target, principal: &Principal) -> bool {
    before.elsewhere.get(target).into_iter().flatten().any(|other| other.lists.contains(principal))
}

/// Whether the claim lists the principal for the target.
pub fn listed(claim: &Claim, target: &Target, principal: &Principal) -> bool {
    // On the image that it had before, one protects only what it gave.
    if claim.standing == Standing::Waiting && !on_record(claim, target, principal) {
        return false;
    }
    match target {
        Target::Image(_) => claim.lists.contains(principal),
        Target::Snapshot(_) => claim.lists_for_volumes.as_ref().is_some_and(|lists| lists.contains(principal)),
        Target::Grants(on) => claim.lists_for_grants.as_ref().is_some_and(|grants| {
            grants.operations.as_ref().is_none_or(|o| *o == on.operations) && grants.grantees.contains(principal)
        }),
    }
}

/// Whether the claim has it on record that it gave this.
pub fn on_record(claim: &Claim, target: &Target, principal: &Principal) -> bool {
    match target {
        Target::Image(_) => claim.granted.launch.contains(principal),
        Target::Snapshot(id) => claim.granted.volumes.get(id).is_some_and(|given| given.contains(principal)),
        Target::Grants(on) => claim.granted.grants.get(on).is_some_and(|given| given.contains(principal)),
    }
}
