//! Who can be given a launch permission.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;

use super::keys::GranteeArn;
use super::names::{AccountId, InvalidName, OrganizationArn, OrganizationalUnitArn, as_text};

/// Somebody who can be given access to an image or its keys: an account, an organization, an organizational unit, everybody, or a
/// role or user.
///
/// Written as EC2 lists it: the account id, the ARN, or `all`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// One account.
    Account(AccountId),
    /// Every account of an organization.
    Organization(OrganizationArn),
    /// Every account below an organizational unit.
    OrganizationalUnit(OrganizationalUnitArn),
    /// Everybody: the group `all`, which makes the image public.
    Everyone,
    /// A role or user. Only grants on keys name one: EC2 knows none in its lists.
    Grantee(GranteeArn),
}

/// How EC2 and this API write [`Principal::Everyone`].
pub const EVERYONE: &str = "all";

impl FromStr for Principal {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == EVERYONE {
            return Ok(Self::Everyone);
        }
        // Nearly all of them are accounts, and every attempt that fails makes a message.
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().map(Self::Account);
        }
        if let Ok(organization) = text.parse() {
            return Ok(Self::Organization(organization));
        }
        if let Ok(unit) = text.parse() {
            return Ok(Self::OrganizationalUnit(unit));
        }
        if let Ok(grantee) = text.parse() {
            return Ok(Self::Grantee(grantee));
        }
        text.parse().map(Self::Account)
    }
}

as_text!(Principal);

impl From<AccountId> for Principal {
    fn from(account: AccountId) -> Self {
        Self::Account(account)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Organization(arn) => arn.fmt(f),
            Self::OrganizationalUnit(arn) => arn.fmt(f),
            Self::Everyone => f.write_str(EVERYONE),
            Self::Grantee(arn) => arn.fmt(f),
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Principal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Principal".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "maxLength": 256})
    }
}

/// How many principals a message names before it only counts the rest: messages are bounded, and a reader who has more
/// than this to repair looks at the list, not at the sentence.
const NAMED_IN_A_MESSAGE: usize = 10;

/// Principals in words: the first few by name, the rest as a number. Sorted, so that equal sets read equal.
pub fn in_words<'a, P: fmt::Display + Ord + 'a>(principals: impl IntoIterator<Item = &'a P>) -> String {
    let sorted: BTreeSet<&P> = principals.into_iter().collect();
    let named: Vec<String> = sorted.iter().take(NAMED_IN_A_MESSAGE).map(ToString::to_string).collect();
    match sorted.len().saturating_sub(NAMED_IN_A_MESSAGE) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_as_ec2_lists_them() {
        for text in [
            "012345678901",
            "all",
            "arn:aws:organizations::123456789012:organization/o-abcde12345",
            "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234",
            "arn:aws:iam::123456789012:role/launcher",
        ] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        assert!("everyone".parse::<Principal>().is_err());
    }

    #[test]
    fn a_long_list_in_words_is_bounded_and_does_not_depend_on_order() {
        let mut many: Vec<AccountId> = (0..25).map(|n| format!("{n:012}").parse().unwrap()).collect();
        let words = in_words(&many);
        assert!(words.ends_with("000000000009 and 15 more"), "{words}");
        many.reverse();
        assert_eq!(in_words(&many), words);
    }
}
