"""Taking CA keys in: at start, on reload, and when an issuer is first used.

This part reads files and asks signers, so it opens its own units of work; it is called outside any.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

import structlog

from certctl_core.kernel.db import Leases, UnitOfWorkFactory, Uow
from certctl_core.lifecycle.authorities import _store
from certctl_core.lifecycle.authorities._store import CAKeyRow
from certctl_core.lifecycle.authorities.errors import CAKeyOutOfService, IssuingCAUnusable
from certctl_core.lifecycle.authorities.events import CAKeyChanged, CAKeyLoaded, CAKeyRecertified
from certctl_core.lifecycle.authorities.loading import Loader, Material
from certctl_core.lifecycle.authorities.material import verify_upwards
from certctl_core.lifecycle.authorities.schemas import LocalConfig
from certctl_core.lifecycle.authorities.signers import MEMORY_SIGNER
from certctl_core.lifecycle.authorities.types import (
    CERTIFYING_STATES,
    SIGNING_STATES,
    CAKeyState,
    CAOrigin,
)

_log = structlog.get_logger("certctl.authorities")

STAMP = "ca_keys"
"""The version stamp that moves with every change of a CA key row."""

_MAX_LEASE_NAME = 128
"""What the lease table takes; two ids that share the rest merely wait for each other."""

_CREATION_TTL = timedelta(seconds=60)
"""Longer than any signer takes to make a key."""


class Intake:
    """Brings ``ca_keys`` in line with files, signers and configurations."""

    def __init__(self, *, units: UnitOfWorkFactory, loader: Loader) -> None:
        self._units = units
        self._loader = loader

    def ensure(self, issuer_id: str, config: LocalConfig | None) -> None:
        """Make the right key the current one; without a change it only reads.

        Args:
            issuer_id: Whose CA.
            config: Its configuration; None (at start, before issuers are known) keeps what
                issued last, or makes a CA by the defaults.

        Raises:
            CAMaterialError: A leaf that names the place and the reason; nothing was changed.
        """
        pair = self._loader.pair_of(issuer_id, config)
        if config is not None and config.issuing_ca_id is not None:
            self._ensure_member(issuer_id, config.issuing_ca_id)
        elif pair is None:
            self._ensure_generated(issuer_id, config)
        else:
            self._take_in(issuer_id, self._loader.from_files(pair), CAKeyState.CURRENT)
        for material in self._loader.previous_of(issuer_id, pair):
            self._take_in(issuer_id, material, CAKeyState.PREVIOUS)

    def preflight(self, issuer_id: str, config: LocalConfig) -> Material | None:
        """Check what ``ensure`` would use, without changing anything.

        Returns:
            The CA, or None where it is to be made on first use.

        Raises:
            CAMaterialError: As for ``ensure``.
        """
        if config.issuing_ca_id is not None:
            return self._member(issuer_id, config.issuing_ca_id)
        pair = self._loader.pair_of(issuer_id, config)
        if pair is not None:
            return self._loader.from_files(pair)
        with self._units.read() as uow:
            rows = _store.list_keys(uow, issuer_id)
        row = self._generated(rows, config)
        return None if row is None else self._loader.from_row(row)

    def _ensure_generated(self, issuer_id: str, config: LocalConfig | None) -> None:
        with self._units.read() as uow:
            rows = _store.list_keys(uow, issuer_id)
        current = next((row for row in rows if row.state is CAKeyState.CURRENT), None)
        if config is None and current is not None:
            self._loader.from_row(current)
            return
        wanted = config or LocalConfig()
        row = self._generated(rows, wanted)
        if row is None:
            self._create(issuer_id, wanted)
            return
        material = self._loader.from_row(row)
        if row.state is not CAKeyState.CURRENT:
            self._take_in(issuer_id, material, CAKeyState.CURRENT)

    def check_member(self, issuer_id: str, member_id: str) -> CAKeyRow:
        """The key of a CA of the tree, if it may issue (02 HIER-6).

        Raises:
            IssuingCAUnusable: The issuer has no such CA, or it is not active.
        """
        with self._units.read() as uow:
            row = _store.find_member(uow, issuer_id, member_id)
        if row is None:
            reason = "this issuer has no such CA with a key and a certificate"
            raise IssuingCAUnusable(path=member_id, reason=reason)
        if row.state not in CERTIFYING_STATES:
            raise IssuingCAUnusable(path=member_id, reason="it is no longer active")
        return row

    def _member(self, issuer_id: str, member_id: str) -> Material:
        material = self._loader.from_row(self.check_member(issuer_id, member_id))
        verify_upwards(material.certificates, path=member_id, now=self._units.clock.now())
        return material

    def _ensure_member(self, issuer_id: str, member_id: str) -> None:
        material = self._member(issuer_id, member_id)
        with self._units.read() as uow:
            row = _store.find_member(uow, issuer_id, member_id)
        if row is not None and row.state is not CAKeyState.CURRENT:
            with self._units.begin() as uow:
                self.store_key(uow, issuer_id, material, CAKeyState.CURRENT)

    def _generated(self, rows: list[CAKeyRow], config: LocalConfig) -> CAKeyRow | None:
        """The CA made here that the configuration means; None = one is to be made.

        The current one, else the newest. An ephemeral one counts only in the process that made
        it: its key is gone with any other.
        """
        made = [
            row
            for row in rows
            if row.origin is CAOrigin.GENERATED
            and row.state in SIGNING_STATES
            and (row.signer == MEMORY_SIGNER) == config.ephemeral
            and (not config.ephemeral or self._loader.is_at_hand(row))
        ]
        made.sort(key=lambda row: (row.state is CAKeyState.CURRENT, row.first_seen_at))
        return made[-1] if made else None

    def _create(self, issuer_id: str, config: LocalConfig) -> None:
        """Make a CA. The lease row is the mutex: replicas that start together make one key.

        The key is made inside the transaction, once in the life of an issuer: whoever waits
        for the row must find either nothing or a whole CA.
        """
        if config.ephemeral:
            _log.warning("ca_key.ephemeral", issuer_id=issuer_id)
        leases = Leases()
        holder = secrets.token_hex(8)
        with self._units.begin() as uow:
            name = f"ca-create:{issuer_id}"[:_MAX_LEASE_NAME]
            lease = leases.acquire(uow, name, holder=holder, ttl=_CREATION_TTL)
            if self._generated(_store.list_keys(uow, issuer_id), config) is None:
                material = self._loader.generate(issuer_id, config, now=uow.now)
                self.store_key(uow, issuer_id, material, CAKeyState.CURRENT)
            if lease is not None:
                leases.release(uow, lease)

    def _take_in(self, issuer_id: str, material: Material, state: CAKeyState) -> None:
        with self._units.read() as uow:
            known = _store.find_key(uow, issuer_id, material.ca_key_id)
        if known is not None and known.state in CERTIFYING_STATES and state is CAKeyState.PREVIOUS:
            return  # A copy of a key that is in use lies among the old ones.
        if (
            known is not None
            and known.state not in SIGNING_STATES
            and state is not CAKeyState.CURRENT
        ):
            return  # Declared compromised or retired: its files may stay where they are.
        if known is not None and known.state is state and material.matches(known):
            return
        with self._units.begin() as uow:
            self.store_key(uow, issuer_id, material, state)

    def store_key(self, uow: Uow, issuer_id: str, material: Material, state: CAKeyState) -> None:
        """Write one key; when it becomes the current one, the former one steps aside."""
        rows = {row.ca_key_id: row for row in _store.list_keys(uow, issuer_id)}
        known = rows.pop(material.ca_key_id, None)
        if known is not None and known.state not in SIGNING_STATES:
            reason = f"this CA key is {known.state}"
            raise CAKeyOutOfService(path=material.key_ref, reason=reason)
        if (
            known is not None
            and known.member_id
            and known.state is CAKeyState.PREVIOUS is not state
        ):
            reason = f"the CA {known.member_id} of the tree is no longer active"
            raise CAKeyOutOfService(path=material.key_ref, reason=reason)
        former = None
        if state is CAKeyState.CURRENT:
            former = next((row for row in rows.values() if row.state is state), None)
        if former is not None:
            aside = CAKeyState.MEMBER if former.member_id else CAKeyState.PREVIOUS
            _store.swap_state(uow, former, aside)
        row = material.row(issuer_id, state, now=uow.now)
        if known is None:
            _store.add_key(uow, row)
            uow.emit(_loaded(row))
        else:
            if known.state is not state:
                _store.swap_state(uow, known, state)
            _store.set_material(uow, row)
            if known.cert_pem != row.cert_pem:
                uow.emit(_recertified(row))
        if former is not None:
            uow.emit(_changed(former, row))
        uow.touch(STAMP)
        uow.wake("pki")


def _loaded(row: CAKeyRow) -> CAKeyLoaded:
    return CAKeyLoaded(
        resource_id=row.ca_key_id,
        issuer_id=row.issuer_id,
        subject=row.subject,
        not_after=row.not_after,
        origin=row.origin,
        state=row.state,
    )


def _recertified(row: CAKeyRow) -> CAKeyRecertified:
    return CAKeyRecertified(
        resource_id=row.ca_key_id,
        issuer_id=row.issuer_id,
        subject=row.subject,
        not_after=row.not_after,
    )


def _changed(former: CAKeyRow, row: CAKeyRow) -> CAKeyChanged:
    return CAKeyChanged(
        resource_id=row.ca_key_id,
        issuer_id=row.issuer_id,
        old_ca_key_id=former.ca_key_id,
        new_ca_key_id=row.ca_key_id,
    )
