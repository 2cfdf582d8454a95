//! Lists and words of the configuration file, read so that every error happens inside the element that it is about: that is what
//! gives it line, column and path.
//!
//! Pure.

use std::{collections::BTreeSet, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads exactly one word.
pub(super) struct Exactly(pub(super) &'static str);

impl Visitor<'_> for Exactly {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text == self.0 { Ok(()) } else { Err(E::custom(format!("{text:?} is not {}", self.0))) }
    }
}

/// Reads a list of words of which each is there once, and which is not empty.
pub(super) fn distinct<'de, T, D>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    T: FromStr<Err: fmt::Display> + Ord,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Distinct(PhantomData))
}

/// The same, of a field that can be left out. A field that is there and says nothing is an empty list, and not one that is left out.
pub(super) fn some_distinct<'de, T, D>(deserializer: D) -> Result<Option<BTreeSet<T>>, D::Error>
where
    T: FromStr<Err: fmt::Display> + Ord,
    D: Deserializer<'de>,
{
    distinct(deserializer).map(Some)
}

/// Reads what is there, of a field that can be left out. A field that is there and says nothing is not one that is left out.
pub(super) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

struct Distinct<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display> + Ord> Visitor<'de> for Distinct<T> {
    type Value = BTreeSet<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BTreeSet<T>, A::Error> {
        let mut known = BTreeSet::new();
        while list.next_element_seed(Word(&mut known))?.is_some() {}
        if known.is_empty() {
            return Err(A::Error::custom(
                "is an empty list, which could mean none or any; list something, or leave it out",
            ));
        }
        Ok(known)
    }
}

/// One more word of a list.
struct Word<'a, T>(&'a mut BTreeSet<T>);

impl<'de, T: FromStr<Err: fmt::Display> + Ord> DeserializeSeed<'de> for Word<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: FromStr<Err: fmt::Display> + Ord> Visitor<'_> for Word<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let word = text.parse().map_err(E::custom)?;
        if self.0.insert(word) { Ok(()) } else { Err(E::custom(format!("{text:?} is listed twice"))) }
    }
}

/// Something that is named in a list.
pub(super) trait Named {
    /// The name.
    fn name(&self) -> &str;

    /// What is wrong with it beyond its single fields, in words. `others` are those before it in the list.
    ///
    /// # Errors
    /// When something is.
    fn check(&self, others: &[Self]) -> Result<(), String>
    where
        Self: Sized;
}

/// Reads a list of things of which each has a name of its own. It may be empty.
pub(super) fn named<'de, T: Named + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    // Not as a list: that would take a field that says nothing for an empty one.
    deserializer.deserialize_any(NamedList { if_empty: None, of: PhantomData })
}

/// The same, of a list of which `if_empty` says what is wrong when it is empty.
pub(super) fn some_named<'de, T: Named + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    if_empty: &'static str,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(NamedList { if_empty: Some(if_empty), of: PhantomData })
}

struct NamedList<T> {
    if_empty: Option<&'static str>,
    of: PhantomData<T>,
}

impl<'de, T: Named + Deserialize<'de>> Visitor<'de> for NamedList<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut known = Vec::new();
        while list.next_element_seed(Thing(&mut known))?.is_some() {}
        match self.if_empty.filter(|_| known.is_empty()) {
            Some(wrong) => Err(A::Error::custom(wrong)),
            None => Ok(known),
        }
    }
}

/// One more thing of a list.
struct Thing<'a, T>(&'a mut Vec<T>);

impl<'de, T: Named + Deserialize<'de>> DeserializeSeed<'de> for Thing<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Named + Deserialize<'de>> Visitor<'de> for Thing<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with a name")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let thing = T::deserialize(MapAccessDeserializer::new(map))?;
        if let Some(index) = self.0.iter().position(|other| other.name() == thing.name()) {
            return Err(A::Error::custom(format!(
                "the name {:?} is that of number {} already",
                thing.name(),
                index + 1
            )));
        }
        thing.check(self.0).map_err(A::Error::custom)?;
        self.0.push(thing);
        Ok(())
    }
}
