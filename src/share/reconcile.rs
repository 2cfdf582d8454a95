//! One reconcile of one image: from its claims to AWS and back to the status of every claimant.
//!
//! The order of the steps is what makes a crash at any point harmless: the finalizer and the ownership record are stored before
//! the first call that gives something, and the finalizer goes after the last one that takes it away.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{
    apply::apply,
    claim::Standing,
    claimant::{Claimant, claimants, claims, recall_parts, subject},
    due, elsewhere,
    granted::Granted,
    live::Live,
    locks::KeyLocks,
    notices,
    observe::{Look, describe, look_at_keys, observe},
    observed::{Elsewhere, Observed, Part, Sight, Target},
    plan::{Plan, Policy, Refusals, plan},
    refused::{Refused, Told},
    status::{self, View},
    store::{Shares, Work},
    writer::{Sameness, WriteError, Writer},
};
use crate::{
    api::{ImageId, ImageRef, Reason, Site, stored::Stored},
    aws::{Aws, Freshness, Services, failure::Failure},
    config::identity,
    planted::{self, Flaw},
    runtime::{
        agenda::{Place, Urgency},
        backoff::Pace,
        clock::Clock,
        metrics::Metrics,
        runner::{Failed, Job, Next, Queue},
    },
};

/// How old a description of an image may be when something that was asked for is done. Work can wait that long for its turn; if
/// the image has changed since, AWS refuses the change.
const OLDEST: Duration = Duration::from_mins(5);

/// What a plan is made under.
struct Terms<'a> {
    policy: &'a Policy,
    /// Whom AWS refused lately.
    recalled: &'a Refusals,
    now: Timestamp,
}

/// Reconciles images.
pub struct Reconciler {
    /// AWS.
    pub aws: Arc<Aws>,
    /// All objects.
    pub shares: Shares,
    /// The Kubernetes API.
    pub writer: Writer,
    /// What the operator's configuration allows at the moment.
    pub policy: Live,
    /// The time.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where further work is asked for.
    pub queue: Queue<Work>,
    /// Which keys are worked on.
    pub keys: KeyLocks,
    /// Whom AWS refused lately.
    pub refused: Refused,
    /// How long whom AWS refused is not tried again.
    pub refused_retry: Duration,
    /// Of which objects it has been told that nothing can be stored for them.
    pub told: Arc<Told>,
    /// The images that this process has worked on.
    pub seen: Mutex<HashSet<ImageRef>>,
}

/// How an object came out of a reconcile, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finished {
    /// As it wants, or on its way there.
    Well,
    /// It needs a person.
    Stalled,
    /// It is to go, and what it gave could not be taken back.
    Waiting,
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Self {
        let pace = match &error {
            WriteError::Conflict(_) | WriteError::Gone(_) => Pace::Fast,
            WriteError::Refused { .. } | WriteError::NotLeading(_) => Pace::Slow,
        };
        Self { reason: "KubernetesApi", message: error.to_string(), pace }
    }
}

impl From<&Failure> for Failed {
    fn from(failure: &Failure) -> Self {
        Self { reason: failure.reason().as_str(), message: failure.to_string(), pace: Pace::Slow }
    }
}

impl Reconciler {
    async fn image(&self, image: &ImageRef, asked: Instant) -> Result<Next, Failed> {
        let now = self.clock.now();
        let policy = self.policy.now();
        let objects = self.shares.concerning(image);
        let mut claimants = claimants(image, &objects, now, &policy);
        if claimants.is_empty() {
            self.refused.forget(image);
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
            return Ok(Next::Rest);
        }
        // Whatever comes of this reconcile: a share ends on time.
        for left in due::time_left(&claimants, now) {
            self.queue.ask(Work::Image(image.clone()), left);
        }
        let settled = due::is_settled(&claimants);
        let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone());
        if is_new
            && settled
            && let Some(interval) = due::interval(&claimants)
        {
            // The process has just started, and another one has done everything that there was to do in AWS.
            for claimant in &claimants {
                self.count_conditions(claimant, &claimant.object.status());
                self.without_aws(image, claimant, now).await?;
            }
            return Ok(Next::After(due::until_moment(image, interval, now)));
        }
        if !claimants.iter().any(|c| c.claim.needs_aws()) {
            for claimant in &claimants {
                self.without_aws(image, claimant, now).await?;
            }
            return Ok(Next::Rest);
        }

        let aws = match self.reach(&image.site, &policy).await {
            Ok(aws) => aws,
            Err(failure) => return self.could_not_observe(image, &claimants, &failure, now).await,
        };
        let (recalled, retry_refused) = self.refused.recall(image, &objects);
        let terms = Terms { policy: &policy, recalled: &recalled, now };
        let mut look = Look {
            urgency: due::urgency(&claimants),
            freshness: freshness(&claimants, settled, asked),
            others: self.shares.clone(),
            policy: Arc::clone(&policy),
        };
        let again = anew(&look);
        let seen = match recall_parts(&aws, image, &mut claimants, &look).await {
            Ok(()) => self.look_and_plan(&aws, image, &claimants, &mut look, &terms).await,
            Err(failure) => Err(failure),
        };
        let (mut before, mut plan) = match seen {
            Ok(seen) => seen,
            Err(failure) => return self.could_not_observe(image, &claimants, &failure, now).await,
        };
        // Until the last status is written: whoever may launch one image protects their grants from the reconciles of all others.
        let locked = if plan.changes.is_empty() { Vec::new() } else { self.keys.lock(&before).await };
        if !locked.is_empty() {
            plan = self.plan_with_keys(&aws, image, &claimants, &mut before, &again, &terms).await;
        }
        let others_matter = elsewhere::matters(&plan, &claimants);
        if others_matter || !plan.changes.is_empty() {
            self.ask_for_newest(&BTreeSet::from([image.clone()]), &objects, Sameness::Version).await?;
        }
        if others_matter {
            let parts = match self.parts_elsewhere(&aws, image, &look).await {
                Ok(parts) => parts,
                Err(failure) => return self.could_not_observe(image, &claimants, &failure, now).await,
            };
            self.look_elsewhere(image, &mut before, &parts, now, &policy).await?;
            plan = self::plan(&claims(&claimants), &before, &recalled, &policy);
        }
        let bequeathed = self.bequeath(image, &plan, &mut claimants, now).await?;
        // Nothing is given or taken for an object that cannot keep a record, and nobody else waits for it.
        while let Some(index) = self.secure(image, &mut claimants, &plan, now).await? {
            claimants[index].claim.standing = Standing::Unrecorded;
            plan = self::plan(&claims(&claimants), &before, &recalled, &policy);
        }

        for change in &plan.changes {
            tracing::info!(%image, "will {change}");
        }
        let outcome = apply(&aws, &plan, &|| self.policy.is(&policy)).await;
        self.wake_who_lists_whom_it_was_taken_from(image, &outcome, now, &policy);
        let retry_new = self.refused.remember(image, &objects, &outcome.refused, self.refused_retry);
        let changed = (!outcome.done.is_empty()).then(|| before.after(&outcome));
        let after = changed.as_ref().unwrap_or(&before);
        let claims = claims(&claimants);
        let view = View { image, claims: &claims, after, plan: &plan, outcome: &outcome, policy: &policy };
        self.metrics.drift_corrected(notices::drift_corrected(&view));
        let found = self.finish_all(&claimants, &view, bequeathed, now).await?;
        drop(locked);
        self.wake_others(image, &claimants, &outcome, now, &policy);
        if let Some(failure) = outcome.to_retry().or_else(|| before.to_retry()) {
            return Err(failure.into());
        }
        if let Some(after) = outcome.goes_on_after() {
            return Ok(Next::Soon(after));
        }
        if found == Finished::Waiting {
            let message = "an object waits for what was refused; its status or an event says for what".into();
            return Err(Failed { reason: Reason::DeletionBlocked.as_str(), message, pace: Pace::Slow });
        }
        Ok(self.next(image, &claimants, &after.sight, [retry_refused, retry_new], found))
    }

    /// When to look again after everything was done that could be; at the first of `retries` AWS is asked again for what it has refused.
    fn next(
        &self,
        image: &ImageRef,
        claimants: &[Claimant],
        sight: &Sight,
        retries: [Option<Instant>; 2],
        found: Finished,
    ) -> Next {
        let retry = retries.into_iter().flatten().min().map(|at| at.saturating_duration_since(Instant::now()));
        match due::next(image, claimants, sight, retry, self.clock.now()) {
            Next::After(after) if found == Finished::Stalled => Next::Stalled(after),
            next => next,
        }
    }

    /// AWS where images are, with the credentials of their identity.
    ///
    /// # Errors
    /// When there is no such identity, or it is not who it should be.
    pub(super) async fn reach(&self, site: &Site, policy: &Policy) -> Result<Services, Failure> {
        match policy.identities.get(&site.identity) {
            Some(identity) => self.aws.reach(site, identity).await,
            None => Err(Failure::without_an_identity(identity::unknown(site.identity.as_str()))),
        }
    }

    /// Looks at an image and plans for it.
    ///
    /// # Errors
    /// When AWS cannot be asked.
    async fn look_and_plan(
        &self,
        aws: &Services,
        image: &ImageRef,
        claimants: &[Claimant],
        look: &mut Look,
        terms: &Terms<'_>,
    ) -> Result<(Observed, Plan), Failure> {
        let Terms { policy, recalled, now } = *terms;
        let claims = claims(claimants);
        loop {
            let mut before = observe(aws, image, &claims, look).await?;
            before.elsewhere = self.elsewhere(image, &before, &BTreeMap::new(), now, policy);
            let plan = plan(&claims, &before, recalled, policy);
            let confirms = plan.changes.is_empty() && matches!(before.sight, Sight::Shareable(_));
            if confirms || matches!(look.freshness, Freshness::Since(_)) {
                return Ok((before, plan));
            }
            // An old description may confirm that nothing is to be done. Nothing is done by it.
            look.freshness = Freshness::Since(Instant::now());
            if describe(&aws.ec2, image, look).await?.as_deref() == before.sight.image() {
                return Ok((before, plan));
            }
        }
    }

    /// Plans again for an image whose keys nobody else of us changes any more: by what the grants on them are now.
    async fn plan_with_keys(
        &self,
        aws: &Services,
        image: &ImageRef,
        claimants: &[Claimant],
        before: &mut Observed,
        look: &Look,
        terms: &Terms<'_>,
    ) -> Plan {
        let claims = claims(claimants);
        look_at_keys(aws, before, &claims, look).await;
        before.elsewhere = self.elsewhere(image, before, &BTreeMap::new(), terms.now, terms.policy);
        plan(&claims, before, terms.recalled, terms.policy)
    }

    /// What claims on other images say about the parts of this one, as far as their objects know that or `parts` tells.
    pub(super) fn elsewhere(
        &self,
        image: &ImageRef,
        before: &Observed,
        parts: &BTreeMap<ImageId, BTreeSet<Part>>,
        now: Timestamp,
        policy: &Policy,
    ) -> BTreeMap<Target, Vec<Elsewhere>> {
        let targets = before.parts().map(|(target, _)| target);
        self.shares.elsewhere(image, targets, parts, now, policy)
    }

    /// Makes sure, before a plan is carried out, that the API server has nothing newer to say about images than `known`.
    pub(super) async fn ask_for_newest(
        &self,
        images: &BTreeSet<ImageRef>,
        known: &[Arc<Stored>],
        same: Sameness,
    ) -> Result<(), Failed> {
        if !planted::has(Flaw::TrustsItsWatch) && !self.writer.is_newest(images, known, same).await? {
            let message = "an object has changed meanwhile".into();
            return Err(Failed { reason: "Conflict", message, pace: Pace::Fast });
        }
        Ok(())
    }

    /// Stores the finalizer and the ownership record of every claim before anything is done. Returns the position of a claimant
    /// for which the API server would not, if there is one.
    async fn secure(
        &self,
        image: &ImageRef,
        claimants: &mut [Claimant],
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Option<usize>, Failed> {
        for (index, claimant) in claimants.iter_mut().enumerate() {
            let record = plan.records.get(&claimant.claim.key).cloned().unwrap_or_default();
            let (writes, inherits) = (claimant.claim.standing.writes(), claimant.claim.standing.inherits());
            let acts = writes && claimant.claim.barred.is_none();
            // Somebody may have taken the finalizer of an object that has moved and not taken everything back.
            let leaves = claimant.claim.standing == Standing::Leaving;
            let needed = !record.is_empty() || (acts && !plan.changes.is_empty());
            // What it may have given on the snapshots is not known yet, and nothing is changed on an image that is not seen.
            let knows_its_record = !claimant.claim.has_unrecorded();
            if !(writes || inherits || leaves) || !needed || !knows_its_record {
                continue;
            }
            match self.put_on_record(&mut claimant.object, image, &record, now).await {
                Ok(()) => {}
                Err(error @ WriteError::Refused { .. }) => {
                    self.tell_refused(&claimant.object, "KubernetesApi", &error).await;
                    // What one that leaves has given is on its record already, and is taken back all the same.
                    if !leaves {
                        return Ok(Some(index));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Stores the finalizer and a record, where an object has not got them yet.
    pub(super) async fn put_on_record(
        &self,
        object: &mut Arc<Stored>,
        image: &ImageRef,
        record: &Granted,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        if !object.is_held() && object.metadata.deletion_timestamp.is_none() {
            *object = Arc::new(self.writer.finalizer(object, true).await?);
        }
        let old = object.status();
        if !Granted::on(&image.id, &old.granted).covers(record) && !planted::has(Flaw::RecordsTooLate) {
            let status = status::progressing(subject(object, &old), record, image, now);
            *object = Arc::new(self.writer.status(object, &status).await?);
        }
        Ok(())
    }

    /// Reports to every object. Those that leave stay for now if another could not be given a record, of this image or, not
    /// `bequeathed`, of another: it might be the one that answers from now on for what they gave.
    async fn finish_all(
        &self,
        claimants: &[Claimant],
        view: &View<'_>,
        bequeathed: bool,
        now: Timestamp,
    ) -> Result<Finished, Failed> {
        let unrecorded = !bequeathed || claimants.iter().any(|c| c.claim.standing == Standing::Unrecorded);
        let (mut found, mut trouble) = (if unrecorded { Finished::Waiting } else { Finished::Well }, None);
        for claimant in claimants {
            for notice in notices::of_changes(&claimant.claim, view) {
                self.writer.tell(&claimant.object, &notice).await;
            }
            if unrecorded && claimant.claim.standing.leaves() {
                continue;
            }
            match self.finish(claimant, view, now).await {
                Ok(finished) => found = found.max(finished),
                Err(error) => trouble = Some(trouble.unwrap_or(error)),
            }
        }
        trouble.map_or(Ok(found), |error| Err(error.into()))
    }
}

/// How old the description of an image may be. A check that comes due by itself only looks for drift, most of which permissions show,
/// and those are always read; it may be up to an interval old, as if the image had been described at the check before. Otherwise
/// it must be from after the work was asked for: whoever asks wants to know what is now.
fn freshness(claimants: &[Claimant], settled: bool, asked: Instant) -> Freshness {
    match due::interval(claimants).filter(|_| settled) {
        // Intervals are up to a tenth longer than they say.
        Some(interval) => Freshness::NotOlderThan(interval.mul_f64(1.2)),
        None => Freshness::Since(Instant::now().checked_sub(OLDEST).map_or(asked, |oldest| asked.max(oldest))),
    }
}

/// The same look, of nothing that is older than it: for what is done by it.
fn anew(look: &Look) -> Look {
    let freshness = match look.freshness {
        Freshness::NotOlderThan(_) => Freshness::Since(Instant::now()),
        as_it_is @ (Freshness::Since(_) | Freshness::Whenever) => as_it_is,
    };
    Look { freshness, ..look.clone() }
}

impl Job for Reconciler {
    type Key = Work;
    /// The account and the Region: they fail, and throttle, apart from each other. Objects for which AWS is not asked need neither.
    type Lane = Option<Site>;

    fn place(&self, work: &Work) -> Place<Option<Site>> {
        let image = match work {
            Work::Image(image) => image,
            Work::Object(key) => {
                let object = self.shares.get(key).filter(|object| object.finds());
                return Place { lane: object.and_then(|object| object.site()), urgency: Urgency::Give };
            }
        };
        let claimants = || claimants(image, &self.shares.concerning(image), self.clock.now(), &self.policy.now());
        let urgency = || due::urgency(&claimants());
        // A bug that strikes here must not end the runner; if it strikes in the work itself too, the work's fence reports it.
        let urgency = std::panic::catch_unwind(AssertUnwindSafe(urgency)).unwrap_or(Urgency::Give);
        Place { lane: Some(image.site.clone()), urgency }
    }

    async fn work(self: Arc<Self>, work: Work, asked: Instant) -> Result<Next, Failed> {
        match work {
            Work::Image(image) => self.image(&image, asked).await,
            Work::Object(key) => self.object_without_image(&key).await,
        }
    }
}
