//! The path of every call: who calls, is there a token for it, does a fault strike, what does the action answer, take note
//! of it.
//!
//! One lock is held from the token to the note, so the record has the calls in the order in which they took effect.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::json;

use super::calls::{Call, CallLog};
use super::errors::{self, ApiError};
use super::faults::{FaultKind, Faults};
use super::ids::IdSource;
use super::latency::Latency;
use super::params::Params;
use super::reply::{Delivery, Reply};
use super::request::{Request, Service};
use super::scenario::Throttling;
use super::throttle::Throttle;
use super::world::{Caller, World};
use super::xml::Xml;
use super::{ec2, kms, sts};

const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// What load balancers send when nothing behind them answers.
const WEB_PAGE: &str =
    "<html><head><title>Service Unavailable</title></head><body><h1>Service Unavailable</h1></body></html>\n";

/// Everything that a simulator holds.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) world: World,
    pub(super) faults: Faults,
    pub(super) throttle: Throttle,
    pub(super) latency: Latency,
    pub(super) calls: CallLog,
    request_ids: IdSource,
}

/// What meets a call before its action.
#[derive(Debug)]
enum Obstacle {
    EmptyBucket,
    Fault(FaultKind),
}

impl Obstacle {
    fn fault(&self) -> Option<&FaultKind> {
        match self {
            Self::Fault(fault) => Some(fault),
            Self::EmptyBucket => None,
        }
    }
}

impl Engine {
    /// An engine on this world, which lets every call through and answers at once. Request ids have a source of their own:
    /// reading must not change the ids that the world generates.
    pub(super) fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            faults: Faults::new(seed),
            throttle: Throttle::new(Throttling::default()),
            latency: Latency::new(Duration::ZERO, Duration::ZERO, !seed),
            calls: CallLog::new(),
            request_ids: IdSource::new(!seed),
        }
    }

    /// Answers a call from the wire.
    pub(super) fn answer(&mut self, request: Request) -> Reply {
        let request_id = self.request_ids.uuid();
        let caller = self.identify(&request);
        let obstacle =
            caller.as_ref().ok().and_then(|(caller, region)| self.obstacle(&request, &caller.account, region));
        let fault = obstacle.as_ref().and_then(Obstacle::fault);
        let result = match (&caller, &obstacle) {
            (Err(refusal), _) => Err(refusal.clone()),
            (Ok(_), Some(Obstacle::EmptyBucket)) => Err(throttled(request.service)),
            (Ok((caller, region)), _) => match fault.and_then(|fault| self.refusal_of(fault, &request, caller, region))
            {
                Some(refusal) => Err(refusal),
                None if fault == Some(&FaultKind::ResetBefore) => Ok(String::new()),
                None => self.execute(request.service, caller, region, &request.action, &request.params, &request_id),
            },
        };
        let code = result.as_ref().err().map(|error| error.code.clone());
        let mut reply = reply(request.service, result, fault, &request_id);
        reply.delay = self.latency.next().saturating_add(reply.delay);

        let is_answered = reply.delivery != Delivery::Reset;
        let has_code = is_answered && !matches!(fault, Some(FaultKind::ServerError { html: true, .. }));
        let status = if is_answered { reply.status } else { 0 };
        let (account, region) = match caller {
            Ok((caller, region)) => (caller.account, region),
            Err(_) => (String::new(), request.credential.map(|credential| credential.region).unwrap_or_default()),
        };
        tracing::debug!(account, region, action = request.action, status, code = code.as_deref(), "call");
        self.calls.record(Call {
            time: self.world.now(),
            account,
            region,
            action: request.action,
            params: request.params.into_map(),
            status,
            code: code.filter(|_| has_code).map(Cow::into_owned),
            throttled: matches!(obstacle, Some(Obstacle::EmptyBucket)),
            fault: fault.map(FaultKind::name),
            attempt: request.attempt,
            invocation: request.invocation,
        });
        reply
    }

    /// What stands between the call and its action. A call that finds its bucket empty meets no fault; one that is lost on
    /// the way takes no token.
    fn obstacle(&mut self, request: &Request, account: &str, region: &str) -> Option<Obstacle> {
        let Request { service, action, params, .. } = request;
        let has_bucket = match service {
            Service::Ec2 => ec2::action_names().any(|name| name == action),
            Service::Kms => kms::action_names().any(|name| name == action),
            // AWS documents none.
            Service::Sts => false,
        };
        let mut bucket = None;
        if has_bucket && self.world.regions.contains_key(region) {
            bucket = self.throttle.bucket(account, region, action, params);
        }
        if bucket.as_ref().is_some_and(|bucket| !bucket.has_token()) {
            return Some(Obstacle::EmptyBucket);
        }
        let fault = self.faults.strike(account, region, action);
        if let Some(bucket) = bucket
            && fault != Some(FaultKind::ResetBefore)
        {
            bucket.take();
        }
        fault.map(Obstacle::Fault)
    }

    /// The refusal with which a fault answers, if it is one.
    fn refusal_of(&self, fault: &FaultKind, request: &Request, caller: &Caller, region: &str) -> Option<ApiError> {
        let Request { action, params, .. } = request;
        if *fault == FaultKind::AccessDenied && AFTER_OWNERSHIP.contains(&action.as_str()) {
            let id = params.get("SnapshotId").unwrap_or_default();
            let owner = self.world.snapshot(region, id).map(|snapshot| snapshot.owner.as_str());
            if owner != Some(caller.account.as_str()) {
                return Some(errors::snapshot_not_found(id));
            }
        }
        refusal_of(fault, request, caller)
    }

    /// Executes a call of an actor that is not on the wire: no fault, no note.
    pub(super) fn act(
        &mut self,
        account: &str,
        region: &str,
        action: &str,
        params: &Params,
    ) -> Result<String, ApiError> {
        let service = match action {
            _ if sts::has_action(action) => Service::Sts,
            _ if kms::action_names().any(|name| name == action) => Service::Kms,
            _ => Service::Ec2,
        };
        let request_id = self.request_ids.uuid();
        self.execute(service, &Caller::of_account(account), region, action, params, &request_id)
    }

    /// Who calls, and in which Region.
    fn identify(&self, request: &Request) -> Result<(Caller, String), ApiError> {
        let credential = request.credential.as_ref().map_err(Clone::clone)?;
        let caller = self.world.authenticate(credential).map_err(|refusal| match request.service {
            Service::Kms => errors::in_words_of_kms(refusal),
            Service::Ec2 | Service::Sts => refusal,
        })?;
        Ok((caller, credential.region.clone()))
    }

    /// The answer's body, or the refusal.
    fn execute(
        &mut self,
        service: Service,
        caller: &Caller,
        region: &str,
        action: &str,
        params: &Params,
        request_id: &str,
    ) -> Result<String, ApiError> {
        self.world.go_on_copying();
        let mut body = Xml::new();
        match service {
            Service::Ec2 if self.world.disabled_regions.contains(region) => Err(errors::opt_in_required(region)),
            Service::Ec2 if !self.world.regions.contains_key(region) => Err(errors::invalid_region(region)),
            Service::Kms if !self.world.regions.contains_key(region) => Err(errors::kms_unrecognized()),
            // The Region of STS's global endpoint is `us-east-1`, which the scenario need not have.
            Service::Sts if self.world.disabled_regions.contains(region) => Err(errors::region_disabled()),
            Service::Ec2 => {
                let content = ec2::execute(&mut self.world, caller, region, action, params)?;
                body.text("requestId", request_id);
                body.append(&content);
                Ok(body.into_document(&format!("{action}Response"), EC2_NAMESPACE))
            }
            Service::Kms => {
                let content = kms::execute(&mut self.world, caller, region, action, params)?;
                Ok(content.to_string())
            }
            Service::Sts => {
                let content = sts::execute(&mut self.world, caller, action, params)?;
                body.element(&format!("{action}Result"), |result| result.append(&content));
                body.element("ResponseMetadata", |metadata| metadata.text("RequestId", request_id));
                Ok(body.into_document(&format!("{action}Response"), STS_NAMESPACE))
            }
        }
    }
}

/// What IAM's refusal comes after: for snapshots, EC2 looks at what is there and whose it is first \[C, aws.md section 1.0\].
const AFTER_OWNERSHIP: [&str; 3] = ["DescribeSnapshotAttribute", "ModifySnapshotAttribute", "ResetSnapshotAttribute"];

/// The error that the fault answers with in place of the action; none for faults that are about the connection.
fn refusal_of(fault: &FaultKind, request: &Request, caller: &Caller) -> Option<ApiError> {
    let action = &request.action;
    match (fault, request.service) {
        (FaultKind::Throttle, service) => Some(throttled(service)),
        (FaultKind::AccessDenied, Service::Ec2) => Some(errors::unauthorized_operation(&caller.arn, action)),
        (FaultKind::AccessDenied, Service::Kms) => {
            Some(errors::kms_access_denied(&caller.arn, action, request.params.get("KeyId")))
        }
        (FaultKind::AccessDenied, Service::Sts) => {
            Some(errors::access_denied(&caller.arn, action, request.params.get("RoleArn").unwrap_or("*")))
        }
        (FaultKind::ServerError { status, .. }, Service::Kms) => Some(errors::kms_internal(*status)),
        (FaultKind::ServerError { status, .. }, _) => Some(errors::server_error(*status)),
        (FaultKind::Error { status, code, message }, _) => Some(ApiError::new(*status, code.clone(), message.clone())),
        (FaultKind::Delay { .. } | FaultKind::Stall | FaultKind::ResetBefore | FaultKind::ResetAfter, _) => None,
    }
}

/// How each service says that there are too many calls.
fn throttled(service: Service) -> ApiError {
    match service {
        Service::Ec2 => errors::request_limit_exceeded(),
        Service::Kms => errors::kms_throttling(),
        Service::Sts => errors::throttling(),
    }
}

/// The result as it goes over the wire, in the way that the fault lets it.
fn reply(service: Service, result: Result<String, ApiError>, fault: Option<&FaultKind>, request_id: &str) -> Reply {
    let mut reply = match result {
        Ok(body) if service == Service::Kms => Reply::json(200, body, request_id),
        Ok(body) => Reply::xml(200, body, request_id),
        Err(error) if matches!(fault, Some(FaultKind::ServerError { html: true, .. })) => {
            Reply::web_page(error.status, WEB_PAGE, request_id)
        }
        Err(ApiError { status, code, message }) if service == Service::Kms => {
            Reply::json(status, json!({"__type": code, "message": message}).to_string(), request_id)
        }
        Err(error) => Reply::xml(error.status, error_document(service, &error, request_id), request_id),
    };
    reply.delay = fault.and_then(FaultKind::delay).unwrap_or_default();
    reply.delivery = match fault {
        Some(FaultKind::ResetBefore | FaultKind::ResetAfter) => Delivery::Reset,
        Some(FaultKind::Stall) => Delivery::Stall,
        _ => Delivery::Whole,
    };
    reply
}

/// The services that speak XML have different forms of errors (aws.md section 5.2).
fn error_document(service: Service, error: &ApiError, request_id: &str) -> String {
    let mut body = Xml::new();
    let code_and_message = |inner: &mut Xml| {
        inner.text("Code", &error.code);
        inner.text("Message", &error.message);
    };
    match service {
        Service::Ec2 => {
            body.element("Errors", |errors| errors.element("Error", code_and_message));
            body.text("RequestID", request_id);
            body.into_plain_document("Response")
        }
        Service::Kms | Service::Sts => {
            body.element("Error", |inner| {
                inner.text("Type", if error.status < 500 { "Sender" } else { "Receiver" });
                code_and_message(inner);
            });
            body.text("RequestId", request_id);
            body.into_document("ErrorResponse", STS_NAMESPACE)
        }
    }
}
