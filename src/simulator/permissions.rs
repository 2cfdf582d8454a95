//! Who can be given what: the principals of launch and create-volume permissions, and the lists of them. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::is_account_id;

/// One principal that a permission is given to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grantee {
    /// An account, by its twelve digits.
    Account(String),
    /// Everyone: the group `all`.
    Everyone,
    /// Every account of an organization, by ARN. Images only.
    Organization(String),
    /// Every account below an organizational unit, by ARN. Images only.
    OrganizationalUnit(String),
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("all"),
            Self::Account(text) | Self::Organization(text) | Self::OrganizationalUnit(text) => f.write_str(text),
        }
    }
}

/// The text names nobody that a permission could be given to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no account id of twelve digits, not 'all', and no ARN of an organization or organizational unit")]
pub struct NotAGrantee(String);

impl FromStr for Grantee {
    type Err = NotAGrantee;

    fn from_str(text: &str) -> Result<Self, NotAGrantee> {
        match text {
            "all" => Ok(Self::Everyone),
            _ if is_account_id(text) => Ok(Self::Account(text.to_owned())),
            _ if is_organization_arn(text) => Ok(Self::Organization(text.to_owned())),
            _ if is_organizational_unit_arn(text) => Ok(Self::OrganizationalUnit(text.to_owned())),
            _ => Err(NotAGrantee(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Grantee {
    type Error = NotAGrantee;

    fn try_from(text: String) -> Result<Self, NotAGrantee> {
        text.parse()
    }
}

impl From<Grantee> for String {
    fn from(grantee: Grantee) -> Self {
        grantee.to_string()
    }
}

/// A list of permissions without duplicates, in the order in which they were given: so that answers are deterministic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grantees {
    order: Vec<Grantee>,
    members: BTreeSet<Grantee>,
}

impl Grantees {
    /// Gives the permission; false if it was given before.
    pub fn give(&mut self, grantee: Grantee) -> bool {
        let new = self.members.insert(grantee.clone());
        if new {
            self.order.push(grantee);
        }
        new
    }

    /// Takes the permission back; false if there was none.
    pub fn take(&mut self, grantee: &Grantee) -> bool {
        let held = self.members.remove(grantee);
        if held {
            self.order.retain(|other| other != grantee);
        }
        held
    }

    /// Takes all of `grantees` back at once, which is cheaper than one by one.
    pub fn take_all(&mut self, grantees: &BTreeSet<Grantee>) {
        self.members.retain(|held| !grantees.contains(held));
        self.order.retain(|held| !grantees.contains(held));
    }

    /// Takes every permission back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether this very principal is listed.
    pub fn contains(&self, grantee: &Grantee) -> bool {
        self.members.contains(grantee)
    }

    /// Whether the account itself is listed.
    pub fn names_account(&self, account: &str) -> bool {
        self.contains(&Grantee::Account(account.to_owned()))
    }

    /// Whether everyone is listed.
    pub fn is_public(&self) -> bool {
        self.contains(&Grantee::Everyone)
    }

    /// In the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Grantee> {
        self.order.iter()
    }

    /// How many accounts, organizations and units are listed: what the sharing quota counts. Everyone is none of them.
    pub fn entities(&self) -> usize {
        self.members.len() - usize::from(self.is_public())
    }

    /// As texts: account ids, `all` and ARNs.
    pub fn to_strings(&self) -> BTreeSet<String> {
        self.members.iter().map(Grantee::to_string).collect()
    }
}

impl FromIterator<Grantee> for Grantees {
    fn from_iter<I: IntoIterator<Item = Grantee>>(grantees: I) -> Self {
        let mut list = Self::default();
        for grantee in grantees {
            list.give(grantee);
        }
        list
    }
}

/// `arn:aws*:organizations::<12 digits>:organization/o-<10 to 32>` (aws.md section 2.1).
pub(super) fn is_organization_arn(text: &str) -> bool {
    organizations_resource(text)
        .and_then(|resource| resource.strip_prefix("organization/"))
        .is_some_and(|id| is_word(id, "o-", 10, 32))
}

/// `arn:aws*:organizations::<12 digits>:ou/o-<10 to 32>/ou-<4 to 32>-<8 to 32>` (aws.md section 2.1).
pub(super) fn is_organizational_unit_arn(text: &str) -> bool {
    let path = organizations_resource(text).and_then(|resource| resource.strip_prefix("ou/"));
    let Some((organization, unit)) = path.and_then(|path| path.split_once('/')) else { return false };
    let Some((root, child)) = unit.strip_prefix("ou-").and_then(|unit| unit.split_once('-')) else { return false };
    is_word(organization, "o-", 10, 32) && is_word(root, "", 4, 32) && is_word(child, "", 8, 32)
}

/// What follows the account in an ARN of the service `organizations`.
fn organizations_resource(text: &str) -> Option<&str> {
    let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
    let (account, resource) = rest.strip_prefix("organizations::")?.split_once(':')?;
    (partition.starts_with("aws") && is_account_id(account)).then_some(resource)
}

fn is_word(text: &str, prefix: &str, shortest: usize, longest: usize) -> bool {
    text.strip_prefix(prefix).is_some_and(|word| {
        (shortest..=longest).contains(&word.len()) && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_told_from_texts_that_look_like_them() {
        let organization = "arn:aws:organizations::111122223333:organization/o-abcdefghij";
        let unit = "arn:aws-us-gov:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh";
        assert_eq!(organization.parse(), Ok(Grantee::Organization(organization.to_owned())));
        assert_eq!(unit.parse(), Ok(Grantee::OrganizationalUnit(unit.to_owned())));
        for wrong in [
            "arn:aws:organizations::111122223333:organization/o-short",
            "arn:aws:organizations::1111:organization/o-abcdefghij",
            "arn:aws:iam::111122223333:organization/o-abcdefghij",
            "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh/x",
            "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12",
            "ALL",
            "1234567890123",
        ] {
            assert!(wrong.parse::<Grantee>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_keeps_the_order_of_giving_and_has_no_duplicates() {
        let account = |id: &str| Grantee::Account(id.to_owned());
        let mut list: Grantees = [account("2"), Grantee::Everyone, account("1"), account("2")].into_iter().collect();
        assert_eq!(list.iter().map(Grantee::to_string).collect::<Vec<_>>(), ["2", "all", "1"]);
        assert_eq!(list.entities(), 2);
        assert!(list.take(&account("2")));
        assert!(!list.take(&account("2")));
        assert!(list.give(account("2")));
        assert_eq!(list.iter().map(Grantee::to_string).collect::<Vec<_>>(), ["all", "1", "2"]);
    }
}
