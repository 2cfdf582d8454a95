//! Faults that are planted on purpose, to prove that the tests would find them. In a build without the simulator there are none, and
//! nothing of this is left in the code.

/// A fault in the operator's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum Flaw {
    /// What failed is not tried again.
    GivesUp,
    /// A status is written whether it differs from what is stored or not.
    WritesAtRest,
    /// A suspended share is acted on.
    ActsWhileSuspended,
    /// An additive share takes away what it did not give.
    TakesWhatItDidNotGive,
    /// Images are made public although the operator does not allow it.
    IgnoresTheGuardRail,
    /// The API server is not asked whether what the watch has told is the newest.
    TrustsItsWatch,
    /// Writes do not say on which version they were decided.
    WritesUnconditionally,
    /// Only the first claim on an image protects whom it lists.
    ForgetsOtherClaims,
    /// Launch permissions are given, and old grants revoked, before KMS shows the grants that are needed instead.
    DoesNotWaitForGrants,
    /// Grants are never revoked.
    KeepsGrants,
    /// A failure of one image ends all work.
    FallsWithOneImage,
    /// Every account costs a call.
    AsksForEachAccount,
    /// The finalizer goes although something is still given.
    LetsGoTooSoon,
    /// The finalizer never goes.
    NeverLetsGo,
    /// What is given is on record only after it was given.
    RecordsTooLate,
    /// A status does not say that something is under way.
    HidesThatItWorks,
}

#[cfg(feature = "simulator")]
mod switch {
    use std::cell::Cell;

    use super::Flaw;

    thread_local! {
        static PLANTED: Cell<Option<Flaw>> = const { Cell::new(None) };
    }

    /// Plants a fault in everything that runs on this thread, or takes it out.
    pub fn plant(flaw: Option<Flaw>) {
        PLANTED.set(flaw);
    }

    /// Whether this fault is planted.
    pub(crate) fn has(flaw: Flaw) -> bool {
        PLANTED.get() == Some(flaw)
    }
}

#[cfg(feature = "simulator")]
pub(crate) use switch::has;
#[cfg(feature = "simulator")]
pub use switch::plant;

/// No fault is planted.
#[cfg(not(feature = "simulator"))]
pub(crate) const fn has(_: Flaw) -> bool {
    false
}
