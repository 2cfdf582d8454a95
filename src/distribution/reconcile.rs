//! One reconcile of one distribution: from its spec to copies in AWS, its AmiShares, and its status.
//!
//! The order of the steps is what makes a crash at any point harmless: the finalizer and the record of an attempt are stored before a
//! copy is ordered, and an order that is repeated is the same order to EC2; what has failed is on record before it is deleted; the
//! finalizer goes after the last copy that is to be deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::{
    aging::{Aged, Change},
    apply::Applying,
    berths::{Berths, Ship},
    controller::Object,
    marks::Owner,
    mirror::Mirror,
    observe::{Seen, Sight},
    plan::{Decision, Verdict},
    status::{self, Applied, Line, Sharing},
    writer::{Writer, is_held},
};
use crate::{
    api::{
        AccountId, AmiDistribution, AmiShare, ImageId, Reason, Site,
        ami_distribution::{DistributionTarget, TargetStatus},
        conditions::Verdict as Says,
    },
    aws::{
        Aws, Services,
        failure::{Class, Failure},
    },
    runtime::{
        agenda::{Place, Urgency},
        backoff::Pace,
        clock::Clock,
        metrics::Metrics,
        runner::{Failed, Job, Next, Queue},
    },
    share::{claim::ObjectKey, live::Live, policy::Policy},
};

/// How soon a copy that has just been ordered is looked at.
const ORDERED: Duration = Duration::from_secs(5);

/// How soon a copy is ordered again that AWS had no room for.
const QUOTA: Duration = Duration::from_mins(2);

/// How soon to look again for what a watch brings, should it not.
pub(super) const FALLBACK: Duration = Duration::from_secs(30);

/// Reconciles distributions.
pub struct Reconciler {
    /// AWS.
    pub aws: Arc<Aws>,
    /// All distributions.
    pub distributions: Mirror<Object>,
    /// All AmiShares that distributions own.
    pub children: Mirror<AmiShare>,
    /// The Kubernetes API.
    pub writer: Writer,
    /// What the operator's configuration allows at the moment.
    pub policy: Live,
    /// The time.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where further work is asked for.
    pub queue: Queue<ObjectKey>,
    /// How many copies may be under way at once, and who is next.
    pub berths: Berths,
}

/// Why AWS cannot be asked for a target.
#[derive(Debug, Clone)]
pub(super) enum Barred {
    /// The operator's configuration forbids it.
    Denied(String),
    /// It failed.
    Failed(Failure),
}

/// A target, and what there is for it.
pub(super) struct Looked<'a> {
    pub(super) target: &'a DistributionTarget,
    pub(super) site: Site,
    pub(super) account: Option<AccountId>,
    pub(super) aws: Result<(Services, Seen), Barred>,
}

/// What a reconcile works on.
pub(super) struct Work<'a> {
    pub(super) object: &'a AmiDistribution,
    pub(super) owner: Owner,
    pub(super) policy: Arc<Policy>,
    pub(super) now: Timestamp,
    pub(super) source_id: ImageId,
    /// What is on record, by target.
    pub(super) known: BTreeMap<&'a str, &'a TargetStatus>,
    pub(super) asked_anew: bool,
}

/// A target and what is to be done for it.
pub(super) struct Planned<'a> {
    pub(super) looked: Looked<'a>,
    pub(super) verdict: Result<Verdict, Barred>,
    /// What is to be done about the copies that there are.
    pub(super) aged: Aged,
}

/// What came of the changes to copies that grow old.
pub(super) type Changed = Vec<(Change, Result<(), Failure>)>;

impl Planned<'_> {
    /// Makes the changes that growing old brings, all of them whatever comes of the others.
    async fn change(&self, applying: &Applying<'_>) -> Changed {
        let Ok((aws, _)) = &self.looked.aws else { return Vec::new() };
        let mut changed = Vec::new();
        for change in &self.aged.changes {
            let result = applying.change(aws, change).await;
            if let Err(failure) = &result {
                tracing::warn!(target = self.looked.target.name, %failure, "could not {change}; tried again");
            }
            changed.push((change.clone(), result));
        }
        changed
    }

    fn is_order(&self) -> bool {
        matches!(&self.verdict, Ok(Verdict { decision: Decision::Order(_), .. }))
    }

    /// Deletes what is of no use, and orders the copy if it is its turn.
    async fn apply(&self, applying: &Applying<'_>, orders: bool) -> Applied {
        let (Ok(verdict), Ok((aws, seen))) = (&self.verdict, &self.looked.aws) else { return Applied::Nothing };
        if let Err(failure) = applying.discard(aws, &seen.own, &verdict.discard).await {
            tracing::warn!(target = self.looked.target.name, %failure, "a copy could not be deleted; tried again");
        }
        match &verdict.decision {
            Decision::Order(_) if !orders => Applied::NoBerth,
            Decision::Order(order) => match applying.order(aws, order).await {
                Ok(image) => Applied::Ordered(image),
                Err(failure) => Applied::NotOrdered(failure),
            },
            _ => Applied::Nothing,
        }
    }
}

/// The object that things belong to.
pub(super) fn owner_of(object: &AmiDistribution) -> Owner {
    Owner {
        uid: object.uid().unwrap_or_default(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

impl Reconciler {
    async fn distribution(&self, object: &AmiDistribution, asked: Instant) -> Result<Next, Failed> {
        let now = self.clock.now();
        if object.metadata.deletion_timestamp.is_some() {
            return if is_held(object) { self.leave(object, now).await } else { Ok(Next::Rest) };
        }
        let spec = &object.spec;
        if spec.suspend {
            let message = "suspended: no copy is begun or deleted; its AmiShares go on as they are";
            let status = status::only(object, Says::unknown(Reason::Suspended, message), None, now);
            self.store(object, status).await?;
            return Ok(Next::Rest);
        }
        let policy = self.policy.now();
        let chosen = self.choose_source(object, &policy, now).await;
        // What was the source stays it as long as it cannot be told which image is.
        let Some(source_id) = chosen.as_ref().ok().or_else(|| status::source_of(object)).cloned() else {
            return self.without_a_source(object, chosen.err(), now).await;
        };
        let known = object.status.iter().flat_map(|status| &status.targets);
        let work = Work {
            object,
            owner: owner_of(object),
            policy,
            now,
            source_id,
            known: known.map(|line| (line.name.as_str(), line)).collect(),
            asked_anew: object.status.as_ref().is_none_or(|status| {
                status.observed_generation != object.metadata.generation
                    || status.last_handled_reconcile_at != status::requested_at(object)
            }),
        };
        let source = match chosen {
            Ok(_) => self.look_at_source(&work, asked).await,
            Err(unseen) => unseen,
        };
        self.tell_source(&work).await;
        let looked = join_all(spec.targets.iter().map(|target| self.look(&work, target))).await;
        let planned: Vec<Planned<'_>> = looked
            .into_iter()
            .map(|looked| Planned { verdict: self.decide(&work, &source, &looked), looked, aged: Aged::default() })
            .collect();
        let planned = join_all(planned.into_iter().map(async |one| {
            let aged = self.age(&work, &one).await;
            Planned { aged, ..one }
        }))
        .await;
        self.carry_out(&work, &source, planned).await
    }

    /// Reports that there is no source, and never was.
    async fn without_a_source(
        &self,
        object: &AmiDistribution,
        why: Option<Sight>,
        now: Timestamp,
    ) -> Result<Next, Failed> {
        let interval = object.spec.interval.bounded();
        let (says, next) = match why {
            Some(Sight::Failed(failure)) => (Says::unknown(failure.reason(), failure.to_string()), Err(failure)),
            Some(Sight::Unseen(reason, message)) => (Says::no(reason, message), Ok(Next::Stalled(interval))),
            Some(Sight::Seen(_)) | None => return Ok(Next::Soon(FALLBACK)),
        };
        self.store(object, status::only(object, says, Some(next.is_err()), now)).await?;
        next.map_err(|failure| Failed::from(&failure))
    }

    /// Gives copies that are under way their places, and those that are to be ordered as long as there are any. Returns the targets
    /// that get none.
    fn take_berths(&self, work: &Work<'_>, planned: &[Planned<'_>]) -> BTreeSet<String> {
        let mut without = BTreeSet::new();
        for Planned { looked, verdict, .. } in planned {
            let ship = (work.owner.uid.clone(), looked.target.name.clone());
            match verdict.as_ref().map(|verdict| &verdict.decision) {
                Ok(Decision::Wait(..)) => self.berths.occupy(&looked.site, &ship),
                Ok(Decision::Order(_)) => {
                    if !self.berths.take(&looked.site, &ship) {
                        without.insert(looked.target.name.clone());
                    }
                }
                Ok(_) => self.wake(self.berths.leave(&looked.site, &ship)),
                // It may be under way.
                Err(_) => {}
            }
        }
        without
    }

    /// Makes sure, before anything is done, that the object is held and is the newest that there is.
    pub(super) async fn secure(&self, object: AmiDistribution) -> Result<AmiDistribution, Failed> {
        if !is_held(&object) {
            return Ok(self.writer.finalizer(&object, true).await?);
        }
        if self.writer.is_newest(&object).await? {
            return Ok(object);
        }
        let message = "the object has changed meanwhile".into();
        Err(Failed { reason: "Conflict", message, pace: Pace::Fast })
    }

    /// Does what was decided, in the order that survives a crash, and reports it.
    async fn carry_out(&self, work: &Work<'_>, source: &Sight, planned: Vec<Planned<'_>>) -> Result<Next, Failed> {
        let without_berth = self.take_berths(work, &planned);
        let orders = |one: &Planned<'_>| one.is_order() && !without_berth.contains(&one.looked.target.name);
        let discards = |one: &Planned<'_>| one.verdict.as_ref().is_ok_and(|verdict| !verdict.discard.is_empty());
        let ages = |one: &Planned<'_>| !one.aged.changes.is_empty();
        let acts = planned.iter().any(|one| orders(one) || discards(one) || ages(one));
        let known = |one: &Planned<'_>| work.known.get(one.looked.target.name.as_str()).copied();
        let is_on_record =
            |one: &Planned<'_>| one.verdict.as_ref().is_ok_and(|verdict| verdict.record.is_in(known(one)));
        let records = planned.iter().any(|one| {
            ((orders(one) || discards(one)) && !is_on_record(one))
                || ((ages(one) || one.aged.retired_anew(known(one)).next().is_some()) && !one.aged.is_in(known(one)))
        });
        let (wanted, leaving) = (self.wanted_children(work, &planned), work.leaving());
        let stale = self.stale_children(work, &wanted, &leaving);
        let mut object = work.object.clone();
        if acts || !stale.is_empty() || !leaving.is_empty() || self.lacks_children(&object, &wanted) {
            object = self.secure(object).await?;
        }
        // What is about to be done is on record before it is.
        if records {
            let lines = planned.iter().map(|one| self.line(work, one, &Applied::Nothing, orders(one)));
            let lines = lines.zip(&planned).map(|(mut line, one)| {
                if one.verdict.is_ok() {
                    status::age(&mut line, &one.aged);
                }
                line
            });
            let leave = leaving.iter().map(|known| status::leaving(known, "no longer in the spec"));
            let lines: Vec<Line> = lines.chain(leave).collect();
            let before = object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
            let mut status = status::whole(&object, source, &lines, work.now);
            // What was asked for is heard only when it is done.
            status.last_handled_reconcile_at = before;
            object = self.writer.status(&object, &status).await?;
        }
        let applying = Applying {
            policy: &self.policy,
            under: &work.policy,
            source: Some(&work.source_id),
            uid: &work.owner.uid,
            unprotects: status::protects(work.object),
        };
        let applied = join_all(planned.iter().map(|one| one.apply(&applying, orders(one)))).await;
        for (one, _) in planned.iter().zip(&applied).filter(|(_, applied)| applied.is_refused()) {
            self.wake(self.berths.leave(&one.looked.site, &(work.owner.uid.clone(), one.looked.target.name.clone())));
        }
        let retiring = |one: &Planned<'_>| -> Vec<ImageId> {
            one.aged.retiring.iter().cloned().chain(self.former_sources(work, one).dropped).collect()
        };
        let retiring = planned.iter().flat_map(retiring).collect();
        let changed = join_all(planned.iter().map(|one| one.change(&applying))).await;
        let refused = self.write_children(&object, &wanted, &stale, &retiring).await?;
        let mut left = Vec::new();
        for known in &leaving {
            left.extend(self.let_go(work, &object, known, &applying).await);
        }
        let mut lines: Vec<Line> =
            planned.iter().zip(&applied).map(|(one, applied)| self.line(work, one, applied, orders(one))).collect();
        for line in &mut lines {
            if let Some(message) = refused.get(&line.status.name) {
                line.is_refused(message);
            }
        }
        for (((one, applied), changed), line) in planned.iter().zip(&applied).zip(&changed).zip(&mut lines) {
            if one.verdict.is_ok() {
                status::age(line, &one.aged);
                status::aged(line, &work.object.spec, changed, work.now);
            }
            self.tell(work, one, applied).await;
            self.tell_aged(work, one, changed).await;
        }
        let next = next(work, &planned, &applied, &lines, !left.is_empty());
        lines.extend(left);
        self.store(&object, status::whole(&object, source, &lines, work.now)).await?;
        let failures = planned.iter().filter_map(|one| match &one.verdict {
            Err(Barred::Failed(failure)) => Some(failure),
            Ok(_) | Err(Barred::Denied(_)) => None,
        });
        let failed_source = match source {
            Sight::Failed(failure) => Some(failure),
            Sight::Seen(_) | Sight::Unseen(..) => None,
        };
        failures.chain(failed_source).next().map_or(Ok(next), |failure| Err(failure.into()))
    }

    /// The line of a target.
    fn line(&self, work: &Work<'_>, one: &Planned<'_>, applied: &Applied, orders: bool) -> Line {
        let target = one.looked.target;
        let known = work.known.get(target.name.as_str()).copied();
        let verdict = match &one.verdict {
            Ok(verdict) => verdict,
            Err(Barred::Denied(message)) => {
                return status::unseen(target, known, Reason::GuardrailDenied, message, false);
            }
            Err(Barred::Failed(failure)) => {
                let passes = failure.reason().passes_by_itself();
                return status::unseen(target, known, failure.reason(), &failure.to_string(), passes);
            }
        };
        let mut begun = status::begin(target, one.looked.account, Some(&verdict.record));
        if applied.is_refused() || (matches!(verdict.decision, Decision::Order(_)) && !orders) {
            // It has not begun: the record stays as it was.
            begun.since = known.and_then(|known| known.since.clone());
        }
        let progress = one.looked.aws.as_ref().ok().and_then(|(_, seen)| seen.progress);
        let sharing = match &verdict.decision {
            Decision::Keep(image) => self.sharing(work, target, image),
            _ => Sharing::NotRequested,
        };
        let applied =
            if !orders && matches!(verdict.decision, Decision::Order(_)) { &Applied::NoBerth } else { applied };
        status::line(begun, verdict, applied, sharing, progress, &work.source_id)
    }

    /// An object is no more: nobody waits for its copies.
    pub(super) fn gone(&self, key: &ObjectKey, uid: &str) {
        self.metrics.forget("AmiDistribution", (&key.namespace, &key.name));
        self.wake(self.berths.leave_all(uid));
    }

    /// Has those worked on who are next.
    pub(super) fn wake(&self, ships: Vec<Ship>) {
        for (uid, _) in ships {
            for object in self.distributions.filter(|object| object.meta().uid.as_deref() == Some(&uid)) {
                self.queue.ask(ObjectKey::of(object.as_ref()), Duration::ZERO);
            }
        }
    }
}

/// When to look again.
fn next(work: &Work<'_>, planned: &[Planned<'_>], applied: &[Applied], lines: &[Line], leaves: bool) -> Next {
    let interval = work.object.spec.interval.bounded();
    let mut soon: Vec<Duration> = leaves.then_some(FALLBACK).into_iter().collect();
    for (one, applied) in planned.iter().zip(applied) {
        soon.extend(one.aged.look_again);
        match (&one.verdict, applied) {
            (Ok(Verdict { decision: Decision::Wait(_, after) | Decision::Refuse(_, _, Some(after)), .. }), _) => {
                soon.push(*after);
            }
            (_, Applied::Ordered(_)) => soon.push(ORDERED),
            (_, Applied::NotOrdered(failure)) if failure.class == Class::Quota => soon.push(QUOTA),
            (_, Applied::NotOrdered(_)) if !applied.is_refused() => soon.push(FALLBACK),
            (_, Applied::NoBerth) | (Ok(Verdict { decision: Decision::Open(..), .. }), _) => soon.push(FALLBACK),
            _ => {}
        }
    }
    if let Some(after) = soon.into_iter().min() {
        return Next::Soon(after.min(interval));
    }
    // Each object has its own moment: not all that were created together are checked together.
    let spread = u32::from_str_radix(work.owner.uid.get(..4).unwrap_or("0"), 16).unwrap_or(0);
    let after = interval.mul_f64(1.0 + f64::from(spread) / f64::from(u16::MAX) / 10.0);
    if lines.iter().any(|line| !line.status.ready && !line.passes) { Next::Stalled(after) } else { Next::After(after) }
}

impl Job for Reconciler {
    type Key = ObjectKey;
    /// The source: what is copied from one account and Region does not wait for what is copied from others.
    type Lane = Option<Site>;

    fn place(&self, key: &ObjectKey) -> Place<Option<Site>> {
        let object = self.distributions.get(key);
        let spec = object.as_ref().and_then(|object| object.0.as_ref().ok()).map(|object| &object.spec);
        let lane = spec.map(|spec| spec.source.site());
        Place { lane, urgency: Urgency::Give }
    }

    async fn work(self: Arc<Self>, key: ObjectKey, asked: Instant) -> Result<Next, Failed> {
        let Some(object) = self.distributions.get(&key) else { return Ok(Next::Rest) };
        match &object.0 {
            Ok(distribution) => self.distribution(distribution, asked).await,
            Err(invalid) => self.unreadable(&object, &invalid.error).await,
        }
    }
}
