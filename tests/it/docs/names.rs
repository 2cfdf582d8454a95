//! Names of ours in the documents: flags of `amishare`, values of the chart, conditions and reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use amishare::api::{ConditionType, Reason};
use serde_json::Value;
use strum::VariantArray;

use super::{document, documents, prose_and_blocks, spans};
use crate::{
    chart::render::{chart, rendered},
    harness::process::AMISHARE,
};

/// Flags of other programs that are in the text without them.
const OTHERS: &[&str] = &[
    "--all-features",
    "--for",
    "--status-include-resources",
    "--server-side",
    "--set",
    "--reuse-values",
    "--take-ownership",
];

fn help(arguments: &[&str]) -> String {
    let output = Command::new(AMISHARE).args(arguments).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The word without what follows a flag: `--leader-elect[=<BOOLEAN>]`, `--concurrency=64`, `--log,`.
fn flag(word: &str) -> Option<&str> {
    let begin = word.strip_prefix("--")?;
    let end = begin.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(begin.len());
    (end > 0).then(|| &word[..end + 2])
}

/// The flags of each command of `amishare`.
fn flags() -> BTreeMap<String, BTreeSet<String>> {
    let of_all = help(&[]);
    let (_, commands) = of_all.split_once("Commands:").unwrap();
    let (commands, _) = commands.split_once("Options:").unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    commands
        .map(|command| {
            let flags = help(&[command]).split_whitespace().filter_map(flag).map(ToOwned::to_owned).collect();
            (command.to_owned(), flags)
        })
        .collect()
}

/// Commands as they are typed: the lines of blocks, with those that are continued in one, and what is in code font.
fn commands(text: &str) -> Vec<String> {
    let (prose, blocks) = prose_and_blocks(text);
    let lines = blocks
        .into_iter()
        .flat_map(|(_, block)| block.replace("\\\n", " ").lines().map(ToOwned::to_owned).collect::<Vec<_>>());
    lines.chain(spans(&prose).map(|span| span.replace('\n', " "))).collect()
}

#[test]
fn every_flag_of_amishare_in_the_documents_is_in_its_help() {
    let flags = flags();
    assert!(flags["run"].contains("--namespaces") && flags["simulate"].contains("--calls"), "{flags:?}");
    let all: BTreeSet<&str> = flags.values().flatten().map(String::as_str).chain(OTHERS.iter().copied()).collect();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for (name, text) in documents() {
        for line in commands(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let named = |word: &str| word == "amishare" || word.ends_with("/amishare");
            let at = words.iter().position(|word| named(word));
            let command = at.and_then(|at| words.get(at + 1)).and_then(|word| flags.get_key_value(*word));
            // `kubectl get amishare NAME` has the word too; only where it begins is it a program.
            let is_program = at.is_some_and(|at| words[..at].iter().all(|word| *word == "$" || word.contains('=')));
            if let (true, None, Some(at)) = (is_program, command, at)
                && words.get(at + 1).is_some_and(|word| *word != "…" && !word.starts_with('-'))
            {
                wrong.push(format!("{name}: no such command: {line}"));
            }
            let known: Option<BTreeSet<&str>> = match command {
                Some((_, flags)) => Some(flags.iter().map(String::as_str).collect()),
                // A flag alone.
                None if line.starts_with("--") => Some(all.clone()),
                None => None,
            };
            for flag in known.iter().flat_map(|_| words.iter().filter_map(|word| flag(word))) {
                found += 1;
                // `--leader-election-*` is all that begin so.
                let is_it = |known: &&str| *known == flag || (flag.ends_with('-') && known.starts_with(flag));
                if !known.as_ref().is_some_and(|known| known.iter().any(is_it)) {
                    wrong.push(format!("{name}: no such flag: {flag} in {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty() && found > 30, "{found} flags found: {wrong:#?}");
}

/// Whether there is a value of the chart with this path, or one that takes anything below itself.
fn is_value(schema: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match schema["properties"].get(*first) {
        Some(inner) => is_value(inner, rest),
        // What Kubernetes takes is not described in the schema.
        None => schema["properties"].is_null() && schema["additionalProperties"] != Value::Bool(false),
    }
}

#[test]
fn every_value_of_the_chart_in_the_documents_is_in_its_schema() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(format!("{}/values.schema.json", chart())).unwrap()).unwrap();
    let api = document("docs/api.md");
    let is_group = |name: &str| schema["properties"][name]["properties"].is_object();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for (name, text) in documents() {
        let (prose, _) = prose_and_blocks(&text);
        let alone = spans(&prose).filter_map(|span| span.split(['=', ':', ' ', '\n']).next());
        let alone: Vec<String> =
            alone.filter(|span| !api.contains(&format!("`{span}`"))).map(ToOwned::to_owned).collect();
        let set = commands(&text).into_iter().filter(|line| line.contains("ami-share-operator")).flat_map(|line| {
            let values = line.split("--set ").skip(1).map(|rest| rest.trim_start_matches(['\'', '"']).to_owned());
            values.filter_map(|value| value.split('=').next().map(ToOwned::to_owned)).collect::<Vec<_>>()
        });
        for path in alone.into_iter().chain(set) {
            let parts: Vec<&str> = path.split('.').collect();
            let is_path = parts.len() > 1 && parts.iter().all(|part| !part.is_empty() && !part.contains('/'));
            if is_path && is_group(parts[0]) && !parts[1].starts_with('(') {
                found += 1;
                if !is_value(&schema, &parts) {
                    wrong.push(format!("{name}: {path}"));
                }
            }
        }
    }
    assert!(wrong.is_empty() && found > 30, "{found} values found, and there are no such: {wrong:#?}");
}

/// The operator must take this configuration file.
fn must_be_a_configuration(name: &str, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let checked = Command::new(AMISHARE).arg("guardrails").arg("--config").arg(file.path()).output().unwrap();
    assert!(checked.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn files_of_values_and_configuration_files_in_the_documents_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (mut values, mut configurations) = (0, 0);
    // The decisions are of what is yet to come, too.
    for (name, text) in documents().into_iter().filter(|(name, _)| !name.starts_with("docs/adr/")) {
        for (_, block) in prose_and_blocks(&text).1.into_iter().filter(|(language, _)| language == "yaml") {
            if block.starts_with("# values") {
                values += 1;
                let file = folder.path().join(format!("{values}.yaml"));
                fs::write(&file, &block).unwrap();
                let rendered = rendered(&["--values", file.to_str().unwrap()]);
                for object in rendered.iter().filter(|object| object["kind"] == "ConfigMap") {
                    if let Some(text) = object["data"]["config.yaml"].as_str() {
                        configurations += 1;
                        must_be_a_configuration(&name, text);
                    }
                }
            } else if block.contains("kind: OperatorConfiguration") {
                configurations += 1;
                must_be_a_configuration(&name, &block);
            }
        }
    }
    assert!(values >= 3 && configurations >= 2, "{values} files of values, and {configurations} configurations");
}

/// The words in code font in the first column of tables of which the first column is headed so.
fn first_column<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let (mut within, mut found) = (false, Vec::new());
    for line in text.lines() {
        let Some(rest) = line.strip_prefix('|') else {
            within = false;
            continue;
        };
        let first = rest.split(" | ").next().unwrap_or_default();
        if within {
            found.extend(spans(first));
        }
        within |= first.trim() == head;
    }
    found
}

#[test]
fn reasons_that_the_documents_explain_exist_and_every_one_that_needs_it_is_explained() {
    let reasons: BTreeSet<&str> = Reason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
    let guide = document("docs/user-guide.md");
    let in_the_guide: BTreeSet<&str> = first_column(&guide, "it says").into_iter().collect();
    assert!(in_the_guide.contains("NotOwner"), "{in_the_guide:?}");
    assert_eq!(in_the_guide.difference(&reasons).collect::<Vec<_>>(), [&""; 0], "docs/user-guide.md");

    let troubleshooting = document("docs/troubleshooting.md");
    let explained: BTreeSet<&str> = first_column(&troubleshooting, "reason").into_iter().collect();
    let all_is_well = ["Synced", "Available", "NotRequested", "DriftCorrected"];
    let needed: BTreeSet<&str> = reasons.iter().copied().filter(|reason| !all_is_well.contains(reason)).collect();
    assert_eq!(explained, needed, "left docs/troubleshooting.md, right the vocabulary");
}

#[test]
fn conditions_in_the_documents_exist() {
    let types: BTreeSet<&str> = ConditionType::VARIANTS.iter().map(|kind| kind.as_str()).collect();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for (name, text) in documents() {
        for line in text.lines() {
            let asked = line.split("--for=condition=").skip(1).chain(line.split("@.type==\"").skip(1));
            for kind in asked.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()) {
                found += 1;
                if !types.contains(kind) && kind != "Established" && kind != "Available" {
                    wrong.push(format!("{name}: {kind} in {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty() && found > 3, "{found} found: {wrong:#?}");
}
