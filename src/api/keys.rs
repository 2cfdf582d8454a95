//! The names of KMS: keys, those whom a grant can name, and what a grant allows.
//!
//! Pure, like [`names`](super::names).

use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::names::{AccountId, InvalidName, OrganizationArn, OrganizationalUnitArn, string_form, text_name};

text_name! {
    /// A KMS key, such as `arn:aws:kms:us-east-1:123456789012:key/22222222-3333-4444-8555-666666666666`.
    KeyArn
}

text_name! {
    /// Somebody in IAM whom a grant can name: a role, a service-linked role or a user, such as
    /// `arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`.
    GranteeArn
}

text_name! {
    /// A KMS key as the calls of EC2 take it: an id, an ARN, an alias such as `alias/images`, or the ARN of an alias.
    KmsKeyId
}

/// Partition, service, Region, account and resource of an ARN.
fn parts_of_arn(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.splitn(6, ':');
    let arn = parts.next()?;
    let [partition, service, region, account, resource] =
        [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_partition =
        partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    (arn == "arn" && is_partition).then_some([partition, service, region, account, resource])
}

/// Region, account and id of a key.
fn key_parts(text: &str) -> Option<(&str, AccountId, &str)> {
    let [_, service, region, account, resource] = parts_of_arn(text)?;
    let id = resource.strip_prefix("key/")?;
    let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_id = matches!(id.len(), 1..=64) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (service == "kms" && is_region && is_id).then_some((region, account.parse().ok()?, id))
}

impl FromStr for KeyArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let expected =
            "the ARN of a KMS key, such as arn:aws:kms:us-east-1:123456789012:key/22222222-3333-4444-8555-666666666666";
        key_parts(text).map(|_| Self(text.into())).ok_or_else(|| InvalidName::new(text, expected))
    }
}

string_form!(
    KeyArn, "KeyArn", max_length: 192,
    pattern: "^arn:aws[a-z-]*:kms:[a-zA-Z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]{1,64}$"
);

impl KeyArn {
    /// The account that owns the key.
    pub fn account(&self) -> Option<AccountId> {
        key_parts(&self.0).map(|(_, account, _)| account)
    }

    /// The partition of the ARN.
    pub fn partition(&self) -> &str {
        parts_of_arn(&self.0).map_or("aws", |[partition, ..]| partition)
    }

    /// The Region that the key is in.
    pub fn region(&self) -> &str {
        key_parts(&self.0).map_or("", |(region, ..)| region)
    }
}

/// What the names of aliases are made of (KMS API reference, `CreateAlias`).
fn is_alias(text: &str) -> bool {
    text.strip_prefix("alias/").is_some_and(|name| {
        matches!(name.len(), 1..=250) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b))
    })
}

impl FromStr for KmsKeyId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_id = matches!(text.len(), 1..=64) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_alias_arn = || {
            let [_, service, region, account, resource] = parts_of_arn(text)?;
            let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            (service == "kms" && is_region && is_alias(resource)).then_some(account.parse::<AccountId>().ok()?)
        };
        if is_id || is_alias(text) || key_parts(text).is_some() || is_alias_arn().is_some() {
            return Ok(Self(text.into()));
        }
        let expected = "a KMS key: an id, the ARN of a key or of an alias, or an alias such as alias/images";
        Err(InvalidName::new(text, expected))
    }
}

string_form!(
    KmsKeyId, "KmsKeyId", max_length: 320,
    pattern: "^([a-zA-Z0-9-]{1,64}|alias/[a-zA-Z0-9/_-]{1,250}|arn:aws[a-z-]*:kms:[a-zA-Z0-9-]+:[0-9]{12}:(key/[a-zA-Z0-9-]{1,64}|alias/[a-zA-Z0-9/_-]{1,250}))$"
);

impl KmsKeyId {
    /// Whether it is an alias: which key that means can change.
    pub fn is_alias(&self) -> bool {
        is_alias(&self.0) || parts_of_arn(&self.0).is_some_and(|[.., resource]| is_alias(resource))
    }

    /// Whether this is the key, as far as the name tells: never of an alias.
    pub fn names(&self, key: &KeyArn) -> bool {
        *self.0 == *key.as_str() || key_parts(key.as_str()).is_some_and(|(.., id)| id == &*self.0)
    }
}

/// Account and path of a role or user.
fn grantee_parts(text: &str) -> Option<(AccountId, &str)> {
    let [_, service, region, account, resource] = parts_of_arn(text)?;
    let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"))?;
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b);
    // The longest that KMS takes as GranteePrincipal is 256 (aws.md section 1.11).
    let is_name = matches!(name.len(), 1..=192) && !name.starts_with('/') && !name.ends_with('/');
    (service == "iam" && region.is_empty() && is_name && name.bytes().all(is_allowed))
        .then_some((account.parse().ok()?, name))
}

impl FromStr for GranteeArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let expected = "the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/launcher";
        grantee_parts(text).map(|_| Self(text.into())).ok_or_else(|| InvalidName::new(text, expected))
    }
}

string_form!(
    GranteeArn, "GranteeArn", max_length: 256,
    pattern: "^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/([a-zA-Z0-9_+=,.@-]|[a-zA-Z0-9_+=,.@-][a-zA-Z0-9_+=,.@/-]{0,190}[a-zA-Z0-9_+=,.@-])$"
);

impl GranteeArn {
    /// The account of the role or user.
    pub fn account(&self) -> Option<AccountId> {
        grantee_parts(&self.0).map(|(account, _)| account)
    }

    /// The partition of the ARN.
    pub fn partition(&self) -> &str {
        parts_of_arn(&self.0).map_or("aws", |[partition, ..]| partition)
    }
}

/// What a grant on a symmetric encryption key can allow (KMS API reference, `GrantOperation`).
#[derive(
    Serialize,
    Deserialize,
    JsonSchema,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
pub enum GrantOperation {
    /// To let others use the key, which EC2 does for each volume.
    CreateGrant,
    /// To decrypt.
    Decrypt,
    /// To look at what the key is.
    DescribeKey,
    /// To encrypt.
    Encrypt,
    /// To make data keys.
    GenerateDataKey,
    /// To make pairs of data keys.
    GenerateDataKeyPair,
    /// To make pairs of data keys whose private halves are only given encrypted.
    GenerateDataKeyPairWithoutPlaintext,
    /// To make data keys that are only given encrypted.
    GenerateDataKeyWithoutPlaintext,
    /// To decrypt what is then encrypted with another key.
    ReEncryptFrom,
    /// To encrypt what was decrypted with another key.
    ReEncryptTo,
    /// To give the grant up.
    RetireGrant,
}

impl GrantOperation {
    /// What a grantee needs to launch an image and to copy it (aws.md section 1.11).
    pub const LAUNCH_AND_COPY: [Self; 7] = [
        Self::CreateGrant,
        Self::Decrypt,
        Self::DescribeKey,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ReEncryptFrom,
        Self::ReEncryptTo,
    ];

    /// What EC2 does with the key of a snapshot in the name of whoever launches an image (aws.md sections 1.11 and 4.4).
    pub const LAUNCH: [Self; 6] = [
        Self::CreateGrant,
        Self::Decrypt,
        Self::DescribeKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::ReEncryptFrom,
        Self::ReEncryptTo,
    ];

    /// The name, as KMS and its policies write it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The grants of one set of operations on one key: a grant is never changed, so that another set is another list of grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantsOn {
    /// The key.
    pub key: KeyArn,
    /// What each of them allows.
    pub operations: BTreeSet<GrantOperation>,
}

impl fmt::Display for GrantsOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl OrganizationArn {
    /// Its id, such as `o-abcde12345`.
    pub fn id(&self) -> &str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }
}

impl OrganizationalUnitArn {
    /// The organization that it is in, such as `o-abcde12345`, and its own id.
    pub fn ids(&self) -> (&str, &str) {
        let mut parts = self.as_str().rsplit('/');
        let unit = parts.next().unwrap_or_default();
        (parts.next().unwrap_or_default(), unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-3333-4444-8555-666666666666";

    #[test]
    fn a_key_is_named_by_its_arn_and_not_by_an_alias() {
        let key: KeyArn = KEY.parse().unwrap();
        assert_eq!((key.region(), key.partition()), ("us-east-1", "aws"));
        assert_eq!(key.account().unwrap().to_string(), "123456789012");
        let replica = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef";
        assert_eq!(replica.parse::<KeyArn>().unwrap().partition(), "aws-us-gov");
        for bad in [
            "alias/images",
            "arn:aws:kms:us-east-1:123456789012:alias/images",
            "22222222-3333-4444-8555-666666666666",
            "arn:aws:kms::123456789012:key/1",
            "arn:aws:kms:us-east-1:12:key/1",
            "",
        ] {
            assert!(bad.parse::<KeyArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grantee_is_a_role_or_a_user() {
        for good in [
            "arn:aws:iam::123456789012:role/launcher",
            "arn:aws-cn:iam::123456789012:user/somebody@example.com",
            "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling_web",
        ] {
            let grantee: GranteeArn = good.parse().unwrap();
            assert_eq!(grantee.account().unwrap().to_string(), "123456789012");
        }
        for bad in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:group/admins",
            "arn:aws:sts::123456789012:assumed-role/launcher/session",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "123456789012",
        ] {
            assert!(bad.parse::<GranteeArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_launch_takes_is_among_what_is_granted_by_default() {
        assert!(GrantOperation::LAUNCH.iter().all(|o| GrantOperation::LAUNCH_AND_COPY.contains(o)));
        assert_eq!("ReEncryptFrom".parse(), Ok(GrantOperation::ReEncryptFrom));
    }

    #[test]
    fn a_unit_knows_its_organization() {
        let unit: OrganizationalUnitArn =
            "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234".parse().unwrap();
        assert_eq!(unit.ids(), ("o-abcde12345", "ou-ab12-abcd1234"));
    }
}
