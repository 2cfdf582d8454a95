//! What must hold of the keys of encrypted images: whoever was given an image can launch it, at every moment, and nobody keeps a grant
//! that no claim wants. Whether somebody can launch is for the simulator to say.

use std::collections::{BTreeMap, BTreeSet};

use amishare::{
    aws::grant_name::PREFIX,
    simulator::{Key, KeyGrant, KeyState, Simulator},
};

use super::{
    arena::{Arena, Giver},
    claims::Claim,
    outcome::{is_available, listed},
    places::{ENCRYPTED, KEY, REGIONS, Target, Who},
    run::Violation,
};

/// What grants allow.
type Operations = BTreeSet<String>;

fn ours(key: &Key) -> impl Iterator<Item = (&KeyGrant, Who)> {
    let ours = key.grants.values().filter(|grant| grant.name.as_ref().is_some_and(|name| name.starts_with(PREFIX)));
    ours.filter_map(|grant| Some((grant, Who::by_name(grant.grantee.split(':').nth(4)?))))
}

/// Those who hold grants of ours.
fn grantees(arena: &Arena) -> BTreeMap<Operations, Who> {
    let mut grantees = BTreeMap::new();
    arena.aws.with_world(|world| {
        for (grant, who) in world.key(KEY).into_iter().flat_map(ours) {
            let all = grantees.entry(grant.operations.clone()).or_insert(Who::NOBODY);
            *all = all.or(who);
        }
    });
    grantees
}

/// Revokes the grants of an account, by the key's own administrator; says whether there were any.
pub fn revoke(aws: &Simulator, one: Who) -> bool {
    aws.with_world(|world| {
        let Some(key) = world.key_mut(KEY) else { return false };
        let ids: Vec<String> = ours(key).filter(|(_, who)| *who == one).map(|(grant, _)| grant.id.clone()).collect();
        key.grants.retain(|id, _| !ids.contains(id));
        !ids.is_empty()
    })
}

fn can_launch(arena: &Arena, target: Target, one: Who) -> Result<(), String> {
    let name = one.names().remove(0);
    arena.aws.can_launch(REGIONS[target.region()], &target.to_string(), &name).map_err(|refusal| refusal.to_string())
}

/// Whoever got a launch permission from the operator can use it, at every moment.
pub fn check_launches(arena: &Arena) -> Result<(), Violation> {
    // Nobody can, then.
    if arena.aws.with_world(|world| world.key(KEY).is_some_and(|key| key.state != KeyState::Enabled)) {
        return Ok(());
    }
    for image in ENCRYPTED.into_iter().filter(|image| is_available(arena, *image)) {
        let target = Target::Image(image);
        let accounts = arena.held(target).and(Who::FOR_VOLUMES).but(Who::OWNER);
        let given = |one: &Who| {
            arena.givers.get(&(target, *one)) == Some(&Giver::Operator)
                && arena.claims.were_careful(target, *one)
                && arena.claims.always_asked_for_grants(target, *one)
        };
        for one in accounts.each().filter(given) {
            if let Err(refusal) = can_launch(arena, target, one) {
                let text = format!("{target} was given to {one:?}, who cannot launch it: {refusal}");
                return Err(Violation::new(2, text));
            }
        }
    }
    Ok(())
}

/// Whom a claim lists who holds a launch permission and cannot use it.
pub fn shut_out(arena: &Arena, claim: &Claim) -> Who {
    let target = Target::Image(claim.image);
    let accounts = claim.lists.and(arena.held(target)).and(Who::FOR_VOLUMES).but(Who::OWNER);
    accounts.each().filter(|one| can_launch(arena, target, *one).is_err()).fold(Who::NOBODY, Who::or)
}

/// Everybody has the grants that claims want for them, and nobody has one that no claim wants, once nothing stands in the way.
pub fn check_grants(arena: &Arena, claims: &[&Claim]) -> Result<(), Violation> {
    // What may still be launched of an image that cannot be looked at is not known.
    if !ENCRYPTED.iter().all(|image| is_available(arena, *image)) {
        return Ok(());
    }
    let lists = |claim: &Claim| ENCRYPTED.map(|image| listed(arena, claim, Target::Image(image)));
    let (mut wanted, mut needed) = (BTreeMap::new(), BTreeMap::new());
    for claim in claims {
        let Some(operations) = claim.wants_grants() else { continue };
        let operations: Operations = operations.iter().map(|operation| operation.name().to_owned()).collect();
        let listed = lists(claim).into_iter().fold(Who::NOBODY, Who::or).and(Who::FOR_VOLUMES);
        let note = |all: &mut BTreeMap<Operations, Who>| {
            let who = all.entry(operations.clone()).or_insert(Who::NOBODY);
            *who = who.or(listed);
        };
        note(&mut wanted);
        if claim.acts() {
            note(&mut needed);
        }
    }
    let held = grantees(arena);
    let careful = |one: &Who| ENCRYPTED.iter().all(|image| arena.claims.were_careful(Target::Image(*image), *one));
    for (operations, who) in &held {
        let wanted = wanted.get(operations).copied().unwrap_or_default();
        let left = who.but(wanted).each().filter(careful).fold(Who::NOBODY, Who::or);
        if !left.is_nobody() {
            let text = format!("a grant on {KEY} of {operations:?} names {left:?}, whom no claim lists any more");
            return Err(Violation::new(11, text));
        }
    }
    for (operations, who) in &needed {
        let held = held.get(operations).copied().unwrap_or_default();
        let missing = who.but(Who::CLOSED.or(Who::OWNER)).but(held);
        if !missing.is_nobody() {
            return Err(Violation::new(1, format!("{missing:?} have no grant on {KEY} of {operations:?}")));
        }
    }
    Ok(())
}
