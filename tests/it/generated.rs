//! What is generated from the types and stored in the repository is what the types generate now; the samples are valid.

use std::{collections::BTreeSet, fs, path::Path};

use crate::harness::{
    Setup, World, cluster, kubectl,
    process::{amishare, run_to_end},
};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn the_repository_holds_what_the_types_generate() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, errors) = run_to_end(&mut amishare(&["crds", "--write", folder.path().to_str().unwrap()])).await;
    assert_eq!(code, Some(0), "{errors}");
    let generated = files(folder.path());
    for name in &generated {
        let stored = fs::read_to_string(repository().join(name)).unwrap_or_default();
        let now = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(stored == now, "{name} is not what the types generate: run `make generate`");
    }
    let chart = "charts/ami-share-operator/README.md";
    for needed in ["crds/amishare.dev_amishares.yaml", "docs/api.md", "docs/conditions.md", chart] {
        assert!(generated.contains(needed), "{needed} is not generated");
    }
    let stored: BTreeSet<String> = files(&repository().join("crds")).into_iter().map(|n| format!("crds/{n}")).collect();
    let by_hand = BTreeSet::from(["crds/kustomization.yaml".to_owned()]);
    let stale: Vec<_> = stored.difference(&generated).filter(|name| !by_hand.contains(*name)).collect();
    assert!(stale.is_empty(), "{stale:?}: no type generates these any more; remove them");
    let kustomization = fs::read_to_string(repository().join("crds/kustomization.yaml")).unwrap();
    for name in generated.iter().filter_map(|name| name.strip_prefix("crds/")) {
        assert!(kustomization.contains(name), "crds/kustomization.yaml does not list {name}");
    }
}

#[tokio::test]
async fn the_definitions_are_printed_as_they_are_in_the_repository() {
    let (code, printed, errors) = run_to_end(&mut amishare(&["crds"])).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let names = files(&repository().join("crds")).into_iter().filter(|name| name != "kustomization.yaml");
    let stored: String = names.map(|name| fs::read_to_string(repository().join("crds").join(name)).unwrap()).collect();
    assert!(printed == stored, "crds/ is not what the types generate: run `make generate`");
    let accepted = tokio::task::spawn_blocking(move || {
        kubectl(&cluster(), &["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"], &printed)
    });
    let accepted = accepted.await.unwrap();
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
}

#[tokio::test]
async fn the_api_server_accepts_every_sample_as_it_is() {
    let world = World::without_operator(Setup::default()).await;
    let samples = repository().join("config/samples");
    let names: Vec<String> = files(&samples).into_iter().filter(|name| !name.contains("kustomization")).collect();
    assert!(!names.is_empty());
    for name in names {
        let path = samples.join(&name);
        let applied = ["apply", "--dry-run=server", "--validate=strict", "-f", path.to_str().unwrap()];
        let said = world.kubectl_in(world.namespace(), &applied, "").await;
        let said = said.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert!(said.contains("created (server dry run)"), "{name}: {said}");
    }
}
