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
    claim::{Claim, ObjectKey, asks_unseen, has_part, images, snapshots},
    observed::Elsewhere,
};
use crate::api::{FINALIZER, ImageId, ImageRef, ON_DELETE, REQUESTED_AT, Region, SnapshotId, stored::Stored};

/// A piece of work that an event makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Reconcile an image.
    Image(ImageRef),
    /// Look after an object that concerns no image.
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
    by_snapshot: HashMap<(Region, SnapshotId), Keys>,
    /// Those who want createVolumePermission on the snapshots of an image that they have not seen yet.
    unseen: HashMap<Region, Keys>,
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
            inner.put(object, &mut Effect::default());
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

    /// Every image of a Region that an object concerns, in no order.
    pub fn images_in(&self, region: &Region) -> Vec<ImageId> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.by_image.keys().filter(|image| image.region == *region).map(|image| image.id.clone()).collect()
    }

    /// Every object that may say something about a snapshot, in the order of their names.
    pub fn concerning_snapshot(&self, region: &Region, snapshot: &SnapshotId) -> Vec<Arc<Stored>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let keys = inner.by_snapshot.get(&(region.clone(), snapshot.clone())).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key).cloned()).collect()
    }

    /// The images of a Region whose snapshots are asked for by objects that have not seen which they are.
    pub fn unseen_in(&self, region: &Region) -> BTreeSet<ImageId> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let objects = inner.unseen.get(region).into_iter().flatten().filter_map(|key| inner.objects.get(key));
        objects.filter_map(|object| object.share()?.spec.image.id.clone()).collect()
    }

    /// What claims on other images say about snapshots that are a part of those images too, as far as their objects know that, or
    /// `parts` tells.
    pub fn elsewhere<'a>(
        &self,
        image: &ImageRef,
        snapshots_seen: impl Iterator<Item = &'a SnapshotId>,
        parts: &BTreeMap<ImageId, BTreeSet<SnapshotId>>,
        now: Timestamp,
    ) -> BTreeMap<SnapshotId, Vec<Elsewhere>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        for snapshot in snapshots_seen {
            let known = inner.by_snapshot.get(&(image.region.clone(), snapshot.clone())).into_iter().flatten();
            let unseen = inner.unseen.get(&image.region).into_iter().flatten().filter(|_| !parts.is_empty());
            let keys: BTreeSet<&Arc<ObjectKey>> = known.chain(unseen).collect();
            let mut says: Vec<Elsewhere> = Vec::new();
            for object in keys.into_iter().filter_map(|key| inner.objects.get(key)) {
                // What it has given on an image that it has left does not make the snapshot a part of the one that it names now.
                let is_part = |id: &ImageId| {
                    has_part(object, id, snapshot) || parts.get(id).is_some_and(|parts| parts.contains(snapshot))
                };
                let others = images(object).into_iter().filter(|other| other != image && is_part(&other.id));
                says.extend(others.filter_map(|other| {
                    let Claim { key, standing, lists_for_volumes, granted, .. } = Claim::on(&other, object, now)?;
                    let lists = lists_for_volumes.filter(|_| !standing.leaves())?;
                    let granted = granted.volumes.get(snapshot).cloned().unwrap_or_default();
                    Some(Elsewhere { key, image: other.id, standing, lists, granted })
                }));
            }
            if !says.is_empty() {
                all.insert(snapshot.clone(), says);
            }
        }
        all
    }

    /// An object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Stored>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).objects.get(key).cloned()
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
        let key = self.key(&object);
        let before = self.objects.get(&key).cloned();
        if before.as_ref().is_some_and(|before| is_older(&object, before)) {
            return;
        }
        let concerned = images(&object);
        let left = before.as_ref().map(|b| images(b)).unwrap_or_default();
        left.difference(&concerned).for_each(|image| unlink(&mut self.by_image, image, &key));
        for image in &concerned {
            link(&mut self.by_image, image, &key);
        }
        let (said, says) = (before.as_ref().map(|b| snapshots(b)).unwrap_or_default(), snapshots(&object));
        said.difference(&says).for_each(|snapshot| unlink(&mut self.by_snapshot, snapshot, &key));
        for snapshot in &says {
            link(&mut self.by_snapshot, snapshot, &key);
        }
        if let Some(region) = before.as_ref().and_then(|before| before.region()) {
            unlink(&mut self.unseen, region, &key);
        }
        if let Some(region) = object.region().filter(|_| asks_unseen(&object)) {
            link(&mut self.unseen, region, &key);
        }
        let holds = |stored: &Stored| stored.finalizers().iter().any(|f| f == FINALIZER);
        let lost_finalizer = before.as_ref().is_some_and(|b| holds(b)) && !holds(&object);
        // Somebody has wiped the status, and with it what was given: it is written anew as far as it can be told.
        let reported = |stored: &Stored| stored.known_status().is_some_and(|s| s.observed_generation.is_some());
        let lost_status = before.as_ref().is_some_and(|b| reported(b)) && !reported(&object);
        // We have dropped its record on an image that it has left, and the answer to that was lost: whoever gets the answer asks
        // for the image that it names now, which reports that something was still to be taken back.
        let let_go = !left.is_subset(&concerned);
        if lost_finalizer
            || lost_status
            || let_go
            || before.as_ref().map(|b| fingerprint(b)) != Some(fingerprint(&object))
        {
            if concerned.is_empty() {
                effect.work.insert(Work::Object(ObjectKey::clone(&key)));
            }
            effect.work.extend(left.into_iter().chain(concerned).map(Work::Image));
            // Whom it protected on a snapshot that is a part of another image too may have to lose it there.
            effect.work.extend(self.sharing(said.union(&says), &key).map(Work::Image));
        }
        self.objects.insert(key, Arc::new(object));
    }

    /// The images of other objects that have something to say about these snapshots.
    fn sharing<'a>(
        &self,
        snapshots: impl Iterator<Item = &'a (Region, SnapshotId)>,
        key: &ObjectKey,
    ) -> impl Iterator<Item = ImageRef> {
        let keys = snapshots.filter_map(|snapshot| self.by_snapshot.get(snapshot)).flatten();
        let others = keys.filter(move |other| ***other != *key).filter_map(|other| self.objects.get(other));
        others.flat_map(|object| images(object))
    }

    fn remove(&mut self, key: &ObjectKey, effect: &mut Effect) {
        self.source.remove(key);
        let Some(object) = self.objects.remove(key) else { return };
        for image in images(&object) {
            unlink(&mut self.by_image, &image, key);
            effect.work.insert(Work::Image(image));
        }
        let said = snapshots(&object);
        for snapshot in &said {
            unlink(&mut self.by_snapshot, snapshot, key);
        }
        if let Some(region) = object.region() {
            unlink(&mut self.unseen, region, key);
        }
        effect.work.extend(self.sharing(said.iter(), key).map(Work::Image));
        effect.gone.push(key.clone());
    }
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{ami_share::CreateVolumePermission, stored::Content};

    fn share(name: &str, image: &str, version: u64, generation: i64) -> Stored {
        serde_json::from_value(json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare",
            "metadata": {
                "namespace": "ns", "name": name, "uid": name, "resourceVersion": version.to_string(), "generation": generation
            },
            "spec": {"region": "us-east-1", "image": {"id": image}, "shareWith": {}}
        }))
        .unwrap()
    }

    fn image(id: &str) -> ImageRef {
        ImageRef { region: "us-east-1".parse().unwrap(), id: id.parse().unwrap() }
    }

    const ONE: &str = "ami-00000001";
    const TWO: &str = "ami-00000002";

    #[test]
    fn objects_are_found_by_the_image_that_they_name() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.take_in(0, Event::Apply(share("b", ONE, 2, 1)));
        assert_eq!(shares.concerning(&image(ONE)).len(), 2);
        let effect = shares.take_in(0, Event::Apply(share("b", TWO, 3, 2)));
        assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE)), Work::Image(image(TWO))]));
        assert_eq!(shares.concerning(&image(ONE)).len(), 1);
    }

    #[test]
    fn a_change_of_the_status_alone_asks_for_no_work() {
        let shares = Shares::default();
        assert!(!shares.take_in(0, Event::Apply(share("a", ONE, 1, 1))).work.is_empty());
        assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 2, 1))), Effect::default());
    }

    #[test]
    fn a_record_dropped_in_a_write_without_an_answer_has_the_image_that_is_named_looked_at() {
        let moved = |version: u64, granted: &[&str]| {
            let mut object = share("a", TWO, version, 2);
            let Content::Share(share) = &mut object.content else { panic!() };
            let granted: Vec<_> = granted.iter().map(|id| json!({"imageId": id})).collect();
            share.status = serde_json::from_value(json!({"observedGeneration": 2, "granted": granted})).unwrap();
            object
        };
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(moved(1, &[ONE, TWO])));
        let effect = shares.take_in(0, Event::Apply(moved(2, &[TWO])));
        assert!(effect.work.contains(&Work::Image(image(TWO))), "{effect:?}");

        let shares = Shares::default();
        shares.take_in(0, Event::Apply(moved(1, &[ONE, TWO])));
        shares.written(moved(2, &[TWO]));
        assert_eq!(shares.take_in(0, Event::Apply(moved(2, &[TWO]))), Effect::default(), "whoever wrote it has asked");
    }

    #[test]
    fn an_older_version_does_not_undo_a_newer_one() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.written(share("a", TWO, 5, 2));
        assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 3, 1))), Effect::default());
        assert_eq!(shares.concerning(&image(TWO)).len(), 1);
    }

    #[test]
    fn what_a_new_list_does_not_hold_is_gone_but_only_for_its_own_watch() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.take_in(1, Event::Apply(share("b", ONE, 2, 1)));
        shares.take_in(0, Event::Init);
        let effect = shares.take_in(0, Event::InitDone);
        assert_eq!(effect.gone.len(), 1);
        assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE))]));
        assert_eq!(shares.concerning(&image(ONE)).len(), 1);
    }

    #[test]
    fn what_was_read_before_the_watch_told_of_it_still_asks_for_work() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.read(share("a", TWO, 2, 2), None);
        let effect = shares.take_in(0, Event::Apply(share("a", TWO, 2, 2)));
        assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE)), Work::Image(image(TWO))]));
        assert_eq!(shares.take_in(0, Event::Apply(share("a", TWO, 2, 2))), Effect::default());
    }

    /// A share with createVolumePermission, which has seen the image that it names, with these snapshots.
    fn seen(name: &str, image: &str, version: u64, generation: i64, snapshots: &[&str]) -> Stored {
        let mut object = share(name, image, version, generation);
        let Content::Share(share) = &mut object.content else { panic!() };
        share.spec.create_volume_permission = CreateVolumePermission::Accounts;
        share.spec.share_with.account_ids = ["111111111111".parse().unwrap()].into_iter().collect();
        if !snapshots.is_empty() {
            let image = json!({"id": image, "state": "available", "public": false, "encrypted": false, "snapshotIds": snapshots});
            share.status = serde_json::from_value(json!({"observedGeneration": generation, "image": image})).unwrap();
        }
        object
    }

    const DISK: &str = "snap-00000001";

    #[test]
    fn whom_an_object_lists_for_an_image_that_it_has_not_seen_is_known_once_its_parts_are() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(seen("a", TWO, 1, 1, &[])));
        let (disk, now): (SnapshotId, _) = (DISK.parse().unwrap(), Timestamp::UNIX_EPOCH);
        let region = image(ONE).region;
        assert_eq!(shares.unseen_in(&region), BTreeSet::from([image(TWO).id]));
        assert!(shares.elsewhere(&image(ONE), [&disk].into_iter(), &BTreeMap::new(), now).is_empty());
        let parts = BTreeMap::from([(image(TWO).id, BTreeSet::from([disk.clone()]))]);
        let elsewhere = shares.elsewhere(&image(ONE), [&disk].into_iter(), &parts, now);
        assert_eq!(elsewhere[&disk][0].image, image(TWO).id);

        shares.take_in(0, Event::Apply(seen("a", TWO, 2, 1, &[DISK])));
        assert_eq!(shares.unseen_in(&region), BTreeSet::new());
        assert_eq!(shares.elsewhere(&image(ONE), [&disk].into_iter(), &BTreeMap::new(), now), elsewhere);
    }

    #[test]
    fn a_change_of_whom_an_object_lists_for_a_shared_snapshot_asks_for_the_other_image_too() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(seen("a", ONE, 1, 1, &[DISK])));
        shares.take_in(0, Event::Apply(seen("b", TWO, 2, 1, &[DISK])));
        let both = BTreeSet::from([Work::Image(image(ONE)), Work::Image(image(TWO))]);
        assert_eq!(shares.take_in(0, Event::Apply(seen("b", TWO, 3, 2, &[DISK]))).work, both);
        assert_eq!(shares.take_in(0, Event::Delete(seen("b", TWO, 4, 2, &[DISK]))).work, both);
    }

    #[test]
    fn an_object_that_no_watch_has_told_of_is_missed_when_it_is_not_in_the_next_list() {
        let shares = Shares::default();
        shares.read(share("a", ONE, 1, 1), Some(0));
        shares.take_in(0, Event::Init);
        assert_eq!(shares.take_in(0, Event::InitDone).gone.len(), 1);
        assert!(shares.concerning(&image(ONE)).is_empty());
    }

    #[test]
    fn an_object_that_a_write_found_gone_is_still_told_of_as_gone() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.no_more(&share("a", ONE, 1, 1));
        assert!(shares.concerning(&image(ONE)).is_empty());
        assert_eq!(shares.take_in(0, Event::Delete(share("a", ONE, 2, 1))).gone.len(), 1);
    }

    #[test]
    fn an_object_made_anew_is_not_forgotten_because_the_old_one_is_gone() {
        let shares = Shares::default();
        let mut anew = share("a", ONE, 5, 1);
        anew.metadata.uid = Some("another".into());
        shares.take_in(0, Event::Apply(anew));
        shares.no_more(&share("a", ONE, 1, 1));
        assert_eq!(shares.concerning(&image(ONE)).len(), 1);
    }

    #[test]
    fn a_late_answer_does_not_put_back_an_object_that_was_made_anew() {
        let shares = Shares::default();
        let mut anew = share("a", TWO, 5, 1);
        anew.metadata.uid = Some("another".into());
        shares.take_in(0, Event::Apply(anew));
        shares.written(share("a", ONE, 4, 1));
        assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 4, 1))), Effect::default());
        assert_eq!((shares.concerning(&image(ONE)).len(), shares.concerning(&image(TWO)).len()), (0, 1));
    }

    #[test]
    fn an_object_that_was_deleted_is_not_brought_back_by_a_late_answer() {
        let shares = Shares::default();
        shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
        shares.take_in(0, Event::Delete(share("a", ONE, 2, 1)));
        shares.written(share("a", ONE, 2, 1));
        assert!(shares.concerning(&image(ONE)).is_empty());
    }
}
