use proptest::prelude::*;
use serde_json::{Value, json};

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
    for named in [json!({"AWS": ROLE}), json!({"AWS": OTHER}), json!({"Service": "ec2.amazonaws.com"})] {
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

fn deny(principal: Value, condition: Value) -> Value {
    let mut statement = allow(principal, json!("kms:Decrypt"), condition);
    statement["Effect"] = json!("Deny");
    json!([everything(json!("*")), statement])
}

#[test]
fn what_a_policy_variable_stands_for_is_not_known() {
    let perimeter = json!({"StringNotEquals": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}});
    for principal in [ACCOUNT, ROLE, ORGANIZATION] {
        let admission = admits(&deny(json!("*"), perimeter.clone()), principal);
        assert!(matches!(&admission, Admission::PerhapsDenied(why) if why.contains("variable")), "{admission:?}");
    }
    let own = json!({"StringEquals": {"kms:CallerAccount": "${aws:ResourceAccount}"}});
    assert!(matches!(admits(&allow(json!("*"), json!("kms:*"), own), ACCOUNT), Admission::Unknown(_)));
}

#[test]
fn arns_are_compared_part_by_part_with_stars_whatever_the_operator_is_called() {
    for operator in ["ArnEquals", "ArnLike"] {
        let under = |pattern: &str| {
            let condition = json!({operator: {"aws:PrincipalArn": pattern}});
            admits(&allow(json!("*"), json!("kms:*"), condition), ROLE)
        };
        assert_eq!(under("arn:aws:iam::444455556666:role/*"), Admission::Yes);
        assert_eq!(under("arn:aws:iam::*:role/launch?r"), Admission::Yes);
        assert_eq!(under("arn:aws:iam::*:*"), Admission::Yes);
        assert_eq!(under("arn:*:role/launcher:a:b:c"), Admission::No, "a star stands for no colon");
        assert!(matches!(under("*"), Admission::Unknown(_)), "that is no pattern of an ARN");
    }
    let condition = json!({"StringLike": {"aws:PrincipalArn": "arn:*:role/launcher"}});
    assert_eq!(admits(&allow(json!("*"), json!("kms:*"), condition), ROLE), Admission::Yes, "of texts it does");
}

#[test]
fn a_condition_on_roles_of_another_account_is_about_no_role_of_this_one() {
    let admins = "arn:aws:iam::999988887777:role/Admin";
    let all_but_admins = json!({"ArnNotLike": {"aws:PrincipalArn": [admins]}});
    assert_eq!(admits(&deny(json!("*"), all_but_admins.clone()), ACCOUNT), Admission::Denied);
    assert_eq!(admits(&deny(json!("*"), all_but_admins), ROLE), Admission::Denied);
    let mine = json!({"ArnLike": {"aws:PrincipalArn": [admins, "arn:aws:iam::4444*:role/Admin"]}});
    assert!(matches!(admits(&deny(json!("*"), mine), ACCOUNT), Admission::PerhapsDenied(_)));
    let text = json!({"StringNotLike": {"aws:PrincipalArn": "arn:*/Admin"}});
    assert!(matches!(admits(&deny(json!("*"), text), ACCOUNT), Admission::PerhapsDenied(_)));
}

#[test]
fn a_statement_without_a_resource_has_no_effect_and_a_list_with_a_star_is_about_the_key() {
    let with = |resource: Value| {
        let mut statement = everything(json!("*"));
        match resource {
            Value::Null => drop(statement.as_object_mut().unwrap().remove("Resource")),
            some => statement["Resource"] = some,
        }
        admits(&statement, ACCOUNT)
    };
    assert_eq!(with(Value::Null), Admission::No);
    assert_eq!(with(json!(["arn:aws:kms:us-east-1:1:key/2", "*"])), Admission::Yes);
    assert!(matches!(with(json!("arn:aws:kms:us-east-1:1:key/2")), Admission::Unknown(_)));
    let mut statement = everything(json!("*"));
    statement["NotResource"] = json!("x");
    assert!(matches!(admits(&statement, ACCOUNT), Admission::Unknown(_)));
}

#[test]
fn paths_that_may_be_in_an_organization_whatever_they_begin_with_may_deny_it() {
    let with = |path: &str, principal: &str| {
        admits(&deny(json!("*"), json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": [path]}})), principal)
    };
    for path in
        ["*/r-ab12/ou-ab12-11111111/*", "o-*/r-ab12/ou-ab12-11111111/*", "o-abcde1234?/r-ab12/ou-ab12-11111111/*"]
    {
        assert!(matches!(with(path, UNIT), Admission::PerhapsDenied(_)), "{path}");
        assert!(matches!(with(path, ORGANIZATION), Admission::PerhapsDenied(_)), "{path}");
    }
    assert_eq!(with("o-zzzzzzzzzz*/r-ab12/*", UNIT), Admission::Yes);
    assert!(matches!(with("o-abcde12345/*", "all"), Admission::PerhapsDenied(_)));
}

#[test]
fn a_list_of_some_does_not_let_in_all_and_may_deny_one_of_them() {
    let lists = json!({"StringEquals": {"aws:PrincipalAccount": [ACCOUNT, OTHER]}});
    let organizations = json!({"StringEquals": {"aws:PrincipalOrgID": "o-abcde12345"}});
    for (condition, principal) in [(&lists, ORGANIZATION), (&lists, UNIT), (&lists, "all"), (&organizations, "all")] {
        let allowed = allow(json!("*"), json!("kms:*"), condition.clone());
        assert_eq!(admits(&allowed, principal), Admission::No, "{condition} {principal}");
        let denied = deny(json!("*"), condition.clone());
        assert!(matches!(admits(&denied, principal), Admission::PerhapsDenied(_)), "{condition} {principal}");
    }
}

#[test]
fn a_condition_without_a_value_in_the_call_holds_or_not_by_its_operator() {
    // Only CreateGrant has it.
    let under = |operator: &str| {
        let condition = json!({operator: {"kms:GrantIsForAWSResource": "true"}});
        admits(&allow(json!("*"), json!("kms:Decrypt"), condition.clone()), ACCOUNT);
        let mut rest = allow(json!("*"), json!("kms:*"), condition);
        rest["NotAction"] = json!("kms:CreateGrant");
        rest.as_object_mut().unwrap().remove("Action");
        admits(&json!([rest, allow(json!("*"), json!("kms:CreateGrant"), Value::Null)]), ACCOUNT)
    };
    for holds in ["StringNotEquals", "StringEqualsIfExists", "ForAllValues:StringEquals", "ForAnyValue:BoolIfExists"] {
        assert_eq!(under(holds), Admission::Yes, "{holds}");
    }
    for fails in ["StringEquals", "Bool", "ForAnyValue:StringEquals", "ForAnyValue:StringNotEquals"] {
        assert_eq!(under(fails), Admission::No, "{fails}");
    }
    assert_eq!(under("Null"), Admission::Yes);
    assert!(matches!(under("DateEquals"), Admission::Unknown(_)));
}

#[test]
fn values_that_are_no_texts_are_not_left_out() {
    let under = |value: Value| {
        let condition = json!({"StringNotEquals": {"kms:CallerAccount": value}});
        admits(&allow(json!("*"), json!("kms:*"), condition), ACCOUNT)
    };
    assert_eq!(under(json!(444_455_556_666_u64)), Admission::No);
    assert_eq!(under(json!([OTHER, "x"])), Admission::Yes);
    for odd in [json!(null), json!([{"a": 1}]), json!([OTHER, null]), json!([[ACCOUNT]])] {
        assert!(matches!(under(odd.clone()), Admission::Unknown(_)), "{odd}");
    }
}

#[test]
fn a_policy_that_is_not_as_iam_has_it_is_not_read() {
    let good = everything(json!("*"));
    let with = |name: &str, value: Value| {
        let mut statement = good.clone();
        statement[name] = value;
        KeyPolicy::read(&json!({"Statement": [statement]}).to_string())
    };
    assert!(with("Sid", json!("two")).is_ok());
    for (name, value) in [
        ("Effect", json!("allow")),
        ("Effect", Value::Null),
        ("Action", json!({"kms": "*"})),
        ("Action", json!(["kms:*", 1])),
        ("NotAction", json!("kms:*")),
        ("Principal", json!(["*"])),
        ("Principal", json!({"AWS": {"a": "b"}})),
        ("NotPrincipal", json!({"AWS": OTHER})),
    ] {
        let error = with(name, value.clone()).unwrap_err();
        assert!(error.starts_with("the statement \"one\" has no "), "{name} {value}: {error}");
    }
    for (policy, error) in [
        ("{", "it is not JSON"),
        ("{}", "it has no list of statements"),
        ("[]", "it has no list of statements"),
        (r#"{"Statement": ["x"]}"#, "a statement is no object"),
    ] {
        assert_eq!(KeyPolicy::read(policy).unwrap_err(), error);
    }
    assert!(KeyPolicy::read(r#"{"Statement": []}"#).is_ok());
}

#[test]
fn the_statement_for_organizations_names_each_of_them_once() {
    let unit: Principal = UNIT.parse().unwrap();
    assert_eq!(statement_for([&unit, &unit].into_iter()), statement_for([&unit].into_iter()));
}

/// A statement as IAM has it.
fn any_statement() -> impl Strategy<Value = Value> {
    let effect = prop::sample::select(vec!["Allow", "Deny"]);
    let principal = prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": ACCOUNT}),
        json!({"AWS": [ROLE, OTHER]}),
        json!({"AWS": SERVICE_LINKED}),
        json!({"Service": "ec2.amazonaws.com"}),
    ]);
    let action = prop::sample::select(vec!["kms:*", "kms:Decrypt", "kms:ReEncrypt*", "kms:CreateGrant"]);
    let key = prop::sample::select(vec![
        "aws:PrincipalOrgID",
        "aws:PrincipalOrgPaths",
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "kms:ViaService",
        "kms:GrantIsForAWSResource",
        "aws:SourceVpc",
    ]);
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "ArnNotLike",
        "Bool",
        "Null",
        "ForAnyValue:StringLike",
        "ForAllValues:StringEquals",
        "StringNotEqualsIfExists",
    ]);
    let value = prop::sample::select(vec![
        "o-abcde12345",
        "o-abcde12345/*",
        "*/ou-ab12-abcd1234/*",
        ACCOUNT,
        ROLE,
        "arn:aws:iam::*:role/*",
        "true",
        "${aws:ResourceOrgID}",
        "ec2.*",
    ]);
    let condition = (operator, key, value).prop_map(|(operator, key, value)| json!({operator: {key: [value]}}));
    (effect, principal, action, prop::option::of(condition), "[a-c]").prop_map(
        |(effect, principal, action, condition, sid)| {
            json!({
                "Sid": sid, "Effect": effect, "Principal": principal, "Action": action, "Resource": "*",
                "Condition": condition,
            })
        },
    )
}

/// How much an answer lets in.
fn rank(admission: &Admission) -> u8 {
    match admission {
        Admission::Denied => 0,
        Admission::PerhapsDenied(_) => 1,
        Admission::No => 2,
        Admission::Unknown(_) => 3,
        Admission::Yes => 4,
    }
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
    fn the_order_of_statements_does_not_matter_and_one_more_lets_in_more_or_less_by_its_effect(
        statements in prop::collection::vec(any_statement(), 0..5),
        more in any_statement(),
    ) {
        let mut backwards = statements.clone();
        backwards.reverse();
        let with = |effect: &str| {
            let mut one = more.clone();
            one["Effect"] = json!(effect);
            let mut all = statements.clone();
            all.push(one);
            json!(all)
        };
        for principal in [ACCOUNT, ROLE, SERVICE_LINKED, ORGANIZATION, UNIT, "all"] {
            let now = admits(&json!(statements), principal);
            prop_assert_eq!(&admits(&json!(backwards), principal), &now);
            prop_assert!(rank(&admits(&with("Deny"), principal)) <= rank(&now));
            prop_assert!(rank(&admits(&with("Allow"), principal)) >= rank(&now));
        }
    }
}
