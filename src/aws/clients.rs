//! One EC2 client for each Region, made when it is first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};

use super::{ec2::Ec2, fence::Fence, lanes::Lanes};
use crate::{
    api::Region,
    lease::WritePermit,
    runtime::{entropy::Entropy, metrics::Metrics},
};

/// The longest that one attempt of a call may take. The SDK has no limit of its own, and a server that never answers would
/// hold the call for ever (aws.md section 5.4).
const ATTEMPT: Duration = Duration::from_secs(10);

/// AWS, as the ambient credentials see it.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    rate_factor: f64,
    regions: Mutex<HashMap<Region, Arc<Ec2>>>,
    entropy: Entropy,
    metrics: Arc<Metrics>,
    permit: WritePermit,
}

impl Aws {
    /// The configuration that every AWS tool reads: environment variables, the shared files, and the credentials
    /// of EKS Pod Identity, IRSA, ECS or the instance. Endpoints come from `AWS_ENDPOINT_URL` and its like.
    pub async fn from_environment() -> SdkConfig {
        aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await
    }

    /// AWS with a given configuration of the SDK.
    /// `rate_factor` is how many times the documented request rates AWS allows the account.
    ///
    /// The SDK does not try calls again by itself: each attempt spends a token of AWS's bucket, so each waits for its turn
    /// ([`Ec2`] tries again).
    pub fn new(sdk: &SdkConfig, rate_factor: f64, entropy: Entropy, metrics: Arc<Metrics>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build();
        let sdk = sdk.to_builder().timeout_config(timeouts).retry_config(RetryConfig::disabled()).build();
        let permit = WritePermit::always();
        Self { sdk, rate_factor, regions: Mutex::default(), entropy, metrics, permit }
    }

    /// The same, of a process that makes calls only while it leads.
    #[must_use]
    pub fn under(self, permit: WritePermit) -> Self {
        Self { permit, ..self }
    }

    /// EC2 in a Region.
    pub fn ec2(&self, region: &Region) -> Arc<Ec2> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ec2) = regions.get(region) {
            return Arc::clone(ec2);
        }
        let mut config =
            aws_sdk_ec2::config::Builder::from(&self.sdk).region(aws_sdk_ec2::config::Region::new(region.to_string()));
        if self.permit.is_leased() {
            config = config.interceptor(Fence(self.permit.clone()));
        }
        let client = aws_sdk_ec2::Client::from_conf(config.build());
        let lanes = Lanes::new(region.clone(), self.rate_factor, Arc::clone(&self.metrics));
        let ec2 = Ec2::new(
            region.clone(),
            client,
            lanes,
            self.entropy.clone(),
            Arc::clone(&self.metrics),
            self.permit.clone(),
        );
        let ec2 = Arc::new(ec2);
        regions.insert(region.clone(), Arc::clone(&ec2));
        ec2
    }
}
