//! The store: every AmiShare that the API server has told of, and which images they concern.
//!
//! Pure state, fed by watch events and by the answers to our own writes. kube's reflector finds objects by name; here the
//! question is which objects concern an image, and one store is fed by several watches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, runtime::watcher::Event};

use super::{
    claim::{Claim, ObjectKey, asks_unseen, has_on_record, has_part, images, listed_for_parts, named, parts},
    observed::Elsewhere,
    policy::Policy,
};
use crate::{
    api::{ImageId, ImageRef, ON_DELETE, Principal, REQUESTED_AT, Site, stored::Stored},
    aws::{
        Company,
        words::{Part, Target},
    },
};

/// A piece of work that an event makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Reconcile an image.
    Image(ImageRef),
    /// Look after an object that concerns no image, or find the image of one.
    Object(ObjectKey),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(image) => image.fmt(f),
            Self::Object(key) => key.fmt(f),
        }
    }
}

/// All objects, by name and by image. Cheap to clone; all clones are one store.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<RwLock<Inner>>);

/// Names in their order. Nearly always one: a tree would make room for eleven.
type Keys = Vec<Arc<ObjectKey>>;

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<Arc<ObjectKey>, Arc<Stored>>,
    by_image: HashMap<ImageRef, Keys>,
    by_part: HashMap<(Site, Part), Keys>,
    /// Those who want permissions on the snapshots or keys of an image that they have not seen yet.
    unseen: HashMap<Site, Keys>,
    /// Those for which somebody waits.
    awaited: HashMap<Site, Keys>,
    /// What each watch has listed since it began to list anew.
    listing: BTreeMap<usize, HashSet<Arc<ObjectKey>>>,
    /// Which watch told of an object.
    source: HashMap<Arc<ObjectKey>, usize>,
    /// What follows from versions that did not come from a watch. The watch will tell of them as if they were nothing new, and
    /// then this is acted on.
    owed: Effect,
}

/// What came of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// What is to be worked on.
    pub work: BTreeSet<Work>,
    /// Objects that are no more.
    pub gone: Vec<ObjectKey>,
}

impl Shares {
    /// Takes in an event of one watch.
    pub fn take_in(&self, watch: usize, event: Event<Stored>) -> Effect {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut effect = std::mem::take(&mut inner.owed);
        match event {
            Event::Init => {
                inner.listing.insert(watch, HashSet::new());
            }
            Event::InitApply(object) => {
                let key = inner.key(&object);
                inner.listing.entry(watch).or_default().insert(Arc::clone(&key));
                inner.source.insert(key, watch);
                inner.put(object, &mut effect);
            }
            Event::InitDone => {
                let listed = inner.listing.remove(&watch).unwrap_or_default();
                let missed: Vec<Arc<ObjectKey>> = inner
                    .source
                    .iter()
                    .filter(|(key, source)| **source == watch && !listed.contains(*key))
                    .map(|(key, _)| Arc::clone(key))
                    .collect();
                for key in &missed {
                    inner.remove(key, &mut effect);
                }
            }
            Event::Apply(object) => {
                let key = inner.key(&object);
                inner.source.insert(key, watch);
                inner.put(object, &mut effect);
            }
            Event::Delete(object) => inner.remove(&ObjectKey::of(&object), &mut effect),
        }
        effect
    }

    /// Takes in the answer to a write of ours, so that the next reconcile does not act on what was there before it.
    pub fn written(&self, object: Stored) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = inner.objects.get(&ObjectKey::of(&object));
        // A late answer must not put the object back that has been made anew under its name.
        if known.is_some_and(|known| known.metadata.uid == object.metadata.uid) {
            // Whoever writes sees to its own image, and not to others.
            let unprotected = inner.replace(object, &mut Effect::default());
            inner.owed.work.extend(unprotected);
        }
    }

    /// Takes in a version that somebody else wrote, and that the watch has not told of yet. `watch` is the one that is to tell
    /// of it, where that is known: an object that is gone before its watch has told of it is missed in the watch's next list.
    pub fn read(&self, object: Stored, watch: Option<usize>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watch {
            let key = inner.key(&object);
            inner.source.insert(key, watch);
        }
        let mut owed = std::mem::take(&mut inner.owed);
        inner.put(object, &mut owed);
        inner.owed = owed;
    }

    /// Takes in that an object is no more. One that has been made anew under its name stays.
    pub fn no_more(&self, object: &Stored) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = ObjectKey::of(object);
        if inner.objects.get(&key).is_some_and(|known| known.metadata.uid == object.metadata.uid) {
            let mut owed = std::mem::take(&mut inner.owed);
            inner.remove(&key, &mut owed);
            inner.owed = owed;
        }
    }

    /// Every object that concerns an image, in the order of their names.
    pub fn concerning(&self, image: &ImageRef) -> Vec<Arc<Stored>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let keys = inner.by_image.get(image).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// All work that there could be.
    pub fn everything(&self) -> BTreeSet<Work> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let finding = inner.objects.iter().filter(|(_, object)| object.finds());
        let finding = finding.map(|(key, _)| Work::Object(ObjectKey::clone(key)));
        inner.by_image.keys().cloned().map(Work::Image).chain(finding).collect()
    }

    /// The images of an account in a Region.
    pub fn at(&self, site: &Site, policy: &Arc<Policy>) -> AtSite {
        AtSite { shares: self.clone(), site: site.clone(), policy: Arc::clone(policy) }
    }

    /// The images of an account in a Region whose snapshots or keys are asked for by objects that have not seen which they are.
    pub fn unseen_at(&self, site: &Site, policy: &Policy) -> BTreeSet<ImageId> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut may = may_ask(site, policy);
        let keys = inner.unseen.get(site).into_iter().flatten().filter(|key| may(&key.namespace));
        let objects = keys.filter_map(|key| inner.objects.get(key));
        objects.filter_map(|object| named(object).cloned()).collect()
    }

    /// The other images of which any of these is a part, as far as objects know that or `parts` tells.
    pub fn images_with(
        &self,
        image: &ImageRef,
        seen: &BTreeSet<Part>,
        parts: &BTreeMap<ImageId, BTreeSet<Part>>,
    ) -> BTreeSet<ImageRef> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeSet::new();
        for part in seen {
            for object in inner.saying(&image.site, part).filter_map(|key| inner.objects.get(key)) {
                all.extend(images(object).into_iter().filter(|other| has_part(object, &other.id, part)));
            }
            all.extend(with_part(parts, &image.site, part));
        }
        all.remove(image);
        all
    }

    /// The images on which other objects have on record what this object may protect on a part that those have too.
    pub fn answering(&self, object: &Stored) -> BTreeSet<ImageRef> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).answering(&parts(object), &ObjectKey::of(object))
    }

    /// What claims on other images say about what is a part of those images too, as far as their objects know that, or `parts`
    /// tells.
    pub fn elsewhere(
        &self,
        image: &ImageRef,
        targets: impl Iterator<Item = Target>,
        parts: &BTreeMap<ImageId, BTreeSet<Part>>,
        now: Timestamp,
        policy: &Policy,
    ) -> BTreeMap<Target, Vec<Elsewhere>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        for target in targets {
            let Some(part) = target.part() else { continue };
            let told = with_part(parts, &image.site, &part);
            let unseen = told.filter_map(|other| inner.by_image.get(&other)).flatten();
            let keys: BTreeSet<&Arc<ObjectKey>> = inner.saying(&image.site, &part).chain(unseen).collect();
            let mut says: Vec<Elsewhere> = Vec::new();
            for object in keys.into_iter().filter_map(|key| inner.objects.get(key)) {
                // What it has given on an image that it has left does not make this a part of the one that it names now.
                let is_part = |id: &ImageId| {
                    has_part(object, id, &part) || parts.get(id).is_some_and(|parts| parts.contains(&part))
                };
                let others = images(object).into_iter().filter(|other| other != image && is_part(&other.id));
                says.extend(others.filter_map(|other| {
                    let claim = Claim::on(&other, object, now, policy)?;
                    let lists = protects(&claim, &target)?;
                    let Claim { key, standing, granted, .. } = claim;
                    let granted = granted.of(&target).cloned().unwrap_or_default();
                    let version = object.metadata.resource_version.clone();
                    Some(Elsewhere { key, version, image: other.id, standing, lists, granted })
                }));
            }
            if !says.is_empty() {
                all.insert(target, says);
            }
        }
        all
    }

    /// An object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).objects.get(key).cloned()
    }
}

/// Whom a claim on another image protects on what is a part of its image too, if it has a say: whom it lists. And on a key whoever
/// has got a grant and the launch permission there: as long as they may launch that image, they need its keys, listed or not.
fn protects(claim: &Claim, target: &Target) -> Option<BTreeSet<Principal>> {
    let listed = claim.protects_on(target).filter(|_| !claim.standing.leaves());
    let launch = matches!(target, Target::Grants(_)).then_some(&claim.granted.launch);
    let used = launch.zip(claim.granted.of(target)).map(|(launch, grants)| launch & grants);
    match (listed, used) {
        (None, None) => None,
        (listed, used) => Some(listed.into_iter().chain(used).flatten().collect()),
    }
}

/// The images of one account in one Region that objects concern.
#[derive(Debug)]
pub struct AtSite {
    shares: Shares,
    site: Site,
    policy: Arc<Policy>,
}

/// Whether objects of a namespace may have anything asked for them in an account and Region.
fn may_ask<'a>(site: &'a Site, policy: &'a Policy) -> impl FnMut(&str) -> bool + 'a {
    let mut known = HashMap::<String, bool>::new();
    move |namespace| match known.get(namespace) {
        Some(may) => *may,
        None => *known.entry(namespace.to_owned()).or_insert(policy.rules(namespace, site).bar().is_none()),
    }
}

impl Company for AtSite {
    fn all(&self) -> Vec<ImageId> {
        let inner = self.shares.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut may = may_ask(&self.site, &self.policy);
        let here = inner.by_image.iter().filter(|(image, _)| image.site == self.site);
        here.filter(|(_, keys)| keys.iter().any(|key| may(&key.namespace))).map(|(image, _)| image.id.clone()).collect()
    }

    fn awaited(&self) -> BTreeSet<ImageId> {
        let inner = self.shares.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut may = may_ask(&self.site, &self.policy);
        let keys = inner.awaited.get(&self.site).into_iter().flatten().filter(|key| may(&key.namespace));
        keys.filter_map(|key| inner.objects.get(key)).flat_map(|object| images(object)).map(|image| image.id).collect()
    }
}

impl Inner {
    /// The name of an object, of which there is one in memory.
    fn key(&self, object: &Stored) -> Arc<ObjectKey> {
        let key = ObjectKey::of(object);
        let known = self.source.get_key_value(&key).map(|(known, _)| known);
        let known = known.or_else(|| self.objects.get_key_value(&key).map(|(known, _)| known));
        known.map_or_else(|| Arc::new(key), Arc::clone)
    }

    fn put(&mut self, object: Stored, effect: &mut Effect) {
        let unprotected = self.replace(object, effect);
        effect.work.extend(unprotected);
    }

    /// Takes in a version. Returns the work on other images that comes of what the object has forgotten: something is on record there
    /// that it protected as long as it knew what is a part of its image. Of an image that is gone, it knows only what is on its own
    /// record.
    fn replace(&mut self, object: Stored, effect: &mut Effect) -> BTreeSet<Work> {
        let key = self.key(&object);
        let before = self.objects.get(&key).cloned();
        if before.as_ref().is_some_and(|before| is_older(&object, before)) {
            return BTreeSet::new();
        }
        let concerned = images(&object);
        let left = before.as_ref().map(|b| images(b)).unwrap_or_default();
        left.difference(&concerned).for_each(|image| unlink(&mut self.by_image, image, &key));
        for image in &concerned {
            link(&mut self.by_image, image, &key);
        }
        let (said, says) = (before.as_ref().map(|b| parts(b)).unwrap_or_default(), parts(&object));
        let forgotten = &said - &says;
        for part in &forgotten {
            unlink(&mut self.by_part, part, &key);
        }
        for part in &says {
            link(&mut self.by_part, part, &key);
        }
        if let Some((before, site)) = before.as_ref().and_then(|before| Some((before, before.site()?))) {
            self.unlink_at(before, &site, &key);
        }
        if let Some(site) = object.site() {
            if asks_unseen(&object) {
                link(&mut self.unseen, &site, &key);
            }
            if object.is_awaited() {
                link(&mut self.awaited, &site, &key);
            }
        }
        let unprotected = if forgotten.is_empty() || listed_for_parts(&object).is_empty() {
            BTreeSet::new()
        } else {
            (&self.answering(&forgotten, &key) - &concerned).into_iter().map(Work::Image).collect()
        };
        let lost_finalizer = before.as_ref().is_some_and(|b| b.is_held()) && !object.is_held();
        // Somebody has wiped the status, and with it what was given: it is written anew as far as it can be told.
        let reported = |stored: &Stored| stored.known_status().is_some_and(|s| s.observed_generation.is_some());
        let lost_status = before.as_ref().is_some_and(|b| reported(b)) && !reported(&object);
        // We have dropped its record on an image that it has left, and the answer to that was lost: whoever gets the answer asks
        // for the image that it names now, which reports that something was still to be taken back.
        let let_go = !left.is_subset(&concerned);
        // Somebody has changed which image was found for it.
        let names_another = before.as_ref().is_some_and(|before| named(before) != named(&object));
        if lost_finalizer
            || lost_status
            || let_go
            || names_another
            || before.as_ref().map(|b| fingerprint(b)) != Some(fingerprint(&object))
        {
            if concerned.is_empty() || object.finds() {
                effect.work.insert(Work::Object(ObjectKey::clone(&key)));
            }
            effect.work.extend(left.into_iter().chain(concerned).map(Work::Image));
            // Whom it protected on what is a part of another image too may have to lose it there.
            let protects_less =
                |before: &Arc<Stored>| names_another || !listed_for_parts(before).is_subset(&listed_for_parts(&object));
            if before.as_ref().is_some_and(protects_less) {
                effect.work.extend(self.answering(&said, &key).into_iter().map(Work::Image));
            }
        }
        self.objects.insert(key, Arc::new(object));
        unprotected
    }

    fn unlink_at(&mut self, object: &Stored, site: &Site, key: &ObjectKey) {
        if asks_unseen(object) {
            unlink(&mut self.unseen, site, key);
        }
        if object.is_awaited() {
            unlink(&mut self.awaited, site, key);
        }
    }

    /// The objects that have something to say about a part.
    fn saying(&self, site: &Site, part: &Part) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.by_part.get(&(site.clone(), part.clone())).into_iter().flatten()
    }

    /// The images on which other objects have one of these parts on record.
    fn answering(&self, parts: &BTreeSet<(Site, Part)>, key: &ObjectKey) -> BTreeSet<ImageRef> {
        let mut all = BTreeSet::new();
        for (site, part) in parts {
            let others = self.saying(site, part).filter(|other| ***other != *key);
            for object in others.filter_map(|other| self.objects.get(other)) {
                let given = object.known_status().into_iter().flat_map(|status| &status.granted);
                let here = given.filter(|record| has_on_record(record, part));
                all.extend(here.map(|record| ImageRef { site: site.clone(), id: record.image_id.clone() }));
            }
        }
        all
    }

    fn remove(&mut self, key: &ObjectKey, effect: &mut Effect) {
        self.source.remove(key);
        let Some(object) = self.objects.remove(key) else { return };
        for image in images(&object) {
            unlink(&mut self.by_image, &image, key);
            effect.work.insert(Work::Image(image));
        }
        let said = parts(&object);
        for part in &said {
            unlink(&mut self.by_part, part, key);
        }
        if let Some(site) = object.site() {
            self.unlink_at(&object, &site, key);
        }
        effect.work.extend(self.answering(&said, key).into_iter().map(Work::Image));
        effect.gone.push(key.clone());
    }
}

/// The images of which this is a part.
fn with_part(parts: &BTreeMap<ImageId, BTreeSet<Part>>, site: &Site, part: &Part) -> impl Iterator<Item = ImageRef> {
    let images = parts.iter().filter(move |(_, parts)| parts.contains(part));
    images.map(|(id, _)| ImageRef { site: site.clone(), id: id.clone() })
}

fn link<T: Hash + Eq + Clone>(index: &mut HashMap<T, Keys>, to: &T, key: &Arc<ObjectKey>) {
    match index.get_mut(to) {
        Some(keys) => {
            if let Err(place) = keys.binary_search(key) {
                keys.insert(place, Arc::clone(key));
            }
        }
        None => drop(index.insert(to.clone(), vec![Arc::clone(key)])),
    }
}

fn unlink<T: Hash + Eq>(index: &mut HashMap<T, Keys>, from: &T, key: &ObjectKey) {
    if let Some(keys) = index.get_mut(from) {
        keys.retain(|known| **known != *key);
        if keys.is_empty() {
            index.remove(from);
        }
    }
}

/// Whether `object` is an older version than `known`, or than the object that `known` has replaced. Resource versions can be
/// compared as numbers (Kubernetes enhancement 5504); where they cannot, what comes later counts as newer.
fn is_older(object: &Stored, known: &Stored) -> bool {
    let version = |stored: &Stored| stored.metadata.resource_version.as_ref().and_then(|v| v.parse::<u64>().ok());
    matches!((version(object), version(known)), (Some(a), Some(b)) if a < b)
}

/// What of an object asks for work: everything but its status and finalizer, which we write ourselves.
fn fingerprint(object: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = &object.metadata;
    (&metadata.uid, metadata.generation, metadata.deletion_timestamp.is_some()).hash(&mut hasher);
    for annotation in [REQUESTED_AT, ON_DELETE] {
        object.annotations().get(annotation).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
