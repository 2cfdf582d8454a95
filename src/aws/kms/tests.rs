//! The client against the simulated KMS, in simulated time.
#![cfg(feature = "simulator")]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::sleep;

use super::*;
use crate::{
    api::{GrantOperation, Site},
    aws::Aws,
    config::Identities,
    runtime::{entropy::Entropy, metrics::Metrics},
    simulator::{Clock, Fault, FaultKind, Scenario, Simulator},
};

const OWNER: &str = "111122223333";
const REGION: &str = "us-east-1";
const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/22222222-3333-4444-8555-666666666666";

/// A grant shows after a minute.
const SCENARIO: &str = r#"
grantDelayMilliseconds: 60000
keys: [{arn: "arn:aws:kms:us-east-1:111122223333:key/22222222-3333-4444-8555-666666666666"}]
"#;
const DELAY: Duration = Duration::from_secs(61);

struct Account {
    simulator: Simulator,
    kms: Arc<Kms>,
    on: GrantsOn,
    grantee: Principal,
}

impl Account {
    async fn new() -> Self {
        let simulator = Simulator::new(Scenario::from_yaml(SCENARIO).unwrap());
        let from = Timestamp::from_second(1_800_000_000).unwrap();
        simulator.with_world(|world| world.clock = Clock::Following { from, since: Instant::now() });
        let credentials = Credentials::new(OWNER, "secret", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .http_client(simulator.http_client())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let aws = Aws::new(&sdk, 1.0, Entropy::from_seed(0), Arc::new(Metrics::new()));
        let site = Site::own(REGION.parse().unwrap());
        let kms = aws.reach(&site, &Identities::default().all()[0]).await.unwrap().kms;
        let on = GrantsOn { key: KEY.parse().unwrap(), operations: GrantOperation::LAUNCH.into() };
        Self { simulator, kms, on, grantee: "444455556666".parse().unwrap() }
    }

    /// The same, of a process that has known the key for long.
    async fn old() -> Self {
        let account = Self::new().await;
        account.look().await.unwrap();
        sleep(Duration::from_mins(6)).await;
        account
    }

    async fn look(&self) -> Result<Arc<Key>, Failure> {
        self.kms.key(&self.on.key, Urgency::Check, Freshness::Since(Instant::now())).await
    }

    async fn holds(&self) -> bool {
        !self.look().await.unwrap().holders(&self.on, [&self.grantee]).is_empty()
    }

    async fn grant(&self) -> Result<(), Class> {
        self.kms.grant(&self.on, &self.grantee, &|| true).await.map_err(|failure| failure.class)
    }

    async fn revoke(&self) -> Result<(), Class> {
        self.kms.revoke(&self.on, &self.grantee, &|| true).await.map_err(|failure| failure.class)
    }

    /// Somebody else makes a grant, or the operator before this one.
    fn somebody_grants(&self, name: &str) {
        let grantee = grantee_arn(&self.on.key, &self.grantee).unwrap();
        let params =
            [("KeyId", KEY), ("GranteePrincipal", grantee.as_str()), ("Operations.1", "Decrypt"), ("Name", name)];
        self.simulator.call(OWNER, REGION, "CreateGrant", &params).unwrap();
    }

    /// The names of all grants, whether KMS shows them yet or not.
    fn names(&self) -> Vec<String> {
        let names = |world: &mut crate::simulator::World| {
            let grants = world.key(KEY).unwrap().grants.values();
            grants.filter_map(|grant| grant.name.clone()).collect()
        };
        self.simulator.with_world(names)
    }

    fn our_name(&self) -> String {
        grant_name::name(&self.on, &self.grantee).unwrap()
    }

    fn calls(&self, action: &str) -> usize {
        self.simulator.calls().iter().filter(|call| call.action == action).count()
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_key_within_a_second_after_a_look_at_it_shares_the_next_one_and_sees_what_is_then() {
    let account = Account::new().await;
    let start = Instant::now();
    account.look().await.unwrap();
    assert!(start.elapsed() < APART, "the first is not kept waiting");
    let later = |milliseconds| {
        let account = &account;
        async move {
            sleep(Duration::from_millis(milliseconds)).await;
            account.look().await.unwrap()
        }
    };
    join_all((0..20).map(|number| later(number * 40))).await;
    assert_eq!(account.calls("ListGrants"), 2);
    assert!(start.elapsed() >= APART);
    // Who asks after a look has begun gets a newer one.
    sleep(Duration::from_millis(1)).await;
    account.look().await.unwrap();
    assert_eq!(account.calls("ListGrants"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_known_and_can_be_revoked_before_kms_shows_it_and_one_of_others_never_is() {
    let account = Account::new().await;
    account.somebody_grants("theirs");
    account.grant().await.unwrap();
    account.grant().await.unwrap();
    assert_eq!(account.names().len(), 2);
    assert!(account.holds().await);
    account.revoke().await.unwrap();
    assert_eq!(account.names(), ["theirs"]);
    assert!(!account.holds().await);
    account.revoke().await.unwrap();
    sleep(Duration::from_mins(10)).await;
    account.revoke().await.unwrap();
    assert_eq!(account.names(), ["theirs"]);
    assert_eq!(account.calls("RevokeGrant"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_answer_was_lost_is_not_taken_for_one_that_is_not_there() {
    let account = Account::old().await;
    account.simulator.add_fault(Fault::new(FaultKind::ResetAfter).on("CreateGrant").times(3));
    assert_eq!(account.grant().await, Err(Class::Unavailable));
    assert!(!account.holds().await, "KMS does not show it yet");
    assert_eq!(account.revoke().await, Err(Class::NotShown));
    sleep(DELAY).await;
    account.revoke().await.unwrap();
    assert!(account.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_counts_though_the_next_attempt_is_refused() {
    let account = Account::old().await;
    account.simulator.add_fault(Fault::new(FaultKind::AccessDenied).on("CreateGrant").times(1));
    assert_eq!(account.grant().await, Err(Class::AccessDenied));
    account.revoke().await.unwrap();

    account.simulator.clear_faults();
    account.simulator.add_fault(Fault::new(FaultKind::ResetAfter).on("CreateGrant").times(1));
    account.simulator.add_fault(Fault::new(FaultKind::AccessDenied).on("CreateGrant"));
    assert_eq!(account.grant().await, Err(Class::AccessDenied));
    assert_eq!(account.revoke().await, Err(Class::NotShown));
    sleep(DELAY).await;
    account.revoke().await.unwrap();
    assert!(account.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grant_of_the_operator_before_this_one_is_looked_for_until_kms_must_have_shown_it() {
    let account = Account::new().await;
    account.somebody_grants(&account.our_name());
    assert!(!account.holds().await);
    assert_eq!(account.revoke().await, Err(Class::NotShown));
    sleep(DELAY).await;
    account.revoke().await.unwrap();
    assert!(account.names().is_empty());

    let nobody = Account::new().await;
    assert_eq!(nobody.revoke().await, Err(Class::NotShown));
    sleep(Duration::from_mins(5)).await;
    nobody.revoke().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_does_not_say_that_there_is_no_grant() {
    let account = Account::old().await;
    account.somebody_grants(&account.our_name());
    sleep(DELAY).await;
    account.simulator.add_fault(Fault::new(FaultKind::AccessDenied).on("ListGrants"));
    assert_eq!(account.look().await.unwrap().grants.as_ref().unwrap_err().class, Class::AccessDenied);
    assert_eq!(account.revoke().await, Err(Class::AccessDenied));
    account.simulator.clear_faults();
    account.revoke().await.unwrap();
    assert!(account.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_old_listing_does_not_say_so_either() {
    let account = Account::old().await;
    account.look().await.unwrap();
    account.somebody_grants(&account.our_name());
    sleep(DELAY).await;
    account.revoke().await.unwrap();
    assert!(account.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_a_key_at_the_same_time_gets_one_answer_good_or_bad() {
    let account = Account::new().await;
    account.simulator.set_latency(Duration::from_millis(100), Duration::ZERO);
    let now = Freshness::Since(Instant::now());
    let ask = async || join_all((0..50).map(|_| account.kms.key(&account.on.key, Urgency::Check, now))).await;
    let denial = Fault::new(FaultKind::AccessDenied).on("DescribeKey");
    account.simulator.add_fault(denial);
    assert!(ask().await.iter().all(Result::is_err));
    assert_eq!(account.calls("DescribeKey"), 1);
    account.simulator.clear_faults();
    account.simulator.add_fault(Fault::new(FaultKind::ResetBefore).on("ListGrants").times(3));
    assert!(ask().await.iter().all(|key| key.as_ref().unwrap().grants.is_err()));
    assert_eq!((account.calls("DescribeKey"), account.calls("ListGrants")), (2, 3));
    assert!(ask().await.iter().all(|key| key.as_ref().unwrap().grants.is_ok()));
    assert_eq!((account.calls("DescribeKey"), account.calls("ListGrants")), (3, 4));
}
