//! What was refused lately, so that it is not asked for and told of again and again: a closed account costs a call an hour and
//! not two at every check.
//!
//! State without I/O. Kept in memory: after a restart everybody is tried once more.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::time::Instant;

use super::{claim::ObjectKey, plan::Refusals};
use crate::api::{AmiShareStatus, ImageRef, REQUESTED_AT, stored::Stored};

/// The refusals of every image.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<ImageRef, Remembered>>);

#[derive(Debug)]
struct Remembered {
    /// What the claims were when AWS refused: a new spec, or somebody who asks for it, is a new try.
    claims: u64,
    refusals: Refusals,
    until: Instant,
}

impl Refused {
    /// Whom not to try again yet, and until when.
    pub fn recall(&self, image: &ImageRef, objects: &[Arc<Stored>]) -> (Refusals, Option<Instant>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match all.get(image) {
            Some(known) if known.claims == fingerprint(objects) && known.until > now => {
                (known.refusals.clone(), Some(known.until))
            }
            Some(_) => {
                all.remove(image);
                (Refusals::new(), None)
            }
            None => (Refusals::new(), None),
        }
    }

    /// Remembers whom AWS refused just now, together with those who were not tried.
    pub fn remember(
        &self,
        image: &ImageRef,
        objects: &[Arc<Stored>],
        recalled: Refusals,
        new: &Refusals,
        wait: Duration,
    ) {
        if new.is_empty() {
            return;
        }
        let mut refusals = recalled;
        refusals.extend(new.iter().map(|(key, refusal)| (key.clone(), refusal.clone())));
        let known = Remembered { claims: fingerprint(objects), refusals, until: Instant::now() + wait };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone(), known);
    }

    /// Forgets an image that nobody claims any more.
    pub fn forget(&self, image: &ImageRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
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
    use crate::share::testing::share::share;

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
