//! What is known of the objects of a kind: what watches have told, and what the API server has answered since.
//!
//! State without I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use kube::{Resource, runtime::watcher::Event};

use crate::share::claim::ObjectKey;

/// The objects of a kind. Clones share them.
#[derive(Debug)]
pub struct Mirror<K>(Arc<RwLock<Inner<K>>>);

/// An object before something has become of it, and after that.
pub type Change<K> = (Option<Arc<K>>, Option<Arc<K>>);

#[derive(Debug)]
struct Inner<K> {
    objects: HashMap<ObjectKey, Held<K>>,
    /// Of every list that is under way.
    listing: HashMap<usize, Listing>,
    /// The uids of objects that are no more: an answer to a write of ours can come after the news that its object is gone.
    gone: VecDeque<String>,
}

/// How many of those are remembered. Answers are waited for for seconds.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
struct Listing {
    /// What was in it so far.
    listed: HashSet<ObjectKey>,
    /// What no watch had told of when it began: what was written here, and whose watch broke before it told of it.
    untold: HashSet<ObjectKey>,
}

#[derive(Debug)]
struct Held<K> {
    watch: Option<usize>,
    object: Arc<K>,
}

impl<K> Clone for Mirror<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Inner { objects: HashMap::new(), listing: HashMap::new(), gone: VecDeque::new() })))
    }
}

/// Whether `object` is an older version than `known`. Resource versions can be compared as numbers (Kubernetes enhancement 5504).
fn is_older<K: Resource>(object: &K, known: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_ref().and_then(|v| v.parse::<u64>().ok());
    matches!((version(object), version(known)), (Some(a), Some(b)) if a < b)
}

impl<K: Resource> Mirror<K> {
    /// Takes in what a watch tells of a namespace, or of all. Returns every version before and after it that differs.
    pub fn take_in(&self, watch: usize, namespace: Option<&str>, event: Event<K>) -> Vec<Change<K>> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                let is_here = |key: &ObjectKey| namespace.is_none_or(|namespace| namespace == key.namespace);
                let untold = inner.objects.iter().filter(|(key, held)| held.watch.is_none() && is_here(key));
                let untold = untold.map(|(key, _)| key.clone()).collect();
                inner.listing.insert(watch, Listing { untold, ..Listing::default() });
                Vec::new()
            }
            Event::InitApply(object) => {
                inner.listing.entry(watch).or_default().listed.insert(ObjectKey::of(&object));
                inner.put(Some(watch), object).into_iter().collect()
            }
            Event::Apply(object) => inner.put(Some(watch), object).into_iter().collect(),
            Event::InitDone => {
                let Listing { listed, untold } = inner.listing.remove(&watch).unwrap_or_default();
                let is_gone = |key: &ObjectKey, held: &Held<K>| {
                    let is_its_own = held.watch == Some(watch) || (held.watch.is_none() && untold.contains(key));
                    is_its_own && !listed.contains(key)
                };
                let gone: Vec<ObjectKey> =
                    inner.objects.iter().filter(|(key, held)| is_gone(key, held)).map(|(key, _)| key.clone()).collect();
                gone.into_iter().map(|key| (inner.remove(&key), None)).collect()
            }
            Event::Delete(object) => {
                let key = ObjectKey::of(&object);
                let is_newer =
                    |held: &Held<K>| held.object.meta().uid != object.meta().uid && !is_older(&*held.object, &object);
                if inner.objects.get(&key).is_some_and(is_newer) {
                    return Vec::new();
                }
                inner.forget(object.meta().uid.as_ref());
                inner.remove(&key).map(|before| (Some(before), None)).into_iter().collect()
            }
        }
    }

    /// Takes in what the API server has answered.
    pub fn put(&self, object: K) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !object.meta().uid.as_ref().is_some_and(|uid| inner.gone.contains(uid)) {
            inner.put(None, object);
        }
    }

    /// The API server has said that an object is no more.
    pub fn no_more(&self, key: &ObjectKey, uid: Option<&str>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if inner.objects.get(key).is_some_and(|held| held.object.meta().uid.as_deref() == uid) {
            inner.remove(key);
        }
    }

    /// An object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).objects.get(key).map(|held| Arc::clone(&held.object))
    }

    /// The objects that are asked for.
    pub fn filter(&self, is_asked_for: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.objects.values().filter(|held| is_asked_for(&held.object)).map(|held| Arc::clone(&held.object)).collect()
    }
}

impl<K: Resource> Inner<K> {
    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let Held { object, .. } = self.objects.remove(key)?;
        self.forget(object.meta().uid.as_ref());
        Some(object)
    }

    /// Remembers that an object is no more.
    fn forget(&mut self, uid: Option<&String>) {
        self.gone.extend(uid.cloned());
        while self.gone.len() > REMEMBERED {
            self.gone.pop_front();
        }
    }

    fn put(&mut self, watch: Option<usize>, object: K) -> Option<Change<K>> {
        let key = ObjectKey::of(&object);
        let before = self.objects.get(&key);
        if before.is_some_and(|held| is_older(&object, &*held.object)) {
            return None;
        }
        let (watch, before) = (watch.or_else(|| before?.watch), before.map(|held| Arc::clone(&held.object)));
        let object = Arc::new(object);
        self.objects.insert(key, Held { watch, object: Arc::clone(&object) });
        Some((before, Some(object)))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{ResourceExt, api::ObjectMeta};

    use super::*;

    fn object(name: &str, version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("images".into()),
            uid: Some(name.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn names(mirror: &Mirror<ConfigMap>) -> Vec<String> {
        let mut names: Vec<String> = mirror.filter(|_| true).iter().map(|object| object.name_any()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_a_new_list_does_not_have_is_gone_and_what_other_watches_told_stays() {
        let mirror = Mirror::default();
        for (watch, name) in [(0, "a"), (0, "b"), (1, "c")] {
            mirror.take_in(watch, None, Event::Apply(object(name, 1)));
        }
        mirror.take_in(0, None, Event::Init);
        mirror.take_in(0, None, Event::InitApply(object("b", 1)));
        let gone = mirror.take_in(0, None, Event::InitDone);
        assert_eq!(gone.len(), 1);
        assert_eq!(names(&mirror), ["b", "c"]);
    }

    #[test]
    fn what_was_written_and_no_watch_has_told_of_is_gone_when_a_new_list_does_not_have_it() {
        let mirror = Mirror::default();
        mirror.take_in(0, None, Event::Init);
        mirror.take_in(0, None, Event::InitDone);
        mirror.put(object("a", 1));
        mirror.take_in(0, Some("others"), Event::Init);
        assert!(mirror.take_in(0, Some("others"), Event::InitDone).is_empty(), "it is of another namespace");
        mirror.take_in(0, Some("images"), Event::Init);
        mirror.put(object("b", 2));
        let gone = mirror.take_in(0, Some("images"), Event::InitDone);
        assert_eq!(gone.len(), 1);
        assert_eq!(names(&mirror), ["b"], "that one is newer than the list");
    }

    #[test]
    fn an_answer_that_comes_after_the_news_of_a_deletion_does_not_bring_the_object_back() {
        let mirror = Mirror::default();
        mirror.take_in(0, None, Event::Apply(object("a", 1)));
        mirror.take_in(0, None, Event::Delete(object("a", 3)));
        mirror.put(object("a", 2));
        assert!(names(&mirror).is_empty());
        let mut again = object("a", 4);
        again.metadata.uid = Some("another".into());
        mirror.put(again);
        assert_eq!(names(&mirror), ["a"], "one that is made anew is another one");
    }

    #[test]
    fn a_watch_that_is_behind_does_not_bring_back_an_older_version() {
        let mirror = Mirror::default();
        mirror.put(object("a", 20));
        assert!(mirror.take_in(0, None, Event::Apply(object("a", 9))).is_empty());
        let known = mirror.filter(|_| true);
        assert_eq!(known[0].metadata.resource_version.as_deref(), Some("20"));
    }
}
