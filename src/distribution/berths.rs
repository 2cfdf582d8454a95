//! How many copies are under way at once in one account and Region, and who is next.
//!
//! State without I/O. AWS has a quota of copies in flight per destination Region (aws.md section 2.2), and whoever fills it makes all
//! others fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::api::Site;

/// A copy: the uid of the distribution, and the name of the target.
pub type Ship = (String, String);

#[derive(Debug, Default)]
struct Harbour {
    taken: BTreeSet<Ship>,
    waiting: VecDeque<Ship>,
}

/// The places for copies in every account and Region. Whoever has waited longest comes first.
#[derive(Debug)]
pub struct Berths {
    most: usize,
    harbours: Mutex<BTreeMap<Site, Harbour>>,
}

impl Berths {
    /// So many places in each account and Region.
    pub fn new(most: usize) -> Self {
        Self { most, harbours: Mutex::default() }
    }

    fn harbours(&self) -> MutexGuard<'_, BTreeMap<Site, Harbour>> {
        self.harbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy is seen to be under way, whoever has begun it: it has a place, even if there is none.
    pub fn occupy(&self, site: &Site, ship: &Ship) {
        let mut harbours = self.harbours();
        let harbour = harbours.entry(site.clone()).or_default();
        harbour.waiting.retain(|waiting| waiting != ship);
        harbour.taken.insert(ship.clone());
    }

    /// Takes a place, if there is one and nobody has waited for longer. Whoever gets none is in the queue from now on, and told by
    /// [`Self::leave`] when it is worth to ask again.
    pub fn take(&self, site: &Site, ship: &Ship) -> bool {
        let mut harbours = self.harbours();
        let harbour = harbours.entry(site.clone()).or_default();
        if harbour.taken.contains(ship) {
            return true;
        }
        if !harbour.waiting.contains(ship) {
            harbour.waiting.push_back(ship.clone());
        }
        let free = self.most.saturating_sub(harbour.taken.len());
        let place = harbour.waiting.iter().position(|waiting| waiting == ship);
        if place.is_none_or(|place| place >= free) {
            return false;
        }
        harbour.waiting.retain(|waiting| waiting != ship);
        harbour.taken.insert(ship.clone());
        true
    }

    /// A copy is no longer under way, or wanted. Returns those who are next.
    pub fn leave(&self, site: &Site, ship: &Ship) -> Vec<Ship> {
        let mut harbours = self.harbours();
        let Some(harbour) = harbours.get_mut(site) else { return Vec::new() };
        let waited = harbour.waiting.len();
        harbour.waiting.retain(|waiting| waiting != ship);
        let has_left = harbour.taken.remove(ship) || harbour.waiting.len() < waited;
        let free = self.most.saturating_sub(harbour.taken.len());
        let next = if has_left { harbour.waiting.iter().take(free).cloned().collect() } else { Vec::new() };
        if harbour.taken.is_empty() && harbour.waiting.is_empty() {
            harbours.remove(site);
        }
        next
    }

    /// All copies of a distribution are no longer under way, or wanted. Returns those who are next.
    pub fn leave_all(&self, uid: &str) -> Vec<Ship> {
        let here: Vec<(Site, Ship)> = {
            let harbours = self.harbours();
            let all = harbours.iter().flat_map(|(site, harbour)| {
                harbour.taken.iter().chain(&harbour.waiting).map(|ship| (site.clone(), ship.clone()))
            });
            all.filter(|(_, (owner, _))| owner == uid).collect()
        };
        here.iter().flat_map(|(site, ship)| self.leave(site, ship)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ship(number: u32) -> Ship {
        (format!("uid-{number}"), "eu".into())
    }

    fn site(region: &str) -> Site {
        Site::own(region.parse().unwrap())
    }

    #[test]
    fn who_has_waited_longest_is_next_and_other_regions_do_not_wait() {
        let (berths, eu) = (Berths::new(2), site("eu-west-1"));
        assert!(berths.take(&eu, &ship(1)) && berths.take(&eu, &ship(2)));
        assert!(!berths.take(&eu, &ship(3)) && !berths.take(&eu, &ship(4)));
        assert!(berths.take(&site("us-east-1"), &ship(3)));
        assert!(berths.take(&eu, &ship(1)), "whoever has a place keeps it");
        assert_eq!(berths.leave(&eu, &ship(1)), [ship(3)]);
        assert!(!berths.take(&eu, &ship(4)), "3 has waited longer");
        assert!(berths.take(&eu, &ship(3)));
        assert_eq!(berths.leave(&eu, &ship(2)), [ship(4)]);
    }

    #[test]
    fn copies_that_are_found_under_way_have_places_even_if_there_are_none() {
        let (berths, eu) = (Berths::new(1), site("eu-west-1"));
        berths.occupy(&eu, &ship(1));
        berths.occupy(&eu, &ship(2));
        assert!(!berths.take(&eu, &ship(3)));
        assert!(berths.leave(&eu, &ship(1)).is_empty());
        assert_eq!(berths.leave(&eu, &ship(2)), [ship(3)]);
    }

    #[test]
    fn whoever_is_deleted_while_it_waits_holds_up_nobody() {
        let (berths, eu) = (Berths::new(1), site("eu-west-1"));
        assert!(berths.take(&eu, &ship(1)) && !berths.take(&eu, &ship(2)) && !berths.take(&eu, &ship(3)));
        assert!(berths.leave_all("uid-2").is_empty());
        assert_eq!(berths.leave_all("uid-1"), [ship(3)]);
    }
}
