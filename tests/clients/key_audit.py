"""The audit records of the key service."""

import json
import time


def records(broker, event=None, **wanted):
    """The audit records of the key service, once they are on disk."""
    time.sleep(0.1)
    lines = (broker.data / "audit" / "audit.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines if '"kms.amazonaws.com"' in line]
    found = [record for record in found if event in (None, record["eventName"])]
    return [record for record in found if all(record.get(name) == value for name, value in wanted.items())]
