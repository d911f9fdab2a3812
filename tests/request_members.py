"""Which members each SQS action reads, out of the sources of `api`, and the tests that send them.

A row of broker/tests/contract goes out in both encodings. A client test counts for the JSON protocol, and for query/XML too
if its file runs with both versions of boto3 or if it writes forms by hand.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
READER = ROOT / "api" / "src" / "sqs" / "wire_request" / "from_json.rs"
ATTRIBUTES = ROOT / "api" / "src" / "sqs" / "attributes" / "queue_attribute.rs"
CONTRACT = ROOT / "broker" / "tests" / "contract"

FUNCTION = re.compile(r"^((?:#\[\w+\]\n)?)(?:pub\(crate\) )?fn (\w+).*?^}", re.M | re.S)
ENTRY_MEMBERS = {
    "SendMessageBatch": ("Id", "read_message"),
    "DeleteMessageBatch": ("Id", "ReceiptHandle"),
    "ChangeMessageVisibilityBatch": ("Id", "ReceiptHandle", "VisibilityTimeout"),
}


def function(text, name):
    return next(match.group(0) for match in FUNCTION.finditer(text) if match.group(2) == name)


def members():
    """Action: its members in the order in which `api` knows them; those of batch entries follow as `Entries.Name`."""
    text = READER.read_text()
    message = re.findall(r'^        "(\w+)" =>', function(text, "read_message"), re.M)
    found = {}
    for arm in re.finditer(r"((?:Action::\w+\s*\|?\s*)+)=>\s*(?:\{\s*)?&\[(.*?)\]", function(text, "known_members"), re.S):
        for action in re.findall(r"Action::(\w+)", arm.group(1)):
            found[action] = re.findall(r'"(\w+)"', arm.group(2))
            for name in ENTRY_MEMBERS.get(action, ()):
                names = message if name == "read_message" else [name]
                found[action] += [f"Entries.{entry}" for entry in names]
    return dict(sorted(found.items()))


def queue_attributes():
    listed = re.search(r"^queue_attributes! \{(.*?)\}", ATTRIBUTES.read_text(), re.M | re.S).group(1)
    return listed.split()


def contract_tests():
    """Name of each contract test, and its source with that of the functions that it calls."""
    shared = {match.group(2): match.group(0) for match in FUNCTION.finditer((CONTRACT / "row.rs").read_text())}
    for path in sorted(CONTRACT.glob("*.rs")):
        local = {match.group(2): match.group(0) for match in FUNCTION.finditer(path.read_text())}
        callable_ = {name: local.get(name) or shared[name] for name in local | {"create": shared["create"]}}
        for match in FUNCTION.finditer(path.read_text()):
            if match.group(1) == "#[test]\n":
                seen, todo = set(), [match.group(2)]
                while todo:
                    name = todo.pop()
                    seen.add(name)
                    todo += [other for other in callable_ if other not in seen and re.search(rf"\b{other}\(", callable_[name])]
                yield f"contract::{path.stem}::{match.group(2)}", "".join(callable_[name] for name in seen)


def snake(action):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", action).lower()


def client_tests(tests):
    """(name, source, speaks query) of each client test; `tests` gives (name, source, source of its file)."""
    for name, source, file in tests:
        yield name, source, "mark.both_protocols" in file or ".form(" in source


def shown(action, member, contract, clients):
    """Tests that send this member with this action: those for JSON, those for query/XML."""
    word = re.compile(rf"\b{member.removeprefix('Entries.')}\b")
    json = [name for name, source in contract if f'"{action}"' in source and word.search(source)]
    query = list(json)
    called = re.compile(rf'\.{snake(action)}\b|"{action}"')
    for name, source, forms in clients:
        if called.search(source) and word.search(source):
            json.append(name)
            if forms:
                query.append(name)
    return json, query


def tables(cell, tests):
    """Markdown: action by member by protocol, then attribute by call."""
    contract, clients = list(contract_tests()), list(client_tests(tests))
    yield "| Action | Member | JSON 1.0 | query/XML |"
    yield "|---|---|---|---|"
    for action, names in members().items():
        for member in names:
            json, query = shown(action, member, contract, clients)
            yield f"| {action} | {member} | {cell(json)} | {cell(query)} |"
    yield ""
    yield "| Queue attribute | CreateQueue | SetQueueAttributes | GetQueueAttributes |"
    yield "|---|---|---|---|"
    for attribute in queue_attributes():
        cells = (cell(shown(action, attribute, contract, clients)[1]) for action in ("CreateQueue", "SetQueueAttributes", "GetQueueAttributes"))
        yield f"| {attribute} | " + " | ".join(cells) + " |"
