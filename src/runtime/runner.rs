//! The work queue: one place where every controller gets its deadline, panic fence, backoff and metrics.
//!
//! Work is keyed. A key that is asked for several times before its turn is worked on once, at the earliest of those times; work
//! on one key is never concurrent with itself; a panic or a hang ends that one piece of work and nothing else; and however much
//! work there is for one lane, the others do not wait for it.

use std::{
    any::Any, fmt::Display, future::Future, hash::Hash, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    agenda::{Agenda, Begun, Place},
    backoff::{Backoff, Pace},
    entropy::Entropy,
    metrics::{Metrics, Outcome},
};
use crate::{
    lease::WritePermit,
    planted::{self, Flaw},
};

/// What is to happen after a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing before somebody asks.
    Rest,
    /// The same again after this time: everything is as it should be.
    After(Duration),
    /// The same again after this time: something is under way.
    Soon(Duration),
    /// The same again after this time, although nothing will get better by itself.
    Stalled(Duration),
}

/// Why a piece of work failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// One word for metrics.
    pub reason: &'static str,
    /// In words, for the log.
    pub message: String,
    /// How soon to try again.
    pub pace: Pace,
}

/// Where work is asked for.
#[derive(Debug)]
pub struct Queue<K> {
    requests: UnboundedSender<(K, Instant)>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone() }
    }
}

/// The other end of a [`Queue`].
#[derive(Debug)]
pub struct Requests<K>(UnboundedReceiver<(K, Instant)>);

impl<K> Queue<K> {
    /// A queue, and its other end for [`Runner::run`].
    pub fn new() -> (Self, Requests<K>) {
        let (requests, receiver) = unbounded_channel();
        (Self { requests }, Requests(receiver))
    }

    /// Asks for work on `key` after some time.
    pub fn ask(&self, key: K, after: Duration) {
        // Fails only once the runner has stopped, and then there is no more work.
        let _ = self.requests.send((key, Instant::now() + after));
    }
}

/// The limits of a runner.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many pieces of work of one lane are under way at once.
    pub concurrency: usize,
    /// How long one may take.
    pub deadline: Duration,
    /// How long those under way get to finish when the process stops.
    pub grace: Duration,
}

/// What a runner does with the keys that it is asked for.
pub trait Job: Send + Sync + 'static {
    /// What work is asked for.
    type Key: Hash + Eq + Clone + Display + Send + 'static;
    /// Lanes hold no other lane back.
    type Lane: Ord + Clone;

    /// Where a key belongs at this moment.
    fn place(&self, key: &Self::Key) -> Place<Self::Lane>;

    /// Does the work that was asked for, the last time at `asked`.
    fn work(
        self: Arc<Self>,
        key: Self::Key,
        asked: Instant,
    ) -> impl Future<Output = Result<Next, Failed>> + Send + 'static;
}

/// Runs pieces of work.
#[derive(Debug)]
pub struct Runner {
    /// The controller's name, for metrics and logs.
    pub name: &'static str,
    /// Its limits.
    pub limits: Limits,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// What spreads retries.
    pub entropy: Entropy,
    /// What work waits for: a standby collects what is asked for, and begins with it once it leads.
    pub permit: WritePermit,
}

impl Runner {
    /// Works on whatever is asked for, until `stop`; then lets what is under way finish.
    pub async fn run<J: Job>(
        self,
        queue: Queue<J::Key>,
        requests: Requests<J::Key>,
        stop: CancellationToken,
        job: Arc<J>,
    ) {
        let Self { name, limits, metrics, entropy, permit } = self;
        metrics.concurrency(name, limits.concurrency);
        let Requests(mut requests) = requests;
        let mut agenda = Agenda::new(limits.concurrency);
        let mut running = JoinSet::new();
        let mut backoff = Backoff::default();
        let mut granted = pin!(permit.granted().fuse());
        let mut leads = !permit.is_leased();
        loop {
            agenda.come_due(Instant::now(), |key| job.place(key));
            while leads && let Some(Begun { key, asked }) = agenda.begin() {
                running.spawn(fenced(key.clone(), Arc::clone(&job).work(key, asked), limits.deadline));
            }
            metrics.workers(name, agenda.count_under_way(), agenda.count_ready());
            let next_due = agenda.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = &mut granted, if !leads => leads = true,
                Some(finished) = running.join_next(), if !running.is_empty() => {
                    let Ok((key, result, took)) = finished else { continue };
                    agenda.ended(&key, |key| job.place(key));
                    if let Some(after) = settle(name, &metrics, &mut backoff, &entropy, &key, result, took) {
                        agenda.ask(key, Instant::now() + after);
                    }
                }
                request = requests.recv() => {
                    // The queue is held below.
                    let Some((key, at)) = request else { break };
                    agenda.ask(key, at);
                    // Whatever was asked for in the same moment is weighed together.
                    while let Ok((key, at)) = requests.try_recv() {
                        agenda.ask(key, at);
                    }
                }
                () = sleep_until(next_due) => {}
            }
        }
        drop(queue);
        let drained = tokio::time::timeout(limits.grace, async { while running.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(
                controller = name,
                left = running.len(),
                "stopping with work under way; the next start completes it"
            );
        }
    }
}

/// Sleeps until an instant, or for ever.
async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// One piece of work behind its fence.
async fn fenced<K>(
    key: K,
    work: impl Future<Output = Result<Next, Failed>>,
    deadline: Duration,
) -> (K, Result<Next, Failed>, Duration) {
    let started = Instant::now();
    let result = match tokio::time::timeout(deadline, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failed { reason: PANIC, message: panic_text(panic.as_ref()), pace: Pace::Slow }),
        Err(_) => {
            let message = format!("not done after {} s", deadline.as_secs());
            Err(Failed { reason: "Deadline", message, pace: Pace::Slow })
        }
    };
    (key, result, started.elapsed())
}

const PANIC: &str = "Panic";

/// Who waits longer than this because others were faster has somebody to quarrel with, which a person should know.
const OVERTAKEN: Duration = Duration::from_secs(5);

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(|t| (*t).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a bug in the operator: {}", text.as_deref().unwrap_or("it panicked"))
}

/// Counts a finished piece of work, and says when the key is to be worked on again.
fn settle<K: Hash + Eq + Clone + Display>(
    name: &'static str,
    metrics: &Metrics,
    backoff: &mut Backoff<K>,
    entropy: &Entropy,
    key: &K,
    result: Result<Next, Failed>,
    took: Duration,
) -> Option<Duration> {
    let (outcome, again) = match result {
        Ok(next) => {
            backoff.succeeded(key);
            match next {
                Next::Rest => (Outcome::Success, None),
                Next::After(after) => (Outcome::Success, Some(after)),
                Next::Soon(after) => (Outcome::Requeue, Some(after)),
                Next::Stalled(after) => (Outcome::Terminal, Some(after)),
            }
        }
        Err(Failed { reason, message, pace: pace @ Pace::Fast }) => {
            let after = backoff.failed(key.clone(), pace, Instant::now(), entropy.unit());
            if after > OVERTAKEN {
                tracing::warn!(controller = name, %key, reason, message, ?after, "overtaken again and again");
            } else {
                tracing::debug!(controller = name, %key, reason, message, ?after, "tried again");
            }
            (Outcome::Requeue, Some(after))
        }
        Err(Failed { reason, message, pace: pace @ Pace::Slow }) => {
            assert!(!planted::has(Flaw::FallsWithOneImage), "planted");
            let after = backoff.failed(key.clone(), pace, Instant::now(), entropy.unit());
            metrics.reconcile_failed(name, reason, reason == PANIC);
            if reason == PANIC {
                tracing::error!(controller = name, %key, message, ?after, "panicked");
            } else {
                tracing::warn!(controller = name, %key, reason, message, ?after, "failed; tried again later");
            }
            (Outcome::Error, (!planted::has(Flaw::GivesUp)).then_some(after))
        }
    };
    metrics.reconciled(name, outcome, took);
    metrics.in_backoff(name, backoff.len());
    again
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{lease::permit::Tenure, runtime::agenda::Urgency};

    fn runner(concurrency: usize) -> Runner {
        let limits = Limits { concurrency, deadline: Duration::from_secs(5), grace: Duration::from_secs(1) };
        Runner {
            name: "test",
            limits,
            metrics: Arc::new(Metrics::new()),
            entropy: Entropy::of_the_system(),
            permit: WritePermit::always(),
        }
    }

    /// A job whose work is a function, with all keys in one lane.
    struct Doing<F>(F);

    impl<F, Fut> Job for Doing<F>
    where
        F: Fn(&'static str) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, Failed>> + Send + 'static,
    {
        type Key = &'static str;
        type Lane = ();

        fn place(&self, _: &Self::Key) -> Place<()> {
            Place { lane: (), urgency: Urgency::Take }
        }

        fn work(
            self: Arc<Self>,
            key: Self::Key,
            _: Instant,
        ) -> impl Future<Output = Result<Next, Failed>> + Send + 'static {
            (self.0)(key)
        }
    }

    #[tokio::test]
    async fn a_panic_and_a_hang_hold_back_nobody_else() {
        let (queue, requests) = Queue::new();
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        for key in ["panics", "hangs", "works"] {
            queue.ask(key, Duration::ZERO);
        }
        let finished = Arc::clone(&done);
        let token = stop.clone();
        let work = move |key: &'static str| {
            let (done, stop) = (Arc::clone(&done), stop.clone());
            async move {
                match key {
                    "panics" => panic!("on purpose"),
                    "hangs" => std::future::pending().await,
                    _ => {
                        done.fetch_add(1, Ordering::Relaxed);
                        stop.cancel();
                        Ok(Next::Rest)
                    }
                }
            }
        };
        runner(3).run(queue, requests, token, Arc::new(Doing(work))).await;
        assert_eq!(finished.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_standby_collects_work_and_begins_with_it_when_it_leads() {
        let (queue, requests) = Queue::new();
        let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (grants, permit) = WritePermit::leased();
        for _ in 0..1000 {
            queue.ask("key", Duration::ZERO);
        }
        let (counted, token) = (Arc::clone(&runs), stop.clone());
        let work = move |_| {
            let (runs, stop) = (Arc::clone(&runs), stop.clone());
            async move {
                runs.fetch_add(1, Ordering::Relaxed);
                stop.cancel();
                Ok(Next::Rest)
            }
        };
        let running = tokio::spawn(Runner { permit, ..runner(3) }.run(queue, requests, token, Arc::new(Doing(work))));
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(counted.load(Ordering::Relaxed), 0);
        let until = Instant::now() + Duration::from_secs(10);
        grants.set(Some(Tenure { until, over: until }));
        running.await.unwrap();
        assert_eq!(counted.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn work_on_one_key_is_never_concurrent_with_itself_and_is_not_lost() {
        let (queue, requests) = Queue::new();
        let (stop, runs, at_once) =
            (CancellationToken::new(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        queue.ask("key", Duration::ZERO);
        let (again, counted, token) = (queue.clone(), Arc::clone(&runs), stop.clone());
        let work = move |key: &'static str| {
            let (again, runs, at_once, stop) = (again.clone(), Arc::clone(&runs), Arc::clone(&at_once), stop.clone());
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                    (0..5).for_each(|_| again.ask(key, Duration::ZERO));
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                } else {
                    stop.cancel();
                }
                at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(Next::Rest)
            }
        };
        runner(8).run(queue, requests, token, Arc::new(Doing(work))).await;
        assert_eq!(counted.load(Ordering::SeqCst), 2, "five requests during the first run are one second run");
    }
}
