//! What guard rails forbid, and how they combine.

use super::*;
use crate::share::testing::{account, organization, unit, world::guardrails_of};

const ALL_KINDS: &str = r#"{accountIds: ["*"], organizationArns: ["*"], organizationalUnitArns: ["*"]}"#;

fn policy(guardrails: &str) -> Policy {
    Policy { guardrails: guardrails_of(guardrails), ..Policy::default() }
}

/// Why a share of a namespace may not list somebody, for an image in us-east-1.
fn why(policy: &Policy, namespace: &str, principal: &Principal) -> Option<String> {
    let region = "us-east-1".parse().unwrap();
    let refusal = policy.rules(namespace, &region).forbid(principal)?;
    assert_eq!(refusal.reason, Reason::GuardrailDenied);
    Some(refusal.message)
}

fn everyone() -> Principal {
    Principal::Everyone
}

#[test]
fn without_rules_only_public_sharing_is_forbidden_unless_the_flag_allows_it() {
    let none = Policy::default();
    for principal in [account(1), organization(), unit()] {
        assert_eq!(why(&none, "a", &principal), None);
    }
    let message = why(&none, "a", &everyone()).unwrap();
    assert!(message.starts_with("the operator does not allow public sharing; whoever runs it can"), "{message}");
    assert_eq!(why(&Policy { allow_public: true, ..none }, "a", &everyone()), None);
}

#[test]
fn the_rule_that_forbids_is_named_with_the_namespace_and_what_it_forbids() {
    let policy = policy(r#"[{name: ours, namespaces: ["*"], shareWith: {accountIds: ["000000000001"]}}]"#);
    assert_eq!(why(&policy, "a", &account(1)), None);
    assert_eq!(
        why(&policy, "team-a", &account(2)).unwrap(),
        "the guard rail ours does not let namespace team-a share with accounts that it does not list; take it out of the spec, or \
         have whoever runs the operator change the rule"
    );
    for (principal, what) in [
        (organization(), "share with organizations that it does not list"),
        (unit(), "share with organizational units that it does not list"),
        (everyone(), "make images public"),
    ] {
        assert!(why(&policy, "a", &principal).unwrap().contains(what), "{principal}");
    }
}

#[test]
fn every_rule_that_names_the_namespace_must_allow_it_and_the_first_that_does_not_is_named() {
    let policy = policy(&format!(
        r#"[{{name: any, namespaces: ["*"], shareWith: {ALL_KINDS}}},
            {{name: one, namespaces: [a], shareWith: {{accountIds: ["000000000001", "000000000002"]}}}},
            {{name: two, namespaces: [a], shareWith: {{accountIds: ["000000000002", "000000000003"]}}}}]"#
    ));
    assert_eq!(why(&policy, "a", &account(2)), None);
    assert!(why(&policy, "a", &account(1)).unwrap().contains("guard rail two "));
    assert!(why(&policy, "a", &account(3)).unwrap().contains("guard rail one "));
    assert!(why(&policy, "a", &account(4)).unwrap().contains("guard rail one "));
    assert_eq!(why(&policy, "b", &account(4)), None);
}

#[test]
fn a_namespace_that_no_rule_names_is_not_restricted_nor_is_an_exception() {
    let policy = policy(r#"[{name: ours, namespaces: ["team-*"], exceptNamespaces: [team-x], shareWith: {}}]"#);
    assert!(why(&policy, "team-a", &account(1)).is_some());
    for namespace in ["team-x", "other"] {
        assert_eq!(why(&policy, namespace, &account(1)), None, "{namespace}");
    }
}

#[test]
fn a_region_that_a_rule_does_not_list_is_forbidden_for_everybody() {
    let policy = policy(r#"[{name: home, namespaces: ["*"], regions: [eu-west-1]}]"#);
    for principal in [account(1), organization(), everyone()] {
        let message = why(&policy, "a", &principal).unwrap();
        assert!(
            message.starts_with("the guard rail home does not let namespace a share images in us-east-1;"),
            "{message}"
        );
    }
    let region = "eu-west-1".parse().unwrap();
    assert_eq!(policy.rules("a", &region).forbid(&account(1)), None);
}

#[test]
fn public_sharing_takes_the_yes_of_every_rule_that_says_with_whom_or_else_of_the_flag() {
    let yes = format!("{}, public: true}}", ALL_KINDS.trim_end_matches('}'));
    let rules = |all: &[&str]| {
        let rules = all.iter().enumerate();
        let rules: Vec<String> =
            rules.map(|(n, what)| format!(r#"{{name: r{n}, namespaces: ["*"], shareWith: {what}}}"#)).collect();
        format!("[{}]", rules.join(", "))
    };
    let region = r#"[{name: home, namespaces: ["*"], regions: [us-east-1]}]"#.to_owned();
    for (guardrails, flag, is_allowed) in [
        (rules(&[&yes]), false, true),
        (rules(&[&yes, &yes]), false, true),
        (rules(&[&yes, ALL_KINDS]), true, false),
        (rules(&[ALL_KINDS]), true, false),
        (region.clone(), false, false),
        (region, true, true),
    ] {
        let policy = Policy { allow_public: flag, ..policy(&guardrails) };
        assert_eq!(why(&policy, "a", &everyone()).is_none(), is_allowed, "{guardrails} {flag}");
    }
}
