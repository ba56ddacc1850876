"""Webhook: a signed JSON document by POST, for whatever is not on the list (spec 06 §10).

Signed as Standard Webhooks 1.0.0 describes: ``webhook-id`` stays the same over retries,
``webhook-timestamp`` is of the attempt, ``webhook-signature`` holds one HMAC per valid secret.
Receivers should refuse timestamps more than five minutes off and ids they have seen.

The operator needs a URL and gives the receiver the secret that is shown once at creation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import model_validator
from typing_extensions import override

from certctl_core.contracts.errors import ConfigError, UpstreamGone
from certctl_core.contracts.http import HttpClient
from certctl_core.contracts.notifiers import (
    AlertState,
    CertificateFacts,
    Check,
    CheckReport,
    Delivered,
    Message,
    NCap,
    Notifier,
)
from certctl_core.contracts.options import (
    ClientCert,
    HttpUrl,
    PemBundle,
    PluginConfig,
    Secret,
    client_cert,
    is_reference,
    option,
)
from certctl_core.contracts.options import secret as secret_option
from certctl_core.contracts.plugin import hookimpl
from certctl_core.kernel.events import JSON, to_json

PREFIX = "whsec_"
SECRET_BYTES = 32
MAX_ANSWER = 65_536
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_RESERVED = frozenset({"host", "content-length", "content-type", "user-agent", "transfer-encoding"})
_MIN_KEY, _MAX_KEY = 24, 64


class WebhookConfig(PluginConfig):
    """Where to and how signed."""

    url: HttpUrl = option(
        title="URL", help="Receives a POST for each message.", example="https://hooks.example.com/c"
    )
    secret: Secret | None = secret_option(
        None,
        title="Signing secret",
        help="whsec_ and base64 of 24 to 64 bytes. Made and shown once if you leave it out.",
        group="Signature",
    )
    previous_secret: Secret | None = secret_option(
        None,
        title="Previous signing secret",
        help="Signs as well while receivers change to the new one; remove it afterwards.",
        group="Signature",
    )
    allow_unsigned: bool = option(
        default=False,
        title="Allow unsigned",
        help="Send without a signature. Then anyone who knows the URL can forge messages.",
        group="Signature",
        advanced=True,
    )
    legacy_signature: bool = option(
        default=False,
        title="Legacy signature",
        help="Adds X-Signature (HMAC of the body). It does not protect against replay.",
        group="Signature",
        advanced=True,
    )
    format: Literal["certctl", "cloudevents", "template"] = option(
        "certctl", title="Format", help="Our document, CloudEvents 1.0, or your own template."
    )
    template: str = option(
        "",
        title="Template",
        help="JSON with placeholders such as ${title} and ${certificate.common_name} inside texts.",
        visible_when={"format": "template"},
        max_length=16_384,
        example='{"text": "${title}: ${text}"}',
    )
    headers: dict[str, Secret] = secret_option(
        {},
        title="Headers",
        help="Further header fields, such as Authorization, as JSON.",
        placeholder='{"Authorization": "Bearer 4f0c"}',
        advanced=True,
    )
    client: ClientCert | None = client_cert(
        required=False,
        help="For receivers that demand mutual TLS.",
        group="TLS",
    )
    ca_bundle: PemBundle | None = option(
        None,
        title="Server CA",
        help="Certificates to trust instead of the system's.",
        group="TLS",
    )

    @override
    @classmethod
    def generate_secrets(cls) -> dict[str, Secret]:
        """A signing secret of 32 random bytes."""
        encoded = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        return {"secret": Secret(PREFIX + encoded)}

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.secret is None and not self.allow_unsigned:
            message = "A signing secret is needed unless unsigned messages are allowed."
            raise ValueError(message)
        for value in (self.secret, self.previous_secret):
            if value is not None and not is_reference(value.reveal()):
                signing_key(value)
        if self.format == "template":
            render_template(self.template, _SAMPLE)
        for name in self.headers:
            reserved = name.lower() in _RESERVED or name.lower().startswith("webhook-")
            if reserved or not _TOKEN.fullmatch(name):
                message = f"The header {name[:64]!r} cannot be set."
                raise ValueError(message)
        return self


class Webhook(Notifier):
    """Posts messages to a URL."""

    kind = "webhook"
    title = "Webhook"
    api_version = 1
    summary = "A signed JSON document by POST to any URL."
    docs_url = "https://www.standardwebhooks.com/"
    Config = WebhookConfig
    capabilities = frozenset({NCap.RESOLVE, NCap.DEDUP, NCap.DIGEST})
    config: WebhookConfig

    @override
    def test(self, *, send: bool) -> CheckReport:
        if not send:
            answer = self._http().request("HEAD", expect=range(200, 600))
            detail = f"the receiver answers (HTTP status {answer.status})"
            return CheckReport.of([Check(name="reachable", ok=True, detail=detail)])
        now = self.ctx.clock.now()
        stamp = f"test-{now:%Y%m%dT%H%M%S%f}"
        delivered = self.send(replace(_SAMPLE, id=stamp, delivery_id=stamp, occurred_at=now))
        return CheckReport.of([Check(name="delivery", ok=True, detail=delivered.detail)])

    @override
    def send(self, msg: Message) -> Delivered:
        body = self._body(msg)
        answer = self._http().request(
            "POST",
            content=body,
            headers=self._headers(msg.delivery_id, body),
            expect=(*range(200, 300), 410),
        )
        if answer.status == 410:  # noqa: PLR2004 - Gone
            raise UpstreamGone(reason="HTTP status 410", vendor_code="410")
        return Delivered(detail=f"HTTP status {answer.status}")

    @override
    def resolve(self, dedup_key: str, msg: Message) -> Delivered:
        return self.send(replace(msg, dedup_key=dedup_key, state=AlertState.RESOLVED))

    def _http(self) -> HttpClient:
        return self.ctx.http(
            self.config.url,
            ca=self.config.ca_bundle,
            client=self.config.client,
            headers=self.config.headers,
            timeout=25,
            max_body=MAX_ANSWER,
        )

    def _headers(self, delivery_id: str, body: bytes) -> dict[str, str | Secret]:
        version = self.ctx.product.partition("/")[2] or "0"
        stamp = str(int(self.ctx.clock.now().timestamp()))
        is_event = self.config.format == "cloudevents"
        headers: dict[str, str | Secret] = {
            "content-type": "application/cloudevents+json" if is_event else "application/json",
            "user-agent": f"certctl-notifier/{version}",
            "webhook-id": delivery_id,
            "webhook-timestamp": stamp,
        }
        valid = [item for item in (self.config.secret, self.config.previous_secret) if item]
        if valid:
            headers["webhook-signature"] = " ".join(
                sign(item, delivery_id, stamp, body) for item in valid
            )
        if valid and self.config.legacy_signature:
            digest = hmac.new(signing_key(valid[0]), body, hashlib.sha256).hexdigest()
            headers["x-signature"] = f"sha256={digest}"
            headers["x-signature-algorithm"] = "hmac-sha256"
        return headers

    def _body(self, msg: Message) -> bytes:
        if self.config.format == "template":
            try:
                return render_template(self.config.template, msg)
            except ValueError as error:
                raise ConfigError(reason=f"the template: {error}") from None
        content = document(msg)
        if self.config.format == "cloudevents":
            content = {
                "specversion": "1.0",
                "id": msg.id,
                "source": self.ctx.public_url or "urn:certctl",
                "type": f"io.certctl.{msg.event}",
                "subject": msg.certificate.id if msg.certificate else None,
                "time": _time(msg.occurred_at),
                "datacontenttype": "application/json",
                "data": content,
            }
            if content["subject"] is None:
                del content["subject"]  # CloudEvents knows no null attributes.
        return _compact(content)


def sign(secret: Secret, message_id: str, timestamp: str, body: bytes) -> str:
    """One signature of Standard Webhooks: ``v1,`` and base64 of the HMAC-SHA256."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(signing_key(secret), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signing_key(secret: Secret) -> bytes:
    """The key bytes of a ``whsec_`` secret.

    Raises:
        ValueError: It has another form, or under 24 or over 64 bytes.
    """
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not _MIN_KEY <= len(key) <= _MAX_KEY:
        message = "A signing secret is whsec_ and the base64 of 24 to 64 bytes."
        raise ValueError(message)
    return key


def document(msg: Message) -> dict[str, JSON]:
    """Our own document (spec 06 WH-1)."""
    issuer = msg.issuer
    return {
        "type": msg.event,
        "id": msg.id,
        "timestamp": _time(msg.occurred_at),
        "severity": msg.severity.value,
        "state": msg.state.value,
        "title": msg.title,
        "text": msg.text,
        "dedup_key": msg.dedup_key,
        "certificate": _certificate(msg.certificate) if msg.certificate else None,
        "issuer": {"id": issuer.id, "name": issuer.name, "kind": issuer.kind} if issuer else None,
        "data": {key: to_json(value) for key, value in msg.data.items()},
        "links": dict(msg.links),
        "test": msg.test,
        "version": 1,
    }


def _certificate(facts: CertificateFacts) -> dict[str, JSON]:
    return {
        "id": facts.id,
        "name": facts.name,
        "common_name": facts.common_name,
        "serial": facts.serial,
        "not_after": _time(facts.not_after) if facts.not_after else None,
        "days_left": facts.days_left,
        "environment": facts.environment,
        "owner": facts.owner,
        "team": facts.team,
        "issuer": facts.issuer,
        "profile": facts.profile,
    }


class _Template(string.Template):
    idpattern = r"[a-z_]+(?:\.[a-z_]+)*"


def render_template(template: str, msg: Message) -> bytes:
    """Fill a template: only texts go in, escaped for JSON, so the result keeps its structure.

    Raises:
        ValueError: An unknown placeholder, or the result is not JSON.
    """
    values: dict[str, str] = {}
    for name, value in document(msg).items():
        if isinstance(value, dict):
            values |= {f"{name}.{key}": _escaped(item) for key, item in value.items()}
        else:
            values[name] = _escaped(value)
    # Which of the two a message has depends on the event; a template may mention both.
    empty = _certificate(CertificateFacts(id=""))
    values = {f"certificate.{name}": "" for name in empty} | values
    values = {f"issuer.{name}": "" for name in ("id", "name", "kind")} | values
    try:
        filled = _Template(template).substitute(values)
    except KeyError as error:
        message = f"The template has an unknown placeholder {error.args[0]!r}."
        raise ValueError(message) from None
    except ValueError:
        message = "The template has a '$' that begins no placeholder; write '$$' for one."
        raise ValueError(message) from None
    try:
        return _compact(json.loads(filled))
    except (ValueError, RecursionError):
        message = "The filled template is not JSON."
        raise ValueError(message) from None


def _escaped(value: JSON) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text)[1:-1]


def _compact(value: JSON) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_SAMPLE = Message(
    id="test",
    delivery_id="test",
    event="test",
    title="Test message from certctl",
    text="If you can read this, the webhook works.",
    occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    test=True,
)


@hookimpl
def certctl_notifiers() -> list[type[Notifier]]:
    """Offer the webhook notifier."""
    return [Webhook]
