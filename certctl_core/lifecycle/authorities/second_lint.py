"""A second linter's opinion on a certificate that is about to be signed (``CERTCTL_CA_LINT``).

``pkilint`` is an extra: it knows the RFC 5280 rules independently of what is built here, and costs
some ten milliseconds a certificate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

_REFUSED = frozenset({"WARNING", "ERROR", "FATAL"})


@lru_cache(maxsize=1)
def _linter() -> tuple[Any, Any]:
    from pkilint import loader
    from pkilint.pkix import certificate, extension, name

    validator = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return loader.load_certificate, validator


def pkilint_errors(certificate: x509.Certificate) -> list[str]:
    """The codes of what pkilint holds to be wrong with a certificate, signed or not.

    Raises:
        ImportError: The extra is not installed; the settings refuse it before.
    """
    load, validator = _linter()
    document = load(certificate.public_bytes(Encoding.DER), "certificate")
    results = validator.validate(document.root)
    found = {
        description.finding.code
        for result in results
        for description in result.finding_descriptions
        if description.finding.severity.name in _REFUSED
    }
    return sorted(found)
