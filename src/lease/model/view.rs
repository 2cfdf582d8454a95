//! What keeps the state space finite: states that nobody can tell apart are made one.

use std::time::Duration;

use super::{Answer, CURRENT, DEAD, NOW, REPLACED, Record, Replica, Request, State, TICK};
use crate::lease::state::{Candidate, Moment, Step, Terms};

/// The version that a replica has seen and that is no longer current.
const SEEN: &str = "seen";
/// Any other old version.
const OLD: &str = "old";

/// Time passes on a replica's clock. What lies so far back that nothing asks how far does not age any more.
pub(super) fn age(replica: &mut Replica) {
    let Terms { lease, renew, .. } = replica.candidate.terms;
    let older =
        |moment: &mut Moment, most: Duration| *moment = moment.saturating_sub(TICK).max(NOW.saturating_sub(most));
    let candidate = &mut replica.candidate;
    candidate.seen.iter_mut().for_each(|seen| older(&mut seen.since, lease));
    candidate.tried.iter_mut().for_each(|tried| older(tried, lease));
    if let Some(term) = &mut candidate.term {
        older(&mut term.until, Duration::ZERO);
        older(&mut term.over, Duration::ZERO);
    }
    if let Some(Request::Write { sent, .. }) = &mut replica.request {
        older(sent, renew);
    }
    if let Some(Answer::Stored(_, sent)) = &mut replica.answer {
        older(sent, renew);
    }
}

/// The records that a replica knows or is about to know.
fn records(replica: &mut Replica) -> impl Iterator<Item = &mut Record> {
    let seen = replica.candidate.seen.as_mut().and_then(|seen| seen.record.as_mut());
    let answer = match &mut replica.answer {
        Some(Answer::Saw(record)) => record.as_mut(),
        Some(Answer::Stored(record, _)) => Some(record),
        _ => None,
    };
    seen.into_iter().chain(answer)
}

/// The versions that a replica wants to replace.
fn replaced(replica: &mut Replica) -> impl Iterator<Item = &mut String> {
    replica.request.iter_mut().chain(&mut replica.late).filter_map(|request| match request {
        Request::Write { over, .. } => over.as_mut(),
        Request::Release { over } => Some(over),
        Request::Read => None,
    })
}

fn rename(text: &mut String, from: &str, to: &str) {
    if text == from {
        to.clone_into(text);
    }
}

/// The API server has a new version.
pub(super) fn supersede(replica: &mut Replica) {
    records(replica).for_each(|record| rename(&mut record.version, CURRENT, REPLACED));
    replaced(replica).for_each(|version| rename(version, CURRENT, OLD));
}

/// A process is no more.
pub(super) fn bury(state: &mut State, name: &str) {
    let known = state.replicas.iter_mut().flat_map(records);
    known.chain(&mut state.server).for_each(|record| rename(&mut record.holder, name, DEAD));
}

/// Gives the same name, or the same time, to what nobody can tell apart. Old versions, for one, differ only in whether they are the one
/// that the replica has seen.
pub(super) fn tidy(state: &mut State) {
    for replica in &mut state.replicas {
        forget(replica);
        let seen = replica.candidate.seen.as_ref().and_then(|seen| seen.record.as_ref());
        let seen = seen.map(|record| record.version.clone());
        for record in records(replica).filter(|record| record.version != CURRENT) {
            let name = if Some(&record.version) == seen.as_ref() { SEEN } else { OLD };
            name.clone_into(&mut record.version);
        }
        // What is to replace an old version comes to nothing, whatever it is. What creates a lease is refused from the first one
        // on.
        let never = |request: &Request| match request {
            Request::Write { over: Some(over), .. } | Request::Release { over } => over != CURRENT,
            Request::Write { over: None, .. } => state.server.is_some(),
            Request::Read => true,
        };
        if replica.late.as_ref().is_some_and(never) {
            replica.late = None;
        }
        if let Some(Request::Write { sent, .. }) = &mut replica.late {
            // Nobody waits for its answer.
            *sent = NOW;
        }
    }
}

/// Takes from a replica what has no bearing on anything that it will do.
fn forget(replica: &mut Replica) {
    let candidate = &mut replica.candidate;
    let (me, terms) = (candidate.me.clone(), candidate.terms);
    if candidate.evaluate(NOW) == Step::Lost {
        // All that is left of it is what it has under way.
        let term = candidate.term.filter(|term| NOW < term.over);
        *candidate = Candidate { lost: true, term, ..Candidate::new(me, terms) };
        replica.answer = None;
        return;
    }
    candidate.tried = candidate.tried.filter(|tried| NOW < *tried + terms.retry);
    if let Some(seen) = &mut candidate.seen
        && (seen.binds.is_zero() || seen.record.as_ref().is_some_and(|record| record.holder == me))
    {
        seen.since = NOW;
    }
}
