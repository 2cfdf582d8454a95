//! The way to the API server: HTTP requests in, HTTP answers out, and what happens to them in between.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{TryStreamExt, future::BoxFuture};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    GROUP, Memory, Sort,
    answer::Answer,
    faults::{Asked, Trouble, Verb},
    lists::{Query, list},
    state::{Form, Part},
    trace::Served,
};

/// How long a client waits for an answer: what `amishare run` sets, because kube has no limit of its own.
const SILENCE: Duration = Duration::from_mins(6);

type Stream = UnsyncBoxBody<Bytes, io::Error>;

/// How a process reaches the API server. Clones are one connection.
#[derive(Clone)]
pub struct Connection {
    memory: Memory,
    name: String,
    dead: CancellationToken,
}

impl Memory {
    /// A connection of its own.
    pub fn connect(&self, name: &str) -> Connection {
        Connection { memory: self.clone(), name: name.to_owned(), dead: CancellationToken::new() }
    }
}

impl Connection {
    /// A client on this connection.
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// The process at the other end is no more: what is on its way to the API server may still arrive, and nothing comes back.
    pub fn die(&self) {
        self.dead.cancel();
    }

    async fn exchange(self, request: Request<Body>) -> io::Result<Response<Stream>> {
        let (there, back) = {
            let mut state = self.memory.state();
            (state.faults.way(), state.faults.way())
        };
        let call = Call::read(request).await?;
        pause(there).await;
        let asked = self.memory.number(&self.name, &call);
        let trouble = self.memory.state().faults.strike(&asked);
        let served = match trouble {
            Some(Trouble::LostBefore) => Err(lost()),
            Some(Trouble::NeverAnswered) => {
                self.memory.note(&asked, &call, trouble, None);
                sleep(SILENCE).await;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was read for minutes"));
            }
            Some(Trouble::Refused(code)) => Ok(Answer::trouble(code)),
            Some(Trouble::LostAfter) => {
                call.serve(&self.memory);
                Err(lost())
            }
            Some(Trouble::Late(by)) => {
                // A task of its own: a request that nobody waits for any more is on its way all the same.
                let (memory, call) = (self.memory.clone(), call.clone());
                let served = tokio::spawn(async move {
                    pause(by).await;
                    call.serve(&memory)
                });
                Ok(served.await.map_err(io::Error::other)?)
            }
            Some(Trouble::Overtaken) => {
                self.memory.overtake(&call);
                Ok(call.serve(&self.memory))
            }
            None => Ok(call.serve(&self.memory)),
        };
        self.memory.note(&asked, &call, trouble, served.as_ref().ok().map(|answer| answer.code));
        pause(back).await;
        let answer = served?;
        if call.verb == Verb::Watch && answer.is_success() {
            let frames = self.memory.watch(call.sort, call.namespace, &call.query, self.dead).map_ok(Frame::data);
            return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
        }
        let body = Full::new(Bytes::from(answer.body.to_string())).map_err(|never| match never {});
        let response = Response::builder().status(answer.code).header("content-type", "application/json");
        response.body(body.boxed_unsync()).map_err(io::Error::other)
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let dead = this.dead.clone();
            if dead.is_cancelled() {
                return std::future::pending().await;
            }
            let answer = this.exchange(request).await;
            if dead.is_cancelled() { std::future::pending().await } else { answer }
        })
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection is reset on demand")
}

/// A request that has been read.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) sort: Sort,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    form: Form,
    pub(super) body: Value,
}

impl Call {
    async fn read(request: Request<Body>) -> io::Result<Self> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query: Query =
            form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let is_apply = head
            .headers
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"));
        let parts: Vec<&str> = path.trim_start_matches("/apis/").split('/').collect();
        let (namespace, rest) = match parts.as_slice() {
            [group, version, "namespaces", namespace, rest @ ..] => {
                (Some(*namespace), [&[*group, *version], rest].concat())
            }
            all => (None, all.to_vec()),
        };
        let is_watch = query.get("watch").is_some_and(|watch| watch == "true");
        let sort = rest.get(2).and_then(|plural| Sort::ALL.into_iter().find(|sort| sort.plural() == *plural));
        let (verb, name) = match (&head.method, sort, rest.as_slice()) {
            (&Method::GET, Some(_), [GROUP, _, _]) => (if is_watch { Verb::Watch } else { Verb::List }, None),
            (&Method::POST, Some(_), [GROUP, _, _]) => (Verb::Create, None),
            (&Method::GET, Some(_), [GROUP, _, _, name]) => (Verb::Get, Some(*name)),
            (&Method::PATCH, Some(_), [GROUP, _, _, name]) => (Verb::Patch, Some(*name)),
            (&Method::PATCH, Some(_), [GROUP, _, _, name, "status"]) => (Verb::PatchStatus, Some(*name)),
            (&Method::DELETE, Some(_), [GROUP, _, _, name]) => (Verb::Delete, Some(*name)),
            (&Method::POST, None, ["events.k8s.io", _, "events"]) => (Verb::CreateEvent, None),
            (method, ..) => panic!("the API server in memory has no {method} {path}"),
        };
        let sort = sort.unwrap_or(Sort::Share);
        let (namespace, name) = (namespace.map(ToOwned::to_owned), name.map(ToOwned::to_owned));
        let body =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).map_err(io::Error::other)? };
        let form = if is_apply { Form::Apply } else { Form::Merge };
        Ok(Self { verb, path, query, sort, namespace, name, form, body })
    }

    /// Does what the request wants.
    fn serve(&self, memory: &Memory) -> Answer {
        let mut state = memory.state();
        let staleness = state.faults.staleness;
        let (namespace, name) = (self.namespace.as_deref(), self.name.as_deref().unwrap_or_default());
        let manager = self.query.get("fieldManager").map_or("unknown", String::as_str);
        let space = namespace.unwrap_or_default();
        let stored = state.of(self.sort);
        let answer = match self.verb {
            Verb::List => list(stored, namespace, &self.query, staleness),
            Verb::Watch => Answer::new(200, Value::Null),
            Verb::Get => stored.get(space, name),
            Verb::Create => stored.create(space, self.body.clone()),
            Verb::CreateEvent => stored.create_event(space, self.body.clone()),
            Verb::Patch => stored.patch(space, name, Part::Main, self.form, manager, &self.body),
            Verb::PatchStatus => stored.patch(space, name, Part::Status, self.form, manager, &self.body),
            Verb::Delete => stored.delete_if(space, name, self.body["preconditions"]["uid"].as_str()),
        };
        state.collect_garbage();
        drop(state);
        memory.wake();
        answer
    }
}

impl Memory {
    /// Somebody else writes the object that a request is about.
    fn overtake(&self, call: &Call) {
        if let (Some(namespace), Some(name)) = (&call.namespace, &call.name) {
            let mut state = self.state();
            let stored = state.of(call.sort);
            let stamp = stored.revision().to_string();
            let patch = json!({"metadata": {"labels": {"overtaken": stamp}}});
            stored.patch(namespace, name, Part::Main, Form::Merge, "somebody", &patch);
        }
    }

    fn number(&self, connection: &str, call: &Call) -> Asked {
        let mut state = self.state();
        state.requests += 1;
        Asked {
            number: state.requests,
            connection: connection.to_owned(),
            verb: call.verb,
            path: call.path.clone(),
            name: call.name.clone(),
        }
    }

    fn note(&self, asked: &Asked, call: &Call, trouble: Option<Trouble>, code: Option<u16>) {
        let mut state = self.state();
        let time = state.clock.now();
        let (asked, query, body) = (asked.clone(), call.query.clone(), call.body.clone());
        state.served.push(Served { time, asked, query, body, trouble, code });
    }
}
