//! The policy in force: which one it is at this moment, and whether it is still the one that a plan was made under.
//!
//! State without I/O.

use std::sync::Arc;

use tokio::sync::watch;

use super::policy::Policy;

/// The policy in force. Clones share it.
#[derive(Debug, Clone)]
pub struct Live(watch::Receiver<Arc<Policy>>);

/// The other end of a [`Live`]: whoever reads the configuration file puts another policy in force here.
#[derive(Debug)]
pub struct Enact(watch::Sender<Arc<Policy>>);

impl Enact {
    /// Puts a policy in force, as a whole and at once.
    pub fn enact(&self, policy: Policy) {
        self.0.send_replace(Arc::new(policy));
    }
}

impl Live {
    /// A policy that another one can replace.
    pub fn new(policy: Policy) -> (Enact, Self) {
        let (sender, receiver) = watch::channel(Arc::new(policy));
        (Enact(sender), Self(receiver))
    }

    /// The policy that is in force.
    pub fn now(&self) -> Arc<Policy> {
        Arc::clone(&self.0.borrow())
    }

    /// Whether a policy is still in force. One that says the same and was put in force later is another one.
    pub fn is(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.0.borrow(), policy)
    }

    /// Waits until another policy is in force than at the last call.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could put another one in force.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_policy_that_was_replaced_is_not_in_force_even_if_it_says_the_same() {
        let (enact, mut live) = Live::new(Policy::default());
        let before = live.now();
        assert!(live.is(&before));
        enact.enact(Policy::default());
        live.changed().await;
        assert!(!live.is(&before));
        assert!(live.is(&live.now()));
    }
}
