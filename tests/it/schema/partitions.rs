//! ARNs are of the partition of the Region.

use amishare::api::{Region, names::PARTITION_OF_REGION_PREFIX};
use futures::{StreamExt, stream};
use serde_json::json;

use super::{check, judge, world};

const MESSAGE: &str = "spec.shareWith: Invalid value: organizationArns and organizationalUnitArns must be in the partition of region, \
                       such as arn:aws: for us-east-1, arn:aws-cn: for cn-north-1 and arn:aws-us-gov: for us-gov-west-1";

fn organization(partition: &str) -> String {
    format!("arn:{partition}:organizations::123456789012:organization/o-abcde12345")
}

fn unit(partition: &str) -> String {
    format!("arn:{partition}:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234")
}

/// The rule is in the schema, in a language of its own, and in the operator: this holds the two together. A Region of every
/// prefix that the operator knows, an ARN of every partition.
#[tokio::test]
async fn arns_of_every_partition_are_accepted_in_its_regions_and_in_no_others() {
    let world = world().await;
    let mut regions = vec!["us-east-1".to_owned(), "eu-central-1".to_owned(), "ap-southeast-2".to_owned()];
    regions.extend(PARTITION_OF_REGION_PREFIX.iter().map(|(prefix, _)| format!("{prefix}north-1")));
    let mut partitions = vec!["aws"];
    partitions.extend(PARTITION_OF_REGION_PREFIX.iter().map(|(_, partition)| *partition));
    let mut cases = Vec::new();
    for region in &regions {
        let own = region.parse::<Region>().unwrap().partition();
        for partition in &partitions {
            cases.push((region, *partition == own, json!({"organizationArns": [organization(partition)]})));
            cases.push((region, *partition == own, json!({"organizationalUnitArns": [unit(partition)]})));
        }
    }
    let answers = stream::iter(cases).map(|(region, fits, share_with)| {
        let spec = json!({"region": region, "image": {"id": "ami-12345678"}, "shareWith": share_with.clone()});
        let checked = check(&world, spec);
        async move { (region, fits, share_with, checked.await) }
    });
    let answers: Vec<_> = answers.buffer_unordered(8).collect().await;
    assert_eq!(answers.iter().filter(|(_, fits, ..)| *fits).count(), 2 * regions.len());
    for (region, fits, share_with, answer) in answers {
        match answer {
            Ok(()) => assert!(fits, "{region}: {share_with} is accepted"),
            Err(message) => assert!(!fits && message.contains(MESSAGE), "{region}: {share_with}: {message}"),
        }
    }
}

#[tokio::test]
async fn one_arn_of_another_partition_is_enough_for_a_refusal_that_says_what_to_write() {
    let both = |region: &str, first: &str, second: &str| {
        let (first, second) = (organization(first), unit(second));
        format!(
            "{{region: {region}, image: {{id: ami-12345678}}, \
             shareWith: {{organizationArns: [\"{first}\"], organizationalUnitArns: [\"{second}\"]}}}}"
        )
    };
    let answers = judge(
        &world().await,
        &[
            ("china", both("cn-northwest-1", "aws-cn", "aws-cn")),
            ("organization", both("us-gov-west-1", "aws", "aws-us-gov")),
            ("unit", both("us-gov-west-1", "aws-us-gov", "aws")),
        ],
    )
    .await;
    answers.accepts("china");
    answers.refuses("organization", MESSAGE);
    answers.refuses("unit", MESSAGE);
}
