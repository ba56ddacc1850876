"""A new CA key, and the end of a stolen one: what asks a signer between units of work."""

from __future__ import annotations

from typing import cast

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory
from certctl_core.lifecycle.authorities import (
    AuthorityService,
    CAKeyInFiles,
    CAKeyInTree,
    CAKeyState,
    CAOrigin,
    LocalConfig,
    NewCA,
)
from certctl_core.lifecycle.issuers import IssuerService, UnsupportedByIssuer
from certctl_core.lifecycle.recovery.schemas import (
    CompromisedView,
    MarkCompromised,
    RotateCA,
    RotatedCAView,
)
from certctl_core.lifecycle.recovery.service import RecoveryService


class RecoveryWorkflow:
    """The use cases behind ``certctl ca rotate`` and ``certctl ca mark-compromised``."""

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        issuers: IssuerService,
        service: RecoveryService,
    ) -> None:
        self._units = units
        self._authorities = authorities
        self._issuers = issuers
        self._service = service

    def rotate(
        self, issuer_id: str, body: RotateCA, *, actor: Actor, request_id: str
    ) -> RotatedCAView:
        """Make a new CA that issues from now on (02 ROT-1).

        Raises:
            IssuerNotFound, UnsupportedByIssuer: No local issuer of that id.
            CAKeyInFiles, CAKeyJustChanged, CAKeyUnavailable: See ``Rotation.rotate``.
        """
        former = self._authorities.find_current(issuer_id)
        wanted = NewCA(
            common_name=body.common_name,
            algorithm=body.algorithm,
            validity_days=body.validity_days,
            cross_sign=body.cross_sign,
        )
        self._rotate(issuer_id, wanted, actor, request_id)
        return RotatedCAView(
            issuer_id=issuer_id,
            former_ca_key_id=None if former is None else former.ca_key_id,
            current=self._authorities.keys(issuer_id)[0],
        )

    def _rotate(self, issuer_id: str, wanted: NewCA, actor: Actor, request_id: str) -> None:
        self._authorities.rotation.rotate(
            issuer_id, self._config(issuer_id), wanted, actor=actor, request_id=request_id
        )
        self._authorities.catch_up()

    def _config(self, issuer_id: str) -> LocalConfig:
        if not self._issuers.is_local(issuer_id):
            raise UnsupportedByIssuer(issuer_id=issuer_id, capability="CA keys of its own")
        return cast("LocalConfig", self._issuers.instance(issuer_id).inner.config)

    def mark_compromised(
        self,
        issuer_id: str,
        ca_key_id: str,
        body: MarkCompromised,
        *,
        actor: Actor,
        request_id: str,
    ) -> CompromisedView:
        """Take a stolen key out of service at once (02 ROT-6).

        A key that was made here and issues is replaced first, without a cross certificate of the
        stolen one; where the CA lies in files, nothing is issued until new files are there.

        Raises:
            UnknownAuthority, CAKeyStateWrong: See ``Rotation.mark_compromised``.
            IssuerNotFound, UnsupportedByIssuer: No local issuer of that id.
        """
        ca_key_id = ca_key_id.lower()
        key = self._authorities.authority_key(ca_key_id, issuer_id)
        if key.state is CAKeyState.CURRENT and key.origin is CAOrigin.GENERATED:
            self._replace(issuer_id, actor, request_id)
        with self._units.begin(actor, request_id=request_id) as uow:
            unexpired = self._authorities.rotation.mark_compromised(
                uow, issuer_id, ca_key_id, note=body.note
            )
            renewals = (
                self._service.plan_renewals(uow, issuer_id, ca_key_id) if body.renew else None
            )
        self._authorities.catch_up()
        current = self._authorities.find_current(issuer_id)
        return CompromisedView(
            issuer_id=issuer_id,
            ca_key_id=ca_key_id,
            unexpired=unexpired,
            replaced_by=None if current is None else current.ca_key_id,
            renewals=renewals,
        )

    def _replace(self, issuer_id: str, actor: Actor, request_id: str) -> None:
        try:
            self._rotate(issuer_id, NewCA(cross_sign=False), actor, request_id)
        except (CAKeyInFiles, CAKeyInTree):
            # Files are configured by now and take over with the next start; in a tree another CA
            # is chosen.
            return
