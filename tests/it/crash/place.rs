//! Where runs take place.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use amishare::runtime::{clock::Clock, entropy::Entropy};
use futures::{StreamExt, stream};
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::runtime::Builder;

use crate::{harness::cluster, memory};

/// What one run stands on.
pub struct Ground {
    /// An API server with our definitions.
    pub client: Client,
    /// A namespace that no other run uses.
    pub namespace: String,
    /// The time of day.
    pub clock: Clock,
    /// What spreads retries and checks.
    pub entropy: Entropy,
    /// How time passes.
    pub time: Time,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// As it does: nobody waits for a check that is due in ten minutes.
    Real,
    /// As soon as nobody has anything left to do, it jumps to when somebody has.
    Simulated,
}

/// A run.
pub type Job<T> = Box<dyn FnOnce(Ground) -> Pin<Box<dyn Future<Output = T> + Send>> + Send>;

/// Where runs take place.
pub trait Place {
    /// Its name.
    const NAME: &'static str;

    /// How many points of each scenario are enough for each [moment](super::points) if nobody asks for all; `None` is all.
    const SAMPLE: Option<usize>;

    /// Runs everything, each run on a ground of its own; gives what came of them, in their order.
    fn run<T: Send + 'static>(&self, jobs: Vec<Job<T>>) -> Vec<T>;
}

/// The API server that all tests share. Most of a run is waiting, so that many are under way at once.
pub struct Server;

/// How many runs of one scenario are under way at once.
const AT_ONCE: usize = 6;

/// Numbers namespaces.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Place for Server {
    const NAME: &'static str = "on the API server";
    const SAMPLE: Option<usize> = Some(2);

    fn run<T: Send + 'static>(&self, jobs: Vec<Job<T>>) -> Vec<T> {
        let plane = cluster();
        // Failing means that another test has done it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            let client = Client::try_from(config).unwrap();
            let runs = stream::iter(jobs).map(|job| {
                let client = client.clone();
                async move { job(ground(client).await).await }
            });
            runs.buffered(AT_ONCE).collect().await
        })
    }
}

async fn ground(client: Client) -> Ground {
    let mut namespace = Namespace::default();
    let name = format!("crash-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    namespace.metadata.name = Some(name.clone());
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let (clock, entropy) = (Clock::wall(), Entropy::of_the_system());
    Ground { client, namespace: name, clock, entropy, time: Time::Real }
}

/// An API server in memory for each run, in simulated time: what takes minutes takes milliseconds.
pub struct Memory;

impl Place for Memory {
    const NAME: &'static str = "in memory";
    const SAMPLE: Option<usize> = None;

    fn run<T: Send + 'static>(&self, jobs: Vec<Job<T>>) -> Vec<T> {
        let runs = jobs.into_iter().map(|job| {
            let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async move {
                let clock = Clock::set_to(Timestamp::from_second(1_800_000_000).unwrap());
                let client = memory::Memory::new(clock, 1).connect("everybody").client();
                let (namespace, entropy) = ("images".to_owned(), Entropy::from_seed(1));
                job(Ground { client, namespace, clock, entropy, time: Time::Simulated }).await
            })
        });
        runs.collect()
    }
}
