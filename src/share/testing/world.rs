//! Objects and an AWS that is plain data, reconciled with each other.

use std::collections::BTreeMap;

use amishare::{
    api::{ConditionType, ImageRef, Principal, stored::Stored},
    config::{API_VERSION, Configuration, Guardrail, Identities, KIND, parse},
    share::{
        claim::Claim,
        observed::{Observed, Target},
        outcome::Outcome,
        plan::Plan,
    },
};

use super::{
    aws::Aws,
    cluster::Cluster,
    image, key,
    share::{Build, delete, edit},
};

/// A small world.
#[derive(Debug, Clone)]
pub struct World {
    pub aws: Aws,
    pub cluster: Cluster,
}

/// One reconcile that looked at AWS.
#[derive(Debug, Clone)]
pub struct Round {
    pub claims: Vec<Claim>,
    pub before: Observed,
    pub plan: Plan,
    pub outcome: Outcome,
}

impl World {
    /// The default AWS and these shares.
    pub fn of(shares: impl IntoIterator<Item = Build>) -> Self {
        Self { aws: Aws::default(), cluster: Cluster::new(shares.into_iter().map(Build::build)) }
    }

    /// The same with another AWS.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Aws)) -> Self {
        change(&mut self.aws);
        self
    }

    /// The same where public sharing is allowed.
    #[must_use]
    pub fn allowing_public(mut self) -> Self {
        self.cluster.policy.allow_public = true;
        self
    }

    /// The same under these guard rails.
    #[must_use]
    pub fn under(mut self, guardrails: &str) -> Self {
        self.cluster.policy.guardrails = guardrails_of(guardrails);
        self
    }

    /// Reconciles an image once; nothing when AWS was not or could not be asked.
    pub fn reconcile(&mut self, image: &ImageRef) -> Option<Round> {
        let (claims, before) = self.look(image)?;
        let plan = self.cluster.plan(image, &claims, &before);
        self.cluster.bequeath(image, &plan);
        self.cluster.secure(image, &claims, &plan, usize::MAX);
        let outcome = self.aws.apply(&plan);
        self.cluster.finish(image, &claims, &before, &plan, &outcome);
        Some(Round { claims, before, plan, outcome })
    }

    /// Claims and what is seen of their image, when it has to be and can be looked at.
    pub fn look(&mut self, image: &ImageRef) -> Option<(Vec<Claim>, Observed)> {
        let claims = self.cluster.claims(image);
        if !claims.iter().any(Claim::needs_aws) {
            for claim in &claims {
                self.cluster.without_aws(image, claim);
            }
            return None;
        }
        match self.aws.observe(image, &claims) {
            Ok(mut before) => {
                self.cluster.parts = self.aws.parts();
                before.elsewhere = self.cluster.elsewhere(image, &before);
                Some((claims, before))
            }
            Err(failure) => {
                self.cluster.could_not_observe(image, &claims, &failure);
                None
            }
        }
    }

    /// Reconciles both images until nothing is written any more. Fails when there is no end to it: a tight quota whose every taker is refused takes a reconcile each.
    pub fn settle(&mut self) {
        for _ in 0..16 {
            let before = (self.cluster.writes, self.aws.clone());
            for number in [1, 2] {
                self.reconcile(&image(number));
            }
            if before == (self.cluster.writes, self.aws.clone()) {
                return;
            }
        }
        panic!("there is no end to it: {self:#?}");
    }

    /// A user creates an object.
    pub fn create(&mut self, object: Stored) {
        self.cluster.remembered.clear();
        self.cluster.objects.insert(amishare::share::claim::ObjectKey::of(&object), object);
    }

    /// A user changes a spec.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut amishare::api::AmiShareSpec)) {
        self.cluster.remembered.clear();
        edit(self.cluster.objects.get_mut(&key(name)).unwrap(), change);
    }

    /// A user deletes an object.
    pub fn delete(&mut self, name: &str) {
        self.cluster.remembered.clear();
        delete(self.cluster.objects.get_mut(&key(name)).unwrap());
    }

    /// Whether the object is still there.
    pub fn has(&self, name: &str) -> bool {
        self.cluster.objects.contains_key(&key(name))
    }

    /// Who holds a launch permission on image 1.
    pub fn launch(&self) -> std::collections::BTreeSet<Principal> {
        self.aws.held(&Target::Image(image(1).id))
    }

    /// Who holds what.
    pub fn held(&self) -> BTreeMap<Target, std::collections::BTreeSet<Principal>> {
        self.aws.all_held()
    }

    /// Status, reason and message of an object's summary.
    pub fn ready(&self, name: &str) -> (String, String, String) {
        self.cluster.condition(name, ConditionType::Ready)
    }
}

/// The guard rails of a configuration file: `text` is the YAML of the list.
pub fn guardrails_of(text: &str) -> Vec<Guardrail> {
    configuration(&format!("guardrails: {text}")).guardrails
}

/// The identities of a configuration file: `text` is the YAML of the list.
pub fn identities_of(text: &str) -> Identities {
    configuration(&format!("identities: {text}")).identities
}

fn configuration(field: &str) -> Configuration {
    parse("test", &format!("{{apiVersion: {API_VERSION}, kind: {KIND}, {field}}}")).unwrap()
}
