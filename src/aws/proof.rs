//! Proof that credentials are those of the account that the operator's configuration says they are.
//!
//! A role or a profile that is not whose it should be would have one company's images shared as if they were another's.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use tokio::{sync::Mutex, time::Instant};

use super::{
    failed::{NO_CREDENTIALS, failure},
    failure::{Class, Failure, WHO},
};
use crate::{
    api::{AccountId, Site},
    config::{Identity, RoleArn},
    runtime::metrics::Metrics,
};

/// How long a failure is remembered: everything in the account asks at once, and one answer is enough for all.
const REMEMBERED: Duration = Duration::from_secs(5);

/// How long it is believed. Credentials that are renewed can have become another account's; images of another one are not touched in
/// the meantime either ([`Ec2::account`](super::Ec2::account)).
const BELIEVED: Duration = Duration::from_mins(15);

/// What is known of the credentials for one account and Region.
#[derive(Debug)]
pub(super) struct Proof {
    site: Site,
    sts: aws_sdk_sts::Client,
    expected: Option<AccountId>,
    role: Option<RoleArn>,
    known: Mutex<Known>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum Known {
    /// Nobody has asked.
    Nothing,
    /// There is nothing to compare.
    Whatever,
    Good(Instant),
    Bad(Instant, Failure),
}

impl Proof {
    /// Nothing is asked yet. `sdk` has the credentials and the Region.
    pub(super) fn new(site: Site, identity: &Identity, sdk: &SdkConfig, metrics: Arc<Metrics>) -> Self {
        let known = Mutex::new(if identity.account_id.is_some() { Known::Nothing } else { Known::Whatever });
        let role = identity.assume_role.as_ref().map(|role| role.role_arn.clone());
        Self { site, sts: aws_sdk_sts::Client::new(sdk), expected: identity.account_id, role, known, metrics }
    }

    /// Whether the credentials are whose they should be. AWS is asked now and then, and again and again as long as its answer is another.
    ///
    /// # Errors
    /// When they are not, or AWS cannot be asked.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let mut known = self.known.lock().await;
        match &*known {
            Known::Whatever => return Ok(()),
            Known::Good(since) if since.elapsed() < BELIEVED => return Ok(()),
            Known::Bad(since, failure) if since.elapsed() < REMEMBERED => return Err(failure.clone()),
            Known::Nothing | Known::Good(_) | Known::Bad(..) => {}
        }
        let was_good = matches!(*known, Known::Good(_));
        match self.ask().await {
            // Nobody has said anything else.
            Err(failure) if was_good && matches!(failure.class, Class::Unavailable | Class::Throttled) => {
                tracing::warn!(site = %self.site, %failure, "whose credentials these are could not be asked again");
                *known = Known::Good(Instant::now());
                Ok(())
            }
            Err(failure) => {
                *known = Known::Bad(Instant::now(), failure.clone());
                Err(failure)
            }
            Ok(()) => {
                *known = Known::Good(Instant::now());
                Ok(())
            }
        }
    }

    async fn ask(&self) -> Result<(), Failure> {
        let started = Instant::now();
        let answer = self.sts.get_caller_identity().send().await.map_err(|error| failure(WHO, &error));
        let code = match &answer {
            Ok(_) => "OK",
            Err(failure) => failure.code.as_deref().unwrap_or("none"),
        };
        self.metrics.aws_request("sts", WHO, &self.site, code, started.elapsed());
        let name = &self.site.identity;
        let answer = answer.map_err(|failure| match (&self.role, failure.class) {
            // The answer to a call that nobody has heard of says little: what failed is to assume the role.
            (Some(role), Class::AccessDenied) => Failure::wrong_identity(format!(
                "the identity {name} cannot assume {role}: {}; see to the role's trust policy, its external id, and that the operator's \
                 own role may sts:AssumeRole it",
                failure.message.trim_start_matches(NO_CREDENTIALS)
            )),
            _ => failure,
        })?;
        let found: Option<AccountId> = answer.account().and_then(|account| account.parse().ok());
        if found.is_some() && found == self.expected {
            tracing::info!(site = %self.site, account = answer.account(), "the identity is who it should be");
            return Ok(());
        }
        let account = |account: Option<AccountId>| account.map_or_else(|| "unknown".into(), |a| a.to_string());
        Err(Failure::wrong_identity(format!(
            "the credentials of the identity {name} are of account {}, and it should be in account {}; nothing is done with them: \
             correct the operator's configuration or its credentials",
            account(found),
            account(self.expected)
        )))
    }
}
