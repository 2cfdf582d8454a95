//! EC2, KMS and STS behind the AWS wire protocol, simulated: several accounts and Regions, what they share with each other, the
//! rules and quotas of sharing, and faults on demand.
//!
//! The one double for AWS in this project. It answers any AWS SDK or CLI over TCP ([`Simulator::serve`], `amishare
//! simulate`) and the Rust SDK in process ([`Simulator::http_client`]). What it does follows the project's reference on
//! AWS, `aws.md`, and where AWS refuses something, it refuses it too; `docs/simulator.md` describes it for users.
//!
//! Nothing in here may use the rest of the crate except `crate::yaml`: a rule that the controller and the simulator shared
//! would be wrong in both at once.

mod calls;
mod clock;
mod command;
#[cfg(test)]
mod conformance;
mod connector;
mod ec2;
mod engine;
mod errors;
mod faults;
mod ids;
mod kms;
mod latency;
mod launch;
mod params;
mod permissions;
mod reply;
mod request;
mod scenario;
mod server;
mod sts;
mod throttle;
mod wildcard;
mod world;
mod xml;

pub use calls::Call;
pub use clock::{Clock, ClockScenario};
pub use command::{SimulateArgs, run};
pub use errors::ApiError;
pub use faults::{Fault, FaultKind};
pub use launch::LaunchRefusal;
pub use permissions::{Grantee, Grantees, NotAGrantee};
pub use scenario::{
    AccountScenario, BucketScenario, CopiesScenario, CopyTrouble, EncryptionScenario, ForeignLoad, ImageScenario,
    InstanceScenario, KeyScenario, PublicAccessScenario, Quotas, RoleScenario, Scenario, ScenarioError,
    SnapshotScenario, Throttling,
};
pub use world::{
    AccountTags, BlockDevice, DeregistrationProtection, Encryption, Image, ImagePublicAccess, ImageState, Instance,
    InstanceState, Key, KeyGrant, KeyManager, KeyState, Membership, ProductCode, PublicAccess, RegionState, Role,
    Snapshot, SnapshotPublicAccess, SnapshotState, Volume, World,
};

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::net::TcpListener;

use engine::Engine;
use reply::Reply;
use request::Request;
use throttle::Throttle;

/// A simulated AWS. Clones are the same AWS.
#[derive(Clone, Debug)]
pub struct Simulator {
    engine: Arc<Mutex<Engine>>,
    seed: u64,
}

impl Simulator {
    /// The AWS that the scenario describes.
    pub fn new(scenario: Scenario) -> Self {
        let seed = scenario.seed.unwrap_or_else(rand::random);
        let mut engine = Engine::new(scenario.build(seed), seed);
        for fault in scenario.faults {
            engine.faults.add(fault);
        }
        engine.throttle = Throttle::new(scenario.throttling);
        engine.latency.set(
            Duration::from_millis(scenario.latency_milliseconds),
            Duration::from_millis(scenario.latency_jitter_milliseconds),
        );
        Self { engine: Arc::new(Mutex::new(engine)), seed }
    }

    /// Appends one line of JSON to the file for each call from now on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn with_calls_file(self, path: &Path) -> io::Result<Self> {
        self.engine().calls.append_to(path)?;
        Ok(self)
    }

    /// Does not keep calls in memory from now on: for simulators that run for long, and nobody asks for [`Simulator::calls`].
    #[must_use]
    pub fn without_memory_of_calls(self) -> Self {
        self.engine().calls.forget();
        self
    }

    /// The seed that generated ids and the draws of faults follow from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Serves the wire protocol over HTTP/1.1 until `stop`.
    ///
    /// # Errors
    /// None at present; connections that fail are logged and do not end the server.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        server::serve(self.clone(), &listener, stop).await
    }

    /// The simulator as the HTTP client of an AWS SDK configuration. Faults act here too.
    pub fn http_client(&self) -> SharedHttpClient {
        connector::http_client(self.clone())
    }

    /// The calls over the wire and through the connector so far, in the order in which they took effect.
    pub fn calls(&self) -> Vec<Call> {
        self.engine().calls.all()
    }

    /// Forgets the calls so far, and how many of them were throttled.
    pub fn clear_calls(&self) {
        self.engine().calls.clear();
    }

    /// Puts another fault in force.
    pub fn add_fault(&self, fault: Fault) {
        self.engine().faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.engine().faults.clear();
    }

    /// Throttles by these rules from now on, or no more. Buckets are full again.
    pub fn set_throttling(&self, throttling: Throttling) {
        self.engine().throttle = Throttle::new(throttling);
    }

    /// Replaces the foreign load from now on; nothing in the list is none. Buckets keep what is in them. Without effect
    /// while throttling is off.
    pub fn set_foreign_load(&self, load: Vec<ForeignLoad>) {
        self.engine().throttle.set_foreign_load(load);
    }

    /// How many calls were refused for lack of a token, since the beginning or [`Simulator::clear_calls`].
    pub fn throttled_calls(&self) -> u64 {
        self.engine().calls.throttled()
    }

    /// Answers wait this long from now on, and up to `jitter` longer; their calls have taken effect then.
    pub fn set_latency(&self, latency: Duration, jitter: Duration) {
        self.engine().latency.set(latency, jitter);
    }

    /// Makes a call as an actor that is not on the wire: it takes no token, meets no fault and is not in
    /// [`Simulator::calls`]. Gives the XML of the answer, or the JSON of one of KMS.
    ///
    /// # Errors
    /// What AWS would refuse the call with.
    pub fn call(&self, account: &str, region: &str, action: &str, params: &[(&str, &str)]) -> Result<String, ApiError> {
        self.engine().act(account, region, action, &params.iter().copied().collect())
    }

    /// Looks at the world, or changes it behind everyone's back. No call is answered meanwhile.
    pub fn with_world<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        let world = &mut self.engine().world;
        world.go_on_copying();
        look(world)
    }

    /// Who may launch the image: account ids, `all` and ARNs. Empty when there is no such image.
    pub fn launch_permissions(&self, region: &str, image_id: &str) -> BTreeSet<String> {
        self.with_world(|world| world.image(region, image_id).map(|image| image.launch_permissions.to_strings()))
            .unwrap_or_default()
    }

    /// Who may create volumes of the snapshot: account ids and `all`. Empty when there is no such snapshot.
    pub fn create_volume_permissions(&self, region: &str, snapshot_id: &str) -> BTreeSet<String> {
        self.with_world(|world| {
            world.snapshot(region, snapshot_id).map(|snapshot| snapshot.create_volume_permissions.to_strings())
        })
        .unwrap_or_default()
    }

    /// Whether a principal, an account id or an ARN, could launch the image now.
    ///
    /// # Errors
    /// Why it could not.
    pub fn can_launch(&self, region: &str, image_id: &str, principal: &str) -> Result<(), LaunchRefusal> {
        self.with_world(|world| launch::decide(world, region, image_id, principal))
    }

    /// Answers a call from the wire or the connector.
    fn answer(&self, request: Request) -> Reply {
        self.engine().answer(request)
    }

    /// A test that panicked while it looked at the world must not take the server down with it.
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
