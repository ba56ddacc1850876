"""``Client``: the whole API of a server as methods."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from certctl_client.calls import Calls
from certctl_client.fleet import Agents, EnrollmentTokens, Jobs, Targets
from certctl_client.hierarchy import HierarchyCAs
from certctl_client.http import HTTP, MAX_ATTEMPTS
from certctl_client.lifecycle import (
    OCSP,
    BlockedKeyLists,
    BlockedKeys,
    CAs,
    Certificates,
    CRLs,
    Issuers,
    Profiles,
    Recovery,
    RenewalPolicies,
    TrustBundles,
)
from certctl_client.notices import NotificationRoutes, Notifiers
from certctl_client.people import APIKeys, Audit, Auth
from certctl_client.settings import ClientSettings, read_client_file

if TYPE_CHECKING:
    from certctl_client.types import Plugin, ServerVersion, SignerList, Summary


class Client(Calls):
    """A connection to one server, with one credential. Safe for threads; use it in a ``with``.

    The methods of the groups are the operations of the server's table; ``call`` runs any of them by
    name. Everything that may fail raises a ``CertctlError``: see ``certctl_client.errors``.

    Args:
        url: ``https://host[:port]``; plain http is refused.
        api_key: The bearer credential; None asks as nobody.
        ca_path: PEM file with the CA that the server is checked with; None uses the machine's.
        timeout_seconds: For each request.
        user_agent: Who asks, for the server's log.
        attempts: Tries of one request while the server answers 429 or 503.
        sleep: Waits between them.

    Raises:
        BadServerURL, CABundleUnusable: The arguments are not usable; nothing was sent.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        ca_path: Path | str | None = None,
        timeout_seconds: float = 30.0,
        user_agent: str = "certctl-client",
        attempts: int = MAX_ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            HTTP(
                url,
                api_key=api_key,
                ca_path=ca_path,
                timeout_seconds=timeout_seconds,
                user_agent=user_agent,
                attempts=attempts,
                sleep=sleep,
            )
        )
        self.certificates = Certificates(self)
        self.issuers = Issuers(self)
        self.profiles = Profiles(self)
        self.renewal_policies = RenewalPolicies(self)
        self.blocked_keys = BlockedKeys(self)
        self.blocked_key_lists = BlockedKeyLists(self)
        self.trust_bundles = TrustBundles(self)
        self.crls = CRLs(self)
        self.ocsp = OCSP(self)
        self.cas = CAs(self)
        self.hierarchy = HierarchyCAs(self)
        self.recovery = Recovery(self)
        self.jobs = Jobs(self)
        self.agents = Agents(self)
        self.enrollment_tokens = EnrollmentTokens(self)
        self.targets = Targets(self)
        self.notifiers = Notifiers(self)
        self.notification_routes = NotificationRoutes(self)
        self.api_keys = APIKeys(self)
        self.auth = Auth(self)
        self.audit = Audit(self)

    @classmethod
    def from_settings(cls, settings: ClientSettings, *, timeout_seconds: float = 30.0) -> Self:
        """Connect as ``settings`` say."""
        return cls(
            settings.url,
            api_key=settings.api_key,
            ca_path=settings.ca_path,
            timeout_seconds=timeout_seconds,
        )

    @classmethod
    def from_directory(cls, directory: Path | str) -> Self:
        """Connect to the server whose data directory this is.

        Raises:
            ClientFileUnusable: No readable ``client.toml`` in it.
        """
        return cls.from_settings(read_client_file(Path(directory)))

    def version(self) -> ServerVersion:
        """The server's release; needs no credential."""
        return cast("ServerVersion", self.call("version"))

    def plugins(self) -> list[Plugin]:
        """What is installed on the server, with the reason where something cannot be used."""
        return cast("list[Plugin]", self.call("plugins.list")["plugins"])

    def signers(self) -> SignerList:
        """The signers of the server, whether their keys can be had, and what each is used for."""
        return cast("SignerList", self.call("signers.list"))

    def summary(self) -> Summary:
        """The installation in numbers."""
        return cast("Summary", self.call("stats.summary"))

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the server takes traffic, and the document that says why not.

        Needs no credential; never waits for the server to become ready.
        """
        answer = self.http.send("GET", "/ready", accept={HTTPStatus.SERVICE_UNAVAILABLE})
        return answer.status == HTTPStatus.OK, cast("dict[str, Any]", answer.json())

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
