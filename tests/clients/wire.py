"""Requests written by hand: a SigV4 signer that owes nothing to any SDK, and raw HTTP exchanges.

Lets a test send what an SDK refuses to: altered bodies, wrong scopes, skewed dates, unsigned headers.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse
import xml.etree.ElementTree as ElementTree

UNRESERVED = "-._~"


def encode(text):
    return urllib.parse.quote(text, safe=UNRESERVED)


def stamp(moment=None):
    moment = moment or datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y%m%dT%H%M%SZ")


def signing_key(secret, day, region, service):
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def signature(secret, scope, date, canonical):
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    day, region, service, _ = scope.split("/")
    return hmac.new(signing_key(secret, day, region, service), text.encode(), hashlib.sha256).hexdigest()


def canonical_request(method, path, query, headers, payload):
    """`path` as sent, `query` a list of pairs, `headers` a lower-case name to value mapping."""
    pairs = "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in query))
    names = sorted(headers)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    digest = hashlib.sha256(payload).hexdigest()
    uri = urllib.parse.quote(path, safe="/" + UNRESERVED)
    return "\n".join([method, uri, pairs, lines, ";".join(names), digest]), ";".join(names)


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def xml(self):
        """The XML tree, element names without their namespace."""
        tree = ElementTree.fromstring(self.body)
        for element in tree.iter():
            element.tag = element.tag.rsplit("}", 1)[-1]
        return tree

    def code(self):
        """The error code, in either protocol."""
        if "json" in self.headers.get("content-type", ""):
            return self.headers.get("x-amzn-query-error", ";").split(";")[0] or self.json().get("__type")
        return self.xml().findtext(".//Code")


def exchange(broker, method, path, headers=None, body=b"", secure=True):
    if secure:
        connection = http.client.HTTPSConnection("127.0.0.1", broker.https_port, timeout=40, context=broker.tls())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", broker.http_port, timeout=40)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


class Caller:
    """One access key, and every way to bend its signatures."""

    def __init__(self, broker, credentials=None, region="us-east-1", service="sqs", token=None):
        self.broker = broker
        self.access_key, self.secret = credentials or broker.root_credentials()
        self.region, self.service, self.token = region, service, token

    def host(self, secure=True):
        return f"127.0.0.1:{self.broker.https_port if secure else self.broker.http_port}"

    def signed_headers(self, method, path, query, headers, body, secure=True, when=None):
        date = stamp(when)
        headers = {**headers, "host": self.host(secure), "x-amz-date": date}
        if self.token:
            headers["x-amz-security-token"] = self.token
        headers = {name.lower(): value for name, value in headers.items()}
        canonical, names = canonical_request(method, path, query, headers, body)
        scope = f"{date[:8]}/{self.region}/{self.service}/aws4_request"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={signature(self.secret, scope, date, canonical)}"
        )
        return headers

    def json(self, action, parameters, secure=True, when=None, extra=None, path="/", prefix="AmazonSQS", alter=None):
        """A JSON request; `extra` headers are signed too; `alter(headers, body)` changes what is sent after signing."""
        version = "1.1" if prefix == "TrentService" else "1.0"
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": f"{prefix}.{action}", **(extra or {})}
        body = json.dumps(parameters).encode()
        headers = self.signed_headers("POST", path, [], headers, body, secure, when)
        if alter:
            headers, body = alter(headers, body)
        return exchange(self.broker, "POST", path, headers, body, secure)

    def form(self, action, parameters, secure=True, path="/", version="2012-11-05", when=None, alter=None):
        """A Query-protocol request; `alter` as for JSON."""
        body = urllib.parse.urlencode({"Action": action, "Version": version, **parameters}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        headers = self.signed_headers("POST", path, [], headers, body, secure, when)
        if alter:
            headers, body = alter(headers, body)
        return exchange(self.broker, "POST", path, headers, body, secure)

    def presigned(self, path, parameters, expires=900, when=None, secure=True):
        """Path and query of a presigned GET."""
        date = stamp(when)
        scope = f"{date[:8]}/{self.region}/{self.service}/aws4_request"
        query = [
            *parameters.items(),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{self.access_key}/{scope}"),
            ("X-Amz-Date", date),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        if self.token:
            query.append(("X-Amz-Security-Token", self.token))
        canonical, _ = canonical_request("GET", path, query, {"host": self.host(secure)}, b"")
        query.append(("X-Amz-Signature", signature(self.secret, scope, date, canonical)))
        return path + "?" + "&".join(f"{encode(name)}={encode(value)}" for name, value in query)

    def get(self, path_and_query, secure=True):
        return exchange(self.broker, "GET", path_and_query, {"host": self.host(secure)}, b"", secure)


def unsigned_json(broker, action, parameters, secure=True):
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"}
    return exchange(broker, "POST", "/", headers, json.dumps(parameters).encode(), secure)


def unsigned_form(broker, action, parameters, secure=True, path="/", extra=None):
    body = urllib.parse.urlencode({"Action": action, "Version": "2012-11-05", **parameters}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", **(extra or {})}
    return exchange(broker, "POST", path, headers, body, secure)
