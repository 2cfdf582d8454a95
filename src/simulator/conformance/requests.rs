//! Section 1.0 and 5: what every request has to be, dry runs, and Regions.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::harness::{Aws, CLOSED, FRIEND, IMAGE, OWNER, form, headers};

#[test]
fn an_action_that_is_not_served_is_not_valid() {
    let text = "The action DescribeVpcs is not valid for this web service.";
    Aws::new().refused(OWNER, "DescribeVpcs", &[], "InvalidAction", text);
    Aws::new().refused(
        OWNER,
        "GetCallerIdentity",
        &[],
        "InvalidAction",
        &text.replace("DescribeVpcs", "GetCallerIdentity"),
    );
}

#[test]
fn parameters_that_nobody_knows_and_that_the_simulator_lacks_are_refused() {
    let aws = Aws::new();
    aws.refused(
        OWNER,
        "DescribeImages",
        &[("Colour", "red")],
        "UnknownParameter",
        "The parameter Colour is not recognized",
    );
    let lacking = [("VolumeId", "vol-0123456789abcdef0"), ("OutpostArn", "arn:x")];
    let text = "The simulator does not implement the parameter OutpostArn of CreateSnapshot.";
    aws.refused(OWNER, "CreateSnapshot", &lacking, "UnsupportedOperation", text);
}

#[test]
fn a_parameter_that_is_needed_is_missed() {
    let text = "The request must contain the parameter ImageId";
    Aws::new().refused(OWNER, "DescribeImageAttribute", &[("Attribute", "description")], "MissingParameter", text);
}

#[test]
fn a_dry_run_that_would_work_is_an_error_with_412_and_changes_nothing() {
    let aws = Aws::new();
    let add = [("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", FRIEND), ("DryRun", "true")];
    let answer = aws.ec2(OWNER, "ModifyImageAttribute", &add);
    assert_eq!((answer.status, answer.code().as_deref()), (412, Some("DryRunOperation")));
    assert!(aws.launch_permissions(IMAGE).is_empty());
    let answer = aws.ec2(FRIEND, "ModifyImageAttribute", &add);
    assert_eq!(answer.code().as_deref(), Some("AuthFailure"));
}

#[test]
fn requests_without_usable_credentials_are_refused() {
    let aws = Aws::new();
    let send = |headers: &HeaderMap| {
        let answer = aws.send_with(headers, &form("2016-11-15", "DescribeImages", &[]));
        (answer.status, answer.code().unwrap())
    };
    assert_eq!(send(&HeaderMap::new()), (403, "MissingAuthenticationToken".to_owned()));
    let unreadable = HeaderMap::from_iter([(AUTHORIZATION, "AWS4-HMAC-SHA256 Signature=0".parse().unwrap())]);
    assert_eq!(send(&unreadable), (400, "IncompleteSignature".to_owned()));
    for key in ["AKIAEXAMPLE", CLOSED] {
        assert_eq!(send(&headers(key, "us-east-1")), (403, "InvalidClientTokenId".to_owned()));
    }
}

#[test]
fn regions_that_are_not_opted_in_to_and_that_do_not_exist_are_refused() {
    let aws = Aws::new();
    let answer = |region| aws.send(OWNER, region, "2016-11-15", "DescribeImages", &[]);
    assert_eq!(answer("af-south-1").refusal(), (401, "OptInRequired".into()));
    assert_eq!(answer("mars-east-1").code().as_deref(), Some("InvalidRegion"));
    assert_eq!(answer("eu-west-1").status, 200);
}

#[test]
fn regions_are_described() {
    let aws = Aws::new();
    let names = |params: &[(&str, &str)]| aws.ok(OWNER, "DescribeRegions", params).all("regionName");
    assert_eq!(names(&[]), ["eu-west-1", "us-east-1"]);
    assert_eq!(names(&[("AllRegions", "true")]), ["af-south-1", "eu-west-1", "us-east-1"]);
    assert_eq!(names(&[("RegionName.1", "af-south-1")]), ["af-south-1"]);
    let text = "mars-east-1 is not a valid region name";
    aws.refused(OWNER, "DescribeRegions", &[("RegionName.1", "mars-east-1")], "InvalidRegion", text);
}

#[test]
fn an_answer_has_the_root_and_namespace_that_sdks_expect() {
    let body = Aws::new().ok(OWNER, "DescribeImages", &[]).body;
    let root = r#"<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>"#;
    assert!(body.contains(root), "{body}");
}

#[test]
fn request_ids_follow_from_the_seed_and_do_not_repeat() {
    let ids = || {
        let aws = Aws::new();
        [1, 2].map(|_| aws.ok(OWNER, "DescribeImages", &[]).one("requestId").unwrap())
    };
    assert_eq!(ids(), ids());
    assert_ne!(ids()[0], ids()[1]);
}

#[test]
fn calls_are_recorded_with_their_answers() {
    let aws = Aws::new();
    aws.ok(OWNER, "DescribeImages", &[("Owner.1", "self")]);
    aws.ec2(FRIEND, "DisableImage", &[("ImageId", IMAGE)]);
    aws.0.call(OWNER, "us-east-1", "DescribeImages", &[]).unwrap();
    let calls = aws.0.calls();
    let [first, second] = &calls[..] else { panic!("an actor off the wire leaves no call: {calls:?}") };
    assert_eq!((first.account.as_str(), first.status, first.code.as_deref()), (OWNER, 200, None));
    assert_eq!(first.params.get("Owner.1").map(String::as_str), Some("self"));
    assert_eq!(
        (second.action.as_str(), second.status, second.code.as_deref()),
        ("DisableImage", 400, Some("AuthFailure"))
    );
    aws.0.clear_calls();
    assert!(aws.0.calls().is_empty());
}

#[test]
fn the_calls_file_has_one_line_of_json_for_each_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calls");
    let aws = Aws(Aws::new().0.with_calls_file(&path).unwrap());
    aws.ok(OWNER, "DescribeImages", &[("Owner.1", "self")]);
    aws.ec2(FRIEND, "DisableImage", &[("ImageId", IMAGE)]);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[1],
        serde_json::json!({
            "time": "2026-11-21T08:00:00Z",
            "account": FRIEND,
            "region": "us-east-1",
            "action": "DisableImage",
            "parameters": {"ImageId": IMAGE},
            "answer": {"status": 400, "code": "AuthFailure"},
        })
    );
    assert_eq!(lines.len(), 2);
}
