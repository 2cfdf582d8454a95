//! The two ways out of a process, with a [`Cut`] in each: the client of the API server and that of AWS.

use std::{
    io,
    sync::{Arc, Mutex},
};

use amishare::simulator::Simulator;
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use http::Request;
use kube::client::{Body, Client};

use super::{
    compare::Holdings,
    cut::{Call, Cut},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who held what after each write to AWS.
pub type History = Arc<Mutex<Vec<Holdings>>>;

/// A client of the API server that `client` talks to.
pub fn to_kubernetes(client: &Client, cut: &Cut) -> Client {
    let (client, cut) = (client.clone(), cut.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, cut) = (client.clone(), cut.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let call = Call::Kubernetes {
                method: head.method.to_string(),
                path: head.uri.to_string(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let request = Request::from_parts(head, Body::from(body));
            let send = async { client.send(request).await.map_err(BoxError::from) };
            cut.pass(call, send, |why| reset(why).into()).await
        }
    });
    Client::new(service, "default")
}

/// A client of the simulated AWS, for the SDK's configuration. Who holds what after each of its writes is noted.
pub fn to_aws(simulator: &Simulator, cut: &Cut, history: &History) -> SharedHttpClient {
    let (simulator, cut, history) = (simulator.clone(), cut.clone(), Arc::clone(history));
    http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Connector {
            wire: simulator.http_client().http_connector(settings, components),
            simulator: simulator.clone(),
            cut: cut.clone(),
            history: Arc::clone(&history),
        })
    })
}

#[derive(Clone, Debug)]
struct Connector {
    wire: SharedHttpConnector,
    simulator: Simulator,
    cut: Cut,
    history: History,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { wire, simulator, cut, history } = self.clone();
        HttpConnectorFuture::new(async move {
            let body = request.body().bytes().unwrap_or_default();
            let writes = form_urlencoded::parse(body).any(|(name, of)| name == "Action" && of.starts_with("Modify"));
            let parameters = String::from_utf8_lossy(body).into_owned();
            let send = async {
                let answer = wire.call(request).await;
                if writes {
                    history.lock().unwrap().push(Holdings::of(&simulator));
                }
                answer
            };
            cut.pass(Call::Aws { parameters }, send, |why| ConnectorError::io(reset(why).into())).await
        })
    }
}

fn reset(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, why)
}
