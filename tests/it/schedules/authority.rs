//! What must hold of every single call and request: nobody is given what no claim says, and nobody loses what is not ours.

use std::time::Duration;

use amishare::{
    api::AmiShareStatus,
    simulator::{Call, ImageState},
};

use super::{
    arena::{Arena, Giver},
    claims::Claim,
    keys,
    operator::{DEADLINE, LATENCY},
    places::{Target, Who},
    run::Violation,
};
use crate::memory::trace::Served;

/// How old the claims can be that a call was decided on: one reconcile.
fn one_reconcile() -> Duration {
    DEADLINE + LATENCY * 4 + Duration::from_millis(200)
}

/// A call that changes permissions, as it was sent.
struct Change {
    at: Duration,
    target: Target,
    add: Who,
    remove: Who,
}

impl Change {
    fn of(call: &Call, at: Duration) -> Option<Self> {
        let values = |start: &str| {
            let names = call.params.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value.as_str());
            Who::by_names(names)
        };
        let id = |name: &str| Target::by_id(&call.params[name]);
        match call.action.as_str() {
            "ModifyImageAttribute" => Some(Self {
                at,
                target: id("ImageId"),
                add: values("LaunchPermission.Add."),
                remove: values("LaunchPermission.Remove."),
            }),
            "ModifySnapshotAttribute" => {
                let who = values("UserId.").or(values("UserGroup."));
                let adds = call.params["OperationType"] == "add";
                let (add, remove) = if adds { (who, Who::NOBODY) } else { (Who::NOBODY, who) };
                Some(Self { at, target: id("SnapshotId"), add, remove })
            }
            _ => None,
        }
    }
}

/// Looks at the calls and requests that were made, and keeps account of who gave what.
pub fn check(arena: &mut Arena, served: &[Served], calls: &[Call]) -> Result<(), Violation> {
    for request in served.iter().filter(|served| served.asked.verb.writes()) {
        let metadata = &request.body["metadata"];
        if metadata["uid"].is_null() || metadata["resourceVersion"].is_null() {
            return Err(Violation::new(5, format!("a write does not say on which version it was decided: {request}")));
        }
    }
    for call in calls {
        let Some(change) = Change::of(call, arena.time_of(call)) else { continue };
        may_add(arena, &change)?;
        may_remove(arena, &change)?;
        for one in change.add.each() {
            arena.givers.entry((change.target, one)).or_insert(Giver::Operator);
        }
        if call.status == 200 || call.status == 0 {
            arena.givers.retain(|(target, one), _| *target != change.target || change.remove.and(*one).is_nobody());
        }
    }
    keys::check_launches(arena)
}

fn may_add(arena: &Arena, change: &Change) -> Result<(), Violation> {
    let Change { at, target, add, .. } = *change;
    let may_be_public = arena.allow_public && matches!(target, Target::Image(_));
    if !(add.and(Who::EVERYONE).is_nobody() || may_be_public) {
        return Err(Violation::new(4, format!("{target} is made public, which the operator does not allow")));
    }
    let from = at.saturating_sub(one_reconcile());
    let lists = |claim: &Claim| {
        let is_over = claim.is_over(claim.from.max(from));
        if claim.acts() && !is_over { claim.lists_on(target) } else { Who::NOBODY }
    };
    let listed = arena.claims.between(from, at).map(lists).fold(Who::NOBODY, Who::or);
    let stray = add.but(listed);
    if stray.is_nobody() {
        return Ok(());
    }
    let ever = arena.claims.all().iter().map(|claim| claim.lists_on(target)).fold(Who::NOBODY, Who::or);
    let (number, why) =
        if stray.but(ever).is_nobody() { (5, "no claim lists any more") } else { (4, "no claim lists") };
    Err(Violation::new(number, format!("{target} is given to {stray:?}, whom {why}")))
}

fn may_remove(arena: &Arena, change: &Change) -> Result<(), Violation> {
    let Change { at, target, remove, .. } = *change;
    let from = at.saturating_sub(one_reconcile());
    for one in remove.each() {
        if let Some(claim) = protector(arena, target, one, from, at) {
            let share = format!("{:?}", claim.share.metadata.name);
            return Err(Violation::new(6, format!("{target} is taken from {one:?}, whom {share} lists")));
        }
        let takes = |claim: &&Claim| {
            let authoritative = claim.acts()
                && claim.authoritative()
                && !claim.is_over(claim.from.max(from))
                && match target {
                    Target::Image(image) => claim.image == image,
                    Target::Snapshot(_) => claim.wants_volumes() && target.images().contains(&claim.image),
                };
            let on_record = claim.record.get(&target).is_some_and(|record| !record.and(one).is_nobody());
            // Without its record, be it wiped or never stored, an authoritative share answers for its whole list.
            let none_stored = |s: &AmiShareStatus| s.observed_generation.is_none() && s.granted.is_empty();
            let none_stored = claim.is_held() && claim.share.status.as_ref().is_none_or(none_stored);
            let may_be_lost = arena.claims.is_careless(&claim.uid) || (none_stored && claim.authoritative());
            let lost_record = may_be_lost && !claim.lists_on(target).and(one).is_nobody();
            authoritative || (claim.takes_back(target) && (on_record || lost_record))
        };
        if !arena.claims.between(from, at).any(|claim| takes(&claim)) {
            let text =
                format!("{target} is taken from {one:?}, to whom no claim gave it, and no claim is authoritative");
            return Err(Violation::new(4, text));
        }
    }
    Ok(())
}

/// How long ago it must have been said for every watch to have told of it. When something is taken from a snapshot, who has never
/// been told of any object that names another image of which it is a part cannot ask the API server for such objects.
const TOLD: Duration = Duration::from_mins(40);

/// A claim that lists somebody on a target for the whole time, so that nobody may take it from them.
fn protector(arena: &Arena, target: Target, one: Who, from: Duration, to: Duration) -> Option<&Claim> {
    if one == Who::EVERYONE && !arena.allow_public {
        return None;
    }
    let is_shared = target.images().len() > 1;
    let protects = |claim: &Claim| {
        let lists = !claim.lists_on(target).and(one).is_nobody() && !claim.deleting() && !claim.is_over(to);
        // An image that is no more has no parts.
        let has_parts = arena.state_of(claim.image) != ImageState::Deregistered;
        lists && (!is_shared || (has_parts && claim.from + TOLD <= to))
    };
    let window: Vec<&Claim> = arena.claims.between(from, to).collect();
    let for_all_the_time = |claim: &&&Claim| {
        let versions = || window.iter().filter(|other| other.uid == claim.uid);
        let is_there = versions().any(|version| version.until.is_none_or(|until| until > to));
        claim.from <= from && is_there && versions().all(|version| protects(version))
    };
    window.iter().find(for_all_the_time).copied()
}
