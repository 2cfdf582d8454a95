//! Key policies: whether one lets somebody use a key for launching an image through EC2.
//!
//! Pure. Reads as much of IAM's language as key policies are written in, and says so where it cannot tell: what depends on the
//! membership of an account in an organization, or on what a caller sends, is not known here. It is not the simulator's reading of
//! policies, on purpose: two that agree are worth more than one.

use crate::api::{AccountId, GrantOperation, Principal};

mod condition;
mod like;
mod statement;

use like::is_like;
use statement::{Actions, Principals, Resource, Statement};

/// Whether something is so.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    /// It cannot be told, and why.
    Maybe(String),
}

impl Truth {
    /// Whether both are so. Of two that cannot be told it gives the same reason in either order.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes => other(),
            Self::Maybe(why) => match other() {
                Self::No => Self::No,
                Self::Yes => Self::Maybe(why),
                Self::Maybe(another) => Self::Maybe(why.min(another)),
            },
        }
    }

    /// Whether one of both is so.
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No => other(),
            Self::Maybe(why) => match other() {
                Self::Yes => Self::Yes,
                Self::No => Self::Maybe(why),
                Self::Maybe(another) => Self::Maybe(why.min(another)),
            },
        }
    }

    fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::Yes, |all, one| all.and(|| one))
    }

    fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().fold(Self::No, |all, one| all.or(|| one))
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy(Vec<Statement>);

impl KeyPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What it is that cannot be read.
    pub fn read(json: &str) -> Result<Self, String> {
        statement::read_all(json).map(Self)
    }

    /// Whether it lets somebody do all that EC2 does with the key in the name of whoever launches an image, in a Region. Of an
    /// organization or unit: whether it lets all its accounts do that.
    pub fn admits(&self, principal: &Principal, region: &str) -> Admission {
        let ask = |denies: bool, operation: GrantOperation| {
            let ours = self.0.iter().filter(move |statement| statement.denies == denies);
            Truth::any(ours.map(|statement| Request { principal, operation, region, denies }.meets(statement)))
        };
        match Truth::any(GrantOperation::LAUNCH.iter().map(|operation| ask(true, *operation))) {
            Truth::Yes => return Admission::Denied,
            Truth::Maybe(why) => return Admission::PerhapsDenied(why),
            Truth::No => {}
        }
        match Truth::all(GrantOperation::LAUNCH.iter().map(|operation| ask(false, *operation))) {
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
    fn meets(&self, statement: &Statement) -> Truth {
        let unclear = |what: &str| Truth::Maybe(format!("{} {what}", statement.name));
        self.names_the_action(&statement.actions)
            .and(|| self.names_the_principal(&statement.principals, &unclear))
            .and(|| match statement.resource {
                Resource::ThisKey => Truth::Yes,
                // It has no effect (KMS developer guide, "Elements in a key policy").
                Resource::Missing => Truth::No,
                Resource::SomethingElse => unclear("names its resource by something else than *"),
            })
            .and(|| match &statement.conditions {
                Some(conditions) => Truth::all(conditions.iter().map(|one| condition::holds(one, self, &unclear))),
                None => unclear("has a condition that is not understood"),
            })
    }

    fn names_the_action(&self, actions: &Actions) -> Truth {
        // Actions are compared without regard to case, unlike everything else.
        let action = format!("kms:{}", self.operation.name()).to_ascii_lowercase();
        let is_named = |list: &[String]| list.iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action));
        Truth::from(match actions {
            Actions::These(list) => is_named(list),
            Actions::AllBut(list) => !is_named(list),
        })
    }

    fn names_the_principal(&self, principals: &Principals, unclear: &dyn Fn(&str) -> Truth) -> Truth {
        match principals {
            Principals::AllButSome => unclear("is about all but some principals"),
            Principals::These(named) => Truth::any(named.iter().map(|name| self.is_named_by(name, unclear))),
        }
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
        values.dedup();
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
