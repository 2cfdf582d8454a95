//! What goes back to the caller, and how much of it arrives: the common ground of the server and the connector.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// How an answer reaches the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Complete.
    Whole,
    /// Headers and half of the body, and then nothing.
    Stall,
    /// Not at all: the connection is reset.
    Reset,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// For the header `x-amzn-RequestId`, where SDKs look for it (aws.md section 5.2).
    pub(super) request_id: String,
    pub(super) delivery: Delivery,
    /// How long to wait before anything of it is delivered.
    pub(super) delay: Duration,
    body: Bytes,
}

impl Reply {
    /// An answer of the API.
    pub(super) fn xml(status: u16, body: String, request_id: &str) -> Self {
        Self::new(status, "text/xml;charset=UTF-8", body.into(), request_id)
    }

    /// An answer of KMS.
    pub(super) fn json(status: u16, body: String, request_id: &str) -> Self {
        Self::new(status, "application/x-amz-json-1.1", body.into(), request_id)
    }

    /// An answer of something before the API.
    pub(super) fn web_page(status: u16, page: &'static str, request_id: &str) -> Self {
        Self::new(status, "text/html", Bytes::from_static(page.as_bytes()), request_id)
    }

    /// Whole and at once.
    fn new(status: u16, content_type: &'static str, body: Bytes, request_id: &str) -> Self {
        let request_id = request_id.to_owned();
        Self { status, content_type, request_id, delivery: Delivery::Whole, delay: Duration::ZERO, body }
    }

    /// Waits until it is time to deliver.
    pub(super) async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }

    /// The body, as much of it as the delivery lets through.
    pub(super) fn body(&self) -> ReplyBody {
        let announced = self.body.len() as u64;
        if self.delivery == Delivery::Stall {
            ReplyBody { next: Some(self.body.slice(..self.body.len() / 2)), announced, stalls: true }
        } else {
            ReplyBody { next: Some(self.body.clone()), announced, stalls: false }
        }
    }
}

#[cfg(test)]
impl Reply {
    /// The body as it would be without a fault of the delivery.
    pub(super) fn whole_body(&self) -> &[u8] {
        &self.body
    }
}

/// A body that ends as it should, or never.
#[derive(Debug)]
pub(super) struct ReplyBody {
    next: Option<Bytes>,
    announced: u64,
    stalls: bool,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.next.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            // Without a waker on purpose: nothing will ever come. Whoever waits gives up by itself and drops the body.
            None if self.stalls => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && !self.stalls
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.next.is_some() { self.announced } else { 0 })
    }
}
