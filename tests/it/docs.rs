//! The documents hold: links lead somewhere, and the flags, values and reasons that they name exist. That their commands work is shown in
//! `docs::commands`, and for docs/gitops.md in `gitops`.

mod commands;
mod links;
mod names;

use std::{collections::BTreeMap, fs, path::Path};

use crate::chart::render::repository;

/// The documents that people read, by their paths in the repository.
fn documents() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in ["", "charts/ami-share-operator", "docs", "docs/adr"] {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(repository()).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(found.contains_key("README.md") && found.contains_key("docs/install.md"), "{:?}", found.keys());
    found
}

/// A document by its path.
fn document(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a document has outside its blocks of code, and in them with the language in front.
fn prose_and_blocks(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
            blocks.push((language.to_owned(), block.join("\n") + "\n"));
        } else {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    (prose, blocks)
}

/// The blocks of code of a document.
pub fn blocks(name: &str) -> Vec<String> {
    prose_and_blocks(&document(name)).1.into_iter().map(|(_, block)| block).collect()
}

/// The one block of code of a document that contains `part`.
pub fn block(name: &str, part: &str) -> String {
    let mut found: Vec<String> = blocks(name).into_iter().filter(|block| block.contains(part)).collect();
    assert_eq!(found.len(), 1, "{name} has one block with {part:?}: {found:?}");
    found.remove(0)
}

/// The words in code font.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    // Whatever is between two backticks, in each paragraph of its own.
    prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
}

/// Where a document named in another one is.
fn beside(document: &str, target: &str) -> std::path::PathBuf {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    repository().join(folder).join(target)
}
