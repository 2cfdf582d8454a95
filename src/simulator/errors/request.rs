//! Errors about the form of a request: parameters, filters, pages.

use std::fmt::Display;

use super::ApiError;

/// A parameter that the action does not have. The code is in AWS's list of client errors; the text is chosen.
pub(in crate::simulator) fn unknown_parameter(name: &str) -> ApiError {
    ApiError::client("UnknownParameter", format!("The parameter {name} is not recognized"))
}

/// A parameter that has to be there is not. The code is in AWS's list of client errors; the text is chosen.
pub(in crate::simulator) fn missing_parameter(name: &str) -> ApiError {
    ApiError::client("MissingParameter", format!("The request must contain the parameter {name}"))
}

/// Any other value that an action cannot take \[D code\]; the callers choose the text where the reference has none.
pub(in crate::simulator) fn invalid_parameter_value(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterValue", message)
}

/// Parameters that do not go together; the callers give the text.
pub(in crate::simulator) fn invalid_parameter_combination(message: impl Into<String>) -> ApiError {
    ApiError::client("InvalidParameterCombination", message)
}

/// A boolean that is neither `true` nor `false`. Code and text are chosen.
pub(in crate::simulator) fn not_a_boolean(name: &str, value: &str) -> ApiError {
    invalid_parameter_value(format!("Invalid value '{value}' for {name}. Expecting a boolean."))
}

/// An integer that is none. Code and text are chosen.
pub(in crate::simulator) fn not_an_integer(name: &str, value: &str) -> ApiError {
    invalid_parameter_value(format!("Invalid value '{value}' for {name}. Expecting an integer."))
}

/// The request is valid, and not for this attribute \[C for `ResetImageAttribute`, section 1.1\].
pub(in crate::simulator) fn invalid_request() -> ApiError {
    ApiError::client("InvalidRequest", "The request received was invalid.")
}

/// Ids and `MaxResults` together \[C, section 1.0\]. `ids` is the name that EC2 has for the list: `imageIdsSet`.
pub(in crate::simulator) fn ids_with_max_results(ids: &str) -> ApiError {
    invalid_parameter_combination(format!("The parameter {ids} cannot be used with the parameter maxResults"))
}

/// `MaxResults` below five \[C for 1, section 1.0\]: the text says "greater than 5", and 5 is accepted.
pub(in crate::simulator) fn max_results_too_small(value: impl Display) -> ApiError {
    invalid_parameter_value(format!("Invalid value '{value}' for maxResults. Expecting a value greater than 5."))
}

/// `MaxResults` above a thousand. The bound is recollection \[R, section 1.0\]; the text mirrors the other bound's.
pub(in crate::simulator) fn max_results_too_large(value: impl Display) -> ApiError {
    invalid_parameter_value(format!("Invalid value '{value}' for maxResults. Expecting a value less than 1000."))
}

/// A token that no answer gave out. Code and text are chosen.
pub(in crate::simulator) fn invalid_next_token() -> ApiError {
    invalid_parameter_value("Unable to parse pagination token")
}

/// More than 50 filters, or more than 200 values in one \[D, section 1.0\]; the text is chosen.
pub(in crate::simulator) fn filter_limit_exceeded(message: &str) -> ApiError {
    ApiError::client("FilterLimitExceeded", message)
}

/// A filter that the action does not have. Code and text are chosen.
pub(in crate::simulator) fn invalid_filter(name: &str) -> ApiError {
    invalid_parameter_value(format!("The filter '{name}' is invalid"))
}

/// An account id that is none, where EC2 selects by account. The code is \[D, section 1.1\]; the text is chosen.
pub(in crate::simulator) fn invalid_user_id(value: &str) -> ApiError {
    ApiError::client("InvalidUserID.Malformed", format!("Invalid user id: \"{value}\""))
}

/// A Region that does not exist \[C for `CopySnapshot`, section 1.4\].
pub(in crate::simulator) fn invalid_region(value: &str) -> ApiError {
    ApiError::client("InvalidRegion", format!("{value} is not a valid region name"))
}
