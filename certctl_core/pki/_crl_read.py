"""Reading certificate revocation lists: the frame, the signature, the entries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from certctl_core.pki import _der
from certctl_core.pki._build import IssuerTemplate
from certctl_core.pki._library import LIBRARY_ERRORS
from certctl_core.pki._signing import verify
from certctl_core.pki.errors import BadCRLSignature, MalformedCRL, MalformedSerial, UnknownReason
from certctl_core.pki.reasons import CRLReason, reason_of_code
from certctl_core.pki.serials import canonical, to_int
from certctl_core.values import dataclass

_VERSION_2 = b"\x02\x01\x01"
_REASON_CODE = _der.oid("2.5.29.21")
_INVALIDITY_DATE = _der.oid("2.5.29.24")
_REMOVE_FROM_CRL = 8
_AKI = _der.oid("2.5.29.35")
_CRL_NUMBER = _der.oid("2.5.29.20")
_DELTA = _der.oid("2.5.29.27")
_DISTRIBUTION_POINT = _der.oid("2.5.29.28")
_FRESHEST = _der.oid("2.5.29.46")
_KNOWN = frozenset({_AKI, _CRL_NUMBER, _DELTA, _DISTRIBUTION_POINT, _FRESHEST})


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLInfo:
    """The frame of a list.

    Attributes:
        issuer_der: The issuer name, DER.
        issuer_dn: The same as RFC 4514 text.
        this_update: Aware, UTC.
        next_update: Aware, UTC.
        number: cRLNumber.
        aki: Authority key identifier in hex.
        base_number: Of a delta list the number of its base, else None.
        names_delta: It says where its delta lies (freshestCRL).
        size: Bytes of the whole list.
    """

    issuer_der: bytes
    issuer_dn: str
    this_update: datetime
    next_update: datetime
    number: int
    aki: str
    base_number: int | None
    names_delta: bool
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLEntry:
    """One revoked certificate on a list.

    Attributes:
        serial: Canonical.
        revoked_at: Aware, UTC.
        reason: ``unspecified`` where the entry has none.
        invalidity_date: Aware, UTC, or None.
        is_removal: A delta list takes the serial off its base (removeFromCRL).
    """

    serial: str
    revoked_at: datetime
    reason: CRLReason
    invalidity_date: datetime | None
    is_removal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    tbs: tuple[int, int]
    algorithm: bytes
    signature: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime
    entries: tuple[int, int]
    extensions: dict[bytes, bytes]


def _frame(der: bytes) -> _Frame:
    at, end = _der.whole(der, _der.SEQUENCE)
    tbs_start, tbs_stop = _der.expect(der, at, end, _der.SEQUENCE)
    _, algorithm_stop = _der.expect(der, tbs_stop, end, _der.SEQUENCE)
    signature_start, signature_stop = _der.expect(der, algorithm_stop, end, _der.BIT_STRING)
    if signature_stop != end or der[signature_start : signature_start + 1] != b"\x00":
        raise _der.DERError
    algorithm = der[tbs_stop:algorithm_stop]
    # "MUST contain the same algorithm identifier" (§5.1.2.2)
    position = tbs_start + len(_VERSION_2)
    if der[tbs_start:position] != _VERSION_2 or not der.startswith(algorithm, position):
        raise _der.DERError
    position += len(algorithm)
    issuer_start = position
    _, position = _der.expect(der, position, tbs_stop, _der.SEQUENCE)
    issuer = der[issuer_start:position]
    this_update, position = _read_time(der, position, tbs_stop)
    next_update, position = _read_time(der, position, tbs_stop)
    tag, start, stop = _der.element(der, position, tbs_stop)
    entries = (position, position)
    if tag == _der.SEQUENCE:
        entries = (start, stop)
        tag, start, stop = _der.element(der, stop, tbs_stop)
    if tag != 0xA0 or stop != tbs_stop:  # noqa: PLR2004 - [0] EXPLICIT Extensions
        raise _der.DERError
    return _Frame(
        tbs=(at, tbs_stop),
        algorithm=algorithm,
        signature=der[signature_start + 1 : signature_stop],
        issuer=issuer,
        this_update=this_update,
        next_update=next_update,
        entries=entries,
        extensions=_read_extensions(der, start, stop),
    )


def _read_time(der: bytes, at: int, end: int) -> tuple[datetime, int]:
    tag, start, stop = _der.element(der, at, end)
    return _der.read_time(der, tag, start, stop), stop


def _read_extensions(der: bytes, at: int, end: int) -> dict[bytes, bytes]:
    at, stop = _der.expect(der, at, end, _der.SEQUENCE)
    if stop != end:
        raise _der.DERError
    found: dict[bytes, bytes] = {}
    while at < end:
        oid, critical, value, at = _der.extension(der, at, end)
        if oid in found or (critical and oid not in _KNOWN):
            raise _der.DERError
        found[oid] = value
    return found


def _read_integer(value: bytes) -> int:
    return _der.unsigned(value, *_der.whole(value, _der.INTEGER))


def _read_aki(value: bytes) -> str:
    at, end = _der.whole(value, _der.SEQUENCE)
    start, stop = _der.expect(value, at, end, 0x80)
    return value[start:stop].hex()


def inspect_crl(der: bytes) -> CRLInfo:
    """Read the frame of a list without walking its entries or verifying its signature.

    Raises:
        MalformedCRL: Not a v2 list in DER with nextUpdate, AKI and cRLNumber, trailing bytes,
            or a critical extension that is not known.
    """
    return _inspect(der)[1]


def _inspect(der: bytes) -> tuple[_Frame, CRLInfo]:
    try:
        frame = _frame(der)
        base = frame.extensions.get(_DELTA)
        info = CRLInfo(
            issuer_der=frame.issuer,
            issuer_dn=x509.Name.from_bytes(frame.issuer).rfc4514_string(),
            this_update=frame.this_update,
            next_update=frame.next_update,
            number=_read_integer(frame.extensions[_CRL_NUMBER]),
            aki=_read_aki(frame.extensions[_AKI]),
            base_number=None if base is None else _read_integer(base),
            names_delta=_FRESHEST in frame.extensions,
            size=len(der),
        )
    except LIBRARY_ERRORS as error:  # DERError is a ValueError
        raise MalformedCRL(reason="it is not a version 2 list with AKI and number") from error
    return frame, info


def verify_crl(der: bytes, issuer_cert: x509.Certificate) -> CRLInfo:
    """Check that a list is that CA's: name, key id, signature (02 CRL-5).

    Dates and the watermark are the caller's. The list may be signed with another hash than ours
    (one that OpenSSL made); then the library verifies it.

    Returns:
        The frame of the verified list.

    Raises:
        MalformedCRL: As for ``inspect_crl``.
        BadCRLSignature: The list is not from this CA.
    """
    frame, info = _inspect(der)
    template = IssuerTemplate.of(issuer_cert)
    if frame.issuer != template.issuer_name:
        raise BadCRLSignature(reason="the issuer name is another one")
    if info.aki != template.key_id.hex():
        raise BadCRLSignature(reason="the authority key identifier is another one")
    public_key = issuer_cert.public_key()
    if frame.algorithm == template.algorithm:
        start, stop = frame.tbs
        valid = verify(public_key, frame.signature, memoryview(der)[start:stop])
    else:
        valid = _library_verifies(der, issuer_cert)
    if not valid:
        raise BadCRLSignature(reason="the signature does not verify")
    return info


def _library_verifies(der: bytes, issuer_cert: x509.Certificate) -> bool:
    try:
        public_key = issuer_cert.public_key()
        return x509.load_der_x509_crl(der).is_signature_valid(public_key)  # type: ignore[arg-type]
    except LIBRARY_ERRORS:
        return False


def iter_entries(der: bytes) -> Iterator[CRLEntry]:
    """Walk the entries of a list in their order.

    Entries with the reasons 8 and 10, which are not given here, come back as ``unspecified``.

    Raises:
        MalformedCRL: The frame, or the entry that is reached, cannot be read.
    """
    frame, _ = _inspect(der)
    at, end = frame.entries
    while at < end:
        try:
            start, stop = _der.expect(der, at, end, _der.SEQUENCE)
            yield _read_entry(der, start, stop)
        except (_der.DERError, MalformedSerial) as error:
            raise MalformedCRL(reason="an entry cannot be read") from error
        at = stop


def find_entry(der: bytes, serial: str) -> CRLEntry | None:
    """The entry of a serial number, or None where the list has none.

    Costs one search through the bytes of a list without it, and a walk only where they occur.

    Raises:
        MalformedCRL: As for ``iter_entries``.
        MalformedSerial: The serial is not one.
    """
    frame, _ = _inspect(der)
    at, end = frame.entries
    wanted = _der.integer(to_int(serial))
    if der.find(wanted, at, end) < 0:
        return None
    try:
        while at < end:
            start, stop = _der.expect(der, at, end, _der.SEQUENCE)
            if der.startswith(wanted, start, stop):
                return _read_entry(der, start, stop)
            at = stop
    except _der.DERError as error:
        raise MalformedCRL(reason="an entry cannot be read") from error
    return None


def entries_span(der: bytes) -> tuple[int, int]:
    """Where the joined entries of a list begin and end.

    Raises:
        MalformedCRL: As for ``inspect_crl``.
    """
    return _inspect(der)[0].entries


def count_entries(der: bytes) -> int:
    """Count the entries of a list.

    Raises:
        MalformedCRL: As for ``iter_entries``; the content of the entries is not looked at.
    """
    frame, _ = _inspect(der)
    at, end = frame.entries
    count = 0
    try:
        while at < end:
            _, at = _der.expect(der, at, end, _der.SEQUENCE)
            count += 1
    except _der.DERError as error:
        raise MalformedCRL(reason="an entry cannot be read") from error
    return count


def _read_entry(der: bytes, start: int, stop: int) -> CRLEntry:
    serial_start, serial_stop = _der.expect(der, start, stop, _der.INTEGER)
    serial = canonical(_der.unsigned(der, serial_start, serial_stop))
    revoked_at, at = _read_time(der, serial_stop, stop)
    code, invalidity_date = 0, None
    if at < stop:
        at, end = _der.expect(der, at, stop, _der.SEQUENCE)
        if end != stop:
            raise _der.DERError
        while at < end:
            oid, critical, value, at = _der.extension(der, at, end)
            if oid == _REASON_CODE:
                code = _der.unsigned(value, *_der.whole(value, _der.ENUMERATED))
            elif oid == _INVALIDITY_DATE:
                invalidity_date, _ = _read_time(value, 0, len(value))
            elif critical:
                raise _der.DERError
    return CRLEntry(
        serial=serial,
        revoked_at=revoked_at,
        reason=_reason_of(code),
        invalidity_date=invalidity_date,
        is_removal=code == _REMOVE_FROM_CRL,
    )


def _reason_of(code: int) -> CRLReason:
    try:
        return reason_of_code(code)
    except UnknownReason:
        return CRLReason.UNSPECIFIED
