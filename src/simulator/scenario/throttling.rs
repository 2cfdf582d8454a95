//! How fast calls may come, as it is written in the scenario file, and in code for tests.

use serde::{Deserialize, Serialize};

/// Whether EC2 throttles, with which buckets, and who else uses them. The default is that it does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Throttling {
    /// Whether calls take tokens. While they do not, nothing else here counts.
    pub enabled: bool,
    /// Buckets that differ from what AWS documents; of several that match an action, the first one counts.
    #[serde(default)]
    pub buckets: Vec<BucketScenario>,
    /// Calls of others that take tokens too, and are not simulated otherwise.
    #[serde(default)]
    pub foreign_load: Vec<ForeignLoad>,
}

impl Throttling {
    /// The buckets that AWS documents, for nobody but those who call.
    pub fn documented() -> Self {
        Self { enabled: true, ..Self::default() }
    }

    /// The buckets of this action, in every account and Region, have this size; `*` stands for any characters.
    #[must_use]
    pub fn with_bucket(mut self, action: impl Into<String>, capacity: u32, refill_per_second: f64) -> Self {
        self.buckets.push(BucketScenario { action: action.into(), capacity, refill_per_second });
        self
    }

    /// Somebody else makes calls too.
    #[must_use]
    pub fn with_foreign_load(mut self, load: ForeignLoad) -> Self {
        self.foreign_load.push(load);
        self
    }
}

/// The size of an action's buckets: AWS raises them on request, and lowers them for those who misbehave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketScenario {
    /// The action; `*` stands for any characters.
    pub action: String,
    /// How many tokens it holds: the longest burst of calls.
    pub capacity: u32,
    /// How many tokens it gets per second.
    pub refill_per_second: f64,
}

/// Calls that others make of one action, in one account and Region. They take tokens evenly, as far as there are any; where
/// they take as many as come in, nothing is left for anybody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForeignLoad {
    /// Twelve digits, in quotes.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The action.
    pub action: String,
    /// How many calls, and so tokens, per second. Several loads on one bucket add up.
    pub calls_per_second: f64,
}

impl ForeignLoad {
    /// So many calls per second of this action.
    pub fn new(
        account: impl Into<String>,
        region: impl Into<String>,
        action: impl Into<String>,
        calls_per_second: f64,
    ) -> Self {
        Self { account: account.into(), region: region.into(), action: action.into(), calls_per_second }
    }
}
