//! The floor: a program that makes the same calls as the operator and does nothing else, as a process of its own.
//!
//! It knows beforehand what the operator has to find out, holds no state, and parses only what it needs. With a kubeconfig it
//! makes the same requests to the API server too: the list before a change, finalizer, record, event and status.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::Result;
use clap::{Args, ValueEnum};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    bucket::Bucket,
    cluster::{self, annotation, collection, send},
    wire::{Wire, all, parameters},
    world::{NAMESPACE, OWNER, REGION, ROGUE, Size},
};

/// How many calls of one API the operator has under way in one Region.
const CALLS: usize = 32;

/// How many images the operator works on at once.
const IMAGES: usize = 256;

/// How many values a filter of `DescribeImages` takes.
const BATCH: usize = 200;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Phase {
    /// Nothing is shared yet.
    Converge,
    /// Everything is as it should be.
    Quiet,
    /// Ten images have drifted, nobody knows which.
    Repair,
}

impl Phase {
    /// Its name on the command line and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Converge => "converge",
            Self::Quiet => "quiet",
            Self::Repair => "repair",
        }
    }
}

/// `bench floor`.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// Where AWS is.
    #[arg(long)]
    pub endpoint: String,
    /// How many images.
    #[arg(long)]
    pub images: usize,
    /// With how many accounts each of them is shared.
    #[arg(long)]
    pub accounts: usize,
    /// What is to be done.
    #[arg(long, value_enum)]
    pub phase: Phase,
    /// Keep to EC2's buckets.
    #[arg(long)]
    pub paced: bool,
    /// Make the requests to this cluster too.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
}

struct Floor {
    size: Size,
    phase: Phase,
    wire: Wire,
    under_way: [Semaphore; 3],
    buckets: Option<[Bucket; 3]>,
    kube: Option<Client>,
    accounts: Vec<String>,
}

const APIS: [&str; 3] = ["DescribeImages", "DescribeImageAttribute", "ModifyImageAttribute"];

/// Does it.
pub async fn run(args: FloorArgs) -> Result<()> {
    let size = Size::new(args.images, args.accounts);
    let kube = match &args.kubeconfig {
        Some(path) => Some(cluster::client(path).await?),
        None => None,
    };
    let floor = Arc::new(Floor {
        size,
        phase: args.phase,
        wire: Wire::new(&args.endpoint, OWNER),
        under_way: APIS.map(|_| Semaphore::new(CALLS)),
        buckets: args.paced.then(|| APIS.map(Bucket::of)),
        kube,
        accounts: size.all_accounts().collect(),
    });
    let batches: Vec<Vec<usize>> = (0..size.images).collect::<Vec<_>>().chunks(BATCH).map(<[usize]>::to_vec).collect();
    let images = stream::iter(batches)
        .map(|batch| floor.describe(batch))
        .buffer_unordered(CALLS)
        .map_ok(|batch| stream::iter(batch.into_iter().map(anyhow::Ok)))
        .try_flatten();
    let work = images.map_ok(|index| {
        let floor = Arc::clone(&floor);
        async move { tokio::spawn(async move { floor.image(index).await }).await? }
    });
    work.try_buffer_unordered(IMAGES).try_collect::<()>().await
}

impl Floor {
    async fn call(&self, api: usize, parameters: &[(String, String)]) -> Result<String> {
        // The token last: one that is taken and not spent at once is spent together with later ones.
        let _permit = self.under_way[api].acquire().await?;
        if let Some(buckets) = &self.buckets {
            buckets[api].take().await;
        }
        self.wire.call(APIS[api], parameters).await
    }

    /// Looks at a batch of images; gives it back.
    async fn describe(&self, batch: Vec<usize>) -> Result<Vec<usize>> {
        let mut filter = parameters([("Filter.1.Name", "image-id"), ("MaxResults", "1000")]);
        filter.extend(
            batch.iter().enumerate().map(|(n, image)| (format!("Filter.1.Value.{}", n + 1), Size::image(*image))),
        );
        let found = self.call(0, &filter).await?;
        anyhow::ensure!(all(&found, "imageId").count() == batch.len(), "an image is missing");
        Ok(batch)
    }

    /// Sees to one image, in the order in which the operator does.
    async fn image(&self, index: usize) -> Result<()> {
        let image = Size::image(index);
        if self.phase != Phase::Converge {
            self.kube("PATCH", &format!("{}?fieldManager=user", path(index)), MERGE, || annotation("floor")).await?;
        }
        let asked = parameters([("ImageId", &image), ("Attribute", "launchPermission")]);
        let answer = self.call(1, &asked).await?;
        let held: BTreeSet<&str> = all(&answer, "userId").collect();
        let listed: BTreeSet<&str> = self.accounts.iter().map(String::as_str).collect();
        let mut change = parameters([("ImageId", &image)]);
        for (operation, of, without) in [("Add", &listed, &held), ("Remove", &held, &listed)] {
            for (number, account) in of.difference(without).enumerate() {
                let name = format!("LaunchPermission.{operation}.{}.UserId", number + 1);
                change.push((name, (*account).to_owned()));
            }
        }
        if change.len() > 1 {
            self.before_a_change(index).await?;
            self.call(2, &change).await?;
            self.events(index).await?;
        }
        let handled = (self.phase != Phase::Converge).then_some("floor");
        self.kube("PATCH", &status_path(index), APPLY, || self.status(index, "True", handled)).await
    }

    /// The list that shows that no object has changed; the first time, the finalizer and the record too.
    async fn before_a_change(&self, index: usize) -> Result<()> {
        let Some(client) = &self.kube else { return Ok(()) };
        let selector = format!("spec.image.id%3D{}%2Cspec.region%3D{REGION}", Size::image(index));
        let list = format!("/apis/amishare.dev/v1alpha1/amishares?fieldSelector={selector}");
        client.request_text(Request::get(list).body(Vec::new())?).await?;
        if self.phase == Phase::Converge {
            let finalizer = || json!({"metadata": {"finalizers": ["amishare.dev/revoke"]}});
            self.kube("PATCH", &format!("{}?fieldManager=amishare", path(index)), MERGE, finalizer).await?;
            self.kube("PATCH", &status_path(index), APPLY, || self.status(index, "Unknown", None)).await?;
        }
        Ok(())
    }

    async fn events(&self, index: usize) -> Result<()> {
        let lost = &self.accounts[0];
        let notes = match self.phase {
            Phase::Converge => {
                vec![format!("gave launch permission to {}", self.accounts[..10.min(self.accounts.len())].join(", "))]
            }
            _ => vec![format!("gave launch permission back to {lost}"), format!("took launch permission from {ROGUE}")],
        };
        for (number, note) in notes.into_iter().enumerate() {
            let event = || {
                json!({
                    "apiVersion": "events.k8s.io/v1", "kind": "Event", "action": "Share", "reason": "Shared", "note": note,
                    "metadata": {"name": format!("{}.{:?}.{number}", Size::share(index), self.phase).to_lowercase()},
                    "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal",
                    "reportingController": "amishare.dev/operator", "reportingInstance": "amishare",
                    "regarding": {
                        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "namespace": NAMESPACE,
                        "name": Size::share(index),
                    },
                })
            };
            let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
            self.kube("POST", &path, "application/json", event).await?;
        }
        Ok(())
    }

    async fn kube(&self, method: &str, path: &str, kind: &str, body: impl FnOnce() -> Value) -> Result<()> {
        match &self.kube {
            Some(client) => send(client, method, path, kind, &body()).await,
            None => Ok(()),
        }
    }

    /// A status as large as the operator's.
    fn status(&self, index: usize, ready: &str, handled: Option<&str>) -> Value {
        let image = Size::image(index);
        let kinds = ["ImageAvailable", "LaunchPermissionsSynced", "Ready", "SnapshotPermissionsSynced"];
        let conditions = kinds.map(|kind| {
            json!({
                "type": kind, "status": ready, "reason": "Synced", "observedGeneration": 1,
                "message": format!("shared with {} accounts", self.size.accounts),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        });
        let mut status = json!({
            "conditions": conditions, "granted": [{"imageId": image, "launchPermission": self.accounts}],
        });
        if ready == "True" {
            status["observedGeneration"] = json!(1);
            status["sharedWith"] =
                json!({"accounts": self.size.accounts, "organizations": 0, "organizationalUnits": 0, "public": false});
            status["image"] = json!({
                "id": image, "name": Size::share(index), "ownerId": OWNER, "state": "available", "public": false,
                "encrypted": false, "snapshotIds": [image.replace("ami-", "snap-")],
            });
        }
        if let Some(handled) = handled {
            status["lastHandledReconcileAt"] = json!(handled);
        }
        json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": Size::share(index)},
            "status": status,
        })
    }
}

const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn path(index: usize) -> String {
    format!("{}/{}", collection(), Size::share(index))
}

fn status_path(index: usize) -> String {
    format!("{}/status?fieldManager=amishare&force=true", path(index))
}
