//! The keys of an encrypted image: who can use them, and what follows from that for who is given a launch permission.
//!
//! Pure. A launch permission on an encrypted image is worth nothing to whoever cannot use its keys: the instance dies with
//! `Client.InternalError`, and nobody says which key it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Display,
};

use super::{
    claim::{Claim, ForGrants, Standing},
    key_policy::{Admission, KeyPolicy, statement_for},
    observed::{KeySight, Observed, Permissions, Sight, Target},
    plan::Refusals,
    policy::Refusal,
};
use crate::{
    api::{GrantOperation, GrantsOn, KeyArn, Principal, Reason},
    aws::{failure::Failure, grant_name::grantee_arn, words::Key},
};

/// Who can use the keys of an image, as far as that was seen. Made once for all whom it is asked of: lists are long, and policies take
/// a while to read.
#[derive(Debug)]
pub struct KeyRing<'a> {
    keys: Result<Vec<Door<'a>>, Refusal>,
}

/// One key, as far as somebody can get through it.
#[derive(Debug)]
struct Door<'a> {
    arn: &'a KeyArn,
    /// Why nobody can, or why it cannot be told who can.
    shut: Option<Access>,
    /// Who holds a grant that is enough for a launch, as KMS writes them.
    granted: HashSet<&'a str>,
    /// A failure, if not all grants could be seen.
    unseen: Option<Refusal>,
    policy: Result<KeyPolicy, Refusal>,
}

/// Whether somebody can do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Yes,
    /// No, and why.
    No(Refusal),
    /// It cannot be told, and why.
    Unknown(Refusal),
}

impl<'a> KeyRing<'a> {
    /// The keys of the image that was looked at.
    pub fn of(observed: &'a Observed) -> Self {
        let keys = match observed.image_keys() {
            Ok(keys) => Ok(keys.into_iter().map(|arn| Door::of(arn, observed)).collect()),
            Err(failure) => Err(unknown(failure)),
        };
        Self { keys }
    }

    /// Whether somebody can use all the keys. What their own account lets them do is not known, and not asked.
    pub fn access(&self, principal: &Principal) -> Access {
        let doors = match &self.keys {
            Ok(doors) => doors,
            Err(refusal) => return Access::Unknown(refusal.clone()),
        };
        let mut unknown = None;
        for door in doors {
            match door.access(principal) {
                Access::Yes => {}
                no @ Access::No(_) => return no,
                Access::Unknown(refusal) => unknown = unknown.or(Some(Access::Unknown(refusal))),
            }
        }
        unknown.unwrap_or(Access::Yes)
    }

    /// Whether the policy of a key lets somebody use it.
    fn admits(&self, key: &KeyArn, principal: &Principal) -> bool {
        let door = self.keys.as_ref().ok().and_then(|doors| doors.iter().find(|door| door.arn == key));
        door.and_then(|door| door.policy.as_ref().ok())
            .is_some_and(|policy| policy.admits(principal, key.region()) == Admission::Yes)
    }
}

impl<'a> Door<'a> {
    fn of(arn: &'a KeyArn, observed: &'a Observed) -> Self {
        let shut = refusal(arn, observed).map(|refusal| match observed.keys.get(arn) {
            Some(KeySight::Foreign) => Access::Unknown(refusal),
            _ => Access::No(refusal),
        });
        let nobody = |refusal: Refusal| Self {
            arn,
            shut: shut.clone().or(Some(Access::Unknown(refusal.clone()))),
            granted: HashSet::new(),
            unseen: None,
            policy: Err(refusal),
        };
        match observed.keys.get(arn) {
            Some(KeySight::Own(key)) => Self { arn, shut, ..Self::of_own(arn, key) },
            Some(KeySight::Unread(failure)) => nobody(unread(arn, failure)),
            Some(KeySight::Foreign | KeySight::Gone) | None => {
                nobody(Refusal::new(Reason::KmsAccessUnknown, format!("{arn} has not been looked at")))
            }
        }
    }

    fn of_own(arn: &'a KeyArn, key: &'a Key) -> Self {
        let enough = GrantOperation::LAUNCH.map(GrantOperation::name);
        let grants = key.grants.as_deref().unwrap_or_default().iter();
        let is_enough = |operations: &BTreeSet<String>| enough.iter().all(|needed| operations.contains(*needed));
        let granted = grants
            .filter(|grant| !grant.constrained && is_enough(&grant.operations))
            .map(|grant| grant.grantee.as_str())
            .collect();
        let policy = match &key.policy {
            Ok(text) => KeyPolicy::read(text).map_err(|error| {
                let message = format!("the policy of {arn} is not understood: {error}");
                Refusal::new(Reason::KmsAccessUnknown, message)
            }),
            Err(failure) => Err(unread(arn, failure)),
        };
        let unseen = key.grants.as_ref().err().map(|failure| unread(arn, failure));
        Self { arn, shut: None, granted, unseen, policy }
    }

    fn access(&self, principal: &Principal) -> Access {
        if let Some(shut) = &self.shut {
            return shut.clone();
        }
        let admission = match &self.policy {
            Ok(policy) => policy.admits(principal, self.arn.region()),
            // A grant is enough, unless the policy denies what it grants: that is rare, and cannot be told.
            Err(_) if self.is_granted(principal) => return Access::Yes,
            Err(refusal) => return Access::Unknown(refusal.clone()),
        };
        let arn = self.arn;
        let unknown = |why: String| {
            let message = format!("whether the policy of {arn} lets them use the key cannot be told: {why}");
            Access::Unknown(Refusal::new(Reason::KmsAccessUnknown, message))
        };
        match (admission, &self.unseen) {
            (Admission::Denied, _) => {
                let message = format!("the policy of {arn} denies them the use of the key, grant or not");
                Access::No(Refusal::new(Reason::KmsAccessMissing, message))
            }
            (Admission::PerhapsDenied(why), _) => unknown(why),
            (Admission::Yes, _) => Access::Yes,
            (Admission::No | Admission::Unknown(_), _) if self.is_granted(principal) => Access::Yes,
            (_, Some(unseen)) if grantee_arn(arn, principal).is_some() => Access::Unknown(unseen.clone()),
            (Admission::Unknown(why), _) => unknown(why),
            (Admission::No, _) => Access::No(self.missing(principal)),
        }
    }

    fn is_granted(&self, principal: &Principal) -> bool {
        grantee_arn(self.arn, principal).is_some_and(|arn| self.granted.contains(arn.as_str()))
    }

    /// What somebody lacks whom neither a grant nor the policy lets use the key.
    fn missing(&self, principal: &Principal) -> Refusal {
        let arn = self.arn;
        match principal {
            Principal::Organization(_) | Principal::OrganizationalUnit(_) => Refusal::new(
                Reason::GrantNotPossibleForOrganization,
                format!("a grant cannot name them, and the policy of {arn} does not let them use the key"),
            ),
            _ => Refusal::new(
                Reason::KmsAccessMissing,
                format!(
                    "neither a grant nor the policy of {arn} lets them use the key; set kms.grants: Accounts, or let \
                         them in by the policy"
                ),
            ),
        }
    }
}

/// Why nothing can be told of the keys of an image: it is not known which they are.
pub fn unknown(failure: &Failure) -> Refusal {
    Refusal::new(failure.reason(), format!("the image's keys are not known: {failure}"))
}

/// Why something of a key cannot be told.
fn unread(arn: &KeyArn, failure: &Failure) -> Refusal {
    Refusal::new(failure.reason(), format!("{arn}: {failure}"))
}

/// Whether `principal` can launch the image as it was seen: it takes a launch permission, and the use of every key, which `access` tells.
/// `unshared` says why those have no launch permission who have none.
pub fn judge(
    principal: &Principal,
    observed: &Observed,
    access: impl FnOnce() -> Access,
    unshared: impl FnOnce() -> Refusal,
) -> Access {
    let image = match &observed.sight {
        Sight::Shareable(image) => image,
        Sight::Hindered { reason, message, .. } => return Access::No(Refusal::new(*reason, message.clone())),
    };
    let owner = image.owner.map(Principal::Account);
    let holds = |held: &BTreeSet<Principal>| held.contains(principal) || held.contains(&Principal::Everyone);
    match &observed.launch {
        // It needs no permission, and its own IAM policies say who may use its keys.
        _ if owner.as_ref() == Some(principal) => Access::Yes,
        Some(held) if holds(held) => access(),
        Some(_) => Access::No(unshared()),
        None => Access::Unknown(Refusal::new(Reason::AwsUnavailable, "it is not known who holds a launch permission")),
    }
}

/// The statement that a key policy needs to let in those of `principals` whom no grant can name, in words.
pub fn statement<'a>(principals: impl Iterator<Item = &'a Principal>) -> Option<String> {
    let statement = statement_for(principals);
    (!statement.is_empty()).then(|| format!("add to the key policy: {statement}"))
}

/// Why nothing that is encrypted with `aws/ebs` can be shared.
pub fn default_key(what: impl Display) -> Refusal {
    let message = format!(
        "{what} cannot be shared with anyone while a snapshot is encrypted with the AWS managed key aws/ebs; copy the image with a \
         customer managed key"
    );
    Refusal::new(Reason::DefaultKmsKeyNotShareable, message)
}

/// Why nobody can be let use a key, if that is so.
pub fn refusal(arn: &KeyArn, observed: &Observed) -> Option<Refusal> {
    match observed.keys.get(arn)? {
        KeySight::Own(_) if observed.is_default_key(arn) => Some(default_key("the image")),
        KeySight::Own(key) if key.state != "Enabled" => {
            let what = match key.state.as_str() {
                "Disabled" => "is disabled: enable it (aws kms enable-key)".to_owned(),
                "PendingDeletion" | "PendingReplicaDeletion" => {
                    "waits for its deletion: cancel that (aws kms cancel-key-deletion) and enable it".to_owned()
                }
                state => format!("is in state {state} and cannot be used"),
            };
            Some(Refusal::new(Reason::KmsKeyNotUsable, format!("{arn} {what}")))
        }
        KeySight::Own(_) | KeySight::Unread(_) => None,
        KeySight::Gone => Some(Refusal::new(Reason::KmsKeyNotUsable, format!("{arn} is no more"))),
        KeySight::Foreign => {
            let owner = arn.account().map_or_else(|| "another account".into(), |id| format!("account {id}"));
            let message = format!(
                "{arn} belongs to {owner}, which alone can let others use it; copy the image with a key of its own account"
            );
            Some(Refusal::new(Reason::KmsKeyNotOwned, message))
        }
    }
}

/// The lists of grants on the keys of the image that claims which act want somebody to be on.
fn asked<'a>(principal: &'a Principal, claims: &'a [Claim]) -> impl Iterator<Item = &'a BTreeSet<GrantOperation>> {
    asked_by(principal, claims, Standing::writes)
}

/// The same of claims with some standing.
fn asked_by<'a>(
    principal: &'a Principal,
    claims: &'a [Claim],
    is: fn(Standing) -> bool,
) -> impl Iterator<Item = &'a BTreeSet<GrantOperation>> {
    let grants = claims.iter().filter(move |claim| is(claim.standing)).filter_map(|c| c.lists_for_grants.as_ref());
    grants
        .filter(move |ForGrants { grantees, .. }| grantees.contains(principal))
        .filter_map(|grants| grants.operations.as_ref())
}

/// Why somebody is not given a launch permission yet for whom a claim wants grants on the keys of the image: there is a key on which
/// they have none, and get none by this plan. `granted` is who holds which grants once it is carried out.
pub fn wait(
    principal: &Principal,
    claims: &[Claim],
    observed: &Observed,
    ring: &KeyRing<'_>,
    granted: &BTreeMap<&Target, BTreeSet<Principal>>,
    refusals: &Refusals,
) -> Option<Refusal> {
    asked(principal, claims).next()?;
    let keys = match observed.image_keys() {
        Ok(keys) => keys,
        Err(failure) => return Some(unknown(failure)),
    };
    keys.into_iter().find_map(|key| {
        let targets: Vec<Target> = asked_on(principal, claims, key).map(Target::Grants).collect();
        let has_one = targets.iter().any(|t| granted.get(t).is_some_and(|all| all.contains(principal)));
        if has_one || ring.admits(key, principal) {
            return None;
        }
        let refused = || targets.iter().find_map(|t| refusals.get(&(t.clone(), principal.clone()))).cloned();
        let unread = || {
            targets.iter().find_map(|t| match observed.on(t) {
                Some(Permissions::Unread(failure)) => Some(unread(key, failure)),
                _ => None,
            })
        };
        let why = refused().or_else(unread);
        Some(why.unwrap_or_else(|| Refusal::new(Reason::Progressing, format!("there is no grant on {key} yet"))))
    })
}

/// The grants on a key that claims which act want somebody to have.
fn asked_on<'a>(principal: &'a Principal, claims: &'a [Claim], key: &'a KeyArn) -> impl Iterator<Item = GrantsOn> {
    asked(principal, claims).map(|operations| GrantsOn { key: key.clone(), operations: operations.clone() })
}

/// Those of `grants` that somebody has once the plan is carried out.
fn had<'a>(
    principal: &'a Principal,
    grants: impl Iterator<Item = GrantsOn> + 'a,
    granted: &'a BTreeMap<&Target, BTreeSet<Principal>>,
) -> impl Iterator<Item = GrantsOn> + 'a {
    grants.filter(|on| granted.get(&Target::Grants(on.clone())).is_some_and(|all| all.contains(principal)))
}

/// The grants with which alone somebody can use the keys of the image, of those that claims want and that they have once the plan is
/// carried out: without them a launch permission is worth nothing.
pub fn needed(
    principal: &Principal,
    claims: &[Claim],
    observed: &Observed,
    ring: &KeyRing<'_>,
    granted: &BTreeMap<&Target, BTreeSet<Principal>>,
) -> BTreeSet<GrantsOn> {
    let keys = observed.image_keys().unwrap_or_default();
    let shut = keys.into_iter().filter(|key| !ring.admits(key, principal));
    shut.flat_map(|key| had(principal, asked_on(principal, claims, key), granted)).collect()
}

/// What claims want somebody to have instead of a grant on a key of the image that they are to lose, if they can launch the image with
/// it, or may be able to for all that is known.
fn instead<'a>(
    principal: &'a Principal,
    old: &'a Target,
    claims: &'a [Claim],
    observed: &Observed,
) -> impl Iterator<Item = GrantsOn> + 'a {
    // Of an image that is not seen yet, the keys may be its own.
    let is_the_images = observed.has(old).unwrap_or(!observed.sight.is_gone());
    let may_launch = observed.launch.as_ref().is_none_or(|held| held.contains(principal));
    let old = old.grants().filter(|_| is_the_images && may_launch);
    // A claim for which nothing is given before the API server stores its record keeps whom it lists on the image all the same.
    let will_act = |standing: Standing| standing.writes() || standing == Standing::Unrecorded;
    old.into_iter().flat_map(move |old| {
        let asked = asked_by(principal, claims, will_act).filter(move |operations| **operations != old.operations);
        asked.map(move |operations| GrantsOn { key: old.key.clone(), operations: operations.clone() })
    })
}

/// The grants for the sake of which somebody is to lose another one on the same key of the image.
pub fn replacements(
    principal: &Principal,
    old: &Target,
    claims: &[Claim],
    observed: &Observed,
    granted: &BTreeMap<&Target, BTreeSet<Principal>>,
) -> BTreeSet<GrantsOn> {
    had(principal, instead(principal, old, claims, observed), granted).collect()
}

/// Whether somebody is to lose a grant for the sake of another one on the same key of the image that they cannot be given.
pub fn is_replaced_in_vain(
    principal: &Principal,
    old: &Target,
    claims: &[Claim],
    observed: &Observed,
    granted: &BTreeMap<&Target, BTreeSet<Principal>>,
) -> bool {
    instead(principal, old, claims, observed).next().is_some()
        && replacements(principal, old, claims, observed, granted).is_empty()
}

/// Who may still launch the image after this plan, or may do so for all that is known, although nobody lists them any more: from whom
/// AWS has lately refused to take the launch permission, and whom a claim gave one while it cannot be seen who holds any.
pub fn still_launch(claims: &[Claim], observed: &Observed, remembered: &Refusals) -> BTreeSet<Principal> {
    match (&observed.launch, observed.sight.image()) {
        (Some(held), Some(image)) => {
            let target = Target::Image(image.id.clone());
            let is_refused = |p: &&Principal| remembered.contains_key(&(target.clone(), (*p).clone()));
            held.iter().filter(is_refused).cloned().collect()
        }
        (None, _) if !observed.sight.is_gone() => {
            let stay = claims.iter().filter(|claim| claim.standing != Standing::LeavingAsItIs);
            stay.flat_map(|claim| &claim.granted.launch).cloned().collect()
        }
        _ => BTreeSet::new(),
    }
}
