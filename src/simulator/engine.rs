//! The path of every call: who calls, does a fault strike, what does the action answer, take note of it.
//!
//! One lock is held from the fault's draw to the note, so the record has the calls in the order in which they took effect.

use super::calls::{Call, CallLog};
use super::errors::{self, ApiError};
use super::faults::{FaultKind, Faults};
use super::ids::IdSource;
use super::params::Params;
use super::reply::{Delivery, Reply};
use super::request::{Request, Service};
use super::world::{Caller, World};
use super::xml::Xml;
use super::{ec2, sts};

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
    pub(super) calls: CallLog,
    request_ids: IdSource,
}

impl Engine {
    /// An engine on this world. Request ids have a source of their own: reading must not change the ids that the world
    /// generates.
    pub(super) fn new(world: World, seed: u64) -> Self {
        Self { world, faults: Faults::new(seed), calls: CallLog::new(), request_ids: IdSource::new(!seed) }
    }

    /// Answers a call from the wire.
    pub(super) fn answer(&mut self, request: &Request) -> Reply {
        let request_id = self.request_ids.uuid();
        let caller = self.identify(request);
        let fault = caller
            .as_ref()
            .ok()
            .and_then(|(caller, region)| self.faults.strike(&caller.account, region, &request.action));
        let result = match (&caller, &fault) {
            (Err(refusal), _) => Err(refusal.clone()),
            (Ok((caller, region)), fault) => {
                match fault.as_ref().and_then(|fault| refusal_of(fault, request, caller)) {
                    Some(refusal) => Err(refusal),
                    None if fault == &Some(FaultKind::ResetBefore) => Ok(String::new()),
                    None => {
                        self.execute(request.service, caller, region, &request.action, &request.params, &request_id)
                    }
                }
            }
        };
        let reply = reply(request.service, &result, fault.as_ref(), &request_id);
        let (account, region) = match &caller {
            Ok((caller, region)) => (caller.account.clone(), region.clone()),
            Err(_) => (String::new(), request.credential.as_ref().map_or_else(|_| String::new(), |c| c.region.clone())),
        };
        let is_answered = reply.delivery != Delivery::Reset;
        let code = result.err().map(|error| error.code.into_owned());
        let has_code = is_answered && !matches!(fault, Some(FaultKind::ServerError { html: true, .. }));
        let status = if is_answered { reply.status } else { 0 };
        tracing::debug!(account, region, action = request.action, status, code, "call");
        self.calls.record(Call {
            time: self.world.now(),
            account,
            region,
            action: request.action.clone(),
            params: request.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            status,
            code: code.filter(|_| has_code),
            fault: fault.as_ref().map(FaultKind::name),
            attempt: request.attempt,
            invocation: request.invocation.clone(),
        });
        reply
    }

    /// Executes a call of an actor that is not on the wire: no fault, no note.
    pub(super) fn act(
        &mut self,
        account: &str,
        region: &str,
        action: &str,
        params: &Params,
    ) -> Result<String, ApiError> {
        let service = if sts::has_action(action) { Service::Sts } else { Service::Ec2 };
        let request_id = self.request_ids.uuid();
        self.execute(service, &Caller::of_account(account), region, action, params, &request_id)
    }

    /// Who calls, and in which Region.
    fn identify(&self, request: &Request) -> Result<(Caller, String), ApiError> {
        let credential = request.credential.clone()?;
        let caller = self.world.authenticate(&credential)?;
        Ok((caller, credential.region))
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
        let mut body = Xml::new();
        match service {
            Service::Ec2 if self.world.disabled_regions.contains(region) => Err(errors::opt_in_required(region)),
            Service::Ec2 if !self.world.regions.contains_key(region) => Err(errors::invalid_region(region)),
            // The Region of STS's global endpoint is `us-east-1`, which the scenario need not have.
            Service::Sts if self.world.disabled_regions.contains(region) => Err(errors::region_disabled()),
            Service::Ec2 => {
                let content = ec2::execute(&mut self.world, caller, region, action, params)?;
                body.text("requestId", request_id);
                body.append(&content);
                Ok(body.into_document(&format!("{action}Response"), EC2_NAMESPACE))
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

/// The error that the fault answers with in place of the action; none for faults that are about the connection.
fn refusal_of(fault: &FaultKind, request: &Request, caller: &Caller) -> Option<ApiError> {
    let action = &request.action;
    match (fault, request.service) {
        (FaultKind::Throttle, Service::Ec2) => Some(errors::request_limit_exceeded()),
        (FaultKind::Throttle, Service::Sts) => Some(errors::throttling()),
        (FaultKind::AccessDenied, Service::Ec2) => Some(errors::unauthorized_operation(&caller.arn, action)),
        (FaultKind::AccessDenied, Service::Sts) => {
            Some(errors::access_denied(&caller.arn, action, request.params.get("RoleArn").unwrap_or("*")))
        }
        (FaultKind::ServerError { status, .. }, _) => Some(errors::server_error(*status)),
        (FaultKind::Error { status, code, message }, _) => Some(ApiError::new(*status, code.clone(), message.clone())),
        (FaultKind::Delay { .. } | FaultKind::Stall | FaultKind::ResetBefore | FaultKind::ResetAfter, _) => None,
    }
}

/// The result as it goes over the wire, in the way that the fault lets it.
fn reply(service: Service, result: &Result<String, ApiError>, fault: Option<&FaultKind>, request_id: &str) -> Reply {
    let delivery = match fault {
        Some(FaultKind::ResetBefore | FaultKind::ResetAfter) => Delivery::Reset,
        Some(FaultKind::Stall) => Delivery::Stall,
        Some(fault) => fault.delay().map_or(Delivery::Whole, Delivery::Late),
        None => Delivery::Whole,
    };
    let (status, body) = match result {
        Ok(body) => (200, body.clone()),
        Err(error) if matches!(fault, Some(FaultKind::ServerError { html: true, .. })) => {
            return Reply::web_page(error.status, WEB_PAGE, request_id, delivery);
        }
        Err(error) => (error.status, error_document(service, error, request_id)),
    };
    Reply::xml(status, body, request_id, delivery)
}

/// The two services have different forms of errors (aws.md section 5.2).
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
        Service::Sts => {
            body.element("Error", |inner| {
                inner.text("Type", if error.status < 500 { "Sender" } else { "Receiver" });
                code_and_message(inner);
            });
            body.text("RequestId", request_id);
            body.into_document("ErrorResponse", STS_NAMESPACE)
        }
    }
}
