//! What must hold once nothing has stood in the way for long enough: a model of the semantics, one sentence for each principal,
//! that shares nothing with the code.

use std::time::Duration;

use amishare::simulator::ImageState;

use super::{
    arena::{Arena, Giver, SETTLE},
    claims::Claim,
    keys,
    places::{ENCRYPTED, ENCRYPTED_IN, OBJECTS, REGIONS, Target, Who},
    run::Violation,
};

/// Checks every Region that has been left in peace for long enough.
pub fn check(arena: &Arena) -> Result<(), Violation> {
    (0..REGIONS.len()).filter(|region| is_due(arena, *region)).try_for_each(|region| check_region(arena, region))
}

/// How many intervals it takes until somebody else's change of a permission is seen: a check comes at most 1.1 after the one before.
pub const TO_DRIFT: f64 = 1.1;

/// The same for a change of an image, of which a check may take a description that is 1.2 intervals old.
pub const TO_CHANGE: f64 = 2.4;

/// Whether what happened at a time must have been seen, which takes so many intervals.
pub fn is_seen(arena: &Arena, region: usize, since: Duration, intervals: f64) -> bool {
    since.is_zero() || arena.now() >= since + interval(arena, region, since).mul_f64(intervals) + SETTLE
}

/// Whether everything in a Region must be as it should be.
pub fn is_due(arena: &Arena, region: usize) -> bool {
    let (now, disturbed) = (arena.now(), arena.disturbed[region]);
    // What ends by itself is an event like any other.
    let mine = arena.claims.now().filter(|claim| OBJECTS[claim.object].2 == region);
    let mut ended = mine.filter_map(|claim| claim.ends).filter(|ends| *ends <= now);
    now >= disturbed.until
        && is_seen(arena, region, disturbed.drifted, TO_DRIFT)
        && is_seen(arena, region, disturbed.changed, TO_CHANGE)
        && ended.all(|ends| now >= ends + SETTLE)
}

/// The longest interval of the objects of a Region since a time.
pub fn interval(arena: &Arena, region: usize, since: Duration) -> Duration {
    let claims = arena.claims.between(since, arena.now()).filter(|claim| OBJECTS[claim.object].2 == region);
    claims.map(|claim| claim.share.spec.interval.as_duration()).max().unwrap_or_default()
}

fn check_region(arena: &Arena, region: usize) -> Result<(), Violation> {
    let claims: Vec<&Claim> = arena.claims.now().filter(|claim| OBJECTS[claim.object].2 == region).collect();
    for target in Target::all_in(region) {
        check_target(arena, &claims, target)?;
    }
    if region == ENCRYPTED_IN {
        keys::check_grants(arena, &claims)?;
    }
    claims.iter().try_for_each(|claim| check_object(arena, &claims, claim))
}

pub fn is_available(arena: &Arena, image: usize) -> bool {
    arena.state_of(image) == ImageState::Available
}

/// Whom a claim lists that is not over and not on its way out.
pub fn listed(arena: &Arena, claim: &Claim, target: Target) -> Who {
    if claim.deleting() || claim.is_over(arena.now()) {
        return Who::NOBODY;
    }
    let listed = claim.lists_on(target);
    if arena.allow_public { listed } else { listed.but(Who::EVERYONE) }
}

fn check_target(arena: &Arena, claims: &[&Claim], target: Target) -> Result<(), Violation> {
    let held = arena.held(target);
    let on: Vec<&&Claim> = claims.iter().filter(|claim| target.images().contains(&claim.image)).collect();
    let usable = |claim: &Claim| is_available(arena, claim.image);
    let all_usable = target.images().iter().all(|image| is_available(arena, *image));
    let lists = |claim: &&&&Claim| listed(arena, claim, target);

    let acting = on.iter().filter(|claim| claim.acts() && usable(claim));
    let given = acting.map(|claim| lists(&claim)).fold(Who::NOBODY, Who::or);
    let missing = given.but(impossible(arena, target)).but(held);
    if !missing.is_nobody() {
        let number = if on.len() > 1 { 6 } else { 1 };
        return Err(Violation::new(number, format!("{target} is not given to {missing:?}, who are listed")));
    }

    // Whom nobody lists, and everything can be acted on.
    let protected = on.iter().map(|claim| lists(&claim)).fold(Who::NOBODY, Who::or);
    if matches!(target, Target::Image(_)) && !all_usable {
        return Ok(());
    }
    let is_authoritative = |claim: &&&Claim| {
        let speaks = matches!(target, Target::Image(_)) || claim.wants_volumes();
        claim.acts() && claim.authoritative() && !claim.is_over(arena.now()) && usable(claim) && speaks
    };
    // What is given on the snapshot of an image that cannot be seen may be protected by what is on record there.
    if all_usable && on.iter().copied().any(|claim| is_authoritative(&claim)) {
        let excess = held.but(protected).but(Who::OWNER);
        if !excess.is_nobody() {
            let text = format!("{target} is held by {excess:?}, whom nobody lists, and a claim is authoritative");
            return Err(Violation::new(1, text));
        }
    }
    let ours = |one: &Who| {
        arena.givers.get(&(target, *one)) == Some(&Giver::Operator) && arena.claims.were_careful(target, *one)
    };
    let left = held.but(protected).each().filter(ours).fold(Who::NOBODY, Who::or);
    // What was given on a snapshot is taken back whatever has become of the image.
    if !left.is_nobody() {
        return Err(Violation::new(
            11,
            format!("{target} is held by {left:?}, to whom a claim gave it that is no more"),
        ));
    }
    Ok(())
}

/// Who cannot be given a permission.
fn impossible(arena: &Arena, target: Target) -> Who {
    let never = Who::CLOSED.or(Who::OWNER);
    let encrypted = ENCRYPTED.iter().any(|image| target == Target::Image(*image));
    let cannot_be_public = encrypted || arena.blocks_public(target.region());
    if cannot_be_public { never.or(Who::EVERYONE) } else { never }
}

/// Why an image cannot be shared.
const HINDERED: &[&str] = &["ImagePending", "ImageDisabled", "ImageDeregistered", "ImageNotUsable", "ImageNotFound"];

fn check_object(arena: &Arena, claims: &[&Claim], claim: &Claim) -> Result<(), Violation> {
    let (namespace, name, _) = OBJECTS[claim.object];
    let status = claim.share.status.clone().unwrap_or_default();
    let wrong = |number: u8, text: String| {
        let status = serde_json::to_string(&status).unwrap_or_default();
        Err(Violation::new(number, format!("{namespace}/{name}: {text}: {status}")))
    };
    let concerned: Vec<usize> = claim.record.keys().flat_map(|target| target.images()).chain([claim.image]).collect();
    let all_available = concerned.iter().all(|image| is_available(arena, *image));
    let blocks = |image: &usize| matches!(arena.state_of(*image), ImageState::Pending | ImageState::Failed);
    if claim.deleting() {
        if concerned.iter().any(blocks) {
            return Ok(());
        }
        return wrong(11, "its deletion does not end".into());
    }
    // Nobody looks at what is not acted on, so that nobody mends what somebody else has written there.
    let looked_after = claims.iter().any(|other| other.image == claim.image && other.is_looked_after());
    if !claim.by_operator && arena.claims.is_careless(&claim.uid) && !looked_after {
        return Ok(());
    }
    if status.observed_generation != claim.share.metadata.generation {
        return wrong(1, format!("generation {:?} is not dealt with", claim.share.metadata.generation));
    }
    if claim.requested().is_some() && status.last_handled_reconcile_at.as_deref() != claim.requested() {
        return wrong(1, format!("the request {:?} is not answered", claim.requested()));
    }
    if !claim.record.is_empty() && !claim.is_held() && !claim.observes() {
        return wrong(11, "what is on record is not held by a finalizer".into());
    }
    let Some((ready, reason)) = claim.ready() else { return wrong(12, "it has no Ready".into()) };
    let wanted = match () {
        () if claim.suspended() => Some(("Unknown", &["Suspended"][..])),
        // What it gave is on record until the image can be changed again.
        () if claim.is_over(arena.now()) && (claim.observes() || concerned.iter().any(blocks)) => None,
        () if claim.is_over(arena.now()) => Some(("False", &["Expired"][..])),
        () if !is_available(arena, claim.image) => Some(("False", HINDERED)),
        () if claim.observes() || !all_available => None,
        () => Some(expected(arena, claim)),
    };
    match wanted {
        Some((status, reasons)) if ready != status || !reasons.contains(&reason) => {
            wrong(1, format!("Ready should be {status} with one of {reasons:?}"))
        }
        _ => check_record(arena, claim).map_or(Ok(()), |text| wrong(11, text)),
    }
}

/// What `Ready` of a claim that acts on an image which is available comes to.
fn expected(arena: &Arena, claim: &Claim) -> (&'static str, &'static [&'static str]) {
    const REFUSED: &[&str] = &[
        "PrincipalRefused",
        "OwnerAccountListed",
        "GuardrailDenied",
        "EncryptedImageCannotBePublic",
        "PublicSharingBlocked",
        "GranteeNotFound",
        "GrantNotPossibleForOrganization",
        "KmsAccessMissing",
    ];
    if claim.is_over(arena.now()) {
        return ("False", &["Expired"]);
    }
    let target = Target::Image(claim.image);
    let mut refused = claim.lists.and(impossible(arena, target)).but(arena.held(target).but(Who::OWNER));
    if !arena.allow_public {
        refused = refused.or(claim.lists.and(Who::EVERYONE));
    }
    if ENCRYPTED.contains(&claim.image) {
        // The key's policy lets nobody in.
        refused = refused.or(claim.lists.and(Who::ORGANIZATIONS)).or(keys::shut_out(arena, claim));
    }
    if refused.is_nobody() { ("True", &["Synced"]) } else { ("False", REFUSED) }
}

/// What is wrong with the record of a claim that acts.
fn check_record(arena: &Arena, claim: &Claim) -> Option<String> {
    for (target, record) in &claim.record {
        let stray = record.but(arena.claims.ever_listed(&claim.uid, *target));
        if !stray.is_nobody() {
            return Some(format!("{stray:?} is on record for {target}, and was never listed"));
        }
    }
    if !(claim.acts() && claim.authoritative() && is_available(arena, claim.image)) {
        return None;
    }
    let target = Target::Image(claim.image);
    let owned = listed(arena, claim, target).and(arena.held(target));
    let missing = owned.but(claim.record.get(&target).copied().unwrap_or_default());
    (!missing.is_nobody()).then(|| format!("{missing:?} is not on record for {target}"))
}
