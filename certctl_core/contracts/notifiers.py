"""The contract of a notifier: a channel that tells people or systems what happened (spec 06 §7).

The core decides who is told what and when, renders title, text and HTML, cleans dynamic text of
control, bidi and zero-width characters, and owns retries. A plugin shapes one payload and sends it
once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Protocol

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.errors import OperationNotSupported
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.events import JSON, Severity
from certctl_core.values import dataclass

__all__ = [
    "SEND_BUDGET",
    "AlertState",
    "CertificateFacts",
    "Check",
    "CheckReport",
    "Delivered",
    "IssuerFacts",
    "Message",
    "NCap",
    "Notifier",
    "NotifierContext",
    "Severity",
    "certctl_notifiers",
]

SEND_BUDGET = timedelta(seconds=30)
MAX_TITLE = 120


class NCap(StrEnum):
    """What a notifier can do beyond sending text."""

    RECIPIENTS = "RECIPIENTS"
    RESOLVE = "RESOLVE"
    DEDUP = "DEDUP"
    HTML = "HTML"
    DIGEST = "DIGEST"
    MARKDOWN = "MARKDOWN"
    THREADING = "THREADING"


class AlertState(StrEnum):
    """Whether the matter is open or over."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """The certificate that a message is about; all public.

    Attributes:
        id: Our id.
        name: Display name.
        common_name: Subject common name.
        serial: Canonical serial.
        not_after: End of validity.
        days_left: Remaining days, rounded up; negative when over.
        environment: Label of the environment, and so on: names, empty when not assigned.
    """

    id: str
    name: str = ""
    common_name: str = ""
    serial: str = ""
    not_after: datetime | None = None
    days_left: int | None = None
    environment: str = ""
    owner: str = ""
    team: str = ""
    issuer: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerFacts:
    """The configured issuer that a message is about."""

    id: str
    name: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be told. Free of secrets, keys and CSR bodies; texts are cleaned.

    Attributes:
        id: Notification id (``ntf-…``).
        delivery_id: Id of this delivery (``nd-…``), the same over its retries: the provider's
            idempotency key.
        event: Wire tag (``certificate.expiring``).
        severity: info, warning or critical.
        state: Firing or resolved.
        title: One line, at most 120 characters.
        text: Plain text, some lines.
        html: The same as HTML, for ``NCap.HTML``; empty otherwise.
        facts: ``(label, value)`` in order.
        links: ``(label, https URL)``; empty when the public URL of the product is not known.
        data: The event's details, JSON.
        recipients: Addresses, for ``NCap.RECIPIENTS``.
        dedup_key: The same for all messages of one incident.
        occurred_at: When it happened.
        test: A test message: say so clearly.
        locale: BCP 47.
    """

    id: str
    delivery_id: str
    event: str
    severity: Severity = Severity.INFO
    state: AlertState = AlertState.FIRING
    title: str
    text: str = ""
    html: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    certificate: CertificateFacts | None = None
    issuer: IssuerFacts | None = None
    data: Mapping[str, JSON] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()
    dedup_key: str = ""
    occurred_at: datetime
    test: bool = False
    locale: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The provider took the message.

    Attributes:
        provider_id: How it names it, if it does.
        detail: A short remark for the delivery's page.
    """

    provider_id: str = ""
    detail: str = ""


class NotifierContext(PluginContext, Protocol):
    """``self.ctx`` of a notifier."""

    @property
    def public_url(self) -> str:
        """The public URL of this installation without a slash at the end; empty if not set."""
        ...


class Notifier(Plugin):
    """A notifier kind. One instance per configured notifier, shared by threads.

    Methods raise the errors of ``certctl_core.contracts.errors``. Retryable ones are tried again by
    the core, the others end the delivery.

    Args:
        config: The validated configuration, references resolved.
        ctx: The context of this instance.
    """

    capabilities: ClassVar[frozenset[NCap]] = frozenset()

    def __init__(self, config: PluginConfig, ctx: NotifierContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def test(self, *, send: bool) -> CheckReport:
        """Try the channel.

        Args:
            send: False: connect and authenticate only, nothing is delivered. True: deliver a
                message that is clearly marked as a test.
        """

    @abstractmethod
    def send(self, msg: Message) -> Delivered:
        """Deliver a message: one attempt, at most 30 seconds, no sleep, no retry.

        May be called again with the same ``delivery_id`` after a failure or a crash.

        Raises:
            UpstreamUnavailable: Or ``UpstreamRateLimited``: try later.
            RequestRejected: Or ``AuthError``, ``ConfigError``, ``UpstreamNotFound``: never.
        """

    def resolve(self, dedup_key: str, msg: Message) -> Delivered:
        """Close the alert with that key; an unknown key is a success. Needs ``NCap.RESOLVE``."""
        del dedup_key, msg
        raise OperationNotSupported(operation="resolve")

    def open(self) -> None:
        """Called once before the first use."""

    def close(self) -> None:
        """Called on delete, disable, replace and shutdown; leaves nothing behind."""


@hookspec
def certctl_notifiers() -> list[type[Notifier]]:  # type: ignore[empty-body] # a specification
    """Register notifier kinds.

    Called once at start, each implementation on its own; all results count. Return the classes; do
    not build, read or call anything.
    """
