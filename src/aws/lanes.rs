//! Request lanes: one for every API of a service in an account and a Region, as AWS has a bucket for each.
//!
//! A call waits in its lane until our idea of AWS's bucket has a token for it, so that AWS does not have to refuse. Who takes access
//! away goes before who gives it, and both before checks. A lane that AWS refuses all the same, because others in the account
//! make calls too, slows down and recovers; no other lane notices.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::bucket::{Bucket, Rate};
use crate::{
    api::Site,
    runtime::{agenda::Urgency, metrics::Metrics},
};

/// How many calls of one lane may be under way at once: enough to spend the tokens of a lane whose answers take a second, and
/// few enough that an endpoint that answers nobody does not collect connections.
const UNDER_WAY: usize = 32;

/// How many calls of a lane are under way at once before AWS has answered any. Its bucket may be empty: another process of ours may
/// have used it a moment ago. As long as AWS refuses none, each answer lets one more go at once.
const AT_FIRST: usize = 8;

/// How often metrics are told how full the bucket of a lane is that makes no calls.
const MEASURED: Duration = Duration::from_secs(15);

/// The lanes of one service in one account and Region.
#[derive(Debug)]
pub(super) struct Lanes {
    service: &'static str,
    site: Site,
    factor: f64,
    by_operation: Mutex<HashMap<&'static str, Arc<Lane>>>,
    metrics: Arc<Metrics>,
}

impl Lanes {
    /// Lanes for an account whose limits AWS has raised `factor` times.
    pub(super) fn new(service: &'static str, site: Site, factor: f64, metrics: Arc<Metrics>) -> Self {
        Self { service, site, factor, by_operation: Mutex::default(), metrics }
    }

    /// Waits for the turn of a call.
    pub(super) async fn enter(&self, operation: &'static str, urgency: Urgency) -> Turn {
        let lane = {
            let mut lanes = self.by_operation.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lanes.entry(operation).or_insert_with(|| {
                let rate = Rate::documented(operation).times(self.factor);
                Lane::new(self.service, operation, self.site.clone(), rate, Arc::clone(&self.metrics))
            }))
        };
        lane.enter(urgency).await
    }
}

#[derive(Debug)]
struct Lane {
    service: &'static str,
    operation: &'static str,
    site: Site,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// The lane itself, for the turns that it hands out.
    this: Weak<Lane>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    under_way: usize,
    /// How many may be under way at once.
    room: usize,
    waiting: BTreeMap<(Urgency, u64), oneshot::Sender<Turn>>,
    /// Whether somebody wakes the lane when its bucket has a token again.
    watched: bool,
    /// Whether somebody keeps what the metrics say of the bucket up to date until it is full again.
    measured: bool,
    next: u64,
}

/// A call's turn. Dropped, the next one may come.
#[derive(Debug)]
pub(super) struct Turn {
    lane: Arc<Lane>,
    since: Instant,
    answered: Cell<bool>,
}

impl Turn {
    /// AWS has answered the call.
    pub(super) fn answered(&self) {
        self.answered.set(true);
    }

    /// AWS has answered the call with too many requests.
    pub(super) fn refused(&self) {
        let mut state = self.lane.state();
        state.bucket.refused(self.since, Instant::now());
        state.room = AT_FIRST;
        self.lane.measure(&state);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.lane.state();
            state.under_way -= 1;
            if self.answered.get() {
                state.room = (state.room + 1).min(UNDER_WAY);
            }
        }
        self.lane.go_on();
    }
}

impl Lane {
    fn new(service: &'static str, operation: &'static str, site: Site, rate: Rate, metrics: Arc<Metrics>) -> Arc<Self> {
        let state = State {
            bucket: Bucket::new(rate, Instant::now()),
            under_way: 0,
            room: AT_FIRST,
            waiting: BTreeMap::new(),
            watched: false,
            measured: false,
            next: 0,
        };
        Arc::new_cyclic(|this| Self { service, operation, site, metrics, state: Mutex::new(state), this: this.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enter(&self, urgency: Urgency) -> Turn {
        let asked = Instant::now();
        let turn = {
            let mut state = self.state();
            let (sender, turn) = oneshot::channel();
            state.next += 1;
            let place = (urgency, state.next);
            state.waiting.insert(place, sender);
            turn
        };
        self.go_on();
        match turn.await {
            Ok(turn) => {
                self.metrics.lane_wait(self.service, self.operation, &self.site, asked.elapsed());
                turn
            }
            // The lane lives as long as this call of it, and forgets nobody who waits.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives as many turns as there are tokens for.
    fn go_on(&self) {
        // Turns that nobody waits for any more. To drop one is to come here again, so not while the lane is locked.
        let mut unwanted = Vec::new();
        let mut state = self.state();
        while state.under_way < state.room
            && let Some(first) = state.waiting.first_entry()
        {
            if first.get().is_closed() {
                first.remove();
                continue;
            }
            let now = Instant::now();
            match state.bucket.take(now) {
                Ok(()) => {
                    let (Some((_, waiting)), Some(lane)) = (state.waiting.pop_first(), self.this.upgrade()) else {
                        break;
                    };
                    state.under_way += 1;
                    if let Err(turn) = waiting.send(Turn { lane, since: now, answered: Cell::new(false) }) {
                        unwanted.push(turn);
                    }
                }
                Err(at) => {
                    if !state.watched
                        && let Some(lane) = self.this.upgrade()
                    {
                        state.watched = true;
                        tokio::spawn(async move {
                            tokio::time::sleep_until(at).await;
                            lane.state().watched = false;
                            lane.go_on();
                        });
                    }
                    break;
                }
            }
        }
        self.measure(&state);
        if !std::mem::replace(&mut state.measured, true) {
            tokio::spawn(Self::keep_measuring(self.this.clone()));
        }
        drop(state);
    }

    /// A bucket fills without anybody's doing.
    async fn keep_measuring(lane: Weak<Self>) {
        loop {
            tokio::time::sleep(MEASURED).await;
            let Some(lane) = lane.upgrade() else { return };
            let mut state = lane.state();
            let is_full = state.bucket.is_full(Instant::now());
            lane.measure(&state);
            if is_full {
                state.measured = false;
                return;
            }
        }
    }

    fn measure(&self, state: &State) {
        let State { bucket, waiting, .. } = state;
        self.metrics.lane(
            self.service,
            self.operation,
            &self.site,
            bucket.tokens(),
            bucket.per_second(),
            waiting.len(),
        );
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn lanes() -> Arc<Lanes> {
        Arc::new(Lanes::new("ec2", Site::own("us-east-1".parse().unwrap()), 1.0, Arc::new(Metrics::new())))
    }

    /// Makes so many calls that take no time, and returns how long all of it took.
    async fn calls(lanes: &Lanes, operation: &'static str, count: usize) -> Duration {
        let started = Instant::now();
        join_all((0..count).map(|_| async { lanes.enter(operation, Urgency::Check).await.answered() })).await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_checks_take_what_the_bucket_takes_and_nothing_more() {
        let lanes = lanes();
        let started = Instant::now();
        join_all((0..1000).map(|_| async { drop(lanes.enter("DescribeImageAttribute", Urgency::Check).await) })).await;
        let seconds = started.elapsed().as_secs_f64();
        assert!((45.0..45.5).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_api_has_a_lane_of_its_own() {
        let lanes = lanes();
        for _ in 0..96 {
            drop(lanes.enter("DescribeImages", Urgency::Check).await);
        }
        let started = Instant::now();
        drop(lanes.enter("DescribeImageAttribute", Urgency::Check).await);
        assert_eq!(started.elapsed(), Duration::ZERO);
        drop(lanes.enter("DescribeImages", Urgency::Check).await);
        assert!(started.elapsed() >= Duration::from_millis(49));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_waits_for_any_more_is_the_next_ones() {
        let lanes = lanes();
        calls(&lanes, "DescribeImages", UNDER_WAY).await;
        let turns = join_all((0..UNDER_WAY).map(|_| lanes.enter("DescribeImages", Urgency::Check))).await;
        let gives_up = tokio::time::timeout(Duration::from_secs(1), lanes.enter("DescribeImages", Urgency::Take));
        assert!(gives_up.await.is_err(), "as many as may be are under way");
        let waits = lanes.enter("DescribeImages", Urgency::Check);
        drop(turns);
        tokio::time::timeout(Duration::from_secs(1), waits).await.unwrap();
        // All turns have been given back, and none twice.
        assert!(calls(&lanes, "DescribeImages", UNDER_WAY).await < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_begins_with_few_calls_at_once_and_has_more_with_every_answer() {
        let lanes = lanes();
        let started = Instant::now();
        let call = || async {
            let turn = lanes.enter("DescribeImages", Urgency::Check).await;
            let begun = started.elapsed();
            tokio::time::sleep(Duration::from_secs(1)).await;
            turn.answered();
            begun.as_secs()
        };
        let mut begun = join_all((0..90).map(|_| call())).await;
        begun.sort_unstable();
        let at = |second: u64| begun.iter().filter(|begun| **begun == second).count();
        assert_eq!([at(0), at(1), at(2), at(3)], [AT_FIRST, 2 * AT_FIRST, UNDER_WAY, UNDER_WAY]);
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_say_that_a_lane_has_recovered_that_makes_no_calls_any_more() {
        let metrics = Arc::new(Metrics::new());
        let lanes = Lanes::new("ec2", Site::own("us-east-1".parse().unwrap()), 1.0, Arc::clone(&metrics));
        lanes.enter("ModifyImageAttribute", Urgency::Give).await.refused();
        let says = |value: &str| {
            let line = format!(
                "amishare_aws_lane_rate{{service=\"ec2\",operation=\"ModifyImageAttribute\",region=\"us-east-1\",identity=\"default\"}} {value}"
            );
            metrics.render().unwrap().contains(&line)
        };
        assert!(says("2.5"));
        tokio::time::sleep(Duration::from_mins(3)).await;
        assert!(says("5.0"), "{}", metrics.render().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_access_away_goes_first_then_who_gives_it_then_checks() {
        let lanes = lanes();
        for _ in 0..99 {
            drop(lanes.enter("ModifyImageAttribute", Urgency::Give).await);
        }
        let order = Mutex::new(Vec::new());
        let urgencies = [Urgency::Check, Urgency::Give, Urgency::Take, Urgency::Give, Urgency::Take];
        join_all(urgencies.into_iter().enumerate().map(|(number, urgency)| {
            let (lanes, order) = (&lanes, &order);
            async move {
                let turn = lanes.enter("ModifyImageAttribute", urgency).await;
                order.lock().unwrap().push(number);
                drop(turn);
            }
        }))
        .await;
        assert_eq!(*order.lock().unwrap(), [2, 4, 1, 3, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_lane_slows_down_and_the_others_do_not() {
        let lanes = lanes();
        lanes.enter("ModifyImageAttribute", Urgency::Give).await.refused();
        let started = Instant::now();
        drop(lanes.enter("ModifyImageAttribute", Urgency::Give).await);
        let waited = started.elapsed();
        assert!(waited > Duration::from_millis(350) && waited < Duration::from_millis(450), "{waited:?}");
        let started = Instant::now();
        drop(lanes.enter("ModifySnapshotAttribute", Urgency::Give).await);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
