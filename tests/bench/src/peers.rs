//! What people use today, from `PyPI`, each in a virtual environment of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{context::Context, operator::aws_environment, world::Size};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A script with boto3, eight threads, that changes only what differs.
    Boto3,
    /// Ansible's module `ec2_ami`, in a loop.
    Ansible,
    /// Cloud Custodian's action `set-permissions`.
    Custodian,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Boto3, Self::Custodian, Self::Ansible];

    /// Its name and what it does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3, 8 threads",
            Self::Ansible => "Ansible ec2_ami",
            Self::Custodian => "Cloud Custodian",
        }
    }

    fn requirements(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3.txt",
            Self::Ansible => "ansible.txt",
            Self::Custodian => "c7n.txt",
        }
    }

    /// The package that matters, with its version.
    pub fn version(self, context: &Context) -> Result<String> {
        let file = folder(context).join(self.requirements());
        let text = std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
        let package = match self {
            Self::Boto3 => "boto3==",
            Self::Ansible => "ansible==",
            Self::Custodian => "c7n==",
        };
        let line = text.lines().find(|line| line.starts_with(package)).context("no version")?;
        Ok(line.replace("==", " "))
    }

    /// Its virtual environment, which is made if there is none.
    pub fn install(self, context: &Context) -> Result<PathBuf> {
        let script = context.root.join("tests/python/venv.sh");
        let made = Command::new(script).arg(folder(context).join(self.requirements())).output()?;
        ensure!(made.status.success(), "{}: {}", self.name(), String::from_utf8_lossy(&made.stderr));
        Ok(PathBuf::from(String::from_utf8(made.stdout)?.trim()))
    }

    /// The command that makes AWS what it should be, with its files in `dir`.
    pub fn command(self, context: &Context, venv: &Path, endpoint: &str, size: Size, dir: &Path) -> Result<Command> {
        let accounts: Vec<String> = size.all_accounts().collect();
        let images: Vec<String> = size.all_images().collect();
        let input = dir.join("input.json");
        let bin = venv.join("bin");
        let mut command = match self {
            Self::Boto3 => {
                std::fs::write(&input, json!({"accounts": accounts}).to_string())?;
                let mut command = Command::new(bin.join("python"));
                command.arg(folder(context).join("share.py")).arg(&input);
                command
            }
            Self::Ansible => {
                let interpreter = bin.join("python");
                let variables = json!({
                    "accounts": accounts, "images": images, "ansible_python_interpreter": interpreter,
                });
                std::fs::write(&input, variables.to_string())?;
                let mut command = Command::new(bin.join("ansible-playbook"));
                command.args(["--inventory", "localhost,", "--extra-vars"]).arg(format!("@{}", input.display()));
                command.arg(folder(context).join("share.yml"));
                command
            }
            Self::Custodian => {
                std::fs::write(&input, policies(&accounts).to_string())?;
                let mut command = Command::new(bin.join("custodian"));
                // Its cache would answer from before the drift.
                command.args(["run", "--region", crate::world::REGION, "--cache-period", "0", "--output-dir"]);
                command.arg(dir.join("out")).arg(&input);
                command
            }
        };
        aws_environment(&mut command, endpoint).env("HOME", dir).env("ANSIBLE_PIPELINING", "True").current_dir(dir);
        Ok(command)
    }
}

/// It cannot say what the list should be in one policy: one gives without looking, the other takes from whom is not listed.
fn policies(accounts: &[String]) -> serde_json::Value {
    json!({"policies": [
        {
            "name": "give", "resource": "aws.ami",
            "actions": [{"type": "set-permissions", "add": accounts}],
        },
        {
            "name": "take", "resource": "aws.ami",
            "filters": [{"type": "cross-account", "whitelist": accounts}],
            "actions": [{"type": "set-permissions", "remove": "matched"}],
        },
    ]})
}

fn folder(context: &Context) -> PathBuf {
    context.root.join("tests/bench/peers")
}
