//! EC2 in one Region, in the operator's words.
//!
//! The only module that knows the shapes of `aws-sdk-ec2`. Every call passes through [`Ec2::call`], which has it wait for its turn,
//! times it, turns errors into [`Failure`]s and tries again what may go better. Nothing else is decided here.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use aws_sdk_ec2::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Filter, Image as SdkImage, ImageAttributeName, ImageBlockPublicAccessEnabledState, LaunchPermission,
        LaunchPermissionModifications, OperationType, PermissionGroup, SnapshotAttributeName,
    },
};
use aws_smithy_runtime_api::http::Response;
use tokio::time::Instant;

use super::{
    action::Action,
    described::{Company, Descriptions, Freshness},
    failed::failure,
    failure::{Class, Failure},
    lanes::Lanes,
    words::{Change, Image, Target},
};
use crate::{
    api::{AccountId, ImageId, Principal, Site, SnapshotId},
    lease::WritePermit,
    runtime::{agenda::Urgency, entropy::Entropy, metrics::Metrics},
};

/// How often a call is tried that gets no answer, or a server error.
const ATTEMPTS: u32 = 3;

/// How often a call is tried that AWS answers with too many requests. Each of them waits in a lane that has become slower.
const ATTEMPTS_THROTTLED: u32 = 8;

/// The longest that a call waits for its turn. Only a lane that AWS keeps refusing is that slow: sixty images share the lane of a
/// Region, at five calls a second.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The longest wait before the second attempt at what got no answer. It doubles with each.
const BACKOFF: Duration = Duration::from_secs(1);

/// EC2 accepts any number up to this for MaxResults of DescribeImages.
const PAGE: i32 = 1000;

/// Whether what a change was decided on holds still.
pub type Holds<'a> = dyn Fn() -> bool + Sync + 'a;

/// EC2 in one Region with one set of credentials.
#[derive(Debug)]
pub struct Ec2 {
    site: Site,
    account: Option<AccountId>,
    client: Client,
    lanes: Lanes,
    descriptions: Descriptions,
    entropy: Entropy,
    metrics: Arc<Metrics>,
    permit: WritePermit,
}

impl Ec2 {
    pub(super) fn new(
        site: Site,
        account: Option<AccountId>,
        client: Client,
        lanes: Lanes,
        entropy: Entropy,
        metrics: Arc<Metrics>,
        permit: WritePermit,
    ) -> Self {
        Self { site, account, client, lanes, descriptions: Descriptions::default(), entropy, metrics, permit }
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
            let answer = self.call(Action::DescribeImages, urgency, || call.clone().send()).await?;
            found.extend(answer.images().iter().filter_map(image));
            // An empty token is EC2's way to say that this was the last page (aws.md section 5.2).
            page = answer.next_token().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
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
        let answer = self.call(Action::DescribeImageAttribute, urgency, || call.clone().send()).await?;
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
        let answer = self.call(Action::DescribeSnapshotAttribute, urgency, || call.clone().send()).await?;
        let permissions = answer.create_volume_permissions();
        let texts = permissions.iter().flat_map(|p| [p.user_id(), p.group().map(PermissionGroup::as_str)]);
        Ok(principals(id.as_str(), texts.flatten()))
    }

    /// Whether this account's images in this Region cannot newly be made public. Asked only when an image is to be made
    /// public and is not, and not remembered: whoever has just switched it off wants to see that it works. The call has the
    /// bucket of every other that reads (aws.md section 2.3).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn blocks_public_access(&self, urgency: Urgency) -> Result<bool, Failure> {
        let call = self.client.get_image_block_public_access_state();
        let answer = self.call(Action::GetImageBlockPublicAccessState, urgency, || call.clone().send()).await?;
        let state = answer.image_block_public_access_state();
        Ok(state == Some(ImageBlockPublicAccessEnabledState::BlockNewSharing.as_str()))
    }

    /// Makes one change: one call. One that takes access away goes before those that only give it. `holds` is asked when it has
    /// its turn, for which it may have waited for minutes: whether what it was decided on holds still.
    ///
    /// # Errors
    /// When the call fails. Unless there was no answer, AWS is as it was.
    pub async fn change(&self, change: &Change, holds: &Holds<'_>) -> Result<(), Failure> {
        let Change { target, add, remove } = change;
        match target {
            Target::Image(id) => self.modify_image(id, add, remove, holds).await,
            Target::Snapshot(id) => self.modify_snapshot(id, add, remove, holds).await,
        }
    }

    async fn modify_image(
        &self,
        id: &ImageId,
        add: &BTreeSet<Principal>,
        remove: &BTreeSet<Principal>,
        holds: &Holds<'_>,
    ) -> Result<(), Failure> {
        let permissions = |principals: &BTreeSet<Principal>| {
            (!principals.is_empty()).then(|| principals.iter().map(launch_permission).collect::<Vec<_>>())
        };
        let modifications =
            LaunchPermissionModifications::builder().set_add(permissions(add)).set_remove(permissions(remove)).build();
        let call = self.client.modify_image_attribute().image_id(id.as_str()).launch_permission(modifications);
        let urgency = if remove.is_empty() { Urgency::Give } else { Urgency::Take };
        self.call_if(Action::ModifyImageAttribute, urgency, holds, || call.clone().send()).await.map(drop)
    }

    /// In the legacy form: AWS takes either for snapshots, and only ever adds or removes in one call (aws.md section 1.4); the
    /// legacy form is also the one that other implementations of EC2 understand.
    async fn modify_snapshot(
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
        self.call_if(Action::ModifySnapshotAttribute, urgency, holds, || call.clone().send()).await.map(drop)
    }

    /// Makes one call: waits for its turn, and tries again what may go better. What AWS refuses for any other reason is for the
    /// caller to deal with.
    async fn call<T, E, Fut>(&self, action: Action, urgency: Urgency, send: impl Fn() -> Fut) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        self.call_if(action, urgency, &|| true, send).await
    }

    /// The same, of a call that is made only as long as `holds` says so.
    async fn call_if<T, E, Fut>(
        &self,
        action: Action,
        urgency: Urgency,
        holds: &Holds<'_>,
        send: impl Fn() -> Fut,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        let operation = action.name();
        let (mut unanswered, mut throttled) = (0, 0);
        loop {
            let failure = match self.attempt(operation, urgency, holds, &send).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tracing::debug!(operation, site = %self.site, %failure, "call to AWS failed");
            match failure.class {
                // Who has had no turn has waited long enough for somebody to be told.
                Class::Throttled if failure.code.is_some() && throttled + 1 < ATTEMPTS_THROTTLED => throttled += 1,
                // Every change is one that can be made twice.
                Class::Unavailable if unanswered + 1 < ATTEMPTS => {
                    let longest = BACKOFF * 2u32.pow(unanswered);
                    tokio::time::sleep(longest.mul_f64(self.entropy.unit())).await;
                    unanswered += 1;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn attempt<T, E, Fut>(
        &self,
        operation: &'static str,
        urgency: Urgency,
        holds: &Holds<'_>,
        send: impl Fn() -> Fut,
    ) -> Result<T, Failure>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        Fut: Future<Output = Result<T, SdkError<E, Response>>>,
    {
        let Ok(turn) = tokio::time::timeout(LONGEST_WAIT, self.lanes.enter(operation, urgency)).await else {
            return Err(Failure::without_a_turn(operation, LONGEST_WAIT));
        };
        if !holds() {
            return Err(Failure::overtaken(operation));
        }
        let started = Instant::now();
        let result = match self.permit.within(send()).await {
            Ok(result) => result.map_err(|error| failure(operation, &error)),
            Err(not_leading) => return Err(Failure::unanswered(operation, not_leading.to_string())),
        };
        let code = match &result {
            Ok(_) => "OK",
            Err(failure) => failure.code.as_deref().unwrap_or("none"),
        };
        self.metrics.aws_request("ec2", operation, &self.site, code, started.elapsed());
        match &result {
            Err(failure) if failure.class == Class::Throttled => turn.refused(),
            Ok(_) => turn.answered(),
            Err(failure) if failure.code.is_some() => turn.answered(),
            Err(_) => {}
        }
        result
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

fn launch_permission(principal: &Principal) -> LaunchPermission {
    let builder = LaunchPermission::builder();
    match principal {
        Principal::Account(account) => builder.user_id(account.to_string()),
        Principal::Organization(arn) => builder.organization_arn(arn.as_str()),
        Principal::OrganizationalUnit(arn) => builder.organizational_unit_arn(arn.as_str()),
        Principal::Everyone => builder.group(PermissionGroup::All),
    }
    .build()
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
