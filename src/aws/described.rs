//! Images as `DescribeImages` showed them: many images, one call.
//!
//! Whoever asks takes along whatever else is likely to be asked for before long, so that looking at n images costs n/200 calls,
//! however far apart in time they are looked at. An old description only ever confirms that nothing is to be done; who changes
//! something asks for a fresh one (docs/adr/0012).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{failure::Failure, words::Image};
use crate::{api::ImageId, runtime::agenda::Urgency};

/// A filter of EC2 takes at most this many values (aws.md section 1.0).
const MOST: usize = 200;

/// How long a question waits for company. Objects that are due together ask within microseconds of each other.
const LINGER: Duration = Duration::from_millis(5);

/// How long a question waits for a call that is under way to end, which it came too late for.
const LONGEST: Duration = Duration::from_millis(250);

/// Older descriptions than this are renewed when there is room in a call that is made anyway.
const OLD: Duration = Duration::from_mins(2);

/// How long an image that AWS did not show is not asked for by those whom any answer will do.
const MISSING: Duration = Duration::from_mins(5);

/// Descriptions of images for which somebody waits are renewed from this age on, when there is room: who is worked on a moment later
/// need not ask again, and who has just been worked on is not described twice.
const AWAITED: Duration = Duration::from_secs(1);

/// How long all images are not looked through again for old descriptions: there may be ten thousand of them.
const LOOKED_THROUGH: Duration = Duration::from_secs(1);

/// The images that are likely to be asked for before long.
pub trait Company: Send + Sync + 'static {
    /// All of them.
    fn all(&self) -> Vec<ImageId>;

    /// Those among them for which somebody waits.
    fn awaited(&self) -> BTreeSet<ImageId>;
}

/// How old an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// AWS was asked at this instant or later.
    Since(Instant),
    /// AWS was asked at most so long ago.
    NotOlderThan(Duration),
    /// AWS was asked once: for what never changes.
    Whenever,
}

impl Freshness {
    /// The earliest instant at which AWS may have been asked.
    pub(super) fn earliest(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Since(instant) => Some(instant),
            Self::NotOlderThan(age) => now.checked_sub(age),
            Self::Whenever => None,
        }
    }

    /// From which age on other images are worth asking for together with this one. Those that are checked at the same interval
    /// need it before long if half of their time is over.
    fn renewed_from(self) -> Duration {
        match self {
            Self::Since(_) | Self::Whenever => OLD,
            Self::NotOlderThan(age) => age / 2,
        }
    }
}

type Answer = Result<Option<Arc<Image>>, Failure>;

#[derive(Debug)]
struct Question {
    id: ImageId,
    urgency: Urgency,
    freshness: Freshness,
    answer: oneshot::Sender<Answer>,
}

/// A call that is under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    begun: Instant,
    ids: BTreeSet<ImageId>,
    joined: Vec<Question>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<ImageId, (Arc<Image>, Instant)>,
    /// Which images AWS did not show, and when it was asked. Only for those who need no fresh answer: a new image is shown late.
    missing: HashMap<ImageId, Instant>,
    waiting: Vec<Question>,
    flights: Vec<Flight>,
    next: u64,
    /// When all images were last looked through for old descriptions.
    looked_through: Option<Instant>,
}

impl State {
    /// As many of `others` as there is room for beside `ids`: those whose descriptions are missing, and those that are older than
    /// `from`, the oldest first.
    fn worth_renewing(
        &self,
        others: impl IntoIterator<Item = ImageId>,
        ids: &BTreeSet<ImageId>,
        from: Duration,
        now: Instant,
    ) -> Vec<ImageId> {
        let under_way = |id: &ImageId| self.flights.iter().any(|flight| flight.ids.contains(id));
        let begun = |id: &ImageId| self.known.get(id).map(|(_, begun)| *begun);
        let mut old: Vec<(Option<Instant>, ImageId)> = others
            .into_iter()
            .filter(|id| !ids.contains(id) && !under_way(id))
            .map(|id| (begun(&id), id))
            .filter(|(begun, _)| begun.is_none_or(|begun| now.saturating_duration_since(begun) >= from))
            .collect();
        old.sort_unstable();
        old.into_iter().take(MOST.saturating_sub(ids.len())).map(|(_, id)| id).collect()
    }

    /// Nobody asks any more for what is no longer claimed.
    fn forget_all_but(&mut self, claimed: &HashSet<&ImageId>) {
        self.known.retain(|id, _| claimed.contains(id));
        self.missing.retain(|id, _| claimed.contains(id));
    }
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// A call has ended.
    ended: Notify,
}

/// What is known of the images of one account in one Region.
#[derive(Debug, Clone, Default)]
pub(super) struct Descriptions(Arc<Inner>);

impl Descriptions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image, if AWS shows it. `company` names the images that are likely to be asked for before long; `describe` makes the
    /// call, of whichever asker's turn it is, in a task of its own: if that one is dropped, the others still get their answers.
    ///
    /// # Errors
    /// When the call fails: everybody in it gets the failure.
    pub(super) async fn ask<C, F, Fut>(
        &self,
        id: &ImageId,
        urgency: Urgency,
        freshness: Freshness,
        company: C,
        describe: F,
    ) -> Answer
    where
        C: Company,
        F: Fn(Vec<ImageId>, Urgency) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<Image>, Failure>> + Send,
    {
        let (answer, receiver) = oneshot::channel();
        let is_first = {
            let mut state = self.state();
            let earliest = freshness.earliest(Instant::now());
            let is_fresh = |begun: Instant| earliest.is_none_or(|earliest| begun >= earliest);
            if let Some((image, begun)) = state.known.get(id)
                && is_fresh(*begun)
            {
                return Ok(Some(Arc::clone(image)));
            }
            let is_missing = |begun: &Instant| begun.elapsed() < MISSING;
            if freshness == Freshness::Whenever && state.missing.get(id).is_some_and(is_missing) {
                return Ok(None);
            }
            let question = Question { id: id.clone(), urgency, freshness, answer };
            if let Some(flight) = state.flights.iter_mut().find(|f| is_fresh(f.begun) && f.ids.contains(id)) {
                flight.joined.push(question);
                false
            } else {
                state.waiting.push(question);
                state.waiting.len() == 1
            }
        };
        if is_first {
            let this = self.clone();
            tokio::spawn(async move { this.answer_all(company, describe).await });
        }
        receiver.await.unwrap_or_else(|_| Err(Failure::unanswered("DescribeImages", "the operator is stopping")))
    }

    async fn answer_all<C, F, Fut>(&self, company: C, describe: F)
    where
        C: Company,
        F: Fn(Vec<ImageId>, Urgency) -> Fut,
        Fut: Future<Output = Result<Vec<Image>, Failure>>,
    {
        tokio::time::sleep(LINGER).await;
        // Whatever is asked meanwhile goes along: the more there is to ask, the fuller the calls.
        let _ = tokio::time::timeout(LONGEST, self.idle()).await;
        loop {
            let Some((number, begun, ids, urgency)) = self.begin(&company) else { return };
            let result = describe(ids.clone(), urgency).await;
            self.end(number, begun, &ids, result);
        }
    }

    /// What AWS last said of an image, however long ago.
    pub(super) fn last(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.state().known.get(id).map(|(image, _)| Arc::clone(image))
    }

    /// Waits until no call is under way.
    async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.state().flights.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Fills a call: those who ask, and of the others those whose descriptions are missing or the oldest.
    fn begin(&self, company: &impl Company) -> Option<(u64, Instant, Vec<ImageId>, Urgency)> {
        let mut guard = self.state();
        let state = &mut *guard;
        let urgency = state.waiting.iter().map(|question| question.urgency).min()?;
        let now = Instant::now();
        let mut ids = BTreeSet::new();
        let (mut joined, mut later) = (Vec::new(), Vec::new());
        for question in state.waiting.drain(..) {
            if ids.len() < MOST || ids.contains(&question.id) {
                ids.insert(question.id.clone());
                joined.push(question);
            } else {
                later.push(question);
            }
        }
        state.waiting = later;
        let from = joined.iter().map(|question| question.freshness.renewed_from()).min().unwrap_or(OLD);
        if ids.len() < MOST {
            let awaited = state.worth_renewing(company.awaited(), &ids, from.min(AWAITED), now);
            ids.extend(awaited);
        }
        let since = state.looked_through.map(|at| now.saturating_duration_since(at));
        if ids.len() < MOST && since.is_none_or(|since| since >= LOOKED_THROUGH) {
            let all = company.all();
            state.looked_through = Some(now);
            state.forget_all_but(&all.iter().chain(&ids).collect());
            let old = state.worth_renewing(all, &ids, from, now);
            ids.extend(old);
        }
        state.next += 1;
        let number = state.next;
        let asked = ids.iter().cloned().collect();
        state.flights.push(Flight { number, begun: now, ids, joined });
        Some((number, now, asked, urgency))
    }

    fn end(&self, number: u64, begun: Instant, ids: &[ImageId], result: Result<Vec<Image>, Failure>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let joined = match state.flights.iter().position(|flight| flight.number == number) {
            Some(index) => state.flights.swap_remove(index).joined,
            None => Vec::new(),
        };
        let mut found: HashMap<ImageId, Arc<Image>> = HashMap::new();
        let failure = match result {
            Ok(images) => {
                found = images.into_iter().map(|image| (image.id.clone(), Arc::new(image))).collect();
                for id in ids {
                    if let Some(image) = found.get(id) {
                        state.known.insert(id.clone(), (Arc::clone(image), begun));
                        state.missing.remove(id);
                    } else {
                        // It may only not be listed yet: asked for again, AWS is asked again.
                        state.known.remove(id);
                        state.missing.insert(id.clone(), begun);
                    }
                }
                None
            }
            Err(failure) => Some(failure),
        };
        drop(guard);
        self.0.ended.notify_waiters();
        for Question { id, answer, .. } in joined {
            // Whoever does not wait any more does not need the answer.
            let _ = answer.send(failure.clone().map_or_else(|| Ok(found.get(&id).cloned()), Err));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    fn id(number: usize) -> ImageId {
        format!("ami-{number:017x}").parse().unwrap()
    }

    fn image(id: ImageId) -> Image {
        Image {
            id,
            name: None,
            owner: None,
            state: "available".into(),
            public: false,
            encrypted: false,
            has_product_code: false,
            snapshots: BTreeSet::new(),
        }
    }

    /// Descriptions of so many images, and every call that is made for them.
    #[derive(Clone)]
    struct Region {
        images: usize,
        descriptions: Descriptions,
        calls: Arc<Mutex<Vec<Vec<ImageId>>>>,
        awaited: Arc<Mutex<BTreeSet<usize>>>,
    }

    impl Company for Region {
        fn all(&self) -> Vec<ImageId> {
            (0..self.images).map(id).collect()
        }

        fn awaited(&self) -> BTreeSet<ImageId> {
            self.awaited.lock().unwrap().iter().copied().map(id).collect()
        }
    }

    impl Region {
        fn of(images: usize) -> Self {
            Self { images, descriptions: Descriptions::default(), calls: Arc::default(), awaited: Arc::default() }
        }

        async fn ask(&self, number: usize, freshness: Freshness) -> Option<Arc<Image>> {
            let (images, calls) = (self.images, Arc::clone(&self.calls));
            let company = Region::clone(self);
            let describe = move |ids: Vec<ImageId>, _| {
                assert!(ids.len() <= MOST);
                calls.lock().unwrap().push(ids.clone());
                async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let exists = |asked: &ImageId| (0..images).any(|n| id(n) == *asked);
                    Ok(ids.into_iter().filter(exists).map(image).collect())
                }
            };
            self.descriptions.ask(&id(number), Urgency::Check, freshness, company, describe).await.unwrap()
        }

        fn calls(&self) -> usize {
            self.calls.lock().unwrap().len()
        }
    }

    const INTERVAL: Duration = Duration::from_mins(10);

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_at_the_same_time_shares_calls_of_two_hundred() {
        for (questions, calls) in [(1, 1), (200, 1), (201, 2), (450, 3)] {
            let region = Region::of(questions);
            let now = Freshness::Since(Instant::now());
            let answers = join_all((0..questions).map(|number| region.ask(number, now))).await;
            assert!(answers.iter().enumerate().all(|(number, a)| a.as_ref().unwrap().id == id(number)));
            assert_eq!(region.calls(), calls, "{questions}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn checks_that_are_spread_over_the_interval_cost_a_call_for_each_two_hundred_images() {
        let region = Region::of(1000);
        let freshness = Freshness::NotOlderThan(INTERVAL.mul_f64(1.2));
        for round in 1..=5 {
            for number in 0..1000 {
                // Each image has its own time in every interval.
                assert!(region.ask((number * 7) % 1000, freshness).await.is_some());
                tokio::time::advance(INTERVAL / 1000).await;
            }
            assert!(region.calls() <= 5 * round, "{} calls in {round} rounds", region.calls());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_never_older_than_the_question_allows() {
        let region = Region::of(3);
        region.ask(0, Freshness::Since(Instant::now())).await;
        assert_eq!(region.calls(), 1);
        region.ask(1, Freshness::NotOlderThan(INTERVAL)).await;
        assert_eq!(region.calls(), 1, "it came along");
        tokio::time::advance(Duration::from_secs(1)).await;
        region.ask(1, Freshness::Since(Instant::now())).await;
        assert_eq!(region.calls(), 2, "what was seen before is not news");
        tokio::time::advance(INTERVAL).await;
        region.ask(2, Freshness::NotOlderThan(INTERVAL)).await;
        assert_eq!(region.calls(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_a_call_is_under_way_takes_its_answer_only_if_it_is_fresh_enough() {
        let region = Region::of(2);
        let first = tokio::spawn({
            let region = region.clone();
            async move { region.ask(0, Freshness::Since(Instant::now())).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = Instant::now();
        tokio::join!(
            region.ask(1, Freshness::NotOlderThan(INTERVAL)),
            region.ask(1, Freshness::Since(now)),
            region.ask(0, Freshness::Since(now))
        );
        first.await.unwrap();
        assert_eq!(region.calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn images_for_which_somebody_waits_are_described_along_with_the_first_of_them() {
        let region = Region::of(300);
        join_all((0..300).map(|number| region.ask(number, Freshness::Since(Instant::now())))).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        *region.awaited.lock().unwrap() = (150..300).collect();
        let (before, asked) = (region.calls(), Instant::now());
        for number in 150..300 {
            region.ask(number, Freshness::Since(asked)).await;
        }
        assert_eq!(region.calls() - before, 1);
        // Whoever asks for something later gets something later.
        region.ask(150, Freshness::Since(Instant::now())).await;
        assert_eq!(region.calls() - before, 2);
        let asked = region.calls.lock().unwrap().last().cloned().unwrap();
        assert_eq!(asked, [id(150)], "the others have just been described");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_ends_holds_back_others_for_a_moment_only() {
        let descriptions = Descriptions::default();
        let stalls = |_: Vec<ImageId>, _| std::future::pending();
        let works = |ids: Vec<ImageId>, _| async move { Ok(ids.into_iter().map(image).collect()) };
        let now = Freshness::Since(Instant::now());
        let one = id(1);
        let stalled = descriptions.ask(&one, Urgency::Check, now, Region::of(0), stalls);
        assert!(tokio::time::timeout(Duration::from_secs(1), stalled).await.is_err());
        let asked = Instant::now();
        assert!(descriptions.ask(&id(2), Urgency::Check, now, Region::of(0), works).await.unwrap().is_some());
        assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_is_not_shown_is_asked_for_every_time() {
        let region = Region::of(1);
        for calls in 1..=3 {
            assert!(region.ask(7, Freshness::NotOlderThan(INTERVAL)).await.is_none());
            assert_eq!(region.calls(), calls);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_fails_for_everybody_in_it_and_is_not_remembered() {
        let descriptions = Descriptions::default();
        let fails = |number: usize| {
            let describe = |_, _| async { Err(Failure::unanswered("DescribeImages", "down")) };
            let now = Freshness::Since(Instant::now());
            let descriptions = &descriptions;
            async move { descriptions.ask(&id(number), Urgency::Give, now, Region::of(0), describe).await }
        };
        let (one, two) = tokio::join!(fails(1), fails(2));
        assert_eq!((one.unwrap_err().message, two.unwrap_err().message), ("down".into(), "down".into()));
        let works = |ids: Vec<ImageId>, _| async move { Ok(ids.into_iter().map(image).collect()) };
        let now = Freshness::Since(Instant::now());
        assert!(descriptions.ask(&id(1), Urgency::Give, now, Region::of(0), works).await.unwrap().is_some());
    }
}
