//! What a configuration file can say, and what is said of one that cannot be used, word for word.

use proptest::prelude::*;

use super::*;
use crate::api::Principal;

const HEAD: &str = "apiVersion: config.amishare.dev/v1alpha1\nkind: OperatorConfiguration\n";

fn read(rest: &str) -> Configuration {
    parse("config.yaml", &format!("{HEAD}{rest}")).unwrap()
}

/// Why a file that begins as it should cannot be used. Its third line is the first one of `rest`.
fn wrong(rest: &str) -> String {
    parse("config.yaml", &format!("{HEAD}{rest}")).unwrap_err().to_string()
}

fn principal(text: &str) -> Principal {
    text.parse().unwrap()
}

const ORGANIZATION: &str = "arn:aws:organizations::123456789012:organization/o-abcde12345";
const UNIT: &str = "arn:aws:organizations::123456789012:ou/o-abcde12345/ou-ab12-abcd1234";

#[test]
fn a_file_with_every_field_is_read() {
    let configuration = read(&format!(
        "guardrails:
- name: ours
  namespaces: [images, team-*]
  exceptNamespaces: [team-x]
  regions: [us-east-1, eu-west-1]
  shareWith:
    accountIds: [\"012345678901\"]
    organizationArns: [\"{ORGANIZATION}\"]
    organizationalUnitArns: [\"*\"]
    public: true
- {{name: home, namespaces: [\"*\"], regions: [us-east-1]}}
"
    ));
    let [ours, home] = &configuration.guardrails[..] else { panic!("two rules") };
    assert_eq!(ours.name.as_str(), "ours");
    for (namespace, is_meant) in
        [("images", true), ("images-2", false), ("team-a", true), ("team-x", false), ("team", false), ("x", false)]
    {
        assert_eq!(ours.namespaces.contains(namespace), is_meant, "{namespace}");
        assert!(home.namespaces.contains(namespace));
    }
    assert_eq!(ours.regions.as_ref().unwrap().len(), 2);
    let allowed = ours.share_with.as_ref().unwrap();
    for (who, is_allowed) in [
        ("012345678901", true),
        ("112345678901", false),
        (ORGANIZATION, true),
        ("arn:aws:organizations::123456789012:organization/o-zzzzz12345", false),
        (UNIT, true),
        ("all", true),
    ] {
        assert_eq!(allowed.contains(&principal(who)), is_allowed, "{who}");
    }
    assert_eq!(home.share_with, None);
}

#[test]
fn what_is_left_out_of_share_with_is_not_allowed() {
    let configuration = read("guardrails: [{name: a, namespaces: [\"*\"], shareWith: {accountIds: [\"*\"]}}]");
    let allowed = configuration.guardrails[0].share_with.as_ref().unwrap();
    assert!(allowed.contains(&principal("012345678901")));
    for who in [ORGANIZATION, UNIT, "all"] {
        assert!(!allowed.contains(&principal(who)), "{who}");
    }
    for nobody in ["shareWith: {}", "shareWith:"] {
        let configuration = read(&format!("guardrails:\n- name: a\n  namespaces: [\"*\"]\n  {nobody}\n"));
        assert_eq!(configuration.guardrails[0].share_with, Some(Allowed::default()), "{nobody}");
    }
}

#[test]
fn a_file_without_rules_is_one() {
    assert_eq!(read(""), Configuration::default());
    assert_eq!(read("guardrails: []"), Configuration::default());
}

#[test]
fn an_account_id_keeps_its_leading_zeros_in_quotes_or_without() {
    let configuration =
        read("guardrails: [{name: a, namespaces: [a], shareWith: {accountIds: [\"001234567890\", 000000000012]}}]");
    let allowed = configuration.guardrails[0].share_with.as_ref().unwrap();
    assert!(allowed.contains(&principal("001234567890")) && allowed.contains(&principal("000000000012")));
}

#[test]
fn an_error_names_file_line_column_and_field() {
    let rule = |fields: &str| format!("guardrails:\n- name: ours\n  namespaces: [images]\n{fields}");
    for (text, message) in [
        ("rules: []", "3:1: unknown field `rules`, expected one of `apiVersion`, `kind`, `guardrails`, `identities`"),
        ("guardrails: {}", "3:13: guardrails: invalid type: map, expected a list"),
        ("guardrails: [ours]", "3:14: guardrails[0]: invalid type: string \"ours\", expected a map with a name"),
        ("guardrails:\n- name: ours\n  regions: [us-east-1]", "4:3: guardrails[0]: missing field `namespaces`"),
        ("guardrails:\n- namespaces: [a]\n  regions: [us-east-1]", "4:3: guardrails[0]: missing field `name`"),
        (
            &rule("  region: [us-east-1]"),
            "6:3: guardrails[0]: unknown field `region`, expected one of `name`, `namespaces`, `exceptNamespaces`, `regions`, \
             `shareWith`",
        ),
        (
            &rule("  regions: [us-east-1, us_east_2]"),
            "6:24: guardrails[0].regions[1]: \"us_east_2\" is not an AWS Region, such as us-east-1",
        ),
        (
            &rule("  shareWith:\n    accountIds: [\"1111-2222-3333\"]"),
            "7:18: guardrails[0].shareWith.accountIds[0]: \"1111-2222-3333\" is not an AWS account id: twelve digits without \
             hyphens, such as \"012345678901\"",
        ),
        (
            &rule("  shareWith:\n    organizationArns: [o-abcde12345]"),
            "7:24: guardrails[0].shareWith.organizationArns[0]: \"o-abcde12345\" is not the ARN of an organization, such as \
             arn:aws:organizations::123456789012:organization/o-abcde12345",
        ),
        (
            &rule("  shareWith: {accounts: []}"),
            "6:15: guardrails[0].shareWith: unknown field `accounts`, expected one of `accountIds`, `organizationArns`, \
             `organizationalUnitArns`, `public`",
        ),
        (
            &rule("  shareWith: {public: maybe}"),
            "6:23: guardrails[0].shareWith.public: invalid type: string \"maybe\", expected a boolean",
        ),
        (
            &rule("  regions: []"),
            "6:12: guardrails[0].regions: is an empty list, which could mean none or any; list something, or leave it out",
        ),
        (&rule("  regions: [us-east-1]\n  regions: [us-east-2]"), "4:3: guardrails[0]: duplicate field `regions`"),
        (
            &rule("  shareWith: {accountIds: [\"111122223333\", \"111122223333\"]}"),
            "6:44: guardrails[0].shareWith.accountIds[1]: \"111122223333\" is listed twice",
        ),
        (&rule(""), "4:3: guardrails[0]: the rule forbids nothing; give it regions or shareWith"),
        (
            "guardrails:\n- {name: a, namespaces: [a], regions: [us-east-1]}\n- {name: a, namespaces: [b], regions: [us-east-1]}",
            "5:3: guardrails[1]: the name \"a\" is that of number 1 already",
        ),
        (
            "guardrails:\n- {name: Ours, namespaces: [a], regions: [us-east-1]}",
            "4:10: guardrails[0].name: \"Ours\" is not a name: up to 63 lower-case letters, digits and hyphens, such as \
             our-organization",
        ),
        (
            "guardrails:\n- {name: a, namespaces: [\"a*b\"], regions: [us-east-1]}",
            "4:26: guardrails[0].namespaces[0]: \"a*b\" is not a namespace: lower-case letters, digits and hyphens, such as \
             team-a, the beginning of some names and a star, such as team-*, or \"*\" for all",
        ),
    ] {
        assert_eq!(wrong(text), format!("config.yaml:{message}"), "{text}");
    }
}

#[test]
fn a_field_that_is_there_and_says_nothing_is_not_taken_for_one_that_is_left_out() {
    for field in ["regions", "exceptNamespaces"] {
        let text = format!("guardrails:\n- name: a\n  namespaces: [a]\n  {field}:\n  shareWith: {{}}\n");
        let message = wrong(&text);
        assert!(message.starts_with("config.yaml:6:"), "{message}");
        assert!(message.contains(&format!("guardrails[0].{field}: is an empty list")), "{message}");
    }
}

#[test]
fn rules_that_are_all_commented_out_are_not_taken_for_none() {
    for list in ["guardrails", "identities"] {
        let message = wrong(&format!("{list}:\n# - name: ours\n"));
        assert!(message.contains(&format!("{list}: invalid type: unit value, expected a list")), "{message}");
    }
}

#[test]
fn a_file_of_another_kind_or_of_none_is_refused() {
    let error = |text: &str| parse("config.yaml", text).unwrap_err().to_string();
    let empty =
        "config.yaml: is empty; begin it with apiVersion: config.amishare.dev/v1alpha1 and kind: OperatorConfiguration";
    for text in ["", "\n  \n", "# guardrails: []\n"] {
        assert_eq!(error(text), empty, "{text:?}");
    }
    assert_eq!(error("guardrails: []"), "config.yaml:1:1: missing field `apiVersion`");
    assert_eq!(
        error("apiVersion: v1\nkind: ConfigMap"),
        "config.yaml:1:13: apiVersion: \"v1\" is not config.amishare.dev/v1alpha1"
    );
    assert_eq!(
        error("apiVersion: config.amishare.dev/v1alpha1\nkind: ConfigMap"),
        "config.yaml:2:7: kind: \"ConfigMap\" is not OperatorConfiguration"
    );
    assert!(error(&format!("{HEAD}---\n{HEAD}")).contains("more than one document"));
    assert!(error("a: [").starts_with("config.yaml:"), "{}", error("a: ["));
}

#[test]
fn without_identities_there_is_default_for_everybody_and_with_some_there_are_those() {
    let name = |text: &str| text.parse::<crate::api::IdentityName>().unwrap();
    let none = read("").identities;
    assert_eq!(none.refusal(&name("default"), "any"), None);
    let some = read(
        "identities:
- name: prod
  namespaces: [images, team-*]
  exceptNamespaces: [team-x]
  assumeRole: {roleArn: \"arn:aws-us-gov:iam::111122223333:role/path/to/amishare\", externalId: a1:b2/c3}
- {name: own, namespaces: [\"*\"], accountId: \"444455556666\"}
",
    )
    .identities;
    for (identity, namespace, may) in [
        ("prod", "images", true),
        ("prod", "team-a", true),
        ("prod", "team-x", false),
        ("prod", "x", false),
        ("own", "x", true),
        ("default", "x", false),
    ] {
        assert_eq!(some.refusal(&name(identity), namespace).is_none(), may, "{identity} {namespace}");
    }
    let prod = some.get(&name("prod")).unwrap();
    assert_eq!(prod.account_id.unwrap().to_string(), "111122223333", "that of its role");
    assert_eq!(prod.assume_role.as_ref().unwrap().external_id.as_ref().unwrap().reveal(), "a1:b2/c3");
    assert_eq!(
        prod.to_string(),
        "identity prod: namespaces team-*, images without team-x, account 111122223333, role \
         arn:aws-us-gov:iam::111122223333:role/path/to/amishare"
    );
}

#[test]
fn an_error_of_an_identity_names_line_column_and_field() {
    let role = "arn:aws:iam::111122223333:role/a";
    for (text, message) in [
        (
            "identities: []".to_owned(),
            "3:13: identities: is an empty list, with which nothing could be reached; leave it out",
        ),
        ("identities:\n- {name: a}".to_owned(), "4:3: identities[0]: missing field `namespaces`"),
        (
            "identities:\n- {name: Prod, namespaces: [a]}".to_owned(),
            "4:10: identities[0].name: \"Prod\" is not the name of an identity: up to 63 lower-case letters, digits and hyphens, such as \
             production",
        ),
        (
            "identities:\n- {name: a, namespaces: [a], assumeRole: {roleArn: \"arn:aws:iam::111122223333:user/a\"}}"
                .to_owned(),
            "4:52: identities[0].assumeRole.roleArn: \"arn:aws:iam::111122223333:user/a\" is not the ARN of a role, such as \
             arn:aws:iam::123456789012:role/amishare",
        ),
        (
            format!(
                "identities:\n- {{name: a, namespaces: [a], accountId: \"444455556666\", assumeRole: {{roleArn: \"{role}\"}}}}"
            ),
            "4:3: identities[0]: accountId is 444455556666, and the role of a is in account 111122223333",
        ),
        (
            format!(
                "identities:\n- {{name: a, namespaces: [a]}}\n- {{name: b, namespaces: [a], assumeRole: {{roleArn: \"{role}\"}}}}"
            ),
            "5:3: identities[1]: with several identities each has to say in which account it is; give a an accountId",
        ),
        (
            format!(
                "identities:\n- {{name: a, namespaces: [a], accountId: \"111122223333\"}}\n\
                 - {{name: b, namespaces: [b], assumeRole: {{roleArn: \"{role}\"}}}}"
            ),
            "5:3: identities[1]: a is in account 111122223333 already; there can be one identity for each account",
        ),
    ] {
        assert_eq!(wrong(&text), format!("config.yaml:{message}"), "{text}");
    }
}

#[test]
fn no_error_and_no_debug_text_repeats_an_external_id() {
    let role = |id: &str| {
        format!(
            "identities:\n- name: a\n  namespaces: [a]\n  assumeRole: {{roleArn: \"arn:aws:iam::111122223333:role/a\", externalId: {id}}}"
        )
    };
    for id in
        ["\"geheim geheim\"", "8675309", "-8675309", "86753.09", "true", "\"x\"", "86753098675309867530986753098675309"]
    {
        let message = wrong(&role(id));
        assert!(message.contains("identities[0].assumeRole.externalId: is not an external id"), "{message}");
        assert!(!message.contains("8675") && !message.contains("geheim") && !message.contains("true"), "{message}");
    }
    for id in ["[geheim]", "{geheim: 1}", ""] {
        assert!(!wrong(&role(id)).contains("geheim"), "{}", wrong(&role(id)));
    }
    let shown = format!("{:?}", read(&role("geheim")));
    assert!(shown.contains("role/a") && !shown.contains("geheim"), "{shown}");
}

/// A name of a namespace, or what looks nearly like one.
fn word() -> impl Strategy<Value = String> {
    "[a-c-]{0,4}[*]?"
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-zA-Z:\\-\\[\\]{}\",*#&!| \n]{0,200}") {
        let _ = parse("config.yaml", &text);
        let _ = parse("config.yaml", &format!("{HEAD}{text}"));
    }

    #[test]
    fn a_pattern_matches_what_its_text_says_and_is_written_as_it_was_read(text in word(), namespace in "[a-c][a-c-]{0,3}") {
        let Ok(pattern) = text.parse::<NamespacePattern>() else { return Ok(()) };
        prop_assert_eq!(pattern.to_string(), text.clone());
        let expected = match text.strip_suffix('*') {
            Some(beginning) => namespace.starts_with(beginning),
            None => namespace == text,
        };
        prop_assert_eq!(pattern.matches(&namespace), expected);
    }
}
