//! The conditions of statements: what is known of a launch through EC2, and what is not.
//!
//! Pure.

use serde_json::Value;

use super::{Request, Truth, is_like, many};
use crate::api::{GrantOperation, Principal};

/// What a condition key has as its value in a call that EC2 makes for the principal.
enum Known {
    /// One of these.
    Values(Vec<String>),
    /// None.
    Absent,
    /// It cannot be told, and why.
    Unknown(String),
}

/// Whether all conditions of a statement hold.
pub(super) fn holds(conditions: &Value, request: &Request<'_>, unclear: &dyn Fn(&str) -> Truth) -> Truth {
    let operators = match conditions {
        Value::Null => return Truth::Yes,
        Value::Object(operators) => operators,
        _ => return unclear("has a condition that is not understood"),
    };
    Truth::all(operators.iter().flat_map(|(operator, keys)| {
        let Some(keys) = keys.as_object() else { return vec![unclear("has a condition that is not understood")] };
        keys.iter().map(|(key, wanted)| one(operator, key, wanted, request, unclear)).collect()
    }))
}

fn one(operator: &str, key: &str, wanted: &Value, request: &Request<'_>, unclear: &dyn Fn(&str) -> Truth) -> Truth {
    let not_understood = || unclear(&format!("has a condition on {} that is not understood", shown(key)));
    let wanted: Vec<String> = many(wanted).into_iter().filter_map(as_text).collect();
    let lower = key.to_ascii_lowercase();
    let operator = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (negated, compare): (bool, fn(&str, &str) -> bool) = match operator {
        "StringEquals" | "ArnEquals" => (false, |wanted, value| wanted == value),
        "StringNotEquals" | "ArnNotEquals" => (true, |wanted, value| wanted == value),
        "StringLike" | "ArnLike" => (false, is_like),
        "StringNotLike" | "ArnNotLike" => (true, is_like),
        "Bool" => (false, |wanted, value| wanted.eq_ignore_ascii_case(value)),
        _ => return not_understood(),
    };
    if lower == "aws:principalorgpaths" && matches!(operator, "StringLike" | "StringEquals") {
        return paths(&wanted, compare, request, unclear);
    }
    match known(&lower, request) {
        Some(Known::Values(values)) => {
            let any = values.iter().any(|value| wanted.iter().any(|wanted| compare(wanted, value)));
            Truth::from(any != negated)
        }
        Some(Known::Absent) => Truth::from(negated || if_exists),
        Some(Known::Unknown(why)) => Truth::Maybe(why),
        None => not_understood(),
    }
}

/// A text of a policy in a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// What is known of a condition key, by its name in lower case: they are compared without regard to case (IAM user guide).
fn known(key: &str, request: &Request<'_>) -> Option<Known> {
    let account = match request.principal {
        Principal::Account(account) => Some(*account),
        Principal::Grantee(arn) => arn.account(),
        _ => None,
    };
    let one = |value: String| Known::Values(vec![value]);
    let depends = |on: &str| Known::Unknown(format!("it depends on {on} of the accounts that launch it"));
    Some(match key {
        "kms:viaservice" => {
            let suffix = if request.region.starts_with("cn-") { ".cn" } else { "" };
            Known::Values(vec![
                format!("ec2.{}.amazonaws.com", request.region),
                format!("ec2.{}.amazonaws.com{suffix}", request.region),
            ])
        }
        "kms:calleraccount" | "aws:principalaccount" => match account {
            Some(account) => one(account.to_string()),
            None => depends("the ids"),
        },
        // EC2 makes the grants for its volumes so, and no other call has the key (KMS developer guide, aws.md section 4.4).
        "kms:grantisforawsresource" if request.operation == GrantOperation::CreateGrant => one("true".into()),
        "kms:grantisforawsresource" => Known::Absent,
        "aws:principalorgid" => match request.principal {
            Principal::Organization(arn) => one(arn.id().to_owned()),
            Principal::OrganizationalUnit(arn) => one(arn.ids().0.to_owned()),
            _ => Known::Unknown("it depends on in which organization the account is".into()),
        },
        "aws:principalarn" => match request.principal {
            Principal::Grantee(arn) => one(arn.as_str().to_owned()),
            _ => depends("the roles"),
        },
        "aws:securetransport" => one("true".into()),
        _ => return None,
    })
}

/// Whether every account below a unit is in one of the paths, which are written like
/// `o-abcde12345/r-ab12/ou-ab12-11111111/ou-ab12-22222222/` (IAM user guide, `aws:PrincipalOrgPaths`). Where below the root a unit is,
/// its ARN does not tell.
fn paths(
    wanted: &[String],
    compare: fn(&str, &str) -> bool,
    request: &Request<'_>,
    unclear: &dyn Fn(&str) -> Truth,
) -> Truth {
    let (organization, samples) = match request.principal {
        Principal::OrganizationalUnit(arn) => {
            let (organization, unit) = arn.ids();
            let root = unit.split('-').nth(1).unwrap_or_default();
            let above = format!("{organization}/r-{root}/");
            let (other, below) = (format!("ou-{root}-00000000/"), format!("ou-{root}-99999999/"));
            let all = [
                format!("{above}{unit}/"),
                format!("{above}{unit}/{below}"),
                format!("{above}{other}{unit}/"),
                format!("{above}{other}{unit}/{below}"),
            ];
            (organization, all.to_vec())
        }
        Principal::Organization(arn) => {
            let above = format!("{}/r-0000/", arn.id());
            (arn.id(), vec![above.clone(), format!("{above}ou-0000-00000000/")])
        }
        Principal::Everyone => return Truth::No,
        Principal::Account(_) | Principal::Grantee(_) => {
            return Truth::Maybe("it depends on in which organizational unit the account is".into());
        }
    };
    let is_covered = |path: &String| wanted.iter().any(|wanted| compare(wanted, path));
    let covered = samples.iter().filter(|path| is_covered(path)).count();
    if covered == samples.len() {
        Truth::Yes
    } else if covered > 0 || wanted.iter().any(|path| path.starts_with(organization)) {
        unclear("lets in only some paths of the organization")
    } else {
        Truth::No
    }
}
