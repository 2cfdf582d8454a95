//! The Dockerfile of this repository: what it builds is what `make image` packs, with the toolchain and the user of everybody else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use packer::dockerfile::{Settings, settings};
use packer::rootfs::{BINARY, PASSWD, lay_out};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn of_repository() -> Settings {
    settings(&read("Dockerfile"), &[("VERSION", env!("CARGO_PKG_VERSION"))]).unwrap()
}

#[test]
fn the_dockerfile_lays_out_the_files_with_the_same_command_and_without_a_network() {
    let dockerfile = read("Dockerfile");
    let build: Vec<&str> = dockerfile.lines().skip_while(|line| !line.starts_with("FROM ")).collect();
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
    assert_eq!(build[0], format!("FROM rust:{channel}-bookworm AS build"));
    let last = build.iter().take_while(|line| **line != "FROM scratch").filter(|line| !line.is_empty()).last();
    assert_eq!(last, Some(&"RUN --network=none CARGO_NET_OFFLINE=true make rootfs ROOTFS=/rootfs"));
    let makefile = read("Makefile");
    assert!(makefile.contains("\nimage: rootfs ") && makefile.contains("\nrootfs: "), "make image has the same files");
}

#[test]
fn the_image_runs_its_binary_as_the_user_that_the_chart_and_passwd_have() {
    let Settings { entrypoint, user, labels } = of_repository();
    assert_eq!(entrypoint, [format!("/{BINARY}")]);
    let (user, group) = user.split_once(':').unwrap();
    let values = read("charts/ami-share-operator/values.yaml");
    for line in [format!("  runAsUser: {user}\n"), format!("  runAsGroup: {group}\n")] {
        assert!(values.contains(&line), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("rootfs");
    // Any file will do for the binary.
    lay_out(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"), &root).unwrap();
    let passwd = fs::read_to_string(root.join(PASSWD)).unwrap();
    assert!(passwd.starts_with(&format!("nonroot:x:{user}:{group}:")) && passwd.lines().count() == 1, "{passwd}");
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let chart = read("charts/ami-share-operator/Chart.yaml");
    assert!(
        chart.contains(&format!(
            "description: {}\n",
            labels["org.opencontainers.image.description"].replace(": ", " - ")
        ))
    );
}

#[test]
fn the_builder_gets_every_crate_of_the_workspace() {
    let ignored = read(".dockerignore");
    let given: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")?.strip_suffix(']')).unwrap();
    let members = members.split(", ").map(|member| member.trim_matches('"'));
    for needed in members.chain(["src", "Cargo.toml", "Cargo.lock", "Makefile", "rust-toolchain.toml"]) {
        assert!(given.contains(&needed.split('/').next().unwrap()), "{needed} is ignored");
    }
    for name in given {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(name).exists(), "there is no {name}");
    }
}
