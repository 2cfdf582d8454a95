//! An operator of a schedule: the real controller on a connection to the API server and a line to AWS, which die with it.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use amishare::{
    cli::{RunArgs, Surroundings, operate},
    lease::WritePermit,
    runtime::{clock::Clock, entropy::Entropy, health::Readiness, metrics::Metrics},
    simulator::Simulator,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    harness::world::{SHARES_ALONE, run_args},
    memory::{Connection, Memory},
    properties::arena::sdk,
};

/// How long the work on one image may take: the longest that a decision can be old when it takes effect.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// The longest that a call to AWS or its answer is on its way.
pub const LATENCY: Duration = Duration::from_millis(40);

/// An operator that runs.
pub struct Operator {
    pub metrics: Arc<Metrics>,
    connection: Connection,
    dead: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Operator {
    /// Starts the `number`th operator of a schedule.
    pub fn start(memory: &Memory, aws: &Simulator, clock: Clock, seed: u64, number: u64, allow_public: bool) -> Self {
        let (stop, dead, metrics) = (CancellationToken::new(), CancellationToken::new(), Arc::new(Metrics::new()));
        let connection = memory.connect(&format!("operator {number}"));
        let chance = Arc::new(Mutex::new(StdRng::seed_from_u64(seed ^ number)));
        let line = Line { dead: dead.clone(), chance };
        let surroundings = Surroundings {
            client: connection.client(),
            sdk: sdk(line.client(aws.http_client())),
            metrics: Arc::clone(&metrics),
            readiness: Readiness::default(),
            clock,
            entropy: Entropy::from_seed(seed.wrapping_add(number)),
            permit: WritePermit::always(),
        };
        let stopping = stop.clone();
        let task = tokio::spawn(async move { operate(arguments(allow_public), surroundings, stopping).await.unwrap() });
        Self { metrics, connection, dead, stop, task }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it between two moments. What it had sent may still arrive.
    pub fn kill(self) {
        self.connection.die();
        self.dead.cancel();
        self.task.abort();
        // Tasks of its own that nobody waits for any more would otherwise stay until the end of the schedule.
        self.stop.cancel();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

/// The arguments of every operator. Read once: that takes longer than all else that a start takes.
fn arguments(allow_public: bool) -> &'static RunArgs {
    static ARGUMENTS: OnceLock<[RunArgs; 2]> = OnceLock::new();
    let arguments = ARGUMENTS.get_or_init(|| {
        let deadline = format!("--reconcile-deadline={}s", DEADLINE.as_secs());
        let shares = SHARES_ALONE.to_owned();
        let public = "--allow-public-sharing".to_owned();
        [run_args([deadline.clone(), shares.clone()]), run_args([deadline, shares, public])]
    });
    &arguments[usize::from(allow_public)]
}

/// The way to AWS, which takes time.
#[derive(Clone)]
struct Line {
    dead: CancellationToken,
    chance: Arc<Mutex<StdRng>>,
}

impl Line {
    fn client(self, to: SharedHttpClient) -> SharedHttpClient {
        use aws_smithy_runtime_api::client::http::HttpClient;
        http_client_fn(move |settings, components| {
            SharedHttpConnector::new(Slow { line: self.clone(), to: to.http_connector(settings, components) })
        })
    }

    fn way(&self) -> Duration {
        LATENCY.mul_f64(self.chance.lock().unwrap_or_else(PoisonError::into_inner).random())
    }
}

struct Slow {
    line: Line,
    to: SharedHttpConnector,
}

impl fmt::Debug for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl HttpConnector for Slow {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (there, back) = (self.line.way(), self.line.way());
        let (dead, to) = (self.line.dead.clone(), self.to.clone());
        HttpConnectorFuture::new(async move {
            if dead.is_cancelled() {
                return std::future::pending().await;
            }
            // A task of its own: what a process has sent arrives, also if the process is no more.
            let sent = tokio::spawn(async move {
                sleep(there).await;
                to.call(request).await
            });
            let answer = sent.await.unwrap_or_else(|error| Err(ConnectorError::other(error.into(), None)));
            sleep(back).await;
            if dead.is_cancelled() { std::future::pending().await } else { answer }
        })
    }
}
