//! `make demo` shows what it says that it shows.

use std::{path::Path, process::Command};

use crate::harness::process::run_to_end;

#[tokio::test]
async fn the_demo_shows_sharing_the_removal_of_a_rogue_account_and_refusals() {
    let programs = Path::new(env!("CARGO_BIN_EXE_amishare")).parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/demo/demo.sh"));
    command.env("CARGO_TARGET_DIR", programs).env_remove("KUBECONFIG");
    let (code, printed, errors) = run_to_end(&mut command).await;
    assert_eq!(code, Some(0), "{printed}\n{errors}");
    let scene = |from: &str, to: &str| {
        let start = printed.find(from).unwrap_or_else(|| panic!("{from} in {printed}"));
        let rest = &printed[start..];
        rest.find(to).map_or(rest, |end| &rest[..end]).to_owned()
    };
    let sharing = scene("==> Sharing", "==> Copies");
    assert!(sharing.contains("Synced") && sharing.contains("ChangesPending"), "{sharing}");
    let copies = scene("==> Copies", "==> Drift");
    assert!(copies.contains("3/3") && copies.contains("eu-west-1"), "{copies}");
    let (rogue, drift) = ("666655554444", scene("==> Drift", "==> Refusals"));
    let lists: Vec<&str> = drift.split("--attribute launchPermission").skip(1).collect();
    let [before, after] = lists[..] else { panic!("two lists in {drift}") };
    let list = |text: &str| text.lines().nth(1).unwrap().to_owned();
    assert!(list(before).contains(rogue) && !list(after).contains(rogue), "{drift}");
    assert!(after.contains("DriftCorrected") && after.contains(rogue), "the event: {drift}");
    let refusals = scene("==> Refusals", "==> Done");
    assert!(refusals.contains("PrincipalRefused"), "{refusals}");
    assert!(errors.contains("name the image in exactly one way"), "{errors}");
}
