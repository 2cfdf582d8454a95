//! What every write asks before it is made: whether this process leads at this very moment.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// A write was not made, because this process does not lead, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was not made, because this process does not hold the lease")]
pub struct NotLeading;

/// The right to write. Clones share it.
#[derive(Debug, Clone)]
pub struct WritePermit(Option<Leased>);

#[derive(Debug, Clone)]
struct Leased {
    term: watch::Receiver<Option<Tenure>>,
    writes: Arc<Mutex<Writes>>,
}

/// The writes that may still take effect.
#[derive(Debug, Default)]
struct Writes {
    under_way: usize,
    /// When one was last given up without knowing what came of it.
    abandoned: Option<Instant>,
}

/// Until when a leader may act: [`Term`](super::state::Term) on tokio's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// No write begins at this instant or later.
    pub until: Instant,
    /// At this instant whatever is under way is cut off.
    pub over: Instant,
}

/// The other end of a [`WritePermit`]: whoever holds the lease says so here.
#[derive(Debug)]
pub struct Grants {
    term: watch::Sender<Option<Tenure>>,
    writes: Arc<Mutex<Writes>>,
}

impl WritePermit {
    /// A permit that always holds: of a process that runs without leader election.
    pub fn always() -> Self {
        Self(None)
    }

    /// A permit that holds as long as it is said to.
    pub fn leased() -> (Grants, Self) {
        let (sender, term) = watch::channel(None);
        let writes = Arc::default();
        (Grants { term: sender, writes: Arc::clone(&writes) }, Self(Some(Leased { term, writes })))
    }

    /// Whether it can end at all.
    pub fn is_leased(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a write may begin at this moment.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self) -> Result<(), NotLeading> {
        let Some(leased) = &self.0 else { return Ok(()) };
        let holds = leased.term.borrow().is_some_and(|tenure| Instant::now() < tenure.until);
        if holds { Ok(()) } else { Err(NotLeading) }
    }

    /// Does a write under this permit: does not begin it unless the permit holds, and goes on with it only as long as nobody else
    /// can hold the lease. The lease is looked at before every step of the write, so that a process that was paused
    /// takes none before it has looked.
    ///
    /// # Errors
    /// When it was not begun, or was cut off. In the latter case it may have taken effect.
    pub async fn within<F: Future>(&self, write: F) -> Result<F::Output, NotLeading> {
        self.check()?;
        let Some(leased) = &self.0 else { return Ok(write.await) };
        let mut unfinished = Unfinished::begin(&leased.writes);
        let mut write = pin!(write);
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let result = poll_fn(|cx| {
            loop {
                let over = leased.over();
                if over.is_none_or(|over| Instant::now() >= over) {
                    return Poll::Ready(Err(NotLeading));
                }
                if let Poll::Ready(output) = write.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                if let Some(over) = over.filter(|over| *over != timer.deadline()) {
                    timer.as_mut().reset(over);
                }
                // The lease may have been renewed when the timer is done.
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        unfinished.is_done = result.is_ok();
        result
    }

    /// Waits until it holds for the first time.
    pub async fn granted(&self) {
        let Some(leased) = &self.0 else { return };
        if leased.term.clone().wait_for(Option::is_some).await.is_err() {
            // Whoever could have said so is no more.
            std::future::pending::<()>().await;
        }
    }
}

impl Leased {
    fn over(&self) -> Option<Instant> {
        self.term.borrow().map(|tenure| tenure.over)
    }
}

impl Grants {
    /// The permit holds so long, or not at all any more.
    pub fn set(&self, tenure: Option<Tenure>) {
        self.term.send_replace(tenure);
    }

    /// Whether a write is under way, or was given up within this time, so that it may still take effect.
    pub fn may_take_effect(&self, within: Duration) -> bool {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.under_way > 0 || writes.abandoned.is_some_and(|at| at.elapsed() < within)
    }
}

/// A write that is under way. Dropped before it is done, it was given up.
struct Unfinished<'a> {
    writes: &'a Mutex<Writes>,
    is_done: bool,
}

impl<'a> Unfinished<'a> {
    fn begin(writes: &'a Mutex<Writes>) -> Self {
        writes.lock().unwrap_or_else(PoisonError::into_inner).under_way += 1;
        Self { writes, is_done: false }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.under_way -= 1;
        if !self.is_done {
            writes.abandoned = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MINUTE: Duration = Duration::from_mins(1);

    fn tenure(until: u64, over: u64) -> Tenure {
        let now = Instant::now();
        Tenure { until: now + Duration::from_secs(until), over: now + Duration::from_secs(over) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_does_not_begin_before_the_lease_is_held_nor_after_the_permit_has_ended() {
        let (grants, permit) = WritePermit::leased();
        let mut writes = 0;
        assert_eq!(permit.within(async { writes += 1 }).await, Err(NotLeading));
        grants.set(Some(tenure(10, 15)));
        assert_eq!(permit.within(async { writes += 1 }).await, Ok(()));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((permit.check(), permit.within(async { writes += 1 }).await), (Err(NotLeading), Err(NotLeading)));
        assert_eq!(writes, 1);
        assert!(!grants.may_take_effect(A_MINUTE), "what was never begun has not been given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_under_way_is_cut_off_when_another_may_lead() {
        let (grants, permit) = WritePermit::leased();
        grants.set(Some(tenure(10, 15)));
        let started = Instant::now();
        assert_eq!(permit.within(std::future::pending::<()>()).await, Err(NotLeading));
        assert_eq!(started.elapsed(), Duration::from_secs(15));
        assert!(grants.may_take_effect(A_MINUTE));
        tokio::time::advance(A_MINUTE).await;
        assert!(!grants.may_take_effect(A_MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_lets_what_is_under_way_go_on() {
        let (grants, permit) = WritePermit::leased();
        grants.set(Some(tenure(10, 15)));
        let renews = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            grants.set(Some(tenure(10, 15)));
        };
        let (written, ()) = tokio::join!(permit.within(tokio::time::sleep(Duration::from_secs(20))), renews);
        assert_eq!((written, grants.may_take_effect(A_MINUTE)), (Ok(()), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_its_task_still_holds_may_take_effect() {
        let (grants, permit) = WritePermit::leased();
        grants.set(Some(tenure(10, 15)));
        let mut write = Box::pin(permit.within(std::future::pending::<()>()));
        assert!(!grants.may_take_effect(A_MINUTE), "it has not begun");
        assert!(futures::poll!(&mut write).is_pending());
        assert!(grants.may_take_effect(Duration::ZERO));
        drop(write);
        assert!(grants.may_take_effect(A_MINUTE) && !grants.may_take_effect(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_a_write_takes_no_further_step() {
        let (grants, permit) = WritePermit::leased();
        grants.set(Some(tenure(10, 15)));
        let (go_on, paused) = tokio::sync::oneshot::channel::<()>();
        let mut steps = 0;
        let write = async {
            // Ready in the same moment in which the timer is.
            let _ = paused.await;
            steps += 1;
        };
        let pause = async {
            tokio::time::advance(Duration::from_mins(1)).await;
            let _ = go_on.send(());
        };
        let (written, ()) = tokio::join!(biased; permit.within(write), pause);
        assert_eq!((written, steps), (Err(NotLeading), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_leader_election_a_permit_always_holds() {
        let permit = WritePermit::always();
        permit.granted().await;
        tokio::time::advance(Duration::from_hours(1000)).await;
        assert_eq!((permit.check(), permit.within(async { 7 }).await), (Ok(()), Ok(7)));
    }
}
