"""The webhook notifier (spec 06 §10, WH-1 … WH-6)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trustme
from certctl_notifiers.webhook import Webhook, WebhookConfig, sign, signing_key

from certctl_core.contracts.errors import RequestRejected, TrustError, UpstreamGone
from certctl_core.contracts.host import PluginHttp
from certctl_core.contracts.http import Headers, HttpResponse
from certctl_core.contracts.options import ConfigInvalid, Secret, validate_config
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.config.values import read_destination
from certctl_core.kernel.net import EgressPolicy
from certctl_core.kernel.release import VERSION
from certctl_core.testing.fakes import FakeClock
from certctl_core.testing.notifier import HOSTILE, MESSAGE, NotifierContract
from certctl_core.testing.plugin_fakes import FakeHTTP, fake_context

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
URL = "https://hooks.example.com/in?tenant=7"


class TestContract(NotifierContract):
    plugin = Webhook

    @pytest.fixture
    def raw_config(self):
        return {
            "url": URL,
            "secret": SECRET,
            "previous_secret": OLD,
            "headers": {"Authorization": "Bearer canary-token-value"},
        }


class TestContractTemplate(NotifierContract):
    plugin = Webhook

    @pytest.fixture
    def raw_config(self):
        template = '{"text": "${title}", "cn": "${certificate.common_name}"}'
        return {"url": URL, "secret": SECRET, "format": "template", "template": template}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def sent():
    return FakeHTTP()


@pytest.fixture
def webhook(clock, sent):
    def make(**extra: Any) -> Webhook:
        raw = {"url": URL, "secret": SECRET, **extra}
        config = validate_config(WebhookConfig, raw)
        context = fake_context(http=sent, clock=clock, public_url="https://certctl.example.com")
        return Webhook(config, context)

    return make


def verify(secret: str, headers: Any, body: bytes) -> None:
    """A receiver's check, written from the Standard Webhooks text alone."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    versions = [item.split(",", 1) for item in headers["webhook-signature"].split(" ")]
    assert ["v1", wanted] in versions


@pytest.mark.spec("06/WH-1")
def test_document_is_compact_utf8_json(webhook, sent):
    webhook().send(replace(MESSAGE, title="Schlüssel läuft ab"))
    body = sent.requests[0].body
    assert "Schlüssel".encode() in body
    assert json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode() == body
    assert json.loads(body) == {
        "type": "certificate.expiring",
        "id": "ntf-01",
        "timestamp": "2026-01-15T12:00:00Z",
        "severity": "warning",
        "state": "firing",
        "title": "Schlüssel läuft ab",
        "text": "Renew it, or let certctl do it.",
        "dedup_key": "certctl/one/mc-01/expiry",
        "certificate": {
            "id": "mc-01",
            "name": "Shop",
            "common_name": "shop.example.com",
            "serial": "0a1b",
            "not_after": "2026-01-22T12:00:00Z",
            "days_left": 7,
            "environment": "",
            "owner": "",
            "team": "",
            "issuer": "",
            "profile": "",
        },
        "issuer": {"id": "iss-local", "name": "Local CA", "kind": "local"},
        "data": {"threshold": "7"},
        "links": {"Certificate": "https://certctl.example.com/ui/certificates/mc-01"},
        "test": False,
        "version": 1,
    }


@pytest.mark.spec("06/WH-2")
def test_standard_webhooks_vector():
    """The example of the Standard Webhooks reference libraries."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.spec("06/WH-2")
def test_each_attempt_is_signed_anew_under_the_same_id(webhook, sent, clock):
    hook = webhook(previous_secret=OLD)
    hook.send(MESSAGE)
    clock.advance(timedelta(minutes=10))
    hook.send(MESSAGE)
    first, second = sent.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "nd-01"
    stamps = [int(request.headers["webhook-timestamp"]) for request in sent.requests]
    assert stamps[1] - stamps[0] == 600
    for request in sent.requests:
        verify(SECRET, request.headers, request.body)
        verify(OLD, request.headers, request.body)
        assert len(request.headers["webhook-signature"].split(" ")) == 2


@pytest.mark.spec("06/WH-3")
def test_legacy_signature_only_when_asked_for(webhook, sent):
    webhook().send(MESSAGE)
    webhook(legacy_signature=True).send(MESSAGE)
    plain, legacy = sent.requests
    assert "x-signature" not in plain.headers
    digest = hmac.new(bytes(range(32)), legacy.body, hashlib.sha256).hexdigest()
    assert legacy.headers["X-Signature"] == f"sha256={digest}"
    assert legacy.headers["X-Signature-Algorithm"] == "hmac-sha256"


@pytest.mark.spec("06/WH-4")
def test_unsigned_only_when_allowed(webhook, sent):
    with pytest.raises(ConfigInvalid):
        webhook(secret=None)
    webhook(secret=None, allow_unsigned=True).send(MESSAGE)
    assert "webhook-signature" not in sent.requests[0].headers


@pytest.mark.spec("06/WH-4")
def test_generated_secret_is_random_and_usable(webhook):
    first, second = (WebhookConfig.generate_secrets()["secret"] for _ in range(2))
    assert first != second
    assert len(signing_key(first)) == 32
    webhook(secret=first.reveal())


@pytest.mark.parametrize("bad", ["short", "whsec_", "whsec_AAAA", "whsec_" + "A" * 200, SECRET[6:]])
def test_malformed_secret_is_refused(webhook, bad):
    with pytest.raises(ConfigInvalid) as caught:
        webhook(secret=bad)
    assert bad not in str(caught.value.fields).replace("whsec_ and the", "")


@pytest.mark.spec("06/WH-5")
def test_cloudevents_structured_mode(webhook, sent):
    webhook(format="cloudevents").send(MESSAGE)
    request = sent.requests[0]
    event = json.loads(request.body)
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert {name: event[name] for name in event if name != "data"} == {
        "specversion": "1.0",
        "id": "ntf-01",
        "source": "https://certctl.example.com",
        "type": "io.certctl.certificate.expiring",
        "subject": "mc-01",
        "time": "2026-01-15T12:00:00Z",
        "datacontenttype": "application/json",
    }
    assert event["data"]["title"] == MESSAGE.title
    webhook(format="cloudevents").send(HOSTILE["no_certificate"])
    assert "subject" not in json.loads(sent.requests[1].body)


@pytest.mark.spec("06/WH-5")
def test_template_cannot_be_broken_out_of(webhook, sent):
    template = '{"text": "${title} $$5", "cn": "${certificate.common_name}"}'
    hook = webhook(format="template", template=template)
    evil = '", "admin": true, "x": "${text}'
    hook.send(replace(MESSAGE, title=evil))
    assert json.loads(sent.requests[0].body) == {"text": f"{evil} $5", "cn": "shop.example.com"}
    hook.send(replace(MESSAGE, certificate=None))
    assert json.loads(sent.requests[1].body)["cn"] == ""


@pytest.mark.parametrize(
    "template", ["", "not json", '{"a": "${nobody}"}', '{"a": "$"}', '{"a": ${title}}', "[" * 99999]
)
def test_template_is_validated_when_it_is_saved(webhook, template):
    with pytest.raises(ConfigInvalid):
        webhook(format="template", template=template)


@pytest.mark.spec("06/WH-6")
def test_user_agent_and_own_headers(webhook, sent):
    webhook(headers={"X-Tenant": "seven"}).send(MESSAGE)
    headers = sent.requests[0].headers
    assert headers["user-agent"] == f"certctl-notifier/{VERSION}"
    assert headers["x-tenant"] == "seven"
    assert sent.requests[0].url == URL


@pytest.mark.parametrize("name", ["Host", "Content-Length", "webhook-id", "a b", "x\r\nEvil", ""])
def test_headers_that_would_break_the_request_are_refused(webhook, name):
    with pytest.raises(ConfigInvalid):
        webhook(headers={name: "v"})


@pytest.mark.spec("06/WH-6")
def test_gone_asks_to_be_switched_off(webhook, sent):
    sent.answer = lambda _: HttpResponse(status=410)
    with pytest.raises(UpstreamGone) as caught:
        webhook().send(MESSAGE)
    assert not caught.value.retryable


def test_other_refusals_are_permanent_and_keep_the_answer_short(webhook, sent):
    sent.answer = lambda _: HttpResponse(
        status=422, headers=Headers({"content-type": "text/plain"}), body=b"no " * 5000
    )
    with pytest.raises(RequestRejected) as caught:
        webhook().send(MESSAGE)
    assert not caught.value.retryable
    assert len(caught.value.detail) < 700


class Receiving(http.server.HTTPServer):
    got: list[tuple[dict[str, str], bytes]]
    ca_pem: str
    url: str


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert isinstance(self.server, Receiving)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def receiver():
    """A real HTTPS receiver with a private CA."""
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Receiving(("127.0.0.1", 0), Receiver)
    server.got = []
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.ca_pem = authority.cert_pem.bytes().decode()
    server.url = f"https://127.0.0.1:{server.server_port}/in"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_real_receiver_verifies_what_arrives_over_tls(receiver):
    policy = EgressPolicy(allow=(read_destination("127.0.0.1"),))
    egress = PluginHttp(policy, clock=SystemClock(), user_agent="certctl/1")
    context = fake_context(http=egress, clock=SystemClock())
    raw = {"url": receiver.url, "secret": SECRET}
    trusting = validate_config(WebhookConfig, {**raw, "ca_bundle": receiver.ca_pem})
    try:
        Webhook(trusting, context).send(MESSAGE)
        headers, body = receiver.got[0]
        verify(SECRET, {name.lower(): value for name, value in headers.items()}, body)
        assert json.loads(body)["id"] == "ntf-01"
        with pytest.raises(TrustError):
            Webhook(validate_config(WebhookConfig, raw), context).send(MESSAGE)
        assert len(receiver.got) == 1
    finally:
        egress.close()
