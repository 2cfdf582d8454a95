//! What a process costs: CPU time and memory, as the kernel counts them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

/// The unit of times in `/proc/PID/stat`: 1/100 s on every platform that Rust calls Linux.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that a process has used, with that of its children that have ended and been waited for. Still there after its
/// end, until it is waited for.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = file(pid, "stat");
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    // The second field is the program's name, in brackets, with anything in it.
    let fields: Vec<&str> = text.rsplit_once(") ").context("no name")?.1.split(' ').collect();
    // User, system, and both of the children: fields 14 to 17, and the text begins with field 3.
    let ticks = fields.get(11..15).context("too short")?.iter().map(|f| f.parse::<u32>()).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}

/// The most memory that a process has had in RAM at once since it began or since [`reset_peak`], in bytes.
pub fn peak(pid: u32) -> Result<u64> {
    status(&file(pid, "status"), "VmHWM:")
}

/// The memory that a process has in RAM, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    status(&file(pid, "status"), "VmRSS:")
}

/// The part of it that is not a mapped file: heap and stacks, without the program's own code.
pub fn anonymous(pid: u32) -> Result<u64> {
    status(&file(pid, "status"), "RssAnon:")
}

/// Lets [`peak`] begin anew.
pub fn reset_peak(pid: u32) -> Result<()> {
    let path = file(pid, "clear_refs");
    fs::write(&path, "5").with_context(|| format!("could not write {}", path.display()))
}

/// The memory that a process and all its descendants have in RAM now, in bytes. Those that end meanwhile do not count.
pub fn resident_with_descendants(pid: u32) -> u64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let parent = fs::read_to_string(file(pid, "stat")).ok().and_then(|text| {
            let rest = text.rsplit_once(") ")?.1.to_owned();
            rest.split(' ').nth(1)?.parse().ok()
        });
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut sum, mut queue) = (0, vec![pid]);
    while let Some(pid) = queue.pop() {
        sum += resident(pid).unwrap_or_default();
        queue.extend(children.remove(&pid).unwrap_or_default());
    }
    sum
}

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn status(path: &Path, field: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{field} {line}"))?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_its_peak_is_no_less_than_what_it_has() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok());
        let (now, anonymous) = (resident(pid).unwrap(), anonymous(pid).unwrap());
        assert!(anonymous > 0 && anonymous <= now);
        assert!(resident_with_descendants(pid) >= anonymous);
    }
}
