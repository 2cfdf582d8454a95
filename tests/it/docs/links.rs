//! Links between the documents.

use std::{collections::BTreeMap, fs};

use super::{beside, document, documents, prose_and_blocks};

/// Where the links of a document lead.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1);
    targets.map(|rest| rest.split(')').next().unwrap_or_default()).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let (prose, _) = prose_and_blocks(text);
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let letters = heading.to_lowercase().chars().collect::<Vec<_>>().into_iter();
        let kept = letters.filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    headings
        .map(anchor)
        .map(|anchor| {
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut wrong = Vec::new();
    for (name, text) in documents() {
        let (prose, _) = prose_and_blocks(&text);
        for link in links(&prose).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { beside("", &name) } else { beside(&name, path) };
            if !target.exists() {
                wrong.push(format!("{name}: {link}: no such file"));
            } else if let Some(anchor) = anchor {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                if !there.iter().any(|known| known == anchor) {
                    wrong.push(format!("{name}: {link}: no such heading; there are {there:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_document_can_be_reached_from_the_readme() {
    let readme = document("README.md");
    let (prose, _) = prose_and_blocks(&readme);
    let links = links(&prose);
    let listed = |name: &str| links.iter().any(|link| link.split('#').next() == Some(name));
    let missing: Vec<String> = documents()
        .into_keys()
        .filter(|name| name != "README.md" && !name.starts_with("docs/adr/") && !listed(name))
        .collect();
    assert_eq!(missing, [""; 0], "README.md links to none of these");
}

#[test]
fn anchors_are_as_github_makes_them() {
    let text = "# `AccessDenied`, again\n```\n# no heading\n```\n## What it says\n## What it says\n";
    assert_eq!(anchors(text), ["accessdenied-again", "what-it-says", "what-it-says-1"]);
}
