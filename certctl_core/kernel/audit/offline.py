"""Checking an export without the server: pure functions over a file, a checkpoint and a key."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Iterable, Sequence
from typing import Any

from certctl_core.kernel.audit.errors import BadExport
from certctl_core.kernel.audit.merkle import HASH_BYTES, Frontier, decompose, is_consistent
from certctl_core.kernel.audit.notes import Checkpoint, NoteVerifier, is_signed, peek
from certctl_core.kernel.audit.rules import EVENT_FIELDS, hash_of_event
from certctl_core.values import dataclass

MAX_LINE = 4 * 1024 * 1024
"""Characters; an event is a few hundred, a gap of any length a few thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineReport:
    """What a verified export contains.

    Attributes:
        rows: Events in the file, each proven to be in the log at its ``seq``.
        tree_size: Leaves of the checkpoint that the file leads to.
        is_truncated: The server stopped at its row limit; the file says so itself.
    """

    rows: int
    first_seq: int | None
    last_seq: int | None
    origin: str
    tree_size: int
    is_truncated: bool


def verify_export(
    lines: Iterable[str | bytes],
    checkpoint: str | None,
    key: str,
    *,
    consistency: Sequence[bytes] = (),
) -> OfflineReport:
    """Prove that every event of an NDJSON export is in the log, unchanged and in its place.

    Args:
        lines: The file.
        checkpoint: A signed note from another source, e.g. one that was kept outside; None takes
            the one in the trailer.
        key: The log's verifier key. An earlier one will do: the file holds the checkpoints by which
            one key handed over to the next, signed by both.
        consistency: If ``checkpoint`` is of another tree size than the file's: the proof between
            the two.

    Raises:
        BadExport: The file is malformed, incomplete or altered; ``line`` or ``seq`` say where.
        BadNote: The checkpoint or the key is malformed, or the signature is wrong.
    """
    first = NoteVerifier.parse(key)
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        reader.take(number, line)
    if reader.trailer is None:
        raise BadExport(reason="the trailer is missing; the file is cut off", line=None)
    own = reader.trailer.get("checkpoint")
    if not isinstance(own, str):
        raise BadExport(reason="it has no checkpoint", line=None)
    keys = _Keys(first, reader.trailer.get("rotations", []))
    stated = keys.checkpoint(own)
    root = reader.edge.root()
    if stated.tree_size != reader.edge.size or not hmac.compare_digest(root, stated.root_hash):
        raise BadExport(reason="the events do not lead to the checkpoint", line=None)
    if checkpoint is not None:
        _compare(stated, keys.checkpoint(checkpoint), consistency)
    if reader.trailer.get("rows") != reader.rows:
        raise BadExport(reason="the number of events differs from the trailer", line=None)
    return OfflineReport(
        rows=reader.rows,
        first_seq=reader.first,
        last_seq=reader.last,
        origin=stated.origin,
        tree_size=stated.tree_size,
        is_truncated=bool(reader.trailer.get("truncated")),
    )


class _Keys:
    """The keys that lead on from a trusted one, each with the size from which on it signs.

    Args:
        first: The trusted key.
        rotations: From the trailer: objects with ``key`` and ``checkpoint``, in order.
    """

    def __init__(self, first: NoteVerifier, rotations: object) -> None:
        self._chain = [(0, first)]
        for item in rotations if isinstance(rotations, list) else []:
            if not isinstance(item, dict):
                raise BadExport(reason="a rotation of the key is malformed", line=None)
            key, note = str(item.get("key")), str(item.get("checkpoint"))
            if is_signed(note, by=self._chain[-1][1]):
                following = NoteVerifier.parse(key)
                self._chain.append((following.checkpoint(note).tree_size, following))

    def checkpoint(self, note: str) -> Checkpoint:
        """The checkpoint in a note, signed by the key of its time.

        Raises:
            BadNote: It is not.
        """
        size = peek(note).tree_size
        _, signer = [(since, key) for since, key in self._chain if since <= size][-1]
        return signer.checkpoint(note)


def _compare(stated: Checkpoint, anchor: Checkpoint, consistency: Sequence[bytes]) -> None:
    if stated.origin != anchor.origin:
        raise BadExport(reason="the checkpoint is of another log", line=None)
    small, large = sorted((stated, anchor), key=lambda point: point.tree_size)
    if small.tree_size == 0 or is_consistent(
        first=small.tree_size,
        second=large.tree_size,
        first_root=small.root_hash,
        second_root=large.root_hash,
        proof=consistency,
    ):
        return
    if small.tree_size != large.tree_size and not consistency:
        raise BadExport(
            reason=f"the checkpoint has {anchor.tree_size} leaves, the file {stated.tree_size}; "
            "a consistency proof between them is needed",
            line=None,
        )
    raise BadExport(reason="the file and the checkpoint contradict each other", line=None)


class _Reader:
    """Follows the lines of an export."""

    def __init__(self) -> None:
        self.edge = Frontier()
        self.rows = 0
        self.first: int | None = None
        self.last: int | None = None
        self.trailer: dict[str, Any] | None = None

    def take(self, number: int, line: str | bytes) -> None:
        if len(line) > MAX_LINE:
            raise BadExport(reason="a line is too long", line=number)
        if not line.strip():
            return
        if self.trailer is not None:
            raise BadExport(reason="there are lines after the trailer", line=number)
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadExport(reason="a line is not JSON", line=number) from error
        if not isinstance(value, dict):
            raise BadExport(reason="a line is not a JSON object", line=number)
        if "_trailer" in value:
            self.trailer = value["_trailer"] if isinstance(value["_trailer"], dict) else {}
        elif "_gap" in value:
            self._gap(number, value["_gap"])
        else:
            self._event(number, value)

    def _event(self, number: int, value: dict[str, Any]) -> None:
        missing = [name for name in EVENT_FIELDS if name not in value]
        if missing or set(value) - {*EVENT_FIELDS, "seq"}:
            raise BadExport(reason="an event has other members than expected", line=number)
        if value.get("seq") != self.edge.size:
            raise BadExport(
                reason=f"leaf {self.edge.size} is missing before this line",
                line=number,
                seq=self.edge.size,
            )
        try:
            leaf = hash_of_event(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadExport(reason="an event has no canonical form", line=number) from error
        self.edge.append(leaf)
        self.rows += 1
        self.first = value["seq"] if self.first is None else self.first
        self.last = value["seq"]

    def _gap(self, number: int, value: Any) -> None:
        low, high, texts = (
            (value.get("from"), value.get("to"), value.get("hashes"))
            if isinstance(value, dict)
            else (None, None, None)
        )
        if (
            not isinstance(low, int)
            or not isinstance(high, int)
            or not isinstance(texts, list)
            or low != self.edge.size
            or not low < high < 2**63
        ):
            raise BadExport(reason="a gap is malformed", line=number)
        nodes = list(decompose(low, high))
        if len(nodes) != len(texts):
            raise BadExport(reason="a gap has a wrong number of hashes", line=number)
        for (level, _), text in zip(nodes, texts, strict=True):
            self.edge.append(_hash(text, number), level)


def _hash(text: object, number: int) -> bytes:
    try:
        value = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != HASH_BYTES:
        raise BadExport(reason="a hash is malformed", line=number)
    return value
