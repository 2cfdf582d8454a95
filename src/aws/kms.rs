//! KMS in one Region, in the operator's words.
//!
//! The only module that knows the shapes of `aws-sdk-kms`. Every call passes through [`Calls`]. It makes and revokes the grants that
//! carry our names, and no others: `RevokeGrant` would take those of EBS too, and with them the disks of running instances.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_kms::{
    Client,
    types::{GrantListEntry, GrantOperation as SdkOperation, KeyManagerType},
};
use tokio::time::Instant;

use super::{
    action::Action,
    calls::{Calls, Holds},
    described::Freshness,
    failure::{Class, Failure},
    grant_name::{self, PREFIX, grantee_arn},
    key_book::{KeyBook, Page},
    words::{Grant, Key, KeyManager},
};
use crate::{
    api::{GrantsOn, KeyArn, KmsKeyId, Principal},
    runtime::agenda::Urgency,
};

/// The most grants that `ListGrants` shows at once (aws.md section 1.11).
const PAGE: i32 = 100;

/// The name of the one policy that a key has.
const POLICY: &str = "default";

/// How old a listing may be in which a grant is looked for that is to be revoked.
const RECENT: Duration = Duration::from_secs(5);

/// How long after a look at a key another one begins at the earliest. Whoever asks meanwhile shares it: of two hundred images that
/// somebody wants to have checked, each at a moment of its own, not every one costs a look.
const APART: Duration = Duration::from_secs(1);

/// How soon after it was made a grant that KMS does not show is looked for again, and how seldom at the most.
const SHOWN_SOONEST: Duration = Duration::from_secs(1);
const SHOWN_LATEST: Duration = Duration::from_mins(1);

/// Grants that were made and that KMS does not show yet.
#[derive(Debug)]
pub struct Unshown {
    /// Whom they name.
    pub principals: BTreeSet<Principal>,
    /// How soon to look again.
    pub look_again: Duration,
}

/// KMS in one Region with one set of credentials.
#[derive(Debug)]
pub struct Kms {
    client: Client,
    calls: Calls,
    book: KeyBook,
}

impl Kms {
    pub(super) fn new(client: Client, calls: Calls) -> Self {
        Self { client, calls, book: KeyBook::default() }
    }

    /// A key, as far as it can be seen. Everybody who asks for it at the same time gets one answer, good or bad, and whoever needs no
    /// newer one gets the last: its grants are listed once, whatever number of images is encrypted with it.
    ///
    /// # Errors
    /// When it cannot be described.
    pub async fn key(&self, arn: &KeyArn, urgency: Urgency, freshness: Freshness) -> Result<Arc<Key>, Failure> {
        let page = self.book.page(arn, Instant::now());
        if let Some(known) = page.known(freshness, Instant::now()) {
            return Ok(known);
        }
        let failures = page.failures();
        let _asking = page.asking.lock().await;
        if let Some(known) = page.known(freshness, Instant::now()) {
            return Ok(known);
        }
        if let Some(failed) = page.failed_since(failures) {
            return failed;
        }
        if let Some(last) = page.looked() {
            tokio::time::sleep_until(last + APART).await;
        }
        let asked = Instant::now();
        match Box::pin(self.look_at(arn, urgency, &page)).await {
            Ok(key) => Ok(page.see(key, asked)),
            Err(failure) => {
                page.did_not_see(failure.clone());
                Err(failure)
            }
        }
    }

    /// The key that is meant by an id or an alias.
    ///
    /// # Errors
    /// When it cannot be described.
    pub async fn meant_by(&self, id: &KmsKeyId, urgency: Urgency) -> Result<KeyArn, Failure> {
        let call = self.client.describe_key().key_id(id.as_str());
        let answer = self.calls.make(Action::DescribeKey, urgency, || call.clone().send()).await?;
        let arn = answer.key_metadata().and_then(|key| key.arn()).and_then(|arn| arn.parse().ok());
        arn.ok_or_else(|| Failure::unanswered(Action::DescribeKey.name(), "the answer does not name the key"))
    }

    async fn look_at(&self, arn: &KeyArn, urgency: Urgency, page: &Page) -> Result<Key, Failure> {
        let call = self.client.describe_key().key_id(arn.as_str());
        let answer = self.calls.make(Action::DescribeKey, urgency, || call.clone().send()).await?;
        let Some(metadata) = answer.key_metadata() else {
            return Err(Failure::unanswered(Action::DescribeKey.name(), "the answer says nothing of the key"));
        };
        let is_default = metadata.key_manager() == Some(&KeyManagerType::Aws);
        let state = metadata.key_state().map_or("unknown", |state| state.as_str()).to_owned();
        let manager = if is_default { KeyManager::Aws } else { KeyManager::Customer };
        let mut key = Key { arn: arn.clone(), manager, state, policy: Ok(String::new()), grants: Ok(Vec::new()) };
        // Nobody else can be let use that one, and every encrypted volume of the account has a grant on it.
        if !is_default {
            let grants;
            (key.policy, grants) = futures::join!(self.policy(arn, urgency), self.grants(arn, None, urgency));
            key.grants = grants.map(|(grants, pages)| {
                page.took(pages);
                grants
            });
        }
        Ok(key)
    }

    async fn policy(&self, arn: &KeyArn, urgency: Urgency) -> Result<String, Failure> {
        let call = self.client.get_key_policy().key_id(arn.as_str()).policy_name(POLICY);
        let answer = self.calls.make(Action::GetKeyPolicy, urgency, || call.clone().send()).await?;
        Ok(answer.policy().unwrap_or_default().to_owned())
    }

    /// The grants on a key that can matter, of all grantees or of one, and how many pages they came in.
    async fn grants(
        &self,
        arn: &KeyArn,
        grantee: Option<&str>,
        urgency: Urgency,
    ) -> Result<(Vec<Grant>, usize), Failure> {
        let (mut found, mut page, mut pages) = (Vec::new(), None, 0);
        loop {
            let call = self.client.list_grants().key_id(arn.as_str()).limit(PAGE);
            let call = call.set_grantee_principal(grantee.map(ToOwned::to_owned)).set_marker(page.take());
            let answer = self.calls.make(Action::ListGrants, urgency, || call.clone().send()).await?;
            found.extend(answer.grants().iter().filter_map(grant));
            pages += 1;
            page = answer.next_marker().filter(|_| answer.truncated()).map(ToOwned::to_owned);
            if page.is_none() {
                return Ok((found, pages));
            }
        }
    }

    /// Those of `principals` whose grant this process has made and KMS does not show yet, although it was asked just now, and how soon
    /// to ask again; nothing if there are none. EC2 finds a grant as late as `ListGrants` does, within five minutes (aws.md section 1.11).
    pub async fn unshown(&self, on: &GrantsOn, principals: &BTreeSet<Principal>) -> Option<Unshown> {
        let page = self.book.page(&on.key, Instant::now());
        let awaited = || -> Vec<(&Principal, String, Duration)> {
            let one = |principal| {
                let (grantee, name) = grantee_arn(&on.key, principal).zip(grant_name::name(on, principal))?;
                Some((principal, grantee, page.awaited(&name, Instant::now())?))
            };
            principals.iter().filter_map(one).collect()
        };
        // Twice as long each time, so that what takes minutes takes a dozen calls.
        let pause = |late: &[(&Principal, String, Duration)]| {
            late.iter().map(|(.., age)| *age).min().unwrap_or_default().clamp(SHOWN_SOONEST, SHOWN_LATEST)
        };
        if awaited().is_empty() {
            return None;
        }
        {
            let _asking = page.asking.lock().await;
            let late = awaited();
            if !late.is_empty() && page.watch_for(pause(&late), Instant::now()) {
                let grantees = late.into_iter().map(|(_, grantee, _)| grantee).collect();
                if let Err(failure) = self.look_for(&on.key, grantees, &page).await {
                    tracing::debug!(key = %on.key, "could not look whether grants are shown: {failure}");
                }
            }
        }
        let late = awaited();
        let look_again = pause(&late);
        let principals: BTreeSet<Principal> = late.into_iter().map(|(principal, ..)| principal.clone()).collect();
        (!principals.is_empty()).then_some(Unshown { principals, look_again })
    }

    /// Asks KMS for the grants of some, in as few calls as it takes.
    async fn look_for(&self, key: &KeyArn, grantees: BTreeSet<String>, page: &Page) -> Result<(), Failure> {
        if grantees.len() < page.pages() {
            for grantee in grantees {
                page.show(&self.grants_of(key, &grantee).await?);
            }
        } else {
            let (shown, pages) = self.grants(key, None, Urgency::Give).await?;
            page.took(pages);
            page.show(&shown);
        }
        Ok(())
    }

    /// Makes a grant. To make it again changes nothing: it has the same name.
    ///
    /// # Errors
    /// When the call fails. Unless there was no answer, KMS is as it was.
    pub async fn grant(&self, on: &GrantsOn, principal: &Principal, holds: &Holds<'_>) -> Result<(), Failure> {
        let Some((grantee, name)) = grantee_arn(&on.key, principal).zip(grant_name::name(on, principal)) else {
            return Ok(());
        };
        let page = self.book.page(&on.key, Instant::now());
        // The role was deleted and made anew: KMS would take the old grant for the one that is asked for.
        for dead in page.named(&name).iter().filter(|grant| grant.is_dead()) {
            self.revoke_one(&on.key, dead, &page, holds).await?;
        }
        let operations: Vec<SdkOperation> = on.operations.iter().map(|operation| operation.name().into()).collect();
        let call = self.client.create_grant().key_id(on.key.as_str()).grantee_principal(&grantee).name(&name);
        let call = call.set_operations(Some(operations));
        // Should nobody wait for the end of this any more, the grant may be there.
        let before = page.trying(&name, Instant::now());
        let attempts = AtomicU32::new(0);
        let send = || {
            attempts.fetch_add(1, Ordering::Relaxed);
            call.clone().send()
        };
        let answer = match self.calls.make_if(Action::CreateGrant, Urgency::Give, holds, send).await {
            Ok(answer) => answer,
            Err(failure) => {
                // The last answer says nothing of the attempts before it.
                match attempts.into_inner() {
                    0 => page.not_made(&name, before),
                    1 if failure.class != Class::Unavailable => page.not_made(&name, before),
                    _ => drop(page.trying(&name, Instant::now())),
                }
                return Err(failure);
            }
        };
        let Some(id) = answer.grant_id().map(ToOwned::to_owned) else {
            return Err(Failure::unanswered(Action::CreateGrant.name(), "the answer does not say which grant it is"));
        };
        let operations = on.operations.iter().map(|operation| operation.name().to_owned()).collect();
        page.made(Grant { id, name: Some(name), grantee, operations, constrained: false }, Instant::now());
        Ok(())
    }

    /// Revokes a grant of ours, if it is there.
    ///
    /// # Errors
    /// When a call fails, or when it may be there and KMS does not show it yet.
    pub async fn revoke(&self, on: &GrantsOn, principal: &Principal, holds: &Holds<'_>) -> Result<(), Failure> {
        let Some((grantee, name)) = grantee_arn(&on.key, principal).zip(grant_name::name(on, principal)) else {
            return Ok(());
        };
        let page = self.book.page(&on.key, Instant::now());
        for grant in &page.named(&name) {
            self.revoke_one(&on.key, grant, &page, holds).await?;
        }
        if page.is_gone(&name) {
            return Ok(());
        }
        // It may have been made since all of them were listed.
        let mut asked = page.listed();
        if asked.is_none_or(|asked| asked.elapsed() > RECENT) {
            asked = Some(Instant::now());
            let listed = self.grants_of(&on.key, &grantee).await?;
            for grant in &page.still_named(&name, listed) {
                self.revoke_one(&on.key, grant, &page, holds).await?;
            }
        }
        let is_certain = page.is_gone(&name) || asked.is_some_and(|asked| page.has_shown(&name, asked));
        if is_certain { Ok(()) } else { Err(Failure::not_shown(&on.key)) }
    }

    /// The grants of one grantee alone: of all, there may be fifty thousand.
    async fn grants_of(&self, key: &KeyArn, grantee: &str) -> Result<Vec<Grant>, Failure> {
        match self.grants(key, Some(grantee), Urgency::Take).await {
            // Whoever does not exist holds nothing.
            Err(failure) if failure.class == Class::GranteeUnknown => Ok(Vec::new()),
            result => result.map(|(grants, _)| grants),
        }
    }

    async fn revoke_one(&self, key: &KeyArn, grant: &Grant, page: &Page, holds: &Holds<'_>) -> Result<(), Failure> {
        let call = self.client.revoke_grant().key_id(key.as_str()).grant_id(&grant.id);
        match self.calls.make_if(Action::RevokeGrant, Urgency::Take, holds, || call.clone().send()).await {
            Ok(_) => {}
            // Somebody else was faster, or the answer to an attempt was lost.
            Err(failure) if failure.code.as_deref() == Some("NotFoundException") => {}
            Err(failure) => return Err(failure),
        }
        page.revoked(grant, Instant::now());
        Ok(())
    }
}

/// A grant of `ListGrants`, if it can matter: ours, or one that names somebody in IAM. EBS makes one for every volume, and a key can
/// have fifty thousand of them.
fn grant(entry: &GrantListEntry) -> Option<Grant> {
    let name = entry.name().filter(|name| !name.is_empty());
    let grantee = entry.grantee_principal().unwrap_or_default();
    let is_ours = name.is_some_and(|name| name.starts_with(PREFIX));
    let constraints = entry.constraints();
    let constrained = constraints.is_some_and(|c| {
        c.encryption_context_equals().is_some_and(|c| !c.is_empty())
            || c.encryption_context_subset().is_some_and(|c| !c.is_empty())
    });
    if !is_ours && (constrained || !grantee.contains(":iam::")) {
        return None;
    }
    let operations: BTreeSet<String> = entry.operations().iter().map(|o| o.as_str().to_owned()).collect();
    Some(Grant {
        id: entry.grant_id()?.to_owned(),
        name: name.map(ToOwned::to_owned),
        grantee: grantee.to_owned(),
        operations,
        constrained,
    })
}

#[cfg(test)]
mod tests;
