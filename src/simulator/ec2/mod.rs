//! The actions of EC2, by name: which parameters each understands, and what it does.
//!
//! An action first finds out whether everything is as it has to be, and only then changes the world; so a refused call has
//! changed nothing.

mod block_public_access;
mod call;
mod copy_image;
mod copy_snapshot;
mod copying;
mod deprecation;
mod describe_images;
mod describe_snapshots;
mod filters;
mod image_attribute;
mod instances;
mod launch_permission;
mod lifecycle;
mod paging;
mod recycle_bin;
mod regions;
mod register;
mod snapshot_attribute;
mod snapshot_lifecycle;
mod tag_input;
mod tags;
mod usage;

use super::errors::{self, ApiError};
use super::params::{Params, pattern_of};
use super::world::{Caller, World};
use super::xml::Xml;
use call::Call;
pub(super) use usage::UsageReport;

/// One action of the API.
struct Action {
    name: &'static str,
    /// The parameters that it understands, with `N` for indices. `DryRun` is understood everywhere.
    parameters: &'static [&'static str],
    /// The parameters, or beginnings of them, that AWS understands and the simulator refuses: ignored, they would make
    /// the answer wrong.
    lacking: &'static [&'static str],
    run: fn(&mut Call<'_>) -> Result<Xml, ApiError>,
}

const ACTIONS: &[&[Action]] = &[
    block_public_access::ACTIONS,
    copy_image::ACTIONS,
    copy_snapshot::ACTIONS,
    deprecation::ACTIONS,
    describe_images::ACTIONS,
    describe_snapshots::ACTIONS,
    image_attribute::ACTIONS,
    launch_permission::ACTIONS,
    instances::ACTIONS,
    lifecycle::ACTIONS,
    recycle_bin::ACTIONS,
    regions::ACTIONS,
    register::ACTIONS,
    snapshot_attribute::ACTIONS,
    snapshot_lifecycle::ACTIONS,
    tags::ACTIONS,
    usage::ACTIONS,
];

/// The names of all actions.
pub(super) fn action_names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().copied().flatten().map(|action| action.name)
}

/// Executes a call and gives the content of its answer.
pub(super) fn execute(
    world: &mut World,
    caller: &Caller,
    region: &str,
    name: &str,
    params: &Params,
) -> Result<Xml, ApiError> {
    let action = ACTIONS.iter().copied().flatten().find(|action| action.name == name);
    let action = action.ok_or_else(|| errors::invalid_action(name))?;
    check_parameters(action, params)?;
    if params.flag("DryRun")? == Some(true) {
        // What AWS checks in a dry run besides permissions is not documented. Here it is everything, and on a copy of the
        // world, so that nothing changes.
        let mut copy = world.clone();
        (action.run)(&mut Call { world: &mut copy, caller, region, params })?;
        return Err(errors::dry_run_operation());
    }
    (action.run)(&mut Call { world, caller, region, params })
}

fn check_parameters(action: &Action, params: &Params) -> Result<(), ApiError> {
    for (name, _) in params.iter() {
        let pattern = pattern_of(name);
        if pattern == "DryRun" || action.parameters.contains(&pattern.as_str()) {
            continue;
        }
        let is_below =
            |lacking: &str| pattern.strip_prefix(lacking).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        return Err(if action.lacking.iter().any(|lacking| is_below(lacking)) {
            errors::simulator_lacks(&format!("the parameter {name} of {}", action.name))
        } else {
            errors::unknown_parameter(name)
        });
    }
    Ok(())
}

/// `<return>true</return>`, the answer of the actions that have nothing else to say.
fn done() -> Xml {
    let mut answer = Xml::new();
    answer.text("return", true);
    answer
}
