//! Questions that are asked together: many callers, one call.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::failure::Failure;

/// A filter of EC2 takes at most this many values (aws.md section 1.0).
const MAX_QUESTIONS: usize = 200;

/// How long questions wait for company since the last one came. Objects that are due together ask within microseconds of each
/// other, unless the machine is busy.
const LINGER: Duration = Duration::from_millis(50);

/// How often they wait anew because another one came: nobody waits for ever.
const LONGEST: usize = 10;

type Waiting<Q, A> = Vec<(Q, oneshot::Sender<Result<A, Failure>>)>;

/// Collects questions for a moment and asks them together.
#[derive(Debug)]
pub(super) struct Batches<Q, A> {
    waiting: Arc<Mutex<Waiting<Q, A>>>,
}

impl<Q, A> Default for Batches<Q, A> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<Q, A> Batches<Q, A>
where
    Q: Clone + Ord + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Asks `question` together with others; `ask_all` is how, of whichever caller's turn it is. Whoever asks first takes
    /// everybody's question along, in a task of its own: if it is dropped, the others still get their answers.
    ///
    /// # Errors
    /// When the call fails: everybody in it gets the failure.
    pub(super) async fn ask<F, Fut>(&self, question: Q, ask_all: F) -> Result<A, Failure>
    where
        F: FnOnce(Vec<Q>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<BTreeMap<Q, A>, Failure>> + Send,
    {
        let (sender, answer) = oneshot::channel();
        let position = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((question, sender));
            waiting.len()
        };
        if position == 1 || position % MAX_QUESTIONS == 0 {
            let waiting = Arc::clone(&self.waiting);
            tokio::spawn(async move {
                if position == 1 {
                    linger(&waiting).await;
                }
                let batch: Waiting<Q, A> = {
                    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    let size = waiting.len().min(MAX_QUESTIONS);
                    waiting.drain(..size).collect()
                };
                let questions: BTreeSet<Q> = batch.iter().map(|(question, _)| question.clone()).collect();
                if questions.is_empty() {
                    return;
                }
                let answers = ask_all(questions.into_iter().collect()).await;
                for (question, sender) in batch {
                    let answer = match &answers {
                        Ok(all) => all.get(&question).cloned().ok_or_else(|| {
                            Failure::unanswered("DescribeImages", "the question was lost; it is asked again")
                        }),
                        Err(failure) => Err(failure.clone()),
                    };
                    // Whoever does not wait any more does not need the answer.
                    let _ = sender.send(answer);
                }
            });
        }
        answer.await.unwrap_or_else(|_| Err(Failure::unanswered("DescribeImages", "the operator is stopping")))
    }
}

/// Waits until no more questions come.
async fn linger<Q, A>(waiting: &Mutex<Waiting<Q, A>>) {
    let count = || waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
    for _ in 0..LONGEST {
        let before = count();
        tokio::time::sleep(LINGER).await;
        if count() <= before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn calls_for(questions: u32) -> usize {
        let (batches, calls) = (Batches::<u32, u32>::default(), Arc::new(AtomicUsize::new(0)));
        let answers = (0..questions).map(|n| {
            let calls = Arc::clone(&calls);
            batches.ask(n, move |all: Vec<u32>| async move {
                calls.fetch_add(1, Ordering::Relaxed);
                assert!(all.len() <= MAX_QUESTIONS);
                Ok(all.into_iter().map(|n| (n, n * 2)).collect())
            })
        });
        for (n, answer) in (0u32..).zip(futures::future::join_all(answers).await) {
            assert_eq!(answer.unwrap(), n * 2);
        }
        calls.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn questions_that_come_together_are_asked_in_calls_of_two_hundred() {
        assert_eq!(calls_for(1).await, 1);
        assert_eq!(calls_for(200).await, 1);
        assert_eq!(calls_for(201).await, 2);
        assert_eq!(calls_for(450).await, 3);
    }

    #[tokio::test]
    async fn a_failed_call_fails_for_everybody_in_it() {
        let batches = Batches::<u32, u32>::default();
        let ask = |n| batches.ask(n, |_| async { Err(Failure::unanswered("DescribeImages", "down")) });
        let (one, two) = tokio::join!(ask(1), ask(2));
        assert_eq!((one.unwrap_err().message, two.unwrap_err().message), ("down".into(), "down".into()));
    }
}
