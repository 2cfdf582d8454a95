//! Key policies: whether one lets somebody use a key for launching an image through EC2.
//!
//! Pure. Reads as much of IAM's language as key policies are written in, and says so where it cannot tell: what depends on the
//! membership of an account in an organization, or on what a caller sends, is not known here. It is not the simulator's reading of
//! policies, on purpose: two that agree are worth more than one.

use serde_json::Value;

use crate::api::{AccountId, GrantOperation, Principal};

mod condition;

use condition::holds;

/// Whether something is so.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    /// It cannot be told, and why.
    Maybe(String),
}

impl Truth {
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes => other(),
            maybe @ Self::Maybe(_) => {
                if other() == Self::No {
                    Self::No
                } else {
                    maybe
                }
            }
        }
    }

    fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::Yes, |all, one| all.and(|| one))
    }

    /// Whether one of them is so.
    fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::No;
        for one in truths {
            match one {
                Self::Yes => return Self::Yes,
                Self::Maybe(_) if all == Self::No => all = one,
                Self::No | Self::Maybe(_) => {}
            }
        }
        all
    }
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// What a policy says about somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It lets them use the key.
    Yes,
    /// It does not: only a grant can.
    No,
    /// It keeps them off, grant or not.
    Denied,
    /// Whether it lets them in cannot be told, and why. A grant would.
    Unknown(String),
    /// Whether it keeps them off cannot be told, and why. Then no grant helps.
    PerhapsDenied(String),
}

/// A key policy.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPolicy(Vec<Value>);

impl KeyPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What it is that cannot be read.
    pub fn read(json: &str) -> Result<Self, String> {
        let policy: Value = serde_json::from_str(json).map_err(|_| "it is not JSON".to_owned())?;
        let statements = many(&policy["Statement"]);
        if !policy.is_object() || !statements.iter().all(|statement| statement.is_object()) {
            return Err("it has no list of statements".into());
        }
        Ok(Self(statements.into_iter().cloned().collect()))
    }

    /// Whether it lets somebody do all that EC2 does with the key in the name of whoever launches an image, in a Region. Of an
    /// organization or unit: whether it lets all its accounts do that.
    pub fn admits(&self, principal: &Principal, region: &str) -> Admission {
        let ask = |effect: &'static str, operation: GrantOperation| {
            let ours = self.0.iter().filter(move |statement| statement["Effect"] == effect);
            Truth::any(ours.map(|statement| {
                let request = Request { principal, operation, region, denies: effect == "Deny" };
                request.meets(statement)
            }))
        };
        match Truth::any(GrantOperation::LAUNCH.iter().map(|operation| ask("Deny", *operation))) {
            Truth::Yes => return Admission::Denied,
            Truth::Maybe(why) => return Admission::PerhapsDenied(why),
            Truth::No => {}
        }
        match Truth::all(GrantOperation::LAUNCH.iter().map(|operation| ask("Allow", *operation))) {
            Truth::Yes => Admission::Yes,
            Truth::No => Admission::No,
            Truth::Maybe(why) => Admission::Unknown(why),
        }
    }
}

/// What is asked of a statement.
struct Request<'a> {
    principal: &'a Principal,
    operation: GrantOperation,
    region: &'a str,
    /// Whether the statement denies.
    denies: bool,
}

impl Request<'_> {
    fn meets(&self, statement: &Value) -> Truth {
        let sid = statement["Sid"].as_str().unwrap_or_default().chars().take(64).collect::<String>();
        let unclear = |what: &str| {
            let name = if sid.is_empty() { "a statement without Sid".into() } else { format!("the statement {sid:?}") };
            Truth::Maybe(format!("{name} {what}"))
        };
        self.names_the_action(statement)
            .and(|| self.names_the_principal(statement, &unclear))
            .and(|| match many(&statement["Resource"]).as_slice() {
                // In a key policy it means this key, which has no other way to write it that is not its ARN (KMS developer guide).
                [one] if one.as_str() == Some("*") => Truth::Yes,
                _ => unclear("names its resource by something else than *"),
            })
            .and(|| holds(&statement["Condition"], self, &unclear))
    }

    fn names_the_action(&self, statement: &Value) -> Truth {
        // Actions are compared without regard to case, unlike everything else.
        let action = format!("kms:{}", self.operation.name()).to_ascii_lowercase();
        let names = |list: &Value| texts(list).any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action));
        Truth::from(match &statement["NotAction"] {
            Value::Null => names(&statement["Action"]),
            but => !names(but),
        })
    }

    fn names_the_principal(&self, statement: &Value, unclear: &dyn Fn(&str) -> Truth) -> Truth {
        if !statement["NotPrincipal"].is_null() {
            return unclear("is about all but some principals");
        }
        let named = &statement["Principal"];
        let named: Vec<&str> = if named.is_string() { texts(named).collect() } else { texts(&named["AWS"]).collect() };
        let mut all = named.iter().map(|name| self.is_named_by(name, unclear));
        Truth::any(&mut all)
    }

    /// Whether a name in a policy is that of the principal: an ARN, an account id, or a star.
    fn is_named_by(&self, name: &str, unclear: &dyn Fn(&str) -> Truth) -> Truth {
        let is_account = |account: AccountId| {
            let id = account.to_string();
            name == id || (name.starts_with("arn:") && name.ends_with(&format!(":iam::{id}:root")))
        };
        match self.principal {
            Principal::Account(account) => Truth::from(name == "*" || is_account(*account)),
            // What is allowed to an account or to everybody is left to the account's own IAM, which service-linked roles cannot have.
            Principal::Grantee(arn) => {
                let is_about_all = name == "*" || arn.account().is_some_and(is_account);
                let leaves_it_to_iam = is_service_linked(arn.as_str()) && !self.denies;
                Truth::from(name == arn.as_str() || (is_about_all && !leaves_it_to_iam))
            }
            Principal::Organization(_) | Principal::OrganizationalUnit(_) | Principal::Everyone => {
                // Somebody who is denied can be one of them.
                if name == "*" {
                    Truth::Yes
                } else if self.denies {
                    unclear("denies it to somebody")
                } else {
                    Truth::No
                }
            }
        }
    }
}

fn is_service_linked(arn: &str) -> bool {
    arn.contains(":role/aws-service-role/")
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

/// Whether a text is like a pattern, in which `*` stands for any characters and `?` for one.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and what it stood for up to now ended.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, end)) => {
                    *end += 1;
                    (p, t) = (*at + 1, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The statements that let in those of `principals` whom no grant can name: one for all organizations and one for all units, as a key
/// policy has them (aws.md section 4.4).
pub fn statement_for<'a>(principals: impl Iterator<Item = &'a Principal>) -> String {
    let (mut organizations, mut paths) = (Vec::new(), Vec::new());
    for principal in principals {
        match principal {
            Principal::Organization(arn) => organizations.push(arn.id().to_owned()),
            Principal::OrganizationalUnit(arn) => {
                let (organization, unit) = arn.ids();
                paths.push(format!("{organization}/*/{unit}/*"));
            }
            Principal::Account(_) | Principal::Everyone | Principal::Grantee(_) => {}
        }
    }
    let statement = |operator: &str, key: &str, mut values: Vec<String>| {
        values.sort();
        let values = values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        (!values.is_empty()).then(|| {
            format!(
                "{{\"Effect\": \"Allow\", \"Principal\": {{\"AWS\": \"*\"}}, \"Action\": [\"kms:DescribeKey\", \"kms:Decrypt\", \
                 \"kms:ReEncrypt*\", \"kms:GenerateDataKey*\", \"kms:CreateGrant\"], \"Resource\": \"*\", \"Condition\": \
                 {{\"{operator}\": {{\"{key}\": [{values}]}}}}}}"
            )
        })
    };
    let organizations = statement("StringEquals", "aws:PrincipalOrgID", organizations);
    let units = statement("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", paths);
    organizations.into_iter().chain(units).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
