use super::*;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) };

fn at(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn record(version: &str, holder: &str) -> Record {
    Record { version: version.into(), holder: holder.into(), lasts: TERMS.lease }
}

fn take(over: Option<&str>) -> Step {
    Step::Write { over: over.map(Into::into), renews: false }
}

fn renew(over: &str) -> Step {
    Step::Write { over: Some(over.into()), renews: true }
}

/// One that has taken the lease in version 1, with a request that was sent at 0.
fn leader() -> Candidate {
    let mut me = Candidate::new("me".into(), TERMS);
    me.saw(None, at(0));
    assert_eq!(me.evaluate(at(0)), take(None));
    me.tries(at(0));
    me.stored(record("1", "me"), at(0), at(1));
    me
}

#[test]
fn a_lease_that_is_not_there_or_released_is_taken_at_once() {
    let mut me = Candidate::new("me".into(), TERMS);
    assert_eq!(me.evaluate(at(0)), Step::Read);
    me.saw(None, at(0));
    assert_eq!(me.evaluate(at(0)), take(None));
    me.saw(Some(record("4", "")), at(0));
    assert_eq!(me.evaluate(at(0)), take(Some("4")));
}

#[test]
fn the_lease_of_another_is_taken_only_after_it_was_seen_unchanged_for_as_long_as_it_lasts() {
    let mut me = Candidate::new("me".into(), TERMS);
    for (now, version) in [(0, "7"), (2, "7"), (4, "8"), (6, "8")] {
        me.tries(at(now));
        me.saw(Some(record(version, "other")), at(now));
        assert_eq!(me.evaluate(at(now)), Step::Wait(at(now + 2)));
        assert_eq!(me.evaluate(at(now + 2)), Step::Read);
    }
    me.tries(at(18));
    me.saw(Some(record("8", "other")), at(18));
    assert_eq!(me.evaluate(at(18)), Step::Wait(at(19)), "it looks when it runs out, and not only at the next try");
    assert_eq!(me.evaluate(at(19)), take(Some("8")));
}

#[test]
fn how_long_a_lease_lasts_is_what_its_holder_promised() {
    let mut me = Candidate::new("me".into(), TERMS);
    me.saw(Some(Record { lasts: at(60), ..record("1", "other") }), at(0));
    me.tries(at(58));
    assert_eq!(me.evaluate(at(59)), Step::Wait(at(60)));
    assert_eq!(me.evaluate(at(60)), take(Some("1")));
}

#[test]
fn a_leader_may_act_from_when_it_sent_what_was_confirmed_and_renews_in_time() {
    let mut me = leader();
    assert_eq!(me.term(), Some(Term { until: at(10), over: at(15) }), "not from when the answer came");
    assert_eq!(me.evaluate(at(1)), Step::Wait(at(2)));
    assert_eq!(me.evaluate(at(2)), renew("1"));
    me.tries(at(2));
    me.stored(record("2", "me"), at(2), at(3));
    assert_eq!(me.term(), Some(Term { until: at(12), over: at(17) }));
}

#[test]
fn a_renewal_without_an_answer_counts_for_nothing_and_is_looked_up_before_the_next() {
    let mut me = leader();
    me.tries(at(2));
    me.failed();
    assert_eq!(me.term(), Some(Term { until: at(10), over: at(15) }));
    assert_eq!(me.evaluate(at(3)), Step::Wait(at(4)));
    assert_eq!(me.evaluate(at(4)), Step::Read);
    me.tries(at(4));
    me.saw(Some(record("2", "me")), at(4));
    assert_eq!(me.term(), Some(Term { until: at(10), over: at(15) }), "to read is not to renew");
    assert_eq!(me.evaluate(at(4)), renew("2"));
}

#[test]
fn a_leader_that_cannot_renew_in_time_has_lost_even_if_an_answer_comes_later() {
    let mut me = leader();
    assert_eq!(me.evaluate(at(10)), Step::Lost);
    me.stored(record("2", "me"), at(9), at(11));
    assert_eq!((me.evaluate(at(11)), me.term()), (Step::Lost, None));
}

#[test]
fn a_leader_whose_lease_another_has_taken_by_hand_has_lost() {
    let mut me = leader();
    me.failed();
    me.saw(Some(record("9", "other")), at(4));
    assert_eq!((me.evaluate(at(4)), me.term()), (Step::Lost, None));
}

#[test]
fn whoever_has_the_lease_without_knowing_it_takes_it_again_before_it_acts() {
    let mut me = Candidate::new("me".into(), TERMS);
    me.saw(None, at(0));
    me.tries(at(0));
    me.failed();
    me.tries(at(2));
    me.saw(Some(record("1", "me")), at(2));
    assert_eq!((me.term(), me.evaluate(at(2))), (None, renew("1")));
    // An answer that comes when the term is over makes nobody a leader.
    me.tries(at(2));
    me.stored(record("2", "me"), at(2), at(12));
    assert_eq!((me.term(), me.evaluate(at(12))), (None, renew("2")));
}

#[test]
fn a_lease_that_somebody_deletes_binds_the_others_all_the_same() {
    let mut me = Candidate::new("me".into(), TERMS);
    me.saw(Some(record("3", "other")), at(0));
    me.tries(at(2));
    me.saw(None, at(2));
    assert_eq!(me.evaluate(at(16)), Step::Read);
    me.tries(at(16));
    me.saw(None, at(16));
    assert_eq!(me.evaluate(at(17)), take(None));
}

#[test]
fn who_releases_writes_nothing_more() {
    let mut me = leader();
    assert_eq!(me.releases().as_deref(), Some("1"));
    assert_eq!((me.term(), me.evaluate(at(2)), me.releases()), (None, Step::Lost, None));
    let mut unsure = leader();
    unsure.failed();
    assert_eq!(unsure.releases(), None, "in which version is not known");
}
