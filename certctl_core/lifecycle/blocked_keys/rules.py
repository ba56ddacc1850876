"""Which key is meant? Pure."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from certctl_core.lifecycle.blocked_keys.errors import NoKeyGiven
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import PublicKey, spki_sha256
from certctl_core.pki.x509 import parse_certificate, parse_csr


def digest_of(
    *, digest: str | None, certificate: str | None, csr: str | None, public_key: str | None
) -> str:
    """The SPKI digest that one of the four forms names; keys too weak to be certified, too.

    Raises:
        NoKeyGiven: None or several are given, or the one given cannot be read.
    """
    given = [form for form in (digest, certificate, csr, public_key) if form]
    if len(given) != 1:
        raise NoKeyGiven(reason=f"{len(given)} forms of it are given")
    if digest:
        return digest
    try:
        if certificate:
            return spki_sha256(parse_certificate(certificate).public_key())
        if csr:
            return parse_csr(csr).spki_sha256
        return spki_sha256(_public_key(public_key or ""))
    except PKIError as error:
        raise NoKeyGiven(reason=error.detail.rstrip(".")) from error
    except (ValueError, TypeError, UnicodeError) as error:
        raise NoKeyGiven(reason="the text is no such PEM") from error


def _public_key(text: str) -> PublicKey:
    found: PublicKey = load_pem_public_key(text.encode())  # type: ignore[assignment]
    return found
