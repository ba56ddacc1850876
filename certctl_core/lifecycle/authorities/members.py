"""The keys of the CAs of a tree (02 §9): made by a signer, taken in, taken out of use.

Which CA stands below which, and in what state it is, the hierarchy room knows; here are the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509

from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.lifecycle.authorities import _store
from certctl_core.lifecycle.authorities._store import CAKeyRow
from certctl_core.lifecycle.authorities.errors import CAKeyOutOfService, UnknownAuthority
from certctl_core.lifecycle.authorities.events import CAKeyLoaded, CAKeyRecertified
from certctl_core.lifecycle.authorities.intake import STAMP
from certctl_core.lifecycle.authorities.loading import Loader, NewKey
from certctl_core.lifecycle.authorities.schemas import LocalConfig
from certctl_core.lifecycle.authorities.types import (
    CERTIFYING_STATES,
    SIGNING_STATES,
    CAKeyState,
    CAOrigin,
)
from certctl_core.pki.keys import KeyAlgorithm, SigningKey, ca_key_id
from certctl_core.pki.x509 import to_pem


class Members:
    """Keeps the keys of CAs that belong to a tree."""

    def __init__(self, *, units: UnitOfWorkFactory, loader: Loader) -> None:
        self._units = units
        self._loader = loader

    # -- signers: outside any unit of work ----------------------------------------------------

    def generate(self, issuer_id: str, config: LocalConfig, algorithm: KeyAlgorithm) -> NewKey:
        """Make a key with the issuer's signer.

        Raises:
            CAKeyUnavailable: The signer cannot make it.
        """
        now = self._units.clock.now()
        return self._loader.generate_key(issuer_id, config, algorithm, now=now)

    def load(self, signer: str, ref: str) -> SigningKey:
        """Get a key by the reference of its signer.

        Raises:
            CAMaterialError: It cannot be had; the leaf says why.
        """
        return self._loader.load_key(signer, ref)

    # -- rows: inside a unit of work ----------------------------------------------------------

    def is_known(self, uow: Uow, issuer_id: str, key_id: str) -> bool:
        """Whether the issuer has the key, in any state."""
        return _store.find_key(uow, issuer_id, key_id) is not None

    def take_in(
        self,
        uow: Uow,
        *,
        issuer_id: str,
        member_id: str,
        certificate: x509.Certificate,
        above: Sequence[x509.Certificate],
        signer: str,
        key_ref: str,
        ocsp_url: str | None,
    ) -> None:
        """The key signs from now on: other CAs, CRLs and OCSP; emits ``ca_key.loaded`` if new.

        A key that the issuer has already keeps its place: the one that issues goes on issuing,
        with another certificate perhaps (``ca_key.recertified``).

        Raises:
            CAKeyOutOfService: The key was declared compromised or retired here.
        """
        key_id = ca_key_id(certificate.public_key())
        row = CAKeyRow(
            issuer_id=issuer_id,
            ca_key_id=key_id,
            cert_pem=to_pem(certificate),
            chain_pem="".join(map(to_pem, above)),
            cross_pem="",
            signer=signer,
            key_ref=key_ref,
            origin=CAOrigin.TREE,
            state=CAKeyState.MEMBER,
            subject=certificate.subject.rfc4514_string(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            first_seen_at=uow.now,
            updated_at=uow.now,
            member_id=member_id,
            ocsp_url=ocsp_url,
        )
        known = _store.find_key(uow, issuer_id, key_id)
        if known is not None:
            self._adopt(uow, known, row)
        else:
            _store.add_key(uow, row)
            uow.emit(
                CAKeyLoaded(
                    resource_id=key_id,
                    issuer_id=issuer_id,
                    subject=row.subject,
                    not_after=row.not_after,
                    origin=row.origin,
                    state=row.state,
                )
            )
        _changed(uow)

    def _adopt(self, uow: Uow, known: CAKeyRow, row: CAKeyRow) -> None:
        if known.state not in SIGNING_STATES:
            reason = f"this CA key is {known.state}"
            raise CAKeyOutOfService(path=known.key_ref or known.ca_key_id, reason=reason)
        _store.set_member(uow, row)
        if known.cert_pem != row.cert_pem or known.chain_pem != row.chain_pem:
            kept = {"signer": known.signer, "key_ref": known.key_ref, "origin": known.origin}
            _store.set_material(uow, replace(row, **kept))  # type: ignore[arg-type] # its own fields
            uow.emit(
                CAKeyRecertified(
                    resource_id=row.ca_key_id,
                    issuer_id=row.issuer_id,
                    subject=row.subject,
                    not_after=row.not_after,
                )
            )
        if known.state is CAKeyState.PREVIOUS:
            _store.swap_state(uow, known, CAKeyState.MEMBER)

    def withdraw(
        self, uow: Uow, issuer_id: str, key_id: str, *, is_compromised: bool = False
    ) -> None:
        """The key certifies nothing more; CRL and OCSP for what it signed go on.

        Args:
            uow: The open unit of work.
            issuer_id: Whose key.
            key_id: Which.
            is_compromised: CRL and OCSP end as well (02 ROT-6).

        Raises:
            UnknownAuthority: The issuer has no such key.
        """
        row = _store.find_key(uow, issuer_id, key_id)
        if row is None:
            raise UnknownAuthority(ca_key_id=key_id)
        if is_compromised:
            _store.swap_state(uow, row, CAKeyState.COMPROMISED)
        elif row.state in CERTIFYING_STATES:
            _store.swap_state(uow, row, CAKeyState.PREVIOUS)
        _changed(uow)


def _changed(uow: Uow) -> None:
    uow.touch(STAMP)
    uow.wake("pki")
