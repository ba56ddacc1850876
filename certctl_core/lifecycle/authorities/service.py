"""The CA keys of this installation, kept at hand, and the ledger of everything they sign.

Signing looks at memory only: a snapshot of all CA keys that is replaced as a whole when the topic
``pki`` says that rows changed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from functools import partial

import structlog
from cryptography import x509

from certctl_core.kernel.clock import Clock
from certctl_core.kernel.db import ChangeFeed, UnitOfWorkFactory, Uow
from certctl_core.kernel.observability import gauge
from certctl_core.lifecycle.authorities import _store
from certctl_core.lifecycle.authorities.errors import (
    AuthorityUnavailable,
    CAMaterialError,
    SerialAlreadyIssued,
    UnknownAuthority,
)
from certctl_core.lifecycle.authorities.intake import STAMP, Intake
from certctl_core.lifecycle.authorities.loading import LOCAL_ISSUER_ID, Loader
from certctl_core.lifecycle.authorities.members import Members
from certctl_core.lifecycle.authorities.rotation import Rotation
from certctl_core.lifecycle.authorities.schemas import CAKeyView, LocalConfig
from certctl_core.lifecycle.authorities.types import (
    CERTIFYING_STATES,
    SIGNING_STATES,
    AuthorityKey,
    AuthorityURLs,
    CAKeyState,
    LedgerEntry,
    LedgerKind,
)
from certctl_core.pki.serials import canonical, new_serial
from certctl_core.pki.x509 import describe, to_pem
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.authorities")

_DEFAULTS = LocalConfig()
_RECENT_SERIALS = 4096
_ASK_AGAIN_SECONDS = 10.0
"""Between two attempts to get keys that their signer could not give."""

_NOT_AFTER = gauge(
    "certctl_ca_not_after_timestamp_seconds",
    "When a CA certificate ends, as a Unix time.",
    ("issuer_id", "ca_key_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    stamp: int = -1
    current: Mapping[str, AuthorityKey] = field(default_factory=dict)
    by_id: Mapping[tuple[str, str], AuthorityKey] = field(default_factory=dict)


class AuthorityService:
    """Owns ``ca_keys`` and ``ca_issued_certificates``. Safe for threads.

    Args:
        units: For what happens between units of work.
        clock: The time.
        loader: Reads files and asks signers; holds the settings.
        feed: The change feed; its topic ``pki`` makes the snapshot look again.
        draw_serial: The random source of serial numbers.
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        clock: Clock,
        loader: Loader,
        feed: ChangeFeed | None = None,
        draw_serial: Callable[[], int] = new_serial,
    ) -> None:
        self._units = units
        self._clock = clock
        self._loader = loader
        self._intake = Intake(units=units, loader=loader)
        self.rotation = Rotation(units=units, loader=loader, intake=self._intake)
        self.members = Members(units=units, loader=loader)
        self._config_of: Callable[[str], LocalConfig | None] = lambda _issuer_id: None
        self._configs: dict[str, LocalConfig] = {}
        self._snapshot = _Snapshot()
        # What was asked for, and what the snapshot answers: the same object when it is up to date.
        self._asked: object = object()
        self._answered: object = None
        self._lacks_keys = False
        self._ask_again_at = 0.0
        self._lock = threading.RLock()
        self._draw = draw_serial
        self._order: deque[int] = deque(maxlen=_RECENT_SERIALS)
        self._recent: set[int] = set()
        self._serial_lock = threading.Lock()
        if feed is not None:
            feed.subscribe("pki", self.look_again)

    # -- taking keys in: outside any unit of work ---------------------------------------------

    def boot(self, issuer_id: str = LOCAL_ISSUER_ID) -> AuthorityKey:
        """Load the issuer's CA, or make it on the first start (02 CA-2, CA-5).

        Files named by the settings win; else what issued last goes on; else a CA is made by the
        default configuration. Rows and events: see ``ensure``.

        Returns:
            The key that issues, even one that is expired (its CRL and OCSP go on).

        Raises:
            CAMaterialError: A leaf that names the file or key reference and the reason.
        """
        return self._ensure(issuer_id, self._stored_tree(issuer_id))

    def use_configs(self, config_of: Callable[[str], LocalConfig | None]) -> None:
        """Where the stored configuration of an issuer is found; None where there is none."""
        self._config_of = config_of

    def _stored_tree(self, issuer_id: str) -> LocalConfig | None:
        """What this process knows, unless the stored configuration chooses a CA of the tree."""
        stored = self._config_of(issuer_id)
        if stored is not None and stored.issuing_ca_id is not None:
            return stored
        known = self._configs.get(issuer_id)
        if known is not None and known.issuing_ca_id is not None:
            return stored  # The tree was left meanwhile.
        return known

    def ensure(self, issuer_id: str, config: LocalConfig) -> AuthorityKey:
        """Bring the CA of an issuer in line with its configuration; idempotent.

        A CA that was made here stays, whatever the configuration says later (02 CA-2); naming
        files switches to them, and taking them away switches back. A first sight emits
        ``ca_key.loaded``, a switch ``ca_key.changed`` (02 ROT-1), a new certificate for the same
        key ``ca_key.recertified``.

        Raises:
            CAMaterialError: As for ``boot``; the keys in memory stay as they were.
        """
        return self._ensure(issuer_id, config)

    def reload(self) -> None:
        """Read the files of every known issuer again (SIGHUP).

        Raises:
            CAMaterialError: The first failure, after all were tried; such an issuer keeps the
                key that it had.
        """
        failures = []
        known = {*self._look().current, *self._configs}
        if self.publishes(LOCAL_ISSUER_ID):
            known.add(LOCAL_ISSUER_ID)  # Also when its key was taken out of service: as at start.
        for issuer_id in sorted(known):
            try:
                self._ensure(issuer_id, self._stored_tree(issuer_id))
            except CAMaterialError as error:
                _log.error("ca_key.reload_failed", issuer_id=issuer_id, **error.data)
                failures.append(error)
        if failures:
            raise failures[0]

    def preflight(self, issuer_id: str, config: LocalConfig) -> tuple[str, ...] | None:
        """Check what ``ensure`` would use, without changing anything (02 CA-4).

        Returns:
            Warnings as sentences; None where the CA is still to be made.

        Raises:
            CAMaterialError: As for ``boot``.
        """
        material = self._intake.preflight(issuer_id, config)
        return None if material is None else material.certificates.warnings

    def _ensure(self, issuer_id: str, config: LocalConfig | None) -> AuthorityKey:
        with self._lock:
            self._intake.ensure(issuer_id, config)
            if config is not None:
                self._configs[issuer_id] = config
            key = self._load(force=True).current.get(issuer_id)
        if key is None:
            raise AuthorityUnavailable(issuer_id=issuer_id)
        return key

    # -- keys at hand: from memory ------------------------------------------------------------

    def look_again(self) -> None:
        """Compare with the database before the next use (topic ``pki``)."""
        self._asked = object()

    def catch_up(self) -> None:
        """Read what was committed before this call, even while another thread reads.

        For whoever answers with what it has just changed.
        """
        self.look_again()
        with self._lock:
            if self._stale:
                self._load()

    @property
    def _stale(self) -> bool:
        return self._answered is not self._asked

    def signing_key(self, issuer_id: str) -> AuthorityKey:
        """The key that issues for ``issuer_id`` now.

        Raises:
            AuthorityUnavailable: None was taken in, its private key is not at hand, or the CA
                certificate is outside its validity (02 CA-5: it never signs a leaf).
        """
        key = self._look().current.get(issuer_id)
        if self._stale:
            key = self._confirmed(issuer_id, key)
        if key is None:
            raise AuthorityUnavailable(issuer_id=issuer_id, log={"cause": "no CA key"})
        if key.private_key is None:
            raise AuthorityUnavailable(issuer_id=issuer_id, log={"cause": "no private key"})
        now = self._clock.now()
        if not key.certificate.not_valid_before_utc <= now <= key.not_after:
            raise AuthorityUnavailable(issuer_id=issuer_id, log={"cause": "CA not valid now"})
        return key

    def certifying_key(self, issuer_id: str, ca_key_id: str) -> AuthorityKey:
        """A key of the issuer's tree that signs another CA now (02 §9).

        Raises:
            UnknownAuthority: The issuer has no such key.
            AuthorityUnavailable: It is being retired, not at hand, or not valid now.
        """
        key = self.authority_key(ca_key_id, issuer_id)
        if key.state not in CERTIFYING_STATES or key.private_key is None:
            raise AuthorityUnavailable(issuer_id=issuer_id, log={"cause": f"key {key.state}"})
        now = self._clock.now()
        if not key.certificate.not_valid_before_utc <= now <= key.not_after:
            raise AuthorityUnavailable(issuer_id=issuer_id, log={"cause": "CA not valid now"})
        return key

    def check_issuing(self, issuer_id: str, config: LocalConfig) -> None:
        """Refuse a configuration that chooses a CA which cannot issue (02 HIER-6).

        Raises:
            IssuingCAUnusable: The tree has no such CA, or it is not active.
        """
        if config.issuing_ca_id is not None:
            self._intake.check_member(issuer_id, config.issuing_ca_id)

    def publishes(self, issuer_id: str) -> bool:
        """Whether any CA key of ours stands behind the issuer, also when none issues now."""
        return any(issuer == issuer_id for issuer, _ in self._look().by_id)

    def find_current(self, issuer_id: str) -> AuthorityKey | None:
        """The current key, also when it is expired or not at hand; None for an unknown issuer."""
        return self._look().current.get(issuer_id)

    def authority_key(self, ca_key_id: str, issuer_id: str | None = None) -> AuthorityKey:
        """One CA key, of any state.

        Args:
            ca_key_id: Its id.
            issuer_id: Whose; without it, the first issuer that has the key.

        Raises:
            UnknownAuthority: Never seen here.
        """
        found = self._known(ca_key_id, issuer_id)
        if found is None:
            # Another process may have made it a moment ago, and this one not have heard of it.
            self.catch_up()
            found = self._known(ca_key_id, issuer_id)
        if found is None:
            raise UnknownAuthority(ca_key_id=ca_key_id)
        return found

    def _known(self, ca_key_id: str, issuer_id: str | None) -> AuthorityKey | None:
        by_id = self._look().by_id
        if issuer_id is not None:
            return by_id.get((issuer_id, ca_key_id))
        return next((key for key in by_id.values() if key.ca_key_id == ca_key_id), None)

    def authority_keys(self, issuer_id: str | None = None) -> tuple[AuthorityKey, ...]:
        """Every CA key of an issuer (or of all), of any state, oldest first."""
        keys = self._look().by_id.values()
        return tuple(key for key in keys if issuer_id is None or key.issuer_id == issuer_id)

    def authority_of(self, issuer_id: str, leaf: x509.Certificate) -> AuthorityKey | None:
        """The CA key of the issuer that a certificate names by its authority key identifier.

        Mind the difference: an AKI repeats the CA's SKI, which the operator's CA may have made
        by another method than the SHA-1 of a ``ca_key_id`` (RFC 5280 §4.2.1.2).
        """
        try:
            aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except x509.ExtensionNotFound:
            return None
        for key in self.authority_keys(issuer_id):
            if key.template.key_id == aki.key_identifier and leaf.issuer == key.certificate.subject:
                return key
        return None

    def trust_anchors(self, issuer_id: str) -> tuple[str, ...]:
        """What to trust, as PEM: the roots of the current and of previous keys, current first.

        A former root is left out when it has expired: some programs refuse a whole bundle for it.
        """
        now = self._clock.now()
        keys = [key for key in self.authority_keys(issuer_id) if key.state in SIGNING_STATES]
        keys.sort(key=lambda key: key.state is not CAKeyState.CURRENT)
        tops = [
            to_pem(top)
            for key in keys
            for top in [(key.certificate, *key.above)[-1]]
            if key.state is CAKeyState.CURRENT or now <= top.not_valid_after_utc
        ]
        return tuple(dict.fromkeys(tops))

    def _look(self) -> _Snapshot:
        # Whoever finds the lock taken goes on with what is known, unless nothing is known yet.
        is_empty = self._snapshot.stamp < 0
        if (self._stale or is_empty) and self._lock.acquire(blocking=is_empty):
            try:
                if self._stale or self._snapshot.stamp < 0:
                    self._load()
            finally:
                self._lock.release()
        elif self._lacks_keys and self._clock.monotonic() >= self._ask_again_at:
            self._ask_again()
        return self._snapshot

    def _confirmed(self, issuer_id: str, key: AuthorityKey | None) -> AuthorityKey | None:
        """The key that issues, while another thread still reads what has changed.

        A CA that was taken out of service signs nothing after the call that did it has returned.
        """
        with self._units.read() as uow:
            current = _store.find_current_id(uow, issuer_id)
        if current == (None if key is None else key.ca_key_id):
            return key
        with self._lock:
            if self._stale:
                self._load()
            return self._snapshot.current.get(issuer_id)

    def _ask_again(self) -> None:
        """Ask the signers for the keys that could not be had: a token may be back."""
        if self._lock.acquire(blocking=False):
            try:
                self._ask_again_at = self._clock.monotonic() + _ASK_AGAIN_SECONDS
                self._load(force=True)
            finally:
                self._lock.release()

    def _load(self, *, force: bool = False) -> _Snapshot:
        asked = self._asked
        with self._units.read() as uow:
            stamp = uow.stamp(STAMP)
            if stamp == self._snapshot.stamp and not force:
                self._answered = asked
                return self._snapshot
            rows = _store.list_keys(uow)
        old = self._snapshot.by_id
        by_id = {
            (row.issuer_id, row.ca_key_id): self._loader.authority(
                row, self._configs.get(row.issuer_id, _DEFAULTS), old=old
            )
            for row in rows
        }
        current = {key.issuer_id: key for key in by_id.values() if key.state is CAKeyState.CURRENT}
        for key in by_id.values():
            if key.state in SIGNING_STATES:
                _NOT_AFTER.labels(key.issuer_id, key.ca_key_id).set(key.not_after.timestamp())
        self._snapshot = _Snapshot(stamp=stamp, current=current, by_id=by_id)
        self._lacks_keys = any(
            key.private_key is None and key.key_ref is not None and key.state in SIGNING_STATES
            for key in by_id.values()
        )
        self._answered = asked
        return self._snapshot

    def keys(self, issuer_id: str) -> list[CAKeyView]:
        """The CA keys of an issuer as the API shows them: the current one, then newest first."""
        keys = sorted(
            self.authority_keys(issuer_id),
            key=lambda key: (key.state is CAKeyState.CURRENT, key.first_seen_at),
            reverse=True,
        )
        return [_view(key) for key in keys]

    def urls(self, issuer_id: str, config: LocalConfig) -> AuthorityURLs:
        """What certificates of the issuer point at; ``crl`` ends in the current key's id."""
        key = self.find_current(issuer_id)
        if key is None:
            return self._loader.urls(issuer_id, "", config)
        return self._loader.urls(issuer_id, key.ca_key_id, config, crl=key.may_sign_crls)

    def new_serial(self) -> int:
        """A serial number that this process has not given out lately (02 CERT-2).

        The ledger is what makes serials unique; this catches a stuck random source before it
        signs the same number twice.
        """
        with self._serial_lock:
            serial = self._draw()
            while serial in self._recent:
                serial = self._draw()
            if len(self._order) == self._order.maxlen:
                self._recent.discard(self._order[0])
            self._order.append(serial)
            self._recent.add(serial)
        return serial

    # -- rows: inside a unit of work ----------------------------------------------------------

    def record_issued(
        self,
        uow: Uow,
        *,
        issuer_id: str,
        ca_key_id: str,
        serial: str,
        kind: LedgerKind = LedgerKind.LEAF,
        certificate_id: str | None = None,
        profile_id: str | None = None,
        subject: str,
        not_before: datetime,
        not_after: datetime,
        fingerprint_sha256: str,
        short_lived: bool = False,
        later: bool = False,
    ) -> None:
        """Append to the ledger, in the transaction that stores the certificate (02 CERT-3).

        A certificate must not leave the process before this committed. ``later`` writes the row
        together with everything else that waits for the commit.

        Raises:
            SerialAlreadyIssued: The CA key signed this serial before: order again (02 CERT-2).
                Nothing was written and the transaction is still usable; with ``later`` it comes
                with the flush and ends the transaction.
        """
        entry = LedgerEntry(
            issuer_id=issuer_id,
            ca_key_id=ca_key_id,
            serial=canonical(serial),
            kind=kind,
            certificate_id=certificate_id,
            profile_id=profile_id,
            subject=subject,
            not_before=not_before,
            not_after=not_after,
            fingerprint_sha256=fingerprint_sha256,
            short_lived=short_lived,
            issued_at=uow.now,
        )
        taken = partial(SerialAlreadyIssued, serial=entry.serial, ca_key_id=ca_key_id)
        if later:
            _store.queue_entry(uow, entry, taken)
        elif not _store.add_entry(uow, entry):
            raise taken()

    def is_issued(self, uow: Uow, issuer_id: str, ca_key_id: str, serial: str) -> bool:
        """Whether the ledger holds the serial (canonical form) under the key."""
        return _store.is_issued(uow, issuer_id, ca_key_id, serial)

    def find_issued(
        self, uow: Uow, issuer_id: str, serial: str, *, ca_key_id: str | None = None
    ) -> LedgerEntry | None:
        """The ledger entry of a serial (canonical form), under any key of the issuer or one."""
        if ca_key_id is not None:
            ids = [ca_key_id]
        else:
            ids = [key.ca_key_id for key in self.authority_keys(issuer_id)]
        return _store.find_entry(uow, issuer_id, ids, serial)

    def serials_in_force(
        self, uow: Uow, issuer_id: str, ca_key_id: str, *, after: str, limit: int
    ) -> list[str]:
        """The next serials behind ``after`` whose certificates have not ended.

        Without responders and short-lived certificates, about which nobody asks.
        """
        return _store.serials_in_force(uow, issuer_id, ca_key_id, after=after, limit=limit)

    def has_unexpired(self, uow: Uow, issuer_id: str) -> bool:
        """Whether anything that the issuer signed is still within its validity (02 PKI-3)."""
        return _store.has_unexpired(uow, issuer_id)

    def count_unexpired(self, uow: Uow, issuer_id: str) -> int:
        """How many end-entity certificates of the issuer are still within their validity."""
        return _store.count_unexpired(uow, issuer_id)


def _view(key: AuthorityKey) -> CAKeyView:
    info = describe(key.certificate)
    return CAKeyView(
        ca_key_id=key.ca_key_id,
        issuer_id=key.issuer_id,
        state=key.state,
        origin=key.origin,
        signer=key.signer,
        key_ref=key.key_ref,
        member_id=key.member_id,
        subject=info.subject,
        serial=info.serial,
        key_algorithm=info.key.name,
        fingerprint_sha256=info.fingerprint_sha256,
        not_before=info.not_before,
        not_after=info.not_after,
        first_seen_at=key.first_seen_at,
        can_sign=key.private_key is not None,
        warnings=list(key.warnings),
        crl_urls=list(key.urls.crl),
        ocsp_urls=list(key.urls.ocsp),
        ca_issuer_urls=list(key.urls.ca_issuers),
        certificate_pem=key.certificate_pem,
        chain_pem=key.chain_pem,
        cross_pem=key.cross_pem,
    )
