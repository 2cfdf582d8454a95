//! What events make of the store, and which work they ask for.

use serde_json::json;

use super::*;
use crate::{
    api::{ami_share::CreateVolumePermission, stored::Content},
    share::testing::world::guardrails_of,
};

fn share(name: &str, image: &str, version: u64, generation: i64) -> Stored {
    serde_json::from_value(json!({
        "apiVersion": "amishare.dev/v1alpha1", "kind": "AmiShare",
        "metadata": {
            "namespace": "ns", "name": name, "uid": name, "resourceVersion": version.to_string(), "generation": generation
        },
        "spec": {"region": "us-east-1", "image": {"id": image}, "shareWith": {}}
    }))
    .unwrap()
}

fn image(id: &str) -> ImageRef {
    ImageRef { site: Site::own("us-east-1".parse().unwrap()), id: id.parse().unwrap() }
}

const ONE: &str = "ami-00000001";
const TWO: &str = "ami-00000002";

#[test]
fn objects_are_found_by_the_image_that_they_name() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.take_in(0, Event::Apply(share("b", ONE, 2, 1)));
    assert_eq!(shares.concerning(&image(ONE)).len(), 2);
    let effect = shares.take_in(0, Event::Apply(share("b", TWO, 3, 2)));
    assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE)), Work::Image(image(TWO))]));
    assert_eq!(shares.concerning(&image(ONE)).len(), 1);
}

#[test]
fn a_change_of_the_status_alone_asks_for_no_work() {
    let shares = Shares::default();
    assert!(!shares.take_in(0, Event::Apply(share("a", ONE, 1, 1))).work.is_empty());
    assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 2, 1))), Effect::default());
}

#[test]
fn a_record_dropped_in_a_write_without_an_answer_has_the_image_that_is_named_looked_at() {
    let moved = |version: u64, granted: &[&str]| {
        let mut object = share("a", TWO, version, 2);
        let Content::Share(share) = &mut object.content else { panic!() };
        let granted: Vec<_> = granted.iter().map(|id| json!({"imageId": id})).collect();
        share.status = serde_json::from_value(json!({"observedGeneration": 2, "granted": granted})).unwrap();
        object
    };
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(moved(1, &[ONE, TWO])));
    let effect = shares.take_in(0, Event::Apply(moved(2, &[TWO])));
    assert!(effect.work.contains(&Work::Image(image(TWO))), "{effect:?}");

    let shares = Shares::default();
    shares.take_in(0, Event::Apply(moved(1, &[ONE, TWO])));
    shares.written(moved(2, &[TWO]));
    assert_eq!(shares.take_in(0, Event::Apply(moved(2, &[TWO]))), Effect::default(), "whoever wrote it has asked");
}

#[test]
fn an_older_version_does_not_undo_a_newer_one() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.written(share("a", TWO, 5, 2));
    assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 3, 1))), Effect::default());
    assert_eq!(shares.concerning(&image(TWO)).len(), 1);
}

#[test]
fn what_a_new_list_does_not_hold_is_gone_but_only_for_its_own_watch() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.take_in(1, Event::Apply(share("b", ONE, 2, 1)));
    shares.take_in(0, Event::Init);
    let effect = shares.take_in(0, Event::InitDone);
    assert_eq!(effect.gone.len(), 1);
    assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE))]));
    assert_eq!(shares.concerning(&image(ONE)).len(), 1);
}

#[test]
fn what_was_read_before_the_watch_told_of_it_still_asks_for_work() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.read(share("a", TWO, 2, 2), None);
    let effect = shares.take_in(0, Event::Apply(share("a", TWO, 2, 2)));
    assert_eq!(effect.work, BTreeSet::from([Work::Image(image(ONE)), Work::Image(image(TWO))]));
    assert_eq!(shares.take_in(0, Event::Apply(share("a", TWO, 2, 2))), Effect::default());
}

/// A share that lists somebody for the snapshots of an image, which it has seen if it names them, and has given.
fn with_volumes(name: &str, image: &str, version: u64, generation: i64, snapshots: &[&str]) -> Stored {
    let mut object = share(name, image, version, generation);
    let Content::Share(share) = &mut object.content else { panic!() };
    share.spec.create_volume_permission = CreateVolumePermission::Accounts;
    share.spec.share_with.account_ids = ["111111111111".parse().unwrap()].into_iter().collect();
    if !snapshots.is_empty() {
        let given = json!([{"accountIds": ["111111111111"], "snapshotIds": snapshots}]);
        share.status = serde_json::from_value(json!({
            "observedGeneration": generation,
            "image": {"id": image, "state": "available", "public": false, "encrypted": false, "snapshotIds": snapshots},
            "granted": [{"imageId": image, "createVolumePermission": given}],
        }))
        .unwrap();
    }
    object
}

const DISK: &str = "snap-00000001";

#[test]
fn whom_an_object_lists_for_an_image_that_it_has_not_seen_is_known_once_its_parts_are() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(with_volumes("a", TWO, 1, 1, &[])));
    let (disk, site) = (Part::Snapshot(DISK.parse().unwrap()), image(ONE).site);
    let target = Target::Snapshot(DISK.parse().unwrap());
    let elsewhere = |parts: &BTreeMap<_, _>| {
        let elsewhere = shares.elsewhere(
            &image(ONE),
            [target.clone()].into_iter(),
            parts,
            Timestamp::UNIX_EPOCH,
            &Policy::default(),
        );
        let images: Vec<ImageId> = elsewhere.into_values().flatten().map(|other| other.image).collect();
        (images, shares.images_with(&image(ONE), &BTreeSet::from([disk.clone()]), parts))
    };
    assert_eq!(shares.unseen_at(&site, &Policy::default()), BTreeSet::from([image(TWO).id]));
    // Nothing is asked for whom the operator's configuration keeps off.
    let guardrails = guardrails_of(r#"[{name: elsewhere, namespaces: ["*"], regions: [eu-west-1]}]"#);
    let strict = Arc::new(Policy { guardrails, ..Policy::default() });
    assert_eq!(shares.unseen_at(&site, &strict), BTreeSet::new());
    assert_eq!((shares.at(&site, &strict).all(), shares.at(&site, &strict).awaited()), (vec![], BTreeSet::new()));
    assert_eq!(shares.at(&site, &Arc::default()).all(), [image(TWO).id]);
    assert_eq!(elsewhere(&BTreeMap::new()), (vec![], BTreeSet::new()));
    let parts = BTreeMap::from([(image(TWO).id, BTreeSet::from([disk.clone()]))]);
    let other = (vec![image(TWO).id], BTreeSet::from([image(TWO)]));
    assert_eq!(elsewhere(&parts), other);

    shares.take_in(0, Event::Apply(with_volumes("a", TWO, 2, 1, &[DISK])));
    assert_eq!(shares.unseen_at(&site, &Policy::default()), BTreeSet::new());
    assert_eq!(elsewhere(&BTreeMap::new()), other);
}

#[test]
fn who_protects_less_on_a_shared_snapshot_has_those_looked_at_who_have_it_on_record() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(with_volumes("a", ONE, 1, 1, &[DISK])));
    let (one, both) = (Work::Image(image(TWO)), [image(ONE), image(TWO)].map(Work::Image));
    let edited = |version, generation, accounts: &[&str]| {
        let mut object = with_volumes("b", TWO, version, generation, &[DISK]);
        let Content::Share(share) = &mut object.content else { panic!() };
        share.spec.share_with.account_ids = accounts.iter().map(|id| id.parse().unwrap()).collect();
        shares.take_in(0, Event::Apply(object)).work
    };
    assert_eq!(edited(2, 1, &["111111111111"]), BTreeSet::from([one.clone()]), "a new one protects more");
    assert_eq!(edited(3, 2, &["111111111111", "222222222222"]), BTreeSet::from([one]));
    assert_eq!(edited(4, 3, &["222222222222"]), BTreeSet::from(both.clone()));
    let gone = shares.take_in(0, Event::Delete(with_volumes("b", TWO, 5, 3, &[DISK])));
    assert_eq!(gone.work, BTreeSet::from(both));
}

#[test]
fn an_object_that_no_watch_has_told_of_is_missed_when_it_is_not_in_the_next_list() {
    let shares = Shares::default();
    shares.read(share("a", ONE, 1, 1), Some(0));
    shares.take_in(0, Event::Init);
    assert_eq!(shares.take_in(0, Event::InitDone).gone.len(), 1);
    assert!(shares.concerning(&image(ONE)).is_empty());
}

#[test]
fn an_object_that_a_write_found_gone_is_still_told_of_as_gone() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.no_more(&share("a", ONE, 1, 1));
    assert!(shares.concerning(&image(ONE)).is_empty());
    assert_eq!(shares.take_in(0, Event::Delete(share("a", ONE, 2, 1))).gone.len(), 1);
}

#[test]
fn an_object_made_anew_is_not_forgotten_because_the_old_one_is_gone() {
    let shares = Shares::default();
    let mut anew = share("a", ONE, 5, 1);
    anew.metadata.uid = Some("another".into());
    shares.take_in(0, Event::Apply(anew));
    shares.no_more(&share("a", ONE, 1, 1));
    assert_eq!(shares.concerning(&image(ONE)).len(), 1);
}

#[test]
fn a_late_answer_does_not_put_back_an_object_that_was_made_anew() {
    let shares = Shares::default();
    let mut anew = share("a", TWO, 5, 1);
    anew.metadata.uid = Some("another".into());
    shares.take_in(0, Event::Apply(anew));
    shares.written(share("a", ONE, 4, 1));
    assert_eq!(shares.take_in(0, Event::Apply(share("a", ONE, 4, 1))), Effect::default());
    assert_eq!((shares.concerning(&image(ONE)).len(), shares.concerning(&image(TWO)).len()), (0, 1));
}

#[test]
fn an_object_that_was_deleted_is_not_brought_back_by_a_late_answer() {
    let shares = Shares::default();
    shares.take_in(0, Event::Apply(share("a", ONE, 1, 1)));
    shares.take_in(0, Event::Delete(share("a", ONE, 2, 1)));
    shares.written(share("a", ONE, 2, 1));
    assert!(shares.concerning(&image(ONE)).is_empty());
}
