"""How a CA of a tree is shown."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from certctl_core.lifecycle.authorities import AuthorityKey
from certctl_core.lifecycle.hierarchy.paths import above, certificates, is_revoked_above
from certctl_core.lifecycle.hierarchy.schemas import IntermediateView, NameConstraintsView
from certctl_core.lifecycle.hierarchy.types import CANode, CAState
from certctl_core.pki.keys import describe_key
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import describe, fingerprint_sha256, to_pem


def view_of(
    node: CANode,
    nodes: Sequence[CANode],
    *,
    key: AuthorityKey | None,
    issuing_ca_id: str | None,
) -> IntermediateView:
    """One CA as the API shows it.

    Args:
        node: Which.
        nodes: Every CA of its issuer.
        key: Its key, if it is here.
        issuing_ca_id: The CA that signs the issuer's certificates, if it is one of the tree.
    """
    certificate = certificates(node.cert_pem)[0] if node.cert_pem else None
    revoked_above = is_revoked_above(node, nodes)
    can_sign = (
        node.state is CAState.ACTIVE
        and not revoked_above
        and key is not None
        and key.private_key is not None
    )
    return IntermediateView(
        id=node.id,
        owning_issuer_id=node.owning_issuer_id,
        parent_ca_id=node.parent_ca_id,
        name=node.name,
        subject=node.subject,
        state=node.state,
        is_issuing=node.id == issuing_ca_id,
        can_sign=can_sign,
        revoked_above=revoked_above,
        ca_key_id=node.ca_key_id,
        key_driver_id=node.key_driver_id,
        key_algorithm=_algorithm(node),
        serial=canonical(certificate.serial_number) if certificate else None,
        fingerprint_sha256=fingerprint_sha256(certificate) if certificate else None,
        not_before=node.not_before,
        not_after=node.not_after,
        path_len_constraint=node.path_len_constraint,
        name_constraints=[NameConstraintsView(**one) for one in node.name_constraints],
        ocsp_responder_url=node.ocsp_responder_url,
        metadata=node.metadata,
        cert_pem=node.cert_pem,
        chain_pem="".join(map(to_pem, above(node, nodes))),
        csr_pem=node.csr_pem,
        created_by=node.created_by,
        created_at=node.created_at,
        updated_at=node.updated_at,
    )


def _algorithm(node: CANode) -> str:
    if node.cert_pem:
        return describe(certificates(node.cert_pem)[0]).key.name
    if node.csr_pem:
        public_key = x509.load_pem_x509_csr(node.csr_pem.encode()).public_key()
        return describe_key(public_key).name
    return ""
