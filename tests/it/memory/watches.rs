//! Watches: a body that tells of every version as it is stored, or late, or not at all.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    API_VERSION, Memory, Sort,
    answer::Answer,
    lists::{Query, has_label},
    state::{Kind, Version},
};

/// How a watch comes to its end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if the server had closed it.
    Closed,
    /// The connection breaks.
    Broken,
    /// It stays open and never tells of anything again.
    Silent,
}

/// What befalls watches.
pub(super) struct Control {
    /// How many times all watches were ended, and how the last time.
    ends: (u64, End),
    /// How late they tell.
    delay: Duration,
    /// How often they tell the revision when there is nothing else to tell.
    bookmarks: Duration,
}

impl Default for Control {
    fn default() -> Self {
        Self { ends: (0, End::Closed), delay: Duration::ZERO, bookmarks: Duration::from_mins(1) }
    }
}

impl Memory {
    /// Ends all watches that are open now.
    pub fn end_watches(&self, how: End) {
        let mut state = self.state();
        state.watches.ends = (state.watches.ends.0 + 1, how);
        drop(state);
        self.wake();
    }

    /// Tells watches of versions only so long after they were stored.
    pub fn delay_watches(&self, by: Duration) {
        self.state().watches.delay = by;
        self.wake();
    }

    /// Forgets what was stored up to now: watches and lists that go on from there are answered 410 Gone.
    pub fn compact(&self) {
        let mut state = self.state();
        state.stored.compacted = state.stored.revision();
    }

    /// The body of a watch.
    pub(super) fn watch(
        &self,
        sort: Sort,
        namespace: Option<String>,
        query: &Query,
        dead: CancellationToken,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let limit = Duration::from_secs(text("timeoutSeconds").parse().unwrap_or(1800));
        let (now, state) = (Instant::now(), self.state());
        let watch = Watch {
            memory: self.clone(),
            sort,
            namespace,
            label: text("labelSelector").to_owned(),
            told: text("resourceVersion").parse().unwrap_or(0),
            wants_bookmarks: text("allowWatchBookmarks") == "true",
            ends: state.watches.ends.0,
            closes: now + limit,
            bookmark: now + state.watches.bookmarks,
            dead,
            over: false,
        };
        drop(state);
        stream::unfold(watch, |mut watch| async { watch.next().await.map(|item| (item, watch)) })
    }
}

struct Watch {
    memory: Memory,
    sort: Sort,
    namespace: Option<String>,
    /// The label that it wants to see.
    label: String,
    /// The last revision that it has told of.
    told: u64,
    wants_bookmarks: bool,
    /// How often watches had been ended when it began.
    ends: u64,
    closes: Instant,
    bookmark: Instant,
    dead: CancellationToken,
    over: bool,
}

enum Next {
    Tell(io::Result<Bytes>),
    Close,
    Silence,
    Wait(Instant),
}

impl Watch {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut changes = self.memory.changes();
        loop {
            let wait = match self.decide() {
                _ if self.dead.is_cancelled() => return std::future::pending().await,
                Next::Tell(item) => return Some(item),
                Next::Close => return None,
                Next::Silence => return std::future::pending().await,
                Next::Wait(until) => until,
            };
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = sleep_until(wait) => {}
            }
        }
    }

    fn decide(&mut self) -> Next {
        if self.over {
            return Next::Close;
        }
        let now = Instant::now();
        let memory = self.memory.clone();
        let mut state = memory.state();
        let (delay, bookmarks) = (state.watches.delay, state.watches.bookmarks);
        let (ends, how) = state.watches.ends;
        if ends > self.ends {
            self.over = how != End::Silent;
            return match how {
                End::Closed => Next::Close,
                End::Broken => {
                    Next::Tell(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the watch is cut on demand")))
                }
                End::Silent => Next::Silence,
            };
        }
        let stored = state.of(self.sort);
        if self.told < stored.compacted {
            self.over = true;
            let message = format!("too old resource version: {} ({})", self.told, stored.compacted);
            return tell("ERROR", &Answer::expired(&message).body);
        }
        let mut wait = self.closes.min(self.bookmark);
        // Nobody takes a label from an object that somebody watches by it.
        let mine = |version: &&Version| {
            self.namespace.as_ref().is_none_or(|namespace| *namespace == version.key.0)
                && has_label(&version.object, &self.label)
        };
        if let Some(version) = stored.since(self.told).iter().find(mine) {
            let due = version.at + delay;
            if due <= now {
                self.told = version.revision;
                let kind = match version.kind {
                    Kind::Added => "ADDED",
                    Kind::Modified => "MODIFIED",
                    Kind::Deleted => "DELETED",
                };
                return tell(kind, &version.object);
            }
            wait = wait.min(due);
        } else if self.bookmark <= now && self.wants_bookmarks {
            self.told = stored.revision();
        }
        if self.closes <= now {
            return Next::Close;
        }
        if self.bookmark <= now {
            self.bookmark = now + bookmarks;
            if self.wants_bookmarks {
                let metadata = json!({"resourceVersion": self.told.to_string(), "creationTimestamp": null});
                return tell(
                    "BOOKMARK",
                    &json!({"apiVersion": API_VERSION, "kind": self.sort.kind(), "metadata": metadata}),
                );
            }
            wait = self.closes.min(self.bookmark);
        }
        Next::Wait(wait)
    }
}

fn tell(kind: &str, object: &Value) -> Next {
    let line = json!({"type": kind, "object": object}).to_string() + "\n";
    Next::Tell(Ok(line.into()))
}
