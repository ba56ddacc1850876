"""The contract of an identity provider: who signs in (spec 05 §18).

The core owns users, role mapping, sessions, cookies, state, CSRF, rate limits, transactions and
audit; a provider only turns a protocol exchange into an ``ExternalIdentity``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias

from certctl_core.contracts.checks import Check, CheckReport
from certctl_core.contracts.context import Logger
from certctl_core.contracts.errors import PluginError
from certctl_core.contracts.http import Headers, HttpFactory
from certctl_core.contracts.options import PluginConfig
from certctl_core.contracts.plugin import hookspec
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.errors import ErrorKind
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Secret
from certctl_core.values import dataclass

__all__ = [
    "Allow",
    "Begin",
    "BeginRequest",
    "Capability",
    "Check",
    "CheckReport",
    "Credential",
    "Deny",
    "ExternalIdentity",
    "Flow",
    "Group",
    "IDPContext",
    "IdentityCategory",
    "IdentityError",
    "IdentityProvider",
    "IdentityProviderType",
    "LoginDecision",
    "LogoutNotice",
    "RawRequest",
    "RequestView",
    "SessionView",
    "StepUp",
    "Transaction",
    "URLs",
    "certctl_authorize_login",
    "certctl_identity_provider_types",
]

CALL_BUDGET = timedelta(seconds=30)
MAX_SUBJECT = 255


class Flow(StrEnum):
    """How a sign-in travels."""

    REDIRECT = "redirect"
    FORM_POST = "form_post"
    CREDENTIAL = "credential"
    REQUEST = "request"


class Capability(StrEnum):
    """What a provider kind can do beyond signing in."""

    RP_LOGOUT = "RP_LOGOUT"
    BACKCHANNEL = "BACKCHANNEL"
    FRONTCHANNEL = "FRONTCHANNEL"
    METADATA = "METADATA"
    REFRESH = "REFRESH"
    TEST = "TEST"
    GROUPS = "GROUPS"


class IdentityCategory(StrEnum):
    """Why a sign-in failed: the closed list of spec 05 §6.4 and §18, used in audit and metrics."""

    IDP_UNREACHABLE = "idp_unreachable"
    ALG_DOWNGRADE = "alg_downgrade"
    ACCESS_DENIED = "access_denied"
    STATE_MISMATCH = "state_mismatch"
    ISS_PARAM_MISSING = "iss_param_missing"
    ISS_PARAM_MISMATCH = "iss_param_mismatch"
    CODE_EXCHANGE_FAILED = "code_exchange_failed"
    ALG_REJECTED = "alg_rejected"
    JWKS_UNREACHABLE = "jwks_unreachable"
    SIGNATURE_INVALID = "signature_invalid"
    ID_TOKEN_ISS_MISMATCH = "id_token_iss_mismatch"  # noqa: S105 - a category
    AUDIENCE_MISMATCH = "audience_mismatch"
    AZP_MISMATCH = "azp_mismatch"
    AT_HASH_MISMATCH = "at_hash_mismatch"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a category
    IAT_WINDOW = "iat_window"
    NONCE_MISMATCH = "nonce_mismatch"
    CLAIM_MISMATCH = "claim_mismatch"
    EMAIL_DOMAIN_NOT_ALLOWED = "email_domain_not_allowed"
    EMAIL_MISSING_BUT_REQUIRED = "email_missing_but_required"
    EMAIL_UNVERIFIED = "email_unverified"
    GROUPS_MISSING = "groups_missing"
    GROUPS_OVERAGE = "groups_overage"
    REPLAY = "replay"
    CREDENTIAL_INVALID = "credential_invalid"
    ASSERTION_INVALID = "assertion_invalid"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    PLUGIN_ERROR = "plugin_error"


class IdentityError(PluginError):
    """A sign-in that does not succeed.

    Args:
        category: Why, for audit and metrics; the browser sees one constant sentence.
        public_hint: A sentence that may be shown to the person, e.g. whom to ask.
        audit_details: What the audit row should hold; no token, no password.
    """

    code = "login_failed"
    kind = ErrorKind.UNAUTHENTICATED
    text = "Signing in failed."

    def __init__(
        self,
        category: IdentityCategory,
        *,
        public_hint: str = "",
        audit_details: Mapping[str, JSON] | None = None,
    ) -> None:
        self.category = category
        self.public_hint = public_hint
        self.audit_details: dict[str, JSON] = dict(audit_details or {})
        super().__init__(log={"category": category.value, **self.audit_details})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of the person over there: a stable id and, if known, a name."""

    id: str
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentity:
    """Who signed in, as the provider vouches.

    Attributes:
        subject: Stable and unique within the provider, at most 255 characters.
        subject_stable: False where the provider may reuse it; such a person is matched anew.
        email / email_verified: As the provider says.
        display_name / username: For display.
        groups: Groups used for role mapping.
        groups_complete: False when the provider left some out: grants are then not taken away.
        idp_session_id: For log-out notices.
        auth_time: When the person really authenticated.
        amr / acr: How.
        max_session: Longest session the provider permits.
        logout_hint: For RP-initiated log-out; sealed.
        evidence: What the audit row may hold.
    """

    subject: str
    subject_stable: bool = True
    email: str | None = None
    email_verified: bool | None = None
    display_name: str | None = None
    username: str | None = None
    groups: tuple[Group, ...] = ()
    groups_complete: bool = True
    idp_session_id: str | None = None
    auth_time: datetime | None = None
    amr: tuple[str, ...] = ()
    acr: str | None = None
    max_session: timedelta | None = None
    logout_hint: Secret | None = None
    evidence: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginRequest:
    """The start of a sign-in.

    Attributes:
        state: Made by the core; the provider passes it through.
        callback_url: Where the answer must arrive.
        prompt_login: The person must authenticate again.
        acr: Demanded by a step-up; empty if none.
        login_hint: A name to offer; empty if none.
    """

    state: str
    callback_url: str
    prompt_login: bool = False
    acr: str = ""
    login_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Where to send the browser.

    Attributes:
        redirect_url: To redirect to; or
        form_action / form_fields: a form that submits itself.
        private: What ``complete`` needs again (verifier, nonce); sealed meanwhile.
    """

    redirect_url: str = ""
    form_action: str = ""
    form_fields: tuple[tuple[str, str], ...] = ()
    private: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A started sign-in, consumed once; its binding to the browser has been checked."""

    state: str
    created_at: datetime
    private: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """What the browser or the provider sent, unverified. ``form`` is empty for GET."""

    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    client_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """A request in the ``request`` flow: headers that the trusted proxy set, its TLS peer."""

    headers: Headers
    peer_ip: str
    client_certificate_der: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A name and a password; the password is never empty."""

    username: str
    password: Secret
    client_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """The session that ends, for RP-initiated log-out."""

    subject: str
    idp_session_id: str | None = None
    logout_hint: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutNotice:
    """A verified notice that a person or session ended over there.

    Attributes:
        subject / idp_session_id: Whose; at least one is set.
        unique_id: Replay key; the core accepts it once.
        issued_at: When it was made.
    """

    subject: str | None = None
    idp_session_id: str | None = None
    unique_id: str
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class URLs:
    """Where this provider is reached at our side; absolute."""

    callback: str
    acs: str
    metadata: str
    logout: str


class IDPContext(Protocol):
    """What a provider is given."""

    @property
    def http(self) -> HttpFactory:
        """Makes HTTP clients behind the egress policy."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def log(self) -> Logger:
        """A redacting log."""
        ...

    @property
    def urls(self) -> URLs:
        """Our addresses for this provider."""
        ...

    def random(self, size: int) -> bytes:
        """Random bytes."""
        ...

    def consume_once(self, key: str, ttl: timedelta) -> bool:
        """Whether ``key`` is seen for the first time within ``ttl``, over all processes."""
        ...

    def cache_get(self, key: str) -> bytes | None:
        """Read from a small shared cache of this provider."""
        ...

    def cache_put(self, key: str, value: bytes, ttl: timedelta) -> None:
        """Write to it."""
        ...


class IdentityProvider(Protocol):
    """One configured provider. A kind implements what its flow and capabilities need.

    All methods raise ``IdentityError`` or the errors of ``certctl_core.contracts.errors``.
    """

    def check(self) -> CheckReport:
        """A dry run without side effects."""
        ...

    def begin(self, req: BeginRequest) -> Begin:
        """Start a sign-in (flows redirect and form_post)."""
        ...

    def complete(self, req: RawRequest, tx: Transaction) -> ExternalIdentity:
        """Verify the answer; called after the core consumed the transaction."""
        ...

    def authenticate(self, cred: Credential) -> ExternalIdentity:
        """Verify a name and password (flow credential)."""
        ...

    def identify(self, req: RequestView) -> ExternalIdentity | None:
        """Recognise the person from the request itself (flow request); None: nobody."""
        ...

    def logout_url(self, session: SessionView, return_to: str) -> str | None:
        """Where to send the browser to end the session over there (``RP_LOGOUT``)."""
        ...

    def logout_notice(self, req: RawRequest) -> LogoutNotice:
        """Verify a back- or front-channel notice."""
        ...

    def metadata(self) -> tuple[str, bytes] | None:
        """Media type and bytes of our metadata (``METADATA``)."""
        ...

    def refresh(self) -> None:
        """Fetch keys and metadata of the other side again (``REFRESH``)."""
        ...

    def status(self) -> dict[str, JSON]:
        """What an operator sees: key ages, last errors. No secret."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProviderType:
    """The manifest of a provider kind.

    Attributes:
        kind: ``oidc``, ``saml``, ``ldap`` …
        api_version: The contract's version, 1.
        title: The name a person reads.
        config_model: The configuration.
        flow: How a sign-in travels.
        capabilities: What it can do besides.
        create: ``create(config, ctx)`` makes a provider; it calls nothing.
    """

    kind: str
    api_version: int
    title: str
    config_model: type[PluginConfig]
    flow: Flow
    capabilities: frozenset[Capability] = frozenset()
    create: Callable[[PluginConfig, IDPContext], IdentityProvider]


@dataclass(frozen=True, slots=True)
class Allow:
    """The sign-in may go on."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The sign-in ends; ``reason`` goes to the audit log."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepUp:
    """The person must authenticate again with this ``acr``."""

    acr: str


LoginDecision: TypeAlias = Allow | Deny | StepUp


@hookspec
def certctl_identity_provider_types() -> list[IdentityProviderType]:  # type: ignore[empty-body]
    """Register identity-provider kinds.

    Called once at start, each implementation on its own; all results count.
    """


@hookspec
def certctl_authorize_login(identity: ExternalIdentity, request: RequestView) -> LoginDecision:  # type: ignore[empty-body]
    """Decide about a sign-in after its roles are known (conditional access, spec 05 IDP-11).

    Called for each sign-in, implementation by implementation; the first ``Deny`` or ``StepUp``
    wins. None means no opinion. An exception denies.

    Args:
        identity: Who signs in.
        request: The request it came with.
    """
