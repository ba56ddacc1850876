"""What the files of a host hold: which certificate, and whether a key for it lies beside."""

from __future__ import annotations

import re
from collections.abc import Iterable

from certctl_core.deploy.files import FileState
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import load_private_key_pem, spki_sha256
from certctl_core.pki.x509 import fingerprint_sha256, split_pem
from certctl_core.values import dataclass

_KEY = re.compile(
    rb"-----BEGIN ([A-Z ]{0,20}PRIVATE KEY)-----.{1,65536}?-----END \1-----", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What is deployed now.

    Attributes:
        fingerprint: Of the first certificate of the first file that holds one; empty if none does.
        is_pair: Every file is there, and the key among them belongs to that certificate.
    """

    fingerprint: str
    is_pair: bool


NOTHING = Present(fingerprint="", is_pair=False)
"""No file, or none that could be read."""


def inspect(states: Iterable[FileState | None]) -> Present:
    """Look into the present files; what is not PEM counts as unknown."""
    leaf_spki, fingerprint, key_spki = "", "", ""
    complete = True
    for state in states:
        if state is None:
            complete = False
            continue
        key_spki = key_spki or _key_spki(state.data)
        if not fingerprint:
            fingerprint, leaf_spki = _leaf(state.data)
    return Present(
        fingerprint=fingerprint, is_pair=complete and bool(leaf_spki) and leaf_spki == key_spki
    )


def leaf_fingerprint(data: bytes) -> str:
    """The fingerprint of the first certificate in PEM bytes; empty if there is none."""
    return _leaf(data)[0]


def _leaf(data: bytes) -> tuple[str, str]:
    if b"-----BEGIN CERTIFICATE-----" not in data:
        return "", ""
    try:
        leaf = split_pem(data.decode("latin-1"))[0]
        return fingerprint_sha256(leaf), spki_sha256(leaf.public_key())
    except (PKIError, ValueError):
        return "", ""


def _key_spki(data: bytes) -> str:
    found = _KEY.search(data)
    if found is None:
        return ""
    try:
        return spki_sha256(load_private_key_pem(found.group()).public_key())
    except PKIError:
        return ""
