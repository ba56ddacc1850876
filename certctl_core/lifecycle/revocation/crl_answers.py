"""A CRL as an HTTP answer: DER as it is, or PEM made piece by piece (02 §11)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certctl_core.lifecycle.revocation.types import StoredCRL
from certctl_core.pki.x509 import split_pem

Headers = list[tuple[str, str]]

_LINE_BYTES = 48
"""Bytes in a line of PEM; in base64 they are 64 characters (RFC 7468 §2)."""
_PIECE_BYTES = _LINE_BYTES * 8192
_LABEL = "X509 CRL"


def crl_headers(crl: StoredCRL, *, now: datetime, interval: timedelta, is_pem: bool) -> Headers:
    """The headers of a list: it may be kept until the next one is due, and never past its end."""
    left = int((crl.next_update - now).total_seconds())
    age = max(0, min(int(interval.total_seconds()), left))
    length = _pem_length(crl.content.size) if is_pem else crl.content.size
    return [
        ("Content-Type", "application/x-pem-file" if is_pem else "application/pkix-crl"),
        ("ETag", f'"{crl.etag[1:-1]}-pem"' if is_pem else crl.etag),
        ("Last-Modified", _http_date(crl.this_update)),
        ("Expires", _http_date(crl.next_update)),
        ("Cache-Control", f"public, max-age={age}, must-revalidate"),
        ("Content-Length", str(length)),
        ("Access-Control-Allow-Origin", "*"),
    ]


@lru_cache(maxsize=1024)
def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def crl_body(crl: StoredCRL, *, is_pem: bool) -> Iterable[bytes]:
    """The bytes of a list; PEM is never held as a whole."""
    return _pem(crl.der) if is_pem else (crl.der,)


def _pem(der: bytes) -> Iterator[bytes]:
    yield f"-----BEGIN {_LABEL}-----\n".encode()
    view = memoryview(der)
    for start in range(0, len(der), _PIECE_BYTES):
        piece = view[start : start + _PIECE_BYTES]
        yield b"".join(
            base64.b64encode(piece[at : at + _LINE_BYTES]) + b"\n"
            for at in range(0, len(piece), _LINE_BYTES)
        )
    yield f"-----END {_LABEL}-----\n".encode()


def _pem_length(size: int) -> int:
    frame = len(f"-----BEGIN {_LABEL}-----\n-----END {_LABEL}-----\n")
    return frame + -(-size // 3) * 4 + -(-size // _LINE_BYTES)


def certs_only(chain_pem: str) -> bytes:
    """A chain as a PKCS#7 message without content (RFC 5652 §5.2; RFC 8551 §3.8)."""
    return pkcs7.serialize_certificates(split_pem(chain_pem), Encoding.DER)
