//! Calls to one service of AWS in one account and Region.
//!
//! Every call passes through here: it waits for its turn, is timed, has its errors turned into [`Failure`]s, and is tried again where
//! that may go better. Knows nothing of what is called.

use std::{future::Future, sync::Arc, time::Duration};

use aws_smithy_runtime_api::http::Response;
use tokio::time::Instant;

use super::{
    action::Action,
    failed::{ProvideErrorMetadata, SdkError, failure},
    failure::{Class, Failure},
    lanes::Lanes,
};
use crate::{
    api::Site,
    lease::WritePermit,
    runtime::{agenda::Urgency, entropy::Entropy, metrics::Metrics},
};

/// How often a call is tried that gets no answer, or a server error.
const ATTEMPTS: u32 = 3;

/// How often a call is tried that AWS answers with too many requests. Each of them waits in a lane that has become slower.
const ATTEMPTS_THROTTLED: u32 = 8;

/// The longest that a call waits for its turn. Only a lane that AWS keeps refusing is that slow: sixty images share the lane of a
/// Region, at five calls a second.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The longest wait before the second attempt at what got no answer. It doubles with each.
const BACKOFF: Duration = Duration::from_secs(1);

/// Whether what a change was decided on holds still.
pub type Holds<'a> = dyn Fn() -> bool + Sync + 'a;

/// What calls to one service are made with.
#[derive(Debug)]
pub(super) struct Calls {
    /// The service, as metrics name it.
    pub(super) service: &'static str,
    /// Where it is called.
    pub(super) site: Site,
    /// Its request lanes.
    pub(super) lanes: Lanes,
    /// How long to wait before another attempt.
    pub(super) entropy: Entropy,
    /// Where calls are counted.
    pub(super) metrics: Arc<Metrics>,
    /// Whether calls may be made.
    pub(super) permit: WritePermit,
}

impl Calls {
    /// Makes one call: waits for its turn, and tries again what may go better. What AWS refuses for any other reason is for the
    /// caller to deal with.
    pub(super) async fn make<T, E, Fut>(
        &self,
        action: Action,
        urgency: Urgency,
        send: impl Fn() -> Fut,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        self.make_if(action, urgency, &|| true, send).await
    }

    /// The same, of a call that is made only as long as `holds` says so.
    pub(super) async fn make_if<T, E, Fut>(
        &self,
        action: Action,
        urgency: Urgency,
        holds: &Holds<'_>,
        send: impl Fn() -> Fut,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        let operation = action.name();
        let (mut unanswered, mut throttled) = (0, 0);
        loop {
            let failure = match self.attempt(operation, urgency, holds, &send).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tracing::debug!(operation, site = %self.site, %failure, "call to AWS failed");
            match failure.class {
                // Who has had no turn has waited long enough for somebody to be told.
                Class::Throttled if failure.code.is_some() && throttled + 1 < ATTEMPTS_THROTTLED => throttled += 1,
                // Every change is one that can be made twice.
                Class::Unavailable if unanswered + 1 < ATTEMPTS => {
                    let longest = BACKOFF * 2u32.pow(unanswered);
                    tokio::time::sleep(longest.mul_f64(self.entropy.unit())).await;
                    unanswered += 1;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn attempt<T, E, Fut>(
        &self,
        operation: &'static str,
        urgency: Urgency,
        holds: &Holds<'_>,
        send: impl Fn() -> Fut,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        let Ok(turn) = tokio::time::timeout(LONGEST_WAIT, self.lanes.enter(operation, urgency)).await else {
            return Err(Failure::without_a_turn(operation, LONGEST_WAIT));
        };
        if !holds() {
            return Err(Failure::overtaken(operation));
        }
        let started = Instant::now();
        let result = match self.permit.within(send()).await {
            Ok(result) => result.map_err(|error| failure(operation, &error)),
            Err(not_leading) => return Err(Failure::unanswered(operation, not_leading.to_string())),
        };
        let code = match &result {
            Ok(_) => "OK",
            Err(failure) => failure.code.as_deref().unwrap_or("none"),
        };
        self.metrics.aws_request(self.service, operation, &self.site, code, started.elapsed());
        match &result {
            Err(failure) if failure.class == Class::Throttled => turn.refused(),
            Ok(_) => turn.answered(),
            Err(failure) if failure.code.is_some() => turn.answered(),
            Err(_) => {}
        }
        result
    }
}
