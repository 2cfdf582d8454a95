//! The conditions of statements: what is known of a launch through EC2, and what is not.
//!
//! Pure.

use super::{
    Request, Truth,
    like::{arn_parts, is_like, is_like_arn},
    statement::Condition,
};
use crate::api::{GrantOperation, Principal};

/// What a condition key has as its value in a call that EC2 makes for the principal.
enum Known {
    /// One of these.
    Values(Vec<String>),
    /// None.
    Absent,
    /// It cannot be told, and why.
    Unknown(String),
    /// Another one for each of those for whom the principal stands, and what differs.
    Differs(String),
}

/// How an operator compares the values of a policy with that of the call.
#[derive(Clone, Copy)]
struct Operator {
    is_like: fn(&str, &str) -> bool,
    /// Whether it holds if they are not alike.
    negated: bool,
    /// Whether stars in the values of a policy stand for something.
    wild: bool,
    /// What it comes to if the call has no value.
    if_absent: bool,
}

impl Operator {
    fn of(name: &str) -> Option<Self> {
        let (any, name) = strip(name, "ForAnyValue:");
        let (all, name) = strip(name, "ForAllValues:");
        let (if_exists, name) = match name.strip_suffix("IfExists") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let equals: fn(&str, &str) -> bool = |wanted, value| wanted == value;
        let ignoring_case: fn(&str, &str) -> bool = |wanted, value| wanted.eq_ignore_ascii_case(value);
        let (negated, is_like, wild) = match name {
            "StringEquals" => (false, equals, false),
            "StringNotEquals" => (true, equals, false),
            "StringEqualsIgnoreCase" | "Bool" => (false, ignoring_case, false),
            "StringNotEqualsIgnoreCase" => (true, ignoring_case, false),
            "StringLike" => (false, is_like as fn(&str, &str) -> bool, true),
            "StringNotLike" => (true, is_like as fn(&str, &str) -> bool, true),
            "ArnEquals" | "ArnLike" => (false, is_like_arn as fn(&str, &str) -> bool, true),
            "ArnNotEquals" | "ArnNotLike" => (true, is_like_arn as fn(&str, &str) -> bool, true),
            _ => return None,
        };
        // Without a value in the call, "not equal" holds, "for any" does not, and "for all" does (IAM user guide).
        let if_absent = all || if_exists || (negated && !any);
        Some(Self { is_like, negated, wild, if_absent })
    }
}

fn strip<'a>(name: &'a str, prefix: &str) -> (bool, &'a str) {
    name.strip_prefix(prefix).map_or((false, name), |rest| (true, rest))
}

/// Whether a condition holds.
pub(super) fn holds(condition: &Condition, request: &Request<'_>, unclear: &dyn Fn(&str) -> Truth) -> Truth {
    let Condition { operator: named, key, values } = condition;
    let not_understood = || unclear(&format!("has a condition on {} that is not understood", shown(key)));
    let Some(wanted) = values else { return not_understood() };
    // What a variable stands for depends on the caller.
    if wanted.iter().any(|value| value.contains("${")) {
        return unclear(&format!("has a condition on {} with a policy variable", shown(key)));
    }
    let lower = key.to_ascii_lowercase();
    if lower == "aws:principalorgpaths" {
        return match named.strip_prefix("ForAnyValue:").unwrap_or(named) {
            "StringLike" => paths(wanted, is_like, request, unclear),
            "StringEquals" => paths(wanted, |wanted, path| wanted == path, request, unclear),
            _ => not_understood(),
        };
    }
    let known = known(&lower, request);
    if named == "Null" {
        return match (known, wanted.as_slice()) {
            (Some(Known::Values(_)), [absent]) => Truth::from(absent.eq_ignore_ascii_case("false")),
            (Some(Known::Absent), [absent]) => Truth::from(absent.eq_ignore_ascii_case("true")),
            (Some(Known::Unknown(why) | Known::Differs(why)), _) => Truth::Maybe(why),
            _ => not_understood(),
        };
    }
    let Some(operator) = Operator::of(named) else { return not_understood() };
    // In a pattern of an ARN, one star for all of it is not what IAM compares.
    if named.contains("Arn") && wanted.iter().any(|pattern| arn_parts(pattern).is_none()) {
        return not_understood();
    }
    match known {
        Some(Known::Values(values)) => {
            let any = values.iter().any(|value| wanted.iter().any(|wanted| (operator.is_like)(wanted, value)));
            Truth::from(any != operator.negated)
        }
        Some(Known::Absent) => Truth::from(operator.if_absent),
        Some(Known::Unknown(why)) if lower == "aws:principalarn" => roles(wanted, operator, request, why),
        Some(Known::Unknown(why)) => Truth::Maybe(why),
        Some(Known::Differs(why)) => of_many(wanted, operator, request.denies, why),
        None => not_understood(),
    }
}

/// Whether a condition holds for all of many, of each of whom the value is another one; of a denial, whether it does for any.
fn of_many(wanted: &[String], operator: Operator, denies: bool, why: String) -> Truth {
    let is_wild = |value: &String| operator.wild && value.contains(['*', '?']);
    if denies || operator.negated || wanted.iter().any(is_wild) {
        Truth::Maybe(why)
    } else {
        // Those that a list names are not all.
        Truth::No
    }
}

/// Whether a condition on the ARN of a role holds for an account: not known, if it is about roles of the account.
fn roles(wanted: &[String], operator: Operator, request: &Request<'_>, why: String) -> Truth {
    let Principal::Account(account) = request.principal else { return Truth::Maybe(why) };
    let id = account.to_string();
    let may_be_theirs = |pattern: &String| match arn_parts(pattern) {
        Some([.., account, _]) if operator.wild => is_like(account, &id),
        Some([.., account, _]) => account == id,
        None => true,
    };
    // Of texts with stars, one may stand for colons too.
    let is_text = |pattern: &String| operator.wild && pattern.split(':').take(5).any(|part| part.contains('*'));
    if wanted.iter().any(|pattern| may_be_theirs(pattern) || is_text(pattern)) {
        Truth::Maybe(why)
    } else {
        Truth::from(operator.negated)
    }
}

/// A text of a policy in a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What is known of a condition key, by its name in lower case: they are compared without regard to case (IAM user guide).
fn known(key: &str, request: &Request<'_>) -> Option<Known> {
    let account = match request.principal {
        Principal::Account(account) => Some(*account),
        Principal::Grantee(arn) => arn.account(),
        _ => None,
    };
    let one = |value: String| Known::Values(vec![value]);
    let differs = |what: &str| Known::Differs(format!("it depends on {what} of the accounts that launch it"));
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
            None => differs("the ids"),
        },
        // EC2 makes the grants for its volumes so, and no other call has the key (KMS developer guide, aws.md section 4.4).
        "kms:grantisforawsresource" if request.operation == GrantOperation::CreateGrant => one("true".into()),
        "kms:grantisforawsresource" => Known::Absent,
        "aws:principalorgid" => match request.principal {
            Principal::Organization(arn) => one(arn.id().to_owned()),
            Principal::OrganizationalUnit(arn) => one(arn.ids().0.to_owned()),
            Principal::Everyone => differs("the organizations"),
            _ => Known::Unknown("it depends on in which organization the account is".into()),
        },
        "aws:principalarn" => match request.principal {
            Principal::Grantee(arn) => one(arn.as_str().to_owned()),
            Principal::Account(_) => Known::Unknown("it depends on the roles of the accounts that launch it".into()),
            _ => differs("the roles"),
        },
        "aws:securetransport" => one("true".into()),
        // EC2 asks with the credentials of whoever launches (IAM user guide, forward access sessions).
        "aws:principalisawsservice" => one("false".into()),
        _ => return None,
    })
}

/// Whether every account below a unit is in one of the paths, which are written like
/// `o-abcde12345/r-ab12/ou-ab12-11111111/ou-ab12-22222222/` (IAM user guide, `aws:PrincipalOrgPaths`). Where below the root a unit is,
/// its ARN does not tell. Of a denial: whether any account is.
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
        Principal::Everyone if request.denies => return unclear("denies it to organizational units"),
        Principal::Everyone => return Truth::No,
        Principal::Account(_) | Principal::Grantee(_) => {
            return Truth::Maybe("it depends on in which organizational unit the account is".into());
        }
    };
    let is_covered = |path: &String| wanted.iter().any(|wanted| compare(wanted, path));
    let covered = samples.iter().filter(|path| is_covered(path)).count();
    if covered == samples.len() {
        Truth::Yes
    } else if covered > 0 || wanted.iter().any(|path| may_be_in(path, organization)) {
        unclear("is about only some paths of the organization")
    } else {
        Truth::No
    }
}

/// Whether a path, or a pattern of one, may be in an organization: a star stands for slashes too.
fn may_be_in(path: &str, organization: &str) -> bool {
    let head = path.split('/').next().unwrap_or_default();
    match head.split_once('*') {
        Some((before, _)) => is_like(&format!("{before}*"), organization),
        None => is_like(head, organization),
    }
}
