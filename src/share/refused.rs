//! What was refused lately, so that it is not asked for and told of again and again: a closed account costs a call an hour and
//! not two at every check.
//!
//! State without I/O. Kept in memory: after a restart everybody is tried once more.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    claim::ObjectKey,
    observed::Target,
    plan::{Refusal, Refusals},
};
use crate::api::{AmiShareStatus, ImageRef, Principal, REQUESTED_AT, Reason, stored::Stored};

/// The refusals of every image.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<ImageRef, Remembered>>);

#[derive(Debug)]
struct Remembered {
    /// What the claims were when AWS refused: a new spec, or somebody who asks for it, is a new try.
    claims: u64,
    refusals: BTreeMap<(Target, Principal), Known>,
}

#[derive(Debug, Clone)]
struct Known {
    refusal: Refusal,
    /// It is not tried again until then.
    until: Instant,
    /// How often it has been tried.
    tries: u32,
}

/// How long a role is not tried again that KMS does not know: new ones appear late. Each time it is twice as long, and after so many
/// times it is as with everybody else.
const UNKNOWN_GRANTEE: Duration = Duration::from_mins(1);
const UNKNOWN_GRANTEE_TRIES: u32 = 4;

impl Refused {
    /// Whom not to try again yet, and until when.
    pub fn recall(&self, image: &ImageRef, objects: &[Arc<Stored>]) -> (Refusals, Option<Instant>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(known) = all.get(image) else { return (Refusals::new(), None) };
        if known.claims != fingerprint(objects) {
            all.remove(image);
            return (Refusals::new(), None);
        }
        let waiting = || known.refusals.iter().filter(|(_, known)| known.until > now);
        let first = waiting().map(|(_, known)| known.until).min();
        (waiting().map(|(key, known)| (key.clone(), known.refusal.clone())).collect(), first)
    }

    /// Remembers whom AWS refused just now, besides those who were not tried. Returns when the first of them is tried again.
    pub fn remember(
        &self,
        image: &ImageRef,
        objects: &[Arc<Stored>],
        new: &Refusals,
        wait: Duration,
    ) -> Option<Instant> {
        if new.is_empty() {
            return None;
        }
        let (claims, now) = (fingerprint(objects), Instant::now());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(image.clone()).or_insert_with(|| Remembered { claims, refusals: BTreeMap::new() });
        if known.claims != claims {
            *known = Remembered { claims, refusals: BTreeMap::new() };
        }
        for (key, refusal) in new {
            let tries = known.refusals.get(key).map_or(0, |known| known.tries + 1);
            let until = now + pause(refusal, tries, wait);
            known.refusals.insert(key.clone(), Known { refusal: refusal.clone(), until, tries });
        }
        // All that wait for long do so together: the image is tried again once, and not once for each.
        for one in known.refusals.values_mut().filter(|one| pause(&one.refusal, one.tries, wait) == wait) {
            one.until = now + wait;
        }
        known.refusals.values().map(|one| one.until).filter(|until| *until > now).min()
    }

    /// Forgets an image that nobody claims any more.
    pub fn forget(&self, image: &ImageRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
    }
}

/// How long one that is refused is not tried again, where most are not for as long as `wait`.
fn pause(refusal: &Refusal, tries: u32, wait: Duration) -> Duration {
    if refusal.reason == Reason::GranteeNotFound && tries < UNKNOWN_GRANTEE_TRIES {
        wait.min(UNKNOWN_GRANTEE * 2_u32.pow(tries))
    } else {
        wait
    }
}

/// What the API server would not have, so that it is not tried or told of again and again.
#[derive(Debug, Default)]
pub struct Told {
    /// Of which versions of which objects an event has told that it refuses to store what is to be written to them.
    refused: Mutex<HashMap<ObjectKey, Version>>,
    /// To which version it has made of an object when this status was written, and not stored all of it: what the status leaves
    /// out and somebody else has written stays, because somebody else owns it.
    in_vain: Mutex<HashMap<ObjectKey, (Option<String>, AmiShareStatus)>>,
}

/// The uid and the generation of an object.
type Version = (Option<String>, Option<i64>);

impl Told {
    /// Whether this version is told of for the first time.
    pub fn is_new(&self, object: &Stored) -> bool {
        let version = (object.metadata.uid.clone(), object.metadata.generation);
        let before =
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(ObjectKey::of(object), version.clone());
        before != Some(version)
    }

    /// Forgets an object that is no more.
    pub fn forget(&self, key: &ObjectKey) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.in_vain.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Notes that this version is what came of writing this status, so that writing it again changes nothing.
    pub fn was_in_vain(&self, object: &Stored, status: AmiShareStatus) {
        let written = (object.metadata.resource_version.clone(), status);
        self.in_vain.lock().unwrap_or_else(PoisonError::into_inner).insert(ObjectKey::of(object), written);
    }

    /// Whether that is known.
    pub fn is_in_vain(&self, object: &Stored, status: &AmiShareStatus) -> bool {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ObjectKey::of(object);
        match in_vain.get(&key) {
            None => false,
            Some((version, written)) if *version == object.metadata.resource_version && written == status => true,
            Some(_) => {
                in_vain.remove(&key);
                false
            }
        }
    }
}

fn fingerprint(objects: &[Arc<Stored>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for object in objects {
        (&object.metadata.uid, object.metadata.generation, object.annotations().get(REQUESTED_AT)).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::testing::{account, image, share::share};

    #[tokio::test(start_paused = true)]
    async fn whom_aws_refused_is_tried_again_after_a_while_and_an_unknown_role_sooner_but_not_for_ever() {
        let hour = Duration::from_hours(1);
        let (refused, objects) = (Refused::default(), [Arc::new(share("a").build())]);
        let one = |reason| {
            let target = Target::Image(image(1).id);
            Refusals::from([((target, account(1)), Refusal::new(reason, "no"))])
        };
        let minutes = |at: Option<Instant>| at.unwrap().duration_since(Instant::now()).as_secs() / 60;
        let closed = one(Reason::PrincipalRefused);
        assert_eq!(minutes(refused.remember(&image(1), &objects, &closed, hour)), 60);
        assert_eq!(refused.recall(&image(1), &objects).0, closed);
        tokio::time::advance(hour).await;
        assert_eq!(refused.recall(&image(1), &objects), (Refusals::new(), None));

        let (unknown, mut pauses) = (one(Reason::GranteeNotFound), Vec::new());
        for _ in 0..6 {
            pauses.push(minutes(refused.remember(&image(2), &objects, &unknown, hour)));
            tokio::time::advance(hour).await;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 60, 60]);
        assert_eq!(refused.recall(&image(2), &[]).0, Refusals::new(), "another spec is another try");
    }

    #[test]
    fn a_status_that_changed_nothing_is_not_written_to_the_same_version_again() {
        let (told, object) = (Told::default(), share("a").build());
        let status = AmiShareStatus { observed_generation: Some(1), ..AmiShareStatus::default() };
        assert!(!told.is_in_vain(&object, &status));
        told.was_in_vain(&object, status.clone());
        assert!(told.is_in_vain(&object, &status));

        let another = AmiShareStatus { observed_generation: Some(2), ..AmiShareStatus::default() };
        assert!(!told.is_in_vain(&object, &another), "another status is another try");

        told.was_in_vain(&object, status.clone());
        told.forget(&ObjectKey::of(&object));
        assert!(!told.is_in_vain(&object, &status), "nothing is known of what is no more");

        told.was_in_vain(&object, status.clone());
        let mut newer = object.clone();
        newer.metadata.resource_version = Some("newer".into());
        assert!(!told.is_in_vain(&newer, &status), "and so is another version");
    }
}
