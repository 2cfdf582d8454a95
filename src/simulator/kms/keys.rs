//! Keys: what they are, who may use them, and whether they can be used.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Action, Call};
use crate::simulator::clock::saturating_add;
use crate::simulator::errors::{self, ApiError};
use crate::simulator::world::{Key, KeyManager, KeyState};

/// How many days a key waits for its deletion \[D\]. Here it waits until a test takes it away.
const SHORTEST_WAIT: i64 = 7;
const LONGEST_WAIT: i64 = 30;

pub(super) const ACTIONS: &[Action] = &[
    Action { name: "DescribeKey", parameters: &["KeyId"], lacking: &["GrantTokens*"], run: describe_key },
    Action { name: "GetKeyPolicy", parameters: &["KeyId", "PolicyName"], lacking: &[], run: get_key_policy },
    Action {
        name: "PutKeyPolicy",
        parameters: &["KeyId", "PolicyName", "Policy"],
        lacking: &["BypassPolicyLockoutSafetyCheck"],
        run: put_key_policy,
    },
    Action { name: "EnableKey", parameters: &["KeyId"], lacking: &[], run: |call| set_state(call, KeyState::Enabled) },
    Action {
        name: "DisableKey",
        parameters: &["KeyId"],
        lacking: &[],
        run: |call| set_state(call, KeyState::Disabled),
    },
    Action {
        name: "ScheduleKeyDeletion",
        parameters: &["KeyId", "PendingWindowInDays"],
        lacking: &[],
        run: schedule_key_deletion,
    },
    // The key is disabled then \[D\].
    Action { name: "CancelKeyDeletion", parameters: &["KeyId"], lacking: &[], run: cancel_key_deletion },
];

fn describe_key(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = call.key_by_any_name()?;
    let mut metadata = json!({
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": key.arn,
        "CreationDate": seconds(key.created),
        "Enabled": key.state == KeyState::Enabled,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state.as_str(),
        "Origin": "AWS_KMS",
        "KeyManager": key.manager.as_str(),
        "KeySpec": "SYMMETRIC_DEFAULT",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": key.is_multi_region(),
    });
    if key.is_multi_region() {
        metadata["MultiRegionConfiguration"] = replicas(call, key);
    }
    Ok(json!({"KeyMetadata": metadata}))
}

/// The keys with the same id in all Regions. The first of them stands for the primary: which it is makes no difference here.
fn replicas(call: &Call<'_>, key: &Key) -> Value {
    let is_one = |other: &&Key| other.id == key.id && other.account == key.account;
    let all = call.world.regions.iter().flat_map(|(region, state)| {
        let here = state.keys.values().filter(is_one);
        here.map(move |key| json!({"Arn": key.arn, "Region": region}))
    });
    let mut all: Vec<Value> = all.collect();
    let primary = all.remove(0);
    let kind = if primary["Arn"] == key.arn.as_str() { "PRIMARY" } else { "REPLICA" };
    json!({"MultiRegionKeyType": kind, "PrimaryKey": primary, "ReplicaKeys": all})
}

/// Of the caller's own account alone \[M, aws.md section 1.11\].
fn own_key<'a>(call: &'a Call<'_>) -> Result<&'a Key, ApiError> {
    if call.params.get("PolicyName").is_some_and(|name| name != "default") {
        return Err(errors::kms_not_found("No such policy exists"));
    }
    let key = call.key()?;
    if key.account != call.caller.account {
        return Err(errors::kms_access_denied(&call.caller.arn, call.action, None));
    }
    Ok(key)
}

fn get_key_policy(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = own_key(call)?;
    Ok(json!({"Policy": key.policy, "PolicyName": "default"}))
}

fn put_key_policy(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let arn = customers(own_key(call)?)?;
    let policy = call.required("Policy")?.to_owned();
    let is_policy = serde_json::from_str::<Value>(&policy).is_ok_and(|policy| policy["Statement"] != Value::Null);
    if !is_policy {
        return Err(ApiError::new(400, "MalformedPolicyDocumentException", "The policy is not valid."));
    }
    call.change(&arn, |key| key.policy = policy);
    Ok(json!({}))
}

fn set_state(call: &mut Call<'_>, state: KeyState) -> Result<Value, ApiError> {
    let key = own_key(call)?;
    let arn = customers(key)?;
    if key.state == KeyState::PendingDeletion {
        return Err(errors::key_pending_deletion(&arn));
    }
    call.change(&arn, |key| key.state = state);
    Ok(json!({}))
}

fn schedule_key_deletion(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = own_key(call)?;
    let arn = customers(key)?;
    if key.state == KeyState::PendingDeletion {
        return Err(errors::key_pending_deletion(&arn));
    }
    let days = call.params.number("PendingWindowInDays")?.unwrap_or(LONGEST_WAIT);
    if !(SHORTEST_WAIT..=LONGEST_WAIT).contains(&days) {
        let constraint = "Member must have value between 7 and 30";
        return Err(errors::kms_validation(&days.to_string(), "pendingWindowInDays", constraint));
    }
    let end = saturating_add(call.world.now(), SignedDuration::from_hours(24 * days));
    call.change(&arn, |key| key.state = KeyState::PendingDeletion);
    Ok(json!({
        "KeyId": arn,
        "KeyState": KeyState::PendingDeletion.as_str(),
        "DeletionDate": seconds(end),
        "PendingWindowInDays": days,
    }))
}

fn cancel_key_deletion(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let key = own_key(call)?;
    let arn = customers(key)?;
    if key.state != KeyState::PendingDeletion {
        return Err(ApiError::new(400, "KMSInvalidStateException", format!("{arn} is not pending deletion.")));
    }
    call.change(&arn, |key| key.state = KeyState::Disabled);
    Ok(json!({"KeyId": arn}))
}

/// The ARN of a key that AWS lets its owner change.
fn customers(key: &Key) -> Result<String, ApiError> {
    match key.manager {
        KeyManager::Customer => Ok(key.arn.clone()),
        KeyManager::Aws => {
            Err(ApiError::new(400, "UnsupportedOperationException", format!("{} is managed by AWS.", key.arn)))
        }
    }
}

/// KMS's times are seconds, with a fraction \[T, aws.md section 5.2\].
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
pub(super) fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}
