//! The actions of STS: who am I, and becoming somebody else.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::clock::saturating_add;
use super::errors::{self, ApiError};
use super::params::Params;
use super::world::{Caller, Role, Session, World};
use super::xml::Xml;

const ASSUME_ROLE: &[&str] = &["RoleArn", "RoleSessionName", "ExternalId", "DurationSeconds"];
/// What AWS takes and the simulator does not: it would change what the session may do.
const ASSUME_ROLE_LACKING: &[&str] = &[
    "Policy",
    "PolicyArns",
    "Tags",
    "TransitiveTagKeys",
    "SourceIdentity",
    "SerialNumber",
    "TokenCode",
    "ProvidedContexts",
];

/// The shortest session and the longest one of a session's session \[M, aws.md section 1.12\].
const SHORTEST: i64 = 900;
const LONGEST_CHAINED: i64 = 3600;

/// Whether the action is one of STS.
pub(super) fn has_action(action: &str) -> bool {
    matches!(action, "GetCallerIdentity" | "AssumeRole")
}

/// Executes a call and gives the content of its result.
pub(super) fn execute(world: &mut World, caller: &Caller, action: &str, params: &Params) -> Result<Xml, ApiError> {
    match action {
        "GetCallerIdentity" => {
            check_parameters(params, &[], &[])?;
            Ok(get_caller_identity(caller))
        }
        "AssumeRole" => {
            check_parameters(params, ASSUME_ROLE, ASSUME_ROLE_LACKING)?;
            assume_role(world, caller, params)
        }
        _ => Err(errors::invalid_action(action)),
    }
}

fn check_parameters(params: &Params, known: &[&str], lacking: &[&str]) -> Result<(), ApiError> {
    for (name, _) in params.iter() {
        let first = name.split('.').next().unwrap_or_default();
        if lacking.contains(&first) {
            return Err(errors::simulator_lacks(&format!("the parameter {name}")));
        }
        if !known.contains(&name) {
            return Err(errors::unknown_parameter(name));
        }
    }
    Ok(())
}

fn get_caller_identity(caller: &Caller) -> Xml {
    let mut answer = Xml::new();
    answer.text("Arn", &caller.arn);
    answer.text("UserId", &caller.user_id);
    answer.text("Account", &caller.account);
    answer
}

fn assume_role(world: &mut World, caller: &Caller, params: &Params) -> Result<Xml, ApiError> {
    let arn = required(params, "RoleArn")?;
    let session_name = required(params, "RoleSessionName")?;
    check_session_name(session_name)?;
    let role = trusted_role(world, caller, arn, params.get("ExternalId"))?;
    let seconds = session_seconds(params, caller, &role)?;

    let assumed = Caller::of_role(&role, session_name);
    // The account is in the id so that a reader of logs can tell the sessions apart; nothing parses it.
    let access_key_id = format!("ASIA{}{}", role.account, world.ids.key_suffix());
    let session = Session {
        token: format!("session-{}", world.ids.uuid()),
        caller: assumed.clone(),
        expires: saturating_add(world.now(), SignedDuration::from_secs(seconds)),
    };

    let mut answer = Xml::new();
    answer.element("AssumedRoleUser", |user| {
        user.text("AssumedRoleId", &assumed.user_id);
        user.text("Arn", &assumed.arn);
    });
    answer.element("Credentials", |credentials| {
        credentials.text("AccessKeyId", &access_key_id);
        credentials.text("SecretAccessKey", "simulated");
        credentials.text("SessionToken", &session.token);
        credentials.text("Expiration", session.expires.strftime("%Y-%m-%dT%H:%M:%SZ"));
    });
    world.forget_expired_sessions();
    world.sessions.insert(access_key_id, session);
    Ok(answer)
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, ApiError> {
    params.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        let message = format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        );
        errors::sts_validation(message)
    })
}

fn check_session_name(name: &str) -> Result<(), ApiError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if (2..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(errors::sts_validation(format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must have \
         length between 2 and 64 and satisfy regular expression pattern: [\\w+=,.@-]*"
    )))
}

/// The role, if it exists and trusts the caller. AWS does not say which of the two is not so.
fn trusted_role(world: &World, caller: &Caller, arn: &str, external_id: Option<&str>) -> Result<Role, ApiError> {
    let is_trusting = |trusts: &BTreeSet<String>| trusts.is_empty() || trusts.contains(&caller.account);
    world
        .roles
        .get(arn)
        .filter(|role| is_trusting(&role.trusts))
        .filter(|role| role.external_id.is_none() || role.external_id.as_deref() == external_id)
        .filter(|role| world.is_account(&role.account))
        .cloned()
        .ok_or_else(|| errors::access_denied(&caller.arn, "AssumeRole", arn))
}

fn session_seconds(params: &Params, caller: &Caller, role: &Role) -> Result<i64, ApiError> {
    let seconds = params.number("DurationSeconds")?.unwrap_or(LONGEST_CHAINED.min(role.max_session_seconds));
    if seconds < SHORTEST {
        return Err(errors::sts_validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must \
             have value greater than or equal to {SHORTEST}"
        )));
    }
    if caller.is_session && seconds > LONGEST_CHAINED {
        return Err(errors::sts_validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    if seconds > role.max_session_seconds {
        return Err(errors::sts_validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(seconds)
}
