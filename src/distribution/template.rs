//! Names and descriptions of copies, made of the template.
//!
//! Pure.

use crate::api::{
    ImageId, Region,
    ami_distribution::{CopyTemplate, DistributionTarget},
};

/// How long the name of an image may be (aws.md section 1.1).
const NAME: std::ops::RangeInclusive<usize> = 3..=128;

/// How long a description may be (aws.md section 1.5).
const DESCRIPTION: usize = 255;

/// What placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// The name of the source, if it has one.
    pub source_name: Option<&'a str>,
    /// The source.
    pub source: &'a ImageId,
    /// Where it is.
    pub region: &'a Region,
    /// Where the copy is to be.
    pub target: &'a DistributionTarget,
}

impl Filling<'_> {
    fn fill(&self, text: &str) -> String {
        // Values have no braces: what is filled in is not filled in again.
        let values = [
            ("{source.name}", self.source_name.unwrap_or(self.source.as_str())),
            ("{source.id}", self.source.as_str()),
            ("{source.region}", self.region.as_str()),
            ("{target.name}", self.target.name.as_str()),
            ("{target.region}", self.target.region.as_str()),
        ];
        values.into_iter().fold(text.to_owned(), |text, (placeholder, value)| text.replace(placeholder, value))
    }

    /// The name of the copy.
    ///
    /// # Errors
    /// When it is none that EC2 takes; the error says what to change.
    pub fn name(&self, template: &CopyTemplate) -> Result<String, String> {
        let name = self.fill(&template.name);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
        if let Some(strange) = name.chars().find(|c| !is_allowed(*c)) {
            let message = format!(
                "the name {name:?} that template.name gives has {strange:?} in it; names of images are made of letters, digits, spaces \
                 and ()[]./-'@_"
            );
            return Err(message);
        }
        let length = name.chars().count();
        if !NAME.contains(&length) {
            let (least, most) = (NAME.start(), NAME.end());
            let message = format!(
                "the name {name:?} that template.name gives has {length} characters; names of images have {least} to {most}"
            );
            return Err(message);
        }
        Ok(name)
    }

    /// The description of the copy, if it is to have one.
    pub fn description(&self, template: &CopyTemplate) -> Option<String> {
        let filled = self.fill(template.description.as_deref()?);
        Some(filled.chars().take(DESCRIPTION).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::IdentityName;

    fn target() -> DistributionTarget {
        let region = "eu-west-1".parse().unwrap();
        DistributionTarget {
            name: "eu".into(),
            region,
            identity: IdentityName::default(),
            kms_key_id: None,
            share: None,
        }
    }

    fn name(template: &str, source_name: Option<&str>) -> Result<String, String> {
        let (source, region, target) = ("ami-12345678".parse().unwrap(), "us-east-1".parse().unwrap(), target());
        let filling = Filling { source_name, source: &source, region: &region, target: &target };
        filling.name(&CopyTemplate { name: template.into(), ..CopyTemplate::default() })
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(name("{source.name}", Some("golden")).unwrap(), "golden");
        let all = "{source.name}/{source.id}/{source.region}/{target.name}/{target.region}";
        assert_eq!(name(all, Some("golden")).unwrap(), "golden/ami-12345678/us-east-1/eu/eu-west-1");
        assert_eq!(name("{source.name}", None).unwrap(), "ami-12345678", "an image without a name");
    }

    #[test]
    fn a_name_that_ec2_would_not_take_is_refused_with_what_to_change() {
        let long = "x".repeat(120);
        let message = name("{source.name}-{target.region}", Some(&long)).unwrap_err();
        assert!(message.contains("130 characters") && message.contains("3 to 128"), "{message}");
        assert!(name("ab", None).unwrap_err().contains("has 2 characters"));
        assert!(name("a{target.color}", None).unwrap_err().contains("has '{' in it"));
    }

    #[test]
    fn a_description_is_cut_to_what_ec2_takes() {
        let (source, region, target) = ("ami-12345678".parse().unwrap(), "us-east-1".parse().unwrap(), target());
        let filling = Filling { source_name: None, source: &source, region: &region, target: &target };
        let template = CopyTemplate { description: Some("é".repeat(300)), ..CopyTemplate::default() };
        assert_eq!(filling.description(&template).unwrap().chars().count(), 255);
        assert_eq!(filling.description(&CopyTemplate::default()), None);
    }
}
