//! The scenario file: what it can say, and what it is told off for.

use super::harness::{Aws, FRIEND, IMAGE, OWNER, REGION};
use crate::simulator::{Fault, FaultKind, Scenario, Simulator};

fn problem(text: &str) -> String {
    Scenario::from_yaml(text).unwrap_err().to_string()
}

#[test]
fn the_empty_scenario_has_every_account_and_the_default_regions() {
    let aws = Aws::of(Scenario::from_yaml("{}").unwrap());
    assert_eq!(aws.ok(OWNER, "DescribeRegions", &[]).all("regionName").len(), 17);
    assert!(aws.images(OWNER, &[]).is_empty());
}

#[test]
fn the_example_of_the_documentation_is_valid() {
    let page = include_str!("../../../docs/simulator.md");
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let simulator = Simulator::new(Scenario::from_yaml(example).unwrap());
    assert!(simulator.with_world(|world| world.regions.values().any(|region| !region.images.is_empty())));
}

#[test]
fn permissions_tags_and_quotas_are_as_written() {
    let text = r#"
quotas: {publicImages: 7}
images:
  - id: ami-0123456789abcdef0
    region: us-east-1
    owner: "111122223333"
    launchPermissions: ["444455556666", all]
    tags: {team: images}
"#;
    let simulator = Simulator::new(Scenario::from_yaml(text).unwrap());
    let permissions: Vec<String> = simulator.launch_permissions(REGION, IMAGE).into_iter().collect();
    assert_eq!(permissions, [FRIEND, "all"]);
    simulator.with_world(|world| {
        assert_eq!((world.quotas.public_images, world.quotas.sharing_entities_per_image), (7, 1000));
        assert_eq!(world.image(REGION, IMAGE).unwrap().tags.of(OWNER).unwrap()["team"], "images");
    });
}

#[test]
fn faults_are_read() {
    let text = r#"
faults:
  - {kind: {type: throttle}, action: "Modify*", count: 2}
  - {kind: {type: delay, milliseconds: 5}, account: "111122223333", probability: 0.25}
  - {kind: {type: serverError, status: 503, html: true}, region: us-east-1, skip: 1}
"#;
    let faults = Scenario::from_yaml(text).unwrap().faults;
    assert_eq!(faults[0], Fault::new(FaultKind::Throttle).on("Modify*").times(2));
    assert_eq!(faults[1], Fault::new(FaultKind::Delay { milliseconds: 5 }).by(OWNER).with_probability(0.25));
    let page = FaultKind::ServerError { status: 503, html: true };
    assert_eq!(faults[2], Fault::new(page).in_region(REGION).after(1));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        ("colour: red", "colour"),
        ("faults: [{kind: {type: throttle, milliseconds: 3}}]", "milliseconds"),
        ("faults: [{kind: {type: throttle}, probability: 2}]", "faults: a probability is between 0 and 1"),
        ("closedAccounts: ['123']", "123: an account id has twelve digits"),
        (r#"images: [{id: ami-1, region: us-east-1, owner: "111122223333"}]"#, "ami-1: an image id is ami-"),
        (
            r#"images: [{id: ami-0123456789abcdef0, region: mars-1, owner: "111122223333"}]"#,
            "ami-0123456789abcdef0: the Region 'mars-1' is not enabled",
        ),
        (
            r#"images: [{id: ami-0123456789abcdef0, region: us-east-1, owner: "111122223333", launchPermissions: [me]}]"#,
            "'me' is no account id",
        ),
        ("roles: [{arn: reader}]", "reader: write arn:aws:iam::<account id>:role/<name>"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}
