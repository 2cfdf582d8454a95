//! What a KMS key and its grants are: data, and the rules about them that need nothing else of the world.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Who looks after a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyManager {
    /// The account's owner.
    #[default]
    Customer,
    /// AWS: `aws/ebs`, whose policy cannot be changed.
    Aws,
}

impl KeyManager {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "CUSTOMER",
            Self::Aws => "AWS",
        }
    }
}

/// Whether a key can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyState {
    /// It can.
    #[default]
    Enabled,
    /// It cannot, until somebody enables it.
    Disabled,
    /// It cannot, and will be no more after its waiting period.
    PendingDeletion,
}

impl KeyState {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }
}

/// What lets a principal use a key. Never changed: other operations are another grant \[M, aws.md section 1.11\].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// 64 hex digits.
    pub id: String,
    /// What makes a repeated `CreateGrant` answer with the same grant.
    pub name: Option<String>,
    /// Who may use the key, by ARN.
    pub grantee: String,
    /// Who may retire the grant besides its grantee, by ARN.
    pub retiring: Option<String>,
    /// The account that made it, as `arn:aws:iam::<account>:root`.
    pub issuing_account: String,
    /// What the grantee may do.
    pub operations: BTreeSet<String>,
    /// The encryption context that limits it, by the names of the request, such as `EncryptionContextEquals.aws:ebs:id`.
    pub constraints: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on listings show it and it lets anybody use the key: KMS takes a while \[D, aws.md section 1.11\].
    pub effective: Timestamp,
}

impl KeyGrant {
    /// Whether the grant is the one that a request with these contents asks for. Names without anything else do not make
    /// two grants one.
    pub fn is_same_request(&self, other: &Self) -> bool {
        let contents = |grant: &Self| {
            (grant.name.clone(), grant.grantee.clone(), grant.retiring.clone(), grant.issuing_account.clone())
        };
        self.name.is_some()
            && contents(self) == contents(other)
            && self.operations == other.operations
            && self.constraints == other.constraints
    }
}

/// A symmetric encryption key in one Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The account that owns it.
    pub account: String,
    /// A UUID, or `mrk-` and 32 hex digits.
    pub id: String,
    /// `arn:aws:kms:<Region>:<account>:key/<id>`.
    pub arn: String,
    /// Who looks after it.
    pub manager: KeyManager,
    /// Whether it can be used.
    pub state: KeyState,
    /// When it was made.
    pub created: Timestamp,
    /// Who may do what with it, as JSON.
    pub policy: String,
    /// Its names, such as `alias/images`.
    pub aliases: BTreeSet<String>,
    /// By id.
    pub grants: BTreeMap<String, KeyGrant>,
}

impl Key {
    /// A key with the policy that AWS gives it when nobody says otherwise. None when the ARN is no key's.
    pub fn new(arn: &str, manager: KeyManager, created: Timestamp) -> Option<Self> {
        let (region, account, id) = parts_of_arn(arn)?;
        let policy = match manager {
            KeyManager::Customer => customer_policy(account),
            KeyManager::Aws => default_key_policy(account, region),
        };
        Some(Self {
            account: account.to_owned(),
            id: id.to_owned(),
            arn: arn.to_owned(),
            manager,
            state: KeyState::Enabled,
            created,
            policy,
            aliases: BTreeSet::new(),
            grants: BTreeMap::new(),
        })
    }

    /// Whether it has replicas in other Regions, with the same id and key material, and nothing else in common \[D, aws.md
    /// section 1.11\].
    pub fn is_multi_region(&self) -> bool {
        self.id.starts_with("mrk-")
    }
}

/// Region, account and id of the key that the ARN names.
pub fn parts_of_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.strip_prefix("arn:aws")?.splitn(5, ':').skip(1);
    let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
    let id = parts.next()?.strip_prefix("key/").filter(|id| !id.is_empty())?;
    (service == "kms").then_some((region, account, id))
}

/// The policy of a key that is made without one: the account's own IAM decides.
fn customer_policy(account: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions",
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
            "Action": "kms:*",
            "Resource": "*",
        }],
    })
    .to_string()
}

/// The policy of `aws/ebs`: used through EC2 by principals of the account alone, and looked at by them directly \[D\].
fn default_key_policy(account: &str, region: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Id": "auto-ebs-2",
        "Statement": [
            {
                "Sid": "Allow access through EBS for all principals in the account that are authorized to use EBS",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [
                    "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"
                ],
                "Resource": "*",
                "Condition": {
                    "StringEquals": {"kms:ViaService": format!("ec2.{region}.amazonaws.com"), "kms:CallerAccount": account}
                },
            },
            {
                "Sid": "Allow direct access to key metadata to the account",
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
                "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
                "Resource": "*",
            },
        ],
    })
    .to_string()
}
