//! The names that AWS gives to things, parsed once: a value of one of these types is well-formed.
//!
//! Pure: no I/O. Each type's schema pattern and its parser say the same; the tests hold them together.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A text that is not the name it should be; the message says what such a name looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct InvalidName {
    /// The text as it was given, cut to a length that fits a message.
    value: String,
    /// What was expected, with an example.
    expected: &'static str,
}

impl InvalidName {
    pub(super) fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.chars().take(64).collect(), expected }
    }
}

/// Gives a type that parses from and prints as one string its serde form. By hand, because objects hold thousands of these: the
/// derived form through `String` makes one for each.
macro_rules! as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}
pub(crate) use as_text;

/// Gives a type that parses from and prints as one string its serde form and its CRD schema.
macro_rules! string_form {
    ($type:ty, $name:literal, max_length: $max:literal, pattern: $pattern:expr) => {
        $crate::api::names::as_text!($type);

        impl $type {
            /// The pattern that the CRD schema carries, in the regular expressions that Kubernetes reads (RE2).
            pub const PATTERN: &'static str = $pattern;
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": $max, "pattern": $pattern})
            }
        }
    };
}

pub(super) use string_form;

/// An AWS account: twelve digits, of which leading zeros count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(u64);

impl FromStr for AccountId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(InvalidName::new(
                text,
                "an AWS account id: twelve digits without hyphens, such as \"012345678901\"",
            )),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Longer than any account id, so that one with hyphens is answered with the pattern and not with its length.
string_form!(AccountId, "AccountId", max_length: 32, pattern: "^[0-9]{12}$");

/// A name that is kept as its text.
macro_rules! text_name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(super) use text_name;

text_name! {
    /// An EC2 image (AMI): `ami-` and 8 or 17 hexadecimal digits.
    ImageId
}
text_name! {
    /// An EBS snapshot: `snap-` and 8 or 17 hexadecimal digits.
    SnapshotId
}
text_name! {
    /// An AWS Region, such as `us-east-1`.
    Region
}
text_name! {
    /// An AWS organization, such as `arn:aws:organizations::123456789012:organization/o-abcde12345`.
    OrganizationArn
}
text_name! {
    /// An organizational unit, such as `arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234`.
    OrganizationalUnitArn
}

text_name! {
    /// An identity of the operator's configuration: with which credentials, and so in whose account. `default` if there is no
    /// other.
    IdentityName
}

/// The name of the identity that a share has which names none.
const DEFAULT_IDENTITY: &str = "default";

impl Default for IdentityName {
    fn default() -> Self {
        Self(DEFAULT_IDENTITY.into())
    }
}

impl IdentityName {
    /// Whether it is the one that a share has which names none.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT_IDENTITY
    }
}

/// The longest name that Kubernetes gives namespaces and the like, and the configuration file its entries (RFC 1123 label).
pub const LONGEST_LABEL: usize = 63;

/// Whether a text is made as the names of namespaces are. One that is only a beginning may end with a hyphen.
pub fn is_label(text: &str, is_beginning: bool) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=LONGEST_LABEL).contains(&text.len())
        && text.chars().all(|c| alphanumeric(c) || c == '-')
        && text.starts_with(alphanumeric)
        && (is_beginning || text.ends_with(alphanumeric))
}

impl FromStr for IdentityName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_label(text, false) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName::new(
            text,
            "the name of an identity: up to 63 lower-case letters, digits and hyphens, such as production",
        ))
    }
}

string_form!(IdentityName, "IdentityName", max_length: 63, pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$");

/// `prefix-` and 8 or 17 lower-case hexadecimal digits: how EC2 writes the ids of its resources.
fn is_resource_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

impl FromStr for ImageId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_resource_id(text, "ami-") {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(
                text,
                "an image id: ami- and 8 or 17 hexadecimal digits, such as ami-0123456789abcdef0",
            ))
        }
    }
}

string_form!(ImageId, "ImageId", max_length: 21, pattern: "^ami-([0-9a-f]{8}|[0-9a-f]{17})$");

impl FromStr for SnapshotId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_resource_id(text, "snap-") {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(text, "a snapshot id: snap- and 8 or 17 hexadecimal digits"))
        }
    }
}

string_form!(SnapshotId, "SnapshotId", max_length: 22, pattern: "^snap-([0-9a-f]{8}|[0-9a-f]{17})$");

impl FromStr for Region {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = text.split('-').collect();
        let well_formed = match parts.as_slice() {
            [area, directions @ .., number] => {
                matches!(area.len(), 2..=4)
                    && area.bytes().all(|b| b.is_ascii_lowercase())
                    && matches!(directions.len(), 1..=3)
                    && directions.iter().all(|d| matches!(d.len(), 1..=12) && d.bytes().all(|b| b.is_ascii_lowercase()))
                    && matches!(number.len(), 1..=2)
                    && number.bytes().all(|b| b.is_ascii_digit())
            }
            _ => false,
        };
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(text, "an AWS Region, such as us-east-1"))
        }
    }
}

string_form!(Region, "Region", max_length: 32, pattern: "^[a-z]{2,4}(-[a-z]{1,12}){1,3}-[0-9]{1,2}$");

/// The partitions whose Regions have a prefix of their own, most specific first; all other Regions are in `aws`.
/// Source: botocore's `partitions.json` (aws.md section 2.1).
pub const PARTITION_OF_REGION_PREFIX: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-iso-", "aws-iso"),
    ("eusc-", "aws-eusc"),
];

impl Region {
    /// The partition that the Region belongs to, as ARNs write it.
    pub fn partition(&self) -> &'static str {
        PARTITION_OF_REGION_PREFIX
            .iter()
            .find_map(|(prefix, partition)| self.0.starts_with(prefix).then_some(*partition))
            .unwrap_or("aws")
    }
}

/// The parts of `arn:PARTITION:organizations::ACCOUNT:RESOURCE` when the text has that shape.
fn organizations_arn(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let is_partition =
        partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    (arn == "arn"
        && is_partition
        && service == "organizations"
        && region.is_empty()
        && account.parse::<AccountId>().is_ok())
    .then_some((partition, resource))
}

/// Lower-case letters and digits, as many as the range allows.
fn is_token(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_organization_id(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|id| is_token(id, 10..=32))
}

impl FromStr for OrganizationArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        organizations_arn(text)
            .and_then(|(_, resource)| resource.strip_prefix("organization/"))
            .filter(|id| is_organization_id(id))
            .map(|_| Self(text.into()))
            .ok_or_else(|| {
                InvalidName::new(
                    text,
                    "the ARN of an organization, such as arn:aws:organizations::123456789012:organization/o-abcde12345",
                )
            })
    }
}

// The pattern of Image Builder's API model (aws.md section 2.1), anchored at its end.
string_form!(
    OrganizationArn, "OrganizationArn", max_length: 128,
    pattern: "^arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}$"
);

impl FromStr for OrganizationalUnitArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_unit = |unit: &str| {
            unit.strip_prefix("ou-")
                .and_then(|rest| rest.split_once('-'))
                .is_some_and(|(root, id)| is_token(root, 4..=32) && is_token(id, 8..=32))
        };
        organizations_arn(text)
            .and_then(|(_, resource)| resource.strip_prefix("ou/"))
            .and_then(|path| path.split_once('/'))
            .filter(|(organization, unit)| is_organization_id(organization) && is_unit(unit))
            .map(|_| Self(text.into()))
            .ok_or_else(|| {
                InvalidName::new(
                    text,
                    "the ARN of an organizational unit, such as \
                     arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234",
                )
            })
    }
}

string_form!(
    OrganizationalUnitArn, "OrganizationalUnitArn", max_length: 192,
    pattern: "^arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$"
);

impl OrganizationArn {
    /// The partition of the ARN.
    pub fn partition(&self) -> &str {
        organizations_arn(&self.0).map_or("aws", |(partition, _)| partition)
    }
}

impl OrganizationalUnitArn {
    /// The partition of the ARN.
    pub fn partition(&self) -> &str {
        organizations_arn(&self.0).map_or("aws", |(partition, _)| partition)
    }
}

/// Where images are: in the account of an identity, in a Region. AWS limits request rates for each of these apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// The identity whose account it is.
    pub identity: IdentityName,
    /// The Region.
    pub region: Region,
}

impl Site {
    /// A Region, as the operator's own credentials see it.
    pub fn own(region: Region) -> Self {
        Self { identity: IdentityName::default(), region }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.identity.is_default() {
            return self.region.fmt(f);
        }
        write!(f, "{}/{}", self.identity, self.region)
    }
}

/// An image where it is: the unit that is reconciled with AWS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// Where the image is.
    pub site: Site,
    /// The image.
    pub id: ImageId,
}

impl ImageRef {
    /// The Region that holds the image.
    pub fn region(&self) -> &Region {
        &self.site.region
    }

    /// Another image in the same place.
    #[must_use]
    pub fn beside(&self, id: ImageId) -> Self {
        Self { site: self.site.clone(), id }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_keeps_its_leading_zeros() {
        assert_eq!("001234567890".parse::<AccountId>().unwrap().to_string(), "001234567890");
    }

    #[test]
    fn an_account_id_of_another_length_or_with_hyphens_is_refused_with_an_example() {
        for bad in ["12345678901", "1234567890123", "1234-5678-9012", "12345678901 ", "+12345678901", ""] {
            let error = bad.parse::<AccountId>().unwrap_err().to_string();
            assert!(error.contains("twelve digits"), "{error}");
        }
    }

    #[test]
    fn image_ids_have_eight_or_seventeen_hexadecimal_digits() {
        for good in ["ami-0123456789abcdef0", "ami-12345678"] {
            assert_eq!(good.parse::<ImageId>().unwrap().as_str(), good);
        }
        for bad in ["ami-123", "ami-0123456789ABCDEF0", "snap-12345678", "ami-0123456789abcdefg", ""] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_partition_is_known_by_its_regions() {
        for (region, partition) in [
            ("us-east-1", "aws"),
            ("ap-southeast-2", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("us-isof-south-1", "aws-iso-f"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(region.parse::<Region>().unwrap().partition(), partition, "{region}");
        }
    }

    #[test]
    fn a_region_that_is_misspelled_is_refused() {
        for bad in ["us_east_1", "us-east", "US-EAST-1", "us-east-1a", "useast1", "-east-1", "us--1", ""] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    #[test]
    fn organization_arns_are_told_from_unit_arns() {
        let organization = "arn:aws-us-gov:organizations::123456789012:organization/o-abcde12345";
        let unit = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";
        assert_eq!(organization.parse::<OrganizationArn>().unwrap().partition(), "aws-us-gov");
        assert_eq!(unit.parse::<OrganizationalUnitArn>().unwrap().partition(), "aws");
        assert!(organization.parse::<OrganizationalUnitArn>().is_err());
        assert!(unit.parse::<OrganizationArn>().is_err());
        assert!("arn:aws:organizations::123456789012:organization/o-short".parse::<OrganizationArn>().is_err());
        assert!("arn:aws:iam::123456789012:organization/o-abcde12345".parse::<OrganizationArn>().is_err());
    }
}
