//! Every error that the simulator answers with: code, HTTP status and message, and where each is known from.
//!
//! The evidence is that of `aws.md` (its tags, such as \[C\] for a recorded native answer, are explained there). Where the
//! reference has a code and no text, or no code either, the constructor says what was chosen and why.

mod copy;
mod general;
mod image;
mod key;
mod request;
mod resource;
mod snapshot;

pub(super) use copy::*;
pub(super) use general::*;
pub(super) use image::*;
pub(super) use key::*;
pub(super) use request::*;
pub(super) use resource::*;
pub(super) use snapshot::*;

use std::borrow::Cow;

/// A refusal, as AWS words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The code that SDKs decide by, such as `InvalidAMIID.NotFound`.
    pub code: Cow<'static, str>,
    /// The text for humans.
    pub message: String,
}

impl ApiError {
    /// An error with any status; most are [`ApiError::client`].
    pub(super) fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// An error with HTTP status 400, which EC2 uses for nearly everything that the caller did wrong.
    fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }
}
