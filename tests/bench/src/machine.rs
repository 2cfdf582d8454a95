//! The facts of the machine and the versions that were measured.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::Result;

use crate::{context::Context, peers::Peer};

/// Where and what.
#[derive(Debug)]
pub struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks around.
    pub fn look(context: &Context) -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let gibibytes = total.and_then(|t| t.trim().trim_end_matches(" kB").parse::<u32>().ok()).unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let peers: Vec<String> = Peer::ALL.into_iter().map(|peer| peer.version(context)).collect::<Result<_>>()?;
        let facts = vec![
            ("Date", said(Command::new("date").args(["-u", "+%Y-%m-%d"]))),
            ("CPU", format!("{}, {cores} cores", model.unwrap_or("unknown"))),
            ("Memory", format!("{:.0} GiB", f64::from(gibibytes) / 1024.0 / 1024.0)),
            ("Linux", kernel.trim().to_owned()),
            ("Load before the run", load.split(' ').next().unwrap_or_default().to_owned()),
            ("amishare", said(Command::new(&context.amishare).arg("--version"))),
            ("Compiler", said(Command::new("rustc").arg("--version"))),
            ("Peers", peers.join(", ")),
        ];
        Ok(Self { facts })
    }

    /// As a table.
    pub fn markdown(&self) -> String {
        let mut text = "| | |\n|---|---|\n".to_owned();
        for (name, value) in &self.facts {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text
    }
}

/// What a command prints; nothing if it cannot be run.
fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_else(|_| "unknown".into())
}
