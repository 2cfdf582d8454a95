//! One reconcile of one image: from its claims to AWS and back to the status of every claimant.
//!
//! The order of the steps is what makes a crash at any point harmless: the finalizer and the ownership record are stored before
//! the first call that gives something, and the finalizer goes after the last one that takes it away.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    apply::apply,
    claim::{Claim, ObjectKey, Standing, images},
    granted::Granted,
    notices::{self, Notice},
    observe::observe,
    observed::Sight,
    plan::{Plan, Policy, plan},
    refused::Refused,
    status::{self, Subject, View},
    store::{Shares, Work},
    writer::{WriteError, Writer},
};
use crate::{
    api::{
        ABANDON, AmiShareStatus, ConditionType, FINALIZER, ImageRef, ON_DELETE, REQUESTED_AT, Reason,
        conditions::find,
        stored::{Content, Stored},
    },
    aws::{Aws, failure::Failure},
    runtime::{
        clock::Clock,
        metrics::Metrics,
        runner::{Failed, Next, Queue},
    },
};

/// How soon an object is looked at again that changed while it was worked on: by then its new version is known.
const AFTER_CONFLICT: Duration = Duration::from_millis(50);

/// How often a pending image is looked at.
const PENDING: Duration = Duration::from_secs(15);

/// Reconciles images.
pub struct Reconciler {
    /// AWS.
    pub aws: Arc<Aws>,
    /// All objects.
    pub shares: Shares,
    /// The Kubernetes API.
    pub writer: Writer,
    /// What the operator's configuration allows.
    pub policy: Policy,
    /// The time.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where further work is asked for.
    pub queue: Queue<Work>,
    /// Whom AWS refused lately.
    pub refused: Refused,
    /// How long whom AWS refused is not tried again.
    pub refused_retry: Duration,
}

/// How an object came out of a reconcile, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finished {
    /// As it wants, or on its way there.
    Well,
    /// It needs a person.
    Stalled,
    /// It is to go, and what it gave could not be taken back.
    Waiting,
}

/// An object and what it says about the image, as the reconcile goes on.
struct Claimant {
    object: Arc<Stored>,
    claim: Claim,
}

impl Claimant {
    fn subject<'a>(&'a self, old: &'a AmiShareStatus) -> Subject<'a> {
        Subject {
            old,
            generation: self.object.metadata.generation.unwrap_or_default(),
            requested_at: self.object.annotations().get(REQUESTED_AT).map(String::as_str),
        }
    }

    fn deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Self {
        let retry = match &error {
            WriteError::Conflict(_) | WriteError::Gone(_) => Some(AFTER_CONFLICT),
            WriteError::Refused { .. } => None,
        };
        Self { reason: "KubernetesApi", message: error.to_string(), retry }
    }
}

impl From<&Failure> for Failed {
    fn from(failure: &Failure) -> Self {
        Self { reason: failure.reason().as_str(), message: failure.to_string(), retry: None }
    }
}

impl Reconciler {
    /// Does one piece of work.
    ///
    /// # Errors
    /// When it is to be tried again soon.
    pub async fn work(self: Arc<Self>, work: Work) -> Result<Next, Failed> {
        match work {
            Work::Image(image) => self.image(&image).await,
            Work::Object(key) => self.object_without_image(&key).await,
        }
    }

    async fn image(&self, image: &ImageRef) -> Result<Next, Failed> {
        let now = self.clock.now();
        let objects = self.shares.concerning(image);
        let mut claimants: Vec<Claimant> = objects
            .iter()
            .filter_map(|object| Some(Claimant { claim: Claim::on(image, object, now)?, object: Arc::clone(object) }))
            .collect();
        if claimants.is_empty() {
            self.refused.forget(image);
            return Ok(Next::Rest);
        }
        if !claimants.iter().any(|c| c.claim.needs_aws()) {
            for claimant in &claimants {
                self.without_aws(image, claimant, now).await?;
            }
            return Ok(Next::Rest);
        }

        let ec2 = self.aws.ec2(&image.region);
        let claims: Vec<Claim> = claimants.iter().map(|c| c.claim.clone()).collect();
        let before = match observe(&ec2, image, &claims, self.policy).await {
            Ok(observed) => observed,
            Err(failure) => return self.could_not_observe(image, &claimants, &failure, now).await,
        };
        let (recalled, retry_refused) = self.refused.recall(image, &objects);
        let (plan, excluded) = loop {
            let claims: Vec<Claim> = claimants.iter().map(|c| c.claim.clone()).collect();
            let plan = plan(&claims, &before, &recalled, self.policy);
            match self.secure(image, &mut claimants, &plan, now).await? {
                None => {
                    break (plan, claimants.iter().any(|c| c.claim.standing == Standing::Suspended && !c.suspended()));
                }
                // Nothing is given or taken for an object that cannot keep a record, and nobody else waits for it.
                Some(key) => {
                    for claimant in claimants.iter_mut().filter(|c| c.claim.key == key) {
                        claimant.claim.standing = Standing::Suspended;
                    }
                }
            }
        };
        let claims: Vec<Claim> = claimants.iter().map(|c| c.claim.clone()).collect();

        for change in &plan.changes {
            tracing::info!(%image, "will {change}");
        }
        let outcome = apply(&ec2, &plan).await;
        self.refused.remember(image, &objects, recalled, &outcome.refused, self.refused_retry);
        let after = before.after(&outcome);
        let view = View {
            image,
            claims: &claims,
            before: &before,
            after: &after,
            plan: &plan,
            outcome: &outcome,
            policy: self.policy,
        };
        self.metrics.drift_corrected(notices::drift_corrected(&view));

        let mut trouble = None;
        let mut found = Finished::Well;
        for claimant in &claimants {
            for notice in notices::of_changes(&claimant.claim, &view) {
                self.writer.tell(&claimant.object, &notice).await;
            }
            match self.finish(claimant, &view, now).await {
                Ok(finished) => found = found.max(finished),
                Err(error) => trouble = Some(trouble.unwrap_or_else(|| Failed::from(error))),
            }
        }
        if let Some(failed) = trouble {
            return Err(failed);
        }
        if let Some(failure) = outcome.to_retry() {
            return Err(failure.into());
        }
        if found == Finished::Waiting || excluded {
            let message = "an object waits for something that was refused; its status says for what".into();
            return Err(Failed { reason: Reason::DeletionBlocked.as_str(), message, retry: None });
        }
        if !outcome.deferred.is_empty() {
            return Ok(Next::Soon(Duration::ZERO));
        }
        let retry_refused = retry_refused
            .map(|at| at.saturating_duration_since(tokio::time::Instant::now()))
            .or((!outcome.refused.is_empty()).then_some(self.refused_retry));
        Ok(match next(&claimants, &after.sight, retry_refused, now) {
            Next::After(after) if found == Finished::Stalled => Next::Stalled(after),
            next => next,
        })
    }

    /// Stores the finalizer and the ownership record of every claim before anything is done. Returns the object whose record
    /// the API server would not store, if there is one.
    async fn secure(
        &self,
        image: &ImageRef,
        claimants: &mut [Claimant],
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Option<ObjectKey>, Failed> {
        for claimant in claimants.iter_mut().filter(|c| c.claim.standing.writes()) {
            let record = plan.records.get(&claimant.claim.key).cloned().unwrap_or_default();
            let held = claimant.object.finalizers().iter().any(|f| f == FINALIZER);
            if !held && (!plan.changes.is_empty() || !record.is_empty()) {
                match self.writer.finalizer(&claimant.object, true).await {
                    Ok(object) => claimant.object = Arc::new(object),
                    Err(error @ WriteError::Refused { .. }) => {
                        tracing::warn!(%image, %error, "nothing is done for this object");
                        return Ok(Some(claimant.claim.key.clone()));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let old = claimant.object.status();
            if Granted::on(&image.id, &old.granted).covers(&record) {
                continue;
            }
            let status = status::progressing(claimant.subject(&old), &record, image, now);
            match self.writer.status(&claimant.object, &status).await {
                Ok(object) => claimant.object = Arc::new(object),
                Err(error @ WriteError::Refused { .. }) => {
                    tracing::warn!(%image, %error, "nothing is done for this object");
                    return Ok(Some(claimant.claim.key.clone()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Reports to one object after everything is done.
    async fn finish(&self, claimant: &Claimant, view: &View<'_>, now: Timestamp) -> Result<Finished, WriteError> {
        let Claimant { object, claim } = claimant;
        if claim.standing == Standing::Leaving {
            return match status::not_taken_back(claim, view) {
                None => self.let_go(view.image, claimant, Some(view)).await.map(|()| Finished::Well),
                Some(why) if claimant.deleting() => {
                    let old = object.status();
                    let new = status::deletion_blocked(claimant.subject(&old), claim, &why, now);
                    self.report(claimant, &old, new).await.map(|()| Finished::Waiting)
                }
                Some(_) => Ok(Finished::Waiting),
            };
        }
        if !claim.standing.writes() && claim.standing != Standing::Observing {
            self.without_aws(view.image, claimant, now).await?;
            return Ok(Finished::Well);
        }
        let old = object.status();
        let new = status::status(claimant.subject(&old), claim, view, now);
        let finished = match find(&new.conditions, ConditionType::Stalled) {
            Some(_) => Finished::Stalled,
            None => Finished::Well,
        };
        self.report(claimant, &old, new).await?;
        Ok(finished)
    }

    /// Sees to an object for which AWS need not be asked.
    async fn without_aws(&self, image: &ImageRef, claimant: &Claimant, now: Timestamp) -> Result<(), WriteError> {
        let old = claimant.object.status();
        let new = match (&claimant.claim.standing, &claimant.object.content) {
            (Standing::Leaving | Standing::LeavingAsItIs, _) => return self.let_go(image, claimant, None).await,
            (Standing::Suspended, Content::Share(share)) if share.spec.image.id.as_ref() != Some(&image.id) => {
                return Ok(());
            }
            (Standing::Suspended, _) if claimant.suspended() => status::suspended(claimant.subject(&old), now),
            (Standing::Unreadable, Content::Unreadable(unreadable)) => {
                status::unreadable(claimant.subject(&old), &unreadable.error, now)
            }
            _ => return Ok(()),
        };
        match self.report(claimant, &old, new).await {
            // The API server may refuse any write of an object that its schema does not know; the others do not wait for it.
            Err(error @ WriteError::Refused { .. }) if claimant.claim.standing == Standing::Unreadable => {
                tracing::warn!(%image, %error, "an object that cannot be read");
                Ok(())
            }
            result => result,
        }
    }

    /// Lets an object go from an image on which it holds nothing any more: drops the record, or the finalizer with the last one.
    async fn let_go(&self, image: &ImageRef, claimant: &Claimant, view: Option<&View<'_>>) -> Result<(), WriteError> {
        let Claimant { object, claim } = claimant;
        let old = object.status();
        let held = object.finalizers().iter().any(|f| f == FINALIZER);
        let elsewhere = old.granted.iter().any(|g| g.image_id != image.id);
        if claimant.deleting() && (!elsewhere || claim.standing == Standing::LeavingAsItIs) {
            if held {
                self.writer.finalizer(object, false).await?;
            }
            return Ok(());
        }
        let new = match view {
            Some(view) => status::moved_on(claimant.subject(&old), claim, view),
            None => AmiShareStatus { granted: Granted::default().replace_in(&image.id, &old.granted), ..old.clone() },
        };
        if new != old {
            self.writer.status(object, &new).await?;
            // The image that the object names now reports what was left here.
            for other in images(object).into_iter().filter(|other| other != image) {
                self.queue.ask(Work::Image(other), Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Reports that AWS could not be asked.
    async fn could_not_observe(
        &self,
        image: &ImageRef,
        claimants: &[Claimant],
        failure: &Failure,
        now: Timestamp,
    ) -> Result<Next, Failed> {
        let mut trouble = None;
        for claimant in claimants {
            let old = claimant.object.status();
            let subject = claimant.subject(&old);
            let result = match claimant.claim.standing {
                Standing::Leaving if !claimant.claim.granted.is_empty() && claimant.deleting() => {
                    let new = status::deletion_blocked(subject, &claimant.claim, &failure.to_string(), now);
                    self.report(claimant, &old, new).await
                }
                Standing::Leaving if !claimant.claim.granted.is_empty() => Ok(()),
                Standing::Authoritative | Standing::Additive | Standing::Observing => {
                    let new = status::unobserved(subject, &claimant.claim, failure, now);
                    self.report(claimant, &old, new).await
                }
                _ => self.without_aws(image, claimant, now).await,
            };
            if let Err(error) = result {
                trouble = Some(trouble.unwrap_or_else(|| Failed::from(error)));
            }
        }
        Err(trouble.unwrap_or_else(|| failure.into()))
    }

    /// Stores a status if it differs from what is stored, tells what is new in it, and counts its conditions.
    async fn report(&self, claimant: &Claimant, old: &AmiShareStatus, new: AmiShareStatus) -> Result<(), WriteError> {
        let object = &claimant.object;
        let ObjectKey { namespace, name } = &claimant.claim.key;
        let conditions = new.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str()));
        self.metrics.conditions("AmiShare", (namespace, name), conditions, claimant.suspended());
        if new == *old {
            return Ok(());
        }
        self.writer.status(object, &new).await?;
        if let Some(notice) = notices::of_summary(old, &new) {
            self.writer.tell(object, &notice).await;
        }
        Ok(())
    }

    /// Sees to an object that concerns no image: one that cannot be read, or that names none.
    async fn object_without_image(&self, key: &ObjectKey) -> Result<Next, Failed> {
        let Some(object) = self.shares.get(key) else { return Ok(Next::Rest) };
        if !images(&object).is_empty() {
            return Ok(Next::Rest);
        }
        let claim = Claim {
            key: key.clone(),
            standing: Standing::Unreadable,
            lists: BTreeSet::new(),
            lists_for_volumes: None,
            granted: Granted::default(),
            expired: false,
        };
        let claimant = Claimant { claim, object: Arc::clone(&object) };
        let old = object.status();
        if claimant.deleting() {
            let abandoned = object.annotations().get(ON_DELETE).map(String::as_str) == Some(ABANDON);
            if old.granted.is_empty() || abandoned {
                if object.finalizers().iter().any(|f| f == FINALIZER) {
                    self.writer.finalizer(&object, false).await?;
                }
                return Ok(Next::Rest);
            }
            let why = "the Region of what was given cannot be read from the object";
            let new = status::deletion_blocked(claimant.subject(&old), &claimant.claim, why, self.clock.now());
            self.report(&claimant, &old, new).await?;
            return Ok(Next::Rest);
        }
        let error = match &object.content {
            Content::Unreadable(unreadable) => unreadable.error.clone(),
            Content::Share(_) => "spec.image names no image: set spec.image.id".into(),
        };
        let new = status::unreadable(claimant.subject(&old), &error, self.clock.now());
        if let Err(error @ WriteError::Refused { .. }) = self.report(&claimant, &old, new).await {
            tracing::warn!(share = %key, %error, "an object that cannot be read");
            let notice = Notice {
                warning: true,
                reason: Reason::InvalidSpec.as_str(),
                action: "Reconcile",
                note: format!("{error}; correct the object"),
            };
            self.writer.tell(&object, &notice).await;
        }
        Ok(Next::Rest)
    }
}

impl Claimant {
    /// Whether the object says that it is suspended.
    fn suspended(&self) -> bool {
        self.object.share().is_some_and(|share| share.spec.suspend)
    }
}

/// When to look at an image again after everything was done that could be.
fn next(claimants: &[Claimant], sight: &Sight, retry_refused: Option<Duration>, now: Timestamp) -> Next {
    let acting = || claimants.iter().filter(|c| c.claim.standing.writes() || c.claim.standing == Standing::Observing);
    let shares = || acting().filter_map(|c| c.object.share());
    // Up to a tenth is taken off, so that what was created together is not checked together for ever.
    let jitter = 1.0 - rand::random::<f64>() / 10.0;
    let interval = shares().map(|share| share.spec.interval.as_duration().mul_f64(jitter)).min();
    let end = shares()
        .filter_map(|share| share.spec.expires_at.as_ref())
        .filter_map(|end| Duration::try_from(end.0.duration_since(now)).ok())
        .filter(|left| !left.is_zero())
        .min();
    let Some(after) = interval.into_iter().chain(end).chain(retry_refused).min() else { return Next::Rest };
    match sight {
        Sight::Hindered { reason: Reason::ImagePending, .. } => Next::Soon(after.min(PENDING)),
        Sight::Hindered { .. } => Next::Stalled(after),
        Sight::Shareable(_) => Next::After(after),
    }
}
