"""Values of the revocation room."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from cryptography import x509

from certctl_core.pki.keys import SigningKey
from certctl_core.pki.reasons import CRLReason
from certctl_core.values import dataclass


class Scope(StrEnum):
    """Which versions of a certificate a revocation covers (02 REV-1)."""

    CURRENT = "current"
    ALL_UNEXPIRED = "all_unexpired"


class Trigger(StrEnum):
    """Why a CRL was generated."""

    TICK = "tick"
    FETCH = "fetch"
    REVOKE = "revoke"
    MANUAL = "manual"
    START = "start"


Buffer: TypeAlias = bytes | memoryview

COMPLETE = ""
"""The part of a CA key's revocation data that is all of it."""

DELTA = "delta"
"""The part that holds what is new since the older complete lists that are still valid."""

MAX_PARTITIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One of ``count`` equal shares of a CA key's certificates, by the end of the serial number.

    Attributes:
        count: A power of two up to 256, so that the last byte of a serial decides.
        index: From 0.
    """

    count: int
    index: int

    @property
    def name(self) -> str:
        """How paths and rows call it: ``16-3``."""
        return f"{self.count}-{self.index}"

    @property
    def endings(self) -> tuple[str, ...]:
        """The last two hex digits of the serial numbers inside."""
        return tuple(f"{byte:02x}" for byte in range(self.index, 256, self.count))

    def holds(self, serial: str) -> bool:
        """Whether the serial (canonical form) belongs here."""
        return int(serial[-2:], 16) % self.count == self.index

    @staticmethod
    def parse(name: str) -> Partition | None:
        """The partition of that name, or None."""
        count, _, index = name.partition("-")
        if not (count.isdecimal() and index.isdecimal() and len(name) <= len("256-255")):
            return None
        found = Partition(count=int(count), index=int(index))
        fits = 1 < found.count <= MAX_PARTITIONS and not found.count & (found.count - 1)
        return found if fits and found.index < found.count and found.name == name else None

    @staticmethod
    def all(count: int) -> tuple[Partition, ...]:
        """The partitions of a count; none for 0."""
        return tuple(Partition(count=count, index=index) for index in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLSettings:
    """What CRLs are made like.

    Attributes:
        validity: ``nextUpdate`` − ``thisUpdate``.
        keep_events: How long generation events are kept.
        partitions: How many lists each CA key publishes beside the complete one; 0 for none.
        delta_above: Entries from which on a delta list is published; 0 for never.
        export_dir: Where a copy of each new list is put, or None.
    """

    validity: timedelta = timedelta(hours=24)
    keep_events: timedelta = timedelta(days=90)
    partitions: int = 0
    delta_above: int = 0
    export_dir: Path | None = None


class CRLContent:
    """The bytes of a list in pieces: a list that grew shares the entries of the one before.

    Args:
        front: Everything before the first entry.
        body: Joined entries.
        back: Everything behind the last entry.
    """

    __slots__ = ("_der", "back", "body", "front")

    def __init__(
        self, front: Buffer, body: tuple[Buffer, ...], back: Buffer, *, der: bytes | None = None
    ) -> None:
        self.front = front
        self.body = body
        self.back = back
        self._der = der

    @staticmethod
    def of(der: bytes, start: int, stop: int) -> CRLContent:
        """A list as it was read, whose entries are between two places."""
        view = memoryview(der)
        return CRLContent(view[:start], (view[start:stop],), view[stop:], der=der)

    @property
    def pieces(self) -> tuple[Buffer, ...]:
        """All bytes in order."""
        return (self.front, *self.body, self.back)

    @property
    def size(self) -> int:
        """How many bytes."""
        return sum(map(len, self.pieces))

    @property
    def der(self) -> bytes:
        """All bytes in one; joined when somebody asks first, and then kept instead of pieces."""
        der = self._der
        if der is None:
            start = len(self.front)
            stop = start + sum(map(len, self.body))
            der = b"".join(self.pieces)
            view = memoryview(der)
            self.front, self.body, self.back = view[:start], (view[start:stop],), view[stop:]
            self._der = der
        return der


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCRL:
    """A CRL that may be served.

    Attributes:
        part: Empty for the complete list, ``delta``, or the name of a partition.
        content: The CertificateList.
        etag: Strong, quoted.
        watermark: The state of the revocation rows it was made from.
        token: Says whether the row is still the one that was read; empty where the engine cannot.
    """

    issuer_id: str
    ca_key_id: str
    part: str = COMPLETE
    content: CRLContent = field(repr=False)
    etag: str
    number: int
    this_update: datetime
    next_update: datetime
    revoked_count: int
    watermark: str
    token: str = ""

    @property
    def der(self) -> bytes:
        """The CertificateList in one piece."""
        return self.content.der

    def with_token(self, token: str) -> StoredCRL:
        """The same list as it stands in the row of that token."""
        return replace(self, token=token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Responder:
    """A delegated OCSP responder, verified and ready (02 RSP-3).

    Attributes:
        checked_at: Monotonic second of the last look at row and key.
        key_file: Inode, time and size of the key file at that look; None for a key in the row.
    """

    serial: str
    certificate: x509.Certificate
    key: SigningKey
    not_after: datetime
    key_path: str
    checked_at: float
    key_file: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedSerial:
    """When and why a serial was revoked."""

    revoked_at: datetime
    reason: CRLReason
