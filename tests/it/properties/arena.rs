//! The same world as a pure property has, with the simulated AWS in the place of the plain one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, OnceLock},
};

use amishare::{
    api::{GrantsOn, ImageRef, Principal, Site},
    aws::{
        Aws, Services,
        grant_name::{grantee_arn, name},
    },
    config::Identities,
    runtime::{agenda::Urgency, entropy::Entropy, metrics::Metrics},
    share::{
        apply::apply,
        claim::Claim,
        observe::{Look, observe},
        observed::Target,
        outcome::Outcome,
        plan::Plan,
    },
    simulator::{
        self, EncryptionScenario, Fault, FaultKind, ImagePublicAccess, ImageScenario, ImageState, KeyGrant,
        KeyScenario, ProductCode, PublicAccessScenario, Quotas, Scenario, Simulator, SnapshotPublicAccess,
        SnapshotScenario,
    },
};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures::FutureExt;
use tokio::runtime::Runtime;

use crate::testing::{
    OTHER, OWNER, REGION,
    arbitrary::everybody,
    aws::{self, Encryption, State},
    cluster::Cluster,
    grants_on, image, kms_key, snapshot,
    world::World,
};

/// Runs one case. All of them share a runtime: to make one for each is what would take the time.
pub fn run<T>(case: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(case)
}

/// The objects of a world, and a simulated AWS in the state of its plain one.
pub struct Arena {
    pub cluster: Cluster,
    pub simulator: Simulator,
    aws: Services,
}

/// The SDK of the images' owner, on tokio's time.
pub fn sdk(http: SharedHttpClient) -> SdkConfig {
    let credentials = Credentials::new(OWNER, "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .http_client(http)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .sleep_impl(SharedAsyncSleep::new(Sleep))
        .build()
}

impl Arena {
    pub fn of(world: &World) -> Self {
        let simulator = Simulator::new(scenario(&world.aws));
        simulator.with_world(|simulated| {
            for number in (1..=4).filter(|n| !world.aws.snapshots.contains_key(&snapshot(*n))) {
                simulated.regions.get_mut(REGION).unwrap().snapshots.remove(snapshot(number).as_str());
            }
        });
        simulator.with_world(|simulated| seed_grants(simulated, &world.aws));
        // Thousands of cases in a few seconds of real time.
        let aws = Aws::new(&sdk(simulator.http_client()), 1e5, Entropy::from_seed(0), Arc::new(Metrics::new()));
        let site = Site::own(REGION.parse().unwrap());
        // With the ambient credentials, nobody has to be asked who they are.
        let services = aws.reach(&site, &Identities::default().all()[0]).now_or_never().unwrap().unwrap();
        let mut cluster = world.cluster.clone();
        cluster.parts = world.aws.parts();
        Self { cluster, simulator, aws: services }
    }

    /// Reconciles an image once.
    pub async fn reconcile(&mut self, image: &ImageRef) -> Option<(Plan, Outcome)> {
        let claims = self.cluster.claims(image);
        if !claims.iter().any(Claim::needs_aws) {
            for claim in &claims {
                self.cluster.without_aws(image, claim);
            }
            return None;
        }
        let mut before = observe(&self.aws, image, &claims, &Look::now(Urgency::Check)).await.unwrap();
        before.elsewhere = self.cluster.elsewhere(image, &before);
        let plan = self.cluster.plan(image, &claims, &before);
        self.cluster.secure(image, &claims, &plan, usize::MAX);
        let outcome = apply(&self.aws, &plan, &|| true).await;
        self.cluster.finish(image, &claims, &before, &plan, &outcome);
        Some((plan, outcome))
    }

    /// Reconciles an image until it has been changed by this many calls, and then never hears of the operator again.
    pub async fn reconcile_until_killed(&mut self, image: &ImageRef, calls: u32) {
        let claims = self.cluster.claims(image);
        if claims.iter().any(Claim::needs_aws) {
            let mut before = observe(&self.aws, image, &claims, &Look::now(Urgency::Check)).await.unwrap();
            before.elsewhere = self.cluster.elsewhere(image, &before);
            let plan = self.cluster.plan(image, &claims, &before);
            self.cluster.secure(image, &claims, &plan, usize::MAX);
            self.simulator.add_fault(Fault::new(FaultKind::AccessDenied).on("*").after(calls));
            apply(&self.aws, &plan, &|| true).await;
            self.simulator.clear_faults();
        }
    }

    /// The calls so far that would change a permission.
    pub fn modifications(&self) -> Vec<String> {
        let calls = self.simulator.calls().into_iter().map(|call| call.action);
        calls.filter(|action| action.starts_with("Modify") || action.ends_with("eGrant")).collect()
    }

    /// Who holds a launch permission on image 1.
    pub fn launch(&self) -> BTreeSet<Principal> {
        self.held().remove(&Target::Image(image(1).id)).unwrap()
    }

    /// Who holds what, as far as it is there.
    pub fn held(&self) -> BTreeMap<Target, BTreeSet<Principal>> {
        let read = |texts: BTreeSet<String>| texts.iter().map(|text| text.parse().unwrap()).collect();
        let images = [1, 2].map(|n| image(n).id);
        let snapshots = (1..=4).map(snapshot);
        let there = snapshots.filter(|id| self.simulator.with_world(|w| w.snapshot(REGION, id.as_str()).is_some()));
        let images = images.map(|id| {
            let held = self.simulator.launch_permissions(REGION, id.as_str());
            (Target::Image(id), read(held))
        });
        let snapshots = there.map(|id| {
            let held = self.simulator.create_volume_permissions(REGION, id.as_str());
            (Target::Snapshot(id), read(held))
        });
        images.into_iter().chain(snapshots.collect::<Vec<_>>()).chain(self.grants()).collect()
    }

    /// Who holds grants of ours.
    fn grants(&self) -> Vec<(Target, BTreeSet<Principal>)> {
        let names = self.simulator.with_world(|world| {
            let key = world.key(kms_key(false).as_str());
            let grants = key.into_iter().flat_map(|key| key.grants.values());
            grants.filter_map(|grant| grant.name.clone()).collect::<BTreeSet<String>>()
        });
        let holders = |on: &GrantsOn| {
            let holds = |p: &Principal| name(on, p).is_some_and(|name| names.contains(&name));
            everybody().into_iter().filter(holds).collect()
        };
        [false, true].map(grants_on).map(|on| (Target::Grants(on.clone()), holders(&on))).into()
    }
}

/// How the SDK sleeps.
#[derive(Debug)]
pub struct Sleep;

impl aws_sdk_ec2::config::AsyncSleep for Sleep {
    fn sleep(&self, duration: std::time::Duration) -> aws_sdk_ec2::config::Sleep {
        aws_sdk_ec2::config::Sleep::new(tokio::time::sleep(duration))
    }
}

/// Grants of ours that are there already.
fn seed_grants(simulated: &mut simulator::World, aws: &aws::Aws) {
    let created = simulated.now();
    for (on, holders) in &aws.grants {
        for (index, principal) in holders.iter().enumerate() {
            let id = format!("{:032x}{index:032x}", on.operations.len());
            let grant = KeyGrant {
                id: id.clone(),
                name: name(on, principal),
                grantee: grantee_arn(&on.key, principal).unwrap(),
                retiring: None,
                issuing_account: format!("arn:aws:iam::{OWNER}:root"),
                operations: on.operations.iter().map(|operation| operation.name().to_owned()).collect(),
                constraints: BTreeMap::new(),
                created,
                effective: created,
            };
            simulated.key_mut(on.key.as_str()).unwrap().grants.insert(id, grant);
        }
    }
}

fn scenario(aws: &aws::Aws) -> Scenario {
    let mut scenario = Scenario {
        seed: Some(1),
        closed_accounts: aws.closed.iter().map(ToString::to_string).collect(),
        quotas: Quotas { sharing_entities_per_image: aws.quota, ..Quotas::default() },
        block_public_access: vec![PublicAccessScenario {
            account: OWNER.into(),
            region: REGION.into(),
            images: if aws.blocks_public { ImagePublicAccess::BlockNewSharing } else { ImagePublicAccess::Unblocked },
            snapshots: SnapshotPublicAccess::default(),
        }],
        ..Scenario::default()
    };
    for (id, known) in &aws.images {
        let owner = if known.state == State::Foreign { OTHER } else { OWNER };
        let snapshots: Vec<String> = known.snapshots.iter().map(ToString::to_string).collect();
        let code = ProductCode { code: "abcdefghij".into(), kind: "marketplace".into() };
        let state = match known.state {
            State::Pending => ImageState::Pending,
            State::Failed => ImageState::Failed,
            State::Disabled => ImageState::Disabled,
            State::Deregistered => ImageState::Deregistered,
            State::Available | State::Missing | State::NotYetListed | State::Foreign => ImageState::Available,
        };
        let image = ImageScenario {
            id: id.to_string(),
            region: REGION.into(),
            owner: owner.into(),
            state,
            snapshots,
            product_codes: known.product_code.then_some(code).into_iter().collect(),
            launch_permissions: known.launch.iter().map(|p| p.to_string().parse().unwrap()).collect(),
            ..ImageScenario::default()
        };
        if known.state != State::Missing {
            scenario.images.push(image);
        }
    }
    scenario.keys.push(KeyScenario { arn: kms_key(false).to_string(), ..KeyScenario::default() });
    for (id, held) in &aws.snapshots {
        let encryption = match aws.encryption(&Target::Snapshot(id.clone())) {
            Encryption::None => EncryptionScenario::None,
            Encryption::CustomerKey => EncryptionScenario::CustomerKey,
            Encryption::DefaultKey => EncryptionScenario::DefaultKey,
        };
        scenario.snapshots.push(SnapshotScenario {
            id: id.to_string(),
            region: REGION.into(),
            owner: OWNER.into(),
            encryption,
            create_volume_permissions: held.iter().map(|p| p.to_string().parse().unwrap()).collect(),
            ..SnapshotScenario::default()
        });
    }
    scenario
}
