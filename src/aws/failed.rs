//! Errors of the SDK in the operator's words.
//!
//! Pure. The only module that takes the SDK's errors apart; what follows from them is in [`failure`](super::failure).

use aws_sdk_ec2::error::{DisplayErrorContext, ErrorMetadata};
pub(super) use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::http::Response;

use super::failure::Failure;

/// What begins the message of a call for which there are no credentials.
pub(super) const NO_CREDENTIALS: &str = "no AWS credentials could be loaded: ";

/// An SDK error in the operator's words.
pub(super) fn failure<E>(operation: &'static str, error: &SdkError<E, Response>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            if let Some(code) = context.err().code() {
                let failure = Failure::answered(operation, code, context.err().message().unwrap_or_default());
                return if status < 500 { failure } else { failure.with_server_error() };
            }
            // A proxy or a load balancer, not AWS itself: the status is all that can be understood.
            let code = if status < 500 { "AccessDenied" } else { "InternalError" };
            Failure { code: None, ..Failure::answered(operation, code, &format!("HTTP status {status}")) }
        }
        SdkError::TimeoutError(_) => Failure::unanswered(operation, "AWS did not answer in time"),
        SdkError::ResponseError(_) => {
            Failure::unanswered(operation, "the answer of AWS was cut off or could not be read")
        }
        other => {
            // The outer errors only say that there was one.
            let mut root: &(dyn std::error::Error + 'static) = other;
            while let Some(source) = root.source() {
                root = source;
            }
            let cause = match root.downcast_ref::<ErrorMetadata>() {
                // What STS answers is told in its words.
                Some(answer) => {
                    format!("{}: {}", answer.code().unwrap_or("error"), answer.message().unwrap_or_default())
                }
                None => root.to_string(),
            };
            let text = DisplayErrorContext(other).to_string();
            if text.to_ascii_lowercase().contains("credential") {
                let message = format!("{NO_CREDENTIALS}{}", credentials(&cause));
                return Failure { code: None, ..Failure::answered(operation, "AccessDenied", &message) };
            }
            let cause: String = cause.chars().take(300).collect();
            Failure::unanswered(operation, format!("AWS could not be reached: {cause}"))
        }
    }
}

/// Why there are no credentials, in words that stay the same and help. The SDK's name every place in which it has looked, and what is
/// wrong with a profile only to whoever asks first.
fn credentials(cause: &str) -> String {
    let of_profile = ["already taken", "profile `", "ProfileFile provider"].iter().any(|words| cause.contains(words));
    if of_profile {
        return "the profile cannot be used; check AWS_PROFILE and the shared configuration files of AWS (the operator's log has what \
                the SDK says of them)"
            .into();
    }
    if cause.contains("no credentials found in chain") {
        return "there are none in the environment, in a profile, for the Pod's service account, or from the instance; give the service \
                account a role (EKS Pod Identity or IRSA), or set AWS_PROFILE"
            .into();
    }
    // Not cut: what differs from answer to answer would no longer be recognised.
    cause.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_profile_reads_the_same_the_first_time_and_after_that() {
        let first = "no credentials found in chain. Attempted: Environment: the credential provider was not enabled: environment variable \
                     not set Profile: the credential provider was not enabled: profile `nosuch` was not defined";
        let later = "profile file credentials provider initialization error already taken";
        assert!(credentials(first).contains("check AWS_PROFILE"));
        assert_eq!(credentials(first), credentials(later));
    }

    #[test]
    fn who_has_no_credentials_at_all_is_told_where_to_get_some() {
        let none = "no credentials found in chain. Attempted: Environment: the credential provider was not enabled";
        assert!(credentials(none).contains("EKS Pod Identity or IRSA"), "{}", credentials(none));
    }
}
