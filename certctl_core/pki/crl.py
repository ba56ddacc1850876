"""Certificate revocation lists as bytes (RFC 5280 §5; 02 §11).

An entry is encoded once, when its certificate is revoked, and kept; a list is the join of its
entries, a frame around them and one signature. A million entries take a tenth of a second, and
the inspection of a list does not depend on how many entries it has, apart from hashing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509

from certctl_core.pki import _der, names
from certctl_core.pki._build import IssuerTemplate, crl_points_value, extension_der
from certctl_core.pki._crl_read import (
    CRLEntry,
    CRLInfo,
    count_entries,
    entries_span,
    find_entry,
    inspect_crl,
    iter_entries,
    verify_crl,
)
from certctl_core.pki._signing import sign
from certctl_core.pki.errors import EmptyValidity
from certctl_core.pki.keys import SigningKey
from certctl_core.pki.reasons import CRLReason
from certctl_core.pki.serials import to_int
from certctl_core.values import dataclass

__all__ = [
    "CRLEntry",
    "CRLInfo",
    "SignedCRL",
    "build_crl",
    "count_entries",
    "delta_indicator",
    "encode_entry",
    "encode_removal",
    "entries_span",
    "find_entry",
    "freshest_crl",
    "inspect_crl",
    "issuing_distribution_point",
    "iter_entries",
    "sign_crl",
    "verify_crl",
]

_VERSION_2 = b"\x02\x01\x01"
_REASON_CODE = _der.oid("2.5.29.21")
_INVALIDITY_DATE = _der.oid("2.5.29.24")
_REASONS: dict[CRLReason, bytes] = {
    reason: _der.tlv(
        _der.SEQUENCE,
        _REASON_CODE + _der.tlv(_der.OCTET_STRING, _der.integer(reason.code, _der.ENUMERATED)),
    )
    for reason in CRLReason
    # "the reason code CRL entry extension SHOULD be absent instead of using the unspecified
    # (0) reasonCode value" (§5.3.1)
    if reason is not CRLReason.UNSPECIFIED
}


def encode_entry(
    serial: str,
    revoked_at: datetime,
    reason: CRLReason = CRLReason.UNSPECIFIED,
    invalidity_date: datetime | None = None,
) -> bytes:
    """Encode one element of revokedCertificates, complete.

    Args:
        serial: Canonical form (or any form of ``serials.canonical``).
        revoked_at: Aware.
        reason: ``unspecified`` is left out of the entry.
        invalidity_date: When the key is thought to have become unusable, aware (§5.3.2).

    Raises:
        MalformedSerial: The serial is not one. It never becomes another number.
        NaiveTime: A time without a zone.
    """
    extensions = _REASONS.get(reason, b"")
    if invalidity_date is not None:
        value = _der.tlv(_der.OCTET_STRING, _der.generalized_time(invalidity_date))
        extensions += _der.tlv(_der.SEQUENCE, _INVALIDITY_DATE + value)
    content = _der.integer(to_int(serial)) + _der.time(revoked_at)
    if extensions:
        content += _der.tlv(_der.SEQUENCE, extensions)
    return _der.tlv(_der.SEQUENCE, content)


_REMOVE_FROM_CRL = _der.tlv(
    _der.SEQUENCE,
    _REASON_CODE + _der.tlv(_der.OCTET_STRING, _der.integer(8, _der.ENUMERATED)),
)


def encode_removal(serial: str, revoked_at: datetime) -> bytes:
    """Encode what a delta list says of a serial that its base still has: removeFromCRL (§5.3.1).

    Raises:
        MalformedSerial, NaiveTime: As for ``encode_entry``.
    """
    extensions = _der.tlv(_der.SEQUENCE, _REMOVE_FROM_CRL)
    content = _der.integer(to_int(serial)) + _der.time(revoked_at) + extensions
    return _der.tlv(_der.SEQUENCE, content)


def freshest_crl(urls: tuple[str, ...]) -> bytes:
    """Encode the extension that says where the delta to this list lies (§5.2.6).

    Raises:
        MalformedName: A URL is not an absolute URI.
    """
    return extension_der("2.5.29.46", crl_points_value(urls))


def delta_indicator(base_number: int) -> bytes:
    """Encode the extension that makes a list a delta to the complete list ``base_number``."""
    return extension_der("2.5.29.27", _der.integer(base_number), critical=True)


def issuing_distribution_point(
    urls: tuple[str, ...], *, only_user: bool = False, only_ca: bool = False
) -> bytes:
    """Encode the extension that limits a list to one distribution point (§5.2.5).

    Args:
        urls: Where this list lies, as in the certificates' distribution points.
        only_user: The list covers end-entity certificates only.
        only_ca: The list covers CA certificates only.

    Raises:
        MalformedName: A URL is not an absolute URI.
    """
    general_names = b"".join(_der.tlv(0x86, names.parse_uri(url).encode("ascii")) for url in urls)
    content = _der.tlv(0xA0, _der.tlv(0xA0, general_names)) if urls else b""
    if only_user:
        content += b"\x81\x01\xff"
    if only_ca:
        content += b"\x82\x01\xff"
    return extension_der("2.5.29.28", _der.tlv(_der.SEQUENCE, content), critical=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCRL:
    """A signed list in pieces, so that a large one is copied once, when it is joined.

    Attributes:
        front: Everything before the first entry.
        body: The entries, as they were given.
        back: Everything behind the last entry, the signature included.
    """

    front: bytes
    body: tuple[bytes | memoryview, ...]
    back: bytes

    @property
    def der(self) -> bytes:
        """The CertificateList."""
        return b"".join((self.front, *self.body, self.back))


def build_crl(
    *,
    issuer_cert: x509.Certificate,
    key: SigningKey,
    entries: Iterable[bytes],
    number: int,
    this_update: datetime,
    next_update: datetime,
    extra: Iterable[bytes] = (),
) -> bytes:
    """Frame and sign a list (02 CRL-1).

    Args:
        issuer_cert: The CA.
        key: Its private key.
        entries: Results of ``encode_entry``, in the order wanted; taken as they are.
        number: The cRLNumber, not negative.
        this_update: Aware.
        next_update: Aware, later than ``this_update``.
        extra: Complete further extensions (``delta_indicator``, ``issuing_distribution_point``,
            ``freshest_crl``).

    Returns:
        The CertificateList in DER: v2, AKI, cRLNumber, then ``extra``.

    Raises:
        EmptyValidity: ``next_update`` is not later.
        NaiveTime, UnsupportedKey, MalformedCertificate: As named.
    """
    return sign_crl(
        issuer_cert=issuer_cert,
        key=key,
        body=(b"".join(entries),),
        number=number,
        this_update=this_update,
        next_update=next_update,
        extra=extra,
    ).der


def sign_crl(
    *,
    issuer_cert: x509.Certificate,
    key: SigningKey,
    body: Sequence[bytes | memoryview],
    number: int,
    this_update: datetime,
    next_update: datetime,
    extra: Iterable[bytes] = (),
) -> SignedCRL:
    """Frame and sign a list whose entries come in large pieces; otherwise as ``build_crl``.

    Args:
        issuer_cert: The CA.
        key: Its private key.
        body: Pieces of joined entries; hashed one after the other and not copied.
        number: The cRLNumber, not negative.
        this_update: Aware.
        next_update: Aware, later than ``this_update``.
        extra: Complete further extensions.

    Raises:
        EmptyValidity, NaiveTime, UnsupportedKey, MalformedCertificate: As for ``build_crl``.
    """
    if _der.utc(next_update) <= _der.utc(this_update):
        raise EmptyValidity
    template = IssuerTemplate.of(issuer_cert)
    extensions = b"".join((template.aki, extension_der("2.5.29.20", _der.integer(number)), *extra))
    length = sum(map(len, body))
    front = b"".join(
        (
            _VERSION_2,
            template.algorithm,
            template.issuer_name,
            _der.time(this_update),
            _der.time(next_update),
            # "When there are no revoked certificates, the revoked certificates list MUST be
            # absent" (§5.1.2.6)
            _der.header(_der.SEQUENCE, length) if length else b"",
        )
    )
    back = _der.tlv(0xA0, _der.tlv(_der.SEQUENCE, extensions))
    head = _der.header(_der.SEQUENCE, len(front) + length + len(back)) + front
    tail = template.algorithm + _der.bit_string(sign(key, head, *body, back))
    size = len(head) + length + len(back) + len(tail)
    return SignedCRL(
        front=_der.header(_der.SEQUENCE, size) + head, body=tuple(body), back=back + tail
    )
