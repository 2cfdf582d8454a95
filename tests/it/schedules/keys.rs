//! What must hold of the keys of encrypted images: whoever was given an image can launch it, at every moment, and nobody keeps a grant
//! that no claim wants. Whether somebody can launch is for the simulator to say.

use amishare::aws::grant_name::PREFIX;

use super::{
    arena::{Arena, Giver},
    claims::Claim,
    outcome::{is_available, listed},
    places::{ENCRYPTED, KEY, REGIONS, Target, Who},
    run::Violation,
};

/// Those who hold grants of ours.
fn grantees(arena: &Arena) -> Who {
    let names: Vec<String> = arena.aws.with_world(|world| {
        let grants = world.key(KEY).into_iter().flat_map(|key| key.grants.values());
        let ours = grants.filter(|grant| grant.name.as_ref().is_some_and(|name| name.starts_with(PREFIX)));
        ours.filter_map(|grant| grant.grantee.split(':').nth(4).map(ToOwned::to_owned)).collect()
    });
    Who::by_names(names.iter().map(String::as_str))
}

/// Whoever got a launch permission from the operator can use it, at every moment.
pub fn check_launches(arena: &Arena) -> Result<(), Violation> {
    for image in ENCRYPTED.into_iter().filter(|image| is_available(arena, *image)) {
        let target = Target::Image(image);
        let accounts = arena.held(target).and(Who::FOR_VOLUMES).but(Who::OWNER);
        let given = |one: &Who| {
            arena.givers.get(&(target, *one)) == Some(&Giver::Operator) && arena.claims.were_careful(target, *one)
        };
        for one in accounts.each().filter(given) {
            let name = one.names().remove(0);
            if let Err(refusal) = arena.aws.can_launch(REGIONS[target.region()], &target.to_string(), &name) {
                return Err(Violation::new(
                    2,
                    format!("{target} was given to {one:?}, who cannot launch it: {refusal}"),
                ));
            }
        }
    }
    Ok(())
}

/// Nobody has a grant whom no claim lists, once nothing stands in the way.
pub fn check_grants(arena: &Arena, claims: &[&Claim]) -> Result<(), Violation> {
    // What may still be launched of an image that cannot be looked at is not known.
    if !ENCRYPTED.iter().all(|image| is_available(arena, *image)) {
        return Ok(());
    }
    let lists = |claim: &&Claim| ENCRYPTED.map(|image| listed(arena, claim, Target::Image(image)));
    let wanted = claims.iter().flat_map(lists).fold(Who::NOBODY, Who::or);
    let careful = |one: &Who| ENCRYPTED.iter().all(|image| arena.claims.were_careful(Target::Image(*image), *one));
    let left = grantees(arena).but(wanted).each().filter(careful).fold(Who::NOBODY, Who::or);
    if left.is_nobody() {
        return Ok(());
    }
    Err(Violation::new(11, format!("a grant on {KEY} names {left:?}, whom no claim lists any more")))
}
