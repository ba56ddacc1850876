"""The one table of id prefixes, and the only place that makes an id (spec 01 API-04, API-05)."""

from __future__ import annotations

import os
import re
from datetime import datetime
from enum import StrEnum
from itertools import count

from certctl_core.kernel.errors import FieldError, Invalid

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
"""Two characters a look-up: an issuance makes ten ids."""
_units = count()
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Prefix(StrEnum):
    """Every id prefix of the product."""

    CERTIFICATE = "mc"
    VERSION = "cv"
    ISSUER = "iss"
    ORDER = "ord"
    TARGET = "tgt"
    AGENT = "ag"
    ENROLLMENT_TOKEN = "aet"  # noqa: S105 - a prefix
    AGENT_GROUP = "agr"
    PROFILE = "prof"
    RENEWAL_POLICY = "rp"
    POLICY_RULE = "pr"
    POLICY_VIOLATION = "pv"
    TEAM = "t"
    OWNER = "o"
    JOB = "job"
    BACKGROUND_OPERATION = "op"
    DEPLOYMENT = "dep"
    APPROVAL = "apr"
    NOTIFICATION = "ntf"
    DELIVERY = "nd"
    NOTIFICATION_ROUTE = "nr"
    NOTIFIER = "nfr"
    AUDIT_EVENT = "aud"
    DISCOVERY_SOURCE = "dsrc"
    DISCOVERY_SCAN = "ds"
    DISCOVERED_CERTIFICATE = "dc"
    NETWORK_SCAN_TARGET = "nst"
    HEALTH_CHECK = "hc"
    HEALTH_HISTORY = "hh"
    REVOCATION = "rev"
    INTERMEDIATE_CA = "ica"
    SCEP_PROBE = "spr"
    ENROLLMENT_TRANSACTION = "etx"
    SCEP_CHALLENGE = "sch"
    USER = "u"
    ROLE = "r"
    PERMISSION = "p"
    GRANT = "grt"
    API_KEY = "ak"
    IDENTITY_PROVIDER = "idp"
    GROUP_MAPPING = "grm"
    LOGIN_TRANSACTION = "pl"
    SESSION = "ses"
    SESSION_KEY = "sk"
    BREAKGLASS = "bg"
    REPLICA = "rep"


def next_tail() -> int:
    """What a unit of work counts on from: 79 bits, room is left above them.

    The first 20 bits number the units of a process, so that what happens in one millisecond sorts
    as it happened; 59 random ones tell processes, and copies of a process, apart.
    """
    return (next(_units) & 0xFFFFF) << 59 | int.from_bytes(os.urandom(8)) >> 5


def seeded_id(prefix: Prefix, name: str) -> str:
    """The fixed id of an object that the product itself brings: ``r-admin``, ``iss-local``."""
    return f"{prefix.value}-{name}"


def new_id(prefix: Prefix, *, at: datetime, tail: int | None = None) -> str:
    """Make a fresh id: ``<prefix>-<ULID in lower case>``; ids made later sort later.

    Args:
        prefix: Which kind of object the id names.
        at: The current time from the injected clock; its milliseconds lead the ULID.
        tail: The 80 bits after the time; `next_tail` if None. A unit of work counts on from its
            own, so that its ids keep their order within the millisecond.
    """
    value = (int(at.timestamp() * 1000) << 80) | (next_tail() if tail is None else tail)
    text = "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -10, -10)])
    return f"{prefix.value}-{text}"


def is_id(value: str) -> bool:
    """Whether ``value`` may be an id: 1–128 of ``[A-Za-z0-9._-]``, never ``.`` or ``..``."""
    return bool(_ID.fullmatch(value)) and value not in {".", ".."}


def parse_id(value: str, *, field: str = "id") -> str:
    """Return ``value`` if it may be an id.

    Raises:
        Invalid: It has other characters, is empty or too long, or is ``.`` or ``..``.
    """
    if not is_id(value):
        message = "must be 1 to 128 characters of A-Z a-z 0-9 . _ -"
        raise Invalid(fields=[FieldError(field=field, message=message)])
    return value
