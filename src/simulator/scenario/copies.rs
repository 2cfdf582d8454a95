//! How copies are described in the scenario file.

use serde::{Deserialize, Serialize};

/// How long copies take, and what goes wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CopiesScenario {
    /// How long the copy of a snapshot takes, and with it that of its image. 20 seconds when absent: small ones were seen to take 2 to
    /// 25 (aws.md section 3).
    pub milliseconds: u64,
    /// What goes wrong. For a copy the first entry counts that is about it and not used up.
    pub troubles: Vec<CopyTrouble>,
}

impl Default for CopiesScenario {
    fn default() -> Self {
        Self { milliseconds: 20_000, troubles: Vec::new() }
    }
}

/// What goes wrong with copies of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyTrouble {
    /// To this Region; any when absent.
    #[serde(default)]
    pub region: Option<String>,
    /// Of this image; any when absent.
    #[serde(default)]
    pub source_image_id: Option<String>,
    /// How often; always when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the copy never ends, instead of failing.
    #[serde(default)]
    pub stalls: bool,
    /// The code of the state reason; `Server.InternalError` when absent.
    #[serde(default)]
    pub code: Option<String>,
    /// Its message; AWS's for an internal error when absent \[X, aws.md section 1.5\].
    #[serde(default)]
    pub message: Option<String>,
}

impl CopiesScenario {
    /// What goes wrong with a copy that begins now, if anything. It counts as having happened.
    pub(in crate::simulator) fn strike(&mut self, region: &str, source: &str) -> Option<CopyTrouble> {
        let is_about = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        let trouble = self.troubles.iter_mut().find(|trouble| {
            is_about(&trouble.region, region) && is_about(&trouble.source_image_id, source) && trouble.times != Some(0)
        })?;
        trouble.times = trouble.times.map(|times| times - 1);
        Some(trouble.clone())
    }
}

impl CopyTrouble {
    /// Code and message of the state reason.
    pub(in crate::simulator) fn reason(&self) -> (String, String) {
        let or = |given: &Option<String>, other: &str| given.clone().unwrap_or_else(|| other.to_owned());
        (or(&self.code, "Server.InternalError"), or(&self.message, "Copy image failed with an internal error"))
    }
}
