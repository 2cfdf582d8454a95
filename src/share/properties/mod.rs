//! Properties of the pure half: claims, plan and status with an AWS that is plain data (design.md section 8).
//!
//! To repeat a failure: it is kept in `proptest-regressions/share.txt` (commit it), and tried first in every run. For more cases:
//! `PROPTEST_CASES=100000 cargo test --all-features --lib share::properties`.

mod authority;
mod crash;
mod guardrails;
mod history;
mod keys;
mod stability;
