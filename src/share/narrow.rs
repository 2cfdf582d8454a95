//! How a refused change is narrowed down to the part that AWS refuses, so that everybody else is served.
//!
//! Pure. `ModifyImageAttribute` and `ModifySnapshotAttribute` are all or nothing: one closed account among a thousand and
//! nobody gets anything (aws.md section 1.3). What AWS names is left out; what it does not name is found by halving.

use std::collections::BTreeSet;

use super::{
    keys::default_key,
    observed::Target,
    plan::{Change, Refusal},
};
use crate::{
    api::{Principal, Reason},
    aws::failure::{Class, Failure},
};

/// What to do about a change that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowed {
    /// Make these changes instead, in this order.
    Instead(Vec<Change>),
    /// These principals are refused; make the rest of the change, if there is any, without them, in this order.
    Refused {
        /// Who is refused.
        principals: BTreeSet<Principal>,
        /// Why.
        refusal: Refusal,
        /// What is left to do.
        rest: Vec<Change>,
    },
    /// The failure is not about a part of the change.
    GiveUp,
}

/// Narrows `change` down after `failure`.
pub fn narrow(change: &Change, failure: &Failure) -> Narrowed {
    match failure.class {
        Class::PublicRefused if change.add.contains(&Principal::Everyone) => {
            refuse(change, BTreeSet::from([Principal::Everyone]), failure)
        }
        // To be safe, an unknown refusal is treated as one of a principal: at worst it costs calls.
        Class::PrincipalRefused | Class::PublicRefused | Class::GranteeUnknown | Class::Other => {
            principal(change, failure)
        }
        Class::DefaultKey | Class::Quota => additions(change, failure),
        Class::NotFound
        | Class::NotUsable
        | Class::NotOwner
        | Class::KeyNotUsable
        | Class::NotShown
        | Class::NameTaken
        | Class::TokenUsed
        | Class::NotCopyable
        | Class::AccessDenied
        | Class::Throttled
        | Class::Unavailable
        | Class::Overtaken
        | Class::NoIdentity => Narrowed::GiveUp,
    }
}

/// A principal is refused: the one that AWS names, or one that is found by halving.
fn principal(change: &Change, failure: &Failure) -> Narrowed {
    if let Some(named) = named_in(&failure.message, change) {
        return refuse(change, BTreeSet::from([named]), failure);
    }
    if let Some(sides) = sides(change) {
        return Narrowed::Instead(sides);
    }
    let everyone: Vec<&Principal> = change.add.iter().chain(&change.remove).collect();
    if everyone.len() <= 1 {
        return refuse(change, everyone.into_iter().cloned().collect(), failure);
    }
    let first: BTreeSet<Principal> = everyone[..everyone.len() / 2].iter().copied().cloned().collect();
    let part = |keep: bool| Change {
        target: change.target.clone(),
        add: change.add.iter().filter(|p| first.contains(*p) == keep).cloned().collect(),
        remove: change.remove.iter().filter(|p| first.contains(*p) == keep).cloned().collect(),
    };
    Narrowed::Instead(vec![part(true), part(false)])
}

/// Nothing can be added, whoever it is: what is to be removed goes alone.
fn additions(change: &Change, failure: &Failure) -> Narrowed {
    match sides(change) {
        Some(sides) => Narrowed::Instead(sides),
        None if change.add.is_empty() => Narrowed::GiveUp,
        None => refuse(change, change.add.clone(), failure),
    }
}

/// The removing and the adding half of a change that does both; taking away comes first, because it cannot be refused for the
/// sake of what is given.
fn sides(change: &Change) -> Option<Vec<Change>> {
    if change.add.is_empty() || change.remove.is_empty() {
        return None;
    }
    let remove = Change { add: BTreeSet::new(), ..change.clone() };
    let add = Change { remove: BTreeSet::new(), ..change.clone() };
    Some(vec![remove, add])
}

fn refuse(change: &Change, principals: BTreeSet<Principal>, failure: &Failure) -> Narrowed {
    let without = |from: &BTreeSet<Principal>| from.difference(&principals).cloned().collect::<BTreeSet<_>>();
    let rest = Change { target: change.target.clone(), add: without(&change.add), remove: without(&change.remove) };
    // Where one is refused there may be hundreds: what is to be taken away does not wait until they are all found.
    let rest = match sides(&rest) {
        Some(sides) => sides,
        None if rest.add.is_empty() && rest.remove.is_empty() => Vec::new(),
        None => vec![rest],
    };
    let refusal = explain(&change.target, failure, principals.contains(&Principal::Everyone));
    Narrowed::Refused { principals, refusal, rest }
}

/// The refusal in words that tell what to do.
fn explain(target: &Target, failure: &Failure, public: bool) -> Refusal {
    let aws = match &failure.code {
        Some(code) => format!("AWS answered {code}: {}", failure.message),
        None => failure.message.clone(),
    };
    let reason = match failure.reason() {
        Reason::PublicSharingBlocked if !public => Reason::AwsRefused,
        reason => reason,
    };
    let message = match reason {
        // AWS's text names one principal of those that share this message, or none: it would only confuse.
        Reason::PrincipalRefused => {
            "AWS refuses it: the account is closed or mistyped, or the ARN names nothing; remove it from the spec"
                .into()
        }
        Reason::PublicSharingBlocked => format!(
            "public sharing is refused: disable block public access for this account and Region, raise the quota of public \
             images, or set public: false; {aws}"
        ),
        Reason::DefaultKmsKeyNotShareable => format!("{}; {aws}", default_key(target).message),
        Reason::GranteeNotFound => {
            "KMS knows no such role, user or account; new ones appear late, and it is tried again after a while: remove it from the \
             spec if it is mistyped"
                .into()
        }
        Reason::QuotaExceeded if matches!(target, Target::Grants(_)) => format!(
            "{target} has as many grants as a key can have (50,000 grants, those of attached volumes among them); let \
             accounts in by its policy instead; {aws}"
        ),
        Reason::QuotaExceeded => format!("a quota is used up; have AWS raise it or share with an organization; {aws}"),
        _ => aws,
    };
    Refusal::new(reason, message)
}

/// The principal of the change that AWS's message names, such as in `Invalid attribute item value "123456789012" for userId
/// item type.`, `UserId 123456789012` or `UserId (123456789012) is invalid.` (aws.md sections 1.1 and 1.4).
fn named_in(message: &str, change: &Change) -> Option<Principal> {
    message
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | ',' | ';'))
        .filter_map(|word| word.trim_end_matches('.').parse::<Principal>().ok())
        .find(|p| change.add.contains(p) || change.remove.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u64) -> Principal {
        format!("{n:012}").parse().unwrap()
    }

    fn accounts(numbers: std::ops::Range<u64>) -> BTreeSet<Principal> {
        numbers.map(account).collect()
    }

    fn change(add: BTreeSet<Principal>, remove: BTreeSet<Principal>) -> Change {
        Change { target: Target::Image("ami-12345678".parse().unwrap()), add, remove }
    }

    fn invalid(value: &str) -> Failure {
        let message = format!("Invalid attribute item value \"{value}\" for userId item type.");
        Failure::answered("ModifyImageAttribute", "InvalidAMIAttributeItemValue", &message)
    }

    #[test]
    fn the_account_that_aws_names_is_left_out_and_the_rest_goes_without_it_removals_first() {
        let asked = change(accounts(1..5), accounts(8..9));
        let Narrowed::Refused { principals, refusal, rest } = narrow(&asked, &invalid("000000000003")) else {
            panic!()
        };
        assert_eq!(principals, BTreeSet::from([account(3)]));
        assert_eq!(refusal.reason, Reason::PrincipalRefused);
        let others = accounts(1..5).into_iter().filter(|p| *p != account(3)).collect();
        assert_eq!(rest, [change(BTreeSet::new(), accounts(8..9)), change(others, BTreeSet::new())]);
    }

    #[test]
    fn the_organization_that_aws_names_is_left_out_like_an_account() {
        let organization: Principal = "arn:aws:organizations::123456789012:organization/o-abcde12345".parse().unwrap();
        let mut add = accounts(1..3);
        add.insert(organization.clone());
        let failure = invalid(&organization.to_string());
        let Narrowed::Refused { principals, rest, .. } = narrow(&change(add, BTreeSet::new()), &failure) else {
            panic!()
        };
        assert_eq!(principals, BTreeSet::from([organization]));
        assert_eq!(rest, [change(accounts(1..3), BTreeSet::new())]);
    }

    #[test]
    fn without_a_name_removals_go_first_and_alone_and_additions_are_halved() {
        let asked = change(accounts(1..5), accounts(8..9));
        let Narrowed::Instead(parts) = narrow(&asked, &invalid("?")) else { panic!() };
        assert_eq!(parts, [change(BTreeSet::new(), accounts(8..9)), change(accounts(1..5), BTreeSet::new())]);
        let Narrowed::Instead(halves) = narrow(&parts[1], &invalid("?")) else { panic!() };
        assert_eq!(halves, [change(accounts(1..3), BTreeSet::new()), change(accounts(3..5), BTreeSet::new())]);
        let single = change(accounts(1..2), BTreeSet::new());
        assert!(matches!(narrow(&single, &invalid("?")), Narrowed::Refused { rest, .. } if rest.is_empty()));
    }

    #[test]
    fn a_refusal_of_public_sharing_leaves_the_accounts_in() {
        let mut add = accounts(1..3);
        add.insert(Principal::Everyone);
        let failure =
            Failure::answered("ModifyImageAttribute", "OperationNotPermitted", "You can't publicly share this image");
        let Narrowed::Refused { principals, rest, .. } = narrow(&change(add, BTreeSet::new()), &failure) else {
            panic!()
        };
        assert_eq!(principals, BTreeSet::from([Principal::Everyone]));
        assert_eq!(rest, [change(accounts(1..3), BTreeSet::new())]);
    }

    #[test]
    fn what_refuses_every_addition_does_not_hold_back_a_removal() {
        let failure = Failure::answered(
            "ModifyImageAttribute",
            "InvalidParameter",
            "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot.",
        );
        let Narrowed::Instead(parts) = narrow(&change(accounts(1..3), accounts(8..9)), &failure) else { panic!() };
        assert!(parts[0].add.is_empty() && !parts[0].remove.is_empty());
        let Narrowed::Refused { principals, refusal, rest } = narrow(&parts[1], &failure) else { panic!() };
        assert_eq!((principals, rest), (accounts(1..3), vec![]));
        assert_eq!(refusal.reason, Reason::DefaultKmsKeyNotShareable);
    }

    #[test]
    fn a_failure_that_is_not_about_a_part_of_the_change_is_not_narrowed() {
        for (code, message) in [("RequestLimitExceeded", ""), ("UnauthorizedOperation", ""), ("InternalError", "")] {
            let failure = Failure::answered("ModifyImageAttribute", code, message);
            assert_eq!(narrow(&change(accounts(1..5), BTreeSet::new()), &failure), Narrowed::GiveUp);
        }
    }
}
