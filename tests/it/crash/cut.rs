//! Where a run of the operator is cut: its calls to AWS and to Kubernetes are numbered, and one of them goes wrong.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use strum::{Display, EnumIter, EnumString};
use tokio_util::sync::CancellationToken;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumIter, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Blow {
    /// It never reaches the other side, and the operator sees an error.
    Lost,
    /// It is done, and the operator sees an error instead of the answer.
    Unanswered,
    /// The process is killed before it is sent.
    KilledBefore,
    /// It is done, and the process is killed before it hears of it.
    KilledAfter,
}

/// A call, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its number; the first call of the process is 1.
    pub call: usize,
    /// What happens.
    pub blow: Blow,
}

/// A call as the operator sends it. The start of a watch is one, its stream is not.
#[derive(Clone, Debug)]
pub enum Call {
    /// To the API server.
    Kubernetes {
        /// Such as `PATCH`.
        method: String,
        /// With what is asked for.
        path: String,
        /// What is sent, if anything.
        body: Value,
    },
    /// One attempt of a call to AWS.
    Aws {
        /// As it goes over the wire.
        parameters: String,
    },
}

impl Call {
    /// Whether it leaves no trace at the other side.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Kubernetes { method, .. } => method == "GET",
            Self::Aws { parameters } => {
                ["Action=Describe", "Action=Get"].iter().any(|read| parameters.starts_with(read))
            }
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Kubernetes { method, path, body: Value::Null } => format!("{method} {path}"),
            Self::Kubernetes { method, path, body } => format!("{method} {path} {body}"),
            Self::Aws { parameters } => parameters.clone(),
        };
        let short: String = text.chars().take(400).collect();
        f.write_str(&short)
    }
}

/// The fate of one process: all its calls pass through here. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Cut(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    point: Option<Point>,
    calls: Mutex<Vec<Call>>,
    under_way: AtomicUsize,
    dead: CancellationToken,
    buried: CancellationToken,
}

impl Cut {
    /// A process to which this happens, or nothing.
    pub fn at(point: Option<Point>) -> Self {
        Self(Arc::new(Inner {
            point,
            calls: Mutex::default(),
            under_way: AtomicUsize::new(0),
            dead: CancellationToken::new(),
            buried: CancellationToken::new(),
        }))
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.0.calls.lock().unwrap().clone()
    }

    /// How many calls there were so far, and how many of them are under way.
    pub fn count(&self) -> (usize, usize) {
        (self.0.calls.lock().unwrap().len(), self.0.under_way.load(Ordering::SeqCst))
    }

    /// Whether the process is dead: nothing of what it sends reaches anybody.
    pub fn is_dead(&self) -> bool {
        self.0.dead.is_cancelled()
    }

    /// Kills the process.
    pub fn kill(&self) {
        self.0.dead.cancel();
    }

    /// Once its tasks are ended: whatever of it still waits for an answer ends too.
    pub fn bury(&self) {
        self.0.buried.cancel();
    }

    /// Sends a call, unless its fate is another one. `lost` is the error that the operator sees.
    pub async fn pass<T, E>(
        &self,
        call: Call,
        send: impl Future<Output = Result<T, E>>,
        lost: impl FnOnce(&'static str) -> E,
    ) -> Result<T, E> {
        if self.is_dead() {
            self.0.buried.cancelled().await;
            return Err(lost("the process is dead"));
        }
        let number = {
            let mut calls = self.0.calls.lock().unwrap();
            calls.push(call);
            calls.len()
        };
        let blow = self.0.point.filter(|point| point.call == number).map(|point| point.blow);
        let answer = match blow {
            Some(Blow::Lost) => return Err(lost("the call is lost")),
            Some(Blow::KilledBefore) => None,
            Some(Blow::Unanswered | Blow::KilledAfter) | None => Some(self.under_way(send).await),
        };
        if matches!(blow, Some(Blow::KilledBefore | Blow::KilledAfter)) {
            self.kill();
        }
        match answer {
            Some(answer) if !self.is_dead() && blow.is_none() => answer,
            _ if self.is_dead() => {
                self.0.buried.cancelled().await;
                Err(lost("the process is dead"))
            }
            _ => Err(lost("the answer is lost")),
        }
    }

    async fn under_way<T>(&self, send: impl Future<Output = T>) -> T {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(&self.0.under_way);
        send.await
    }
}
