//! Builds AmiShares as the API server would store them.

use std::collections::BTreeSet;

use amishare::{
    api::{
        ABANDON, AccountId, AmiShare, AmiShareSpec, AmiShareStatus, ConditionType, FINALIZER, GrantOperation,
        IdentityName, ImageRef, ImageSelector, Interval, ON_DELETE, Principal, Reason, Site,
        ami_share::{CreateVolumePermission, DeletionPolicy, Kms, KmsGrants, SelectedImage, ShareMode, ShareWith},
        conditions::whole_seconds,
        stored::{Content, Share, Stored, Unreadable},
    },
    share::granted::Granted,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::SignedDuration,
};

use super::{image, key, now};

/// An AmiShare in the making: of image 1, with nobody, in the default mode.
#[derive(Debug, Clone)]
pub struct Build {
    share: AmiShare,
    unreadable: bool,
}

/// Begins to build a share.
pub fn share(name: &str) -> Build {
    let spec = AmiShareSpec {
        identity: IdentityName::default(),
        region: image(1).site.region,
        image: ImageSelector::by_id(image(1).id),
        share_with: ShareWith::default(),
        create_volume_permission: CreateVolumePermission::None,
        kms: Kms::default(),
        mode: ShareMode::Authoritative,
        deletion_policy: DeletionPolicy::Revoke,
        expires_at: None,
        interval: Interval::default(),
        suspend: false,
    };
    let mut share = AmiShare::new(name, spec);
    share.metadata.namespace = Some(key(name).namespace);
    share.metadata.generation = Some(1);
    Build { share, unreadable: false }
}

/// What lists exactly these principals.
pub fn share_with(principals: &BTreeSet<Principal>) -> ShareWith {
    let mut with = ShareWith::default();
    for principal in principals.iter().cloned() {
        match principal {
            Principal::Account(id) => with.account_ids.extend([id]),
            Principal::Organization(arn) => drop(with.organization_arns.insert(arn)),
            Principal::OrganizationalUnit(arn) => drop(with.organizational_unit_arns.insert(arn)),
            Principal::Everyone => with.public = true,
            Principal::Grantee(_) => panic!("is not listed there"),
        }
    }
    with
}

impl Build {
    fn with(mut self, change: impl FnOnce(&mut AmiShareSpec)) -> Self {
        change(&mut self.share.spec);
        self
    }

    /// Lists these accounts besides whom it lists.
    pub fn accounts(self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let ids: BTreeSet<AccountId> = numbers.into_iter().map(|n| format!("{n:012}").parse().unwrap()).collect();
        self.with(|spec| spec.share_with.account_ids.extend(ids))
    }

    /// Lists exactly these principals.
    pub fn lists(self, principals: &BTreeSet<Principal>) -> Self {
        self.with(|spec| spec.share_with = share_with(principals))
    }

    pub fn public(self) -> Self {
        self.with(|spec| spec.share_with.public = true)
    }

    pub fn mode(self, mode: ShareMode) -> Self {
        self.with(|spec| spec.mode = mode)
    }

    pub fn additive(self) -> Self {
        self.mode(ShareMode::Additive)
    }

    pub fn observe(self) -> Self {
        self.mode(ShareMode::Observe)
    }

    /// Asks for createVolumePermission too.
    pub fn volumes(self) -> Self {
        self.with(|spec| spec.create_volume_permission = CreateVolumePermission::Accounts)
    }

    /// Asks for grants of these operations on the keys too.
    pub fn grants(self, operations: &[GrantOperation]) -> Self {
        let operations = operations.iter().copied().collect();
        self.with(|spec| spec.kms = Kms { grants: KmsGrants::Accounts, operations, ..Kms::default() })
    }

    /// Asks for a grant for this role or user.
    pub fn grantee(self, arn: &str) -> Self {
        self.with(|spec| spec.kms.additional_grantee_arns.extend([arn.parse().unwrap()]))
    }

    pub fn retain(self) -> Self {
        self.with(|spec| spec.deletion_policy = DeletionPolicy::Retain)
    }

    pub fn suspended(self) -> Self {
        self.with(|spec| spec.suspend = true)
    }

    /// Ends this many seconds after [`now`].
    pub fn ends(self, seconds: i64) -> Self {
        let end = now().saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        self.with(|spec| spec.expires_at = Some(Time(end)))
    }

    /// Is over.
    pub fn expired(self) -> Self {
        self.ends(-1)
    }

    pub fn of(self, image: &ImageRef) -> Self {
        self.with(|spec| (spec.region, spec.image.id) = (image.region().clone(), Some(image.id.clone())))
    }

    /// Has to find its image by this name, and has found this one.
    pub fn finds(mut self, name: &str, found: Option<&ImageRef>) -> Self {
        let by = ImageSelector { name: Some(name.into()), ..ImageSelector::default() };
        self.share.spec.image = by.clone();
        let image_id = found.map(|found| found.id.clone());
        self.share.status.get_or_insert_default().selected =
            Some(SelectedImage { by, image_id, last_handled_reconcile_at: None, problem: None });
        self
    }

    /// Names no image in a way that this version knows.
    pub fn of_no_image(self) -> Self {
        self.with(|spec| spec.image = ImageSelector::default())
    }

    pub fn interval(self, interval: &str) -> Self {
        self.with(|spec| spec.interval = interval.parse().unwrap())
    }

    pub fn deleting(mut self) -> Self {
        self.share.metadata.deletion_timestamp = Some(whole_seconds(now()));
        self
    }

    /// Carries the annotation that lets it go whatever AWS says.
    pub fn abandoned(mut self) -> Self {
        self.share.metadata.annotations.get_or_insert_default().insert(ON_DELETE.into(), ABANDON.into());
        self
    }

    /// Has this on record for an image.
    pub fn granted_on(mut self, image: &ImageRef, granted: &Granted) -> Self {
        let status = self.share.status.get_or_insert_default();
        status.granted = granted.replace_in(&image.id, &status.granted);
        self
    }

    /// Has given a launch permission on image 1 to these accounts.
    pub fn gave(self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let launch = super::accounts(numbers);
        self.granted_on(&image(1), &Granted { launch, ..Granted::default() })
    }

    /// Holds our finalizer.
    pub fn held(mut self) -> Self {
        self.share.metadata.finalizers = Some(vec![FINALIZER.into()]);
        self
    }

    pub fn generation(mut self, generation: i64) -> Self {
        self.share.metadata.generation = Some(generation);
        self
    }

    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.share.metadata.annotations.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// Says that generation 1 is `Ready`, or not, for this reason.
    pub fn reports(mut self, reason: Reason) -> Self {
        let status = self.share.status.get_or_insert_default();
        status.observed_generation = Some(1);
        status.conditions = [ConditionType::Ready, ConditionType::LaunchPermissionsSynced]
            .into_iter()
            .map(|kind| Condition {
                type_: kind.as_str().into(),
                status: if reason == Reason::Synced { "True" } else { "False" }.into(),
                reason: reason.as_str().into(),
                message: String::new(),
                last_transition_time: Time(now()),
                observed_generation: Some(1),
            })
            .collect();
        self
    }

    /// Cannot be read as an AmiShare of this version.
    pub fn unreadable(mut self) -> Self {
        self.unreadable = true;
        self
    }

    pub fn build(self) -> Stored {
        let AmiShare { metadata, spec, status } = self.share;
        if !self.unreadable {
            return Stored { metadata, content: Content::Share(Box::new(Share { spec, status })) };
        }
        let site = Site { identity: spec.identity, region: spec.region };
        let named = spec.image.id.clone().map(|id| ImageRef { site: site.clone(), id });
        let content = Content::Unreadable(Box::new(Unreadable {
            error: "unknown variant `Eager`".into(),
            site: Some(site),
            image: named,
            leaves_as_it_is: spec.deletion_policy == DeletionPolicy::Retain || spec.mode == ShareMode::Observe,
            status_is_whole: true,
            principals: spec.share_with.principals(),
            status: status.unwrap_or_default(),
        }));
        Stored { metadata, content }
    }
}

/// Stores a status, as the API server does.
pub fn store_status(object: &mut Stored, status: AmiShareStatus) {
    match &mut object.content {
        Content::Share(share) => share.status = Some(status),
        Content::Unreadable(unreadable) => unreadable.status = status,
    }
}

/// Changes a spec, as a user does: the generation grows.
pub fn edit(object: &mut Stored, change: impl FnOnce(&mut AmiShareSpec)) {
    let Content::Share(share) = &mut object.content else { panic!("cannot be read") };
    change(&mut share.spec);
    object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
}

/// Deletes an object, as a user does.
pub fn delete(object: &mut Stored) {
    object.metadata.deletion_timestamp = Some(whole_seconds(now()));
}
