//! One image at a time changes anything on a key: which accounts need it is a matter of all images that are encrypted with it.
//!
//! State without I/O.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use super::observed::Observed;
use crate::api::KeyArn;

/// The keys that are worked on. One of each key for as long as the process runs: there are few.
#[derive(Debug, Default)]
pub struct KeyLocks(Mutex<HashMap<KeyArn, Arc<tokio::sync::Mutex<()>>>>);

impl KeyLocks {
    /// Waits for its turn with every key on which grants were looked at. In the order of their names, so that no two images wait for
    /// each other.
    pub async fn lock(&self, seen: &Observed) -> Vec<OwnedMutexGuard<()>> {
        let keys: BTreeSet<&KeyArn> = seen.grants.keys().map(|on| &on.key).collect();
        let mut held = Vec::with_capacity(keys.len());
        for key in keys {
            let lock = {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(all.entry(key.clone()).or_default())
            };
            held.push(lock.lock_owned().await);
        }
        held
    }
}
