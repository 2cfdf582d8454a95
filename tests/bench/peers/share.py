"""Shares all golden images of the account with a list of accounts: what a careful person writes with boto3.

Reads who may launch each image, and changes only what differs. Eight threads; retries adapt to throttling.

    share.py ACCOUNTS.json
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

THREADS = 8

with open(sys.argv[1], encoding="utf-8") as file:
    WANTED = set(json.load(file)["accounts"])

ec2 = boto3.client(
    "ec2", config=Config(max_pool_connections=THREADS, retries={"mode": "adaptive", "total_max_attempts": 25})
)


def share(image):
    answer = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    held = {item["UserId"] for item in answer["LaunchPermissions"] if "UserId" in item}
    add = [{"UserId": account} for account in sorted(WANTED - held)]
    remove = [{"UserId": account} for account in sorted(held - WANTED)]
    if add or remove:
        ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": add, "Remove": remove})


pages = ec2.get_paginator("describe_images").paginate(
    Owners=["self"], Filters=[{"Name": "name", "Values": ["golden-*"]}], PaginationConfig={"PageSize": 1000}
)
images = [image["ImageId"] for page in pages for image in page["Images"]]
with ThreadPoolExecutor(THREADS) as pool:
    for _ in pool.map(share, images):
        pass
