//! Targets and distributions that go: first what was given is taken back, then, if that is asked for, the copies are deleted.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    apply::Applying,
    children,
    marks::Owner,
    observe,
    reconcile::{Barred, FALLBACK, Reconciler, Work, owner_of},
    status::{self, Line},
};
use crate::{
    api::{
        ABANDON, AmiDistribution, ON_DELETE, Reason, Site,
        ami_distribution::{CopyDeletionPolicy, DistributionTarget, TargetStatus},
        conditions::Verdict as Says,
    },
    aws::failure::Failure,
    runtime::{
        backoff::Pace,
        runner::{Failed, Next},
    },
    share::policy::Policy,
};

impl Work<'_> {
    /// The targets that are on record and no longer in the spec.
    pub(super) fn leaving(&self) -> Vec<TargetStatus> {
        let names: BTreeSet<&str> = self.object.spec.targets.iter().map(|target| target.name.as_str()).collect();
        self.known.values().filter(|known| !names.contains(known.name.as_str())).map(|known| (*known).clone()).collect()
    }
}

impl Reconciler {
    /// Lets a target go that is no longer in the spec: first its AmiShares, then, if that is asked for, its copies. None once that is
    /// done.
    pub(super) async fn let_go(
        &self,
        work: &Work<'_>,
        object: &AmiDistribution,
        known: &TargetStatus,
        applying: &Applying<'_>,
    ) -> Option<Line> {
        let site = known.site();
        self.wake(self.berths.leave(&site, &(work.owner.uid.clone(), known.name.clone())));
        let mut children = self.own_children(&work.owner.uid);
        children.retain(|share| share.labels().get(children::FOR) == Some(&known.name));
        if let Some(message) = self.delete_children(object, &children).await {
            return Some(status::leaving(known, &message));
        }
        if object.spec.deletion_policy == CopyDeletionPolicy::Retain {
            return None;
        }
        match self.delete_copies(&work.owner, &work.policy, &site, Some(&known.name), applying).await {
            Ok(()) => None,
            Err(message) => Some(status::leaving(known, &message)),
        }
    }

    /// Deletes the copies of an object in one account and Region, all or those of one target.
    pub(super) async fn delete_copies(
        &self,
        owner: &Owner,
        policy: &Policy,
        site: &Site,
        target: Option<&str>,
        applying: &Applying<'_>,
    ) -> Result<(), String> {
        let aws = match self.reach(&owner.namespace, site, policy).await {
            Ok(aws) => aws,
            Err(Barred::Denied(message)) => return Err(message),
            Err(Barred::Failed(failure)) => return Err(failure.to_string()),
        };
        let delete = async {
            let mut copies = observe::of_object(&aws, owner).await?;
            copies.retain(|copy| target.is_none_or(|target| owner.made(copy, target)));
            copies.retain(|copy| copy.state != "deregistered");
            applying.deregister(&aws, copies.iter()).await?;
            applying.sweep(&aws).await
        };
        delete.await.map_err(|failure: Failure| failure.to_string())
    }

    /// Takes everything back before the object goes.
    pub(super) async fn leave(&self, object: &AmiDistribution, now: Timestamp) -> Result<Next, Failed> {
        let owner = owner_of(object);
        let abandons = object.annotations().get(ON_DELETE).is_some_and(|value| value == ABANDON);
        if !abandons {
            let children = self.own_children(&owner.uid);
            let message = self.delete_children(object, &children).await;
            if let Some(message) = message {
                let says = Says::no(Reason::Progressing, message);
                self.store(object, status::only(object, says, Some(true), now)).await?;
                return Ok(Next::Soon(FALLBACK));
            }
            if object.spec.deletion_policy == CopyDeletionPolicy::Delete {
                self.secure(object.clone()).await?;
                let known = object.status.iter().flat_map(|status| &status.targets);
                let sites: BTreeSet<Site> = object
                    .spec
                    .targets
                    .iter()
                    .map(DistributionTarget::site)
                    .chain(known.map(TargetStatus::site))
                    .collect();
                let (policy, source) = (self.policy.now(), status::source_of(object));
                let unprotects = status::protects(object);
                let applying = Applying { policy: &self.policy, under: &policy, source, uid: &owner.uid, unprotects };
                let (owner, policy, applying) = (&owner, &policy, &applying);
                let results = join_all(sites.iter().map(|site| async move {
                    let deleted = self.delete_copies(owner, policy, site, None, applying).await;
                    deleted.map_err(|message| format!("{site}: {message}"))
                }))
                .await;
                let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
                if !failed.is_empty() {
                    let message = format!(
                        "copies are not yet deleted: {}; to delete the object and leave AWS as it is, annotate it with \
                         {ON_DELETE}={ABANDON}",
                        failed.join("; ")
                    );
                    let says = Says::no(Reason::DeletionBlocked, message.clone());
                    self.store(object, status::only(object, says, Some(true), now)).await?;
                    return Err(Failed { reason: Reason::DeletionBlocked.as_str(), message, pace: Pace::Slow });
                }
            }
        }
        // The status that was stored meanwhile has made another version of it.
        self.writer.finalizer(object, false).await?;
        self.metrics.forget("AmiDistribution", (&owner.namespace, &owner.name));
        self.wake(self.berths.leave_all(&owner.uid));
        Ok(Next::Rest)
    }
}
