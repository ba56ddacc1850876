"""What a plugin is given: the context behind ``self.ctx`` (spec 06 §1.4).

Only protocols: a plugin is importable and testable with the fakes of ``certctl_core.testing``. There
is no database session, no other instance's data and no web framework in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from certctl_core.contracts.http import HttpFactory
from certctl_core.kernel.clock import Clock
from certctl_core.values import dataclass


class Logger(Protocol):
    """A structured log bound to the instance: a constant event name and fields, never a secret."""

    def debug(self, event: str, /, **fields: object) -> object:
        """Log at level debug."""
        ...

    def info(self, event: str, /, **fields: object) -> object:
        """Log at level info."""
        ...

    def warning(self, event: str, /, **fields: object) -> object:
        """Log at level warning."""
        ...

    def error(self, event: str, /, **fields: object) -> object:
        """Log at level error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A value of the state store with its version."""

    value: bytes
    version: int


class StateStore(Protocol):
    """``ctx.state``: a small encrypted store of this instance, shared by all processes.

    Survives restarts and edits of the configuration; removed with the instance. Keys are 1 to 128
    of ``[A-Za-z0-9._-]``, values up to 64 KiB.
    """

    def get(self, key: str) -> Stored | None:
        """Read a value, or None."""
        ...

    def put(self, key: str, value: bytes) -> int:
        """Write a value whatever was there; returns its new version."""
        ...

    def compare_and_set(self, key: str, value: bytes, *, version: int | None) -> bool:
        """Write only if the stored version is ``version`` (None: only if absent).

        Returns:
            False when somebody else was first; nothing is written then.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a value; absent is fine."""
        ...


class Locks(Protocol):
    """``ctx.lock``: leases that only one process holds at a time."""

    def __call__(
        self, name: str, ttl: timedelta, *, wait: timedelta = timedelta()
    ) -> AbstractContextManager[None]:
        """Hold a lease while inside ``with``.

        Args:
            name: Unique within the instance.
            ttl: After this long it is free again, even if the holder died.
            wait: How long to wait for it.

        Raises:
            LockBusy: Another process holds it.
        """
        ...


class PluginContext(Protocol):
    """What every configured instance gets.

    Attributes:
        instance_id: Id of the issuer, notifier, target … it belongs to.
        product: ``certctl/<version>``, for ``User-Agent``.
    """

    @property
    def instance_id(self) -> str:
        """Id of the row that this instance belongs to."""
        ...

    @property
    def product(self) -> str:
        """Name and version of this product, ``certctl/1.2.3``."""
        ...

    @property
    def http(self) -> HttpFactory:
        """Makes HTTP clients."""
        ...

    @property
    def clock(self) -> Clock:
        """The time; never take it from elsewhere."""
        ...

    @property
    def log(self) -> Logger:
        """The log of this instance."""
        ...

    @property
    def state(self) -> StateStore:
        """The store of this instance."""
        ...

    @property
    def lock(self) -> Locks:
        """Leases of this instance."""
        ...


class RecordType(StrEnum):
    """DNS record types that plugins ask for."""

    A = "A"
    AAAA = "AAAA"
    CAA = "CAA"
    CNAME = "CNAME"
    NS = "NS"
    SOA = "SOA"
    TXT = "TXT"


class DNSStatus(StrEnum):
    """How a lookup ended."""

    OK = "ok"
    NO_DATA = "no_data"
    NO_NAME = "no_name"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DNSAnswer:
    """The answer to one lookup.

    Attributes:
        status: ``FAILED`` covers SERVFAIL, REFUSED, time-outs and bad DNSSEC.
        records: Values in presentation form; a TXT record is its strings joined. Empty unless OK.
        canonical_name: The owner of ``records`` after CNAMEs, absolute without the last dot.
        server: Which resolver answered, for the record.
    """

    status: DNSStatus
    records: tuple[str, ...] = ()
    canonical_name: str = ""
    server: str = ""


class Resolver(Protocol):
    """A DNS resolver. Names are absolute: no search domains."""

    def resolve(
        self, name: str, record_type: RecordType, *, servers: Sequence[str] = (), timeout: float = 5
    ) -> DNSAnswer:
        """Look one name up; never raises for what DNS answers.

        Args:
            name: DNS name in A-labels.
            record_type: What to look for; CNAMEs are followed, up to 8.
            servers: Addresses to ask instead of the configured resolvers.
            timeout: Seconds for the whole lookup.
        """
        ...
