"""The contracts of challenge validators: ACME proofs and SCEP challenge passwords (03 §12, 04 §8).

ACME validators run in workers outside any transaction; the core owns the queue, retries, CAA and
the egress policy. SCEP validators decide whether a challenge password is good for a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Protocol

from certctl_core.contracts.context import Logger, PluginContext, Resolver
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import Plugin, hookspec
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass

__all__ = [
    "ACMEChallengeContext",
    "ACMEChallengeValidator",
    "ComplianceClaim",
    "Connector",
    "DeviceCompliance",
    "IdentifierType",
    "SCEPChallenge",
    "SCEPChallengeValidator",
    "SCEPVerdict",
    "SCEPVerdictLabel",
    "ValidationFailure",
    "ValidationResult",
    "certctl_acme_challenge_validators",
    "certctl_device_compliance",
    "certctl_scep_challenge_validators",
]

VALIDATION_BUDGET = timedelta(seconds=60)
MAX_DETAIL = 512


class IdentifierType(StrEnum):
    """ACME identifier types."""

    DNS = "dns"
    IP = "ip"


class ValidationFailure(StrEnum):
    """Why a proof failed, by its ACME error (RFC 8555 §6.7)."""

    CONNECTION = "connection"
    DNS = "dns"
    TLS = "tls"
    INCORRECT_RESPONSE = "incorrectResponse"
    UNAUTHORIZED = "unauthorized"
    SERVER_INTERNAL = "serverInternal"

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may succeed (spec 03 ACME-92)."""
        return self in {self.CONNECTION, self.DNS, self.TLS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """How one attempt ended.

    Attributes:
        failure: None for success.
        detail: For the client: at most 512 characters, at most 100 of them quoted from the remote.
        record: For administrators: addresses, resolver, redirects. JSON.
    """

    failure: ValidationFailure | None = None
    detail: str = ""
    record: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the proof holds."""
        return self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What came back over a validation connection.

    Attributes:
        address: The address that was connected to.
        status: HTTP status; 0 for TLS only.
        body: HTTP content, limited.
        redirects: URLs on the way.
        certificate_der: The peer's leaf for TLS.
        alpn: The negotiated protocol for TLS.
    """

    address: str
    status: int = 0
    body: bytes = b""
    redirects: tuple[str, ...] = ()
    certificate_der: bytes = b""
    alpn: str = ""


class Connector(Protocol):
    """Outbound connections of validators, behind the egress policy (spec 03 §12.5)."""

    def http_get(self, url: str, *, max_body: int, max_redirects: int = 10) -> Exchange:
        """GET as http-01 does: ports 80 and 443 only, TLS of redirects not verified.

        Raises:
            UpstreamUnavailable: No connection; the reason tells connection, DNS and time-out.
            ConfigError: No address is permitted by policy.
        """
        ...

    def tls(self, host: str, *, port: int, server_name: str, alpn: Sequence[str]) -> Exchange:
        """A TLS handshake whose chain is not verified.

        Raises:
            UpstreamUnavailable: As ``http_get``.
            TrustError: The handshake failed.
            ConfigError: No address is permitted by policy.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ACMEChallengeContext:
    """One challenge to be validated, and the means.

    Attributes:
        identifier_type: dns or ip.
        identifier: Without ``*.``; A-labels, lower case.
        is_wildcard: The authorization is for ``*.identifier``.
        token: The challenge's token.
        key_authorization: RFC 8555 §8.1.
        account_url: Of the account that asks.
        resolver / connect / clock / log: The means.
    """

    identifier_type: IdentifierType
    identifier: str
    is_wildcard: bool
    token: str
    key_authorization: str
    account_url: str
    resolver: Resolver
    connect: Connector
    clock: Clock
    log: Logger


class ACMEChallengeValidator(ABC):
    """A validator of one challenge type; built once without arguments, safe for threads.

    Attributes:
        kind: The challenge type (``http-01``).
        api_version: 1.
        title: The name a person reads.
        identifier_types: What it can prove.
        supports_wildcard: Whether it proves ``*.`` names.
    """

    kind: ClassVar[str]
    api_version: ClassVar[int]
    title: ClassVar[str]
    identifier_types: ClassVar[frozenset[IdentifierType]]
    supports_wildcard: ClassVar[bool] = False

    @abstractmethod
    def validate(self, ctx: ACMEChallengeContext) -> ValidationResult:
        """Make one attempt, at most 60 seconds; a failed proof is a result, not an exception."""

    def decorate_challenge(self, challenge: dict[str, JSON]) -> None:  # noqa: B027 - optional
        """Add members to the challenge object of the wire (``dns-persist-01`` needs some)."""


@hookspec
def certctl_acme_challenge_validators() -> list[type[ACMEChallengeValidator]]:  # type: ignore[empty-body]
    """Register ACME challenge types.

    Called once at start, each implementation on its own; all results count, one per type.
    """


class SCEPVerdictLabel(StrEnum):
    """The counter that a verdict is counted under (spec 04 §8)."""

    SUCCESS = "success"
    SIGNATURE_INVALID = "signature_invalid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_AUDIENCE = "wrong_audience"
    REPLAY = "replay"
    UNKNOWN_VERSION = "unknown_version"
    MALFORMED = "malformed"
    RATE_LIMITED = "rate_limited"
    CLAIM_MISMATCH = "claim_mismatch"
    COMPLIANCE_FAILED = "compliance_failed"
    UPSTREAM_ERROR = "upstream_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class SCEPChallenge:
    """A challenge password with the request it came in.

    Attributes:
        label: The SCEP profile.
        transaction_id: Of the PKCS message.
        password: What the device sent.
        csr_der: The decrypted PKCS#10 request.
        client_ip: The device's address.
    """

    label: str
    transaction_id: str
    password: Secret
    csr_der: bytes
    client_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceClaim:
    """A device as its management system names it.

    Attributes:
        device: Device id or user principal name.
        source: Who vouches for it (issuer of the challenge).
        facts: Further claims.
    """

    device: str
    source: str
    facts: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SCEPVerdict:
    """Whether a challenge password is good.

    Attributes:
        label: ``SUCCESS`` or the reason.
        detail: For the audit row.
        claim: The device, for the compliance check.
        replay_key / replay_ttl: Must be unseen for that long; the core stores it.
        limit_key: Counts against the per-device limit.
    """

    label: SCEPVerdictLabel
    detail: str = ""
    claim: ComplianceClaim | None = None
    replay_key: str = ""
    replay_ttl: timedelta = timedelta()
    limit_key: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is."""
        return self.label is SCEPVerdictLabel.SUCCESS


class SCEPChallengeValidator(Plugin):
    """A kind of SCEP challenge. One instance per label; safe for threads.

    Args:
        config: The validated configuration of this label.
        ctx: The context.
    """

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def claims(self, challenge: SCEPChallenge) -> bool:
        """Whether this validator is the one to judge the password; pure, no call."""

    @abstractmethod
    def check(self, challenge: SCEPChallenge) -> SCEPVerdict:
        """Judge it; at most 30 seconds. A refusal is a verdict, not an exception."""

    def issued(self, challenge: SCEPChallenge, certificate_der: bytes) -> None:
        """Told after the certificate exists; failures are retried, never undo issuance."""

    def failed(self, challenge: SCEPChallenge, reason: str) -> None:
        """Told when the enrollment failed after a good verdict."""


@hookspec
def certctl_scep_challenge_validators() -> list[type[SCEPChallengeValidator]]:  # type: ignore[empty-body]
    """Register kinds of SCEP challenges.

    Called once at start, each implementation on its own; all results count.
    """


class DeviceCompliance(Plugin):
    """Asks a device-management system whether a device may have a certificate.

    Args:
        config: The validated configuration.
        ctx: The context.
    """

    def __init__(self, config: PluginConfig, ctx: PluginContext) -> None:
        self.config = config
        self.ctx = ctx

    @abstractmethod
    def check(self, claim: ComplianceClaim) -> tuple[bool, str]:
        """Whether the device complies, and why not; at most 30 seconds.

        Every registered check is asked in turn; the first refusal wins, an exception refuses.
        """


@hookspec
def certctl_device_compliance() -> list[type[DeviceCompliance]]:  # type: ignore[empty-body]
    """Register device-compliance checks.

    Called once at start, each implementation on its own; all results count.
    """
