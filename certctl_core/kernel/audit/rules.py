"""Pure decisions of the audit log: what a leaf is made of, and what is kept of a person."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any

from certctl_core.kernel.audit.canonical import canonical, canonical_text
from certctl_core.kernel.audit.merkle import leaf_hash
from certctl_core.kernel.events import JSON, to_json

EVENT_FIELDS = (
    "id",
    "timestamp",
    "actor",
    "actor_type",
    "action",
    "event_category",
    "resource_type",
    "resource_id",
    "request_id",
    "details",
    "redacted_keys",
)
"""Every stored column of an event: all of them make the leaf (spec 05 AUD-21)."""
_PII = "[REDACTED:PII]"


def wire_time(moment: datetime) -> str:
    """RFC 3339 UTC with microseconds: one time, one text."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_json(columns: Mapping[str, object]) -> dict[str, JSON]:
    """An event's columns as JSON, as in an export and in its leaf."""
    event = {name: to_json(columns[name]) for name in EVENT_FIELDS if name != "timestamp"}
    timestamp = columns["timestamp"]
    event["timestamp"] = wire_time(timestamp) if isinstance(timestamp, datetime) else str(timestamp)
    return event


def hash_of_event(event: Mapping[str, JSON]) -> bytes:
    """The leaf hash of an event in its JSON form; members beyond the columns are left out."""
    return leaf_hash(canonical({name: event[name] for name in EVENT_FIELDS}))


def hash_of_row(row: Sequence[Any]) -> bytes:
    """``hash_of_event`` of a row of ``EVENT_FIELDS``: the same bytes, put together directly."""
    event_id, moment, actor, actor_type, action, category, kind, about, request, details, keys = row
    quoted = encode_basestring
    text = (
        f'{{"action":{quoted(action)},"actor":{quoted(actor)},"actor_type":{quoted(actor_type)},'
        f'"details":{canonical_text(details)},"event_category":{quoted(category)},'
        f'"id":{quoted(event_id)},"redacted_keys":{canonical_text(keys)},'
        f'"request_id":{quoted(request)},"resource_id":{quoted(about)},'
        f'"resource_type":{quoted(kind)},"timestamp":"{wire_time(moment)}"}}'
    )
    return leaf_hash(text.encode())


def hashed_pii(original: JSON, redacted: JSON, *, key: bytes) -> JSON:
    """The redacted value with a keyed hash in place of each piece of personal data.

    Equal data gets equal hashes, so that an investigation can follow a person without naming one.
    """
    if redacted == _PII and original != _PII:
        text = canonical(original)
        return "pii:" + hmac.new(key, text, hashlib.sha256).hexdigest()[:32]
    if isinstance(redacted, dict) and isinstance(original, dict):
        return {
            name: hashed_pii(original.get(name), item, key=key) for name, item in redacted.items()
        }
    if isinstance(redacted, list) and isinstance(original, list):
        pairs = zip(original, redacted, strict=True)
        return [hashed_pii(before, after, key=key) for before, after in pairs]
    return redacted
