//! A scenario: what happens, without a word about what goes wrong.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{commands::Command, compare::State};
use crate::harness::world::PLAIN;

/// What happens.
pub struct Scenario {
    /// In a word, for reports.
    pub name: &'static str,
    /// The simulated AWS at the beginning, in YAML.
    pub world: &'static str,
    /// Flags of the operator.
    pub flags: &'static [&'static str],
    /// What there is before, brought about by an operator that nothing goes wrong with.
    pub before: Vec<Step>,
    /// What happens then, in which each of the operator's calls is cut.
    pub trigger: Vec<Step>,
    /// Whether the operator finds out only when it looks at AWS the next time.
    pub is_drift: bool,
    /// Who may hold what for a moment, because the trigger says so before it says otherwise.
    pub meanwhile: &'static [(&'static str, &'static [&'static str])],
    /// How one sees that everything is done, besides that every object has been seen to.
    pub done: fn(&State) -> bool,
    /// The kinds of calls that the operator makes.
    pub reaches: &'static [Command],
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "",
            world: PLAIN,
            flags: &[],
            before: Vec::new(),
            trigger: Vec::new(),
            is_drift: false,
            meanwhile: &[],
            done: |_| true,
            reaches: &[],
        }
    }
}

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Creates an AmiShare of the image that most tests share, unless the spec names another.
    Create(&'static str, Value),
    /// Changes the spec of an AmiShare by a merge patch.
    Change(&'static str, Value),
    /// Has an AmiShare end in some seconds.
    End(&'static str, i64),
    /// Deletes an AmiShare.
    Delete(&'static str),
    /// Asks for a check of an AmiShare.
    Ask(&'static str),
    /// Does something in AWS as the owner of the image.
    InAws(&'static str, Vec<(&'static str, &'static str)>),
    /// Waits until every AmiShare has been seen to. For what comes before.
    Rest,
}

/// Texts as a set, as [`State`] has them.
pub fn set<'a>(texts: &[&'a str]) -> BTreeSet<&'a str> {
    texts.iter().copied().collect()
}
