#!/usr/bin/env python3
"""Makes images in moto and changes their permissions behind the operator's back.

Usage: moto_seed.py ENDPOINT_URL image NAME             makes an image; prints {"image": ..., "snapshot": ...}
       moto_seed.py ENDPOINT_URL add IMAGE ACCOUNT      gives a launch permission
       moto_seed.py ENDPOINT_URL remove IMAGE ACCOUNT   takes one
"""

import json
import sys

import boto3


def image(ec2, name):
    made = ec2.register_image(Name=name, Architecture="x86_64", RootDeviceName="/dev/sda1")["ImageId"]
    # moto gives every image one disk, whatever it is registered with.
    [described] = ec2.describe_images(ImageIds=[made])["Images"]
    print(json.dumps({"image": made, "snapshot": described["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]}))


def change(ec2, kind, image_id, account):
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={kind: [{"UserId": account}]})


ACTIONS = {
    "image": image,
    "add": lambda ec2, *arguments: change(ec2, "Add", *arguments),
    "remove": lambda ec2, *arguments: change(ec2, "Remove", *arguments),
}
if len(sys.argv) < 4 or sys.argv[2] not in ACTIONS:
    sys.exit(__doc__)
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
client = boto3.client("ec2", region_name="us-east-1", endpoint_url=sys.argv[1], **keys)
ACTIONS[sys.argv[2]](client, *sys.argv[3:])
