//! Key policies: whether a policy lets a principal do something. Pure.
//!
//! As much of IAM's language as key policies for shared images use. What is not understood never lets anybody in: a
//! statement that allows does not count then, and one that denies does.

use serde_json::Value;

use crate::simulator::wildcard;
use crate::simulator::world::Membership;

/// What the IAM of an account cannot be given: the roles that services look after in there (aws.md section 1.11).
const SERVICE_LINKED: &str = ":role/aws-service-role/";

/// Who wants to use a key.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Principal {
    /// Its account.
    pub(in crate::simulator) account: String,
    /// Its ARN: a user, a role, a role's session, or the account's root, who stands for everybody in the account.
    pub(in crate::simulator) arn: String,
    /// Where in an organization the account is.
    pub(in crate::simulator) membership: Membership,
    /// The service through which it comes, such as `ec2.us-east-1.amazonaws.com`.
    pub(in crate::simulator) via: Option<String>,
}

impl Principal {
    /// Whether the ARN is the principal, its role, or its account. An account's ARN lets in whom the account's own IAM lets
    /// in, which it cannot for service-linked roles.
    pub(in crate::simulator) fn is_named_by(&self, arn: &str) -> bool {
        arn == self.arn || self.is_session_of(arn) || (self.is_account_named_by(arn) && !self.is_service_linked())
    }

    fn is_account_named_by(&self, arn: &str) -> bool {
        arn == self.account || account_root(arn) == Some(self.account.as_str())
    }

    fn is_service_linked(&self) -> bool {
        self.arn.contains(SERVICE_LINKED)
    }

    /// `arn:aws:sts::1:assumed-role/reader/test` is a session of `arn:aws:iam::1:role/path/reader`.
    fn is_session_of(&self, role: &str) -> bool {
        let session = self.arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next());
        let named = role.split_once(":role/").and_then(|(_, path)| path.rsplit('/').next());
        session.is_some() && session == named && role.split(':').nth(4) == Some(self.account.as_str())
    }

    /// What the request says under a condition key; None for keys that are not understood.
    fn values_of(&self, condition_key: &str) -> Option<Vec<String>> {
        let organization = self.membership.organization_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
        Some(match condition_key.to_ascii_lowercase().as_str() {
            "aws:principalaccount" | "kms:calleraccount" => vec![self.account.clone()],
            "aws:principalarn" => vec![self.arn.clone()],
            "aws:principalorgid" => organization.into_iter().map(ToOwned::to_owned).collect(),
            "aws:principalorgpaths" => self.organization_paths(organization),
            "kms:viaservice" => self.via.iter().cloned().collect(),
            // A service makes its grants for a resource of its own; nobody else does.
            "kms:grantisforawsresource" => vec![self.via.is_some().to_string()],
            _ => return None,
        })
    }

    /// `o-…/r-…/ou-…/` for every unit above the account. The world does not know how units lie in each other, so each path
    /// has one: patterns with `*` around it match as they do on AWS.
    fn organization_paths(&self, organization: Option<&str>) -> Vec<String> {
        let Some(organization) = organization else { return Vec::new() };
        let units = self.membership.organizational_unit_arns.iter().filter_map(|arn| arn.rsplit('/').next());
        let path = |unit: &str| {
            let root = unit.split('-').nth(1).unwrap_or_default();
            format!("{organization}/r-{root}/{unit}/")
        };
        units.map(path).collect()
    }
}

/// The account whose root the ARN is.
fn account_root(arn: &str) -> Option<&str> {
    let (_, rest) = arn.strip_prefix("arn:aws")?.split_once(":iam::")?;
    rest.strip_suffix(":root")
}

/// What a policy says of a principal and an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Verdict {
    /// The principal may do it.
    Allowed,
    /// The policy says nothing of it.
    Silent,
    /// The principal may not do it, whatever else allows it.
    Denied,
}

/// What the policy, which is JSON, says of the principal and an operation such as `CreateGrant`.
pub(in crate::simulator) fn verdict(policy: &str, principal: &Principal, operation: &str) -> Verdict {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else { return Verdict::Silent };
    let statements = many(&policy["Statement"]);
    let applies = |effect: &str| {
        let statements = statements.iter().filter(move |statement| statement["Effect"] == effect);
        let unknown = effect == "Deny";
        statements.into_iter().any(|statement| {
            if ["NotPrincipal", "NotAction"].iter().any(|name| !statement[*name].is_null()) {
                return unknown;
            }
            names_principal(&statement["Principal"], principal, effect == "Deny")
                && texts(&statement["Action"]).any(|action| names_operation(action, operation))
                && holds(&statement["Condition"], principal, unknown)
        })
    };
    if applies("Deny") {
        Verdict::Denied
    } else if applies("Allow") {
        Verdict::Allowed
    } else {
        Verdict::Silent
    }
}

/// Whether a statement is about the principal. One that allows an account, or everybody, leaves it to the account's IAM, which
/// service-linked roles cannot have; one that denies them is about these roles too.
fn names_principal(named: &Value, principal: &Principal, denies: bool) -> bool {
    let named: Vec<&str> = if named.is_string() { texts(named).collect() } else { texts(&named["AWS"]).collect() };
    named.iter().any(|arn| {
        let is_about_all = *arn == "*" || principal.is_account_named_by(arn);
        (is_about_all && (denies || !principal.is_service_linked())) || principal.is_named_by(arn)
    })
}

/// Actions are compared without regard to case, unlike everything else in policies.
fn names_operation(action: &str, operation: &str) -> bool {
    wildcard::matches(&action.to_ascii_lowercase(), &format!("kms:{operation}").to_ascii_lowercase())
}

fn holds(condition: &Value, principal: &Principal, unknown: bool) -> bool {
    let Some(operators) = condition.as_object() else { return true };
    operators.iter().all(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.into_iter().all(|(key, wanted)| {
            let Some(found) = principal.values_of(key) else { return unknown };
            let wanted: Vec<String> = many(wanted).into_iter().filter_map(as_text).collect();
            let any = |is: &dyn Fn(&str, &str) -> bool| found.iter().any(|one| wanted.iter().any(|text| is(text, one)));
            match operator.strip_prefix("ForAnyValue:").unwrap_or(operator) {
                "StringEquals" | "ArnEquals" => any(&|wanted, found| wanted == found),
                "StringNotEquals" => !any(&|wanted, found| wanted == found),
                "StringLike" | "ArnLike" => any(&wildcard::matches),
                "Bool" => any(&|wanted, found| wanted.eq_ignore_ascii_case(found)),
                _ => unknown,
            }
        })
    })
}

/// What IAM lets be one or a list.
fn many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    many(value).into_iter().filter_map(Value::as_str)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-abcdefghij";
    const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-abcdefgh";

    fn allows(policy: &str, principal: &Principal, operation: &str) -> bool {
        verdict(policy, principal, operation) == Verdict::Allowed
    }

    fn principal(arn: &str) -> Principal {
        Principal {
            account: "444455556666".into(),
            arn: arn.into(),
            membership: Membership {
                organization_arn: Some(ORGANIZATION.into()),
                organizational_unit_arns: [UNIT.to_owned()].into(),
            },
            via: Some("ec2.us-east-1.amazonaws.com".into()),
        }
    }

    fn root() -> Principal {
        principal("arn:aws:iam::444455556666:root")
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that literals can be given")]
    fn statement(effect: &str, named: Value, action: Value, condition: Value) -> String {
        let statement =
            json!({"Effect": effect, "Principal": named, "Action": action, "Resource": "*", "Condition": condition});
        let open = json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"});
        let statements = if effect == "Deny" { vec![open, statement] } else { vec![statement] };
        json!({"Statement": statements}).to_string()
    }

    #[test]
    fn an_account_is_let_in_by_its_id_its_root_or_a_star_and_nobody_else_is() {
        for named in
            [json!("*"), json!({"AWS": "444455556666"}), json!({"AWS": ["x", "arn:aws:iam::444455556666:root"]})]
        {
            assert!(allows(&statement("Allow", named, json!("kms:*"), Value::Null), &root(), "Decrypt"));
        }
        let other = statement("Allow", json!({"AWS": "111122223333"}), json!("kms:*"), Value::Null);
        assert!(!allows(&other, &root(), "Decrypt"));
        assert!(!allows("no policy", &root(), "Decrypt"));
    }

    #[test]
    fn a_service_linked_role_is_let_in_by_its_own_name_alone() {
        let arn =
            "arn:aws:iam::444455556666:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
        let role = principal(arn);
        for named in ["*", "arn:aws:iam::444455556666:root"] {
            let allowing = statement("Allow", json!({"AWS": named}), json!("kms:*"), Value::Null);
            assert_eq!(verdict(&allowing, &role, "Decrypt"), Verdict::Silent);
            let denying = statement("Deny", json!({"AWS": named}), json!("kms:*"), Value::Null);
            assert_eq!(verdict(&denying, &role, "Decrypt"), Verdict::Denied, "a denial is about everybody");
        }
        assert!(allows(&statement("Allow", json!({"AWS": arn}), json!("kms:*"), Value::Null), &role, "Decrypt"));
    }

    #[test]
    fn a_session_is_let_in_as_its_role() {
        let session = principal("arn:aws:sts::444455556666:assumed-role/reader/test");
        assert!(session.is_named_by("arn:aws:iam::444455556666:role/path/reader"));
        assert!(!session.is_named_by("arn:aws:iam::444455556666:role/path/writer"));
        assert!(!session.is_named_by("arn:aws:iam::111122223333:role/path/reader"));
    }

    #[test]
    fn actions_match_by_wildcard() {
        let policy = statement("Allow", json!("*"), json!(["kms:ReEncrypt*", "kms:decrypt"]), Value::Null);
        for (operation, allowed) in [("ReEncryptFrom", true), ("Decrypt", true), ("CreateGrant", false)] {
            assert_eq!(allows(&policy, &root(), operation), allowed, "{operation}");
        }
    }

    #[test]
    fn conditions_ask_for_organization_unit_and_service() {
        for (condition, holds) in [
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}), true),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-other00000"}}), false),
            (json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-abcdefghij/*/ou-ab12-abcdefgh/*"}}), true),
            (
                json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-abcdefghij/*/ou-ab12-other000/*"]}}),
                false,
            ),
            (json!({"Bool": {"kms:GrantIsForAWSResource": "true"}}), true),
            (json!({"Bool": {"kms:GrantIsForAWSResource": false}}), false),
            (json!({"StringEquals": {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}}), true),
            (json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}), false),
        ] {
            let policy = statement("Allow", json!("*"), json!("kms:*"), condition.clone());
            assert_eq!(allows(&policy, &root(), "CreateGrant"), holds, "{condition}");
        }
    }

    #[test]
    fn statements_about_all_but_somebody_are_not_understood() {
        let with = |effect: &str| {
            let open = json!({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"});
            let other =
                json!({"Effect": effect, "NotPrincipal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"});
            let statements = if effect == "Deny" { vec![open, other] } else { vec![other] };
            verdict(&json!({"Statement": statements}).to_string(), &root(), "Decrypt")
        };
        assert_eq!((with("Allow"), with("Deny")), (Verdict::Silent, Verdict::Denied));
    }

    #[test]
    fn a_denial_wins_and_one_that_is_not_understood_does_too() {
        let unknown = json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}});
        for (condition, allowed) in [
            (Value::Null, false),
            (unknown, false),
            (json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}}), true),
        ] {
            let policy = statement("Deny", json!("*"), json!("kms:Decrypt"), condition.clone());
            assert_eq!(allows(&policy, &root(), "Decrypt"), allowed, "{condition}");
            assert!(allows(&policy, &root(), "DescribeKey"));
        }
    }
}
