//! The cluster that the tests of this run share, and turns on it.

use std::{
    env, fs,
    io::Write,
    net::IpAddr,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Instant,
};

use envtest::node::{ADDRESS, Node};

use crate::{release::Release, render::helm, wait::tell};

/// A cluster that runs pods, and has the operator's image.
pub struct Cluster {
    /// None if it is somebody else's.
    node: Option<Node>,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// The name of the image there, with its tag.
    pub image: String,
    /// The address of this process in the eyes of pods.
    pub address: IpAddr,
}

/// Where `make node-image` puts the image.
fn archive() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("node-image").join("image.tar")
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

impl Cluster {
    /// The cluster of this test run, started at the first call; or why there is none.
    fn get() -> Result<&'static Self, &'static str> {
        static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| match variable("E2E_KUBECONFIG") {
            Some(kubeconfig) => Ok(Self::of_user(kubeconfig.into())),
            None => envtest::node::lacking().map_or_else(|| Ok(Self::of_ours()), Err),
        });
        cluster.as_ref().map_err(String::as_str)
    }

    fn of_ours() -> Self {
        let archive = archive();
        assert!(archive.is_file(), "there is no {}: run `make node`", archive.display());
        let node = Node::start(&[archive]).unwrap();
        Self {
            kubeconfig: node.kubeconfig().to_owned(),
            node: Some(node),
            kubectl: envtest::assets().unwrap().kubectl,
            image: concat!("localhost/ami-share-operator:", env!("CARGO_PKG_VERSION")).into(),
            address: ADDRESS.parse().unwrap(),
        }
    }

    fn of_user(kubeconfig: PathBuf) -> Self {
        let required = |name: &str| variable(name).unwrap_or_else(|| panic!("E2E_KUBECONFIG is set and {name} is not"));
        Self {
            node: None,
            kubeconfig,
            kubectl: envtest::assets().unwrap().kubectl,
            image: required("E2E_IMAGE"),
            address: required("E2E_ADDRESS").parse().expect("E2E_ADDRESS is an IP address"),
        }
    }

    /// Whether it is the node that this process has started.
    pub fn is_ours(&self) -> bool {
        self.node.is_some()
    }

    /// A command on this cluster. It ends with the node.
    fn on(&self, mut command: Command) -> Command {
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(node) = &self.node {
            node.supervise(&mut command);
        }
        command
    }

    /// Runs kubectl to its end.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(&self.kubectl);
        command.args(arguments).env("KUBERC", "off").env("LC_ALL", "C");
        command.env("KUBECACHEDIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl-cache"));
        run(&mut self.on(command), input)
    }

    /// Runs helm to its end.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        run(&mut self.on(helm(arguments)), "")
    }

    /// Has a pod end without a moment to do anything more, and without coming back. On somebody else's node, to which no signal can be
    /// sent from here, its process may still do something.
    pub fn crash(&self, namespace: &str, pod: &str, container: &str) {
        if self.is_ours() {
            for process in processes_of(container.split_once("://").unwrap().1) {
                let stopped = Command::new("kill").args(["-s", "STOP", &process]).status().unwrap();
                assert!(stopped.success(), "{pod} has ended by itself");
            }
        }
        self.kubectl(&["delete", "pod", pod, "--namespace", namespace, "--grace-period=0", "--force"], "").unwrap();
    }

    /// What the kernel says of the processes of a container: `/proc/PID/status`. None on somebody else's node.
    pub fn processes(&self, container: &str) -> Option<Vec<String>> {
        self.node.as_ref()?;
        let processes = processes_of(container.split_once("://").unwrap().1);
        Some(processes.iter().map(|process| fs::read_to_string(format!("/proc/{process}/status")).unwrap()).collect())
    }
}

/// The processes of a container, which this machine sees: their control groups are called after it.
fn processes_of(container: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().display().to_string());
    let is_in = |process: &String| {
        fs::read_to_string(format!("/proc/{process}/cgroup")).is_ok_and(|groups| groups.contains(container))
    };
    all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_in).collect()
}

fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

/// Runs a test on the cluster, when it is its turn, with nothing there of the tests before it. Says so where there is no cluster.
pub fn on_cluster(what: &str, test: impl AsyncFnOnce(Release) + Send) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = match Cluster::get() {
        Ok(cluster) => cluster,
        Err(lacking) => {
            assert!(variable("AMISHARE_REQUIRE_NODE").is_none(), "this machine cannot have a node: {lacking}");
            tell(&format!("SKIPPED, because this machine cannot have a node ({lacking}): {what}"));
            return;
        }
    };
    // A thread of its own, because there is no way back out of a network. All threads of the runtime come from it.
    let in_network = || {
        if let Some(node) = &cluster.node {
            node.enter_network().unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { test(Release::on(cluster).await).await });
    };
    let begun = Instant::now();
    let ended = thread::scope(|scope| scope.spawn(in_network).join());
    tell(&format!("    {:.0} s on the node: {what}", begun.elapsed().as_secs_f32()));
    if let Err(panic) = ended {
        if let Some(node) = &cluster.node {
            tell(&node.logs());
        }
        resume_unwind(panic);
    }
}
