"""A new CA key in place of the old one, and the end of old ones (02 §14).

``rotate`` asks a signer for a key, so it opens its own units of work; the rest runs inside one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from cryptography import x509

from certctl_core.kernel.actors import Actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.lifecycle.authorities import _store
from certctl_core.lifecycle.authorities._store import CAKeyRow
from certctl_core.lifecycle.authorities.errors import (
    CAKeyInFiles,
    CAKeyInTree,
    CAKeyJustChanged,
    CAKeyStateWrong,
    CAKeyStillNeeded,
    CAMaterialError,
    UnknownAuthority,
)
from certctl_core.lifecycle.authorities.events import CAKeyCompromised, CAKeyRetired
from certctl_core.lifecycle.authorities.intake import STAMP, Intake
from certctl_core.lifecycle.authorities.loading import Loader, Material
from certctl_core.lifecycle.authorities.material import is_self_issued
from certctl_core.lifecycle.authorities.schemas import LocalConfig
from certctl_core.lifecycle.authorities.types import (
    MAY_COMPROMISE,
    CAKeyState,
    LedgerEntry,
    LedgerKind,
    NewCA,
)
from certctl_core.pki.serials import canonical, new_serial
from certctl_core.pki.x509 import build_sub_ca, describe, to_pem

_log = structlog.get_logger("certctl.authorities")

_BACKDATE = timedelta(seconds=60)
_MAX_COMMON_NAME = 64


class Rotation:
    """Replaces CA keys that were made here, and takes keys out of service."""

    def __init__(self, *, units: UnitOfWorkFactory, loader: Loader, intake: Intake) -> None:
        self._units = units
        self._loader = loader
        self._intake = intake

    def rotate(
        self,
        issuer_id: str,
        config: LocalConfig,
        wanted: NewCA,
        *,
        actor: Actor,
        request_id: str,
    ) -> None:
        """Make a new CA that issues from now on; the former one keeps its CRL and OCSP.

        Raises:
            CAKeyInFiles: The CA is the operator's; nothing was made.
            CAKeyInTree: A CA of a tree issues; nothing was made.
            CAKeyJustChanged: Another rotation was faster; the new key stays unused.
            CAKeyUnavailable: The signer cannot make the key.
        """
        if config.issuing_ca_id is not None:
            raise CAKeyInTree(issuer_id=issuer_id, member_id=config.issuing_ca_id)
        pair = self._loader.pair_of(issuer_id, config)
        if pair is not None:
            raise CAKeyInFiles(issuer_id=issuer_id, path=str(pair.cert_path))
        with self._units.read() as uow:
            rows = _store.list_keys(uow, issuer_id)
            now = uow.now
        former = _current(rows)
        new = self._loader.generate(issuer_id, _config(config, wanted, len(rows)), now=now)
        crosses = self._cross_sign(former, new, config, now) if wanted.cross_sign else None
        with self._units.begin(actor, request_id=request_id) as uow:
            found = _current(_store.list_keys(uow, issuer_id))
            if (found and found.ca_key_id) != (former and former.ca_key_id):
                raise CAKeyJustChanged(issuer_id=issuer_id)
            self._intake.store_key(uow, issuer_id, new, CAKeyState.CURRENT)
            if former is not None and crosses is not None:
                _keep_crosses(uow, former, new, crosses)

    def _cross_sign(
        self, former: CAKeyRow | None, new: Material, config: LocalConfig, now: datetime
    ) -> tuple[x509.Certificate, x509.Certificate] | None:
        """The new key certified by the former CA, and the former key by the new CA.

        Only roots of two names are: a cross certificate of one name looks like a root itself.
        """
        if former is None or former.not_after <= now:
            return None
        try:
            old = self._loader.from_row(former)
        except CAMaterialError as error:
            _log.warning("ca_key.not_cross_signed", issuer_id=former.issuer_id, **error.data)
            return None
        before, after = old.certificates.certificate, new.certificates.certificate
        if not is_self_issued(before) or before.subject == after.subject:
            return None
        return (
            self._certify(old, after, former.issuer_id, config, now),
            self._certify(new, before, former.issuer_id, config, now),
        )

    def _certify(
        self,
        by: Material,
        subject: x509.Certificate,
        issuer_id: str,
        config: LocalConfig,
        now: datetime,
    ) -> x509.Certificate:
        issuer = by.certificates.certificate
        urls = self._loader.urls(issuer_id, by.ca_key_id, config)
        return build_sub_ca(
            subject.subject,
            public_key=subject.public_key(),
            issuer=issuer,
            key=by.key,
            serial=new_serial(),
            not_before=now - _BACKDATE,
            not_after=min(issuer.not_valid_after_utc, subject.not_valid_after_utc),
            crl_urls=urls.crl,
            ocsp_urls=urls.ocsp,
            ca_issuer_urls=urls.ca_issuers,
        )

    def mark_compromised(self, uow: Uow, issuer_id: str, ca_key_id: str, *, note: str) -> int:
        """Take a stolen key out of service at once; emits ``ca_key.compromised``.

        It signs no certificate, CRL or OCSP response any more, its root leaves the bundle, and no
        cross certificate of the issuer is handed out.

        Returns:
            How many of its certificates have not expired.

        Raises:
            UnknownAuthority: The issuer has no such key.
            CAKeyStateWrong: It is out of service already.
        """
        row = _require(uow, issuer_id, ca_key_id)
        if row.state not in MAY_COMPROMISE or not _store.swap_state(
            uow, row, CAKeyState.COMPROMISED
        ):
            raise CAKeyStateWrong(ca_key_id=ca_key_id, state=row.state.value)
        _store.set_cross(uow, issuer_id, None, "")
        unexpired = _store.count_unexpired(uow, issuer_id, ca_key_id)
        uow.emit(
            CAKeyCompromised(
                resource_id=ca_key_id,
                issuer_id=issuer_id,
                former_state=row.state.value,
                unexpired=unexpired,
                note=note,
            )
        )
        _changed(uow)
        return unexpired

    def retire(self, uow: Uow, issuer_id: str, ca_key_id: str) -> None:
        """Take a former key out of service that answers for nothing any more.

        Raises:
            UnknownAuthority: The issuer has no such key.
            CAKeyStateWrong: It is not a former key.
            CAKeyInTree: It is a CA of the tree, which is retired there.
            CAKeyStillNeeded: Certificates of it have not expired.
        """
        row = _require(uow, issuer_id, ca_key_id)
        if row.member_id is not None:
            raise CAKeyInTree(issuer_id=issuer_id, member_id=row.member_id)
        if row.state is not CAKeyState.PREVIOUS:
            raise CAKeyStateWrong(ca_key_id=ca_key_id, state=row.state.value)
        unexpired = _store.count_unexpired(uow, issuer_id, ca_key_id)
        if unexpired:
            raise CAKeyStillNeeded(ca_key_id=ca_key_id, unexpired=unexpired)
        if not _store.swap_state(uow, row, CAKeyState.RETIRED):
            raise CAKeyStateWrong(ca_key_id=ca_key_id, state=row.state.value)
        uow.emit(CAKeyRetired(resource_id=ca_key_id, issuer_id=issuer_id))
        _changed(uow)


def _require(uow: Uow, issuer_id: str, ca_key_id: str) -> CAKeyRow:
    row = _store.find_key(uow, issuer_id, ca_key_id.lower())
    if row is None:
        raise UnknownAuthority(ca_key_id=ca_key_id)
    return row


def _current(rows: list[CAKeyRow]) -> CAKeyRow | None:
    return next((row for row in rows if row.state is CAKeyState.CURRENT), None)


def _config(config: LocalConfig, wanted: NewCA, generations: int) -> LocalConfig:
    """The configuration of the next generation; its name differs from every former one's."""
    suffix = f" G{generations + 1}"
    name = wanted.common_name or config.ca_common_name[: _MAX_COMMON_NAME - len(suffix)] + suffix
    changes: dict[str, object] = {"ca_common_name": name}
    if config.ca_key_ref is not None:
        # The key that is named goes; the next one is made where it is.
        changes |= {"ca_key_ref": None, "signer": config.ca_key_ref.partition(":")[0]}
    if wanted.algorithm is not None:
        changes["ca_key_algorithm"] = wanted.algorithm
    if wanted.validity_days is not None:
        changes["ca_validity_days"] = wanted.validity_days
    return LocalConfig.model_validate({**config.model_dump(), **changes})


def _keep_crosses(
    uow: Uow,
    former: CAKeyRow,
    new: Material,
    crosses: tuple[x509.Certificate, x509.Certificate],
) -> None:
    """Store both cross certificates, and what was signed into the ledger of who signed it."""
    pairs = ((former.ca_key_id, new.ca_key_id), (new.ca_key_id, former.ca_key_id))
    for (signed_by, ca_key_id), cross in zip(pairs, crosses, strict=True):
        info = describe(cross)
        entry = LedgerEntry(
            issuer_id=former.issuer_id,
            ca_key_id=signed_by,
            serial=canonical(cross.serial_number),
            kind=LedgerKind.SUB_CA,
            certificate_id=None,
            profile_id=None,
            subject=info.subject,
            not_before=info.not_before,
            not_after=info.not_after,
            fingerprint_sha256=info.fingerprint_sha256,
            short_lived=False,
            issued_at=uow.now,
        )
        _store.add_entry(uow, entry)
        _store.set_cross(uow, former.issuer_id, ca_key_id, to_pem(cross))


def _changed(uow: Uow) -> None:
    uow.touch(STAMP)
    uow.wake("pki")
