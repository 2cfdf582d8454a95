//! Guard rails as the configuration file has them.
//!
//! Pure.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use super::{
    list::{Named, distinct, some, some_distinct},
    namespaces::{NamespacePattern, Namespaces},
};
use crate::api::{
    AccountId, OrganizationArn, OrganizationalUnitArn, Principal, Region,
    names::{as_text, is_label},
};

/// One rule: what the shares of some namespaces may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guardrail {
    /// Its name, which `GuardrailDenied` gives.
    pub name: RuleName,
    /// Where it holds.
    pub namespaces: Namespaces,
    /// The Regions in which images may be shared; none for any.
    pub regions: Option<BTreeSet<Region>>,
    /// With whom images may be shared; none for anybody, but not everybody.
    pub share_with: Option<Allowed>,
}

/// With whom a rule lets images be shared. What is left out of it is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowed {
    /// Accounts that may be listed.
    #[serde(default)]
    pub account_ids: Principals<AccountId>,
    /// Organizations that may be listed.
    #[serde(default)]
    pub organization_arns: Principals<OrganizationArn>,
    /// Organizational units that may be listed.
    #[serde(default)]
    pub organizational_unit_arns: Principals<OrganizationalUnitArn>,
    /// Whether images may be made public.
    #[serde(default)]
    pub public: bool,
}

/// Those of one kind that may be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals<T> {
    /// Any: `["*"]`.
    Any,
    /// These, and nobody if the field is left out.
    These(BTreeSet<T>),
}

impl<T> Default for Principals<T> {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl<T: Ord> Principals<T> {
    fn contains(&self, one: &T) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => these.contains(one),
        }
    }
}

impl Allowed {
    /// Whether a share may list a principal.
    pub fn contains(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Account(account) => self.account_ids.contains(account),
            Principal::Organization(arn) => self.organization_arns.contains(arn),
            Principal::OrganizationalUnit(arn) => self.organizational_unit_arns.contains(arn),
            Principal::Everyone => self.public,
            // A role is as good as its account.
            Principal::Grantee(arn) => arn.account().is_some_and(|account| self.account_ids.contains(&account)),
        }
    }
}

/// A word of a list that may be a star.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum OrAny<T> {
    Any,
    One(T),
}

impl<T: FromStr> FromStr for OrAny<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

impl<'de, T: FromStr<Err: fmt::Display> + Ord> Deserialize<'de> for Principals<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words: BTreeSet<OrAny<T>> = distinct(deserializer)?;
        // A star beside others is as good as alone.
        let these: Option<BTreeSet<T>> = words
            .into_iter()
            .map(|word| match word {
                OrAny::Any => None,
                OrAny::One(one) => Some(one),
            })
            .collect();
        Ok(these.map_or(Self::Any, Self::These))
    }
}

/// The name of an entry of the configuration file: lower-case letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(String);

impl RuleName {
    /// The name as its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RuleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_label(text, false) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(64).collect();
        Err(format!(
            "{shown:?} is not a name: up to 63 lower-case letters, digits and hyphens, such as our-organization"
        ))
    }
}

as_text!(RuleName);

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    name: RuleName,
    #[serde(deserialize_with = "distinct")]
    namespaces: BTreeSet<NamespacePattern>,
    #[serde(default, deserialize_with = "some_distinct")]
    except_namespaces: Option<BTreeSet<NamespacePattern>>,
    #[serde(default, deserialize_with = "some_distinct")]
    regions: Option<BTreeSet<Region>>,
    #[serde(default, deserialize_with = "some")]
    share_with: Option<Allowed>,
}

impl<'de> Deserialize<'de> for Guardrail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { name, namespaces, except_namespaces, regions, share_with } = Written::deserialize(deserializer)?;
        let namespaces = Namespaces { these: namespaces, but: except_namespaces.unwrap_or_default() };
        Ok(Self { name, namespaces, regions, share_with })
    }
}

/// What a rule can forbid, in words: it does not let a namespace …
pub mod words {
    /// Accounts.
    pub const ACCOUNTS: &str = "share with accounts that it does not list";
    /// Organizations.
    pub const ORGANIZATIONS: &str = "share with organizations that it does not list";
    /// Organizational units.
    pub const ORGANIZATIONAL_UNITS: &str = "share with organizational units that it does not list";
    /// Public sharing.
    pub const PUBLIC: &str = "make images public";
    /// Public sharing where there is no rule with `shareWith`.
    pub const PUBLIC_BY_DEFAULT: &str = "the operator does not allow public sharing; whoever runs it can with \
                                         --allow-public-sharing, or with a guard rail that says public: true";

    /// A Region.
    pub fn region(region: &str) -> String {
        format!("share images in {region}")
    }
}

impl Guardrail {
    /// The sentence that says that this rule forbids something (one of [`words`]) in a namespace. Stable: it is in conditions.
    pub fn refusal(&self, namespace: &str, what: &str) -> String {
        format!(
            "the guard rail {} does not let namespace {namespace} {what}; take it out of the spec, or have whoever runs the operator \
             change the rule",
            self.name
        )
    }
}

impl Named for Guardrail {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn check(&self, _: &[Self]) -> Result<(), String> {
        if self.regions.is_none() && self.share_with.is_none() {
            return Err("the rule forbids nothing; give it regions or shareWith".into());
        }
        Ok(())
    }
}
