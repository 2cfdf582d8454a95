//! The names of our grants. A grant is made once however often it is asked for, found again, and told from those of others by its
//! name alone (aws.md section 1.11).
//!
//! Pure.

use std::{collections::BTreeSet, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::words::{Grant, Key};
use crate::api::{GrantsOn, KeyArn, Principal};

/// What the names of our grants begin with. KMS allows no dot in them.
pub const PREFIX: &str = "amishare-dev/";

/// The ARN by which KMS knows a principal: of an account its root. None for those whom no grant can name.
pub fn grantee_arn(key: &KeyArn, principal: &Principal) -> Option<String> {
    match principal {
        Principal::Account(account) => Some(format!("arn:{}:iam::{account}:root", key.partition())),
        Principal::Grantee(arn) => Some(arn.to_string()),
        Principal::Organization(_) | Principal::OrganizationalUnit(_) | Principal::Everyone => None,
    }
}

/// The name of our grant for a principal. It follows from whom the grant names and what it allows, so that it is another one when
/// either is; a grant is never changed.
pub fn name(on: &GrantsOn, principal: &Principal) -> Option<String> {
    let mut hash = Sha256::new();
    hash.update(grantee_arn(&on.key, principal)?);
    for operation in &on.operations {
        hash.update(b"\n");
        hash.update(operation.name());
    }
    let mut name = PREFIX.to_owned();
    for byte in &hash.finalize()[..16] {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    Some(name)
}

impl Grant {
    /// Whether it names a role or user that is no more: KMS shows the unique id of such a one (aws.md section 1.11).
    pub fn is_dead(&self) -> bool {
        !self.grantee.starts_with("arn:")
    }
}

impl Key {
    /// Those of `candidates` who hold a grant of ours.
    pub fn holders<'a>(
        &self,
        on: &GrantsOn,
        candidates: impl IntoIterator<Item = &'a Principal>,
    ) -> BTreeSet<Principal> {
        let grants = self.grants.as_deref().unwrap_or_default().iter();
        let names: BTreeSet<&str> = grants.filter(|g| !g.is_dead()).filter_map(|g| g.name.as_deref()).collect();
        let holds = |p: &&Principal| name(on, p).is_some_and(|name| names.contains(name.as_str()));
        candidates.into_iter().filter(holds).cloned().collect()
    }

    /// What there is after grants of ours have been made and revoked.
    pub fn change(&mut self, on: &GrantsOn, add: &BTreeSet<Principal>, remove: &BTreeSet<Principal>) {
        let Ok(grants) = &mut self.grants else { return };
        let revoked: BTreeSet<String> = remove.iter().filter_map(|p| name(on, p)).collect();
        grants.retain(|grant| grant.name.as_ref().is_none_or(|name| !revoked.contains(name)));
        let made = add.iter().filter_map(|principal| {
            Some(Grant {
                id: String::new(),
                name: Some(name(on, principal)?),
                grantee: grantee_arn(&on.key, principal)?,
                operations: on.operations.iter().map(|operation| operation.name().to_owned()).collect(),
                constrained: false,
            })
        });
        grants.extend(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::GrantOperation, aws::words::KeyManager};

    fn on(operations: &[GrantOperation]) -> GrantsOn {
        let key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1".parse().unwrap();
        GrantsOn { key, operations: operations.iter().copied().collect() }
    }

    #[test]
    fn a_name_is_one_that_kms_takes_and_another_for_everybody_and_everything() {
        let (account, role) =
            ("111122223333".parse().unwrap(), "arn:aws-cn:iam::111122223333:role/launcher".parse().unwrap());
        let less = &GrantOperation::LAUNCH;
        let names: BTreeSet<String> =
            [name(&on(&GrantOperation::LAUNCH_AND_COPY), &account), name(&on(less), &account), name(&on(less), &role)]
                .into_iter()
                .flatten()
                .collect();
        assert_eq!(names.len(), 3);
        for name in names {
            assert!(name.starts_with(PREFIX) && name.len() < 256);
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b":/_-".contains(&b)), "{name}");
        }
        assert_eq!(name(&on(less), &Principal::Everyone), None);
    }

    #[test]
    fn a_holder_has_a_grant_of_our_name_that_names_somebody_who_exists() {
        let on = on(&GrantOperation::LAUNCH);
        let [one, two, three]: [Principal; 3] =
            ["111122223333", "444455556666", "777788889999"].map(|account| account.parse().unwrap());
        let grant = |name: Option<String>, grantee: &str| Grant {
            id: "id".into(),
            name,
            grantee: grantee.into(),
            operations: BTreeSet::new(),
            constrained: false,
        };
        let mut key = Key {
            arn: on.key.clone(),
            manager: KeyManager::Customer,
            state: "Enabled".into(),
            policy: Ok(String::new()),
            grants: Ok(vec![
                grant(name(&on, &one), "arn:aws-cn:iam::111122223333:root"),
                grant(name(&on, &two), "AROA0123456789ABCDEFG"),
                grant(Some("somebody-elses".into()), "arn:aws-cn:iam::777788889999:root"),
            ]),
        };
        let all = [one.clone(), two.clone(), three, Principal::Everyone];
        assert_eq!(key.holders(&on, &all), [one.clone()].into());
        key.change(&on, &[two.clone()].into(), &[one].into());
        assert_eq!(key.holders(&on, &all), [two].into());
    }

    #[test]
    fn an_account_is_named_by_its_root_in_the_partition_of_the_key() {
        let arn = grantee_arn(&on(&[]).key, &"111122223333".parse().unwrap());
        assert_eq!(arn.as_deref(), Some("arn:aws-cn:iam::111122223333:root"));
    }
}
