//! `amishare run`: the operator's process.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use aws_config::SdkConfig;
use clap::{ArgAction, Args, builder::BoolishValueParser};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Interval, names::is_label},
    aws::Aws,
    cli::{election::ElectionArgs, rules::Rules},
    distribution::{self, berths::Berths, mirror::Mirror},
    lease::WritePermit,
    runtime::{
        clock::Clock,
        entropy::Entropy,
        events::Teller,
        health::{self, Readiness},
        metrics::Metrics,
        runner::{Limits, Queue, Runner},
        shutdown,
        telemetry::{self, LogFormat},
    },
    share::{controller, locks::KeyLocks, reconcile::Reconciler, refused::Refused, store::Shares, writer::Writer},
};

/// How `amishare run` runs. Every flag can be given as the environment variable that the help names.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Namespaces to watch, separated by commas; all of them if there are none. All AmiShares of an image must be in
    /// watched namespaces: whoever only an unwatched one lists is removed by an authoritative one.
    #[arg(long = "namespaces", env = "AMISHARE_NAMESPACES", value_delimiter = ',', value_parser = namespace, value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,

    /// The operator's configuration file, in YAML: guard rails that say what AmiShares may do in which namespaces. It is followed: what
    /// changes in it takes effect within seconds, and a file with a mistake changes nothing.
    #[arg(long, env = "AMISHARE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Allow images to be made public, by AmiShares with shareWith.public, in namespaces for which no guard rail says with whom
    /// images may be shared.
    #[arg(long, env = "AMISHARE_ALLOW_PUBLIC_SHARING", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value_t = false, action = ArgAction::Set, value_name = "BOOLEAN")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub allow_public_sharing: bool,

    /// With how many accounts, organizations and organizational units AWS lets one image be shared. 1000 unless AWS has
    /// raised the quota for the account.
    #[arg(long, env = "AMISHARE_LAUNCH_PERMISSION_QUOTA", default_value_t = 1000, value_name = "NUMBER")]
    pub launch_permission_quota: usize,

    /// How long an account or organization that AWS refused is left alone before it is tried again.
    #[arg(long, env = "AMISHARE_REFUSED_RETRY", default_value = "1h", value_name = "DURATION")]
    pub refused_retry: Interval,

    /// How many times the documented request rates AWS allows the account: 2 if it has doubled them, 0.5 to leave half of
    /// them to others. Calls wait for their turn so that AWS never has to refuse one.
    #[arg(long, env = "AMISHARE_REQUEST_RATE_FACTOR", default_value = "1", value_parser = rate_factor, value_name = "FACTOR")]
    pub request_rate_factor: f64,

    /// How many images of one Region are worked on at once.
    #[arg(long, env = "AMISHARE_CONCURRENCY", default_value = "64", value_name = "NUMBER")]
    pub concurrency: NonZeroUsize,

    /// Whether objects of the kind AmiDistribution are acted on. Without them the operator copies and deletes nothing in AWS, and neither creates nor
    /// deletes AmiShares, so that it needs no permission for that.
    #[arg(long, env = "AMISHARE_DISTRIBUTIONS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true", default_value_t = true, action = ArgAction::Set, value_name = "BOOLEAN")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub distributions: bool,

    /// How many copies of images may be under way at once in one account and Region. AWS has quotas of its own (300 copies of images
    /// and 20 copies of snapshots, unless they were raised); whoever fills them makes all other copies there fail.
    #[arg(long, env = "AMISHARE_CONCURRENT_COPIES", default_value = "20", value_name = "NUMBER")]
    pub concurrent_copies: NonZeroUsize,

    /// How long the work on one image may take.
    #[arg(long, env = "AMISHARE_RECONCILE_DEADLINE", default_value = "5m", value_name = "DURATION")]
    pub reconcile_deadline: Interval,

    /// How long work under way gets to finish when the process is asked to stop.
    #[arg(long, env = "AMISHARE_SHUTDOWN_GRACE", default_value = "20s", value_name = "DURATION")]
    pub shutdown_grace: Interval,

    /// Who leads when several replicas run.
    #[command(flatten)]
    pub election: ElectionArgs,

    /// Where /healthz and /readyz are served.
    #[arg(long, env = "AMISHARE_HEALTH_ADDRESS", default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    pub health_address: SocketAddr,

    /// Where /metrics is served, for Prometheus. May be the same as the health address.
    #[arg(long, env = "AMISHARE_METRICS_ADDRESS", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub metrics_address: SocketAddr,

    /// How log lines look.
    #[arg(long, env = "AMISHARE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or directives such as info,amishare=debug.
    #[arg(long, env = "AMISHARE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// Reads a namespace, with the blanks that people put after commas. None is none: a list may be empty, or end with a comma.
fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || is_label(name, false) {
        return Ok(name.to_owned());
    }
    Err("a namespace: lower-case letters, digits and hyphens; several are separated by commas".into())
}

/// Reads a factor by which request rates differ from the documented ones.
fn rate_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (0.01..=100_000.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 0.01 to 100000".into()),
    }
}

/// Runs the operator until a signal.
pub(super) async fn run(args: RunArgs) -> anyhow::Result<()> {
    telemetry::start(args.log_format, &args.log).with_context(|| format!("--log {:?} cannot be read", args.log))?;
    // Before anything else: whoever has made a mistake in it is told at once.
    let rules = Rules::of(&args).context("the configuration file cannot be used")?;
    let stop = shutdown::on_signal().context("cannot listen for signals")?;
    let config = cluster().await?;
    let client = Client::try_from(config.clone()).context("the Kubernetes configuration cannot be used")?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::default();
    let (probes, numbers) = (health::probes(readiness.clone(), stop.clone()), health::metrics(Arc::clone(&metrics)));
    let mut servers = Vec::new();
    if args.metrics_address == args.health_address {
        servers.push((listen(args.health_address).await?, probes.merge(numbers)));
    } else {
        servers.push((listen(args.health_address).await?, probes));
        servers.push((listen(args.metrics_address).await?, numbers));
    }
    // Served to the very end: while work drains, /readyz says that the process is stopping.
    let ended = CancellationToken::new();
    for (listener, router) in servers {
        let (stop, ended) = (stop.clone(), ended.clone());
        tokio::spawn(async move {
            if let Err(error) = health::serve(listener, router, ended).await {
                tracing::error!(%error, "probes and metrics can no longer be served; stopping");
                stop.cancel();
            }
        });
    }
    let sdk = Aws::from_environment().await;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    let (clock, entropy) = (Clock::wall(), Entropy::of_the_system());
    let election = args.election.start(&config, readiness.clone(), Arc::clone(&metrics), clock, entropy.clone())?;
    let permit = election.permit.clone();
    let surroundings = Surroundings { client, sdk, metrics, readiness, clock, entropy, permit };
    let worked = election.during(operate_under(rules, &args, surroundings, stop)).await;
    ended.cancel();
    worked.inspect(|()| tracing::info!("stopped"))
}

/// The longest that the API server may be silent: longer than a watch without events, and no connection that is dead hangs for
/// ever. kube has no such limit of its own.
const SILENCE: Duration = Duration::from_mins(6);

/// The way to the cluster that the process runs in, or to that of `KUBECONFIG`.
async fn cluster() -> anyhow::Result<Config> {
    let mut config = Config::infer().await.map_err(|error| {
        // kube's message tells both ways that it tried, twice.
        let kubeconfig = std::env::var("KUBECONFIG").unwrap_or_else(|_| "~/.kube/config".into());
        tracing::debug!(%error, "no cluster");
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return anyhow::anyhow!("no Kubernetes cluster: the pod's service account token cannot be read; mount it");
        }
        anyhow::anyhow!("no Kubernetes cluster: this is no pod, and {kubeconfig} cannot be read; set KUBECONFIG")
    })?;
    config.read_timeout = Some(SILENCE);
    Ok(config)
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: another process may; set --health-address and --metrics-address")
    })?;
    // Of interest when the port was 0.
    tracing::info!(address = %listener.local_addr()?, "serving probes or metrics");
    Ok(listener)
}

/// What the controllers stand on: everything in which a process differs from another one with the same flags.
#[derive(Clone)]
pub struct Surroundings {
    /// The Kubernetes API.
    pub client: Client,
    /// The way to AWS.
    pub sdk: SdkConfig,
    /// Where is counted.
    pub metrics: Arc<Metrics>,
    /// Where is said what is waited for.
    pub readiness: Readiness,
    /// The time of day.
    pub clock: Clock,
    /// What spreads retries and checks.
    pub entropy: Entropy,
    /// What every write asks, and what work waits for.
    pub permit: WritePermit,
}

/// Runs the controllers until `stop`.
///
/// # Errors
/// When there is a configuration file and it cannot be used.
pub async fn operate(args: &RunArgs, surroundings: Surroundings, stop: CancellationToken) -> anyhow::Result<()> {
    operate_under(Rules::of(args)?, args, surroundings, stop).await;
    Ok(())
}

async fn operate_under(rules: Rules, args: &RunArgs, surroundings: Surroundings, stop: CancellationToken) {
    let Surroundings { client, sdk, metrics, readiness, clock, entropy, permit } = surroundings;
    let aws = Aws::new(&sdk, args.request_rate_factor, entropy.clone(), Arc::clone(&metrics)).under(permit.clone());
    let aws = Arc::new(aws);
    let (queue, requests) = Queue::new();
    let shares = Shares::default();
    let namespaces = args.namespaces.iter().filter(|n| !n.is_empty()).cloned().collect();
    let scopes = controller::scopes(namespaces);
    let teller = Teller { client: client.clone(), metrics: Arc::clone(&metrics), clock, permit: permit.clone() };
    let writer = Writer {
        client: client.clone(),
        shares: shares.clone(),
        metrics: Arc::clone(&metrics),
        teller: teller.clone(),
        scopes: scopes.clone(),
        permit: permit.clone(),
    };
    let (copies, asked_of_copies) = Queue::new();
    let (distributions, children) = (Mirror::default(), Mirror::default());
    let distributor = Arc::new(distribution::reconcile::Reconciler {
        aws: Arc::clone(&aws),
        distributions: distributions.clone(),
        children: children.clone(),
        writer: distribution::writer::Writer {
            client: client.clone(),
            distributions,
            children,
            metrics: Arc::clone(&metrics),
            teller,
            permit: permit.clone(),
        },
        policy: rules.live.clone(),
        clock,
        metrics: Arc::clone(&metrics),
        queue: copies,
        berths: Berths::new(args.concurrent_copies.get()),
    });
    let reconciler = Arc::new(Reconciler {
        keys: KeyLocks::default(),
        aws,
        shares,
        writer,
        policy: rules.live.clone(),
        clock,
        metrics: Arc::clone(&metrics),
        queue,
        refused: Refused::default(),
        refused_retry: args.refused_retry.as_duration().max(Duration::from_secs(1)),
        told: Arc::default(),
        seen: Mutex::default(),
    });
    let limits = Limits {
        concurrency: args.concurrency.get(),
        deadline: args.reconcile_deadline.as_duration().max(Duration::from_secs(1)),
        grace: args.shutdown_grace.as_duration(),
    };
    let followed = rules.follow(Arc::clone(&metrics));
    let runner =
        |name| Runner { name, limits, metrics: Arc::clone(&metrics), entropy: entropy.clone(), permit: permit.clone() };
    let shares = controller::run(
        client.clone(),
        reconciler,
        requests,
        runner(controller::NAME),
        readiness.clone(),
        stop.clone(),
    );
    let distributes = args.distributions;
    let distributions = async {
        if distributes {
            let runner = runner(distribution::controller::NAME);
            distribution::controller::run(client, distributor, scopes, asked_of_copies, runner, readiness, stop).await;
        }
    };
    tokio::select! {
        biased;
        // In this order: the second one says that everything that is waited for has been named.
        _ = futures::future::join(distributions, shares) => {}
        never = followed => match never {},
    }
}
