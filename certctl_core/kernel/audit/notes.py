"""Checkpoints as C2SP signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from certctl_core.kernel.audit.errors import BadNote
from certctl_core.kernel.audit.merkle import HASH_BYTES
from certctl_core.values import dataclass

_ED25519 = b"\x01"
_ID_BYTES = 4
_KEY_BYTES = 32
_MAX_NOTE = 64 * 1024
"""Characters; a checkpoint has a few hundred, a note with many cosignatures a few thousand."""
_NAME = re.compile(r"[^\s+]{1,255}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DASH = "\N{EM DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint says: the log, its size and its root."""

    origin: str
    tree_size: int
    root_hash: bytes

    def body(self) -> str:
        """The note text, ending in a newline."""
        root = base64.b64encode(self.root_hash).decode()
        return f"{self.origin}\n{self.tree_size}\n{root}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteVerifier:
    """A public key with its name.

    Attributes:
        name: The key name; for a log it is its origin.
        public: The 32 bytes of the Ed25519 key.
    """

    name: str
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> NoteVerifier:
        """Read ``name+id+key`` (a verifier key).

        Raises:
            BadNote: It is malformed, or its id does not belong to its key.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, key = rest.partition("+")
        data = _decode(key)
        if len(data) != 1 + _KEY_BYTES or not data.startswith(_ED25519):
            raise BadNote(reason="the verifier key is not an Ed25519 key of the form name+id+key")
        found = cls(name=name, public=data[1:])
        if found.key_id.hex() != key_id.lower():
            raise BadNote(reason="the id of the verifier key does not belong to it")
        return found

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)."""
        text = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(text).digest()[:_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The text form that is published."""
        key = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    def checkpoint(self, note: str) -> Checkpoint:
        """The checkpoint in a note, once a signature by this key has been verified.

        Raises:
            BadNote: As of :meth:`open`, or the text is no checkpoint.
        """
        return _parse(self.open(note))

    def open(self, note: str) -> str:
        """The text of a note, once a signature by this key has been verified.

        Raises:
            BadNote: It is malformed, has no such signature, or a wrong one.
        """
        text, signatures = _split(note)
        for name, data in signatures:
            if name != self.name or data[:_ID_BYTES] != self.key_id:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(self.public).verify(
                    data[_ID_BYTES:], text.encode()
                )
            except InvalidSignature:
                raise BadNote(reason="the signature is wrong") from None
            return text
        raise BadNote(reason="it has no signature by the expected key")


class NoteSigner:
    """Signs checkpoints.

    Args:
        name: The key name, the log's origin: no white space and no ``+``.
        key: The log's private key.

    Raises:
        ValueError: The name is not allowed.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not _NAME.fullmatch(name):
            message = "a key name has no white space and no plus sign"
            raise ValueError(message)
        self._key = key
        self.verifier = NoteVerifier(name=name, public=key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note: body, empty line, one signature line."""
        body = checkpoint.body()
        data = self.verifier.key_id + self._key.sign(body.encode())
        signature = base64.b64encode(data).decode()
        return f"{body}\n{_DASH} {self.verifier.name} {signature}\n"


def sign_by(signers: Sequence[NoteSigner], checkpoint: Checkpoint) -> str:
    """One note with a signature line of each signer, in their order."""
    first, *others = (signer.sign(checkpoint) for signer in signers)
    return first + "".join(note.removeprefix(f"{checkpoint.body()}\n") for note in others)


def is_signed(note: str, *, by: NoteVerifier) -> bool:
    """Whether a note is a checkpoint that this key has signed."""
    try:
        by.checkpoint(note)
    except BadNote:
        return False
    return True


def peek(note: str) -> Checkpoint:
    """The checkpoint in a note whose signatures nobody has looked at.

    Raises:
        BadNote: It is malformed.
    """
    return _parse(_split(note)[0])


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > _MAX_NOTE:
        raise BadNote(reason="it is too long")
    body, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise BadNote(reason="it is not a signed note")
    signatures = []
    for line in tail[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        data = _decode(encoded)
        if dash != _DASH or len(data) <= _ID_BYTES:
            raise BadNote(reason="a signature line is malformed")
        signatures.append((name, data))
    return body + "\n", signatures


def _parse(text: str) -> Checkpoint:
    origin, _, rest = text.partition("\n")
    size, _, rest = rest.partition("\n")
    encoded, end, _ = rest.partition("\n")
    if not origin or not end or not _SIZE.fullmatch(size):
        raise BadNote(reason="it is not a checkpoint")
    root = _decode(encoded)
    if len(root) != HASH_BYTES:
        raise BadNote(reason="the root is not 32 bytes")
    return Checkpoint(origin=origin, tree_size=int(size), root_hash=root)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
