//! Grants: made, listed, and taken back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::access::{grants_to, principal};
use super::keys::seconds;
use super::policy::{Verdict, verdict};
use super::{Action, Call};
use crate::simulator::clock::saturating_add;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::world::{Key, KeyGrant, KeyState};

/// What a grant for a symmetric encryption key can allow \[M\].
const OPERATIONS: &[&str] = &[
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
];

/// What a grant for a key of another kind can allow.
const OTHER_OPERATIONS: &[&str] = &["DeriveSharedSecret", "GenerateMac", "GetPublicKey", "Sign", "Verify", "VerifyMac"];

/// How many grants a page has unless the caller says otherwise, and the most \[M, aws.md section 1.11\].
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

pub(super) const ACTIONS: &[Action] = &[
    Action {
        name: "CreateGrant",
        parameters: &[
            "KeyId",
            "GranteePrincipal",
            "RetiringPrincipal",
            "Operations.N",
            "Constraints.EncryptionContextSubset.*",
            "Constraints.EncryptionContextEquals.*",
            "Name",
            "DryRun",
        ],
        lacking: &["GrantTokens*", "GranteeServicePrincipal", "RetiringServicePrincipal", "Constraints.SourceArn"],
        run: create_grant,
    },
    Action {
        name: "ListGrants",
        parameters: &["KeyId", "GrantId", "GranteePrincipal", "Limit", "Marker"],
        lacking: &["GranteeServicePrincipal"],
        run: list_grants,
    },
    Action { name: "RevokeGrant", parameters: &["KeyId", "GrantId", "DryRun"], lacking: &[], run: revoke_grant },
    Action {
        name: "RetireGrant",
        parameters: &["KeyId", "GrantId", "DryRun"],
        lacking: &["GrantToken"],
        run: retire_grant,
    },
];

fn create_grant(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let asked = requested(call)?;
    let key = call.key()?;
    match key.state {
        KeyState::Enabled => {}
        KeyState::Disabled => return Err(errors::key_disabled(&key.arn)),
        KeyState::PendingDeletion => return Err(errors::key_pending_deletion(&key.arn)),
    }
    check_is_lesser(call, key, &asked)?;
    for arn in std::iter::once(&asked.grantee).chain(&asked.retiring) {
        if !call.world.is_principal(arn) {
            return Err(errors::no_such_principal(arn));
        }
    }
    let same = key.grants.values().find(|grant| grant.is_same_request(&asked)).map(|grant| grant.id.clone());
    if same.is_none() && key.grants.len() >= call.world.quotas.grants_per_key {
        return Err(errors::too_many_grants(&key.arn));
    }
    if call.is_dry_run()? {
        return Err(errors::kms_dry_run());
    }
    let arn = key.arn.clone();
    let id = same.unwrap_or_else(|| {
        let id = call.world.ids.grant();
        let grant = KeyGrant { id: id.clone(), ..asked };
        call.change(&arn, |key| drop(key.grants.insert(id.clone(), grant)));
        id
    });
    let token = call.world.ids.grant();
    Ok(json!({"GrantId": id, "GrantToken": token}))
}

/// The grant that a request asks for, without an id.
fn requested(call: &Call<'_>) -> Result<KeyGrant, ApiError> {
    let grantee = call.required("GranteePrincipal")?.to_owned();
    let retiring = call.params.get("RetiringPrincipal").map(ToOwned::to_owned);
    for arn in std::iter::once(&grantee).chain(&retiring) {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if !arn.bytes().all(is_allowed) || arn.len() > 256 {
            let constraint = "Member must satisfy regular expression pattern: ^[\\w+=,.@:/-]+$";
            return Err(errors::kms_validation(arn, "granteePrincipal", constraint));
        }
        if !arn.starts_with("arn:aws") {
            return Err(errors::invalid_principal(arn));
        }
    }
    let name = call.params.get("Name").map(ToOwned::to_owned);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte);
    if let Some(name) = name.iter().find(|name| !(1..=256).contains(&name.len()) || !name.bytes().all(is_allowed)) {
        return Err(errors::kms_validation(
            name,
            "name",
            "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
        ));
    }
    let operations: BTreeSet<String> = call.params.list("Operations").into_iter().map(ToOwned::to_owned).collect();
    if operations.is_empty() {
        return Err(errors::kms_validation("null", "operations", "Member must not be null"));
    }
    if let Some(operation) = operations.iter().find(|operation| !OPERATIONS.contains(&operation.as_str())) {
        return Err(if OTHER_OPERATIONS.contains(&operation.as_str()) {
            errors::grant_operation_unsupported(operation)
        } else {
            errors::kms_validation(operation, "operations", "Member must satisfy enum value set")
        });
    }
    let constraints: BTreeMap<String, String> = call
        .params
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("Constraints.")?.to_owned(), value.to_owned())))
        .collect();
    let created = call.world.now();
    Ok(KeyGrant {
        id: String::new(),
        name,
        grantee,
        retiring,
        issuing_account: format!("arn:aws:iam::{}:root", call.caller.account),
        operations,
        constraints,
        created,
        effective: saturating_add(created, call.world.grant_delay),
    })
}

/// Whoever may make grants only by a grant can give no more than that grants \[D\].
fn check_is_lesser(call: &Call<'_>, key: &Key, asked: &KeyGrant) -> Result<(), ApiError> {
    let caller = principal(call.world, &call.caller.account, &call.caller.arn);
    let makes = |grant: &&KeyGrant| grant.operations.contains("CreateGrant");
    if verdict(&key.policy, &caller, "CreateGrant") == Verdict::Allowed
        || grants_to(call.world, key, &caller).filter(makes).any(|grant| asked.operations.is_subset(&grant.operations))
    {
        return Ok(());
    }
    Err(errors::kms_access_denied(&call.caller.arn, call.action, None))
}

fn list_grants(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let limit = match call.params.get("Limit").map(str::parse::<usize>) {
        None => PAGE,
        Some(Ok(limit)) if (1..=LARGEST_PAGE).contains(&limit) => limit,
        Some(_) => {
            let value = call.params.get("Limit").unwrap_or_default();
            return Err(errors::kms_validation(value, "limit", "Member must have value between 1 and 100"));
        }
    };
    let after = call.params.get("Marker").map(open_marker).transpose()?;
    let key = call.key()?;
    let now = call.world.now();
    let is_asked = |name: &str, value: &str| call.params.get(name).is_none_or(|wanted| wanted == value);
    let mut found: Vec<&KeyGrant> = key
        .grants
        .values()
        .filter(|grant| grant.effective <= now)
        .filter(|grant| is_asked("GrantId", &grant.id) && is_asked("GranteePrincipal", &grant.grantee))
        .filter(|grant| after.as_ref().is_none_or(|after| grant.id > *after))
        .collect();
    let truncated = found.len() > limit;
    found.truncate(limit);
    let grants: Vec<Value> = found.iter().map(|grant| entry(key, grant)).collect();
    let mut answer = json!({"Grants": grants, "Truncated": truncated});
    if let (true, Some(last)) = (truncated, found.last()) {
        answer["NextMarker"] = json!(format!("after-{}", last.id));
    }
    Ok(answer)
}

fn open_marker(marker: &str) -> Result<String, ApiError> {
    let id = marker.strip_prefix("after-").filter(|id| id.len() == 64).ok_or_else(errors::invalid_marker)?;
    Ok(id.to_owned())
}

fn entry(key: &Key, grant: &KeyGrant) -> Value {
    let mut entry = json!({
        "KeyId": key.arn,
        "GrantId": grant.id,
        "CreationDate": seconds(grant.created),
        "GranteePrincipal": grant.grantee,
        "IssuingAccount": grant.issuing_account,
        "Operations": grant.operations,
    });
    // The name is an empty text when there is none \[R\]; retiring principal and constraints are absent.
    entry["Name"] = json!(grant.name.as_deref().unwrap_or_default());
    if let Some(retiring) = &grant.retiring {
        entry["RetiringPrincipal"] = json!(retiring);
    }
    for (name, value) in &grant.constraints {
        if let Some((kind, context_key)) = name.split_once('.') {
            entry["Constraints"][kind][context_key] = json!(value);
        }
    }
    entry
}

fn grant_id(call: &Call<'_>, key: &Key) -> Result<String, ApiError> {
    let id = call.required("GrantId")?;
    if id.len() > 128 {
        return Err(errors::invalid_grant_id());
    }
    if key.grants.contains_key(id) {
        return Ok(id.to_owned());
    }
    Err(errors::kms_not_found(format!("Grant ID {id} not found")))
}

fn revoke_grant(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = call.key()?;
    let (arn, id) = (key.arn.clone(), grant_id(call, key)?);
    take_back(call, &arn, &id)
}

/// The grantee may retire a grant that lets it, and the retiring principal any \[D\].
fn retire_grant(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let named = call.required("KeyId")?;
    let key = call.world.key(named).ok_or_else(|| errors::kms_not_found(format!("Key '{named}' does not exist")))?;
    let (arn, id) = (key.arn.clone(), grant_id(call, key)?);
    let caller = principal(call.world, &call.caller.account, &call.caller.arn);
    let is_allowed = key.grants.get(&id).is_some_and(|grant| {
        let retires = grant.retiring.as_ref().is_some_and(|arn| caller.is_named_by(arn));
        retires || (grant.operations.contains("RetireGrant") && caller.is_named_by(&grant.grantee))
    });
    if !is_allowed {
        return Err(errors::kms_access_denied(&call.caller.arn, call.action, None));
    }
    take_back(call, &arn, &id)
}

fn take_back(call: &mut Call<'_>, arn: &str, id: &str) -> Result<Value, ApiError> {
    if call.is_dry_run()? {
        return Err(errors::kms_dry_run());
    }
    call.change(arn, |key| drop(key.grants.remove(id)));
    Ok(json!({}))
}
