//! Instances, as far as they matter here: they use images.

use serde::{Deserialize, Serialize};

/// The life of an instance \[M, aws.md appendix A\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Starting.
    Pending,
    /// As it should be.
    #[default]
    Running,
    /// On its way to be gone.
    ShuttingDown,
    /// Gone, and shown for a while.
    Terminated,
    /// On its way to be stopped.
    Stopping,
    /// Stopped: it needs its image no more, and counts as its user.
    Stopped,
}

impl InstanceState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// The number that stands for it \[D\].
    pub fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// The account that runs it.
    pub account: String,
    /// The image that it was started from.
    pub image: String,
    /// Where in its life it is.
    pub state: InstanceState,
}
