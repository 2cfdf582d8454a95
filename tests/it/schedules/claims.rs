//! What every object said at every time, read from the versions that the API server has stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amishare::api::{AmiShare, ConditionType, FINALIZER, GrantOperation, ON_DELETE, REQUESTED_AT, conditions::find};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;
use tokio::time::Instant;

use super::places::{IMAGES, OBJECTS, Target, Who};
use crate::{
    harness::recorder::violations,
    memory::{Kind, Memory, state::Version},
};

/// The reason that somebody writes who is not the operator.
pub const SCRIBBLED: &str = "Scribbled";

/// What one version of an object says.
#[derive(Debug)]
pub struct Claim {
    pub uid: String,
    pub object: usize,
    /// From when to when it was the newest, since the beginning.
    pub from: Duration,
    pub until: Option<Duration>,
    pub by_operator: bool,
    pub share: AmiShare,
    pub image: usize,
    pub lists: Who,
    pub record: BTreeMap<Target, Who>,
    /// When it ends, since the beginning.
    pub ends: Option<Duration>,
}

/// All versions of all objects.
pub struct Claims {
    start: (Instant, Timestamp),
    all: Vec<Claim>,
    seen: usize,
    /// The newest version of every object that is there, by its uid.
    newest: BTreeMap<String, usize>,
    /// Objects that may rightly have left something behind.
    careless: BTreeSet<String>,
    /// Objects that were held by our finalizer and are not any more, because somebody took it.
    freed: BTreeSet<String>,
    /// Objects whose status somebody else has written, and that have not got a new one since.
    scribbled: BTreeSet<String>,
}

impl Claim {
    pub fn deleting(&self) -> bool {
        self.share.metadata.deletion_timestamp.is_some()
    }

    pub fn observes(&self) -> bool {
        self.share.spec.mode.to_string() == "Observe"
    }

    pub fn authoritative(&self) -> bool {
        self.share.spec.mode.to_string() == "Authoritative"
    }

    pub fn suspended(&self) -> bool {
        self.share.spec.suspend
    }

    /// Whether it leaves AWS as it is when it is deleted.
    pub fn retains(&self) -> bool {
        self.keeps_when_moved() || self.abandoned()
    }

    /// Whether it leaves AWS as it is when it moves to another image. The annotation is about deletion only.
    fn keeps_when_moved(&self) -> bool {
        self.share.spec.deletion_policy.to_string() == "Retain"
    }

    fn abandoned(&self) -> bool {
        self.share.annotations().get(ON_DELETE).is_some_and(|value| value == "abandon")
    }

    /// Whether it gives and takes.
    pub fn acts(&self) -> bool {
        !(self.deleting() || self.suspended() || self.observes())
    }

    /// Whether its image is looked at for it at every interval.
    pub fn is_looked_after(&self) -> bool {
        !(self.deleting() || self.suspended())
    }

    pub fn wants_volumes(&self) -> bool {
        self.share.spec.create_volume_permission.to_string() == "Accounts"
    }

    /// What the grants that it asks for allow.
    pub fn wants_grants(&self) -> Option<&BTreeSet<GrantOperation>> {
        let kms = &self.share.spec.kms;
        (kms.grants.to_string() == "Accounts").then_some(&kms.operations)
    }

    /// Whether its time was over.
    pub fn is_over(&self, at: Duration) -> bool {
        !self.suspended() && self.ends.is_some_and(|ends| ends <= at)
    }

    /// Whom it lists on a target, whether its time is over or not.
    pub fn lists_on(&self, target: Target) -> Who {
        match target {
            Target::Image(image) if image == self.image => self.lists,
            Target::Snapshot(snapshot) if self.wants_volumes() && IMAGES[self.image].1.contains(&snapshot) => {
                self.lists.and(Who::FOR_VOLUMES)
            }
            _ => Who::NOBODY,
        }
    }

    /// Whether it may take back what is on its record on a target.
    pub fn takes_back(&self, target: Target) -> bool {
        if self.deleting() {
            return !(self.observes() || self.retains());
        }
        let here = target.images().contains(&self.image);
        self.acts() && (here || !self.keeps_when_moved())
    }

    pub fn overlaps(&self, from: Duration, to: Duration) -> bool {
        self.from <= to && self.until.is_none_or(|until| until >= from)
    }

    /// `Ready`, as status and reason.
    pub fn ready(&self) -> Option<(&str, &str)> {
        let ready = find(&self.share.status.as_ref()?.conditions, ConditionType::Ready)?;
        Some((ready.status.as_str(), ready.reason.as_str()))
    }

    pub fn is_held(&self) -> bool {
        self.share.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
    }

    pub fn requested(&self) -> Option<&str> {
        self.share.annotations().get(REQUESTED_AT).map(String::as_str)
    }

    fn of(version: &Version, at: Duration, zero: Timestamp) -> Self {
        let share = AmiShare::deserialize(version.object.as_ref()).unwrap();
        let (namespace, name) = &version.key;
        let object = OBJECTS.iter().position(|(n, o, _)| (n, o) == (&namespace.as_str(), &name.as_str())).unwrap();
        let principals: Vec<String> = share.spec.share_with.principals().iter().map(ToString::to_string).collect();
        let Target::Image(image) = Target::by_id(&share.spec.image.id.as_ref().unwrap().to_string()) else {
            unreachable!("an image's id")
        };
        let since = |time: Timestamp| Duration::try_from(time.duration_since(zero)).unwrap_or_default();
        Self {
            uid: share.uid().unwrap(),
            object,
            from: at,
            until: None,
            by_operator: version.by == "amishare",
            image,
            lists: Who::by_names(principals.iter().map(String::as_str)),
            record: record(&share),
            ends: share.spec.expires_at.as_ref().map(|ends| since(ends.0)),
            share,
        }
    }
}

fn record(share: &AmiShare) -> BTreeMap<Target, Who> {
    let mut record = BTreeMap::new();
    let mut note = |target: String, names: Vec<String>| {
        let who = Who::by_names(names.iter().map(String::as_str));
        let entry = record.entry(Target::by_id(&target)).or_insert(Who::NOBODY);
        *entry = entry.or(who);
    };
    for given in share.status.iter().flat_map(|status| &status.granted) {
        note(given.image_id.to_string(), given.launch_permission.iter().map(|p| p.to_string()).collect());
        for volumes in &given.create_volume_permission {
            for snapshot in &volumes.snapshot_ids {
                note(snapshot.to_string(), volumes.account_ids.iter().map(ToString::to_string).collect());
            }
        }
    }
    record
}

impl Claims {
    pub fn new(start: Instant, time: Timestamp) -> Self {
        let none = BTreeSet::new;
        let (careless, freed, scribbled) = (none(), none(), none());
        Self { start: (start, time), all: Vec::new(), seen: 0, newest: BTreeMap::new(), careless, freed, scribbled }
    }

    /// Reads what has been stored since the last time; gives what is wrong with it.
    pub fn read(&mut self, memory: &Memory) -> Vec<String> {
        let mut wrong = Vec::new();
        memory.look(|stored| {
            for version in &stored.history()[self.seen..] {
                let at = version.at.duration_since(self.start.0);
                let mut claim = Claim::of(version, at, self.start.1);
                let before = self.newest.remove(&claim.uid);
                if let Some(before) = before {
                    self.all[before].until = Some(at);
                }
                wrong.extend(self.judge(before, &claim).into_iter().map(|rule| {
                    let (namespace, name) = &version.key;
                    format!(
                        "{rule}: {namespace}/{name} {:?} {}",
                        claim.share.metadata.generation, version.object["status"]
                    )
                }));
                if claim.retains() || claim.observes() || claim.suspended() {
                    self.careless.insert(claim.uid.clone());
                }
                if version.kind == Kind::Deleted {
                    claim.until = Some(at);
                } else {
                    self.newest.insert(claim.uid.clone(), self.all.len());
                }
                self.all.push(claim);
            }
            self.seen = stored.history().len();
        });
        wrong
    }

    /// Which rules a version breaks. Only what the operator writes is judged.
    fn judge(&mut self, before: Option<usize>, claim: &Claim) -> Vec<&'static str> {
        if claim.is_held() {
            self.freed.remove(&claim.uid);
        } else if before.is_some_and(|before| self.all[before].is_held()) && !claim.deleting() {
            self.freed.insert(claim.uid.clone());
        }
        let before = before.map(|before| &self.all[before]);
        if !claim.by_operator {
            if before.is_some_and(|before| before.share.status != claim.share.status) {
                self.scribbled.insert(claim.uid.clone());
            }
            return Vec::new();
        }
        // What somebody else has written is no measure, and it is not mended before the end of a reconcile.
        let was_scribbled = self.scribbled.contains(&claim.uid);
        if was_scribbled && claim.ready().is_none_or(|(_, reason)| reason == SCRIBBLED || reason == "Progressing") {
            return Vec::new();
        }
        self.scribbled.remove(&claim.uid);
        let previous = before.filter(|_| !was_scribbled);
        let mut broken = violations(&claim.share, previous.map(|before| &before.share));
        if self.freed.contains(&claim.uid) {
            broken.retain(|rule| !rule.contains("finalizer"));
        }
        broken
    }

    /// Notes that an object may rightly leave something behind.
    pub fn excuse(&mut self, uid: &str) {
        self.careless.insert(uid.to_owned());
    }

    pub fn is_careless(&self, uid: &str) -> bool {
        self.careless.contains(uid)
    }

    /// Every object that is there.
    pub fn now(&self) -> impl Iterator<Item = &Claim> {
        self.newest.values().map(|index| &self.all[*index])
    }

    /// Every version that was the newest at some time between the two.
    pub fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Claim> {
        self.all.iter().filter(move |claim| claim.overlaps(from, to))
    }

    /// The newest version of an object, if it is there.
    pub fn of(&self, object: usize) -> Option<&Claim> {
        self.now().find(|claim| claim.object == object)
    }

    /// Whether the objects that ever listed somebody on a target have all left nothing behind.
    pub fn were_careful(&self, target: Target, who: Who) -> bool {
        let lists = |claim: &&Claim| !claim.lists_on(target).and(who).is_nobody();
        self.all.iter().filter(lists).all(|claim| !self.is_careless(&claim.uid))
    }

    /// Whether the objects that ever listed somebody on a target have asked for grants all the time.
    pub fn always_asked_for_grants(&self, target: Target, who: Who) -> bool {
        let lists = |claim: &&Claim| !claim.lists_on(target).and(who).is_nobody();
        self.all.iter().filter(lists).all(|claim| claim.wants_grants().is_some())
    }

    /// Whom an object has listed on a target in any of its versions.
    pub fn ever_listed(&self, uid: &str, target: Target) -> Who {
        let mine = self.all.iter().filter(|claim| claim.uid == uid);
        mine.map(|claim| claim.lists_on(target)).fold(Who::NOBODY, Who::or)
    }

    /// The versions so far.
    pub fn all(&self) -> &[Claim] {
        &self.all
    }
}
