//! Waiting for a condition, and telling what is seen. The tests on a node share it.

use std::{fmt::Display, future::Future, io::Write, time::Duration};

use tokio::time::Instant;

/// How long a condition may take to come true. Generous: a machine that compiles at the same time is slow.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(40);

/// Tells whoever runs the tests. Not with a macro: what those print is shown only if the test fails.
pub fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Looks again and again until `look` gives a value; fails with what it last saw instead.
pub async fn eventually<T, W, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, W>>,
    W: Display,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not within {DEADLINE:?}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// A number that whoever runs the tests has set.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
