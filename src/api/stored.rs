//! An AmiShare as the API server stores it: readable, or not.
//!
//! An object that an older schema let through, or that was written with validation switched off, must not break the watch of
//! all others, and must not be forgotten either: what can still be read of it protects whom it names.

use std::{borrow::Cow, collections::BTreeSet};

use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{AmiShare, AmiShareStatus, ImageId, ImageRef, Principal, Region, ami_share::GrantedOnImage};

/// One stored object.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its content.
    pub content: Content,
}

/// What the object holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// An AmiShare of this version.
    Share(Box<AmiShare>),
    /// Something else.
    Unreadable(Box<Unreadable>),
}

/// What can still be read of an object that is not an AmiShare of this version.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Why it cannot be read.
    pub error: String,
    /// The Region that it names, where that much can be read.
    pub region: Option<Region>,
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
    fn salvage(object: &Value, error: String) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let region: Option<Region> = text("/spec/region").and_then(|r| r.parse().ok());
        let id: Option<ImageId> = text("/spec/image/id").and_then(|id| id.parse().ok());
        let listed = ["accountIds", "organizationArns", "organizationalUnitArns"]
            .into_iter()
            .filter_map(|field| object.pointer(&format!("/spec/shareWith/{field}"))?.as_array())
            .flatten()
            .filter_map(|principal| principal.as_str()?.parse().ok());
        let everyone = object.pointer("/spec/shareWith/public") == Some(&Value::Bool(true));
        let whole = object.get("status").map_or(Ok(AmiShareStatus::default()), AmiShareStatus::deserialize);
        let status_is_whole = whole.is_ok();
        let status = whole.unwrap_or_else(|_| {
            let granted = object.pointer("/status/granted").and_then(Value::as_array).into_iter().flatten();
            let granted = granted.filter_map(|entry| GrantedOnImage::deserialize(entry).ok()).collect();
            AmiShareStatus { granted, ..AmiShareStatus::default() }
        });
        Self {
            error,
            image: region.clone().zip(id).map(|(region, id)| ImageRef { region, id }),
            region,
            leaves_as_it_is: text("/spec/deletionPolicy") == Some("Retain") || text("/spec/mode") == Some("Observe"),
            principals: listed.chain(everyone.then_some(Principal::Everyone)).collect(),
            status,
            status_is_whole,
        }
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

    /// The Region that it names, where that can be read.
    pub fn region(&self) -> Option<&Region> {
        match &self.content {
            Content::Share(share) => Some(&share.spec.region),
            Content::Unreadable(unreadable) => unreadable.region.as_ref(),
        }
    }

    /// The AmiShare, if it can be read.
    pub fn share(&self) -> Option<&AmiShare> {
        match &self.content {
            Content::Share(share) => Some(share),
            Content::Unreadable(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        // Nobody here reads who manages which field, and it is about half of the metadata.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        match AmiShare::deserialize(&object) {
            Ok(share) => Ok(Self { metadata: share.metadata.clone(), content: Content::Share(Box::new(share)) }),
            Err(error) => {
                let metadata = object.get("metadata").cloned().unwrap_or_default();
                let metadata = ObjectMeta::deserialize(metadata).map_err(serde::de::Error::custom)?;
                Ok(Self {
                    metadata,
                    content: Content::Unreadable(Box::new(Unreadable::salvage(&object, error.to_string()))),
                })
            }
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
