//! Identities as the configuration file has them: with which credentials images are reached, in which account they are, and which
//! namespaces may use them.
//!
//! Pure. What they are turned into is in [`aws`](crate::aws).

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{
    list::{Named, distinct, some, some_distinct, some_named},
    namespaces::{NamespacePattern, Namespaces},
};
use crate::api::{AccountId, IdentityName, names::as_text};

/// With which credentials images are reached, and who may use them. One for each account: two in one account would not know of
/// each other's shares, and take away what the other gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name, which `spec.identity` gives.
    pub name: IdentityName,
    /// Who may use it.
    pub namespaces: Namespaces,
    /// The account that it must be in. Where it is not known, nobody checks.
    pub account_id: Option<AccountId>,
    /// The role that is assumed; without one, the operator's own credentials are used.
    pub assume_role: Option<AssumeRole>,
}

/// A role that is assumed with the operator's own credentials.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: RoleArn,
    /// What its trust policy asks for, so that nobody else can have the operator use the role (the confused deputy).
    #[serde(default, deserialize_with = "some")]
    pub external_id: Option<ExternalId>,
}

/// An IAM role, such as `arn:aws:iam::123456789012:role/amishare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn {
    text: String,
    account: AccountId,
}

impl RoleArn {
    /// The account that the role is in.
    pub fn account(&self) -> AccountId {
        self.account
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What role names are made of, paths included (IAM's API reference: `[\w+=,.@-]`, and slashes between the parts of a path).
fn is_of_role(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c)
}

impl FromStr for RoleArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let account = || {
            let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
            let (account, resource) = rest.strip_prefix("iam::")?.split_once(':')?;
            let name = resource.strip_prefix("role/")?;
            let is_role = !name.is_empty() && name.len() <= 576 && !name.ends_with('/') && name.chars().all(is_of_role);
            let is_partition = partition.starts_with("aws");
            account.parse().ok().filter(|_| is_partition && is_role)
        };
        let shown = || text.chars().take(128).collect::<String>();
        let wrong =
            || format!("{:?} is not the ARN of a role, such as arn:aws:iam::123456789012:role/amishare", shown());
        Ok(Self { account: account().ok_or_else(wrong)?, text: text.to_owned() })
    }
}

as_text!(RoleArn);

/// What a trust policy asks for. AWS does not call it a secret, but whoever knows it has one thing less to guess: it has neither
/// `Debug` nor `Display`, and no message repeats it.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

impl ExternalId {
    /// The id, for AWS alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRole").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

/// The lengths of an external id (STS's API reference).
const EXTERNAL_ID: std::ops::RangeInclusive<usize> = 2..=1224;

const NOT_AN_EXTERNAL_ID: &str =
    "is not an external id: 2 to 1224 letters, digits and any of _+=,.@:/-, in quotes if there are only digits";

impl<'de> Deserialize<'de> for ExternalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadExternalId)
    }
}

/// Reads an external id. What is no string is refused here, because the library's message would repeat it.
struct ReadExternalId;

impl Visitor<'_> for ReadExternalId {
    type Value = ExternalId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an external id")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ExternalId, E> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        if EXTERNAL_ID.contains(&text.len()) && text.chars().all(is_allowed) {
            return Ok(ExternalId(text.to_owned()));
        }
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<ExternalId, E> {
        Err(E::custom(NOT_AN_EXTERNAL_ID))
    }
}

/// An identity as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    name: IdentityName,
    #[serde(deserialize_with = "distinct")]
    namespaces: BTreeSet<NamespacePattern>,
    #[serde(default, deserialize_with = "some_distinct")]
    except_namespaces: Option<BTreeSet<NamespacePattern>>,
    #[serde(default, deserialize_with = "some")]
    account_id: Option<AccountId>,
    #[serde(default, deserialize_with = "some")]
    assume_role: Option<AssumeRole>,
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { name, namespaces, except_namespaces, account_id, assume_role } =
            Written::deserialize(deserializer)?;
        let namespaces = Namespaces { these: namespaces, but: except_namespaces.unwrap_or_default() };
        if let (Some(said), Some(role)) = (account_id, &assume_role)
            && said != role.role_arn.account()
        {
            let message =
                format!("accountId is {said}, and the role of {name} is in account {}", role.role_arn.account());
            return Err(D::Error::custom(message));
        }
        let account_id = account_id.or_else(|| assume_role.as_ref().map(|role| role.role_arn.account()));
        Ok(Self { name, namespaces, account_id, assume_role })
    }
}

impl Identity {
    /// Whether the other one is reached with the same credentials: in the same account, by the same role.
    pub fn is_reached_like(&self, other: &Self) -> bool {
        self.account_id == other.account_id && self.assume_role == other.assume_role
    }
}

impl Named for Identity {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Two in one account would take away what the other gives, so that all must be known to be in different ones.
    fn check(&self, others: &[Self]) -> Result<(), String> {
        if let Some(unknown) = others.iter().chain([self]).find(|one| one.account_id.is_none() && !others.is_empty()) {
            return Err(format!(
                "with several identities each has to say in which account it is; give {} an accountId",
                unknown.name
            ));
        }
        match others.iter().find(|other| other.account_id == self.account_id) {
            Some(Self { name, account_id: Some(account), .. }) => {
                Err(format!("{name} is in account {account} already; there can be one identity for each account"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, namespaces, account_id, assume_role } = self;
        write!(f, "identity {name}: {namespaces}")?;
        if let Some(account) = account_id {
            write!(f, ", account {account}")?;
        }
        match assume_role {
            Some(role) => write!(f, ", role {}", role.role_arn),
            None => f.write_str(", the operator's own credentials"),
        }
    }
}

/// All identities. If the file names none, there is one: `default`, with the operator's own credentials, for all namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities(Vec<Identity>);

impl Default for Identities {
    fn default() -> Self {
        let name = IdentityName::default();
        Self(vec![Identity { name, namespaces: Namespaces::all(), account_id: None, assume_role: None }])
    }
}

impl<'de> Deserialize<'de> for Identities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        some_named(deserializer, "is an empty list, with which nothing could be reached; leave it out").map(Self)
    }
}

impl Identities {
    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Identity] {
        &self.0
    }

    /// An identity by its name.
    pub fn get(&self, name: &IdentityName) -> Option<&Identity> {
        self.0.iter().find(|identity| identity.name == *name)
    }

    /// Why a namespace may not use an identity, if it may not. Stable: it is in conditions.
    pub fn refusal(&self, name: &IdentityName, namespace: &str) -> Option<String> {
        match self.get(name) {
            Some(identity) if identity.namespaces.contains(namespace) => None,
            Some(_) => Some(not_for(name.as_str(), namespace)),
            None => Some(unknown(name.as_str())),
        }
    }
}

/// The sentence that says that a namespace may not use an identity.
pub(super) fn not_for(name: &str, namespace: &str) -> String {
    format!(
        "the identity {name} is not for namespace {namespace}; share the image from a namespace that may use it, or have whoever runs \
         the operator allow it"
    )
}

/// The sentence that says that there is no such identity. Stable: it is in conditions.
pub fn unknown(name: &str) -> String {
    format!(
        "the operator's configuration has no identity {name}; have whoever runs the operator add it, or create the AmiShare with another \
         identity"
    )
}
