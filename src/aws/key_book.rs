//! What is known of keys: what KMS showed of them, and what we have made and revoked ourselves since.
//!
//! State without I/O, and `now` is an argument. KMS lists a grant up to five minutes after it was made, and may list one that was
//! revoked (aws.md section 1.11): what we know better is merged into every listing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    described::Freshness,
    failure::{Class, Failure},
    words::{Grant, Key},
};
use crate::api::KeyArn;

/// How late KMS may show what was done.
const LATE: Duration = Duration::from_mins(5);

/// How long a key is remembered that nobody asks for.
const REMEMBERED: Duration = Duration::from_hours(1);

/// What is known of all keys of one account in one Region.
#[derive(Debug, Default)]
pub(super) struct KeyBook(Mutex<HashMap<KeyArn, Arc<Page>>>);

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Page {
    /// Held by whoever asks KMS: the others wait for the answer.
    pub(super) asking: tokio::sync::Mutex<()>,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    /// Since when grants on it are made by nobody of ours but this process.
    watched: Instant,
    asked_for: Instant,
    /// What KMS last showed, when it was asked, and the same with what we know better.
    seen: Option<(Instant, Key, Arc<Key>)>,
    /// How often it did not show all of it, and what came of the last of these looks.
    failures: u64,
    failed: Option<Result<Arc<Key>, Failure>>,
    /// The grants that we have made and KMS has not listed with all others yet.
    made: Vec<Made>,
    /// In how many pages KMS lists them all.
    pages: usize,
    /// When it was last looked whether it shows those that we have made.
    watched_for: Option<Instant>,
    /// The ids of those that we have revoked.
    revoked: BTreeMap<String, Instant>,
    /// The names of those that we know to be no more.
    gone: BTreeMap<String, Instant>,
    /// When those of a name were last made, or may have been: the answer may be lost.
    tried: BTreeMap<String, Instant>,
}

/// A grant that we have made.
#[derive(Debug)]
struct Made {
    at: Instant,
    grant: Grant,
    /// Whether KMS has shown it when it was asked for its grantee's.
    shown: bool,
}

/// What was known of the grants of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    gone: Option<Instant>,
    tried: Option<Instant>,
}

impl KeyBook {
    /// The page of a key.
    pub(super) fn page(&self, key: &KeyArn, now: Instant) -> Arc<Page> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = pages.get(key) {
            page.notes().asked_for = now;
            return Arc::clone(page);
        }
        pages.retain(|_, page| now.saturating_duration_since(page.notes().asked_for) < REMEMBERED);
        let page = Arc::new(Page::new(now));
        pages.insert(key.clone(), Arc::clone(&page));
        page
    }
}

impl Page {
    fn new(now: Instant) -> Self {
        let notes = Notes {
            watched: now,
            asked_for: now,
            seen: None,
            failures: 0,
            failed: None,
            made: Vec::new(),
            pages: 1,
            watched_for: None,
            revoked: BTreeMap::new(),
            gone: BTreeMap::new(),
            tried: BTreeMap::new(),
        };
        Self { asking: tokio::sync::Mutex::default(), notes: Mutex::new(notes) }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key, if what is known of it is fresh enough. What might go better when it is tried again is not known.
    pub(super) fn known(&self, freshness: Freshness, now: Instant) -> Option<Arc<Key>> {
        let notes = self.notes();
        let (asked, _, key) = notes.seen.as_ref()?;
        let is_fresh = freshness.earliest(now).is_none_or(|earliest| *asked >= earliest);
        (is_fresh && !is_passing(key)).then(|| Arc::clone(key))
    }

    /// When KMS was asked for what it last showed.
    pub(super) fn looked(&self) -> Option<Instant> {
        self.notes().seen.as_ref().map(|(asked, ..)| *asked)
    }

    /// How many looks at the key have failed so far, all or in part.
    pub(super) fn failures(&self) -> u64 {
        self.notes().failures
    }

    /// What came of the last look, if it has failed since there were so many failures: it will do for those who waited for it.
    pub(super) fn failed_since(&self, failures: u64) -> Option<Result<Arc<Key>, Failure>> {
        let notes = self.notes();
        notes.failed.clone().filter(|_| notes.failures > failures)
    }

    /// Takes in what KMS showed when it was asked at `asked`.
    pub(super) fn see(&self, key: Key, asked: Instant) -> Arc<Key> {
        let mut notes = self.notes();
        notes.forget_what_kms_knows(&key, asked);
        let merged = Arc::new(notes.merged(&key));
        if is_passing(&merged) {
            notes.fail(Ok(Arc::clone(&merged)));
        }
        notes.seen = Some((asked, key, Arc::clone(&merged)));
        merged
    }

    /// Takes in that KMS showed nothing.
    pub(super) fn did_not_see(&self, failure: Failure) {
        self.notes().fail(Err(failure));
    }

    /// Takes in that a grant of this name is about to be made, or that it cannot be told whether one was.
    pub(super) fn trying(&self, name: &str, now: Instant) -> Before {
        let mut notes = self.notes();
        Before { gone: notes.gone.remove(name), tried: notes.tried.insert(name.to_owned(), now) }
    }

    /// Takes in that it was not made.
    pub(super) fn not_made(&self, name: &str, before: Before) {
        let mut notes = self.notes();
        notes.tried.remove(name);
        notes.tried.extend(before.tried.map(|at| (name.to_owned(), at)));
        notes.gone.extend(before.gone.map(|at| (name.to_owned(), at)));
    }

    /// Takes in a grant that we have made.
    pub(super) fn made(&self, grant: Grant, now: Instant) {
        let mut notes = self.notes();
        notes.revoked.remove(&grant.id);
        if let Some(name) = &grant.name {
            notes.gone.remove(name);
            notes.tried.insert(name.clone(), now);
        }
        notes.made.retain(|made| made.grant.id != grant.id);
        notes.made.push(Made { at: now, grant, shown: false });
        notes.merge();
    }

    /// Takes in that a grant of ours is no more.
    pub(super) fn revoked(&self, grant: &Grant, now: Instant) {
        let mut notes = self.notes();
        notes.made.retain(|made| made.grant.id != grant.id);
        notes.revoked.insert(grant.id.clone(), now);
        if let Some(name) = &grant.name {
            // Beside one whose role is no more there may be another, which was made since and is not listed yet.
            if !grant.is_dead() || !notes.tried.contains_key(name) {
                notes.tried.remove(name);
                notes.gone.insert(name.clone(), now);
            }
        }
        notes.merge();
    }

    /// The grants of a name, as far as they are known.
    pub(super) fn named(&self, name: &str) -> Vec<Grant> {
        let notes = self.notes();
        let listed = notes.seen.as_ref().and_then(|(.., key)| key.grants.as_ref().ok());
        let made = notes.made.iter().map(|made| &made.grant).filter(|_| listed.is_none());
        let is_named = |grant: &&Grant| grant.name.as_deref() == Some(name);
        listed.into_iter().flatten().chain(made).filter(is_named).cloned().collect()
    }

    /// Those of newly listed grants that have this name and that we have not revoked.
    pub(super) fn still_named(&self, name: &str, listed: Vec<Grant>) -> Vec<Grant> {
        let notes = self.notes();
        let is_there = |grant: &Grant| grant.name.as_deref() == Some(name) && !notes.revoked.contains_key(&grant.id);
        listed.into_iter().filter(is_there).collect()
    }

    /// When KMS was asked for the grants that it last showed.
    pub(super) fn listed(&self) -> Option<Instant> {
        self.notes().seen.as_ref().filter(|(_, key, _)| key.grants.is_ok()).map(|(asked, ..)| *asked)
    }

    /// Whether we have revoked the grants of this name and made none since.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.notes().gone.contains_key(name)
    }

    /// Takes in how many pages all grants were listed in.
    pub(super) fn took(&self, pages: usize) {
        self.notes().pages = pages;
    }

    /// In how many calls KMS lists all grants, as far as that is known.
    pub(super) fn pages(&self) -> usize {
        self.notes().pages
    }

    /// How long ago the grant of this name was made, if KMS has not shown it yet and may not have got round to it. Once it has had
    /// time enough, the next listing tells: a grant that it does not show has been revoked, and until then nothing is built on it.
    /// Only where KMS lists no grants to us, time alone has to do.
    pub(super) fn awaited(&self, name: &str, now: Instant) -> Option<Duration> {
        let notes = self.notes();
        let made = notes.made.iter().find(|made| made.grant.name.as_deref() == Some(name) && !made.shown)?;
        let lists = |key: &Key| key.grants.is_ok() || is_passing(key);
        let will_tell = notes.seen.as_ref().is_some_and(|(_, key, _)| lists(key));
        Some(now.saturating_duration_since(made.at)).filter(|age| *age < LATE || will_tell)
    }

    /// Whether it is time to look again for grants that KMS does not show: whoever else wants to know the same has not done so
    /// within half of `pause`. Whoever is told so looks.
    pub(super) fn watch_for(&self, pause: Duration, now: Instant) -> bool {
        let mut notes = self.notes();
        let is_due = notes.watched_for.is_none_or(|at| now.saturating_duration_since(at) * 2 >= pause);
        if is_due {
            notes.watched_for = Some(now);
        }
        is_due
    }

    /// Takes in grants that KMS has shown of one grantee.
    pub(super) fn show(&self, shown: &[Grant]) {
        for made in &mut self.notes().made {
            made.shown |= shown.iter().any(|grant| grant.id == made.grant.id);
        }
    }

    /// Whether KMS, asked at `asked`, has shown every grant of this name that there is: whoever of us made one, that was long ago.
    pub(super) fn has_shown(&self, name: &str, asked: Instant) -> bool {
        let notes = self.notes();
        let last = notes.tried.get(name).map_or(notes.watched, |tried| notes.watched.max(*tried));
        asked.saturating_duration_since(last) >= LATE
    }
}

/// Whether something of the key could not be seen that can be another time.
fn is_passing(key: &Key) -> bool {
    let failures = [key.policy.as_ref().err(), key.grants.as_ref().err()];
    failures.into_iter().flatten().any(|failure| matches!(failure.class, Class::Unavailable | Class::Throttled))
}

impl Notes {
    fn fail(&mut self, with: Result<Arc<Key>, Failure>) {
        self.failures += 1;
        self.failed = Some(with);
    }

    /// Forgets what KMS shows by now, and what it has had time enough to show.
    fn forget_what_kms_knows(&mut self, key: &Key, asked: Instant) {
        let Ok(listed) = &key.grants else { return };
        let is_recent = |at: &Instant| asked.saturating_duration_since(*at) < LATE;
        let is_listed = |made: &Made| listed.iter().any(|grant| grant.id == made.grant.id);
        // What was shown and is not any more, somebody has revoked.
        self.made.retain(|made| is_recent(&made.at) && !made.shown && !is_listed(made));
        self.revoked.retain(|_, at| is_recent(at));
        self.gone.retain(|_, at| is_recent(at));
        self.tried.retain(|_, at| is_recent(at));
    }

    fn merge(&mut self) {
        if let Some((asked, key, _)) = self.seen.take() {
            let merged = Arc::new(self.merged(&key));
            self.seen = Some((asked, key, merged));
        }
    }

    fn merged(&self, key: &Key) -> Key {
        let mut key = key.clone();
        if let Ok(grants) = &mut key.grants {
            grants.retain(|grant| !self.revoked.contains_key(&grant.id));
            let missing = self.made.iter().map(|made| &made.grant);
            let missing: Vec<Grant> =
                missing.filter(|made| !grants.iter().any(|grant| grant.id == made.id)).cloned().collect();
            grants.extend(missing);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::words::KeyManager;

    fn grant(id: &str) -> Grant {
        Grant {
            id: id.into(),
            name: Some(format!("name-{id}")),
            grantee: "arn:aws:iam::111122223333:root".into(),
            operations: ["Decrypt".to_owned()].into(),
            constrained: false,
        }
    }

    fn listing(ids: &[&str]) -> Key {
        Key {
            arn: "arn:aws:kms:us-east-1:123456789012:key/1".parse().unwrap(),
            manager: KeyManager::Customer,
            state: "Enabled".into(),
            policy: Ok(String::new()),
            grants: Ok(ids.iter().map(|id| grant(id)).collect()),
        }
    }

    fn ids(key: &Key) -> Vec<&str> {
        key.grants.as_ref().unwrap().iter().map(|grant| grant.id.as_str()).collect()
    }

    #[test]
    fn a_grant_that_we_have_made_is_there_until_kms_has_shown_it_or_has_had_time_to() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let page = Page::new(start);
        page.see(listing(&["a"]), start);
        page.made(grant("b"), start);
        assert_eq!(ids(&page.known(Freshness::Whenever, start).unwrap()), ["a", "b"]);
        assert_eq!(ids(&page.see(listing(&["a"]), later(60))), ["a", "b"]);
        assert_eq!(ids(&page.see(listing(&["a", "b"]), later(90))), ["a", "b"]);
        assert_eq!(ids(&page.see(listing(&["a"]), later(120))), ["a"], "somebody has revoked it");

        page.made(grant("c"), later(120));
        assert_eq!(ids(&page.see(listing(&["a"]), later(120 + 299))), ["a", "c"]);
        assert_eq!(ids(&page.see(listing(&["a"]), later(120 + 301))), ["a"]);
    }

    #[test]
    fn a_grant_that_we_have_revoked_is_gone_even_if_kms_still_lists_it() {
        let start = Instant::now();
        let page = Page::new(start);
        page.see(listing(&["a", "b"]), start);
        page.revoked(&grant("a"), start);
        assert_eq!(ids(&page.see(listing(&["a", "b"]), start + Duration::from_secs(10))), ["b"]);
        assert!(page.is_gone("name-a") && !page.is_gone("name-c"));
        page.made(grant("d"), start);
        page.trying("name-a", start);
        assert!(!page.is_gone("name-a"), "it may have been made again");
        assert_eq!(page.still_named("name-a", vec![grant("a"), grant("b")]), []);
    }

    #[test]
    fn what_kms_does_not_list_is_not_there_only_if_nobody_can_have_made_it_within_five_minutes() {
        let start = Instant::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        let page = Page::new(start);
        assert!(!page.has_shown("name-a", at(4)), "an operator before this one may have made it");
        assert!(page.has_shown("name-a", at(5)));
        page.made(grant("a"), at(5));
        page.trying("name-b", at(6));
        assert!(!page.has_shown("name-a", at(9)) && page.has_shown("name-a", at(10)));
        assert!(!page.has_shown("name-b", at(10)) && page.has_shown("name-b", at(11)));
        // AWS has refused another attempt: what is known of the first one stays.
        let before = page.trying("name-b", at(10));
        page.not_made("name-b", before);
        assert!(page.has_shown("name-b", at(11)));
        page.see(listing(&[]), at(20));
        assert!(page.notes().tried.is_empty() && page.notes().made.is_empty());
    }

    #[test]
    fn a_dead_grant_that_was_revoked_does_not_hide_one_that_may_have_been_made_since() {
        let start = Instant::now();
        let dead = || Grant { grantee: "AROA0123456789ABCDEFG".into(), ..grant("a") };
        let page = Page::new(start);
        page.revoked(&dead(), start);
        assert!(page.is_gone("name-a"));
        page.trying("name-a", start);
        page.revoked(&dead(), start);
        assert!(!page.is_gone("name-a"));
    }

    #[test]
    fn a_grant_is_awaited_until_kms_has_shown_it_of_its_grantee_or_among_all_or_lists_it_no_more_after_five_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let page = Page::new(start);
        page.see(listing(&[]), start);
        for id in ["a", "b", "c"] {
            page.made(grant(id), start);
        }
        assert_eq!(page.awaited("name-a", at(2)), Some(Duration::from_secs(2)));
        page.show(&[grant("a"), grant("z")]);
        page.see(listing(&["a", "b"]), at(3));
        assert!(page.awaited("name-a", at(3)).is_none() && page.awaited("name-b", at(3)).is_none());
        assert!(page.awaited("name-c", at(299)).is_some());
        assert!(page.awaited("name-z", at(3)).is_none(), "it is not ours to wait for");
        assert_eq!(ids(&page.see(listing(&["b"]), at(4))), ["b", "c"], "somebody has revoked the one that was shown");
        let late = [page.see(listing(&["b"]), at(299)), page.known(Freshness::Whenever, at(301)).unwrap()];
        assert!(late.iter().all(|key| ids(key) == ["b", "c"]), "KMS was asked too soon to tell");
        assert!(page.awaited("name-c", at(301)).is_some(), "what was seen too soon is not taken for granted later");
        assert_eq!(ids(&page.see(listing(&["b"]), at(302))), ["b"]);
        assert!(page.awaited("name-c", at(302)).is_none());
    }

    #[test]
    fn where_kms_lists_no_grants_to_us_one_is_awaited_for_five_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let page = Page::new(start);
        let with = |failure: Failure| Key { grants: Err(failure), ..listing(&[]) };
        let answered = |code| Failure::answered("ListGrants", code, "told so");
        page.see(with(answered("AccessDeniedException")), start);
        page.made(grant("a"), start);
        assert!(page.awaited("name-a", at(299)).is_some() && page.awaited("name-a", at(300)).is_none());
        page.see(with(answered("ThrottlingException")), start);
        assert!(page.awaited("name-a", at(300)).is_some(), "it will list them when it is asked again");
    }

    #[test]
    fn grants_that_are_awaited_for_several_images_are_looked_for_once() {
        let start = Instant::now();
        let page = Page::new(start);
        let pause = Duration::from_secs(8);
        assert!(page.watch_for(pause, start));
        assert!(!page.watch_for(pause, start + Duration::from_secs(3)));
        assert!(page.watch_for(pause, start + Duration::from_secs(4)));
    }

    #[test]
    fn grants_that_we_have_made_are_known_though_the_others_cannot_be_listed() {
        let start = Instant::now();
        let page = Page::new(start);
        page.made(grant("a"), start);
        assert_eq!(page.named("name-a"), [grant("a")]);
        let failure = Failure::answered("ListGrants", "AccessDeniedException", "no");
        page.see(Key { grants: Err(failure), ..listing(&[]) }, start);
        assert_eq!(page.named("name-a"), [grant("a")]);
        assert_eq!(page.listed(), None);
    }

    #[test]
    fn a_look_that_may_go_better_is_shared_by_those_who_waited_for_it_and_by_nobody_else() {
        let start = Instant::now();
        let page = Page::new(start);
        let denied = Failure::answered("GetKeyPolicy", "AccessDeniedException", "no");
        page.see(Key { policy: Err(denied), ..listing(&[]) }, start);
        assert!(page.known(Freshness::Whenever, start).is_some(), "it would be the same again");
        assert_eq!(page.failures(), 0);

        let down = Failure::unanswered("ListGrants", "down");
        page.see(Key { grants: Err(down.clone()), ..listing(&[]) }, start);
        assert!(page.known(Freshness::Whenever, start).is_none());
        assert!(page.failed_since(0).is_some_and(|look| look.is_ok()) && page.failed_since(1).is_none());
        page.did_not_see(down.clone());
        assert_eq!(page.failed_since(1).unwrap().unwrap_err(), down);
        assert!(page.failed_since(2).is_none());
    }

    #[test]
    fn an_old_listing_is_not_fresh_and_a_key_that_nobody_asks_for_is_forgotten() {
        let (start, book) = (Instant::now(), KeyBook::default());
        let key = listing(&[]).arn;
        book.page(&key, start).see(listing(&["a"]), start);
        let since =
            |seconds| book.page(&key, start).known(Freshness::Since(start + Duration::from_secs(seconds)), start);
        assert!(since(0).is_some() && since(1).is_none());
        let other = "arn:aws:kms:us-east-1:123456789012:key/2".parse().unwrap();
        book.page(&other, start + REMEMBERED);
        assert!(book.page(&key, start + REMEMBERED).known(Freshness::Whenever, start).is_none());
    }
}
