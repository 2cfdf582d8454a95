//! Section 1.5 and 3: copying images and snapshots, which takes a while.

use jiff::SignedDuration;

use super::harness::{
    Answer, Aws, DEFAULT_KEY_IMAGE, FRIEND, IMAGE, KEY_IMAGE, KEY_SNAPSHOT, OWNER, PENDING_IMAGE, REGION, SNAPSHOT,
    SOLD_IMAGE, STRANGER, UNKNOWN_IMAGE, UNKNOWN_SNAPSHOT, scenario,
};
use crate::simulator::world::{Key, KeyGrant, KeyManager, KeyState};
use crate::simulator::{CopiesScenario, CopyTrouble, Encryption, Quotas, Scenario, SnapshotState};

const THERE: &str = "eu-west-1";
const KEY_THERE: &str = "arn:aws:kms:eu-west-1:111122223333:key/22222222-3333-4444-8555-666666666666";
const FRIENDS_KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/33333333-3333-4444-8555-666666666666";

/// Calls EC2 in the Region that is copied to.
fn there(aws: &Aws, account: &str, action: &str, params: &[(&str, &str)]) -> Answer {
    aws.send(account, THERE, "2016-11-15", action, params)
}

/// Copies an image of the usual Region, with more parameters.
fn copy(aws: &Aws, account: &str, image: &str, more: &[(&str, &str)]) -> Answer {
    let base = [("SourceImageId", image), ("SourceRegion", REGION)];
    let name = if more.iter().any(|(name, _)| *name == "Name") { None } else { Some(("Name", "copy")) };
    let params: Vec<(&str, &str)> = base.into_iter().chain(name).chain(more.iter().copied()).collect();
    there(aws, account, "CopyImage", &params)
}

fn copied(aws: &Aws, account: &str, image: &str, more: &[(&str, &str)]) -> String {
    let answer = copy(aws, account, image, more);
    answer.one("imageId").unwrap_or_else(|| panic!("{}", answer.body))
}

fn pass(aws: &Aws, seconds: i64) {
    aws.0.with_world(|world| world.clock.advance(SignedDuration::from_secs(seconds)));
}

fn image(aws: &Aws, account: &str, id: &str) -> Answer {
    there(aws, account, "DescribeImages", &[("ImageId.1", id)])
}

fn state(aws: &Aws, account: &str, id: &str) -> String {
    image(aws, account, id).one("imageState").unwrap()
}

/// The snapshot of an image, as its owner sees it.
fn snapshot(aws: &Aws, account: &str, id: &str) -> Answer {
    let snapshot = image(aws, account, id).one("snapshotId").unwrap();
    there(aws, account, "DescribeSnapshots", &[("SnapshotId.1", &snapshot)])
}

/// Adds a customer managed key in the Region that is copied to.
fn add_key(aws: &Aws, arn: &str) {
    aws.0.with_world(|world| {
        let mut key = Key::new(arn, KeyManager::Customer, world.now()).unwrap();
        key.aliases.insert("alias/images".into());
        world.regions.get_mut(THERE).unwrap().keys.insert(arn.into(), key);
    });
}

/// Lets an account use the key of [`KEY_IMAGE`], which it can see and copy besides.
fn open(aws: &Aws, account: &str) -> String {
    aws.share(KEY_IMAGE, account);
    aws.0.with_world(|world| {
        let snapshot = world.snapshot_mut(REGION, KEY_SNAPSHOT).unwrap();
        snapshot.create_volume_permissions.give(account.parse().unwrap());
        let arn = snapshot.encryption.key().unwrap().to_owned();
        let operations = [
            "CreateGrant",
            "Decrypt",
            "DescribeKey",
            "GenerateDataKeyWithoutPlaintext",
            "ReEncryptFrom",
            "ReEncryptTo",
        ];
        let now = world.now();
        let grant = KeyGrant {
            id: "a".repeat(64),
            name: None,
            grantee: format!("arn:aws:iam::{account}:root"),
            retiring: None,
            issuing_account: format!("arn:aws:iam::{OWNER}:root"),
            operations: operations.map(str::to_owned).into(),
            constraints: std::collections::BTreeMap::new(),
            created: now,
            effective: now,
        };
        world.key_mut(&arn).unwrap().grants.insert(grant.id.clone(), grant);
        arn
    })
}

#[test]
fn a_copy_is_pending_with_its_snapshots_until_its_time_has_passed() {
    let aws = Aws::new();
    let id = copied(&aws, OWNER, IMAGE, &[("Description", "mine")]);
    let seen = image(&aws, OWNER, &id);
    assert_eq!(seen.one("imageState").as_deref(), Some("pending"));
    assert_eq!(seen.one("sourceImageId").as_deref(), Some(IMAGE));
    assert_eq!(seen.one("sourceImageRegion").as_deref(), Some(REGION));
    assert_eq!((seen.one("name").as_deref(), seen.one("description").as_deref()), (Some("copy"), Some("mine")));
    let early = snapshot(&aws, OWNER, &id);
    let fields = |answer: &Answer| ["status", "progress", "volumeSize"].map(|name| answer.one(name).unwrap());
    assert_eq!(fields(&early), ["pending", "0%", "0"]);
    assert_eq!(early.one("statusMessage").as_deref(), Some("Metadata not updated"));
    pass(&aws, 10);
    assert_eq!(fields(&snapshot(&aws, OWNER, &id)), ["pending", "50%", "8"]);
    assert_eq!(state(&aws, OWNER, &id), "pending");
    let change = [("ImageId", id.as_str()), ("LaunchPermission.Add.1.UserId", FRIEND)];
    assert_eq!(there(&aws, OWNER, "ModifyImageAttribute", &change).refusal(), (400, "InvalidAMIID.Unavailable".into()));
    pass(&aws, 10);
    assert_eq!(fields(&snapshot(&aws, OWNER, &id)), ["completed", "100%", "8"]);
    assert_eq!(state(&aws, OWNER, &id), "available");
    assert_eq!(there(&aws, OWNER, "ModifyImageAttribute", &change).status, 200);
}

#[test]
fn a_client_token_makes_one_copy_and_is_not_taken_with_other_parameters() {
    let aws = Aws::new();
    let first = copied(&aws, OWNER, IMAGE, &[("ClientToken", "one")]);
    assert_eq!(copied(&aws, OWNER, IMAGE, &[("ClientToken", "one")]), first);
    let other = copy(&aws, OWNER, IMAGE, &[("ClientToken", "one"), ("Description", "other")]);
    assert_eq!(other.refusal(), (400, "IdempotentParameterMismatch".into()));
    // It is the account's and the Region's.
    aws.share(IMAGE, FRIEND);
    aws.0.with_world(|world| {
        world.snapshot_mut(REGION, SNAPSHOT).unwrap().create_volume_permissions.give(FRIEND.parse().unwrap());
    });
    assert_ne!(copied(&aws, FRIEND, IMAGE, &[("ClientToken", "one")]), first);
    let here = [("SourceImageId", IMAGE), ("SourceRegion", REGION), ("Name", "copy"), ("ClientToken", "one")];
    assert_ne!(aws.ok(OWNER, "CopyImage", &here).one("imageId").unwrap(), first);
    assert_eq!(
        aws.ec2(OWNER, "CopyImage", &[("ClientToken", &"x".repeat(129)), here[0], here[1], here[2]]).status,
        400
    );
}

#[test]
fn without_a_token_a_second_copy_of_the_same_name_names_the_first() {
    let aws = Aws::new();
    let first = copied(&aws, OWNER, IMAGE, &[]);
    let again = copy(&aws, OWNER, IMAGE, &[]);
    again.is_error(400, "InvalidAMIName.Duplicate", &format!("AMI name copy is already in use by AMI {first}"));
    assert_eq!(copy(&aws, OWNER, IMAGE, &[("Name", "a*")]).refusal(), (400, "InvalidAMIName.Malformed".into()));
}

#[test]
fn only_an_image_that_is_there_and_available_is_copied() {
    let aws = Aws::new();
    for (account, source, code) in [
        (OWNER, UNKNOWN_IMAGE, "InvalidAMIID.NotFound"),
        (STRANGER, IMAGE, "InvalidAMIID.NotFound"),
        (OWNER, PENDING_IMAGE, "InvalidAMIID.Unavailable"),
        (OWNER, "ami-x", "InvalidAMIID.Malformed"),
    ] {
        assert_eq!(copy(&aws, account, source, &[]).refusal(), (400, code.into()), "{source}");
    }
    let nowhere = [("SourceImageId", IMAGE), ("SourceRegion", "mars-1"), ("Name", "copy")];
    assert_eq!(there(&aws, OWNER, "CopyImage", &nowhere).refusal(), (400, "InvalidRegion".into()));
}

#[test]
fn somebody_elses_image_is_copied_only_with_its_snapshots_and_if_nobody_sells_it() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    let message = "You do not have permission to access the storage of this ami";
    copy(&aws, FRIEND, IMAGE, &[]).is_error(400, "InvalidRequest", message);
    aws.0.with_world(|world| {
        world.snapshot_mut(REGION, SNAPSHOT).unwrap().create_volume_permissions.give(FRIEND.parse().unwrap());
    });
    let id = copied(&aws, FRIEND, IMAGE, &[]);
    pass(&aws, 20);
    assert_eq!(image(&aws, FRIEND, &id).one("imageOwnerId").as_deref(), Some(FRIEND));
    aws.share(SOLD_IMAGE, FRIEND);
    let message = "Images from AWS Marketplace cannot be copied to another AWS account";
    copy(&aws, FRIEND, SOLD_IMAGE, &[("Name", "sold")]).is_error(400, "InvalidRequest", message);
    copied(&aws, OWNER, SOLD_IMAGE, &[("Name", "sold")]);
    aws.0.with_world(|world| world.image_mut(REGION, IMAGE).unwrap().has_billing_product = true);
    let message = "Images with EC2 BillingProduct codes cannot be copied to another AWS account";
    copy(&aws, FRIEND, IMAGE, &[("Name", "paid")]).is_error(400, "InvalidRequest", message);
}

#[test]
fn a_copy_is_encrypted_with_the_key_that_is_named_or_else_with_the_default_key() {
    let aws = Aws::new();
    add_key(&aws, KEY_THERE);
    let key_of = |id: &str| snapshot(&aws, OWNER, id).one("kmsKeyId");
    let id = KEY_THERE.rsplit('/').next().unwrap();
    let alias = KEY_THERE.replace(&format!("key/{id}"), "alias/images");
    for (number, named) in [KEY_THERE, id, "alias/images", &alias].into_iter().enumerate() {
        let name = format!("copy {number}");
        let more = [("Name", name.as_str()), ("Encrypted", "true"), ("KmsKeyId", named)];
        let copy = copied(&aws, OWNER, IMAGE, &more);
        pass(&aws, 20);
        assert_eq!(
            (state(&aws, OWNER, &copy).as_str(), key_of(&copy).as_deref()),
            ("available", Some(KEY_THERE)),
            "{named}"
        );
    }
    let encrypted = [("Name", "default a"), ("Encrypted", "true")];
    for (source, more) in
        [(IMAGE, &encrypted[..]), (KEY_IMAGE, &[("Name", "default b")]), (DEFAULT_KEY_IMAGE, &[("Name", "default c")])]
    {
        let copy = copied(&aws, OWNER, source, more);
        pass(&aws, 20);
        let arn = key_of(&copy).unwrap();
        aws.0.with_world(|world| assert_eq!(world.key(&arn).unwrap().manager, KeyManager::Aws, "{source}"));
    }
    let plain = copied(&aws, OWNER, IMAGE, &[("Name", "plain")]);
    pass(&aws, 20);
    assert_eq!(key_of(&plain), None);
}

#[test]
fn in_the_same_region_and_with_a_replica_a_copy_keeps_its_key() {
    let aws = Aws::new();
    let params = [("SourceImageId", KEY_IMAGE), ("SourceRegion", REGION), ("Name", "copy")];
    let id = aws.ok(OWNER, "CopyImage", &params).one("imageId").unwrap();
    pass(&aws, 20);
    let encryption = |aws: &Aws, region: &str, id: &str| {
        aws.0.with_world(|world| {
            let snapshot = world.image(region, id).unwrap().snapshot_ids().next().unwrap().to_owned();
            world.snapshot(region, &snapshot).unwrap().encryption.clone()
        })
    };
    assert_eq!(encryption(&aws, REGION, &id), encryption(&aws, REGION, KEY_IMAGE));
    let many = "arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef";
    let replica = many.replace(REGION, THERE);
    add_key(&aws, &replica);
    aws.0.with_world(|world| {
        let key = Key::new(many, KeyManager::Customer, world.now()).unwrap();
        world.regions.get_mut(REGION).unwrap().keys.insert(many.into(), key);
        world.snapshot_mut(REGION, KEY_SNAPSHOT).unwrap().encryption = Encryption::CustomerKey(many.into());
    });
    let id = copied(&aws, OWNER, KEY_IMAGE, &[]);
    pass(&aws, 20);
    assert_eq!(encryption(&aws, THERE, &id), Encryption::CustomerKey(replica));
}

#[test]
fn what_is_encrypted_stays_encrypted_and_a_key_needs_encryption() {
    let aws = Aws::new();
    let message = format!(
        "Snapshot {KEY_SNAPSHOT} is encrypted. Creating an unencrypted copy from an encrypted snapshot is not supported."
    );
    copy(&aws, OWNER, KEY_IMAGE, &[("Encrypted", "false")]).is_error(400, "InvalidRequest", &message);
    let key = [("KmsKeyId", KEY_THERE)];
    assert_eq!(copy(&aws, OWNER, IMAGE, &key).refusal(), (400, "InvalidParameterDependency".into()));
}

#[test]
fn a_key_that_cannot_be_used_is_found_out_when_the_copy_has_failed() {
    let aws = Aws::new();
    add_key(&aws, KEY_THERE);
    aws.0.with_world(|world| world.key_mut(KEY_THERE).unwrap().state = KeyState::Disabled);
    for (name, named) in [("disabled", KEY_THERE), ("no alias", "alias/none"), ("no key", FRIENDS_KEY)] {
        let id = copied(&aws, OWNER, IMAGE, &[("Name", name), ("Encrypted", "true"), ("KmsKeyId", named)]);
        pass(&aws, 20);
        let seen = image(&aws, OWNER, &id);
        assert_eq!(seen.one("imageState").as_deref(), Some("failed"), "{name}");
        let message = "AMI snapshot copy failed with error: Given key ID is not accessible";
        assert_eq!(seen.one("message").as_deref(), Some(message));
        let snapshot = snapshot(&aws, OWNER, &id);
        assert_eq!(snapshot.one("status").as_deref(), Some("error"));
        assert_eq!(snapshot.one("statusMessage").as_deref(), Some("Given key ID is not accessible"));
        // It keeps its name until it is deregistered, and its snapshot until that is deleted.
        assert_eq!(copy(&aws, OWNER, IMAGE, &[("Name", name)]).refusal(), (400, "InvalidAMIName.Duplicate".into()));
        let gone = there(&aws, OWNER, "DeregisterImage", &[("ImageId", &id), ("DeleteAssociatedSnapshots", "true")]);
        assert_eq!(gone.one("returnCode").as_deref(), Some("success"));
        copied(&aws, OWNER, IMAGE, &[("Name", name)]);
    }
}

#[test]
fn another_account_can_copy_an_encrypted_image_only_while_its_key_is_open() {
    let aws = Aws::new();
    add_key(&aws, FRIENDS_KEY);
    let arn = open(&aws, FRIEND);
    let with_key = |name| [("Name", name), ("Encrypted", "true"), ("KmsKeyId", FRIENDS_KEY)];
    let good = copied(&aws, FRIEND, KEY_IMAGE, &with_key("good"));
    pass(&aws, 20);
    assert_eq!(state(&aws, FRIEND, &good), "available");
    let early = copied(&aws, FRIEND, KEY_IMAGE, &with_key("early"));
    pass(&aws, 10);
    aws.0.with_world(|world| world.key_mut(&arn).unwrap().grants.clear());
    pass(&aws, 10);
    assert_eq!(state(&aws, FRIEND, &early), "failed");
}

#[test]
fn tags_are_given_in_the_call_and_copied_on_request_and_only_ones_own() {
    let aws = Aws::new();
    aws.ok(OWNER, "CreateTags", &[("ResourceId.1", IMAGE), ("Tag.1.Key", "team"), ("Tag.1.Value", "images")]);
    aws.ok(OWNER, "CreateTags", &[("ResourceId.1", IMAGE), ("Tag.1.Key", "ec2:SharedTag/os"), ("Tag.1.Value", "al")]);
    let given = [
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "by"),
        ("TagSpecification.1.Tag.1.Value", "me"),
        ("TagSpecification.2.ResourceType", "snapshot"),
        ("TagSpecification.2.Tag.1.Key", "of"),
        ("TagSpecification.2.Tag.1.Value", "copy"),
    ];
    let keys = |answer: &Answer| answer.all("key");
    let id = copied(&aws, OWNER, IMAGE, &given);
    assert_eq!(
        (keys(&image(&aws, OWNER, &id)), keys(&snapshot(&aws, OWNER, &id))),
        (vec!["by".into()], vec!["of".into()])
    );
    let id = copied(&aws, OWNER, IMAGE, &[&given[..3], &[("Name", "all"), ("CopyImageTags", "true")]].concat());
    assert_eq!(keys(&image(&aws, OWNER, &id)), ["by", "ec2:SharedTag/os", "team"]);
    open(&aws, FRIEND);
    aws.share(IMAGE, FRIEND);
    aws.0.with_world(|world| {
        world.snapshot_mut(REGION, SNAPSHOT).unwrap().create_volume_permissions.give(FRIEND.parse().unwrap());
    });
    let id = copied(&aws, FRIEND, IMAGE, &[("CopyImageTags", "true")]);
    assert_eq!(keys(&image(&aws, FRIEND, &id)), ["ec2:SharedTag/os"], "another account's tags are not copied");
    let volume = [("TagSpecification.1.ResourceType", "volume"), ("Name", "odd")];
    assert_eq!(copy(&aws, OWNER, IMAGE, &volume).refusal(), (400, "InvalidParameterValue".into()));
}

#[test]
fn permissions_deprecation_and_protection_are_not_copied() {
    let aws = Aws::new();
    aws.share(IMAGE, FRIEND);
    aws.ok(OWNER, "EnableImageDeprecation", &[("ImageId", IMAGE), ("DeprecateAt", "2027-01-15T08:00:00Z")]);
    aws.ok(OWNER, "EnableImageDeregistrationProtection", &[("ImageId", IMAGE)]);
    let id = copied(&aws, OWNER, IMAGE, &[]);
    pass(&aws, 20);
    let seen = image(&aws, OWNER, &id);
    assert!(aws.0.launch_permissions(THERE, &id).is_empty());
    assert_eq!(seen.one("deprecationTime"), None);
    assert_eq!(seen.one("deregistrationProtection").as_deref(), Some("disabled"));
    assert_eq!(
        there(&aws, OWNER, "DescribeImages", &[("Filter.1.Name", "source-image-id"), ("Filter.1.Value.1", IMAGE)])
            .all("imageId"),
        [id]
    );
}

#[test]
fn a_copy_that_is_deregistered_meanwhile_ends_and_leaves_nothing() {
    let aws = Aws::new();
    let id = copied(&aws, OWNER, IMAGE, &[]);
    there(&aws, OWNER, "DeregisterImage", &[("ImageId", &id)]);
    pass(&aws, 60);
    aws.0.with_world(|world| assert!(world.regions[THERE].snapshots.is_empty()));
    copied(&aws, OWNER, IMAGE, &[]);
}

#[test]
fn an_account_copies_so_many_images_to_a_region_at_a_time() {
    let aws = Aws::of(Scenario { quotas: Quotas { image_copies: 1, ..Quotas::default() }, ..scenario() });
    copied(&aws, OWNER, IMAGE, &[]);
    let second = [("Name", "second")];
    assert_eq!(copy(&aws, OWNER, IMAGE, &second).refusal(), (400, "ResourceLimitExceeded".into()));
    pass(&aws, 20);
    copied(&aws, OWNER, IMAGE, &second);
}

#[test]
fn a_scenario_makes_copies_fail_or_stall() {
    let failing = CopyTrouble { times: Some(1), ..CopyTrouble::default() };
    let stalling = CopyTrouble { stalls: true, region: Some(THERE.into()), ..CopyTrouble::default() };
    let copies = CopiesScenario { milliseconds: 1000, troubles: vec![failing, stalling] };
    let aws = Aws::of(Scenario { copies, ..scenario() });
    let (failed, stalled) = (copied(&aws, OWNER, IMAGE, &[]), copied(&aws, OWNER, IMAGE, &[("Name", "stalled")]));
    pass(&aws, 1);
    let seen = image(&aws, OWNER, &failed);
    assert_eq!(
        (seen.one("code").as_deref(), seen.one("message").as_deref()),
        (Some("Server.InternalError"), Some("Copy image failed with an internal error"))
    );
    pass(&aws, 100_000);
    assert_eq!(state(&aws, OWNER, &stalled), "pending");
    assert_eq!(snapshot(&aws, OWNER, &stalled).one("progress").as_deref(), Some("50%"));
}

#[test]
fn a_dry_run_copies_nothing() {
    let aws = Aws::new();
    assert_eq!(
        copy(&aws, OWNER, IMAGE, &[("DryRun", "true"), ("ClientToken", "one")]).code().as_deref(),
        Some("DryRunOperation")
    );
    aws.0.with_world(|world| assert!(world.regions[THERE].images.is_empty()));
    copied(&aws, OWNER, IMAGE, &[("ClientToken", "one")]);
}

#[test]
fn a_snapshot_is_copied_and_what_is_wrong_with_its_source_is_found_out_later() {
    let aws = Aws::new();
    let copy = |account: &str, source: &str, more: &[(&str, &str)]| {
        let params = [&[("SourceSnapshotId", source), ("SourceRegion", REGION)], more].concat();
        there(&aws, account, "CopySnapshot", &params)
    };
    let seen = |account: &str, answer: &Answer| {
        let id = answer.one("snapshotId").unwrap_or_else(|| panic!("{}", answer.body));
        there(&aws, account, "DescribeSnapshots", &[("SnapshotId.1", &id)])
    };
    let (good, unknown) = (copy(OWNER, SNAPSHOT, &[]), copy(OWNER, UNKNOWN_SNAPSHOT, &[]));
    let unshared = copy(FRIEND, SNAPSHOT, &[]);
    aws.0.with_world(|world| world.snapshot_mut(REGION, KEY_SNAPSHOT).unwrap().state = SnapshotState::Pending);
    let incomplete = copy(OWNER, KEY_SNAPSHOT, &[]);
    pass(&aws, 20);
    assert_eq!(seen(OWNER, &good).one("status").as_deref(), Some("completed"));
    for (account, answer, message) in [
        (OWNER, unknown, "Source snapshot is not found."),
        (FRIEND, unshared, "Source snapshot is not found."),
        (OWNER, incomplete, "Source snapshot is not complete"),
    ] {
        assert_eq!(seen(account, &answer).one("statusMessage").as_deref(), Some(message));
    }
    add_key(&aws, KEY_THERE);
    let with = |named| copy(OWNER, SNAPSHOT, &[("Encrypted", "true"), ("KmsKeyId", named)]);
    let encrypted = with("alias/images");
    pass(&aws, 20);
    assert_eq!(seen(OWNER, &encrypted).one("kmsKeyId").as_deref(), Some(KEY_THERE));
    with("alias/none").is_error(400, "InvalidParameterValue", "The specified keyId alias/none is invalid");
    aws.0.with_world(|world| world.key_mut(KEY_THERE).unwrap().state = KeyState::Disabled);
    with(KEY_THERE).is_error(400, "InvalidParameterValue", &format!("The specified keyId {KEY_THERE} is disabled"));
    add_key(&aws, FRIENDS_KEY);
    assert_eq!(with(FRIENDS_KEY).refusal(), (403, "AuthFailure".into()));
    for minutes in ["0", "20", "2895"] {
        let odd = copy(OWNER, SNAPSHOT, &[("CompletionDurationMinutes", minutes)]);
        assert_eq!(odd.refusal(), (400, "InvalidParameterValue".into()), "{minutes}");
    }
}

#[test]
fn an_account_copies_so_many_snapshots_to_a_region_at_a_time() {
    let aws = Aws::of(Scenario { quotas: Quotas { snapshot_copies: 1, ..Quotas::default() }, ..scenario() });
    let params = [("SourceSnapshotId", SNAPSHOT), ("SourceRegion", REGION)];
    assert_eq!(there(&aws, OWNER, "CopySnapshot", &params).status, 200);
    assert_eq!(there(&aws, OWNER, "CopySnapshot", &params).refusal(), (400, "ResourceLimitExceeded".into()));
    copied(&aws, OWNER, IMAGE, &[]);
}
