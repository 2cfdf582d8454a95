//! EC2's and KMS's documented token buckets: the floor keeps to them, and they bound how fast anybody can be (aws.md sections 2.3 and
//! 2.4).

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::calls::Calls;

/// How many calls an API takes at once, and how many more per second.
pub fn limits(action: &str) -> (f64, f64) {
    match action {
        "ModifyImageAttribute" | "ModifySnapshotAttribute" => (100.0, 5.0),
        // KMS (aws.md section 2.4).
        "CreateGrant" | "RevokeGrant" => (50.0, 50.0),
        "ListGrants" => (100.0, 100.0),
        "GetKeyPolicy" => (1000.0, 1000.0),
        "DescribeKey" => (2000.0, 2000.0),
        _ if action.starts_with("Describe") => (100.0, 20.0),
        _ => (50.0, 5.0),
    }
}

/// The least time in which these calls can be made from full buckets: the slowest API decides, and its last call takes as long
/// as a call takes.
pub fn bound(calls: &Calls, latency: Duration) -> Duration {
    let slowest = calls.by_action.iter().map(|(action, count)| {
        let (capacity, per_second) = limits(action);
        let count = f64::from(u32::try_from(*count).unwrap_or(u32::MAX));
        Duration::from_secs_f64((count - capacity).max(0.0) / per_second)
    });
    slowest.max().unwrap_or_default() + latency
}

/// One bucket, as a client that wants no refusal keeps it.
pub struct Bucket {
    per_token: Duration,
    burst: Duration,
    /// When the next token would come if there were no burst.
    next: Mutex<Instant>,
}

impl Bucket {
    /// The bucket of an API, full. One token less than documented: the first calls take longer to arrive than the later ones, so
    /// that AWS's clock begins later than ours.
    pub fn of(action: &str) -> Self {
        let (capacity, per_second) = limits(action);
        let per_token = Duration::from_secs_f64(1.0 / per_second);
        let burst = per_token.mul_f64(capacity - 1.0);
        Self { per_token, burst, next: Mutex::new(Instant::now() - burst) }
    }

    /// Takes a token, and waits until it is there.
    pub async fn take(&self) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *next = (*next).max(Instant::now() - self.burst) + self.per_token;
            *next
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_api_sets_the_bound() {
        let mut calls = Calls::default();
        calls.by_action.insert("DescribeImageAttribute".into(), 200);
        assert_eq!(bound(&calls, Duration::ZERO), Duration::from_secs(5));
        calls.by_action.insert("ModifyImageAttribute".into(), 200);
        assert_eq!(bound(&calls, Duration::from_millis(100)), Duration::from_millis(20_100));
    }
}
