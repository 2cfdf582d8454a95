//! The policy of a process: what the flags and the configuration file say together, and following the file.

use std::{convert::Infallible, sync::Arc};

use super::RunArgs;
use crate::{
    config::{ConfigError, Configuration, reload::Followed},
    runtime::metrics::Metrics,
    share::{
        live::{Enact, Live},
        policy::Policy,
    },
};

/// The policy in force, and where the next one comes from.
pub(super) struct Rules {
    /// The policy in force.
    pub live: Live,
    enact: Enact,
    flags: Policy,
    followed: Option<Followed>,
}

impl Rules {
    /// The rules that a process starts with.
    ///
    /// # Errors
    /// When there is a configuration file and it cannot be used.
    pub fn of(args: &RunArgs) -> Result<Self, ConfigError> {
        let flags = Policy {
            allow_public: args.allow_public_sharing,
            launch_permission_quota: args.launch_permission_quota,
            guardrails: Vec::new(),
        };
        let (first, followed) = match &args.config {
            Some(path) => {
                let (configuration, followed) = Followed::open(path)?;
                (configuration, Some(followed))
            }
            None => (Configuration::default(), None),
        };
        let (enact, live) = Live::new(with(&flags, first));
        Ok(Self { live, enact, flags, followed })
    }

    /// Follows the configuration file for ever: what it says is put in force when it changes, and what it cannot say is told.
    pub async fn follow(self, metrics: Arc<Metrics>) -> Infallible {
        let Some(mut followed) = self.followed else { return std::future::pending().await };
        loop {
            match followed.changed().await {
                Ok(configuration) => {
                    let rules = configuration.guardrails.len();
                    tracing::info!(rules, "the configuration file has changed; every image is looked at again");
                    metrics.configuration_is_valid(true);
                    self.enact.enact(with(&self.flags, configuration));
                }
                Err(error) => {
                    tracing::error!(%error, "the configuration file cannot be used; the last good one stays in force");
                    metrics.configuration_is_valid(false);
                }
            }
        }
    }
}

/// What the flags and the file say together.
fn with(flags: &Policy, Configuration { guardrails }: Configuration) -> Policy {
    Policy { guardrails, ..flags.clone() }
}
