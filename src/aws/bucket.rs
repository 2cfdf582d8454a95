//! A token bucket as EC2 keeps one for every account, Region and API, and what can be learnt of how full AWS's is.
//!
//! Pure: `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How many calls AWS lets through at once, and how many more each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls at once.
    pub burst: f64,
    /// Calls a second.
    pub per_second: f64,
}

impl Rate {
    /// The documented bucket of an API of EC2 or KMS (Amazon EC2 developer guide, "Request throttling for the Amazon EC2 API"; aws.md
    /// section 2.3).
    pub fn documented(operation: &str) -> Self {
        let (burst, per_second) = match operation {
            "ModifyImageAttribute" | "ModifySnapshotAttribute" | "DeregisterImage" | "DeleteSnapshot" => (100.0, 5.0),
            "CopyImage" => (100.0, 1.0),
            // KMS counts by the second, and has no bucket that fills up (KMS developer guide, "Request quotas"; aws.md section 2.4).
            "DescribeKey" => (2000.0, 2000.0),
            "GetKeyPolicy" => (1000.0, 1000.0),
            "ListGrants" => (100.0, 100.0),
            "CreateGrant" | "RevokeGrant" => (50.0, 50.0),
            read if ["Describe", "Get", "List"].iter().any(|verb| read.starts_with(verb)) => (100.0, 20.0),
            // What changes something and is not named there.
            _ => (50.0, 5.0),
        };
        Self { burst, per_second }
    }

    /// The rate of an account whose limits AWS has raised so many times.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { burst: self.burst * factor, per_second: self.per_second * factor }
    }
}

/// How much later one call may reach AWS than the next one. While the bucket is nearly empty, calls that were sent evenly and
/// arrive unevenly would find it empty: so much of it is never spent.
const UNEVEN: Duration = Duration::from_millis(200);

/// However often AWS refuses, so much of the documented rate is still tried.
const LEAST: f64 = 1.0 / 32.0;

/// How long it takes from no calls at all back to the documented rate, while AWS refuses none.
const RECOVERY: Duration = Duration::from_mins(1);

/// Our idea of one of AWS's buckets.
#[derive(Debug)]
pub struct Bucket {
    documented: Rate,
    /// What is left for us of the documented rate: others in the account make calls too.
    per_second: f64,
    tokens: f64,
    at: Instant,
    slowed: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(documented: Rate, now: Instant) -> Self {
        let mut bucket = Self { documented, per_second: documented.per_second, tokens: 0.0, at: now, slowed: None };
        bucket.tokens = bucket.most();
        bucket
    }

    /// The most tokens that it may hold. Who gets only a part of the rate finds no full bucket either.
    fn most(&self) -> f64 {
        let spare = (self.documented.per_second * UNEVEN.as_secs_f64()).max(1.0);
        ((self.documented.burst - spare) * self.per_second / self.documented.per_second).max(1.0)
    }

    fn pass(&mut self, now: Instant) {
        let mut left = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let slope = self.documented.per_second / RECOVERY.as_secs_f64();
        // First the rate recovers, and then it stays.
        let recovering = ((self.documented.per_second - self.per_second) / slope).clamp(0.0, left);
        self.tokens += (self.per_second + slope * recovering / 2.0) * recovering;
        self.per_second += slope * recovering;
        left -= recovering;
        self.tokens = (self.tokens + self.per_second * left).min(self.most());
    }

    /// Takes a token, or says when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.pass(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Rounded up: to come back a moment too early would be to come back for ever.
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / self.per_second) + Duration::from_micros(1))
    }

    /// AWS has refused a call that was sent at `sent`: its bucket is emptier than ours. Calls that were on their way together are
    /// one lesson.
    pub fn refused(&mut self, sent: Instant, now: Instant) {
        self.pass(now);
        self.tokens = self.tokens.min(0.0);
        if self.slowed.is_none_or(|slowed| sent > slowed) {
            self.slowed = Some(now);
            self.per_second = (self.per_second / 2.0).max(self.documented.per_second * LEAST);
        }
    }

    /// Whether it is as it was at the beginning.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.pass(now);
        self.per_second >= self.documented.per_second && self.tokens >= self.most()
    }

    /// How many calls may be made at this moment.
    pub fn tokens(&self) -> f64 {
        self.tokens.max(0.0)
    }

    /// How many calls a second are made at most, by what has been learnt.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODIFY: Rate = Rate { burst: 100.0, per_second: 5.0 };

    /// How many calls go through from now until `end`, when as many as possible are made.
    fn spend(bucket: &mut Bucket, mut now: Instant, end: Instant) -> u32 {
        let mut calls = 0;
        while now <= end {
            match bucket.take(now) {
                Ok(()) => calls += 1,
                Err(later) => now = later,
            }
        }
        calls
    }

    #[test]
    fn the_documented_buckets_are_those_of_the_developer_guide() {
        assert_eq!(Rate::documented("ModifyImageAttribute"), MODIFY);
        assert_eq!(Rate::documented("ModifySnapshotAttribute"), MODIFY);
        let reads = Rate { burst: 100.0, per_second: 20.0 };
        for operation in
            ["DescribeImages", "DescribeImageAttribute", "DescribeSnapshots", "GetImageBlockPublicAccessState"]
        {
            assert_eq!(Rate::documented(operation), reads);
        }
        for (operation, rate) in [
            ("DescribeKey", 2000.0),
            ("GetKeyPolicy", 1000.0),
            ("ListGrants", 100.0),
            ("CreateGrant", 50.0),
            ("RevokeGrant", 50.0),
        ] {
            assert_eq!(Rate::documented(operation), Rate { burst: rate, per_second: rate }, "{operation}");
        }
        assert_eq!(Rate::documented("EnableImage"), Rate { burst: 50.0, per_second: 5.0 });
        assert_eq!(MODIFY.times(2.0), Rate { burst: 200.0, per_second: 10.0 });
    }

    #[test]
    fn a_burst_is_nearly_all_that_aws_allows_and_then_calls_go_at_its_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(MODIFY, now);
        assert_eq!(spend(&mut bucket, now, now), 99);
        let calls = spend(&mut bucket, now, now + Duration::from_mins(1));
        assert!((299..=300).contains(&calls), "{calls}");
    }

    #[test]
    fn a_refusal_halves_the_rate_and_a_minute_of_peace_brings_it_back() {
        let now = Instant::now();
        let mut bucket = Bucket::new(MODIFY, now);
        // Twenty calls were on their way when AWS began to refuse.
        for _ in 0..20 {
            bucket.refused(now, now);
        }
        assert!((bucket.per_second() - 2.5).abs() < 1e-9, "{}", bucket.per_second());
        assert!(bucket.take(now).is_err());
        let later = now + Duration::from_mins(2);
        let calls = spend(&mut bucket, now, later);
        // The rate grows from 2.5 to 5 a second within the first half minute.
        assert!((555..=565).contains(&calls), "{calls}");
        assert!((bucket.per_second() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn however_often_aws_refuses_a_little_is_still_tried() {
        let now = Instant::now();
        let mut bucket = Bucket::new(MODIFY, now);
        (0..100).for_each(|n| bucket.refused(now + Duration::from_millis(n), now + Duration::from_millis(n)));
        assert!(bucket.per_second() >= 5.0 / 32.0);
        assert!(bucket.take(now + Duration::from_secs(10)).is_ok());
    }

    proptest! {
        /// Whatever the pattern of calls, a bucket that follows AWS's description refuses none of them, even if each of them
        /// arrives up to a fifth of a second late.
        #[test]
        fn aws_never_has_to_refuse(
            pauses in prop::collection::vec(0u64..3000, 1..400), lateness in prop::collection::vec(0u64..200, 1..50),
            read in any::<bool>(),
        ) {
            let rate = Rate::documented(if read { "DescribeImages" } else { "ModifyImageAttribute" });
            let start = Instant::now();
            let (mut ours, mut now) = (Bucket::new(rate, start), start);
            let mut arrivals = Vec::new();
            for (pause, late) in pauses.iter().zip(lateness.iter().cycle()) {
                // Bursts are what is dangerous: most calls come at once.
                now += Duration::from_millis(if *pause < 2500 { 0 } else { *pause });
                while let Err(later) = ours.take(now) {
                    now = later;
                }
                arrivals.push(now + Duration::from_millis(*late));
            }
            arrivals.sort();
            let (mut tokens, mut at) = (rate.burst, start);
            for arrival in arrivals {
                tokens = (tokens + (arrival - at).as_secs_f64() * rate.per_second).min(rate.burst);
                at = arrival;
                prop_assert!(tokens >= 1.0 - 1e-9, "refused after {:?}", arrival - start);
                tokens -= 1.0;
            }
        }
    }
}
