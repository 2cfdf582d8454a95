//! What was refused lately, so that it is not asked for and told of again and again: a closed account costs a call an hour and
//! not two at every check.
//!
//! Pure state. Kept in memory: after a restart everybody is tried once more.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::time::Instant;

use super::{claim::ObjectKey, plan::Refusals};
use crate::api::{ImageRef, REQUESTED_AT, stored::Stored};

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

/// Of which versions of which objects an event has told that the API server refuses to store what is to be written to them. Once
/// for each: it is tried again and again, and refused again and again.
#[derive(Debug, Default)]
pub struct Told(Mutex<HashMap<ObjectKey, Version>>);

/// The uid and the generation of an object.
type Version = (Option<String>, Option<i64>);

impl Told {
    /// Whether this version is told of for the first time.
    pub fn is_new(&self, object: &Stored) -> bool {
        let version = (object.metadata.uid.clone(), object.metadata.generation);
        let before =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ObjectKey::of(object), version.clone());
        before != Some(version)
    }
}

fn fingerprint(objects: &[Arc<Stored>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for object in objects {
        (&object.metadata.uid, object.metadata.generation, object.annotations().get(REQUESTED_AT)).hash(&mut hasher);
    }
    hasher.finish()
}
