//! By what a distribution knows what is its own: tags, client tokens, names of AmiShares.
//!
//! Pure. All of them follow from the object's uid: one that was deleted and created again is another one.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest, Sha256};

use crate::{
    api::{AccountId, ImageId, KmsKeyId, Region},
    aws::words::Copy,
};

/// Every image and snapshot that the operator makes, for IAM policies that are narrowed to those (config/iam).
pub const MANAGED: &str = "amishare.dev/managed";

pub use crate::api::DISTRIBUTION;

/// Namespace and name of the object, for people.
pub const OWNER: &str = "amishare.dev/owner";

/// The name of the target.
pub const TARGET: &str = "amishare.dev/target";

/// Of which image with which key it is a copy: a [`Generation`].
pub const COPY: &str = "amishare.dev/copy";

/// The image that it is a copy of.
pub const SOURCE: &str = "amishare.dev/source";

/// The first digits of a hash of texts, none of which can be taken for two.
fn hash(texts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    let mut hexadecimal = String::new();
    for byte in hash.finalize() {
        // Writing to a text does not fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal.truncate(digits);
    hexadecimal
}

/// Of which image, and with which key, something is a copy. Another one of either makes another copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(String);

impl Generation {
    /// Of copies of an image with a key.
    pub fn of(region: &Region, image: &ImageId, key: Option<&KmsKeyId>) -> Self {
        Self(hash(&[region.as_str(), image.as_str(), key.map_or("", KmsKeyId::as_str)], 16))
    }

    /// As tags and the status have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The object that something belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Owner {
    /// The tags of a copy, and of its snapshots.
    pub fn tags(&self, target: &str, generation: &Generation, source: &ImageId) -> BTreeMap<String, String> {
        [
            (MANAGED, "true".to_owned()),
            (DISTRIBUTION, self.uid.clone()),
            (OWNER, self.full_name()),
            (TARGET, target.to_owned()),
            (COPY, generation.0.clone()),
            (SOURCE, source.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Whether a copy was made for a target of this object.
    pub fn made(&self, copy: &Copy, target: &str) -> bool {
        self.made_for(copy) == Some(target)
    }

    /// Whether a copy was made by an object of this name, for the same target, with the same source and key.
    pub fn is_of_its_name(&self, copy: &Copy, target: &str, generation: &Generation) -> bool {
        let has = |key: &str, value: &str| copy.tags.get(key).is_some_and(|known| known == value);
        has(OWNER, &self.full_name()) && has(TARGET, target) && has(COPY, &generation.0)
    }

    /// Namespace and name, as a tag holds them: EC2 takes 256 characters, and a name alone can have that many.
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name).chars().take(256).collect()
    }

    /// The target for which this object has made a copy, if it has. Whoever copies a copy with its tags has made another image.
    pub fn made_for<'a>(&self, copy: &'a Copy) -> Option<&'a str> {
        let tag = |key: &str| copy.tags.get(key).map(String::as_str);
        let is_of_its_source = copy.source.as_ref().is_none_or(|(_, source)| tag(SOURCE) == Some(source.as_str()));
        tag(TARGET).filter(|_| tag(DISTRIBUTION) == Some(&self.uid) && is_of_its_source)
    }

    /// The client token of an attempt at a copy, of those that began with a generation of the spec. The same attempt has the same token
    /// whatever has happened since: EC2 makes one copy for it. For a token that it knows, it names that copy even if it was deleted.
    pub fn token(&self, target: &str, generation: &Generation, begun_with: i64, attempt: i64) -> String {
        hash(&[&self.uid, target, &generation.0, &begun_with.to_string(), &attempt.to_string()], 48)
    }

    /// The client token of a report on who uses an image: one an hour.
    pub fn report_token(&self, image: &ImageId, hour: i64) -> String {
        hash(&[&self.uid, "report", image.as_str(), &hour.to_string()], 48)
    }

    /// The name of the AmiShare of an image that is a target's.
    pub fn share_name(&self, target: &str, image: &ImageId) -> String {
        self.child(target, &[target, image.as_str()])
    }

    /// The name of the AmiShare that opens the source to an account.
    pub fn opening_name(&self, source: &ImageId, account: AccountId) -> String {
        self.child("opening", &["", source.as_str(), &account.to_string()])
    }

    fn child(&self, what: &str, texts: &[&str]) -> String {
        let all: Vec<&str> = [self.uid.as_str()].into_iter().chain(texts.iter().copied()).collect();
        let begin: String = self.name.chars().take(150).collect();
        format!("{}-{what}-{}", begin.trim_end_matches(['.', '-']), hash(&all, 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> Owner {
        Owner { uid: uid.into(), namespace: "images".into(), name: "base".into() }
    }

    fn generation(key: Option<&str>) -> Generation {
        let key = key.map(|key| key.parse().unwrap());
        Generation::of(&"us-east-1".parse().unwrap(), &"ami-12345678".parse().unwrap(), key.as_ref())
    }

    #[test]
    fn another_object_target_image_key_or_attempt_has_another_token_and_the_same_has_the_same() {
        let (one, other) = (generation(None), generation(Some("alias/images")));
        let tokens = [
            owner("a").token("eu", &one, 1, 1),
            owner("b").token("eu", &one, 1, 1),
            owner("a").token("us", &one, 1, 1),
            owner("a").token("eu", &other, 1, 1),
            owner("a").token("eu", &one, 1, 2),
            owner("a").token("eu", &one, 2, 1),
        ];
        let distinct: std::collections::BTreeSet<&String> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len());
        assert_eq!(tokens[0], owner("a").token("eu", &one, 1, 1));
        assert!(tokens[0].len() <= 64, "the shorter of the two limits that AWS documents (aws.md section 1.0)");
    }

    #[test]
    fn names_of_children_are_names_that_kubernetes_takes_however_long_the_name_of_the_object_is() {
        let long = Owner { name: "a".repeat(253), ..owner("a") };
        let name = long.share_name(&"t".repeat(40), &"ami-12345678".parse().unwrap());
        assert!(name.len() <= 253 && name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
        let opening = owner("a").opening_name(&"ami-12345678".parse().unwrap(), "111122223333".parse().unwrap());
        assert!(opening.starts_with("base-opening-"), "{opening}");
    }
}
