//! The set algebra of claims: who is to be added and removed, and what each claim thereby owns.
//!
//! Pure. The same rules hold for the launch permissions of an image and the createVolumePermission of a snapshot.

use std::collections::BTreeSet;

use super::claim::Standing;
use crate::api::Principal;
use crate::planted::{self, Flaw};

type Principals = BTreeSet<Principal>;

/// What one claim says about one target.
#[derive(Debug, Clone)]
pub struct Party {
    /// What the claim may do to this target.
    pub standing: Standing,
    /// Who it lists.
    pub lists: Principals,
    /// What it has given.
    pub granted: Principals,
}

/// What follows from what is held and what the parties say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Who is to be given the permission.
    pub add: Principals,
    /// Who is to lose it.
    pub remove: Principals,
    /// What each party owns once that is done or failed, in the parties' order: what must be on record before the first call.
    pub records: Vec<Principals>,
}

/// Everyone that some party which is not on its way out lists: they are never removed.
pub fn protected(parties: &[Party]) -> Principals {
    let most = if planted::has(Flaw::ForgetsOtherClaims) { 1 } else { usize::MAX };
    parties.iter().filter(|p| !p.standing.leaves()).take(most).flat_map(|p| p.lists.iter().cloned()).collect()
}

/// Settles what is `held` with the `parties`. `impossible` are those that cannot be given the permission now.
pub fn settle(held: &Principals, parties: &[Party], impossible: &Principals) -> Settlement {
    let listed = protected(parties);
    let wanted = parties.iter().filter(|p| p.standing.writes()).flat_map(|p| p.lists.iter());
    let add: Principals = wanted.filter(|p| !held.contains(*p) && !impossible.contains(*p)).cloned().collect();
    // Whom nobody lists any more and a claim has given is taken away whether it is seen to hold the permission or not: AWS may
    // show a permission only some time after it was given, and to take away what nobody holds does nothing.
    let given_by_acting =
        parties.iter().filter(|p| p.standing.takes_back()).flat_map(|p| p.granted.difference(&listed));
    let additive = planted::has(Flaw::TakesWhatItDidNotGive).then_some(Standing::Additive);
    let authoritative = parties.iter().any(|p| p.standing == Standing::Authoritative || Some(p.standing) == additive);
    let held_by_strangers = held.difference(&listed).filter(|_| authoritative);
    let remove: Principals = given_by_acting.chain(held_by_strangers).cloned().collect();

    let left_behind: Principals =
        parties.iter().filter(|p| p.standing.leaves()).flat_map(|p| p.granted.iter().cloned()).collect();
    let facts = Facts { held, add: &add, remove: &remove, parties, left_behind: &left_behind };
    let records = parties.iter().map(|party| record(party, &facts)).collect();
    Settlement { add, remove, records }
}

/// What the record of a party follows from.
struct Facts<'a> {
    held: &'a Principals,
    add: &'a Principals,
    remove: &'a Principals,
    /// All parties.
    parties: &'a [Party],
    /// What parties have given that are on their way out.
    left_behind: &'a Principals,
}

/// What a party owns. It owns what it gave as long as that is held, and what it is about to give. An authoritative party
/// also owns what it lists and finds: it answers for the whole list. An additive one owns what it lists and another claim
/// gave, so that whichever of the two leaves last takes it back, in whatever order they came.
///
/// A suspended or waiting party gets what it lists and a leaving one gave: otherwise nobody would own it any more. With one that
/// only observes, nobody does: it never takes anything away.
fn record(party: &Party, facts: &Facts<'_>) -> Principals {
    let Facts { held, add, remove, parties, left_behind } = facts;
    let keeps = party.granted.iter().filter(|p| held.contains(*p) || remove.contains(*p)).cloned();
    match party.standing {
        Standing::Authoritative => {
            let is_given = |p: &Principal| add.contains(p) && party.lists.contains(p);
            let owns = |p: &&Principal| held.contains(*p) || remove.contains(*p) || is_given(p);
            party.granted.union(&party.lists).filter(owns).cloned().collect()
        }
        Standing::Additive => {
            let given = |p: &Principal| parties.iter().any(|party| party.granted.contains(p));
            let is_its_own = |p: &&Principal| add.contains(*p) || (held.contains(*p) && given(p));
            keeps.chain(party.lists.iter().filter(is_its_own).cloned()).collect()
        }
        Standing::Leaving => keeps.collect(),
        Standing::LeavingAsItIs => Principals::new(),
        Standing::Suspended | Standing::Waiting => {
            // Whether it is seen to be held or not: AWS may show late what was given.
            let inherits = party.lists.iter().filter(|p| left_behind.contains(*p));
            party.granted.iter().chain(inherits).cloned().collect()
        }
        Standing::Observing | Standing::Unreadable | Standing::Unrecorded => party.granted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(accounts: &[u8]) -> Principals {
        accounts.iter().map(|n| format!("{n:012}").parse().unwrap()).collect()
    }

    fn party(standing: Standing, lists: &[u8], granted: &[u8]) -> Party {
        Party { standing, lists: set(lists), granted: set(granted) }
    }

    fn settled(held: &[u8], parties: &[Party]) -> Settlement {
        settle(&set(held), parties, &Principals::new())
    }

    #[test]
    fn an_authoritative_claim_adds_who_is_missing_and_removes_whom_nobody_lists() {
        let result = settled(&[2, 9], &[party(Standing::Authoritative, &[1, 2], &[])]);
        assert_eq!((result.add, result.remove), (set(&[1]), set(&[9])));
        assert_eq!(result.records, [set(&[1, 2])]);
    }

    #[test]
    fn an_additive_claim_leaves_alone_what_it_did_not_give() {
        let result = settled(&[2, 9], &[party(Standing::Additive, &[1, 2], &[])]);
        assert_eq!((result.add, result.remove), (set(&[1]), set(&[])));
        assert_eq!(result.records, [set(&[1])], "2 was there before and is not its own");
    }

    #[test]
    fn an_additive_claim_takes_back_what_it_gave_and_no_longer_lists() {
        let result = settled(&[1, 2, 9], &[party(Standing::Additive, &[1], &[1, 2])]);
        assert_eq!(result.remove, set(&[2]));
        assert_eq!(result.records, [set(&[1, 2])], "2 stays on record until it is gone");
    }

    #[test]
    fn whom_an_observing_suspended_or_unreadable_claim_lists_is_not_removed() {
        for standing in [Standing::Observing, Standing::Suspended, Standing::Unreadable] {
            let result = settled(&[5], &[party(Standing::Authoritative, &[], &[]), party(standing, &[5, 6], &[])]);
            assert_eq!((result.add, result.remove), (set(&[]), set(&[])), "{standing:?}");
        }
    }

    #[test]
    fn what_a_claim_gave_is_taken_back_even_if_aws_does_not_show_it_yet() {
        for standing in [Standing::Leaving, Standing::Additive, Standing::Authoritative] {
            let result = settled(&[], &[party(standing, &[], &[1])]);
            assert_eq!((result.remove, result.records), (set(&[1]), vec![set(&[1])]), "{standing:?}");
        }
    }

    #[test]
    fn a_suspended_claim_inherits_what_it_lists_and_a_leaving_one_gave() {
        let result = settled(&[1, 2], &[party(Standing::Leaving, &[], &[1]), party(Standing::Suspended, &[1, 2], &[])]);
        assert_eq!((result.remove, &result.records[1]), (set(&[]), &set(&[1])));
    }

    #[test]
    fn a_leaving_claim_takes_back_only_what_nobody_else_lists() {
        let result =
            settled(&[1, 2, 3], &[party(Standing::Leaving, &[], &[1, 2]), party(Standing::Additive, &[2], &[])]);
        assert_eq!(result.remove, set(&[1]));
        assert_eq!(result.records[1], set(&[2]), "the claim that stays inherits what the leaving one gave");
    }

    #[test]
    fn a_leaving_claim_protects_nobody_whatever_it_lists() {
        for standing in [Standing::Leaving, Standing::LeavingAsItIs] {
            let result = settled(&[5], &[party(Standing::Authoritative, &[], &[]), party(standing, &[5], &[])]);
            assert_eq!(result.remove, set(&[5]), "{standing:?}");
        }
    }

    #[test]
    fn a_claim_that_leaves_things_as_they_are_removes_nothing_and_owns_nothing() {
        let result = settled(&[1, 2], &[party(Standing::LeavingAsItIs, &[], &[1, 2])]);
        assert_eq!(result, Settlement { add: set(&[]), remove: set(&[]), records: vec![set(&[])] });
    }

    #[test]
    fn who_cannot_be_added_is_not_on_record() {
        let result = settle(&set(&[]), &[party(Standing::Authoritative, &[1, 2], &[])], &set(&[2]));
        assert_eq!((result.add, result.records), (set(&[1]), vec![set(&[1])]));
    }
}
