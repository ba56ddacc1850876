"""The CAs of a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from certctl_client.calls import Group

if TYPE_CHECKING:
    from certctl_client.types import (
        Intermediate,
        Intermediates,
        Issuer,
        RetiredIntermediate,
        RevokedIntermediate,
    )


class HierarchyCAs(Group):
    """Roots, the CAs below them, and their end."""

    def list(self, issuer_id: str) -> Sequence[Intermediate]:
        """Every CA of an issuer's tree, oldest first."""
        answer = self._calls.call("intermediates.list", path={"issuer_id": issuer_id})
        return cast("Intermediates", answer)["data"]

    def get(self, intermediate_id: str) -> Intermediate:
        """One CA."""
        path = {"intermediate_id": intermediate_id}
        return cast("Intermediate", self._calls.call("intermediates.get", path=path))

    def create_root(
        self, issuer_id: str, *, name: str, root_cert_pem: str, key_driver_id: str | None = None
    ) -> Intermediate:
        """Register a root; without a key that the issuer has, it is offline.

        Raises:
            APIError: ``root_ca_rejected``, ``active_root_exists``, ``ca_name_taken`` …
        """
        body = {"name": name, "root_cert_pem": root_cert_pem, "key_driver_id": key_driver_id}
        return self._create(issuer_id, body)

    def create(
        self,
        issuer_id: str,
        *,
        name: str,
        parent_ca_id: str,
        subject: Mapping[str, object],
        algorithm: str = "ECDSA-P256",
        ttl_days: int = 1825,
        path_len_constraint: int | None = None,
        permitted: Sequence[str] = (),
        excluded: Sequence[str] = (),
        ocsp_responder_url: str | None = None,
        key_driver_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        csr_only: bool = False,
    ) -> Intermediate:
        """Make a CA below another one; ``csr_pem`` is set where another CA has to sign.

        Args:
            issuer_id: Whose tree.
            name: Unique in the tree.
            parent_ca_id: The CA above it.
            subject: ``common_name``, and lists ``organization``, ``country`` ….
            algorithm: Of its new key.
            ttl_days: Its lifetime; capped at its parent's end.
            path_len_constraint: How many CAs may follow below it.
            permitted: Name constraints, as ``DNS:example.com`` or ``IP:10.0.0.0/8``.
            excluded: The same.
            ocsp_responder_url: What its certificates name instead of the server's OCSP address.
            key_driver_id: An existing key instead of a new one.
            metadata: Free key-value pairs.
            csr_only: Only a request, also where the parent could sign.

        Raises:
            APIError: ``path_length_not_allowed``, ``parent_ca_not_active`` …
        """
        constraints = [{"permitted": list(permitted), "excluded": list(excluded)}]
        body: dict[str, object] = {
            "name": name,
            "parent_ca_id": parent_ca_id,
            "subject": dict(subject),
            "algorithm": algorithm,
            "ttl_days": ttl_days,
            "path_len_constraint": path_len_constraint,
            "name_constraints": constraints if permitted or excluded else [],
            "ocsp_responder_url": ocsp_responder_url,
            "key_driver_id": key_driver_id,
            "metadata": dict(metadata or {}),
            "csr_only": csr_only,
        }
        return self._create(issuer_id, body)

    def _create(self, issuer_id: str, body: Mapping[str, object]) -> Intermediate:
        path = {"issuer_id": issuer_id}
        return cast("Intermediate", self._calls.call("intermediates.create", path=path, body=body))

    def issue_by(self, issuer_id: str, intermediate_id: str | None) -> Issuer:
        """Let a CA of the tree issue from now on; None goes back to the issuer's own CA.

        Raises:
            APIError: ``issuer_cannot_start`` when the CA is not active.
        """
        config = {
            "hierarchy_mode": "single" if intermediate_id is None else "tree",
            "issuing_ca_id": intermediate_id,
        }
        path = {"issuer_id": issuer_id}
        return cast(
            "Issuer", self._calls.call("issuers.update", path=path, body={"config": config})
        )

    def install(
        self, intermediate_id: str, cert_pem: str, *, chain_pem: str | None = None
    ) -> Intermediate:
        """Give a CA the certificate that another CA signed from its request.

        Raises:
            APIError: ``ca_certificate_rejected``, ``ca_certificate_key_mismatch`` …
        """
        body = {"cert_pem": cert_pem, "chain_pem": chain_pem}
        path = {"intermediate_id": intermediate_id}
        return cast("Intermediate", self._calls.call("intermediates.install", path=path, body=body))

    def retire(
        self, intermediate_id: str, *, note: str = "", confirm: bool = False
    ) -> RetiredIntermediate:
        """Take a CA out of use: it signs nothing new, and a second call with ``confirm`` ends it.

        Raises:
            APIError: ``ca_wrong_state``, ``ca_has_children``, ``ca_still_issues``.
        """
        body = {"note": note, "confirm": confirm}
        path = {"intermediate_id": intermediate_id}
        answer = self._calls.call("intermediates.retire", path=path, body=body)
        return cast("RetiredIntermediate", answer)

    def revoke(
        self, intermediate_id: str, *, reason: str = "unspecified", note: str = ""
    ) -> RevokedIntermediate:
        """Revoke a CA; neither it nor a CA below it signs any more."""
        body = {"reason": reason, "note": note}
        path = {"intermediate_id": intermediate_id}
        answer = self._calls.call("intermediates.revoke", path=path, body=body)
        return cast("RevokedIntermediate", answer)
