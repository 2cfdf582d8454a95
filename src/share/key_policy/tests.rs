use proptest::prelude::*;
use serde_json::json;

use super::*;

const ACCOUNT: &str = "444455556666";
const OTHER: &str = "111122223333";
const ORGANIZATION: &str = "arn:aws:organizations::123456789012:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";
const ROLE: &str = "arn:aws:iam::444455556666:role/launcher";
const SERVICE_LINKED: &str =
    "arn:aws:iam::444455556666:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";

fn admits(statements: &Value, principal: &str) -> Admission {
    let policy = KeyPolicy::read(&json!({"Statement": statements}).to_string()).unwrap();
    policy.admits(&principal.parse().unwrap(), "us-east-1")
}

#[expect(clippy::needless_pass_by_value, reason = "so that literals can be given")]
fn allow(principal: Value, action: Value, condition: Value) -> Value {
    json!({"Sid": "one", "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", "Condition": condition})
}

fn everything(principal: Value) -> Value {
    allow(principal, json!("kms:*"), Value::Null)
}

#[test]
fn the_two_statements_of_the_documentation_let_an_account_in() {
    let root = json!({"AWS": ["arn:aws:iam::444455556666:root"]});
    let using = allow(
        root.clone(),
        json!(["kms:DescribeKey", "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]),
        Value::Null,
    );
    let granting = allow(
        root,
        json!(["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]),
        json!({"Bool": {"kms:GrantIsForAWSResource": "true"}}),
    );
    assert_eq!(admits(&json!([using, granting]), ACCOUNT), Admission::Yes);
    assert_eq!(admits(&json!([using, granting]), OTHER), Admission::No);
    assert_eq!(admits(&json!([using]), ACCOUNT), Admission::No, "EC2 has to make a grant for each volume");
    assert_eq!(admits(&json!(using), ORGANIZATION), Admission::No);
}

#[test]
fn an_account_is_let_in_by_its_id_its_root_or_a_star_and_not_by_a_role_of_it() {
    for named in [
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": ACCOUNT}),
        json!({"AWS": ["x", "arn:aws:iam::444455556666:root"]}),
    ] {
        assert_eq!(admits(&everything(named), ACCOUNT), Admission::Yes);
    }
    for named in [json!({"AWS": ROLE}), json!({"AWS": OTHER}), json!({"Service": "ec2.amazonaws.com"}), Value::Null] {
        assert_eq!(admits(&everything(named), ACCOUNT), Admission::No);
    }
}

#[test]
fn a_service_linked_role_is_let_in_by_its_own_name_alone() {
    for named in [json!("*"), json!({"AWS": ACCOUNT})] {
        assert_eq!(admits(&everything(named.clone()), ROLE), Admission::Yes);
        assert_eq!(admits(&everything(named), SERVICE_LINKED), Admission::No);
    }
    assert_eq!(admits(&everything(json!({"AWS": SERVICE_LINKED})), SERVICE_LINKED), Admission::Yes);
}

#[test]
fn the_statements_that_are_printed_let_in_whom_they_are_for() {
    let all: Vec<Principal> = [ORGANIZATION, UNIT].map(|text| text.parse().unwrap()).into();
    let text = statement_for(all.iter());
    let policy = KeyPolicy::read(&format!("{{\"Statement\": [{text}]}}")).unwrap();
    for principal in &all {
        assert_eq!(policy.admits(principal, "us-east-1"), Admission::Yes, "{text}");
    }
    let account = policy.admits(&ACCOUNT.parse().unwrap(), "us-east-1");
    assert!(matches!(account, Admission::Unknown(ref why) if why.contains("organization")), "{account:?}");
    assert_eq!(statement_for([ACCOUNT.parse().unwrap()].iter()), "");
}

#[test]
fn an_organizational_unit_is_let_in_by_its_organization_and_an_organization_not_by_its_unit() {
    let unit = statement_for([UNIT.parse().unwrap()].iter());
    let organization = statement_for([ORGANIZATION.parse().unwrap()].iter());
    let admitted = |statement: &str, principal: &str| {
        let policy = KeyPolicy::read(&format!("{{\"Statement\": {statement}}}")).unwrap();
        policy.admits(&principal.parse().unwrap(), "us-east-1")
    };
    assert_eq!(admitted(&organization, UNIT), Admission::Yes);
    assert!(matches!(admitted(&unit, ORGANIZATION), Admission::Unknown(_)));
    let other = ORGANIZATION.replace("o-abcde12345", "o-zzzzzzzzzz");
    assert_eq!(admitted(&organization, &other), Admission::No);
    assert_eq!(admitted(&unit, &other), Admission::No);
}

#[test]
fn paths_that_cover_every_place_of_a_unit_let_it_in_and_others_may() {
    let with = |path: &str| {
        let condition = json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": [path]}});
        admits(&allow(json!("*"), json!("kms:*"), condition), UNIT)
    };
    for path in ["o-abcde12345/*", "o-abcde12345/*/ou-ab12-abcd1234/*", "*/ou-ab12-abcd1234/*", "o-abcde12345/r-ab12/*"]
    {
        assert_eq!(with(path), Admission::Yes, "{path}");
    }
    for path in ["o-abcde12345/r-ab12/ou-ab12-abcd1234/*", "o-abcde12345/r-ab12/ou-ab12-abcd1234/"] {
        assert!(matches!(with(path), Admission::Unknown(_)), "{path}");
    }
    assert_eq!(with("o-zzzzzzzzzz/*"), Admission::No);
}

#[test]
fn a_condition_that_is_met_by_a_launch_through_ec2_counts_and_one_that_is_not_does_not() {
    let under = |condition: Value| admits(&allow(json!("*"), json!("kms:*"), condition), ACCOUNT);
    for met in [
        json!({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com", "kms:CallerAccount": ACCOUNT}}),
        json!({"StringLike": {"kms:viaservice": ["s3.*", "ec2.*.amazonaws.com"]}}),
        json!({"StringNotEquals": {"aws:PrincipalAccount": OTHER}}),
        json!({"Bool": {"aws:SecureTransport": true}}),
        json!({"BoolIfExists": {"kms:GrantIsForAWSResource": "true"}}),
    ] {
        assert_eq!(under(met.clone()), Admission::Yes, "{met}");
    }
    for unmet in [
        json!({"StringEquals": {"kms:ViaService": "ec2.eu-west-1.amazonaws.com"}}),
        json!({"StringEquals": {"kms:CallerAccount": OTHER}}),
        json!({"Bool": {"kms:GrantIsForAWSResource": "true"}}),
    ] {
        assert_eq!(under(unmet.clone()), Admission::No, "{unmet}");
    }
    for unclear in
        [json!({"StringEquals": {"aws:SourceVpc": "vpc-1"}}), json!({"Null": {"aws:SourceVpc": "true"}}), json!(1)]
    {
        let admission = under(unclear.clone());
        assert!(matches!(&admission, Admission::Unknown(why) if why.contains("\"one\"")), "{unclear}: {admission:?}");
    }
}

#[test]
fn what_is_denied_is_denied_and_what_may_be_denied_is_not_known() {
    let deny = |principal: Value, condition: Value| {
        let mut statement = allow(principal, json!("kms:Decrypt"), condition);
        statement["Effect"] = json!("Deny");
        json!([everything(json!("*")), statement])
    };
    assert_eq!(admits(&deny(json!({"AWS": ACCOUNT}), Value::Null), ACCOUNT), Admission::Denied);
    assert_eq!(admits(&deny(json!({"AWS": ACCOUNT}), Value::Null), SERVICE_LINKED), Admission::Denied);
    assert_eq!(admits(&deny(json!({"AWS": OTHER}), Value::Null), ACCOUNT), Admission::Yes);
    let outside = json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-abcde12345"}});
    assert_eq!(admits(&deny(json!("*"), outside.clone()), ORGANIZATION), Admission::Yes);
    assert!(matches!(admits(&deny(json!("*"), outside), ACCOUNT), Admission::PerhapsDenied(_)));
    assert!(matches!(admits(&deny(json!({"AWS": ACCOUNT}), Value::Null), ORGANIZATION), Admission::PerhapsDenied(_)));
}

#[test]
fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
    for (pattern, text, is) in [
        ("*", "", true),
        ("kms:re*", "kms:reencryptto", true),
        ("a*b*c", "aXbXbc", true),
        ("a*b*c", "aXbXb", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("", "a", false),
    ] {
        assert_eq!(is_like(pattern, text), is, "{pattern} {text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "*",
        "Allow",
        "Deny",
        "kms:*",
        "kms:Decrypt",
        ACCOUNT,
        ROLE,
        "o-abcde12345",
        "true",
        "x",
    ]);
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), words.prop_map(Value::from)];
    let keys = prop::sample::select(vec![
        "Effect",
        "Principal",
        "NotPrincipal",
        "AWS",
        "Action",
        "NotAction",
        "Resource",
        "Condition",
        "StringEquals",
        "StringNotLike",
        "Bool",
        "aws:PrincipalOrgID",
        "aws:PrincipalOrgPaths",
        "kms:ViaService",
        "Sid",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_policy_says_there_is_an_answer(statement in any_json(), text in ".*") {
        let _ = KeyPolicy::read(&text);
        if let Ok(policy) = KeyPolicy::read(&json!({"Statement": statement}).to_string()) {
            for principal in [ACCOUNT, ROLE, SERVICE_LINKED, ORGANIZATION, UNIT, "all"] {
                let _ = policy.admits(&principal.parse().unwrap(), "us-east-1");
            }
        }
    }

    #[test]
    fn the_order_of_statements_does_not_matter_and_one_more_denial_lets_nobody_in(
        statements in prop::collection::vec(any_json().prop_filter("is a statement", Value::is_object), 0..4),
        denial in any_json().prop_filter("is a statement", Value::is_object),
    ) {
        let read = |statements: &[Value]| KeyPolicy::read(&json!({"Statement": statements}).to_string()).unwrap();
        let (mut backwards, mut denying) = (statements.clone(), statements.clone());
        backwards.reverse();
        let mut denial = denial;
        denial["Effect"] = json!("Deny");
        denying.push(denial);
        for principal in [ACCOUNT, ROLE, SERVICE_LINKED, ORGANIZATION, UNIT, "all"] {
            let principal = principal.parse().unwrap();
            let kind = |policy: KeyPolicy| std::mem::discriminant(&policy.admits(&principal, "us-east-1"));
            prop_assert_eq!(kind(read(&statements)), kind(read(&backwards)));
            let now = read(&denying).admits(&principal, "us-east-1");
            let before = read(&statements).admits(&principal, "us-east-1");
            prop_assert!(now != Admission::Yes || before == Admission::Yes);
        }
    }
}
