"""Key policies as tests write them, and what becomes of a call."""

import json

from botocore.exceptions import ClientError

import daemon

ROOT = f"arn:aws:iam::{daemon.ACCOUNT}:root"
NOBODY = f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody"
SQS_ONLY = f"arn:aws:iam::{daemon.ACCOUNT}:user/sqs-only"
FOREIGNER = f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:user/foreigner"
WORKER = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
CONTEXT = {"Team": "Blue", "purpose": "test"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal, *actions, effect="Allow", **condition):
    found = {"Effect": effect, "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}
    return {**found, "Condition": condition} if condition else found


OWNED = allow(ROOT, "kms:*", StringEquals={"aws:PrincipalArn": ROOT})


def outcome(call, **parameters):
    """The error code of a call; None if it succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None
