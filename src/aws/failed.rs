//! Errors of the SDK in the operator's words.
//!
//! Pure. The only module that takes the SDK's errors apart; what follows from them is in [`failure`](super::failure).

use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::http::Response;

use super::failure::Failure;

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
            let mut root: &dyn std::error::Error = other;
            while let Some(source) = root.source() {
                root = source;
            }
            let cause: String = root.to_string().chars().take(300).collect();
            let text = DisplayErrorContext(other).to_string();
            if text.to_ascii_lowercase().contains("credential") {
                let message = format!("no AWS credentials could be loaded: {cause}");
                return Failure { code: None, ..Failure::answered(operation, "AccessDenied", &message) };
            }
            Failure::unanswered(operation, format!("AWS could not be reached: {cause}"))
        }
    }
}
