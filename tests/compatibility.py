#!/usr/bin/env python3
"""Writes docs/src/compatibility.md: what is promised, and the tests that show it.

  tests/compatibility.py           writes the page
  tests/compatibility.py --check   fails if the page names a test that is no longer there

A test shows statement SSE-68 by the `sse_68_` in its name; `sse_18_to_sse_21` stands for all four.
An action is shown by every client test that calls it.
"""

import collections
import itertools
import pathlib
import re
import sys

import request_members

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "src" / "compatibility.md"
SEMANTICS = ROOT / "docs" / "src" / "semantics.md"
STATEMENTS = ROOT / "docs" / "statements.txt"
CRATES = ("api", "config", "crypto", "storage", "broker", "bench")
AREAS = {"SSE": "Encryption at rest", "KMS": "Key service", "AUTH": "Signatures and rights"}
TEST_NAMES_SHOWN_MAX = 3

SQS_ACTIONS = """AddPermission CancelMessageMoveTask ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue
DeleteMessage DeleteMessageBatch DeleteQueue GetQueueAttributes GetQueueUrl ListDeadLetterSourceQueues
ListMessageMoveTasks ListQueueTags ListQueues PurgeQueue ReceiveMessage RemovePermission SendMessage SendMessageBatch
SetQueueAttributes StartMessageMoveTask TagQueue UntagQueue""".split()
KMS_ACTIONS = """CancelKeyDeletion CreateAlias CreateGrant CreateKey Decrypt DeleteAlias DeleteImportedKeyMaterial DescribeKey
DisableKey DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext
GenerateRandom GetKeyPolicy GetKeyRotationStatus GetParametersForImport ImportKeyMaterial ListAliases ListGrants
ListKeyPolicies ListKeyRotations ListKeys ListResourceTags ListRetirableGrants PutKeyPolicy ReEncrypt RetireGrant
RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription""".split()
STS_ACTIONS = "AssumeRole GetCallerIdentity".split()

# Client: files of its tests, what stands in each of these files, how it writes an action.
CLIENTS = {
    "boto3 (JSON)": ("*.py", "", lambda action: rf"\.{snake(action)}\b"),
    "boto3 of 2023 (query/XML)": ("*.py", "mark.both_protocols", lambda action: rf"\.{snake(action)}\b"),
    "aws command line": ("test_cli.py", "", lambda action: f'"{snake(action).replace("_", "-")}"'),
    "JavaScript": ("js/*.mjs", "", lambda action: rf"new {action}Command\("),
    "Rust": ("rust/*/*.rs", "", lambda action: rf"\.{snake(action)}\(\)"),
}

PYTHON_TEST = re.compile(r"^(?:async )?def (\w+)\(", re.M)
RUST_TEST = re.compile(r"#\[(?:tokio::)?test[^\]]*\](?:\s*#\[[^\]]*\])*\s*(?:async )?fn (\w+)\(")
NUMBERED = re.compile(r"(sse|kms|auth)_(\d+)(?:_to_(?:sse|kms|auth)?_?(\d+))?")


def snake(action):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", action).lower()


def functions_by_file():
    """Name of each function of the client tests, its source, and that of its file."""
    for path in sorted((ROOT / "tests" / "clients").glob("*.py")):
        text = path.read_text()
        for start, end in itertools.pairwise(list(PYTHON_TEST.finditer(text)) + [None]):
            yield start.group(1), text[start.start() : end.start() if end else len(text)], text


def python_tests():
    """Name of each client test, and its source."""
    for name, source, _ in functions_by_file():
        yield name, source


def rust_tests():
    for crate in CRATES:
        for path in sorted((ROOT / crate).rglob("*.rs")):
            yield from RUST_TEST.findall(path.read_text())


def statements():
    for line in STATEMENTS.read_text().splitlines():
        number, text = line.split(" ", 1)
        yield number, text


def tests_by_statement(names):
    found = collections.defaultdict(list)
    for name in names:
        for area, first, last in NUMBERED.findall(name):
            for number in range(int(first), int(last or first) + 1):
                found[f"{area.upper()}-{number}"].append(name)
    return found


def clients_of(actions):
    """Rows of a table: which client calls which action in its tests, all of them over HTTPS."""
    yield "| SQS action | " + " | ".join(CLIENTS) + " |"
    yield "|---|" + ":-:|" * len(CLIENTS)
    folder = ROOT / "tests" / "clients"
    sources = {}
    for client, (files, marked, _) in CLIENTS.items():
        texts = (path.read_text() for path in folder.glob(files))
        sources[client] = "".join(text for text in texts if marked in text)
    for action in actions:
        calls = (re.search(written(action), sources[client]) for client, (_, _, written) in CLIENTS.items())
        yield f"| {action} | " + " | ".join("yes" if call else "" for call in calls) + " |"


def cell(names, most=TEST_NAMES_SHOWN_MAX):
    names = sorted(set(names))
    shown = ", ".join(f"`{name}`" for name in names[:most])
    more = len(names) - most
    return shown + (f" and {more} more" if more > 0 else "")


def page():
    clients = [(name, source) for name, source in python_tests() if name.startswith("test_")]
    shown = tests_by_statement([name for name, _ in clients] + list(rust_tests()))
    numbered = list(statements())
    proven = sum(1 for number, _ in numbered if shown[number])
    lines = [
        "# Compatibility",
        "",
        "Written by `tests/compatibility.py` from the names of the tests; do not edit.",
        "",
        f"{proven} of {len(numbered)} numbered statements have a test that names them. A statement without one may",
        "hold all the same: nothing here shows it. A client test is skipped in a build without the command or the key",
        "service that it needs, and says so.",
        "",
        "## Actions",
        "",
        "Called by the client tests with boto3, the aws command line or hand-written requests.",
    ]
    lines += ["", *clients_of(SQS_ACTIONS)]
    for service, actions in (("SQS", SQS_ACTIONS), ("KMS", KMS_ACTIONS), ("STS", STS_ACTIONS)):
        lines += ["", f"| {service} action | Tests |", "|---|---|"]
        for action in actions:
            called = re.compile(rf"\.{snake(action)}\b|\"{action}\"")
            lines.append(f"| {action} | {cell(name for name, source in clients if called.search(source))} |")
    tests = [function for function in functions_by_file() if function[0].startswith("test_")]
    lines += [
        "",
        "## Request members and queue attributes",
        "",
        "Out of the sources of `api`. Tests called `contract::…` are those of `broker/tests/contract`: each of their rows is",
        "sent in both encodings and its replies are compared with golden ones.",
        "",
        *request_members.tables(lambda names: cell(names, 1), tests),
    ]
    for area, title in AREAS.items():
        lines += ["", f"## {title}", "", "| | Statement | Tests |", "|---|---|---|"]
        for number, text in numbered:
            if number.startswith(area + "-"):
                lines.append(f"| {number} | {text.replace('|', chr(92) + '|')} | {cell(shown[number])} |")
    return "\n".join(lines) + "\n"


def check():
    known = {name for name, _ in python_tests()} | set(rust_tests())
    known |= {name for name, _ in request_members.contract_tests()}
    pages = PAGE.read_text() + SEMANTICS.read_text()
    named = set(re.findall(r"`((?:test|sse|kms|auth)_\w+|contract::\w+::\w+)`", pages))
    gone = sorted(named - known)
    if gone:
        sys.exit(f"docs/src names tests that are gone; run tests/compatibility.py: {', '.join(gone[:5])}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        PAGE.write_text(page())
