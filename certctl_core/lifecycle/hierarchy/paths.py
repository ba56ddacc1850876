"""The CAs of an issuer as a tree: who stands above whom, with which certificates."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from certctl_core.lifecycle.hierarchy import rules
from certctl_core.lifecycle.hierarchy.errors import CACertificateRejected
from certctl_core.lifecycle.hierarchy.types import CANode, CAState
from certctl_core.pki import keys
from certctl_core.pki.errors import PKIError
from certctl_core.pki.subtrees import constraints_of
from certctl_core.pki.x509 import split_pem, to_pem


def read_certificates(text: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, at least one.

    Raises:
        CACertificateRejected: It holds none, or one that cannot be read.
    """
    try:
        found = split_pem(text)
        for certificate in found:
            _ = certificate.extensions, certificate.public_key()
    except (PKIError, ValueError, x509.DuplicateExtension) as error:
        raise CACertificateRejected(reason="it is no PEM certificate that can be read") from error
    if not found:
        raise CACertificateRejected(reason="it is no PEM certificate that can be read")
    return found


def certificates(text: str) -> list[x509.Certificate]:
    """The certificates of a stored PEM text; none of an empty one."""
    return split_pem(text) if text else []


def key_id(certificate: x509.Certificate) -> str:
    """The id of the key in a CA certificate: 40 lowercase hex digits."""
    return keys.ca_key_id(certificate.public_key())


def facts(certificate: x509.Certificate) -> dict[str, object]:
    """What a row keeps of a certificate."""
    return {
        "subject": certificate.subject.rfc4514_string(),
        "cert_pem": to_pem(certificate),
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "path_len_constraint": rules.path_length_of(certificate),
        "name_constraints": rules.constraint_texts(constraints_of(certificate)),
    }


def ancestors(node: CANode, nodes: Sequence[CANode]) -> list[CANode]:
    """The CAs above one, its parent first."""
    by_id = {one.id: one for one in nodes}
    found = []
    upper = by_id.get(node.parent_ca_id or "")
    while upper is not None and upper not in found:
        found.append(upper)
        upper = by_id.get(upper.parent_ca_id or "")
    return found


def path_of(node: CANode, nodes: Sequence[CANode]) -> tuple[x509.Certificate, ...]:
    """The certificate of a CA and those above it, the root last."""
    return (*certificates(node.cert_pem or ""), *above(node, nodes))


def above(node: CANode, nodes: Sequence[CANode]) -> tuple[x509.Certificate, ...]:
    """The certificates above a CA, the nearest first, the root last."""
    found = certificates(node.chain_pem)
    for upper in ancestors(node, nodes):
        found += certificates(upper.cert_pem or "") + certificates(upper.chain_pem)
    return tuple(found)


def below(node: CANode, nodes: Sequence[CANode]) -> list[CANode]:
    """Every CA below one."""
    return [one for one in nodes if node in ancestors(one, nodes)]


def is_revoked_above(node: CANode, nodes: Sequence[CANode]) -> bool:
    """Whether a CA above one is revoked."""
    return any(upper.state is CAState.REVOKED for upper in ancestors(node, nodes))
