"""The contract of an issuer: a certification authority that signs for us (spec 06 §2).

Around every issuer the core parses the CSR and checks its signature, agrees names between CSR and
request, limits the lifetime, calls with a time budget in a worker thread, verifies what came back
before storing it, and owns waiting, retries and backoff. A plugin translates one request into one
vendor call and the answer back.
"""

# ruff: noqa: ARG002 - the optional methods show the arguments that an override gets

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Protocol

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.context import PluginContext
from certctl_core.contracts.errors import OperationNotSupported
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.errors import FieldError
from certctl_core.kernel.events import JSON
from certctl_core.pki.reasons import CRLReason as Reason
from certctl_core.values import dataclass

__all__ = [
    "SUBMIT_BUDGET",
    "Cap",
    "CertRef",
    "Check",
    "CheckReport",
    "Choice",
    "IssueRequest",
    "Issued",
    "Issuer",
    "IssuerContext",
    "OrderRef",
    "Pending",
    "Reason",
    "RenewalWindow",
    "RevokePending",
    "Revoked",
    "SetupItem",
    "SetupKind",
    "certctl_issuers",
]

SUBMIT_BUDGET = timedelta(seconds=60)
POLL_BUDGET = timedelta(seconds=30)
REVOKE_BUDGET = timedelta(seconds=30)
TEST_BUDGET = timedelta(seconds=30)
CLOSE_BUDGET = timedelta(seconds=10)
"""How long a call may take before it is abandoned (spec 06 ISS-11)."""

MIN_TICK = timedelta(seconds=5)
MAX_TICK = timedelta(hours=24)


class Cap(StrEnum):
    """What an issuer can do; an absent one is never asked for (spec 06 §2.2)."""

    REVOKE = "REVOKE"
    ASYNC = "ASYNC"
    CA_CHAIN = "CA_CHAIN"
    RENEWAL_INFO = "RENEWAL_INFO"
    TTL = "TTL"
    EKU = "EKU"
    MUST_STAPLE = "MUST_STAPLE"
    IP_SAN = "IP_SAN"
    EMAIL_SAN = "EMAIL_SAN"
    URI_SAN = "URI_SAN"
    OTHER_NAME = "OTHER_NAME"
    WILDCARD = "WILDCARD"
    NO_CN = "NO_CN"
    IDEMPOTENT = "IDEMPOTENT"
    PAID = "PAID"
    HOLD = "HOLD"
    CRL_URL = "CRL_URL"
    OCSP_URL = "OCSP_URL"
    EXECUTES_CODE = "EXECUTES_CODE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertRef:
    """An issued certificate, as it is named to its issuer.

    Attributes:
        serial: Canonical serial: lowercase hex, even length, from the certificate itself.
        certificate_pem: The leaf, one PEM block.
        issuer_dn: Its issuer name, RFC 4514.
        vendor_ref: What ``Issued`` or ``Pending`` returned for it; empty if nothing.
        certificate_id: Our id of the managed certificate.
    """

    serial: str
    certificate_pem: str
    issuer_dn: str
    vendor_ref: str = ""
    certificate_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """One certificate to be ordered. Complete: nothing has to be looked up elsewhere.

    Attributes:
        csr_der: PKCS#10 request; its signature has been checked.
        csr_pem: The same as one PEM block.
        common_name: The common name, or empty.
        subject: The whole subject, RFC 4514, common name included, where the profile lets it carry
            more than that; empty otherwise. A CA that decides about subjects may leave it aside.
        dns_names: A-labels, lower case; wildcards only leftmost.
        ip_addresses: Compressed text form.
        emails: rfc822Name values.
        uris: URI values.
        other_names: ``(dotted OID, DER of the value)``.
        ekus: Names of spec 01 PROF-01 (``serverAuth`` …) or dotted OIDs.
        key_usages: ``digitalSignature`` … as in RFC 5280 §4.2.1.3.
        max_ttl: Longest lifetime allowed; None leaves it to the issuer.
        not_after: Latest end allowed.
        must_staple: RFC 7633 ``status_request``.
        short_lived: Revocation is not offered for it (below seven days).
        include_aia: Authority information access wanted, where the issuer lets one choose.
        include_cdp: CRL distribution points wanted, where the issuer lets one choose.
        profile_hint: Vendor settings of the profile (product, template …) by name.
        idempotency_key: A UUID, the same for repetitions of this order.
        tag: ``certctl:<certificate id>:<order id>``: put it where the vendor lets one search.
        previous: The certificate that this one replaces.
        requester: Who asked, a label for vendors that record it.
    """

    csr_der: bytes
    csr_pem: str
    common_name: str = ""
    subject: str = ""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    other_names: tuple[tuple[str, bytes], ...] = ()
    ekus: tuple[str, ...] = ("serverAuth",)
    key_usages: tuple[str, ...] = ()
    max_ttl: timedelta | None = None
    not_after: datetime | None = None
    must_staple: bool = False
    short_lived: bool = False
    include_aia: bool = True
    include_cdp: bool = True
    profile_hint: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str
    tag: str
    previous: CertRef | None = None
    requester: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRef:
    """A vendor order, enough to find it after a restart.

    Attributes:
        vendor_ref: What ``Pending`` returned; empty when the answer to ``submit`` was lost.
        tag: As in the request.
        idempotency_key: As in the request.
        csr_der: The request's CSR.
        submitted_at: When it was sent.
    """

    vendor_ref: str = ""
    tag: str = ""
    idempotency_key: str = ""
    csr_der: bytes = b""
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate as the vendor gave it; the core orders and verifies it.

    Attributes:
        leaf: The end-entity certificate, one PEM block.
        chain: Further certificates, one PEM block each, in any order, duplicates and root allowed.
        vendor_ref: How the vendor names it; needed with ``Cap.ASYNC``.
    """

    leaf: str
    chain: tuple[str, ...] = ()
    vendor_ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The vendor has the order and answers later.

    Attributes:
        vendor_ref: How the vendor names it; never empty.
        retry_after: When to ask again, if the vendor says; the core's backoff otherwise.
        needs_action: A person must do something (validate a domain, approve).
        message: What, or the vendor's status; at most 500 characters.
    """

    vendor_ref: str
    retry_after: timedelta | None = None
    needs_action: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The vendor considers the certificate revoked; ``already`` if it did so before."""

    already: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokePending:
    """The vendor wants an approval first; ``vendor_ref`` names the request."""

    vendor_ref: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalWindow:
    """When the CA wants the certificate renewed (RFC 9773 §4.2).

    Attributes:
        start: Start of the suggested window.
        end: Its end, after ``start``.
        explanation_url: Why, if the CA says.
        retry_after: When to ask again.
    """

    start: datetime
    end: datetime
    explanation_url: str = ""
    retry_after: timedelta | None = None


class SetupKind(StrEnum):
    """What the operator has to put in place."""

    DNS = "dns"
    IAM = "iam"
    COMMAND = "command"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupItem:
    """One thing that the operator must prepare at the vendor or in DNS."""

    kind: SetupKind
    title: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a field with ``choices_from``."""

    value: str
    label: str = ""


class IssuerContext(PluginContext, Protocol):
    """``self.ctx`` of an issuer; nothing beyond ``PluginContext`` so far."""


class Issuer(Plugin):
    """An issuer kind. One instance per configured issuer, shared by threads.

    Only ``test`` and ``submit`` are mandatory; an optional ability is declared in
    ``capabilities`` *and* implemented. Every method may raise the errors of
    ``certctl_core.contracts.errors`` and nothing else; the guard turns the rest into
    ``PluginFailed``. No method sleeps, retries or starts a thread.

    Attributes:
        capabilities: What the kind can do at best.
        revocation_reasons: Vendor words for reasons; a reason that is missing is refused by the
            core when the mapping is not empty. Empty means that all eight work.
        reject_extra_sans: False for CAs that add names (``www.``) on their own.

    Args:
        config: The validated configuration, references resolved.
        ctx: The context of this instance.
    """

    capabilities: ClassVar[frozenset[Cap]] = frozenset()
    revocation_reasons: ClassVar[Mapping[Reason, str]] = {}
    reject_extra_sans: ClassVar[bool] = True

    def __init__(self, config: PluginConfig, ctx: IssuerContext) -> None:
        self.config = config
        self.ctx = ctx

    def effective_capabilities(self) -> frozenset[Cap]:
        """What this instance can do: ``capabilities`` or less, decided without any call."""
        return self.capabilities

    @abstractmethod
    def test(self) -> CheckReport:
        """Look at everything an order needs, without side effect at the CA.

        Called when an operator tests or saves. Makes at least one authenticated call where the
        vendor has one. Checks are named ``reachable``, ``tls_trust``, ``authentication``,
        ``authorisation``, then what must exist (``profile``, ``product`` …), ``clock``.

        Returns:
            The checks in order. A failure may also be raised; it becomes a failed check.
        """

    @abstractmethod
    def submit(self, req: IssueRequest) -> Issued | Pending:
        """Send exactly one order.

        Called outside any transaction, after the intent was recorded. Blocks at most 60 seconds.

        Returns:
            ``Issued``, or ``Pending`` (only with ``Cap.ASYNC``).

        Raises:
            RequestRejected: The vendor refuses the order.
            RequestNotValid: It cannot be expressed here.
            UpstreamError: Anything else; after ``UpstreamTimeout`` the order is in doubt.
        """

    def poll(self, order: OrderRef) -> Issued | Pending:
        """Ask once how an order stands; idempotent, at most 30 seconds, never loops.

        Called with ``Cap.ASYNC`` until it is issued or failed; the core owns the pace.

        Raises:
            OrderFailed: It will never be issued.
        """
        raise OperationNotSupported(operation="poll")

    def find(self, order: OrderRef) -> Issued | Pending | None:
        """Look an order up by our tag, because the answer to ``submit`` was lost.

        Returns:
            The order, or None when it surely does not exist over there.
        """
        raise OperationNotSupported(operation="find")

    def cancel(self, order: OrderRef) -> None:
        """Withdraw a pending order; withdrawing twice is fine."""
        raise OperationNotSupported(operation="cancel")

    def revoke(self, cert: CertRef, reason: Reason) -> Revoked | RevokePending:
        """Revoke a certificate; needs ``Cap.REVOKE``. Idempotent.

        Returns:
            ``Revoked(already=True)`` when it was revoked before; ``RevokePending`` when the vendor
            wants an approval.
        """
        raise OperationNotSupported(operation="revoke")

    def poll_revocation(self, vendor_ref: str) -> Revoked | RevokePending:
        """Ask once how a pending revocation stands."""
        raise OperationNotSupported(operation="poll_revocation")

    def unhold(self, cert: CertRef) -> None:
        """Take a certificate off hold; needs ``Cap.HOLD``."""
        raise OperationNotSupported(operation="unhold")

    def renew(self, req: IssueRequest, previous: CertRef) -> Issued | Pending:
        """Order a successor; for vendors with their own renew, reissue or replace calls."""
        del previous
        return self.submit(req)

    def renewal_info(self, cert: CertRef) -> RenewalWindow | None:
        """When the CA wants it renewed; needs ``Cap.RENEWAL_INFO``. None: it does not say."""
        raise OperationNotSupported(operation="renewal_info")

    def ca_chain(self) -> list[str]:
        """The CA certificates, one PEM block each: the issuing one first, the root last if known.

        Needs ``Cap.CA_CHAIN``.
        """
        raise OperationNotSupported(operation="ca_chain")

    def validate_request(self, req: IssueRequest) -> Sequence[FieldError]:
        """Look at a request offline, before any order is placed.

        Returns:
            What is wrong, by names of attributes of ``IssueRequest``; empty when it fits.
        """
        del req
        return ()

    def setup_info(self) -> Sequence[SetupItem]:
        """What the operator must put in place; computed from the configuration."""
        return ()

    def open(self) -> None:
        """Called once before the first use."""

    def close(self) -> None:
        """Called on delete, disable, replace and shutdown; at most 10 seconds.

        Leaves no thread, socket or file behind.
        """

    def tick(self) -> timedelta | None:
        """A background duty (renewing a token), run under a lease of the instance.

        Returns:
            When to run again, clamped to 5 seconds … 24 hours; None ends it. Raising means retry
            with backoff.
        """
        return None


@hookspec
def certctl_issuers() -> list[type[Issuer]]:  # type: ignore[empty-body] # a specification
    """Register issuer kinds.

    Called once at start, each implementation on its own; all results count. Return the classes; do
    not build, read or call anything. An exception makes this plugin's kinds unavailable.
    """


def public_facts(request: IssueRequest) -> dict[str, JSON]:
    """The request without the CSR, for logs and order rows."""
    return {
        "common_name": request.common_name,
        "dns_names": list(request.dns_names),
        "ip_addresses": list(request.ip_addresses),
        "emails": list(request.emails),
        "uris": list(request.uris),
        "ekus": list(request.ekus),
        "tag": request.tag,
    }


_IMPLEMENTED_BY = {
    Cap.REVOKE: "revoke",
    Cap.ASYNC: "poll",
    Cap.CA_CHAIN: "ca_chain",
    Cap.RENEWAL_INFO: "renewal_info",
    Cap.HOLD: "unhold",
}


def capability_gaps(issuer: type[Issuer]) -> tuple[str, ...]:
    """Declared capabilities without their method, and the other way round; empty when consistent."""
    gaps: list[str] = []
    for capability, method in _IMPLEMENTED_BY.items():
        has_method = getattr(issuer, method) is not getattr(Issuer, method)
        if capability in issuer.capabilities and not has_method:
            gaps.append(f"declares {capability} but has no {method}()")
        if has_method and capability not in issuer.capabilities:
            gaps.append(f"has {method}() but does not declare {capability}")
    return tuple(gaps)


def unsupported_needs(
    request: IssueRequest, capabilities: frozenset[Cap]
) -> tuple[FieldError, ...]:
    """What a request needs and an issuer cannot do (spec 06 §2.2); nothing is dropped silently."""
    needs = (
        (Cap.IP_SAN, "ip_addresses", bool(request.ip_addresses)),
        (Cap.EMAIL_SAN, "emails", bool(request.emails)),
        (Cap.URI_SAN, "uris", bool(request.uris)),
        (Cap.OTHER_NAME, "other_names", bool(request.other_names)),
        (Cap.WILDCARD, "dns_names", any(name.startswith("*.") for name in request.dns_names)),
        (Cap.MUST_STAPLE, "must_staple", request.must_staple),
        (Cap.NO_CN, "common_name", not request.common_name),
        (Cap.EKU, "ekus", set(request.ekus) != {"serverAuth"}),
    )
    return tuple(
        FieldError(field=field_name, message=f"needs {need}, which this issuer does not offer")
        for need, field_name, wanted in needs
        if wanted and need not in capabilities
    )
