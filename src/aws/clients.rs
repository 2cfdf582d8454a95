//! One EC2 client for each Region, made when it is first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::config::retry::RetryPartition;

use super::ec2::Ec2;
use crate::{api::Region, runtime::metrics::Metrics};

/// The longest that one attempt of a call may take. The SDK has no limit of its own, and a server that never answers would
/// hold the call for ever (aws.md section 5.4).
const ATTEMPT: Duration = Duration::from_secs(10);

/// The longest that a call may take with all its attempts.
const CALL: Duration = Duration::from_secs(30);

/// AWS, as the ambient credentials see it.
#[derive(Debug)]
pub struct Aws {
    sdk: SdkConfig,
    regions: Mutex<HashMap<Region, Arc<Ec2>>>,
    metrics: Arc<Metrics>,
}

impl Aws {
    /// The configuration that every AWS tool reads: environment variables, the shared files, and the credentials
    /// of EKS Pod Identity, IRSA, ECS or the instance. Endpoints come from `AWS_ENDPOINT_URL` and its like.
    pub async fn from_environment() -> SdkConfig {
        aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await
    }

    /// AWS with a given configuration of the SDK.
    pub fn new(sdk: &SdkConfig, metrics: Arc<Metrics>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(CALL).build();
        let sdk = sdk.to_builder().timeout_config(timeouts).retry_config(RetryConfig::standard()).build();
        Self { sdk, regions: Mutex::default(), metrics }
    }

    /// EC2 in a Region.
    pub fn ec2(&self, region: &Region) -> Arc<Ec2> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ec2) = regions.get(region) {
            return Arc::clone(ec2);
        }
        let config = aws_sdk_ec2::config::Builder::from(&self.sdk)
            .region(aws_sdk_ec2::config::Region::new(region.to_string()))
            // The SDK shares one budget of retries between all clients of a Region (aws.md section 5.4); ours has a name of
            // its own, so that nothing else in the process can spend it.
            .retry_partition(RetryPartition::new(format!("amishare-{region}")))
            .build();
        let client = aws_sdk_ec2::Client::from_conf(config);
        let ec2 = Arc::new(Ec2::new(region.clone(), client, Arc::clone(&self.metrics)));
        regions.insert(region.clone(), Arc::clone(&ec2));
        ec2
    }
}
