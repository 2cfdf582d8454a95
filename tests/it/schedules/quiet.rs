//! The end of a schedule: nothing stands in the way any more, and everything comes to rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amishare::simulator::{Call, ImageState};

use super::{
    arena::{Arena, SETTLE},
    claims::Claim,
    outcome,
    places::{ENCRYPTED_IN, IMAGES, KEY, OBJECTS, REGIONS, Target, Who, images_in},
    run::{Report, Violation, look},
};
use crate::memory::Verb;

/// How often what fails is tried again at most, once it has failed for long: the shortest that jitter makes of five minutes.
const TRIED_AGAIN: Duration = Duration::from_secs(150);

/// Waits until everything must be as it should be, checks that it is, and that nothing is written from then on.
pub async fn check(arena: &mut Arena, report: &mut Report) -> Result<(), Violation> {
    look(arena, report)?;
    // Whatever was refused is tried again, and whatever was changed is seen.
    let mut longest = Duration::ZERO;
    for region in 0..REGIONS.len() {
        longest = longest.max(outcome::interval(arena, region, arena.disturbed[region].drifted));
    }
    let rest = longest.mul_f64(1.1).max(Duration::from_mins(10));
    arena
        .pass(SETTLE.max(arena.disturbed.iter().map(|d| d.until).max().unwrap_or_default().saturating_sub(arena.now())))
        .await;
    while (0..REGIONS.len()).any(|region| !outcome::is_due(arena, region)) || ends_within(arena, rest + SETTLE * 2) {
        arena.pass(SETTLE).await;
        look(arena, report)?;
    }
    look(arena, report)?;
    outcome::check(arena)?;

    let versions = arena.claims.all().len();
    arena.pass(rest + SETTLE).await;
    arena.claims.read(&arena.memory);
    let (served, calls) = arena.take();
    report.calls += calls.len();
    // Whom AWS refuses is tried again every hour, and a record has to come before each try.
    let tries = |image: usize| {
        arena.claims.now().any(|c| c.image == image && c.acts() && !c.lists.and(Who::CLOSED).is_nobody())
    };
    if let Some(claim) = arena.claims.all()[versions..].iter().find(|claim| !tries(claim.image)) {
        let name = &claim.share.metadata.name;
        return Err(Violation::new(1, format!("something is written at rest: {name:?} {:?}", claim.share.status)));
    }
    let may_be_written = |path: &str| {
        let about = |claim: &&Claim| {
            let (namespace, name, _) = OBJECTS[claim.object];
            // The object, or its status.
            format!("{path}/").contains(&format!("/{namespace}/amishares/{name}/"))
        };
        arena.claims.now().find(about).is_some_and(|claim| tries(claim.image))
    };
    let mut writes = served.iter().filter(|s| s.asked.verb.writes() || s.asked.verb == Verb::CreateEvent);
    if let Some(request) = writes.find(|request| !may_be_written(&request.asked.path)) {
        return Err(Violation::new(1, format!("the API server is written to at rest: {request}")));
    }
    let changes = |action: &str| action.starts_with("Modify") || matches!(action, "CreateGrant" | "RevokeGrant");
    if let Some(call) = calls.iter().find(|call| changes(&call.action) && call.status == 200) {
        return Err(Violation::new(1, format!("AWS is written to at rest: {:?}", call.params)));
    }
    counts(arena, rest + SETTLE, &calls)?;
    outcome::check(arena)
}

/// Whether a share ends within this time.
fn ends_within(arena: &Arena, time: Duration) -> bool {
    let now = arena.now();
    arena
        .claims
        .now()
        .filter(|claim| !claim.suspended())
        .filter_map(|claim| claim.ends)
        .any(|e| e > now && e <= now + time)
}

/// Checks how many calls the checks of each image took.
fn counts(arena: &Arena, time: Duration, calls: &[Call]) -> Result<(), Violation> {
    let mut checks: BTreeMap<usize, u32> = BTreeMap::new();
    let times = |every: Duration| u32::try_from(time.as_millis() / every.as_millis() + 2).unwrap_or(u32::MAX);
    for claim in arena.claims.now().filter(|claim| claim.is_looked_after()) {
        let checked = checks.entry(claim.image).or_default();
        *checked = (*checked).max(times(claim.share.spec.interval.as_duration().mul_f64(0.9)));
    }
    // Whom AWS refuses is tried again every hour besides.
    let refused = |claim: &&Claim| !claim.lists.and(Who::CLOSED.or(Who::OWNER).or(Who::EVERYONE)).is_nobody();
    let images: BTreeSet<usize> = arena.claims.now().filter(refused).map(|claim| claim.image).collect();
    for image in images {
        *checks.entry(image).or_default() += times(Duration::from_hours(1));
    }
    // What cannot be taken back for now is tried again and again.
    for image in arena.claims.now().flat_map(|claim| claim.record.keys()).flat_map(|target| target.images()) {
        if arena.state_of(image) != ImageState::Available {
            *checks.entry(image).or_default() += times(TRIED_AGAIN);
        }
    }
    let limit = |images: &mut dyn Iterator<Item = usize>| {
        images.map(|i| checks.get(&i).copied().unwrap_or_default()).sum::<u32>()
    };
    for (region, name) in REGIONS.iter().enumerate() {
        let made = |action: &str, parameter: &str, id: &str| {
            let is_it = |call: &&Call| {
                call.action == action
                    && call.region == *name
                    && call.params.get(parameter).is_none_or(|value| value == id)
            };
            u32::try_from(calls.iter().filter(is_it).count()).unwrap_or(u32::MAX)
        };
        let mut counted =
            vec![("DescribeImages", String::new(), made("DescribeImages", "none", ""), limit(&mut images_in(region)))];
        for image in images_in(region) {
            let id = Target::Image(image).to_string();
            let number = made("DescribeImageAttribute", "ImageId", &id);
            counted.push(("DescribeImageAttribute", id, number, limit(&mut std::iter::once(image))));
            for snapshot in IMAGES[image].1 {
                let target = Target::Snapshot(*snapshot);
                let number = made("DescribeSnapshotAttribute", "SnapshotId", &target.to_string());
                let most = limit(&mut target.images().into_iter());
                counted.push(("DescribeSnapshotAttribute", target.to_string(), number, most));
            }
        }
        if region == ENCRYPTED_IN {
            // Once for all images that are encrypted with it.
            let number = made("ListGrants", "KeyId", KEY);
            counted.push(("ListGrants", KEY.to_owned(), number, limit(&mut images_in(region))));
        }
        for (action, id, number, most) in counted {
            if number > most {
                let when: Vec<String> = calls
                    .iter()
                    .filter(|call| call.action == action)
                    .map(|call| format!("{} {:?}", call.time, call.params))
                    .collect();
                let text =
                    format!("{action} {id} is called {number} times at rest, where {most} are enough: {when:#?}");
                return Err(Violation::new(10, text));
            }
        }
    }
    Ok(())
}
