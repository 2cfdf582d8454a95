//! What copies of images and of snapshots have in common: keys, and the snapshot that a copy begins with.

use super::call::Call;
use crate::simulator::permissions::Grantees;
use crate::simulator::world::{
    AccountTags, Encryption, Key, KeyManager, KeyState, Snapshot, SnapshotCopy, SnapshotState, World, parts_of_arn,
};

/// The key that a parameter `KmsKeyId` names: by id, alias, or the ARN of either.
pub(super) fn named_key<'a>(world: &'a World, account: &str, region: &str, named: &str) -> Option<&'a Key> {
    let mut here = world.regions.get(region)?.keys.values();
    if let Some((before, alias)) = named.split_once("alias/") {
        let account = before.split(':').nth(4).unwrap_or(account).to_owned();
        let alias = format!("alias/{alias}");
        return here.find(|key| key.account == account && key.aliases.contains(&alias));
    }
    here.find(|key| key.arn == named || (key.id == named && key.account == account))
}

/// The account's `aws/ebs` key, which EC2 makes when it is needed first \[D\].
pub(super) fn default_key(call: &mut Call<'_>) -> Encryption {
    let (account, region, now) = (call.account().to_owned(), call.region, call.now());
    let is_default = |key: &&Key| key.manager == KeyManager::Aws && key.account == account;
    if let Some(key) = call.here().keys.values().find(is_default) {
        return Encryption::DefaultKey(key.arn.clone());
    }
    let arn = format!("arn:aws:kms:{region}:{account}:key/11111111-2222-4333-8444-555555555555");
    if let Some(key) = Key::new(&arn, KeyManager::Aws, now) {
        call.here_mut().keys.insert(arn.clone(), key);
    }
    Encryption::DefaultKey(arn)
}

/// With a key by its ARN.
pub(super) fn with_key(world: &World, arn: &str) -> Encryption {
    match world.key(arn).map(|key| key.manager) {
        Some(KeyManager::Aws) => Encryption::DefaultKey(arn.to_owned()),
        _ => Encryption::CustomerKey(arn.to_owned()),
    }
}

/// How a copy is encrypted that nobody named a key for: with the key of what is copied, if that can be used where the copy is made;
/// else with the default key. The user guide says "by the same KMS key", which another Region has only of a multi-Region key \[I,
/// aws.md section 1.5\].
pub(super) fn without_a_key(call: &mut Call<'_>, source: &Encryption, encrypts: bool) -> Encryption {
    match source {
        Encryption::None if !encrypts => Encryption::None,
        Encryption::CustomerKey(arn) if !encrypts => match same_key(call, arn) {
            Some(arn) => Encryption::CustomerKey(arn),
            None => default_key(call),
        },
        _ => default_key(call),
    }
}

/// The key itself or its replica, in the Region and the account of the call.
fn same_key(call: &Call<'_>, arn: &str) -> Option<String> {
    let (region, account, id) = parts_of_arn(arn)?;
    if account != call.account() {
        return None;
    }
    let here = arn.replace(&format!(":{region}:"), &format!(":{}:", call.region));
    (region == call.region || (id.starts_with("mrk-") && call.here().keys.contains_key(&here))).then_some(here)
}

/// Begins to copy a snapshot; gives the id of the copy.
pub(super) fn begin(call: &mut Call<'_>, copy: SnapshotCopy, source: Option<&Snapshot>, tags: AccountTags) -> String {
    let id = call.world.ids.resource("snap-");
    // While it is pending, nothing is known of it \[C, aws.md section 1.4\].
    let snapshot = Snapshot {
        id: id.clone(),
        owner: copy.caller.account.clone(),
        volume_id: "vol-ffffffff".to_owned(),
        volume_size: 0,
        state: SnapshotState::Pending,
        progress: 0,
        state_message: Some("Metadata not updated".to_owned()),
        started: copy.started,
        description: call.params.get("Description").map(str::to_owned),
        encryption: Encryption::None,
        product_codes: source.map(|source| source.product_codes.clone()).unwrap_or_default(),
        create_volume_permissions: Grantees::default(),
        tags,
    };
    let here = call.here_mut();
    here.snapshots.insert(id.clone(), snapshot);
    here.snapshot_copies.insert(id.clone(), copy);
    id
}

/// Whether a key can be used at all.
pub(super) fn is_enabled(key: &Key) -> bool {
    key.state == KeyState::Enabled
}
