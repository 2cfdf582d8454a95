//! The objects of an API server, and what a reconcile does with them: `Reconciler::image` without Kubernetes and without AWS.

use std::collections::{BTreeMap, BTreeSet};

use amishare::{
    api::{
        AmiShareStatus, ConditionType, ImageId, ImageRef,
        conditions::find,
        stored::{Content, Stored},
    },
    aws::failure::Failure,
    runtime::events::Notice,
    share::{
        claim::{Claim, ObjectKey, Standing},
        granted::Granted,
        notices,
        observed::{Elsewhere, Observed, Part, Target},
        outcome::Outcome,
        plan::{Plan, Policy, Refusal, Refusals, plan},
        status::{self, Subject, View},
        store::Shares,
    },
};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::{key, now, share::store_status};

/// All objects and what the operator knows besides them.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub objects: BTreeMap<ObjectKey, Stored>,
    pub policy: Policy,
    /// What the images are made of that AWS shows, whether an object has seen it or not.
    pub parts: BTreeMap<ImageId, BTreeSet<Part>>,
    pub now: Timestamp,
    /// Whom AWS refused lately.
    pub remembered: BTreeMap<ImageId, Refusals>,
    /// Every event so far, with the name of its object.
    pub events: Vec<(String, Notice)>,
    /// How often an object was written that was not as it is to be.
    pub writes: usize,
}

impl Cluster {
    pub fn new(objects: impl IntoIterator<Item = Stored>) -> Self {
        let objects = objects.into_iter().map(|object| (ObjectKey::of(&object), object)).collect();
        let (remembered, events) = (BTreeMap::new(), Vec::new());
        let parts = BTreeMap::new();
        Self { objects, policy: Policy::default(), parts, now: now(), remembered, events, writes: 0 }
    }

    /// What the objects say about an image.
    pub fn claims(&self, image: &ImageRef) -> Vec<Claim> {
        self.objects.values().filter_map(|object| Claim::on(image, object, self.now, &self.policy)).collect()
    }

    /// The same objects under a configuration that forbids nothing.
    pub fn lenient(&self) -> Self {
        let policy = Policy {
            allow_public: true,
            launch_permission_quota: self.policy.launch_permission_quota,
            ..Policy::default()
        };
        Self { policy, ..self.clone() }
    }

    /// What claims on other images say about the parts that were looked at.
    pub fn elsewhere(&self, image: &ImageRef, seen: &Observed) -> BTreeMap<Target, Vec<Elsewhere>> {
        let shares = Shares::default();
        for object in self.objects.values() {
            shares.take_in(0, Event::Apply(object.clone()));
        }
        shares.elsewhere(image, seen.parts().map(|(target, _)| target), &self.parts, self.now, &self.policy)
    }

    /// What there is to do.
    pub fn plan(&self, image: &ImageRef, claims: &[Claim], observed: &Observed) -> Plan {
        let none = Refusals::new();
        plan(claims, observed, self.remembered.get(&image.id).unwrap_or(&none), &self.policy)
    }

    /// What has to be stored before anything is done, up to the given number of objects.
    pub fn secure(&mut self, image: &ImageRef, claims: &[Claim], plan: &Plan, objects: usize) {
        let keeps = |claim: &&Claim| claim.standing.writes() || claim.standing.inherits();
        for claim in claims.iter().filter(keeps).take(objects) {
            let record = &plan.records[&claim.key];
            let old = self.objects[&claim.key].status();
            if !Granted::on(&image.id, &old.granted).covers(record) {
                let new = status::progressing(self.subject(&claim.key, &old), record, image, self.now);
                self.store(&claim.key, new);
            }
        }
    }

    /// What objects on other images inherit is on their records before it is let go here.
    pub fn bequeath(&mut self, image: &ImageRef, plan: &Plan) {
        for ((key, other), bequest) in &plan.bequests {
            let other = image.beside(other.clone());
            let old = self.objects[key].status();
            let new = status::progressing(self.subject(key, &old), &bequest.inherited, &other, self.now);
            self.store(key, new);
        }
    }

    /// What follows from what was done.
    pub fn finish(&mut self, image: &ImageRef, claims: &[Claim], before: &Observed, plan: &Plan, outcome: &Outcome) {
        if !outcome.refused.is_empty() {
            let refused = outcome.refused.iter().map(|(key, why)| (key.clone(), why.clone()));
            self.remembered.entry(image.id.clone()).or_default().extend(refused);
        }
        let after = before.after(outcome);
        let policy = self.policy.clone();
        let view = View { image, claims, after: &after, plan, outcome, policy: &policy };
        for claim in claims {
            let events = notices::of_changes(claim, &view);
            self.events.extend(events.into_iter().map(|notice| (claim.key.name.clone(), notice)));
            let old = self.objects[&claim.key].status();
            let subject = self.subject(&claim.key, &old);
            match claim.standing {
                Standing::Leaving => match status::not_taken_back(claim, &view) {
                    None => self.let_go(image, claim),
                    Some(why) => {
                        let mut new = old.clone();
                        if self.is_deleting(&claim.key) {
                            new = status::deletion_blocked(subject, claim, &why, self.now);
                        }
                        new.granted = status::left_on_record(&old, claim, &view);
                        self.store(&claim.key, new);
                    }
                },
                Standing::Waiting => {
                    let granted = status::left_on_record(&old, claim, &view);
                    self.store(&claim.key, AmiShareStatus { granted, ..old.clone() });
                }
                Standing::Authoritative | Standing::Additive | Standing::Observing => {
                    let new = status::status(subject, claim, &view, self.now);
                    self.store(&claim.key, new);
                }
                _ => self.without_aws(image, claim),
            }
        }
    }

    /// What is done for an object for which AWS need not be asked.
    pub fn without_aws(&mut self, image: &ImageRef, claim: &Claim) {
        let object = &self.objects[&claim.key];
        let old = object.status();
        let subject = self.subject(&claim.key, &old);
        if let Some(new) = status::off(subject, claim, self.now) {
            return self.store(&claim.key, new);
        }
        let new = match (claim.standing, &object.content) {
            (Standing::Leaving | Standing::LeavingAsItIs, _) => return self.let_go(image, claim),
            (Standing::Suspended, Content::Share(share)) if share.image() == Some(&image.id) => {
                status::suspended(subject, self.now)
            }
            (Standing::Unreadable, Content::Unreadable(unreadable)) => {
                status::unreadable(subject, &unreadable.error, self.now)
            }
            _ => return,
        };
        self.store(&claim.key, new);
    }

    /// What is reported when AWS could not be asked.
    pub fn could_not_observe(&mut self, image: &ImageRef, claims: &[Claim], failure: &Failure) {
        for claim in claims {
            let old = self.objects[&claim.key].status();
            let subject = self.subject(&claim.key, &old);
            match claim.standing {
                Standing::Leaving if !claim.granted.is_empty() => {
                    if self.is_deleting(&claim.key) {
                        let why = Refusal::new(failure.reason(), failure.to_string());
                        let new = status::deletion_blocked(subject, claim, &why, self.now);
                        self.store(&claim.key, new);
                    }
                }
                Standing::Authoritative | Standing::Additive | Standing::Observing => {
                    let new = status::unobserved(subject, claim, failure, self.now);
                    self.store(&claim.key, new);
                }
                _ => self.without_aws(image, claim),
            }
        }
    }

    /// The status of an object by its name.
    pub fn status(&self, name: &str) -> AmiShareStatus {
        self.objects[&key(name)].status()
    }

    /// Status, reason and message of a condition; empty when it is not there.
    pub fn condition(&self, name: &str, kind: ConditionType) -> (String, String, String) {
        let status = self.status(name);
        find(&status.conditions, kind)
            .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
            .unwrap_or_default()
    }

    /// What an object has on record for an image.
    pub fn granted(&self, name: &str, image: &ImageRef) -> Granted {
        Granted::on(&image.id, &self.status(name).granted)
    }

    fn subject<'a>(&self, key: &ObjectKey, old: &'a AmiShareStatus) -> Subject<'a> {
        let generation = self.objects[key].metadata.generation.unwrap_or_default();
        let is_by_the_spec = self.objects[key].share().is_some_and(|share| share.selected().is_some());
        let selected = old.selected.as_ref().filter(|_| is_by_the_spec);
        Subject { old, generation, requested_at: None, selected }
    }

    fn is_deleting(&self, key: &ObjectKey) -> bool {
        self.objects[key].metadata.deletion_timestamp.is_some()
    }

    fn let_go(&mut self, image: &ImageRef, claim: &Claim) {
        let old = self.objects[&claim.key].status();
        let elsewhere = old.granted.iter().any(|g| g.image_id != image.id);
        if self.is_deleting(&claim.key) && (!elsewhere || claim.standing == Standing::LeavingAsItIs) {
            self.objects.remove(&claim.key);
            self.writes += 1;
        } else {
            self.store(&claim.key, status::moved_on(&old, image));
        }
    }

    fn store(&mut self, key: &ObjectKey, new: AmiShareStatus) {
        let object = self.objects.get_mut(key).unwrap();
        let old = object.status();
        if old == new {
            return;
        }
        let event = notices::of_summary(&old, &new);
        self.events.extend(event.map(|notice| (key.name.clone(), notice)));
        store_status(object, new);
        self.writes += 1;
    }
}
