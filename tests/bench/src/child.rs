//! Child processes under measurement. All of them end with the control plane that they were started under.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use envtest::ControlPlane;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::usage;

/// How often a short-lived process is looked at for its memory.
const SAMPLE: Duration = Duration::from_millis(25);

/// What a run to the end took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From the start of the process to its end.
    pub wall: Duration,
    /// User and system time, children included.
    pub cpu: Duration,
    /// The most memory in RAM at once, children included, in bytes.
    pub peak: u64,
}

/// A process that runs until it is stopped.
pub struct Daemon {
    child: Child,
    /// When it was started.
    pub started: Instant,
}

impl Daemon {
    /// Starts a process whose output goes to a file.
    pub fn start(plane: &ControlPlane, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let command = plane.supervise(command);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("could not start {}", command.get_program().display()))?;
        Ok(Self { child, started })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "a process that is measured has ended by itself: {ended:?}");
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        self.check()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a process to its end, which must be a good one.
pub fn run(plane: &ControlPlane, command: &mut Command, log: &Path) -> Result<Cost> {
    let program = command.get_program().display().to_string();
    let mut daemon = Daemon::start(plane, command, log)?;
    let (pid, mut peak) = (daemon.pid(), 0);
    let exact = Pid::from_child(&daemon.child);
    let waiter = thread::spawn(move || {
        // It stays a zombie, so that its times can be read.
        let ended = waitid(WaitId::Pid(exact), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        ended.map(|_| Instant::now())
    });
    while !waiter.is_finished() {
        peak = peak.max(usage::resident_with_descendants(pid)).max(usage::peak(pid).unwrap_or_default());
        thread::sleep(SAMPLE);
    }
    let ended = waiter.join().ok().context("nobody waited for the process")??;
    let cpu = usage::cpu(pid)?;
    let status = daemon.child.wait()?;
    ensure!(status.success(), "{program} failed ({status}):\n{}", tail(log));
    Ok(Cost { wall: ended.duration_since(daemon.started), cpu, peak })
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
