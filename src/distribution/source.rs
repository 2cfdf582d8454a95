//! Which of the images that are found is the source.
//!
//! Pure: no clock, no I/O.

use k8s_openapi::jiff::Timestamp;

use super::marks::DISTRIBUTION;
use crate::{
    api::{ImageId, Reason, Region, source_image::SourceImage},
    aws::words::Copy,
};

/// Whether an image counts. A copy that a distribution has made never does: by a name that it shares with its source it would be the
/// next source, and its copy the next.
fn counts(image: &Copy, now: Timestamp) -> bool {
    image.state == "available"
        && image.deprecated.is_none_or(|deprecated| deprecated > now)
        && !image.tags.contains_key(DISTRIBUTION)
}

/// The source among those that were found.
///
/// # Errors
/// When there is none, or it cannot be told which.
pub fn choose(
    wanted: &SourceImage,
    region: &Region,
    found: &[Copy],
    now: Timestamp,
) -> Result<ImageId, (Reason, String)> {
    let mut images: Vec<&Copy> = found.iter().filter(|image| counts(image, now)).collect();
    images.sort_by_key(|image| std::cmp::Reverse((image.created, image.id.clone())));
    let owner = wanted.owner.as_deref().unwrap_or("self");
    match images[..] {
        [] => {
            let message = format!(
                "no image of {owner} in {region} has {wanted}, is available and not deprecated; check spec.source.image, and \
                 whether the image is there"
            );
            Err((Reason::ImageNotFound, message))
        }
        [one] => Ok(one.id.clone()),
        [newest, ..] if wanted.newest => Ok(newest.id.clone()),
        [one, other, ..] => {
            let message = format!(
                "{} images of {owner} in {region} have {wanted}, {} and {} among them; set newest: true, or say more exactly which",
                images.len(),
                one.id,
                other.id
            );
            Err((Reason::ImageAmbiguous, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use k8s_openapi::jiff::SignedDuration;

    use super::*;
    use crate::aws::words::Protection;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    /// An image that is so many days old.
    fn image(days: i64) -> Copy {
        Copy {
            id: format!("ami-{days:08x}").parse().unwrap(),
            name: Some("golden".into()),
            state: "available".into(),
            reason: None,
            created: Some(now() - SignedDuration::from_hours(24 * days)),
            source: None,
            tags: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            encrypted: false,
            deprecated: None,
            protection: Protection::Off,
            launched: None,
            public: false,
        }
    }

    fn choose(newest: bool, found: &[Copy]) -> Result<ImageId, (Reason, String)> {
        let wanted = SourceImage { name: Some("golden*".into()), newest, ..SourceImage::default() };
        super::choose(&wanted, &"us-east-1".parse().unwrap(), found, now())
    }

    #[test]
    fn the_newest_is_taken_if_that_is_wanted_and_several_are_an_error_otherwise() {
        let found = [image(3), image(1), image(2)];
        assert_eq!(choose(true, &found), Ok(image(1).id));
        let (reason, message) = choose(false, &found).unwrap_err();
        assert_eq!(reason, Reason::ImageAmbiguous);
        assert!(message.contains("3 images") && message.contains("newest: true"), "{message}");
        assert_eq!(choose(false, &found[..1]), Ok(image(3).id));
    }

    #[test]
    fn what_is_not_available_or_deprecated_or_a_copy_of_ours_does_not_count() {
        let (mut pending, mut deprecated, mut ours) = (image(1), image(2), image(3));
        pending.state = "pending".into();
        deprecated.deprecated = Some(now());
        ours.tags.insert(DISTRIBUTION.into(), "u".into());
        let all = [pending, deprecated, ours, image(4)];
        assert_eq!(choose(true, &all), Ok(image(4).id));
        let (reason, message) = choose(true, &all[..3]).unwrap_err();
        assert_eq!(reason, Reason::ImageNotFound);
        assert!(message.contains("name golden*"), "{message}");
    }

    #[test]
    fn of_two_that_were_made_at_once_it_is_always_the_same() {
        let mut other = image(1);
        other.id = "ami-0fffffff".parse().unwrap();
        assert_eq!(choose(true, &[image(1), other.clone()]), choose(true, &[other, image(1)]));
    }
}
