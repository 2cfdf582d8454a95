//! Who may do what with a key: by its policy, or by a grant.

use super::policy::{Principal, Verdict, verdict};
use crate::simulator::world::{Key, KeyGrant, World};

/// A principal, with what policies ask about it.
pub(in crate::simulator) fn principal(world: &World, account: &str, arn: &str) -> Principal {
    Principal { account: account.to_owned(), arn: arn.to_owned(), membership: world.membership(account), via: None }
}

/// Whether the principal may do the operation with the key. Policy or grant is enough \[D, aws.md section 4.4\], unless the policy
/// denies it, which no grant gets around.
pub(in crate::simulator) fn may(world: &World, key: &Key, principal: &Principal, operation: &str) -> bool {
    match verdict(&key.policy, principal, operation) {
        Verdict::Allowed => true,
        Verdict::Silent => grants_to(world, key, principal).any(|grant| grant.operations.contains(operation)),
        Verdict::Denied => false,
    }
}

/// The grants that let the principal use the key whatever it does with it: those in effect and without a constraint, which
/// nobody meets who does not know the volume yet (aws.md section 1.11).
pub(super) fn grants_to<'a>(
    world: &'a World,
    key: &'a Key,
    principal: &'a Principal,
) -> impl Iterator<Item = &'a KeyGrant> {
    let now = world.now();
    key.grants.values().filter(move |grant| {
        grant.effective <= now && grant.constraints.is_empty() && principal.is_named_by(&grant.grantee)
    })
}
