//! Serves a simulator in process, as the HTTP connector of an AWS SDK client: no sockets, the same engine.

use std::io;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use super::Simulator;
use super::reply::{Delivery, Reply};
use super::request::Request;

/// The client to give to the SDK's configuration.
pub(super) fn http_client(simulator: Simulator) -> SharedHttpClient {
    http_client_fn(move |settings, _| {
        let connector = Connector { simulator: simulator.clone(), read_timeout: settings.read_timeout() };
        aws_smithy_runtime_api::client::http::SharedHttpConnector::new(connector)
    })
}

/// Answers the requests of one client.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) simulator: Simulator,
    /// The SDK leaves it to the connector to give up waiting for headers.
    pub(super) read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { simulator, read_timeout } = self.clone();
        HttpConnectorFuture::new(async move {
            let exchange = exchange(&simulator, request);
            match read_timeout {
                None => exchange.await,
                Some(limit) => tokio::time::timeout(limit, exchange)
                    .await
                    .unwrap_or_else(|elapsed| Err(ConnectorError::timeout(elapsed.into()))),
            }
        })
    }
}

async fn exchange(simulator: &Simulator, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    // It may have been taken back before it was sent.
    let body = ByteStream::new(body).collect().await.map_err(|error| ConnectorError::io(error.into()))?.into_bytes();
    let reply = simulator.answer(Request::read(head.uri.query().unwrap_or_default(), &head.headers, &body));
    reply.wait().await;
    if reply.delivery == Delivery::Reset {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "the connection is reset on demand");
        return Err(ConnectorError::io(reset.into()));
    }
    response(reply)
}

fn response(reply: Reply) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(reply.status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from_body_1_x(reply.body()));
    response.headers_mut().insert("content-type", reply.content_type);
    response.headers_mut().insert("x-amzn-requestid", reply.request_id);
    Ok(response)
}
