//! What the simulator promises, tested through the path of the wire: an HTTP request in, status and body out.
//!
//! The tests are named as sentences about AWS, in the order of the reference's sections 1.0 to 1.9.

mod copies;
mod faults;
mod harness;
mod images;
mod in_process;
mod keys;
mod launch_permissions;
mod launches;
mod lifecycle;
mod listings;
mod network;
mod requests;
mod scenarios;
mod sharing_rules;
mod snapshots;
mod sts;
mod tags;
mod throttling;
mod users;
