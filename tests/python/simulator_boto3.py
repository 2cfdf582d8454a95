#!/usr/bin/env python3
"""Drives the simulator with boto3 and the AWS CLI, which nobody here wrote: what they accept is the wire protocol.

Usage: simulator_boto3.py ENDPOINT_URL

The simulator runs with the scenario next to this file, simulator_scenario.yaml. Prints one line for each thing that works,
and exits with 1 and a traceback at the first that does not.
"""

import json
import os
import subprocess
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

OWNER, CONSUMER, CLOSED = "111122223333", "444455556666", "999999999999"
REGION = "us-east-1"
IMAGE, SNAPSHOT = "ami-0123456789abcdef0", "snap-0123456789abcdef0"
ENCRYPTED_IMAGE, DEFAULT_KEY_SNAPSHOT = "ami-0aaaabbbbccccdddd", "snap-0eeeeffff00001111"
ORGANIZATION = "arn:aws:organizations::111122223333:organization/o-abcdefghij"


def client(service, account, **session):
    """A client that acts as the account: the access key id is the account's id."""
    keys = {"aws_access_key_id": account, "aws_secret_access_key": "any"} | session
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
    return boto3.client(service, region_name=REGION, endpoint_url=ENDPOINT, config=config, **keys)


def refused(code, call, **parameters):
    """The call has to fail with this code; gives the message and the status."""
    try:
        call(**parameters)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{code} expected, but the call succeeded")


def aws(account, *arguments):
    """One run of the AWS CLI; gives its JSON, or the error that it prints."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    environment.pop("AWS_SESSION_TOKEN", None)
    command = ["aws", "--endpoint-url", ENDPOINT, "--output", "json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        return done.stderr.strip()
    return json.loads(done.stdout) if done.stdout.strip() else {}


def launch_permissions(ec2, image):
    answer = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    return [next(iter(item.values())) for item in answer["LaunchPermissions"]]


def identity():
    assert client("sts", OWNER).get_caller_identity()["Account"] == OWNER
    assert aws(CONSUMER, "sts", "get-caller-identity")["Account"] == CONSUMER


def roles():
    sts = client("sts", OWNER)
    role = {"RoleArn": f"arn:aws:iam::{CONSUMER}:role/reader", "RoleSessionName": "test"}
    credentials = sts.assume_role(**role, ExternalId="secret")["Credentials"]
    session = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }
    who = client("sts", CONSUMER, **session).get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::{CONSUMER}:assumed-role/reader/test", who
    _, status = refused("AccessDenied", sts.assume_role, **role, ExternalId="wrong")
    assert status == 403


def sharing():
    owner, consumer = client("ec2", OWNER), client("ec2", CONSUMER)
    assert consumer.describe_images(ImageIds=[IMAGE])["Images"] == [], "private images are an empty set by id"
    refused("InvalidAMIID.NotFound", consumer.describe_images, ImageIds=["ami-0fedcba9876543210"])

    owner.modify_image_attribute(ImageId=IMAGE, LaunchPermission={"Add": [{"UserId": CONSUMER}, {"OrganizationArn": ORGANIZATION}]})
    assert launch_permissions(owner, IMAGE) == [CONSUMER, ORGANIZATION]
    [image] = consumer.describe_images(ExecutableUsers=["self"])["Images"]
    assert (image["ImageId"], image["OwnerId"], image["Public"], image["State"]) == (IMAGE, OWNER, False, "available")
    assert image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == SNAPSHOT
    assert image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is False
    refused("AuthFailure", consumer.describe_image_attribute, ImageId=IMAGE, Attribute="launchPermission")

    combined = {"Add": [{"UserId": OWNER}], "Remove": [{"UserId": CONSUMER}]}
    owner.modify_image_attribute(ImageId=IMAGE, LaunchPermission=combined)
    assert launch_permissions(owner, IMAGE) == [ORGANIZATION, OWNER]
    message, status = refused(
        "InvalidAMIAttributeItemValue",
        owner.modify_image_attribute,
        ImageId=IMAGE,
        LaunchPermission={"Add": [{"UserId": CONSUMER}, {"UserId": CLOSED}]},
    )
    assert (message, status) == (f'Invalid attribute item value "{CLOSED}" for userId item type.', 400)
    assert launch_permissions(owner, IMAGE) == [ORGANIZATION, OWNER], "all or nothing"
    owner.reset_image_attribute(ImageId=IMAGE, Attribute="launchPermission")
    assert launch_permissions(owner, IMAGE) == []


def sharing_with_the_cli():
    legacy = ["--attribute", "launchPermission", "--operation-type", "add", "--user-ids", CONSUMER]
    assert aws(OWNER, "ec2", "modify-image-attribute", "--image-id", IMAGE, *legacy) == {}
    shown = aws(CONSUMER, "ec2", "describe-images", "--owners", OWNER)["Images"]
    assert [image["ImageId"] for image in shown] == [IMAGE]
    canonical = f"Remove=[{{UserId={CONSUMER}}}]"
    assert aws(OWNER, "ec2", "modify-image-attribute", "--image-id", IMAGE, "--launch-permission", canonical) == {}
    assert aws(CONSUMER, "ec2", "describe-images", "--owners", OWNER)["Images"] == []
    assert "InvalidAMIID.Malformed" in aws(OWNER, "ec2", "describe-images", "--image-ids", "ami-1")
    assert "DryRunOperation" in aws(OWNER, "ec2", "disable-image", "--image-id", IMAGE, "--dry-run")


def public():
    owner, consumer = client("ec2", OWNER), client("ec2", CONSUMER)
    everyone = {"ImageId": IMAGE, "LaunchPermission": {"Add": [{"Group": "all"}]}}
    assert owner.get_image_block_public_access_state()["ImageBlockPublicAccessState"] == "block-new-sharing"
    refused("OperationNotPermitted", owner.modify_image_attribute, **everyone)
    owner.disable_image_block_public_access()
    owner.modify_image_attribute(**everyone)
    assert consumer.describe_images(ImageIds=[IMAGE])["Images"][0]["Public"] is True
    owner.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
    owner.modify_image_attribute(ImageId=IMAGE, LaunchPermission={"Remove": [{"Group": "all"}]})
    everyone["ImageId"] = ENCRYPTED_IMAGE
    refused("InvalidParameter", owner.modify_image_attribute, **everyone)


def snapshots():
    owner, consumer = client("ec2", OWNER), client("ec2", CONSUMER)
    refused("InvalidSnapshot.NotFound", consumer.describe_snapshots, SnapshotIds=[SNAPSHOT])
    change = {"SnapshotId": SNAPSHOT, "Attribute": "createVolumePermission"}
    owner.modify_snapshot_attribute(**change, CreateVolumePermission={"Add": [{"UserId": CONSUMER}, {"UserId": OWNER}]})
    given = owner.describe_snapshot_attribute(**change)["CreateVolumePermissions"]
    assert given == [{"UserId": CONSUMER}], "the owner's own id is not listed"
    assert [found["SnapshotId"] for found in consumer.describe_snapshots(RestorableByUserIds=["self"])["Snapshots"]] == [SNAPSHOT]
    owner.modify_snapshot_attribute(**change, OperationType="remove", UserIds=[CONSUMER])
    assert owner.describe_snapshot_attribute(**change)["CreateVolumePermissions"] == []
    change["SnapshotId"] = DEFAULT_KEY_SNAPSHOT
    message, _ = refused("OperationNotPermitted", owner.modify_snapshot_attribute, **change, OperationType="add", UserIds=[CONSUMER])
    assert message == "Encrypted snapshots with EBS default key cannot be shared"


def lifecycle():
    owner = client("ec2", OWNER)
    snapshot = owner.create_snapshot(VolumeId="vol-0123456789abcdef0", Description="root")["SnapshotId"]
    devices = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}]
    register = {"RootDeviceName": "/dev/xvda", "BlockDeviceMappings": devices}
    images = [owner.register_image(Name=f"page-{number}", **register)["ImageId"] for number in range(12)]
    refused("InvalidAMIName.Duplicate", owner.register_image, Name="page-1", **register)
    pages = owner.get_paginator("describe_images").paginate(
        Owners=["self"], Filters=[{"Name": "name", "Values": ["page-*"]}], PaginationConfig={"PageSize": 5}
    )
    sizes = [len(page["Images"]) for page in pages]
    assert sizes == [5, 5, 2], sizes
    refused("InvalidParameterCombination", owner.describe_images, ImageIds=images[:1], MaxResults=5)
    refused("InvalidSnapshot.InUse", owner.delete_snapshot, SnapshotId=snapshot)
    owner.disable_image(ImageId=images[0])
    assert owner.describe_images(ImageIds=images[:1])["Images"] == []
    assert owner.describe_images(ImageIds=images[:1], IncludeDisabled=True)["Images"][0]["State"] == "disabled"
    owner.enable_image(ImageId=images[0])
    for image in images[1:]:
        owner.deregister_image(ImageId=image)
    owner.deregister_image(ImageId=images[0], DeleteAssociatedSnapshots=True)
    refused("InvalidAMIID.Unavailable", owner.deregister_image, ImageId=images[0])
    refused("InvalidSnapshot.NotFound", owner.describe_snapshots, SnapshotIds=[snapshot])


def tags():
    owner, consumer = client("ec2", OWNER), client("ec2", CONSUMER)
    owner.modify_image_attribute(ImageId=IMAGE, LaunchPermission={"Add": [{"UserId": CONSUMER}]})
    owner.create_tags(Resources=[IMAGE, SNAPSHOT], Tags=[{"Key": "team", "Value": "images"}])
    owner.create_tags(Resources=[IMAGE], Tags=[{"Key": "ec2:SharedTag/os", "Value": "al2023"}])
    consumer.create_tags(Resources=[IMAGE], Tags=[{"Key": "mine", "Value": ""}])
    seen = {tag["Key"]: tag["Value"] for tag in consumer.describe_images(ImageIds=[IMAGE])["Images"][0]["Tags"]}
    assert seen == {"ec2:SharedTag/os": "al2023", "mine": ""}, seen
    assert len(owner.describe_tags(Filters=[{"Name": "resource-id", "Values": [IMAGE]}])["Tags"]) == 2
    owner.delete_tags(Resources=[IMAGE, SNAPSHOT])
    assert owner.describe_tags()["Tags"] == []
    consumer.cancel_image_launch_permission(ImageId=IMAGE)
    assert launch_permissions(owner, IMAGE) == []


def keys():
    owner, consumer = client("kms", OWNER), client("kms", CONSUMER)
    [snapshot] = client("ec2", OWNER).describe_snapshots(SnapshotIds=["snap-0aaaabbbbccccdddd"])["Snapshots"]
    key = snapshot["KmsKeyId"]
    metadata = owner.describe_key(KeyId=key)["KeyMetadata"]
    assert (metadata["Arn"], metadata["KeyManager"], metadata["KeyState"]) == (key, "CUSTOMER", "Enabled")
    assert metadata["CreationDate"].year >= 2026
    message, status = refused("AccessDeniedException", consumer.describe_key, KeyId=key)
    assert status == 400 and "kms:DescribeKey on this resource" in message, message

    grant = {"KeyId": key, "GranteePrincipal": f"arn:aws:iam::{CONSUMER}:root", "Operations": ["Decrypt", "DescribeKey"]}
    made = [owner.create_grant(**grant, Name="test")["GrantId"] for _ in range(2)]
    assert made[0] == made[1], "the name makes a repeated request the same grant"
    assert consumer.describe_key(KeyId=key)["KeyMetadata"]["AWSAccountId"] == OWNER
    others = [owner.create_grant(**grant, Name=f"test-{number}")["GrantId"] for number in range(60)]
    pages = list(owner.get_paginator("list_grants").paginate(KeyId=key))
    listed = [entry for page in pages for entry in page["Grants"]]
    assert len(pages) == 2 and {entry["GrantId"] for entry in listed} == {made[0], *others}
    assert all(entry["Operations"] == ["Decrypt", "DescribeKey"] for entry in listed)
    for entry in listed:
        owner.revoke_grant(KeyId=key, GrantId=entry["GrantId"])
    assert owner.list_grants(KeyId=key)["Grants"] == []
    refused("NotFoundException", owner.revoke_grant, KeyId=key, GrantId=made[0])
    refused("InvalidArnException", owner.create_grant, **(grant | {"GranteePrincipal": f"arn:aws:iam::{CONSUMER}:role/none"}))
    policy = json.loads(aws(OWNER, "kms", "get-key-policy", "--key-id", key, "--policy-name", "default")["Policy"])
    assert policy["Statement"][0]["Action"] == "kms:*", policy


def copies():
    """A copy to another Region: made once for a token, pending for two seconds, and gone with its snapshot."""
    keys = {"aws_access_key_id": OWNER, "aws_secret_access_key": "any"}
    there = boto3.client("ec2", region_name="eu-central-1", endpoint_url=ENDPOINT, **keys)
    tags = [{"ResourceType": kind, "Tags": [{"Key": "by", "Value": "me"}]} for kind in ("image", "snapshot")]
    copy = {"SourceImageId": IMAGE, "SourceRegion": REGION, "Name": "copy", "ClientToken": "one", "TagSpecifications": tags}
    image = there.copy_image(**copy)["ImageId"]
    assert there.copy_image(**copy)["ImageId"] == image
    refused("IdempotentParameterMismatch", there.copy_image, **(copy | {"Name": "other"}))
    message, _ = refused("InvalidAMIName.Duplicate", there.copy_image, **(copy | {"ClientToken": "two"}))
    assert image in message, message
    seen = there.describe_images(ImageIds=[image])["Images"][0]
    assert (seen["State"], seen["SourceImageId"], seen["SourceImageRegion"]) == ("pending", IMAGE, REGION), seen
    there.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    snapshot = there.describe_snapshots(OwnerIds=["self"])["Snapshots"][0]
    assert (snapshot["State"], snapshot["Progress"], snapshot["Tags"]) == ("completed", "100%", tags[1]["Tags"]), snapshot
    single = there.copy_snapshot(SourceRegion=REGION, SourceSnapshotId=SNAPSHOT)["SnapshotId"]
    there.get_waiter("snapshot_completed").wait(SnapshotIds=[single], WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    assert there.describe_instances()["Reservations"][0]["Instances"][0]["State"] == {"Code": 16, "Name": "running"}
    types = [{"ResourceType": "ec2:Instance"}]
    report = there.create_image_usage_report(ImageId=image, ResourceTypes=types)["ReportId"]
    (made,) = there.describe_image_usage_reports(ReportIds=[report])["ImageUsageReports"]
    assert (made["State"], made["ImageId"], made["ResourceTypes"]) == ("pending", image, types), made
    assert there.describe_image_usage_report_entries(ReportIds=[report])["ImageUsageReportEntries"] == []

    gone = there.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert gone["DeleteSnapshotResults"] == [{"SnapshotId": snapshot["SnapshotId"], "ReturnCode": "success"}], gone
    assert [entry["ImageId"] for entry in there.list_images_in_recycle_bin()["Images"]] == [image]
    there.restore_snapshot_from_recycle_bin(SnapshotId=snapshot["SnapshotId"])
    there.restore_image_from_recycle_bin(ImageId=image)
    assert there.describe_images(ImageIds=[image])["Images"][0]["State"] == "available"


def others():
    owner = client("ec2", OWNER)
    names = [region["RegionName"] for region in owner.describe_regions()["Regions"]]
    assert REGION in names and names == sorted(names)
    message, status = refused("InvalidAction", owner.describe_vpcs)
    assert (message, status) == ("The action DescribeVpcs is not valid for this web service.", 400)
    _, status = refused("DryRunOperation", owner.deregister_image, ImageId=IMAGE, DryRun=True)
    assert status == 412
    refused("InvalidClientTokenId", client("sts", CLOSED).get_caller_identity)


def faults_and_retries():
    """In eu-west-1 the first calls fail, each in another way; the SDK's own retries get over them."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=5)
    keys = {"aws_access_key_id": OWNER, "aws_secret_access_key": "any"}
    patient = boto3.client("ec2", region_name="eu-west-1", endpoint_url=ENDPOINT, config=config, **keys)
    answer = patient.describe_images(Owners=["self"])
    assert answer["ResponseMetadata"]["RetryAttempts"] == 4, answer["ResponseMetadata"]
    message, status = refused("UnauthorizedOperation", patient.describe_tags)
    assert status == 403 and "is not authorized to perform: ec2:DescribeTags" in message, message


ENDPOINT = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)

for part in (identity, roles, sharing, sharing_with_the_cli, public, snapshots, lifecycle, tags, keys, copies, others, faults_and_retries):
    part()
    print("ok", part.__name__.replace("_", " "), flush=True)
