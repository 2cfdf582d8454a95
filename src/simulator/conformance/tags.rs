//! Section 1.9: tags, and who sees them.

use super::harness::{Aws, FRIEND, IMAGE, OWNER, SNAPSHOT, STRANGER, UNKNOWN_IMAGE};

fn create(aws: &Aws, account: &str, id: &str, key: &str, value: &str) -> Option<String> {
    aws.ec2(account, "CreateTags", &[("ResourceId.1", id), ("Tag.1.Key", key), ("Tag.1.Value", value)]).code()
}

fn keys(aws: &Aws, account: &str) -> Vec<String> {
    aws.ok(account, "DescribeTags", &[("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", IMAGE)]).all("key")
}

#[test]
fn each_account_has_tags_of_its_own_and_sees_the_owners_shared_ones() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    assert_eq!(create(&aws, OWNER, IMAGE, "team", "images"), None);
    assert_eq!(create(&aws, OWNER, IMAGE, "ec2:SharedTag/os", "al2023"), None);
    assert_eq!(create(&aws, FRIEND, IMAGE, "mine", ""), None);
    assert_eq!(keys(&aws, OWNER), ["ec2:SharedTag/os", "team"]);
    assert_eq!(keys(&aws, FRIEND), ["ec2:SharedTag/os", "mine"]);
    let seen = aws.ok(FRIEND, "DescribeImages", &[("ImageId.1", IMAGE)]);
    assert_eq!(seen.all("key"), ["ec2:SharedTag/os", "mine"]);
    assert!(keys(&aws, STRANGER).is_empty());
}

#[test]
fn shared_tags_are_the_owners_and_on_images() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    let code = Some("OperationNotPermitted".to_owned());
    assert_eq!(create(&aws, FRIEND, IMAGE, "ec2:SharedTag/os", "x"), code);
    assert_eq!(create(&aws, OWNER, SNAPSHOT, "ec2:SharedTag/os", "x"), code);
}

#[test]
fn what_the_caller_cannot_see_cannot_be_tagged() {
    let aws = Aws::new();
    assert_eq!(create(&aws, FRIEND, IMAGE, "a", "b").as_deref(), Some("InvalidAMIID.NotFound"));
    assert_eq!(create(&aws, OWNER, UNKNOWN_IMAGE, "a", "b").as_deref(), Some("InvalidAMIID.NotFound"));
    assert_eq!(create(&aws, FRIEND, SNAPSHOT, "a", "b").as_deref(), Some("InvalidSnapshot.NotFound"));
    assert_eq!(create(&aws, OWNER, "i-12345678", "a", "b").as_deref(), Some("InvalidID"));
}

#[test]
fn reserved_empty_and_long_keys_are_malformed() {
    let aws = Aws::new();
    for key in ["aws:x", "AWS:x", "", &"k".repeat(129)] {
        assert_eq!(create(&aws, OWNER, IMAGE, key, "v").as_deref(), Some("InvalidTagKey.Malformed"), "{key}");
    }
}

#[test]
fn a_resource_has_at_most_fifty_tags_of_an_account() {
    let aws = Aws::new();
    for number in 0..50 {
        assert_eq!(create(&aws, OWNER, IMAGE, &format!("key-{number}"), "v"), None);
    }
    assert_eq!(create(&aws, OWNER, IMAGE, "key-1", "changed"), None, "writing again is not one more");
    assert_eq!(create(&aws, OWNER, IMAGE, "one-more", "v").as_deref(), Some("TagLimitExceeded"));
}

#[test]
fn one_wrong_resource_fails_the_whole_call() {
    let aws = Aws::new();
    let params = [("ResourceId.1", IMAGE), ("ResourceId.2", UNKNOWN_IMAGE), ("Tag.1.Key", "a")];
    assert_eq!(aws.ec2(OWNER, "CreateTags", &params).code().as_deref(), Some("InvalidAMIID.NotFound"));
    assert!(keys(&aws, OWNER).is_empty());
}

#[test]
fn a_tag_is_deleted_by_key_by_key_and_value_or_with_all_others() {
    let aws = Aws::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")] {
        create(&aws, OWNER, IMAGE, key, value);
    }
    let delete = |params: &[(&str, &str)]| {
        let mut all = vec![("ResourceId.1", IMAGE)];
        all.extend(params);
        aws.ok(OWNER, "DeleteTags", &all);
        keys(&aws, OWNER)
    };
    assert_eq!(delete(&[("Tag.1.Key", "a")]), ["b", "c", "d"]);
    assert_eq!(delete(&[("Tag.1.Key", "b"), ("Tag.1.Value", "other")]), ["b", "c", "d"]);
    assert_eq!(delete(&[("Tag.1.Key", "b"), ("Tag.1.Value", "")]), ["b", "c", "d"]);
    assert_eq!(delete(&[("Tag.1.Key", "b"), ("Tag.1.Value", "2")]), ["c", "d"]);
    assert!(delete(&[]).is_empty());
}
