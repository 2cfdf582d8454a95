//! Serves a simulator over TCP. An accept loop of its own, because the faults need the connection: a reset has to be one.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Simulator;
use super::reply::{Delivery, Reply, ReplyBody};
use super::request::Request;

/// The longest request body; ten thousand organizational units by ARN are about two million bytes.
const MAX_BODY: usize = 8 << 20;

/// Answers connections until `stop`; those that are open then are dropped, whatever they wait for.
pub(super) async fn serve(
    simulator: Simulator,
    listener: &TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(simulator.clone(), stream));
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: it goes on when some connection has ended.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// The fault asks for the connection to be reset.
#[derive(Debug, thiserror::Error)]
#[error("the connection is reset on demand")]
struct Reset;

/// Answers the requests on one connection until it ends.
async fn connection(simulator: Simulator, stream: TcpStream) {
    // The end of a long answer must not wait for the client to acknowledge its beginning, which clients delay: benchmarks
    // are to measure the client.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot send without delay");
    }
    let service = service_fn(|request| Box::pin(respond(&simulator, request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Not `.await`, which would shut the connection down in good order and keep the stream.
    let end = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let Err(error) = end else { return };
    if std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<Reset>) {
        let stream = connection.into_parts().io.into_inner();
        // With a linger of zero, closing sends RST and not FIN.
        if let Err(error) = stream.set_zero_linger() {
            tracing::warn!(%error, "cannot reset the connection, so it only ends");
        }
    } else {
        tracing::debug!(%error, "the connection ended with an error");
    }
}

async fn respond(
    simulator: &Simulator,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<ReplyBody>, Reset> {
    let (parts, body) = request.into_parts();
    // A body that is cut off or too long is not worth an answer.
    let body = axum::body::to_bytes(axum::body::Body::new(body), MAX_BODY).await.map_err(|_| Reset)?;
    let reply = simulator.answer(Request::read(parts.uri.query().unwrap_or_default(), &parts.headers, &body));
    reply.wait().await;
    if reply.delivery == Delivery::Reset { Err(Reset) } else { Ok(response(&reply)) }
}

fn response(reply: &Reply) -> hyper::Response<ReplyBody> {
    let mut response = hyper::Response::new(reply.body());
    // A status that is none comes from a scenario's fault; the nearest thing to what was asked for is a server error.
    *response.status_mut() =
        hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Ok(request_id) = HeaderValue::from_str(&reply.request_id) {
        response.headers_mut().insert("x-amzn-requestid", request_id);
    }
    response
}
