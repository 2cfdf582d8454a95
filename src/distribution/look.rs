//! What there is for a distribution, and what is decided by it.

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    aging::{Aged, Aging, Use},
    children,
    controller::Object,
    marks::Generation,
    observe::{self, Sight},
    plan::{Access, Decision, Situation, Source, Verdict},
    reconcile::{Barred, Looked, Planned, Reconciler, Work},
    status,
};
use crate::{
    api::{AmiDistribution, ImageId, Reason, Site, ami_distribution::DistributionTarget},
    aws::{Freshness, Services},
    config::identity,
    share::{claim::ObjectKey, policy::Policy, select::Search},
};

/// The source; or why it cannot be told which image that is.
pub(super) type Chosen = Result<ImageId, Sight>;

impl Reconciler {
    /// AWS in an account and Region, if the namespace of the object may have anything to do with it.
    pub(super) async fn reach(&self, namespace: &str, site: &Site, policy: &Policy) -> Result<Services, Barred> {
        if let Some(refusal) = policy.rules(namespace, site).bar() {
            return Err(Barred::Denied(refusal.message));
        }
        match policy.identities.get(&site.identity) {
            Some(identity) => self.aws.reach(site, identity).await.map_err(Barred::Failed),
            None => Err(Barred::Denied(identity::unknown(site.identity.as_str()))),
        }
    }

    /// Which image is the source, if that can be told: by its id, or by what is found.
    pub(super) async fn choose_source(&self, object: &AmiDistribution, policy: &Policy, now: Timestamp) -> Chosen {
        let source = &object.spec.source;
        if let Some(id) = &source.image.id {
            return Ok(id.clone());
        }
        let namespace = object.namespace().unwrap_or_default();
        let aws = self.reach(&namespace, &source.site(), policy).await.map_err(|barred| match barred {
            Barred::Denied(message) => Sight::Unseen(Reason::GuardrailDenied, message),
            Barred::Failed(failure) => Sight::Failed(failure),
        })?;
        let (wanted, region, known) = (&source.image, &source.region, status::source_of(object));
        let search = Search { wanted, region, field: "spec.source.image", known };
        let found = search.find(&aws, now).await.map_err(Sight::Failed)?;
        found.map_err(|(reason, message)| Sight::Unseen(reason, message))
    }

    pub(super) async fn look_at_source(&self, work: &Work<'_>, asked: Instant) -> Sight {
        let site = work.object.spec.source.site();
        match self.reach(&work.owner.namespace, &site, &work.policy).await {
            Ok(aws) => observe::source(&aws, &work.object.spec, &work.source_id, Freshness::Since(asked)).await,
            Err(Barred::Denied(message)) => Sight::Unseen(Reason::GuardrailDenied, message),
            Err(Barred::Failed(failure)) => Sight::Failed(failure),
        }
    }

    pub(super) async fn look<'a>(&self, work: &Work<'_>, target: &'a DistributionTarget) -> Looked<'a> {
        let (spec, site) = (&work.object.spec, target.site());
        let account = work.policy.identities.get(&site.identity).and_then(|identity| identity.account_id);
        let look = async {
            let aws = self.reach(&work.owner.namespace, &site, &work.policy).await?;
            let generation = Generation::of(&spec.source.region, &work.source_id, target.kms_key_id.as_ref());
            let seen = observe::target(&aws, &work.owner, spec, &work.source_id, target, generation.as_str()).await;
            seen.map(|seen| (aws, seen)).map_err(Barred::Failed)
        };
        Looked { aws: look.await, target, site, account }
    }

    /// Looks at who uses the copies of a target that retention lets go, and decides what becomes of all of them.
    pub(super) async fn age(&self, work: &Work<'_>, one: &Planned<'_>) -> Aged {
        let (Ok(verdict), Ok((aws, seen))) = (&one.verdict, &one.looked.aws) else { return Aged::default() };
        let target = one.looked.target;
        let keep = match &verdict.decision {
            Decision::Keep(image) => Some(image),
            _ => None,
        };
        let aging = Aging {
            owner: &work.owner,
            spec: &work.object.spec,
            target,
            own: &seen.own,
            keep,
            discard: &verdict.discard,
            record: work.known.get(target.name.as_str()).copied(),
            now: work.now,
        };
        let uses = join_all(aging.to_look_at().into_iter().map(async |copy| {
            let name = work.owner.share_name(&target.name, &copy.id);
            let share = self.children.get(&ObjectKey { namespace: work.owner.namespace.clone(), name });
            let uses = observe::uses(aws, copy, share.as_deref(), work.now).await;
            (copy.id.clone(), uses.map(|uses| Use { source_of: self.whose_source(&one.looked.site, &copy.id), ..uses }))
        }));
        aging.decide(&uses.await.into_iter().collect())
    }

    /// A distribution that has an image as its source.
    fn whose_source(&self, site: &Site, image: &ImageId) -> Option<String> {
        let copies_it = |object: &Object| {
            let object = object.0.as_ref().ok();
            object.is_some_and(|object| object.spec.source.site() == *site && status::source_of(object) == Some(image))
        };
        self.distributions.filter(copies_it).first().map(|object| ObjectKey::of(object.as_ref()).to_string())
    }

    pub(super) fn decide(&self, work: &Work<'_>, source: &Sight, looked: &Looked<'_>) -> Result<Verdict, Barred> {
        let (_, seen) = looked.aws.as_ref().map_err(Clone::clone)?;
        let source = match source {
            Sight::Seen(image) => Source::Seen(image),
            Sight::Unseen(reason, message) => Source::Unseen(*reason, message.clone()),
            Sight::Failed(failure) => Source::Unseen(failure.reason(), failure.to_string()),
        };
        let situation = Situation {
            owner: &work.owner,
            spec: &work.object.spec,
            spec_generation: work.object.metadata.generation.unwrap_or_default(),
            source: &source,
            source_id: &work.source_id,
            target: looked.target,
            own: &seen.own,
            found: &seen.found,
            with_its_key: &seen.with_its_key,
            record: work.known.get(looked.target.name.as_str()).copied(),
            asked_anew: work.asked_anew,
            access: self.access(work, looked),
            now: work.now,
        };
        Ok(situation.decide())
    }

    /// Whether the account of a target can read the source.
    pub(super) fn access(&self, work: &Work<'_>, looked: &Looked<'_>) -> Access {
        let source = &work.object.spec.source.identity;
        if looked.site.identity == *source {
            return Access::Own;
        }
        let owner = work.policy.identities.get(source).and_then(|identity| identity.account_id);
        match looked.account {
            None => Access::Unknown,
            Some(account) if Some(account) == owner => Access::Own,
            Some(account) => {
                let name = work.owner.opening_name(&work.source_id, account);
                match self.children.get(&ObjectKey { namespace: work.owner.namespace.clone(), name }) {
                    Some(opening) if opening.metadata.deletion_timestamp.is_none() => match children::state(&opening) {
                        Ok(()) => Access::Opened,
                        Err((reason, message)) => Access::Opening(reason, message),
                    },
                    _ => Access::Closed,
                }
            }
        }
    }
}
