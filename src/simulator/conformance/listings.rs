//! Section 1.0: pages and filters.

use super::harness::{
    Aws, FRIEND, IMAGE, KEY_IMAGE, KEY_SNAPSHOT, OWNER, REGION, SNAPSHOT, SOLD_IMAGE, UNKNOWN_IMAGE, UNKNOWN_SNAPSHOT,
};

/// Twelve images, in pages of five.
#[test]
fn pages_follow_each_other_by_token_and_hold_everything_once() {
    let aws = Aws::new();
    let mut names = Vec::new();
    aws.0.with_world(|world| {
        let images = &mut world.regions.get_mut(REGION).unwrap().images;
        let image = images[IMAGE].clone();
        images.clear();
        for number in 10..22 {
            let id = format!("ami-00000000000000a{number}");
            images.insert(id.clone(), crate::simulator::Image { id: id.clone(), ..image.clone() });
            names.push(id);
        }
    });
    let mut found = Vec::new();
    let mut token = None;
    let mut pages = 0;
    loop {
        let mut params = vec![("MaxResults", "5")];
        params.extend(token.as_deref().map(|token| ("NextToken", token)));
        let answer = aws.ok(OWNER, "DescribeImages", &params);
        found.extend(answer.all("imageId"));
        pages += 1;
        token = answer.one("nextToken");
        if token.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (names, 3));
}

#[test]
fn a_page_is_not_disturbed_by_what_goes_before_it() {
    let aws = Aws::new();
    aws.0.with_world(|world| {
        let images = &mut world.regions.get_mut(REGION).unwrap().images;
        let image = images[IMAGE].clone();
        for number in 10..15 {
            let id = format!("ami-00000000000000a{number}");
            images.insert(id.clone(), crate::simulator::Image { id, ..image.clone() });
        }
    });
    let first = aws.ok(OWNER, "DescribeImages", &[("MaxResults", "5")]);
    let token = first.one("nextToken").unwrap();
    aws.ok(OWNER, "DeregisterImage", &[("ImageId", "ami-00000000000000a10")]);
    let second = aws.images(OWNER, &[("MaxResults", "5"), ("NextToken", &token)]);
    assert_eq!(second.len(), 5);
    assert!(second.iter().all(|id| !first.all("imageId").contains(id)));
}

#[test]
fn without_max_results_everything_comes_at_once() {
    let answer = Aws::new().ok(OWNER, "DescribeImages", &[]);
    assert_eq!((answer.all("imageId").len(), answer.one("nextToken")), (5, None));
}

#[test]
fn ids_and_max_results_exclude_each_other() {
    let text = "The parameter imageIdsSet cannot be used with the parameter maxResults";
    let params = [("ImageId.1", IMAGE), ("MaxResults", "5")];
    Aws::new().refused(OWNER, "DescribeImages", &params, "InvalidParameterCombination", text);
}

#[test]
fn max_results_is_between_five_and_a_thousand() {
    let aws = Aws::new();
    let text = "Invalid value '1' for maxResults. Expecting a value greater than 5.";
    for action in ["DescribeImages", "DescribeSnapshots", "DescribeTags"] {
        aws.refused(OWNER, action, &[("MaxResults", "1")], "InvalidParameterValue", text);
        aws.ok(OWNER, action, &[("MaxResults", "5")]);
        aws.ok(OWNER, action, &[("MaxResults", "1000")]);
        assert_eq!(aws.ec2(OWNER, action, &[("MaxResults", "1001")]).code().as_deref(), Some("InvalidParameterValue"));
    }
}

#[test]
fn a_token_that_was_not_given_out_is_refused() {
    let answer = Aws::new().ec2(OWNER, "DescribeImages", &[("NextToken", "more")]);
    assert_eq!(answer.code().as_deref(), Some("InvalidParameterValue"));
}

#[test]
fn all_filters_have_to_match_with_any_of_their_values() {
    let aws = Aws::new();
    let filter = |params: &[(&str, &str)]| aws.images(OWNER, params);
    let name = [("Filter.1.Name", "name"), ("Filter.1.Value.1", "x"), ("Filter.1.Value.2", "b?s*")];
    assert_eq!(filter(&name), [IMAGE]);
    let encrypted = [("Filter.1.Name", "block-device-mapping.encrypted"), ("Filter.1.Value.1", "true")];
    assert_eq!(filter(&encrypted).len(), 2);
    let both = [name[0], name[2], ("Filter.2.Name", "block-device-mapping.encrypted"), ("Filter.2.Value.1", "true")];
    assert!(filter(&both).is_empty());
    let unknown_id = [("Filter.1.Name", "image-id"), ("Filter.1.Value.1", KEY_IMAGE), ("Filter.1.Value.2", "ami-zzz")];
    assert_eq!(filter(&unknown_id), [KEY_IMAGE], "by filter, an unknown id is simply absent");
    assert_eq!(filter(&[("Filter.1.Name", "product-code"), ("Filter.1.Value.1", "abc")]), [SOLD_IMAGE]);
    assert!(filter(&[("Filter.1.Name", "name"), ("Filter.1.Value.1", "BASE")]).is_empty(), "case counts");
}

#[test]
fn tag_filters_see_the_tags_that_the_caller_sees() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.ok(OWNER, "CreateTags", &[("ResourceId.1", IMAGE), ("Tag.1.Key", "team"), ("Tag.1.Value", "images")]);
    let filter = [("Filter.1.Name", "tag:team"), ("Filter.1.Value.1", "images")];
    assert_eq!(aws.images(OWNER, &filter), [IMAGE]);
    assert!(aws.images(FRIEND, &filter).is_empty());
    assert_eq!(aws.images(OWNER, &[("Filter.1.Name", "tag-key"), ("Filter.1.Value.1", "te*")]), [IMAGE]);
}

#[test]
fn a_filter_that_does_not_exist_is_refused() {
    let params = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    Aws::new().refused(OWNER, "DescribeImages", &params, "InvalidParameterValue", "The filter 'colour' is invalid");
}

#[test]
fn more_than_two_hundred_values_or_fifty_filters_are_too_many() {
    let answer = |params: &[(String, String)]| {
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Aws::new().ec2(OWNER, "DescribeImages", &params)
    };
    let too_many = (400, "FilterLimitExceeded".to_owned());
    let values = |count: u32| -> Vec<(String, String)> {
        let name = [("Filter.1.Name".to_owned(), "image-id".to_owned())];
        name.into_iter().chain((1..=count).map(|index| (format!("Filter.1.Value.{index}"), IMAGE.to_owned()))).collect()
    };
    assert_eq!(answer(&values(200)).status, 200);
    assert_eq!(answer(&values(201)).refusal(), too_many);
    let filters = |count: u32| -> Vec<(String, String)> {
        let filter = |index| {
            [
                (format!("Filter.{index}.Name"), "image-id".to_owned()),
                (format!("Filter.{index}.Value.1"), IMAGE.to_owned()),
            ]
        };
        (1..=count).flat_map(filter).collect()
    };
    assert_eq!(answer(&filters(50)).status, 200);
    assert_eq!(answer(&filters(51)).refusal(), too_many);
}

#[test]
fn a_filter_by_ids_finds_those_that_the_caller_sees_and_ignores_those_that_do_not_exist() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    let filter = [
        ("Filter.1.Name", "image-id"),
        ("Filter.1.Value.1", KEY_IMAGE),
        ("Filter.1.Value.2", UNKNOWN_IMAGE),
        ("Filter.1.Value.3", IMAGE),
    ];
    assert_eq!(aws.images(OWNER, &filter), [IMAGE, KEY_IMAGE]);
    assert_eq!(aws.images(FRIEND, &filter), [IMAGE]);
    let with_wildcard = [&filter[..], &[("Filter.1.Value.4", "ami-0121*")]].concat();
    assert_eq!(aws.images(OWNER, &with_wildcard), [SOLD_IMAGE, IMAGE, KEY_IMAGE]);
    let with_name = [&filter[..], &[("Filter.2.Name", "name"), ("Filter.2.Value.1", "base")]].concat();
    assert_eq!(aws.images(OWNER, &with_name), [IMAGE]);
    let with_id = [&filter[..], &[("ImageId.1", SOLD_IMAGE)]].concat();
    assert!(aws.images(OWNER, &with_id).is_empty());
}

#[test]
fn a_filter_by_snapshot_ids_finds_those_that_the_caller_sees() {
    let aws = Aws::new();
    let filter = [
        ("Filter.1.Name", "snapshot-id"),
        ("Filter.1.Value.1", KEY_SNAPSHOT),
        ("Filter.1.Value.2", UNKNOWN_SNAPSHOT),
        ("Filter.1.Value.3", SNAPSHOT),
    ];
    let ids = |account| aws.ok(account, "DescribeSnapshots", &filter).all("snapshotId");
    assert_eq!(ids(OWNER), [SNAPSHOT, KEY_SNAPSHOT]);
    assert!(ids(FRIEND).is_empty());
}
