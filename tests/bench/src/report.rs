//! The tables: for the terminal while it runs, and for docs/benchmarks.md.

mod copies;
mod keys;

use std::{fmt::Write as _, time::Duration};

use crate::{
    bucket,
    calls::Calls,
    child::Cost,
    floor::Phase,
    machine::Machine,
    memory::{Memory, Stretch},
    reconciles::Reconcile,
    sharing::{PHASES, Sample, Who},
    world::{LATENCY_MILLISECONDS, Size, Weather, thousands},
};

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Who did what.
    pub samples: Vec<Sample>,
    /// What the operator did with encrypted images.
    pub encrypted: Vec<Sample>,
    /// Memory by number of objects.
    pub memory: Vec<Memory>,
    /// CPU by number of accounts.
    pub reconciles: Vec<Reconcile>,
    /// How long rogue permissions lasted.
    pub drift: Vec<Duration>,
    /// What copies took.
    pub copies: Vec<crate::copies::Sample>,
}

/// A target and what was measured.
struct Target {
    what: String,
    limit: String,
    measured: String,
    met: bool,
}

/// Mebibytes.
fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// One line of a table.
pub fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = row(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    let rule: Vec<String> = head.iter().enumerate().map(|(n, _)| if n == 0 { "---" } else { "--:" }.into()).collect();
    text.extend(["|", &rule.join("|"), "|\n"]);
    text.extend(rows.iter().map(|cells| row(cells)));
    text
}

/// A sample as it is printed while the benchmark runs.
pub fn line(sample: &Sample) -> String {
    let Sample { who, size, weather, phase, cost, calls, scaled } = sample;
    let Cost { wall, cpu, peak } = cost;
    let note = if *scaled > 1 { format!(" (one in {scaled} images done, and multiplied)") } else { String::new() };
    format!(
        "{size}, {weather}: {}: {}: {}, {} calls, {} throttled, CPU {}, peak {:.1} MiB{note}",
        who.name(),
        phase.word(),
        seconds(*wall),
        calls.total(),
        calls.throttled,
        seconds(*cpu),
        mebibytes(*peak),
    )
}

fn latency(weather: Weather) -> Duration {
    match weather {
        Weather::Ideal => Duration::ZERO,
        Weather::Real => Duration::from_millis(LATENCY_MILLISECONDS),
    }
}

impl Results {
    fn find(&self, who: Who, size: Size, weather: Weather, phase: Phase) -> Option<&Sample> {
        self.samples.iter().find(|s| s.who == who && s.size == size && s.weather == weather && s.phase == phase)
    }

    fn scenes(&self) -> Vec<(Size, Weather)> {
        let mut scenes = Vec::new();
        for sample in &self.samples {
            if !scenes.contains(&(sample.size, sample.weather)) {
                scenes.push((sample.size, sample.weather));
            }
        }
        scenes
    }

    /// Everything as Markdown.
    pub fn markdown(&self, machine: &Machine) -> String {
        let mut text = HEAD.to_owned();
        text += &machine.markdown();
        text += "\n## Targets\n\n";
        let targets: Vec<Vec<String>> = self
            .targets()
            .into_iter()
            .map(|t| vec![t.what, t.limit, t.measured, if t.met { "met" } else { "**missed**" }.into()])
            .collect();
        text += &table(&["Target", "Limit", "Measured", ""], &targets);
        text += "\n## Converge, check, repair\n\n";
        text += EXPLANATION;
        for (size, weather) in self.scenes() {
            text.extend(["\n### ", &size.to_string(), ", ", &weather.to_string(), "\n\n"]);
            text += &self.scene(size, weather);
        }
        if !self.encrypted.is_empty() {
            text += "\n## Encrypted images\n\n";
            text += KEYS;
            text += &keys::table(&self.encrypted);
        }
        if !self.copies.is_empty() {
            text += "\n## Copies\n\n";
            text += COPIES;
            text += &copies::table(&self.copies);
        }
        text += "\n## Many objects\n\n";
        text += MANY;
        text += &self.memories();
        text += "\n## One reconcile\n\n";
        text += ONE;
        let rows = self.reconciles.iter().map(|r| vec![thousands(r.accounts), milliseconds(r.cpu), thousands(r.count)]);
        text += &table(&["Accounts", "CPU per reconcile", "Reconciles"], &rows.collect::<Vec<_>>());
        text += "\n## From rogue change to repair\n\n";
        text += &self.drift();
        text
    }

    fn scene(&self, size: Size, weather: Weather) -> String {
        let mut rows = Vec::new();
        for phase in PHASES {
            let operator = self.find(Who::Operator, size, weather, phase);
            let here = self.samples.iter().filter(|s| s.size == size && s.weather == weather && s.phase == phase);
            for Sample { who, cost, calls, scaled, .. } in here {
                let times = operator.map_or_else(String::new, |operator| {
                    format!("{:.2}", cost.wall.as_secs_f64() / operator.cost.wall.as_secs_f64())
                });
                let mark = if *scaled > 1 { " ¹" } else { "" };
                rows.push(vec![
                    format!("{}: {}{mark}", phase.word(), who.name()),
                    seconds(cost.wall),
                    times,
                    thousands(calls.total()),
                    thousands(calls.throttled),
                    seconds(cost.cpu),
                    format!("{:.0} MiB", mebibytes(cost.peak)),
                ]);
            }
            if let (Weather::Real, Some(Sample { calls, cost, .. })) = (weather, operator) {
                let bound = bucket::bound(calls, latency(weather));
                rows.push(vec![
                    format!("{}: what the buckets allow", phase.word()),
                    seconds(bound),
                    format!("{:.2}", bound.as_secs_f64() / cost.wall.as_secs_f64()),
                    thousands(calls.total()),
                    "0".into(),
                    String::new(),
                    String::new(),
                ]);
            }
        }
        let mut text = table(&["", "Wall", "× amishare", "Calls", "Throttled", "CPU", "Peak memory"], &rows);
        if let Some(sample) = self.samples.iter().find(|s| s.size == size && s.weather == weather && s.scaled > 1) {
            let _ = writeln!(
                text,
                "\n¹ Only one in {} images was done; wall, CPU and calls are multiplied. It works on one image after the other, \
                 so that this is what all of them would take.",
                sample.scaled
            );
        }
        text
    }

    fn memories(&self) -> String {
        let mut rows = Vec::new();
        for Memory { size, converge, rest, restart, .. } in &self.memory {
            for (what, stretch) in [("converging", converge), ("at rest", rest), ("started anew", restart)] {
                let Stretch { wall, cpu, peak, anonymous } = stretch;
                rows.push(vec![
                    format!("{size}: {what}"),
                    format!("{:.1} MiB", mebibytes(*peak)),
                    format!("{:.1} MiB", mebibytes(*anonymous)),
                    seconds(*wall),
                    seconds(*cpu),
                ]);
            }
        }
        table(&["", "Peak memory", "Of it not the program's file, at the end", "Wall", "CPU"], &rows)
    }

    fn drift(&self) -> String {
        let (Some(least), Some(most)) = (self.drift.first(), self.drift.last()) else { return String::new() };
        let median = self.drift[self.drift.len() / 2];
        format!(
            "{} images with `interval: 10s`, each given to an account that nobody lists, all at one moment: taken back after {} at \
             the median, {} at the least and {} at the most.\n",
            self.drift.len(),
            seconds(median),
            seconds(*least),
            seconds(*most)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for (size, weather) in self.scenes() {
            for phase in PHASES {
                if let Some(sample) = self.find(Who::Operator, size, weather, phase) {
                    targets.extend(self.wall(sample));
                }
            }
        }
        targets.extend(self.against_peers());
        targets.extend(keys::targets(&self.encrypted));
        targets.extend(copies::targets(&self.copies));
        for memory in &self.memory {
            targets.extend(of_memory(memory));
        }
        if let Some(last) = self.reconciles.iter().find(|r| r.accounts == 1000) {
            targets.push(Target {
                what: "CPU of a reconcile with 1,000 accounts".into(),
                limit: "1 ms".into(),
                measured: milliseconds(last.cpu),
                met: last.cpu < Duration::from_millis(1),
            });
        }
        targets
    }

    /// Without latency the floor is what a bare client took, with buckets what they allow.
    fn wall(&self, sample: &Sample) -> Option<Target> {
        let Sample { size, weather, phase, cost, calls, .. } = sample;
        let (floor, limit, name) = match weather {
            Weather::Ideal => (self.find(Who::Floor, *size, *weather, *phase)?.cost.wall, 1.2, "the floor"),
            Weather::Real => (bucket::bound(calls, latency(*weather)), 1.05, "what the buckets allow"),
        };
        let ratio = cost.wall.as_secs_f64() / floor.as_secs_f64();
        Some(Target {
            what: format!("{size}, {weather}: {}: wall, and no throttled answer", phase.word()),
            limit: format!("{limit} × {name}"),
            measured: format!("{ratio:.2} ×, {} throttled", calls.throttled),
            met: ratio <= limit && calls.throttled == 0,
        })
    }

    fn against_peers(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for peer in self.samples.iter().filter(|s| matches!(s.who, Who::Peer(_))) {
            let Some(operator) = self.find(Who::Operator, peer.size, peer.weather, peer.phase) else { continue };
            let calls = |calls: &Calls| f64::from(u32::try_from(calls.total()).unwrap_or(u32::MAX));
            let ratios = [
                peer.cost.wall.as_secs_f64() / operator.cost.wall.as_secs_f64(),
                calls(&peer.calls) / calls(&operator.calls).max(1.0),
                mebibytes(peer.cost.peak) / mebibytes(operator.cost.peak),
            ];
            targets.push(Target {
                what: format!("{}: {}: ahead of {}", peer.weather, peer.phase.word(), peer.who.name()),
                limit: "1 × in wall, calls, memory".into(),
                measured: format!("{:.1} ×, {:.2} ×, {:.1} ×", ratios[0], ratios[1], ratios[2]),
                met: ratios.iter().all(|ratio| *ratio >= 1.0),
            });
        }
        targets
    }
}

fn of_memory(memory: &Memory) -> Vec<Target> {
    let Memory { size, converge, rest, restart, kubernetes_writes_at_rest, calls_at_rest } = memory;
    let limit: u64 = if size.images <= 1000 { 40 } else { 150 };
    let peak = converge.peak.max(rest.peak).max(restart.peak);
    vec![
        Target {
            what: format!("{size}: memory, at the most"),
            limit: format!("{limit} MiB"),
            measured: format!("{:.1} MiB", mebibytes(peak)),
            met: peak <= limit * 1024 * 1024,
        },
        Target {
            what: format!("{size}: writes at rest, to Kubernetes and to AWS"),
            limit: "0".into(),
            measured: format!("{kubernetes_writes_at_rest} and {}", calls_at_rest.writes()),
            met: *kubernetes_writes_at_rest == 0 && calls_at_rest.writes() == 0,
        },
    ]
}

const HEAD: &str = "<!-- Written by `make bench`. -->
# Benchmarks

Speed is measured here and nowhere else, and only ratios within one run mean anything: everybody works on the same simulator, on the
same machine, one after the other. `make bench` writes this file.

";

const EXPLANATION: &str = "Every AMI has one AmiShare and is to be shared with all accounts. *Converge* begins with no AMI shared: from \
the start of the process to its end, for the operator to all objects being `Ready`. *Quiet* looks at all of them while nothing is \
wrong. *Repair* is the same after ten AMIs were given to a stranger and taken from one of the accounts; which ones, nobody knows. The \
operator is asked for both by an annotation on every object, so that it also writes every status. After each phase AWS is asked, as \
each of the accounts, whether it is as it should be.

The *floor* is a client without an SDK that makes the same calls as the operator, over plain HTTP, with the same number under way: \
once to AWS only, and once with the same requests to the API server (finalizer, record, the list before a change, event, status). It \
knows beforehand what the operator has to find out. *What the buckets allow* is (calls − capacity) / refill of the slowest API, and \
one latency. The peers write nothing to Kubernetes.

boto3 is a script that lists the images, reads, compares and changes what differs, with adaptive retries. Ansible's `ec2_ami` runs in \
a loop; it is run once. Cloud Custodian cannot compare: one policy gives to all accounts on every image in each run, a second one takes \
from whom its filter `cross-account` finds.
";

const KEYS: &str = "The same with `kms: {grants: Accounts}`, each AMI encrypted with one of the keys. *Repair* begins after the \
first account has lost its grant on every key, too. KMS allows 50 `CreateGrant` and `RevokeGrant` and 100 `ListGrants` per second.

";

const COPIES: &str = "Ten AmiDistributions, each of one AMI to sixteen Regions, with 100 ms per call and EC2's buckets (`CopyImage`: 100, and \
one more each second, in each Region). Wall is from the start of the operator until all 160 copies are reported to be there. A look is a \
`DescribeImages` or `DescribeSnapshots`.

";

const MANY: &str = "At rest for 30 s: nothing is due. Started anew: a start that finds everything done.

";

const ONE: &str = "200 AMIs with `interval: 10s`: the operator's CPU while checks by interval find nothing to do, divided by their number. \
All of its work is in it: timers, the call, its answer, the comparison.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_rule_under_its_head() {
        let text = table(&["a", "b"], &[vec!["1".into(), "2".into()]]);
        assert_eq!(text, "| a | b |\n|---|--:|\n| 1 | 2 |\n");
    }
}
