//! One client of each service for each identity and Region, made when it is first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig};
use aws_sdk_ec2::config::SharedCredentialsProvider;
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};

use super::{
    calls::Calls, copies::Copies, ec2::Ec2, failure::Failure, fence::Fence, kms::Kms, lanes::Lanes,
    lifecycle::Lifecycle, proof::Proof,
};
use crate::{
    api::Site,
    config::{AssumeRole, Identity},
    lease::WritePermit,
    runtime::{entropy::Entropy, metrics::Metrics},
};

/// The longest that one attempt of a call may take. The SDK has no limit of its own, and a server that never answers would
/// hold the call for ever (aws.md section 5.4).
const ATTEMPT: Duration = Duration::from_secs(10);

/// What sessions of assumed roles are called: CloudTrail shows it beside every call.
const SESSION: &str = "ami-share-operator";

/// AWS, as the operator's identities see it.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    rate_factor: f64,
    sites: Mutex<HashMap<Site, Reached>>,
    entropy: Entropy,
    metrics: Arc<Metrics>,
    permit: WritePermit,
}

/// The services of AWS in one account and Region.
#[derive(Debug, Clone)]
pub struct Services {
    /// EC2.
    pub ec2: Arc<Ec2>,
    /// KMS.
    pub kms: Arc<Kms>,
    /// EC2, as far as it is about copies of images.
    pub copies: Arc<Copies>,
    /// EC2, as far as it is about what becomes of images.
    pub lifecycle: Arc<Lifecycle>,
}

/// The services in one account and Region, as one definition of the identity reaches it.
#[derive(Debug, Clone)]
struct Reached {
    identity: Identity,
    services: Services,
    proof: Arc<Proof>,
}

impl Aws {
    /// The configuration that every AWS tool reads: environment variables, the shared files, and the credentials
    /// of EKS Pod Identity, IRSA, ECS or the instance. Endpoints come from `AWS_ENDPOINT_URL` and its like.
    pub async fn from_environment() -> SdkConfig {
        aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await
    }

    /// AWS with a given configuration of the SDK.
    /// `rate_factor` is how many times the documented request rates AWS allows each account.
    ///
    /// The SDK does not try calls again by itself: each attempt spends a token of AWS's bucket, so each waits for its turn
    /// ([`Ec2`] tries again). So nothing of the SDK is shared by accounts or Regions in which one could use up what others need.
    pub fn new(sdk: &SdkConfig, rate_factor: f64, entropy: Entropy, metrics: Arc<Metrics>) -> Self {
        // An assumed role expires, which somebody has to notice; the SDK's own loader has set it.
        let time = sdk.time_source().unwrap_or_else(|| SharedTimeSource::new(SystemTimeSource::new()));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build();
        let sdk =
            sdk.to_builder().time_source(time).timeout_config(timeouts).retry_config(RetryConfig::disabled()).build();
        let permit = WritePermit::always();
        Self { sdk, rate_factor, sites: Mutex::default(), entropy, metrics, permit }
    }

    /// The same, of a process that makes calls only while it leads.
    #[must_use]
    pub fn under(self, permit: WritePermit) -> Self {
        Self { permit, ..self }
    }

    /// AWS in a Region, with the credentials of an identity. No call reaches EC2 or KMS before those have been seen to be of the account
    /// that the identity should be in.
    ///
    /// # Errors
    /// When they are of another account, or STS cannot be asked.
    pub async fn reach(&self, site: &Site, identity: &Identity) -> Result<Services, Failure> {
        let known = self.known(site, identity);
        let Reached { services, proof, .. } = match known {
            Some(known) => known,
            None => self.make(site, identity).await,
        };
        proof.check().await?;
        Ok(services)
    }

    /// What has been made for an identity as it is defined now.
    fn known(&self, site: &Site, identity: &Identity) -> Option<Reached> {
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.get(site).filter(|known| known.identity.is_reached_like(identity)).cloned()
    }

    /// Makes what calls are made with. Who comes second uses what the first has made: there is one set of lanes.
    async fn make(&self, site: &Site, identity: &Identity) -> Reached {
        let region = aws_config::Region::new(site.region.to_string());
        let mut sdk = self.sdk.to_builder().region(region.clone()).build();
        if let Some(AssumeRole { role_arn, external_id }) = &identity.assume_role {
            let mut role = AssumeRoleProvider::builder(role_arn.to_string()).session_name(SESSION).configure(&sdk);
            if let Some(external_id) = external_id {
                role = role.external_id(external_id.reveal());
            }
            let credentials = SharedCredentialsProvider::new(role.build().await);
            sdk = sdk.to_builder().credentials_provider(credentials).build();
        }
        let proof = Proof::new(site.clone(), identity, &sdk, Arc::clone(&self.metrics));
        let (mut ec2, mut kms) = (aws_sdk_ec2::config::Builder::from(&sdk), aws_sdk_kms::config::Builder::from(&sdk));
        if self.permit.is_leased() {
            ec2 = ec2.interceptor(Fence(self.permit.clone()));
            kms = kms.interceptor(Fence(self.permit.clone()));
        }
        let calls = |service| Calls {
            service,
            site: site.clone(),
            lanes: Lanes::new(service, site.clone(), self.rate_factor, Arc::clone(&self.metrics)),
            entropy: self.entropy.clone(),
            metrics: Arc::clone(&self.metrics),
            permit: self.permit.clone(),
        };
        let client = aws_sdk_ec2::Client::from_conf(ec2.build());
        let calls_of_ec2 = Arc::new(calls("ec2"));
        let ec2 = Ec2::new(identity.account_id, client.clone(), Arc::clone(&calls_of_ec2));
        let copies = Copies::new(client.clone(), Arc::clone(&calls_of_ec2));
        let lifecycle = Lifecycle::new(client, calls_of_ec2);
        let kms = Kms::new(aws_sdk_kms::Client::from_conf(kms.build()), calls("kms"));
        let (ec2, kms, copies, lifecycle) = (Arc::new(ec2), Arc::new(kms), Arc::new(copies), Arc::new(lifecycle));
        let services = Services { ec2, kms, copies, lifecycle };
        let new = Reached { identity: identity.clone(), services, proof: Arc::new(proof) };
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let there = sites.entry(site.clone()).or_insert_with(|| new.clone());
        if !there.identity.is_reached_like(&new.identity) {
            *there = new;
        }
        there.clone()
    }
}
