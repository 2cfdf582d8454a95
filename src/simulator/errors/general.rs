//! Errors that any action can answer with: identity, permission, throttling, and the simulator's own limits.

use super::ApiError;

/// No `Authorization` header. In the list of account- and clock-level codes \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn missing_authentication_token() -> ApiError {
    ApiError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
}

/// An `Authorization` header without a readable credential scope \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn incomplete_signature() -> ApiError {
    ApiError::client(
        "IncompleteSignature",
        "The request signature does not conform to AWS standards: Authorization header requires 'Credential' parameter.",
    )
}

/// Credentials of no account that exists \[D, section 1.1\]; status and text are chosen.
pub(in crate::simulator) fn invalid_client_token_id() -> ApiError {
    ApiError::new(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

/// The session's credentials have expired \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn request_expired() -> ApiError {
    ApiError::client("RequestExpired", "Request has expired.")
}

/// The Region is one that must be opted in to, and the account has not \[D, section 1.1\]; status and text are chosen.
pub(in crate::simulator) fn opt_in_required(region: &str) -> ApiError {
    ApiError::new(401, "OptInRequired", format!("You are not subscribed to this service in the Region {region}."))
}

/// IAM says no, to an EC2 call \[C, section 1.0\].
pub(in crate::simulator) fn unauthorized_operation(caller: &str, action: &str) -> ApiError {
    ApiError::new(
        403,
        "UnauthorizedOperation",
        format!(
            "You are not authorized to perform this operation. User: {caller} is not authorized to perform: ec2:{action} on \
             resource: * because no identity-based policy allows the ec2:{action} action. Encoded authorization failure \
             message: c2ltdWxhdGVk"
        ),
    )
}

/// IAM or the role's trust policy says no, to an STS call \[T shape, section 1.12\]; the text follows the form of EC2's.
pub(in crate::simulator) fn access_denied(caller: &str, action: &str, resource: &str) -> ApiError {
    ApiError::new(
        403,
        "AccessDenied",
        format!("User: {caller} is not authorized to perform: sts:{action} on resource: {resource}"),
    )
}

/// EC2's throttle. Code and status 503 are \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn request_limit_exceeded() -> ApiError {
    ApiError::new(503, "RequestLimitExceeded", "Request limit exceeded.")
}

/// STS's throttle, with the code that every SDK treats as one \[T, section 5.4\]; the text is chosen.
pub(in crate::simulator) fn throttling() -> ApiError {
    ApiError::client("Throttling", "Rate exceeded")
}

/// The service failed: 503 is `Unavailable`, everything else `InternalError` \[D, section 1.1\]; the texts are chosen.
pub(in crate::simulator) fn server_error(status: u16) -> ApiError {
    if status == 503 {
        ApiError::new(status, "Unavailable", "The server is overloaded and can't handle the request.")
    } else {
        ApiError::new(status, "InternalError", "An internal error has occurred")
    }
}

/// The answer to a dry run that would have worked. The status 412 is \[T, D code, section 1.0\]; the text is chosen.
pub(in crate::simulator) fn dry_run_operation() -> ApiError {
    ApiError::new(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
}

/// An action that the simulator does not serve, in the words that AWS has for one that does not exist.
pub(in crate::simulator) fn invalid_action(action: &str) -> ApiError {
    ApiError::client("InvalidAction", format!("The action {action} is not valid for this web service."))
}

/// AWS takes this parameter, the simulator does not: better refused than ignored, for it would change the answer.
pub(in crate::simulator) fn simulator_lacks(what: &str) -> ApiError {
    ApiError::client("UnsupportedOperation", format!("The simulator does not implement {what}."))
}
