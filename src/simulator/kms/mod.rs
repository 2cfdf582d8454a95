//! The actions of KMS, by name: which parameters each understands, and what it does.
//!
//! As much of KMS as sharing encrypted images takes: keys and their policies, and grants. Nothing is encrypted here; whether
//! somebody could launch an encrypted image is for `launch` beside this to say.

pub(super) mod access;
mod grants;
mod keys;
pub(super) mod policy;

use serde_json::Value;

use super::errors::{self, ApiError};
use super::params::{Params, pattern_of};
use super::world::{Caller, Key, World, parts_of_arn};

/// One action of the API.
struct Action {
    name: &'static str,
    /// The parameters that it understands, with `N` for indices; `*` stands for any characters.
    parameters: &'static [&'static str],
    /// The parameters that AWS understands and the simulator refuses: ignored, they would make the answer wrong.
    lacking: &'static [&'static str],
    run: fn(&mut Call<'_>) -> Result<Value, ApiError>,
}

const ACTIONS: &[&[Action]] = &[grants::ACTIONS, keys::ACTIONS];

/// The names of all actions.
pub(super) fn action_names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().copied().flatten().map(|action| action.name)
}

/// A call while it is executed.
struct Call<'a> {
    world: &'a mut World,
    caller: &'a Caller,
    region: &'a str,
    action: &'static str,
    params: &'a Params,
}

/// Executes a call and gives its answer.
pub(super) fn execute(
    world: &mut World,
    caller: &Caller,
    region: &str,
    name: &str,
    params: &Params,
) -> Result<Value, ApiError> {
    let action = ACTIONS.iter().copied().flatten().find(|action| action.name == name);
    let action = action.ok_or_else(errors::unknown_operation)?;
    for (name, _) in params.iter() {
        let pattern = pattern_of(name);
        let is = |known: &&str| super::wildcard::matches(known, &pattern);
        if action.lacking.iter().any(is) {
            return Err(errors::simulator_lacks(&format!("the parameter {name}")));
        }
        if !action.parameters.iter().any(is) {
            return Err(errors::unknown_parameter(name));
        }
    }
    (action.run)(&mut Call { world, caller, region, action: action.name, params })
}

impl Call<'_> {
    /// A parameter that has to be there.
    fn required(&self, name: &str) -> Result<&str, ApiError> {
        let value = self.params.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| errors::kms_validation("null", name, "Member must not be null"))
    }

    /// The key that the parameter `KeyId` names, by id or ARN, and that the caller may do the action with. Permission comes
    /// before what state the key is in.
    fn key(&self) -> Result<&Key, ApiError> {
        let named = self.required("KeyId")?;
        if named.starts_with("alias/") || named.contains(":alias/") {
            return Err(errors::kms_not_found(format!("Invalid keyId '{named}'")));
        }
        let named_by_arn = parts_of_arn(named);
        if named.starts_with("arn:") && named_by_arn.is_none_or(|(region, ..)| region != self.region) {
            return Err(errors::invalid_key_arn(named));
        }
        let is_named = |key: &&Key| match named_by_arn {
            Some(_) => key.arn == named,
            None => key.id == named && key.account == self.caller.account,
        };
        let key = self.keys_here().find(is_named);
        let key = key.ok_or_else(|| errors::kms_not_found(format!("Key '{named}' does not exist")))?;
        self.authorize(key)?;
        Ok(key)
    }

    fn keys_here(&self) -> impl Iterator<Item = &Key> {
        self.world.regions.get(self.region).into_iter().flat_map(|here| here.keys.values())
    }

    /// The same, by alias too, which `DescribeKey` takes.
    fn key_by_any_name(&self) -> Result<&Key, ApiError> {
        let named = self.required("KeyId")?;
        let Some((before, alias)) = named.split_once("alias/") else { return self.key() };
        let alias = format!("alias/{alias}");
        let account = before.split(':').nth(4).unwrap_or(&self.caller.account);
        let key = self.keys_here().find(|key| key.account == account && key.aliases.contains(&alias));
        let not_found = || errors::kms_not_found(format!("Alias {named} is not found."));
        let key = key.ok_or_else(not_found)?;
        self.authorize(key)?;
        Ok(key)
    }

    fn authorize(&self, key: &Key) -> Result<(), ApiError> {
        let principal = access::principal(self.world, &self.caller.account, &self.caller.arn);
        if access::may(self.world, key, &principal, self.action) {
            return Ok(());
        }
        let is_own = key.account == self.caller.account;
        Err(errors::kms_access_denied(&self.caller.arn, self.action, is_own.then_some(key.arn.as_str())))
    }

    /// Changes a key.
    fn change(&mut self, arn: &str, change: impl FnOnce(&mut Key)) {
        if let Some(key) = self.world.key_mut(arn) {
            change(key);
        }
    }

    /// Whether the call is only to see whether it would be allowed.
    fn is_dry_run(&self) -> Result<bool, ApiError> {
        Ok(self.params.flag("DryRun")? == Some(true))
    }
}
