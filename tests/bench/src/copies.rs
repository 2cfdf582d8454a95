//! Copies: ten images to sixteen Regions, with EC2's buckets, for as long as copies take.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    calls::Calls,
    child,
    cluster::{Cluster, send},
    context::{Context, PATIENCE, Stage},
    operator,
    world::{NAMESPACE, OWNER, REGION, Size, Weather},
};

/// How many images, each of which is a distribution.
pub const IMAGES: usize = 10;

/// Where they are copied to.
const REGIONS: [&str; 16] = [
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
];

/// How many copies there are in the end.
pub const COPIES: usize = IMAGES * REGIONS.len();

/// How often is looked whether all are there.
const POLL: Duration = Duration::from_millis(100);

/// What it took.
#[derive(Debug, Clone)]
pub struct Sample {
    /// How long EC2 takes for a copy.
    pub copying: Duration,
    /// From the start of the operator until every distribution is ready.
    pub wall: Duration,
    /// What AWS was asked.
    pub calls: Calls,
}

impl Sample {
    /// How often AWS was asked for each copy how it is.
    pub fn looks(&self) -> f64 {
        let looks = self.calls.of("DescribeImages") + self.calls.of("DescribeSnapshots");
        f64::from(u32::try_from(looks).unwrap_or(u32::MAX)) / f64::from(u32::try_from(COPIES).unwrap_or(u32::MAX))
    }
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    ready_targets: Option<String>,
}

fn collection() -> String {
    format!("/apis/amishare.dev/v1alpha1/namespaces/{NAMESPACE}/amidistributions")
}

fn manifest(index: usize) -> Value {
    let target = |region: &&str| json!({"name": region, "region": region});
    json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiDistribution",
        "metadata": {"name": Size::share(index), "namespace": NAMESPACE},
        "spec": {
            "source": {"region": REGION, "image": {"id": Size::image(index)}},
            "targets": REGIONS.iter().map(target).collect::<Vec<_>>(), "interval": "24h",
        },
    })
}

fn scenario(copying: Duration) -> String {
    let regions: Vec<&str> = [REGION].into_iter().chain(REGIONS).collect();
    let mut yaml = Size::new(IMAGES, 0).scenario(Weather::Real);
    let one = format!("regions: [{REGION}]\n");
    let all = format!("regions: [{}]\ncopies: {{milliseconds: {}}}\n", regions.join(", "), copying.as_millis());
    yaml = yaml.replace(&one, &all);
    for index in 0..IMAGES {
        let snapshot = Size::image(index).replace("ami-", "snap-");
        let name = format!("name: {}}}", Size::share(index));
        yaml = yaml.replace(&name, &format!("name: {}, snapshots: [{snapshot}]}}", Size::share(index)));
    }
    yaml
}

/// Measures copies that take so long.
pub async fn measure(context: &Context, copying: Duration) -> Result<Sample> {
    let size = Size::new(IMAGES, 0);
    let Stage { cluster, mut simulator, dir } = context.stage_of(&scenario(copying), size, Weather::Real).await?;
    cluster.define(&context.root.join("crds/amishare.dev_amidistributions.yaml"))?;
    for index in 0..IMAGES {
        let path = format!("{}?fieldManager=user", collection());
        send(&cluster.client, "POST", &path, "application/json", &manifest(index)).await?;
    }
    let daemon = operator::start_with(&context.amishare, &cluster.plane, &simulator, &dir, true)?;
    wait(&cluster).await.with_context(|| child::tail(&dir.join("operator.log")))?;
    let wall = daemon.started.elapsed();
    let calls = simulator.calls.count()?;
    ensure!(calls.of("CopyImage") == COPIES, "{} orders for {COPIES} copies of {OWNER}", calls.of("CopyImage"));
    daemon.stop()?;
    simulator.stop()?;
    Ok(Sample { copying, wall, calls })
}

/// Waits until every target of every distribution is ready.
async fn wait(cluster: &Cluster) -> Result<()> {
    let (all, deadline) = (format!("{0}/{0}", REGIONS.len()), Instant::now() + PATIENCE);
    loop {
        let list: List = cluster.client.request(Request::get(collection()).body(Vec::new())?).await?;
        let ready = list.items.iter().filter(|item| item.status.ready_targets.as_ref() == Some(&all)).count();
        if ready == IMAGES {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "only {ready} of {IMAGES} distributions are ready: {:?}", list.items);
        tokio::time::sleep(POLL).await;
    }
}
