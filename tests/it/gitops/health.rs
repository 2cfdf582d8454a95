//! The health script for Argo CD, run by a real Lua.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    chart::render::repository,
    harness::{
        World,
        process::run_to_end,
        python::{python, script},
    },
};

/// What Argo CD shows of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// Healthy, Progressing, Degraded or Suspended.
    pub(super) status: String,
    pub(super) message: String,
}

/// A case of `health_test.yaml`, in Argo CD's form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    pub(super) health_status: Health,
    /// The file, in the folder of the health script.
    pub(super) input_path: String,
}

/// The kinds that have a health script.
pub(super) const KINDS: [&str; 2] = ["AmiShare", "AmiDistribution"];

/// What the health script of a kind is to say of recorded objects.
pub(super) fn cases(kind: &str) -> Vec<Case> {
    #[derive(Deserialize)]
    struct Cases {
        tests: Vec<Case>,
    }
    let text = fs::read_to_string(customization(kind).join("health_test.yaml")).unwrap();
    serde_yaml::from_str::<Cases>(&text).unwrap().tests
}

/// An object in a file.
pub(super) fn read(path: &Path) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The folder of the health script of a kind, laid out as in Argo CD's own repository.
pub(super) fn customization(kind: &str) -> PathBuf {
    repository().join("config/argocd/resource_customizations/amishare.dev").join(kind)
}

/// What a health script says of the objects in files, or why it fails.
pub(super) async fn said_by(
    health: &Path,
    files: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Vec<Health>, String> {
    let mut command = python().await;
    command.arg(script("argocd_health.py")).arg(health).args(files);
    let (code, printed, errors) = run_to_end(&mut command).await;
    let lines = || printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if code == Some(0) { Ok(lines()) } else { Err(errors) }
}

/// What the health script of a kind says of objects, each of them given as JSON.
pub(super) async fn health_of(kind: &str, objects: impl IntoIterator<Item = String>) -> Vec<Health> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (number, object) in objects.into_iter().enumerate() {
        files.push(folder.path().join(format!("{number}.json")));
        fs::write(&files[number], object).unwrap();
    }
    let health = said_by(&customization(kind).join("health.lua"), &files).await.unwrap();
    assert_eq!(health.len(), files.len());
    health
}

/// What our health script says of an AmiShare as the API server has it now.
pub(super) async fn health(world: &World, name: &str) -> Health {
    let object = world.kubectl(&["get", "amishare", name, "--output=json"]).await;
    health_of("AmiShare", [object]).await.remove(0)
}
