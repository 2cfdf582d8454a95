//! Sets that are held by the thousand and seldom change.
//!
//! Every object's lists are in memory for as long as the operator runs, twice: as the spec has them and as the status does. A tree
//! of them takes three times the memory of its members, and as many allocations as a slice has kilobytes.

use std::{borrow::Cow, collections::BTreeSet, slice};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use super::{AccountId, Principal};

/// A set in a sorted slice. Its serde form and its schema are those of a [`BTreeSet`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Compact<T>(Box<[T]>);

impl<T> Compact<T> {
    /// The members, in their order.
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Compact<T> {
    /// Whether this is one of them.
    pub fn contains(&self, member: &T) -> bool {
        self.0.binary_search(member).is_ok()
    }
}

impl<T> Default for Compact<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Ord> FromIterator<T> for Compact<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let mut members: Vec<T> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        Self(members.into_boxed_slice())
    }
}

impl<T: Ord> Extend<T> for Compact<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, members: I) {
        *self = std::mem::take(&mut self.0).into_vec().into_iter().chain(members).collect();
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Compact<T> {
    fn from(members: [T; N]) -> Self {
        members.into_iter().collect()
    }
}

impl<'a, T> IntoIterator for &'a Compact<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Compact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

impl<T: JsonSchema> JsonSchema for Compact<T> {
    fn schema_name() -> Cow<'static, str> {
        BTreeSet::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeSet::<T>::json_schema(generator)
    }
}

/// Principals, nearly all of which are accounts: those are kept as numbers. Its serde form and its schema are those of a set of
/// [`Principal`]s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrincipalList {
    accounts: Compact<AccountId>,
    others: Compact<Principal>,
}

impl PrincipalList {
    /// The principals, in their order: accounts come first.
    pub fn iter(&self) -> impl Iterator<Item = Principal> + '_ {
        self.accounts.iter().copied().map(Principal::Account).chain(self.others.iter().cloned())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.others.is_empty()
    }
}

impl FromIterator<Principal> for PrincipalList {
    fn from_iter<I: IntoIterator<Item = Principal>>(principals: I) -> Self {
        let (mut accounts, mut others) = (Vec::new(), Vec::new());
        for principal in principals {
            match principal {
                Principal::Account(account) => accounts.push(account),
                other => others.push(other),
            }
        }
        Self { accounts: accounts.into_iter().collect(), others: others.into_iter().collect() }
    }
}

impl Serialize for PrincipalList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for PrincipalList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Principal>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl JsonSchema for PrincipalList {
    fn schema_name() -> Cow<'static, str> {
        BTreeSet::<Principal>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeSet::<Principal>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_compact_set_is_read_and_written_like_a_tree() {
        let list = json!(["444455556666", "111122223333", "444455556666"]);
        let compact: Compact<AccountId> = serde_json::from_value(list.clone()).unwrap();
        let tree: BTreeSet<AccountId> = serde_json::from_value(list).unwrap();
        assert!(compact.iter().eq(&tree));
        assert_eq!(serde_json::to_value(&compact).unwrap(), serde_json::to_value(&tree).unwrap());
        assert!(compact.contains(&"111122223333".parse().unwrap()));
        assert!(!compact.contains(&"999999999999".parse().unwrap()));
    }

    #[test]
    fn principals_are_read_and_written_like_a_tree_of_them() {
        let list = json!([
            "all",
            "444455556666",
            "arn:aws:organizations::123456789012:organization/o-abcde12345",
            "111122223333"
        ]);
        let compact: PrincipalList = serde_json::from_value(list.clone()).unwrap();
        let tree: BTreeSet<Principal> = serde_json::from_value(list).unwrap();
        assert!(compact.iter().eq(tree.iter().cloned()));
        assert_eq!(serde_json::to_value(&compact).unwrap(), serde_json::to_value(&tree).unwrap());
        assert_eq!(tree.into_iter().collect::<PrincipalList>(), compact);
    }

    #[test]
    fn their_schemas_are_those_of_the_trees() {
        let schema = |json: fn(&mut SchemaGenerator) -> Schema| json(&mut SchemaGenerator::default());
        assert_eq!(schema(Compact::<AccountId>::json_schema), schema(BTreeSet::<AccountId>::json_schema));
        assert_eq!(schema(PrincipalList::json_schema), schema(BTreeSet::<Principal>::json_schema));
    }
}
