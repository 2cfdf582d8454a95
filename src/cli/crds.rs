//! `amishare crds`: the CustomResourceDefinitions, and whatever else is generated from the types.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::chart;
use crate::api::{crd, docs};

/// What to print or write.
#[derive(Debug, Args)]
pub(super) struct CrdsArgs {
    /// Write crds/, docs/api.md, docs/conditions.md and the chart's definitions and README below this folder instead of
    /// printing the definitions.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

/// Prints or writes what is generated.
pub(super) fn crds(args: &CrdsArgs) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for (name, definition) in crd::all() {
        files.push((format!("crds/{name}"), crd::to_yaml(&definition)?));
    }
    let Some(folder) = &args.write else {
        for (_, text) in &files {
            print!("{text}");
        }
        return Ok(());
    };
    // A chart can only read what is in it.
    let copies = files.iter().map(|(name, text)| (format!("charts/ami-share-operator/files/{name}"), text.clone()));
    files.extend(copies.collect::<Vec<_>>());
    files.push(("charts/ami-share-operator/README.md".into(), chart::readme()?));
    files.push(("docs/api.md".into(), docs::api()?));
    files.push(("docs/conditions.md".into(), docs::conditions()));
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
