//! The binary as a child process: what it prints, answers and leaves behind.

use std::{
    io::Read,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use envtest::ControlPlane;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    World, cluster, eventually, operators,
    world::{OWNER, REGION},
};

/// The binary under test.
pub const AMISHARE: &str = env!("CARGO_BIN_EXE_amishare");

/// A program that runs. Dropped, it is killed; it dies with the control plane that it was started under, too.
pub struct Process {
    child: Child,
    stdout: Text,
    stderr: Text,
}

/// What a child has written so far.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn collect(&self, mut from: impl Read + Send + 'static) {
        let text = self.clone();
        thread::spawn(move || {
            let mut part = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut part) {
                text.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..length]);
            }
        });
    }

    fn get(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Process {
    /// Starts a program that ends with `plane`.
    pub fn start(plane: &ControlPlane, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = plane.supervise(command).spawn().unwrap();
        let (stdout, stderr) = (Text::default(), Text::default());
        stdout.collect(child.stdout.take().unwrap());
        stderr.collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.get()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.get()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the process has ended before it got a {name}:\n{}", self.stderr());
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended by itself:\n{}", self.stderr());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        let log = self.stderr.clone();
        eventually("the process ends", || async { child.lock().unwrap().try_wait().unwrap().ok_or_else(|| log.get()) })
            .await
    }

    /// Waits until what it has logged contains `part`, and returns the line.
    pub async fn logged(&self, part: &str) -> String {
        eventually(&format!("{part:?} is logged"), || async { line_with(&self.stderr(), part) }).await
    }

    /// Waits until what it has printed contains `part`, and returns the line.
    pub async fn printed(&self, part: &str) -> String {
        eventually(&format!("{part:?} is printed"), || async { line_with(&self.stdout(), part) }).await
    }
}

fn line_with(text: &str, part: &str) -> Result<String, String> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().find(|line| line.contains(part)).map(ToOwned::to_owned).ok_or_else(|| text.to_owned())
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with nothing of this process's environment but the search path.
pub fn amishare(arguments: &[&str]) -> Command {
    let mut command = Command::new(AMISHARE);
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", "/nonexistent").env("LC_ALL", "C");
    command
}

/// A run of the binary to its end: exit code, standard output, standard error.
pub async fn run_to_end(command: &mut Command) -> (Option<i32>, String, String) {
    let mut process = Process::start(&cluster(), command);
    let status = process.ended().await;
    // The threads that read may be a moment behind.
    let text = eventually("all output is read", || async {
        let readers = Arc::strong_count(&process.stdout.0) + Arc::strong_count(&process.stderr.0);
        if readers == 2 { Ok((process.stdout(), process.stderr())) } else { Err(readers) }
    });
    let (stdout, stderr) = text.await;
    (status.code(), stdout, stderr)
}

/// `amishare run` as a child process.
pub struct Operator {
    pub process: Process,
    pub address: SocketAddr,
}

impl Operator {
    /// The command line of an operator on a cluster and an AWS, with probes and metrics on one free port.
    pub fn command(kubeconfig: &Path, endpoint: &str, flags: &[&str]) -> Command {
        let mut command = amishare(&["run", "--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"]);
        command.args(flags).env("KUBECONFIG", kubeconfig);
        command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", OWNER).env("AWS_SECRET_ACCESS_KEY", "secret");
        command
    }

    /// Starts an operator, and waits until its probes are served.
    pub async fn start(plane: &ControlPlane, command: &mut Command) -> Self {
        let process = Process::start(plane, command);
        let line = process.logged("serving probes or metrics").await;
        let rest = line.split("127.0.0.1:").nth(1).unwrap_or_default();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { process, address }
    }

    /// Starts an operator for the namespaces of a world, and waits until it is ready.
    pub async fn of(world: &World, flags: &[&str]) -> Self {
        let namespaces = format!("--namespaces={}", world.namespaces.join(","));
        let flags: Vec<&str> = flags.iter().copied().chain([namespaces.as_str()]).collect();
        let plane = cluster();
        let operator = Self::start(&plane, &mut Self::command(&operators(&plane), &world.endpoint, &flags)).await;
        operator.ready().await;
        operator
    }

    /// Asks it for a page: the status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).await.unwrap()
    }

    async fn try_get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
            Ok((status, body.to_owned()))
        };
        tokio::time::timeout(Duration::from_secs(20), ask).await?
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.readyz(200, "ok").await;
    }

    /// Waits until `/readyz` answers so.
    pub async fn readyz(&self, status: u16, part: &str) {
        eventually(&format!("/readyz answers {status} with {part:?}"), || async {
            match self.try_get("/readyz").await {
                Ok((seen, body)) if seen == status && body.contains(part) => Ok(()),
                seen => Err(format!("{seen:?}, and the log is\n{}", self.process.stderr())),
            }
        })
        .await;
    }

    /// Its metrics.
    pub async fn metrics(&self) -> String {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Waits until the metrics hold a line with all of these parts.
    pub async fn counts(&self, parts: &[&str]) -> String {
        eventually(&format!("a metric has {parts:?}"), || async {
            let text = self.metrics().await;
            let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(ToOwned::to_owned).ok_or_else(|| text.clone())
        })
        .await
    }
}
