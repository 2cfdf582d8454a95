//! The rules, checked against every order of events.
//!
//! Replicas and an API server in whose stead the model does what can happen at any moment: time passes, and some clocks miss a
//! tick of it; a request is sent, arrives, is answered, gets lost or arrives long after its sender has given it up; a replica
//! dies and starts anew, or gives the lease back. A replica that is paused is one that nothing happens to while time passes.
//!
//! The state space is finite although time is not: every moment is kept relative to the replica's own now, and an old version or the
//! name of a dead process is as good as any other. So what holds, holds for ever, and not only for a few seconds.

use std::time::Duration;

use stateright::{Checker, Model, Property};

use super::state::{Candidate, Moment, Record, Step, Terms};

mod view;

/// Every replica's now: its moments age instead.
const NOW: Moment = Duration::from_secs(100);
const TICK: Duration = Duration::from_secs(1);
/// A clock misses at most one of so many ticks.
const BETWEEN_SLIPS: u8 = 3;

/// The version that the API server has now.
const CURRENT: &str = "current";
/// The one before it, until [`view`] has given it the name by which replicas know it.
const REPLACED: &str = "replaced";
/// Whoever is no more.
const DEAD: &str = "dead";

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// None is.
    Nothing,
    /// The API server stores whatever is sent, on whichever version it was decided.
    Swap,
    /// A term counts from the answer to a renewal, not from its sending.
    Sent,
    /// A leader may act for longer than the others wait.
    Margin,
    /// A renewal without an answer counts like one that was confirmed.
    Answer,
    /// Standbys judge by the times in the lease, and their clocks are ahead.
    OwnClock,
}

#[derive(Debug)]
struct Replicas {
    count: usize,
    broken: Broken,
    /// Whether clocks miss ticks.
    slips: bool,
    /// Whether every message takes time. Otherwise only the answer to a renewal does.
    slow: bool,
    /// Whether requests that were given up can arrive later.
    late: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Request {
    Read,
    Write { over: Option<String>, holder: String, sent: Moment },
    Release { over: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Answer {
    Saw(Option<Record>),
    Stored(Record, Moment),
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Replica {
    candidate: Candidate,
    request: Option<Request>,
    answer: Option<Answer>,
    /// What was given up and may still arrive.
    late: Option<Request>,
    /// How many ticks ago its clock missed one.
    slipped: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    server: Option<Record>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Tick { misses: Option<usize> },
    Sends(usize),
    Arrives(usize),
    IsAnswered(usize),
    GivesUp(usize),
    ArrivesLate(usize),
    Restarts(usize),
    Releases(usize),
}

fn name(replica: usize) -> String {
    format!("replica {replica}")
}

impl Replicas {
    fn terms(&self) -> Terms {
        let renew = if self.broken == Broken::Margin { 5 } else { 2 };
        // Without pauses between tries a replica can do all that it can do with them, and more.
        Terms { lease: 3 * TICK, renew: renew * TICK, retry: Duration::ZERO }
    }

    fn newborn(&self, number: usize) -> Replica {
        let candidate = Candidate::new(name(number), self.terms());
        Replica { candidate, request: None, answer: None, late: None, slipped: BETWEEN_SLIPS }
    }

    /// The API server does what it is asked to.
    fn serve(&self, server: &mut Option<Record>, request: Request) -> (Answer, bool) {
        let (over, holder, sent) = match request {
            Request::Read => return (Answer::Saw(server.clone()), false),
            Request::Write { over, holder, sent } => (over, holder, sent),
            Request::Release { over } => (Some(over), String::new(), NOW),
        };
        let fits = server.as_ref().map(|record| &record.version) == over.as_ref();
        if !fits && self.broken != Broken::Swap {
            return (Answer::Failed, false);
        }
        let record = Record { version: CURRENT.into(), holder, lasts: self.terms().lease };
        *server = Some(record.clone());
        (Answer::Stored(record, sent), true)
    }

    fn arrives(&self, state: &mut State, request: Request) -> Answer {
        let (answer, is_new) = self.serve(&mut state.server, request);
        if is_new {
            state.replicas.iter_mut().for_each(view::supersede);
        }
        answer
    }

    fn reaches(&self, state: &mut State, number: usize) {
        if let Some(request) = state.replicas[number].request.take() {
            let answer = self.arrives(state, request);
            let replica = &mut state.replicas[number];
            if self.slow || matches!(answer, Answer::Stored(..)) {
                replica.answer = Some(answer);
            } else {
                self.is_answered(replica, answer);
            }
        }
    }

    fn sends(replica: &mut Replica) -> bool {
        let me = replica.candidate.me.clone();
        replica.request = Some(match replica.candidate.evaluate(NOW) {
            Step::Read => Request::Read,
            Step::Write { over, .. } => Request::Write { over, holder: me, sent: NOW },
            Step::Wait(_) | Step::Lost => return false,
        });
        replica.candidate.tries(NOW);
        true
    }

    fn is_answered(&self, replica: &mut Replica, answer: Answer) {
        let candidate = &mut replica.candidate;
        match answer {
            Answer::Failed => candidate.failed(),
            Answer::Stored(record, sent) => {
                let sent = if self.broken == Broken::Sent { NOW } else { sent };
                candidate.stored(record, sent, NOW);
            }
            Answer::Saw(record) => {
                candidate.saw(record, NOW);
                if self.broken == Broken::OwnClock
                    && let Some(seen) = &mut candidate.seen
                {
                    seen.since = NOW.saturating_sub(self.terms().lease);
                }
            }
        }
    }

    fn gives_up(&self, replica: &mut Replica) {
        let request = replica.request.take();
        if self.broken == Broken::Answer
            && let Some(Request::Write { holder, sent, .. }) = &request
        {
            let record = Record { version: REPLACED.into(), holder: holder.clone(), lasts: self.terms().lease };
            replica.candidate.stored(record, *sent, NOW);
        }
        if self.late && !matches!(request, None | Some(Request::Read)) {
            replica.late = request;
        }
        replica.answer = None;
        replica.candidate.failed();
    }
}

impl Model for Replicas {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { server: None, replicas: (0..self.count).map(|number| self.newborn(number)).collect() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick { misses: None });
        for (number, replica) in state.replicas.iter().enumerate() {
            if self.slips && replica.slipped >= BETWEEN_SLIPS {
                actions.push(Action::Tick { misses: Some(number) });
            }
            match (&replica.request, &replica.answer) {
                (None, None) => actions.push(Action::Sends(number)),
                (Some(_), _) => actions.extend([Action::Arrives(number), Action::GivesUp(number)]),
                (None, Some(_)) => actions.extend([Action::IsAnswered(number), Action::GivesUp(number)]),
            }
            if replica.late.is_some() {
                actions.push(Action::ArrivesLate(number));
            }
            actions.push(Action::Restarts(number));
            let idle = replica.request.is_none() && replica.answer.is_none();
            if idle && replica.candidate.term().is_some() {
                actions.push(Action::Releases(number));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick { misses } => {
                for (number, replica) in state.replicas.iter_mut().enumerate() {
                    replica.slipped = (replica.slipped + 1).min(BETWEEN_SLIPS);
                    if misses == Some(number) {
                        replica.slipped = 0;
                    } else {
                        view::age(replica);
                    }
                }
            }
            Action::Sends(number) => {
                if !Self::sends(&mut state.replicas[number]) {
                    return None;
                }
                if !self.slow {
                    self.reaches(&mut state, number);
                }
            }
            Action::Arrives(number) => self.reaches(&mut state, number),
            Action::IsAnswered(number) => {
                let answer = state.replicas[number].answer.take()?;
                self.is_answered(&mut state.replicas[number], answer);
            }
            Action::GivesUp(number) => self.gives_up(&mut state.replicas[number]),
            Action::ArrivesLate(number) => {
                let request = state.replicas[number].late.take()?;
                self.arrives(&mut state, request);
            }
            Action::Restarts(number) => {
                let request = state.replicas[number].request.take();
                self.restart(&mut state, number, request);
            }
            Action::Releases(number) => {
                let version = state.replicas[number].candidate.releases();
                self.restart(&mut state, number, version.map(|over| Request::Release { over }));
            }
        }
        view::tidy(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two writers", |_, state: &State| {
                state.replicas.iter().filter(|replica| may_write(replica)).count() <= 1
            }),
            Property::always("no write is under way when another begins", |model, state: &State| {
                // Clocks that miss ticks use up the margin.
                model.slips || !any_two(&state.replicas, |one, other| may_write(one) && has_under_way(other))
            }),
            Property::sometimes("a replica leads that another has seen leading", |_, state: &State| {
                any_two(&state.replicas, |one, other| {
                    let seen = one.candidate.seen.as_ref().and_then(|seen| seen.record.as_ref());
                    may_write(other) && seen.is_some_and(|record| record.holder == other.candidate.me)
                })
            }),
            Property::sometimes("a replica leads while one that has lost does not know of it", |_, state: &State| {
                any_two(&state.replicas, |one, other| may_write(one) && other.candidate.lost)
            }),
        ]
    }
}

impl Replicas {
    /// A process ends, with a request on its way, and another start of it begins.
    fn restart(&self, state: &mut State, number: usize, request: Option<Request>) {
        let late = request.or_else(|| state.replicas[number].late.take());
        view::bury(state, &name(number));
        let late = late.filter(|request| self.late && *request != Request::Read).map(|request| match request {
            Request::Write { over, sent, .. } => Request::Write { over, holder: DEAD.into(), sent },
            request => request,
        });
        state.replicas[number] = Replica { late, ..self.newborn(number) };
    }
}

fn may_write(replica: &Replica) -> bool {
    replica.candidate.term().is_some_and(|term| NOW < term.until)
}

fn has_under_way(replica: &Replica) -> bool {
    replica.candidate.term.is_some_and(|term| NOW < term.over)
}

fn any_two(replicas: &[Replica], is: impl Fn(&Replica, &Replica) -> bool) -> bool {
    let pairs = |one: usize| (0..replicas.len()).filter(move |other| *other != one).map(move |other| (one, other));
    (0..replicas.len()).flat_map(pairs).any(|(one, other)| is(&replicas[one], &replicas[other]))
}

/// Looks at every state, and says how many there are.
fn check(model: Replicas) -> impl Checker<Replicas> {
    let about = format!("{model:?}");
    let checker = model.checker().threads(2).spawn_bfs().join();
    eprintln!("{about}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker
}

#[test]
fn two_replicas_never_both_write_even_if_requests_arrive_late() {
    check(Replicas { count: 2, broken: Broken::Nothing, slips: false, slow: true, late: true }).assert_properties();
}

#[test]
fn two_replicas_never_both_write_even_if_their_clocks_differ() {
    check(Replicas { count: 2, broken: Broken::Nothing, slips: true, slow: true, late: false }).assert_properties();
}

#[test]
fn three_replicas_never_both_write() {
    check(Replicas { count: 3, broken: Broken::Nothing, slips: false, slow: false, late: false }).assert_properties();
}

#[test]
fn without_any_one_of_the_rules_two_would_write_at_once() {
    for broken in [Broken::Swap, Broken::Sent, Broken::Margin, Broken::Answer, Broken::OwnClock] {
        let checker = check(Replicas { count: 2, broken, slips: false, slow: true, late: false });
        let found = checker.discovery("never two writers").unwrap_or_else(|| panic!("{broken:?} is not found"));
        assert!(found.into_actions().len() > 3, "{broken:?}");
    }
}
