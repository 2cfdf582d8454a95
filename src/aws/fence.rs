//! The last look at the lease: at the moment in which a request's body goes to its connection.
//!
//! Between the check in [`Ec2`](super::Ec2) and the first byte on the wire a request is signed, credentials may be fetched and a
//! connection may be made, and the process may be paused in between. A request whose body never comes is one that EC2 never acts on.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::lease::{NotLeading, WritePermit};

/// Puts a check into the body of every request, after it was signed.
#[derive(Debug)]
pub(super) struct Fence(pub(super) WritePermit);

#[dyn_dispatch_hint]
impl Intercept for Fence {
    fn name(&self) -> &'static str {
        "Fence"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.check()?;
        let body = context.request_mut().body_mut();
        if let Some(bytes) = body.bytes().map(Bytes::copy_from_slice) {
            *body = SdkBody::from_body_1_x(Fenced { bytes: Some(bytes), permit: self.0.clone() });
        }
        Ok(())
    }
}

/// A body that is given out only under a permit.
struct Fenced {
    bytes: Option<Bytes>,
    permit: WritePermit,
}

impl Body for Fenced {
    type Data = Bytes;
    type Error = NotLeading;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NotLeading>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(self.permit.check().map(|()| Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::poll_fn;
    use tokio::time::Instant;

    use super::*;
    use crate::lease::permit::Tenure;

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_permit_ends_while_its_connection_is_made_is_not_sent() {
        let (grants, permit) = WritePermit::leased();
        let until = Instant::now() + Duration::from_secs(10);
        grants.set(Some(Tenure { until, over: until + Duration::from_secs(5) }));
        let body =
            || Fenced { bytes: Some(Bytes::from_static(b"Action=ModifyImageAttribute")), permit: permit.clone() };
        let (mut in_time, mut too_late) = (body(), body());
        let frame = poll_fn(|cx| Pin::new(&mut in_time).poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "Action=ModifyImageAttribute");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(too_late.size_hint().exact(), Some(27));
        assert_eq!(poll_fn(|cx| Pin::new(&mut too_late).poll_frame(cx)).await.unwrap().unwrap_err(), NotLeading);
    }
}
