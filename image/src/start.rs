//! How soon the operator answers after it has been started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often it is started: the best of some is what the machine can do when nothing is in the way.
const STARTS: usize = 5;

/// The time from the start of the process to the answer of `/healthz`, the best of some starts.
///
/// There is no cluster and no AWS: probes are answered without.
pub fn best(binary: &Path) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..STARTS {
        best = best.min(once(binary)?);
    }
    Ok(best)
}

/// Ends with this value.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn once(binary: &Path) -> Result<Duration> {
    let nowhere = tempfile::NamedTempFile::new().context("could not write a temporary file")?;
    writeln!(
        nowhere.as_file(),
        "{{apiVersion: v1, kind: Config, clusters: [{{name: none, cluster: {{server: 'http://127.0.0.1:1'}}}}],\n\
         users: [], contexts: [{{name: none, context: {{cluster: none, user: ''}}}}], current-context: none}}"
    )?;
    let begun = Instant::now();
    let child = Command::new(binary)
        .args(["run", "--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0", "--leader-elect=false"])
        .env_clear()
        .env("KUBECONFIG", nowhere.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let mut operator = Operator(child);
    let log = operator.0.stderr.take().context("its log is not read")?;
    for line in BufReader::new(log).lines() {
        let line = line?;
        if line.contains("serving probes") {
            let port: String =
                line.split("127.0.0.1:").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
            return healthy(port.parse().with_context(|| format!("no port in {line}"))?).map(|()| begun.elapsed());
        }
    }
    bail!("{} ended before it served its probes", binary.display())
}

fn healthy(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.contains(" 200 "), "/healthz says {answer}");
    Ok(())
}
