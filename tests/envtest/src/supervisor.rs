//! Ends child processes with this process, however it ends, and removes what they leave.
//!
//! Two small shells hold the other ends of pipes from this process. Both are in process groups of their own, so that
//! neither Ctrl-C nor a kill of this process's group reaches them.
//!
//! - The *reaper* leads the process group of all children. At the end of its pipe, which comes when this process closes
//!   it or dies, it kills that group: its own, so there is no process id that could meanwhile mean somebody else.
//! - The *janitor* removes files. Each child holds its pipe too, as standard input, so the pipe ends when this process
//!   and every child are gone, and nothing writes any more.
//!
//! Pipes are close-on-exec: between fork and exec a child keeps the reaper waiting, and by then it is in the group.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const REAPER: &str = "trap '' HUP INT QUIT TERM; while read -r _; do :; done; kill -s KILL 0";
/// Control groups have files that nobody can remove, and are removed with them, the inner ones first. Whoever was in them, and
/// whoever wrote into a directory, may need a moment to be gone after the kill.
const JANITOR: &str = r#"trap '' HUP INT QUIT TERM; set --
while IFS= read -r path; do set -- "$@" "$path"; done; cd /
remove() {
    case $1 in
    /sys/fs/cgroup/*) [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} + ;;
    *) rm -rf -- "$1" ;;
    esac
}
tries=100
for path; do until remove "$path" || [ $tries = 0 ]; do tries=$((tries - 1)); sleep 0.1; done; done"#;

/// Child processes that end when this is dropped and when this process dies.
pub(crate) struct Supervisor {
    children: Vec<(&'static str, Child)>,
    reaper: Child,
    janitor: Child,
    to_janitor: Option<ChildStdin>,
    /// What is removed at the end.
    paths: Vec<PathBuf>,
}

impl Supervisor {
    /// `purpose` tells readers of `ps` what the two shells are for.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        let mut janitor = shell(JANITOR, "envtest-janitor", purpose)?;
        let to_janitor = janitor.stdin.take();
        let reaper = shell(REAPER, "envtest-reaper", purpose)?;
        Ok(Self { children: Vec::new(), reaper, janitor, to_janitor, paths: Vec::new() })
    }

    /// Has a file or directory removed after the last child has ended.
    pub(crate) fn remove_at_end(&mut self, path: &Path) -> Result<()> {
        use std::os::unix::ffi::OsStrExt as _;
        let bytes = path.as_os_str().as_bytes();
        ensure!(path.is_absolute() && !bytes.contains(&b'\n'), "{} cannot be a temporary path", path.display());
        let mut line = bytes.to_vec();
        line.push(b'\n');
        // One write, so that the janitor never sees a part of a path.
        self.to_janitor.as_mut().context("the janitor is gone")?.write_all(&line).context("the janitor is gone")?;
        self.paths.push(path.to_owned());
        Ok(())
    }

    /// Starts a child.
    pub(crate) fn spawn(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let presence: OwnedFd =
            self.to_janitor.as_ref().context("the janitor is gone")?.as_fd().try_clone_to_owned()?;
        let child = self
            .enlist(&mut command)
            .stdin(presence)
            .spawn()
            .with_context(|| format!("could not start {}", command.get_program().display()))?;
        self.children.push((name, child));
        Ok(())
    }

    /// Runs a child to its end.
    pub(crate) fn run(&mut self, name: &'static str, command: Command) -> Result<ExitStatus> {
        self.spawn(name, command)?;
        let (_, mut child) = self.children.pop().context("the child is gone")?;
        child.wait().with_context(|| format!("could not wait for {name}"))
    }

    /// Makes a command part of the group that is killed at the end.
    pub(crate) fn enlist<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.process_group(Pid::from_child(&self.reaper).as_raw_pid())
    }

    /// The first child that has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<(&'static str, ExitStatus)>> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Ok(Some((name, status)));
            }
        }
        Ok(None)
    }

    /// The children's names and process ids.
    pub(crate) fn pids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.children.iter().map(|(name, child)| (*name, child.id()))
    }

    /// Sends a signal to one child.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) -> Result<()> {
        let child = self.children.iter_mut().find(|(other, _)| *other == name);
        let (_, child) = child.with_context(|| format!("no {name} was started"))?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "{name} has ended");
        // Not waited for, so the process id is still this child's.
        kill_process(Pid::from_child(child), signal).with_context(|| format!("could not signal {name}"))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The group cannot be somebody else's: its leader is our child and has not been waited for.
        let _ = kill_process_group(Pid::from_child(&self.reaper), Signal::KILL);
        for (_, child) in &mut self.children {
            let _ = child.wait();
        }
        let _ = self.reaper.wait();
        drop(self.to_janitor.take());
        let _ = self.janitor.wait();
        // Nothing is left to do unless somebody has killed the janitor.
        for path in &self.paths {
            let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
        }
    }
}

/// Starts a shell that waits for the end of its standard input.
fn shell(script: &str, name: &str, purpose: &str) -> Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", script, name, purpose])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {name} with /bin/sh"))
}
