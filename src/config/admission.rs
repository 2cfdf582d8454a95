//! The guard rails as a `ValidatingAdmissionPolicy`: what can be refused at apply is refused there, in the words of the operator.
//!
//! Pure. The operator is the boundary; this is the earlier answer (docs/adr/0016). The API server evaluates the expressions within a
//! budget, so the lists, which are long, are maps in variables: each is built once, and looked up in one step.

use std::fmt::{Display, Write};

use serde_json::{Value, json};

use super::{Allowed, Configuration, Guardrail, NamespacePattern, Namespaces, Principals, words};
use crate::api::GROUP;

/// The name of the policy and of its binding.
pub const NAME: &str = "amishare-guardrails";

/// The policy, and the binding that puts it in force everywhere. `allow_public` is the operator's `--allow-public-sharing`.
///
/// It looks at specs that are new or change, never at objects that are being deleted: what was allowed once can still be let go.
pub fn policy(configuration: &Configuration, allow_public: bool) -> [Value; 2] {
    let mut made = Made::default();
    for (index, rule) in configuration.guardrails.iter().enumerate() {
        made.rule(index, rule);
    }
    if !allow_public {
        let rules = configuration.guardrails.iter().filter(|rule| rule.share_with.is_some());
        let spoken: Vec<String> = rules.map(|rule| names(&rule.namespaces)).collect();
        let expression = format!("!({PUBLIC}) || {}", any(&spoken));
        made.validations
            .push(json!({"expression": expression, "message": words::PUBLIC_BY_DEFAULT, "reason": "Forbidden"}));
    }
    // A policy has to have one.
    if made.validations.is_empty() {
        made.validations.push(json!({"expression": "true"}));
    }
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["amishares"],
            }]},
            "matchConditions": [
                {"name": "is-to-stay", "expression": "!has(object.metadata.deletionTimestamp)"},
                {"name": "is-new-or-changes", "expression": "oldObject == null || object.spec != oldObject.spec"},
            ],
            "variables": made.variables,
            "validations": made.validations,
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

/// CEL: whether the object asks for public sharing.
const PUBLIC: &str = "has(object.spec.shareWith.public) && object.spec.shareWith.public";

/// The parts of the policy, in the making.
#[derive(Default)]
struct Made {
    variables: Vec<Value>,
    validations: Vec<Value>,
}

impl Made {
    fn rule(&mut self, index: usize, rule: &Guardrail) {
        if let Some(regions) = &rule.regions {
            let variable = self.set(index, "regions", regions);
            let expression = format!("object.spec.region in {variable}");
            self.validate(rule, &expression, &words::region("' + object.spec.region + '"));
        }
        let Some(Allowed { account_ids, organization_arns, organizational_unit_arns, public }) = &rule.share_with
        else {
            return;
        };
        self.list(index, rule, "accountIds", account_ids, words::ACCOUNTS);
        self.list(index, rule, "organizationArns", organization_arns, words::ORGANIZATIONS);
        self.list(index, rule, "organizationalUnitArns", organizational_unit_arns, words::ORGANIZATIONAL_UNITS);
        if !public {
            self.validate(rule, &format!("!({PUBLIC})"), words::PUBLIC);
        }
    }

    /// A list of the spec of which everything must be allowed.
    fn list<T: Display>(&mut self, index: usize, rule: &Guardrail, field: &str, allowed: &Principals<T>, what: &str) {
        let Principals::These(these) = allowed else { return };
        let variable = self.set(index, field, these);
        let list = format!("object.spec.shareWith.{field}");
        self.validate(rule, &format!("!has({list}) || {list}.all(one, one in {variable})"), what);
    }

    /// A variable that holds these words as the keys of a map; its name in expressions.
    fn set<T: Display>(&mut self, index: usize, field: &str, words: impl IntoIterator<Item = T>) -> String {
        let mut map = String::new();
        for word in words {
            // Names of AWS have no quotes and no backslashes.
            let _ = write!(map, "{}'{word}': true", if map.is_empty() { "" } else { ", " });
        }
        let name = format!("{field}{index}");
        // An empty map has no type that a string could be looked up in.
        let expression = if map.is_empty() { "{'': true}".to_owned() } else { format!("{{{map}}}") };
        self.variables.push(json!({"name": name, "expression": expression}));
        format!("variables.{name}")
    }

    /// What must be so in the namespaces of a rule.
    fn validate(&mut self, rule: &Guardrail, expression: &str, what: &str) {
        self.validations.push(json!({
            "expression": format!("!({}) || ({expression})", names(&rule.namespaces)),
            "messageExpression": format!("'{}'", rule.refusal("' + request.namespace + '", what)),
            "reason": "Forbidden",
        }));
    }
}

/// CEL: whether the namespace of the request is meant.
fn names(namespaces: &Namespaces) -> String {
    let matches = |pattern: &NamespacePattern| match pattern {
        NamespacePattern::Any => "true".to_owned(),
        NamespacePattern::Beginning(beginning) => format!("request.namespace.startsWith('{beginning}')"),
        NamespacePattern::Exactly(name) => format!("request.namespace == '{name}'"),
    };
    let these: Vec<String> = namespaces.these.iter().map(matches).collect();
    let but: Vec<String> = namespaces.but.iter().map(matches).collect();
    format!("({} && !{})", any(&these), any(&but))
}

/// CEL: whether any of these is so.
fn any(all: &[String]) -> String {
    if all.is_empty() { "(false)".into() } else { format!("({})", all.join(" || ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{API_VERSION, KIND, parse};

    fn expressions(guardrails: &str, allow_public: bool) -> Vec<String> {
        let file = format!("{{apiVersion: {API_VERSION}, kind: {KIND}, guardrails: {guardrails}}}");
        let [policy, _] = policy(&parse("test", &file).unwrap(), allow_public);
        let validations = policy["spec"]["validations"].as_array().unwrap().clone();
        validations.iter().map(|validation| validation["expression"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_rule_holds_in_its_namespaces_alone() {
        let rule = "[{name: a, namespaces: [x, team-*], exceptNamespaces: [team-x], regions: [us-east-1]}]";
        assert_eq!(
            expressions(rule, true),
            [
                "!(((request.namespace.startsWith('team-') || request.namespace == 'x') && !(request.namespace == 'team-x'))) || \
              (object.spec.region in variables.regions0)"
            ]
        );
    }

    #[test]
    fn without_rules_only_public_sharing_is_refused_unless_the_operator_allows_it() {
        assert_eq!(
            expressions("[]", false),
            ["!(has(object.spec.shareWith.public) && object.spec.shareWith.public) || (false)"]
        );
        assert_eq!(expressions("[]", true), ["true"]);
    }

    #[test]
    fn a_star_asks_for_nothing() {
        let all = r#"{accountIds: ["*"], organizationArns: ["*"], organizationalUnitArns: ["*"], public: true}"#;
        assert_eq!(expressions(&format!(r#"[{{name: a, namespaces: ["*"], shareWith: {all}}}]"#), true), ["true"]);
    }
}
