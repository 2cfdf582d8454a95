//! EC2 in one Region, in the operator's words.
//!
//! The only module that knows the shapes of `aws-sdk-ec2`. Every call passes through [`Calls`]. Nothing else is decided here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_ec2::{
    Client,
    types::{
        Filter, Image as SdkImage, ImageAttributeName, ImageBlockPublicAccessEnabledState, LaunchPermission,
        LaunchPermissionModifications, OperationType, PermissionGroup, Snapshot, SnapshotAttributeName, SnapshotState,
    },
};

use super::{
    action::Action,
    calls::{Calls, Holds},
    described::{Company, Descriptions, Freshness},
    failure::Failure,
    words::Image,
};
use crate::{
    api::{AccountId, ImageId, KeyArn, Principal, SnapshotId},
    runtime::agenda::Urgency,
};

/// EC2 accepts any number up to this for `MaxResults` of `DescribeImages` and `DescribeSnapshots`.
pub(super) const PAGE: i32 = 1000;

/// The token of the page after this one, if there is one: EC2 says so with an empty token, too.
pub(super) fn next_page(token: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty()).map(ToOwned::to_owned)
}

/// A filter of EC2 takes at most this many values (aws.md section 1.0).
const FILTERED: usize = 200;

/// Of how many snapshots it is remembered with which key they are encrypted.
const REMEMBERED: usize = 100_000;

/// EC2 in one Region with one set of credentials.
#[derive(Debug)]
pub struct Ec2 {
    account: Option<AccountId>,
    client: Client,
    calls: Arc<Calls>,
    descriptions: Descriptions,
    /// With which key each snapshot is encrypted, if it is. That never changes.
    keys: Mutex<HashMap<SnapshotId, Option<KeyArn>>>,
}

impl Ec2 {
    pub(super) fn new(account: Option<AccountId>, client: Client, calls: Arc<Calls>) -> Self {
        Self { account, client, calls, descriptions: Descriptions::default(), keys: Mutex::default() }
    }

    /// The account whose images these are, where the operator's configuration says it.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// The image, if `DescribeImages` shows it. Asked together with whatever other images are asked for at the same time, and
    /// with those that `company` names: up to 200 in one call, by filter, because one unknown id among `ImageId.N` would fail
    /// the whole call (aws.md section 7.1).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn image(
        self: &Arc<Self>,
        id: &ImageId,
        urgency: Urgency,
        freshness: Freshness,
        company: impl Company,
    ) -> Result<Option<Arc<Image>>, Failure> {
        let ec2 = Arc::clone(self);
        let describe = move |ids: Vec<ImageId>, urgency| {
            let ec2 = Arc::clone(&ec2);
            async move { ec2.describe_images(&ids, urgency).await }
        };
        self.descriptions.ask(id, urgency, freshness, company, describe).await
    }

    /// Whether the image was available when AWS last described it, however long ago.
    pub fn was_available(&self, id: &ImageId) -> bool {
        self.descriptions.last(id).is_some_and(|image| image.state == "available")
    }

    async fn describe_images(&self, ids: &[ImageId], urgency: Urgency) -> Result<Vec<Image>, Failure> {
        let filter =
            Filter::builder().name("image-id").set_values(Some(ids.iter().map(ToString::to_string).collect())).build();
        let mut found = Vec::new();
        let mut page: Option<String> = None;
        loop {
            let call = self
                .client
                .describe_images()
                .filters(filter.clone())
                .include_disabled(true)
                .include_deprecated(true)
                .max_results(PAGE)
                .set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeImages, urgency, || call.clone().send()).await?;
            found.extend(answer.images().iter().filter_map(image));
            // An empty token is EC2's way to say that this was the last page (aws.md section 5.2).
            page = next_page(answer.next_token());
            if page.is_none() {
                return Ok(found);
            }
        }
    }

    /// Who holds a launch permission on an image that this account owns.
    ///
    /// # Errors
    /// When the call fails, as it does for images of other accounts.
    pub async fn launch_permissions(&self, id: &ImageId, urgency: Urgency) -> Result<BTreeSet<Principal>, Failure> {
        let call = self
            .client
            .describe_image_attribute()
            .image_id(id.as_str())
            .attribute(ImageAttributeName::LaunchPermission);
        let answer = self.calls.make(Action::DescribeImageAttribute, urgency, || call.clone().send()).await?;
        let texts = answer.launch_permissions().iter().flat_map(|p| {
            let group = p.group().map(PermissionGroup::as_str);
            [p.user_id(), group, p.organization_arn(), p.organizational_unit_arn()]
        });
        Ok(principals(id.as_str(), texts.flatten()))
    }

    /// Who holds createVolumePermission on a snapshot that this account owns.
    ///
    /// # Errors
    /// When the call fails, as it does for snapshots of other accounts.
    pub async fn create_volume_permissions(
        &self,
        id: &SnapshotId,
        urgency: Urgency,
    ) -> Result<BTreeSet<Principal>, Failure> {
        let call = self
            .client
            .describe_snapshot_attribute()
            .snapshot_id(id.as_str())
            .attribute(SnapshotAttributeName::CreateVolumePermission);
        let answer = self.calls.make(Action::DescribeSnapshotAttribute, urgency, || call.clone().send()).await?;
        let permissions = answer.create_volume_permissions();
        let texts = permissions.iter().flat_map(|p| [p.user_id(), p.group().map(PermissionGroup::as_str)]);
        Ok(principals(id.as_str(), texts.flatten()))
    }

    /// With which key each of these snapshots is encrypted, if it is. Those of which AWS does not say it, or not yet, are not in
    /// the answer.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn keys_of(
        &self,
        snapshots: &BTreeSet<SnapshotId>,
        urgency: Urgency,
    ) -> Result<BTreeMap<SnapshotId, Option<KeyArn>>, Failure> {
        let known = || self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: BTreeMap<SnapshotId, Option<KeyArn>> = {
            let known = known();
            snapshots.iter().filter_map(|id| Some((id.clone(), known.get(id)?.clone()))).collect()
        };
        let missing: Vec<&SnapshotId> = snapshots.iter().filter(|id| !found.contains_key(*id)).collect();
        let mut told = Vec::new();
        for part in missing.chunks(FILTERED) {
            told.append(&mut self.describe_snapshots(part, urgency).await?);
        }
        if !told.is_empty() {
            let mut known = known();
            if known.len() > REMEMBERED {
                known.clear();
            }
            known.extend(told.iter().cloned());
            found.extend(told);
        }
        Ok(found)
    }

    /// At most [`FILTERED`] at once. By filter, because one unknown id among `SnapshotId.N` would fail the whole call.
    async fn describe_snapshots(
        &self,
        ids: &[&SnapshotId],
        urgency: Urgency,
    ) -> Result<Vec<(SnapshotId, Option<KeyArn>)>, Failure> {
        let ids = ids.iter().map(ToString::to_string).collect();
        let filter = Filter::builder().name("snapshot-id").set_values(Some(ids)).build();
        let (mut found, mut page) = (Vec::new(), None);
        loop {
            let call = self.client.describe_snapshots().filters(filter.clone()).max_results(PAGE);
            let call = call.set_next_token(page.take());
            let answer = self.calls.make(Action::DescribeSnapshots, urgency, || call.clone().send()).await?;
            found.extend(answer.snapshots().iter().filter_map(key_of));
            page = next_page(answer.next_token());
            if page.is_none() {
                return Ok(found);
            }
        }
    }

    /// Whether this account's images in this Region cannot newly be made public. Asked only when an image is to be made
    /// public and is not, and not remembered: whoever has just switched it off wants to see that it works. The call has the
    /// bucket of every other that reads (aws.md section 2.3).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn blocks_public_access(&self, urgency: Urgency) -> Result<bool, Failure> {
        let call = self.client.get_image_block_public_access_state();
        let answer = self.calls.make(Action::GetImageBlockPublicAccessState, urgency, || call.clone().send()).await?;
        let state = answer.image_block_public_access_state();
        Ok(state == Some(ImageBlockPublicAccessEnabledState::BlockNewSharing.as_str()))
    }

    /// Changes the launch permissions of an image: one call. One that takes access away goes before those that only give it.
    /// `holds` is asked when it has its turn, for which it may have waited for minutes: whether what it was decided on holds still.
    ///
    /// # Errors
    /// When the call fails. Unless there was no answer, AWS is as it was.
    pub async fn modify_image(
        &self,
        id: &ImageId,
        add: &BTreeSet<Principal>,
        remove: &BTreeSet<Principal>,
        holds: &Holds<'_>,
    ) -> Result<(), Failure> {
        let permissions = |principals: &BTreeSet<Principal>| {
            (!principals.is_empty()).then(|| principals.iter().filter_map(launch_permission).collect::<Vec<_>>())
        };
        let modifications =
            LaunchPermissionModifications::builder().set_add(permissions(add)).set_remove(permissions(remove)).build();
        let call = self.client.modify_image_attribute().image_id(id.as_str()).launch_permission(modifications);
        let urgency = if remove.is_empty() { Urgency::Give } else { Urgency::Take };
        self.calls.make_if(Action::ModifyImageAttribute, urgency, holds, || call.clone().send()).await.map(drop)
    }

    /// Changes the createVolumePermission of a snapshot: one call, that gives or takes. `holds` is as for an image.
    ///
    /// In the legacy form: AWS takes either for snapshots, and only ever adds or removes in one call (aws.md section 1.4); the
    /// legacy form is also the one that other implementations of EC2 understand.
    ///
    /// # Errors
    /// When the call fails. Unless there was no answer, AWS is as it was.
    pub async fn modify_snapshot(
        &self,
        id: &SnapshotId,
        add: &BTreeSet<Principal>,
        remove: &BTreeSet<Principal>,
        holds: &Holds<'_>,
    ) -> Result<(), Failure> {
        let (operation, principals) =
            if add.is_empty() { (OperationType::Remove, remove) } else { (OperationType::Add, add) };
        let (groups, users): (Vec<&Principal>, Vec<&Principal>) =
            principals.iter().partition(|p| **p == Principal::Everyone);
        let texts =
            |all: Vec<&Principal>| (!all.is_empty()).then(|| all.into_iter().map(ToString::to_string).collect());
        let call = self
            .client
            .modify_snapshot_attribute()
            .snapshot_id(id.as_str())
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .operation_type(operation)
            .set_user_ids(texts(users))
            .set_group_names(texts(groups));
        let urgency = if remove.is_empty() { Urgency::Give } else { Urgency::Take };
        self.calls.make_if(Action::ModifySnapshotAttribute, urgency, holds, || call.clone().send()).await.map(drop)
    }
}

/// The principals among `texts`. What cannot be read is not managed: it is neither given nor taken.
fn principals<'a>(target: &str, texts: impl Iterator<Item = &'a str>) -> BTreeSet<Principal> {
    texts
        .filter_map(|text| {
            text.parse()
                .inspect_err(|error| tracing::warn!(target, %error, "AWS lists a permission of an unknown kind"))
                .ok()
        })
        .collect()
}

/// None for a role: EC2's lists know none.
fn launch_permission(principal: &Principal) -> Option<LaunchPermission> {
    let builder = LaunchPermission::builder();
    let permission = match principal {
        Principal::Account(account) => builder.user_id(account.to_string()),
        Principal::Organization(arn) => builder.organization_arn(arn.as_str()),
        Principal::OrganizationalUnit(arn) => builder.organizational_unit_arn(arn.as_str()),
        Principal::Everyone => builder.group(PermissionGroup::All),
        Principal::Grantee(_) => return None,
    };
    Some(permission.build())
}

/// With which key a snapshot of `DescribeSnapshots` is encrypted, if it is; none if that cannot be told.
fn key_of(snapshot: &Snapshot) -> Option<(SnapshotId, Option<KeyArn>)> {
    let id: SnapshotId = snapshot.snapshot_id()?.parse().ok()?;
    if !snapshot.encrypted().unwrap_or_default() {
        // A copy that is under way looks so whatever will become of it (aws.md section 1.4).
        return (snapshot.state() != Some(&SnapshotState::Pending)).then_some((id, None));
    }
    match snapshot.kms_key_id().unwrap_or_default().parse() {
        Ok(key) => Some((id, Some(key))),
        Err(error) => {
            tracing::warn!(%id, %error, "AWS names the key of a snapshot in an unknown way");
            None
        }
    }
}

/// An image of `DescribeImages`, if it has an id that can be read.
fn image(image: &SdkImage) -> Option<Image> {
    let disks = || image.block_device_mappings().iter().filter_map(|mapping| mapping.ebs());
    Some(Image {
        id: image.image_id()?.parse().ok()?,
        name: image.name().map(ToOwned::to_owned),
        owner: image.owner_id().and_then(|owner| owner.parse().ok()),
        state: image.state().map_or("unknown", |state| state.as_str()).to_owned(),
        public: image.public().unwrap_or_default(),
        encrypted: disks().any(|disk| disk.encrypted().unwrap_or_default()),
        has_product_code: !image.product_codes().is_empty(),
        snapshots: disks().filter_map(|disk| disk.snapshot_id()?.parse().ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-3333-4444-8555-666666666666";

    const SNAPSHOT: &str = "snap-0123456789abcdef0";

    fn told(state: SnapshotState, encrypted: bool, key: Option<&str>) -> Option<(SnapshotId, Option<KeyArn>)> {
        let snapshot = Snapshot::builder().snapshot_id(SNAPSHOT).state(state).encrypted(encrypted);
        key_of(&snapshot.set_kms_key_id(key.map(ToOwned::to_owned)).build())
    }

    #[test]
    fn a_snapshot_is_not_taken_for_one_that_nobody_needs_a_key_for_unless_aws_says_so() {
        let done = SnapshotState::Completed;
        let with = |key: Option<&str>| Some((SNAPSHOT.parse().unwrap(), key.map(|key| key.parse().unwrap())));
        assert_eq!(told(done.clone(), false, None), with(None));
        assert_eq!(told(done.clone(), true, Some(KEY)), with(Some(KEY)));
        assert_eq!(told(SnapshotState::Pending, true, Some(KEY)), with(Some(KEY)));
        assert_eq!(told(SnapshotState::Pending, false, None), None, "a copy that is under way");
        assert_eq!(told(done.clone(), true, None), None);
        assert_eq!(told(done, true, Some("alias/images")), None);
    }
}
