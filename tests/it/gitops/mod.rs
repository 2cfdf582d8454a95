//! What tools that deploy from Git make of AmiShares: the health script for Argo CD, the health check
//! expressions for Flux, and what scripts wait for with kubectl.
//!
//! The commands and the files of docs/gitops.md are run as they are written there.

mod argocd;
mod flux;
mod health;
mod install;
mod wait;

/// The one block of code in docs/gitops.md that contains `part`.
fn block(part: &str) -> String {
    crate::docs::block("docs/gitops.md", part)
}
