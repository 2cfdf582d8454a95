//! An AmiShare as the API server stores it: readable, or not.
//!
//! An object that an older schema let through, or that was written with validation switched off, must not break the watch of
//! all others, and must not be forgotten either: what can still be read of it protects whom it names.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    AmiShare, AmiShareSpec, AmiShareStatus, FINALIZER, GROUP, IdentityName, ImageId, ImageRef, Principal, REQUESTED_AT,
    Region, Site,
    ami_share::{GrantedOnImage, SelectedImage},
};

/// One stored object. Thousands of them are held for as long as the operator runs, so that only what somebody reads is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its metadata, without labels, owners, managed fields and the annotations of others.
    pub metadata: ObjectMeta,
    /// Its content.
    pub content: Content,
}

/// What the object holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// An AmiShare of this version.
    Share(Box<Share>),
    /// Something else.
    Unreadable(Box<Unreadable>),
}

/// What an AmiShare says, beside its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// What is wanted.
    pub spec: AmiShareSpec,
    /// What was last seen and done.
    pub status: Option<AmiShareStatus>,
}

/// What can still be read of an object that is not an AmiShare of this version.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Why it cannot be read.
    pub error: String,
    /// Where its image is, where that much can be read.
    pub site: Option<Site>,
    /// The image that it names, where that much can be read.
    pub image: Option<ImageRef>,
    /// Whether its deletion leaves AWS as it is, as far as that can be read: `deletionPolicy: Retain` or `mode: Observe`.
    pub leaves_as_it_is: bool,
    /// Everyone that it lists or has given access, where that can be read.
    pub principals: BTreeSet<Principal>,
    /// Its status, or what can be read of it: what it has given above all.
    pub status: AmiShareStatus,
    /// Whether the whole status could be read. If not, it must not be written: what is not understood would be lost.
    pub status_is_whole: bool,
}

impl Unreadable {
    fn salvage(spec: &Value, status: Option<&Value>, error: String) -> Self {
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
        let region: Option<Region> = text("/region").and_then(|r| r.parse().ok());
        let identity = text("/identity").map_or_else(|| Some(IdentityName::default()), |name| name.parse().ok());
        let site = identity.zip(region).map(|(identity, region)| Site { identity, region });
        let id: Option<ImageId> = text("/image/id").and_then(|id| id.parse().ok());
        let listed = ["accountIds", "organizationArns", "organizationalUnitArns"]
            .into_iter()
            .filter_map(|field| spec.pointer(&format!("/shareWith/{field}"))?.as_array())
            .flatten()
            .filter_map(|principal| principal.as_str()?.parse().ok());
        let everyone = spec.pointer("/shareWith/public") == Some(&Value::Bool(true));
        let whole = status.map_or(Ok(AmiShareStatus::default()), AmiShareStatus::deserialize);
        let status_is_whole = whole.is_ok();
        let status = whole.unwrap_or_else(|_| {
            let granted =
                status.and_then(|status| status.get("granted")).and_then(Value::as_array).into_iter().flatten();
            let granted = granted.filter_map(|entry| GrantedOnImage::deserialize(entry).ok()).collect();
            AmiShareStatus { granted, ..AmiShareStatus::default() }
        });
        Self {
            error,
            image: site.clone().zip(id).map(|(site, id)| ImageRef { site, id }),
            site,
            leaves_as_it_is: text("/deletionPolicy") == Some("Retain") || text("/mode") == Some("Observe"),
            principals: listed.chain(everyone.then_some(Principal::Everyone)).collect(),
            status,
            status_is_whole,
        }
    }
}

impl Share {
    /// The image that it names: by its id, or, if it has been found by what the spec says now, as it was found.
    pub fn image(&self) -> Option<&ImageId> {
        self.spec.image.id.as_ref().or_else(|| self.selected()?.image_id.as_ref())
    }

    /// What was found by what the spec says now.
    pub fn selected(&self) -> Option<&SelectedImage> {
        let selected = self.status.as_ref()?.selected.as_ref();
        selected.filter(|selected| self.spec.image.finds() && selected.by == self.spec.image)
    }
}

impl Stored {
    /// The status as it is stored, or what can be read of it.
    pub fn status(&self) -> AmiShareStatus {
        self.known_status().cloned().unwrap_or_default()
    }

    /// The same without a copy: a status can hold thousands of principals, and every event is looked at.
    pub fn known_status(&self) -> Option<&AmiShareStatus> {
        match &self.content {
            Content::Share(share) => share.status.as_ref(),
            Content::Unreadable(unreadable) => Some(&unreadable.status),
        }
    }

    /// Whether it holds our finalizer.
    pub fn is_held(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    /// Whether its status is about its spec as it is, and every request to look at it has been heard.
    pub fn is_dealt_with(&self) -> bool {
        self.known_status().is_some_and(|status| {
            status.observed_generation == self.metadata.generation
                && status.last_handled_reconcile_at.as_deref() == self.requested_at()
        })
    }

    /// Whether somebody waits for what comes of it.
    pub fn is_awaited(&self) -> bool {
        let may_stay = self.metadata.deletion_timestamp.is_none() || self.is_held();
        may_stay && self.share().is_some() && !self.is_dealt_with()
    }

    /// The request to look at it now, as far as a status can repeat it: 256 characters.
    pub fn requested_at(&self) -> Option<&str> {
        let asked = self.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
        let end = asked.char_indices().nth(256).map_or(asked.len(), |(end, _)| end);
        asked.get(..end)
    }

    /// Where its image is, where that can be read.
    pub fn site(&self) -> Option<Site> {
        match &self.content {
            Content::Share(share) => {
                let AmiShareSpec { identity, region, .. } = &share.spec;
                Some(Site { identity: identity.clone(), region: region.clone() })
            }
            Content::Unreadable(unreadable) => unreadable.site.clone(),
        }
    }

    /// Whether its image has to be found, again and again.
    pub fn finds(&self) -> bool {
        self.metadata.deletion_timestamp.is_none() && self.share().is_some_and(|share| share.spec.image.finds())
    }

    /// The AmiShare, if it can be read.
    pub fn share(&self) -> Option<&Share> {
        match &self.content {
            Content::Share(share) => Some(share),
            Content::Unreadable(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        let share = || {
            if spec.is_null() {
                return Err(serde::de::Error::missing_field("spec"));
            }
            let spec = AmiShareSpec::deserialize(&spec)?;
            let status = status.as_ref().map(AmiShareStatus::deserialize).transpose()?;
            Ok::<_, serde_json::Error>(Share { spec, status })
        };
        let content = match share() {
            Ok(share) => Content::Share(Box::new(share)),
            Err(error) => Content::Unreadable(Box::new(Unreadable::salvage(&spec, status.as_ref(), error.to_string()))),
        };
        Ok(Self { metadata: metadata.into(), content })
    }
}

/// An object as it comes over the wire. What has no field here is skipped and never takes memory: above all who manages which
/// field, which is as long as the spec.
#[derive(Deserialize)]
struct Raw {
    metadata: RawMetadata,
    #[serde(default)]
    spec: Value,
    status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<RawMetadata> for ObjectMeta {
    fn from(raw: RawMetadata) -> Self {
        // kubectl's holds the whole object once more.
        let is_ours = |name: &str| name.split_once('/').is_some_and(|(prefix, _)| prefix.ends_with(GROUP));
        let annotations =
            raw.annotations.map(|all| all.into_iter().filter(|(name, _)| is_ours(name)).collect::<BTreeMap<_, _>>());
        Self {
            name: raw.name,
            namespace: raw.namespace,
            uid: raw.uid,
            resource_version: raw.resource_version,
            generation: raw.generation,
            creation_timestamp: raw.creation_timestamp,
            deletion_timestamp: raw.deletion_timestamp,
            finalizers: raw.finalizers,
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
            ..Self::default()
        }
    }
}

impl Resource for Stored {
    type DynamicType = ();
    type Scope = <AmiShare as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        AmiShare::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        AmiShare::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        AmiShare::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        AmiShare::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(object: Value) -> Stored {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_share_of_this_version_is_read_as_such() {
        let stored = read(json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": "a", "managedFields": []},
            "spec": {"region": "us-east-1", "image": {"id": "ami-12345678"}, "shareWith": {}}
        }));
        assert!(matches!(stored.content, Content::Share(_)));
        assert_eq!(stored.metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn an_object_of_another_shape_keeps_what_can_be_read_of_it() {
        let stored = read(json!({
            "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare", "metadata": {"name": "b"},
            "spec": {
                "region": "us-east-1", "image": {"id": "ami-12345678"}, "mode": "Eager",
                "shareWith": {"accountIds": ["111122223333", 5, "nonsense"], "public": true}
            },
            "status": {"granted": [{"imageId": "ami-12345678", "launchPermission": ["444455556666"]}, {"imageId": 3}]}
        }));
        let Content::Unreadable(unreadable) = stored.content else { panic!("read as a share") };
        assert!(unreadable.error.contains("Eager"), "{}", unreadable.error);
        assert_eq!(unreadable.image.unwrap().to_string(), "us-east-1/ami-12345678");
        assert_eq!(unreadable.principals.len(), 2);
        assert_eq!(unreadable.status.granted.len(), 1);
    }

    #[test]
    fn an_object_without_a_spec_is_no_reason_to_fail() {
        let stored = read(json!({"metadata": {"name": "c"}, "spec": "?"}));
        let Content::Unreadable(unreadable) = stored.content else { panic!("read as a share") };
        assert_eq!(unreadable.image, None);
    }
}
