//! Guard rails: nothing is shared outside them, whoever tries and however, and a change of the configuration file is in force at once.

mod admission;
mod attempts;
mod reload;
mod start;

use std::{collections::BTreeSet, path::PathBuf};

use amishare::simulator::Call;
use tempfile::TempDir;

use crate::harness::{Setup, World};

const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";
const ORGANIZATION: &str = "arn:aws:organizations::123456789012:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";

/// A configuration file.
struct Config {
    folder: TempDir,
}

impl Config {
    /// A file with these guard rails, in YAML in one line.
    fn with(guardrails: &str) -> Self {
        let config = Self { folder: tempfile::tempdir().unwrap() };
        config.say(guardrails);
        config
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// Changes the guard rails.
    fn say(&self, guardrails: &str) {
        self.write(&format!(
            "apiVersion: config.amishare.dev/v1alpha1\nkind: OperatorConfiguration\nguardrails: {guardrails}\n"
        ));
    }

    /// Writes the file as a mounted `ConfigMap` is: at once.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    /// The flag that names it.
    fn flag(&self) -> String {
        format!("--config={}", self.path().display())
    }

    /// A world with two namespaces, and an operator that has this file and these flags.
    async fn world(&self, flags: &[&'static str]) -> World {
        let mut world = self.without_operator(flags).await;
        world.start_operator().await;
        world
    }

    /// The same, whose operator is yet to be started.
    async fn without_operator(&self, flags: &[&'static str]) -> World {
        // Flags live as long as the process in the harness.
        let file: &'static str = self.flag().leak();
        let flags: &'static [&'static str] = flags.iter().copied().chain([file]).collect::<Vec<_>>().leak();
        World::without_operator(Setup { scenario: UNBLOCKED, flags, more_namespaces: 1 }).await
    }
}

/// An AWS in which nothing but the operator forbids anything.
const UNBLOCKED: &str = r#"
accounts: [{id: "999988887777"}]
blockPublicAccess: [{account: "999988887777", region: us-east-1, images: unblocked}]
images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "999988887777", snapshots: [snap-0123456789abcdef0]}]
"#;

/// A rule for all namespaces that lets images be shared with one account.
fn only(account: &str) -> String {
    format!(r#"[{{name: only, namespaces: ["*"], shareWith: {{accountIds: ["{account}"]}}}}]"#)
}

/// Whom AWS has been asked to give something to since the calls were last cleared.
fn asked_for(world: &World) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for Call { params, .. } in world.changes() {
        let opens_snapshot = params.get("OperationType").is_some_and(|operation| operation == "add");
        let is_given = |name: &str| {
            name.starts_with("LaunchPermission.Add")
                || (opens_snapshot && (name.starts_with("UserId") || name.starts_with("UserGroup")))
        };
        all.extend(params.iter().filter(|(name, _)| is_given(name)).map(|(_, value)| value.clone()));
    }
    all
}
