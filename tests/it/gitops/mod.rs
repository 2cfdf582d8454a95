//! What tools that deploy from Git make of AmiShares: the health script for Argo CD, the health check
//! expressions for Flux, and what scripts wait for with kubectl.
//!
//! The commands and the files of docs/gitops.md are run as they are written there.

mod argocd;
mod flux;
mod health;
mod install;
mod wait;

/// The blocks of code in docs/gitops.md.
fn blocks() -> Vec<String> {
    let text = std::fs::read_to_string(crate::chart::render::repository().join("docs/gitops.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line.starts_with("```")) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n") + "\n");
    }
    blocks
}

/// The one block of code in docs/gitops.md that contains `part`.
fn block(part: &str) -> String {
    let mut found: Vec<String> = blocks().into_iter().filter(|block| block.contains(part)).collect();
    assert_eq!(found.len(), 1, "docs/gitops.md has one block with {part:?}: {found:?}");
    found.remove(0)
}
