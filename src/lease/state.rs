//! The rules of leader election, as a state machine of one replica.
//!
//! Pure: the time is an argument, and so is whatever the API server answers. Four rules keep two replicas from writing at once:
//!
//! 1. The lease is only ever replaced in the version that was read (compare and swap), so of two that want it one gets it.
//! 2. Whether the lease of another has run out is judged by how long *this* replica has seen it unchanged, on its own clock. The
//!    times in the lease are for people: clocks of two machines differ.
//! 3. The leader may write until [`Terms::renew`] after it *sent* the last renewal that was confirmed. Others count
//!    [`Terms::lease`], which is longer, from when they saw that renewal, which is later. A renewal without an answer counts for
//!    nothing.
//! 4. Who has led and may no longer write has lost, for good: the process ends, and its next start has another name.

use std::time::Duration;

/// The time on the replica's own clock, since an instant that it chooses. It never goes back, and goes on while the process is
/// paused.
pub type Moment = Duration;

/// How long things may take. All replicas should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long the lease of a leader that is not heard of any more keeps others from leading.
    pub lease: Duration,
    /// How long a leader may write after a renewal. Shorter than `lease`: what it has sent by then has the rest of the lease to
    /// arrive.
    pub renew: Duration,
    /// How long after a try the next one is made.
    pub retry: Duration,
}

/// What the API server says of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its resource version: differs whenever anything has changed.
    pub version: String,
    /// Whose it is; empty when it was released.
    pub holder: String,
    /// How long it is valid after a renewal.
    pub lasts: Duration,
}

/// Until when a leader may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term {
    /// No write begins at this moment or later.
    pub until: Moment,
    /// From this moment on another may lead: no write is under way any more.
    pub over: Moment,
}

/// What a replica is to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask for the lease, and tell [`Candidate::saw`].
    Read,
    /// Store the lease under the replica's own name, and tell [`Candidate::stored`] or [`Candidate::failed`].
    Write {
        /// The version that is replaced; none to create a lease.
        over: Option<String>,
        /// Whether the replica holds it already.
        renews: bool,
    },
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing ever again: it has led, and another may lead by now.
    Lost,
}

/// What was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    /// None: there is no lease.
    pub(super) record: Option<Record>,
    /// Since when it has been seen unchanged.
    pub(super) since: Moment,
    /// How long it keeps others from leading, from `since` on.
    pub(super) binds: Duration,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub(super) me: String,
    pub(super) terms: Terms,
    pub(super) seen: Option<Seen>,
    /// Whether the API server may have a newer version than the one that was seen.
    pub(super) stale: bool,
    /// When the last try was made.
    pub(super) tried: Option<Moment>,
    pub(super) term: Option<Term>,
    pub(super) lost: bool,
}

impl Candidate {
    /// A replica that knows nothing yet. `me` must be the name of no other replica, nor of an earlier start of this one.
    pub fn new(me: String, terms: Terms) -> Self {
        Self { me, terms, seen: None, stale: true, tried: None, term: None, lost: false }
    }

    /// What to do now.
    pub fn evaluate(&self, now: Moment) -> Step {
        if self.lost || self.term.is_some_and(|term| now >= term.until) {
            return Step::Lost;
        }
        let next_try = self.tried.map_or(now, |tried| tried + self.terms.retry);
        let Some(seen) = &self.seen else { return self.at(next_try, now, Step::Read) };
        if self.is_holder() {
            let step = if self.stale { Step::Read } else { write(seen, true) };
            return self.at(next_try, now, step);
        }
        let free = seen.since + seen.binds;
        if now < free || self.stale {
            // At the moment when it runs out it is known best whether it has.
            let at = if self.stale { next_try } else { next_try.min(free) };
            return self.at(at, now, Step::Read);
        }
        write(seen, false)
    }

    /// The step at its time.
    fn at(&self, at: Moment, now: Moment, step: Step) -> Step {
        if now >= at {
            return step;
        }
        Step::Wait(self.term.map_or(at, |term| at.min(term.until)))
    }

    fn is_holder(&self) -> bool {
        let record = self.seen.as_ref().and_then(|seen| seen.record.as_ref());
        record.is_some_and(|record| record.holder == self.me)
    }

    /// Something is about to be sent.
    pub fn tries(&mut self, now: Moment) {
        self.tried = Some(now);
    }

    /// The API server has answered how the lease is, or that there is none.
    pub fn saw(&mut self, record: Option<Record>, now: Moment) {
        self.stale = false;
        if self.term.is_some() && record.as_ref().is_some_and(|record| record.holder != self.me) {
            // Somebody has taken it by hand.
            self.lost = true;
        }
        match (&self.seen, &record) {
            (Some(seen), record) if seen.record == *record => {}
            // A lease that was deleted still binds: its holder may not know.
            (Some(seen), None) => self.seen = Some(Seen { record, since: now, binds: seen.binds }),
            (None, None) => self.seen = Some(Seen { record, since: now, binds: Duration::ZERO }),
            (_, Some(new)) => {
                let binds = if new.holder.is_empty() { Duration::ZERO } else { new.lasts };
                self.seen = Some(Seen { record, since: now, binds });
            }
        }
        if self.is_holder() {
            // It has only asked in order to renew.
            self.tried = None;
        }
    }

    /// The API server has stored the lease under this replica's name, as it was asked to at `sent`.
    pub fn stored(&mut self, record: Record, sent: Moment, now: Moment) {
        self.stale = false;
        self.seen = Some(Seen { binds: record.lasts, record: Some(record), since: now });
        let term = Term { until: sent + self.terms.renew, over: sent + self.terms.lease };
        match self.term {
            // It was too late for the last one: somebody else may have led in between, or may have been told so.
            Some(last) if now >= last.until => self.lost = true,
            // An answer that comes too late makes nobody a leader. The next try may.
            None if now >= term.until => {}
            _ => self.term = Some(term),
        }
    }

    /// The API server has not stored the lease, or it is not known whether it has.
    pub fn failed(&mut self) {
        self.stale = true;
    }

    /// Until when the replica may act, if it leads.
    pub fn term(&self) -> Option<Term> {
        self.term.filter(|_| !self.lost)
    }

    /// Gives the lease back: from now on this replica writes nothing. Returns the version to replace with a lease of nobody, if it
    /// is known.
    pub fn releases(&mut self) -> Option<String> {
        let led = self.term.take().is_some() && !std::mem::replace(&mut self.lost, true);
        let record = self.seen.as_ref().and_then(|seen| seen.record.as_ref());
        record.filter(|record| led && !self.stale && record.holder == self.me).map(|record| record.version.clone())
    }
}

fn write(seen: &Seen, renews: bool) -> Step {
    Step::Write { over: seen.record.as_ref().map(|record| record.version.clone()), renews }
}

#[cfg(test)]
mod tests;
