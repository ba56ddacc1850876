"""Delegated OCSP responders: made lazily, verified before use, rotated in time (02 §12 RSP)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy.engine import Row

from certctl_core.kernel.actors import SYSTEM, Actor
from certctl_core.kernel.db import UnitOfWorkFactory, Uow
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import gauge
from certctl_core.kernel.secrets import Keyring, Purpose, SealBroken, UnknownKeyId
from certctl_core.lifecycle.authorities import (
    AuthorityKey,
    AuthorityService,
    GuardedSigner,
    LedgerKind,
)
from certctl_core.lifecycle.revocation._tables import ocsp_responder_certs as t
from certctl_core.lifecycle.revocation.errors import (
    ResponderKeyUnusable,
    ResponderNotConfigured,
)
from certctl_core.lifecycle.revocation.events import ResponderRotated
from certctl_core.lifecycle.revocation.types import Responder
from certctl_core.pki.errors import PKIError
from certctl_core.pki.keys import (
    KeyAlgorithm,
    SigningKey,
    generate,
    load_private_key_pem,
    private_key_pem,
    spki_sha256,
)
from certctl_core.pki.serials import canonical
from certctl_core.pki.x509 import (
    build_responder,
    fingerprint_sha256,
    parse_certificate,
    to_pem,
)
from certctl_core.values import dataclass

_log = structlog.get_logger("certctl.ocsp")
_BACKDATE = timedelta(minutes=5)
_RECHECK_SECONDS = 1.0
_DB = "db:"
_PRIVATE = 0o077

_NOT_AFTER = gauge(
    "certctl_ocsp_responder_not_after_timestamp_seconds",
    "When the certificate of an OCSP responder ends, as a Unix time.",
    ("issuer_id", "ca_key_id"),
)

_SEALED = "its sealed key cannot be opened"
_UNREADABLE = "its key file cannot be read"
_READABLE = "its key file is readable by others"
_NO_KEY = "its key file holds no usable key"
_MISMATCH = "its key does not match its certificate"
_AWAY = "its signer cannot give its key"
_KEY_FAULTS = frozenset({_SEALED, _UNREADABLE, _READABLE, _NO_KEY, _MISMATCH, _AWAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What the row and the key file give.

    Attributes:
        fault: Why a new responder is needed; empty when none is.
        serial: Of the row; empty without one.
        responder: What may be used, also while it is due.
    """

    fault: str
    serial: str = ""
    responder: Responder | None = None


class _Overtaken(Exception):
    """Another process replaced the responder first."""


class ResponderService:
    """The responder of each CA key.

    Args:
        units: Opens the transactions of a rotation.
        authorities: The CA keys and the ledger.
        keyring: Seals keys kept in the database.
        key_dir: Where keys are kept as files, one an issuer; None keeps them sealed in the row.
        validity / grace: Lifetime of a responder certificate, and how long before its end it is
            replaced.
        signer: Gives the signer that makes and keeps the keys instead (``CERTCTL_SIGNER_OCSP``).
    """

    def __init__(
        self,
        *,
        units: UnitOfWorkFactory,
        authorities: AuthorityService,
        keyring: Keyring,
        key_dir: Path | None,
        validity: timedelta = timedelta(days=30),
        grace: timedelta = timedelta(days=7),
        signer: Callable[[], GuardedSigner] | None = None,
    ) -> None:
        self._units = units
        self._authorities = authorities
        self._keyring = keyring
        self._key_dir = key_dir
        self._validity = validity
        self._grace = grace
        self._signer = signer
        self._ready: dict[tuple[str, str], Responder] = {}
        self._lock = threading.Lock()
        self.on_rotated: Callable[[str], None] = lambda _issuer_id: None

    def forget(self) -> None:
        """Look at the rows and files again before the next use (topic ``pki``)."""
        self._ready = {}

    def get(self, key: AuthorityKey) -> Responder:
        """A responder for a CA key: the stored one if it holds, else a new one.

        Raises:
            ResponderNotConfigured: The key directory cannot be used, or the CA key is not at hand.
            ResponderKeyUnusable: The key is unusable and could not be replaced.
        """
        place = (key.issuer_id, key.ca_key_id)
        found = self._ready.get(place)
        monotonic = self._units.clock.monotonic()
        if (
            found is not None
            and monotonic - found.checked_at < _RECHECK_SECONDS
            and _identity(found.key_path) == found.key_file
        ):
            return found
        with self._lock:
            stored = self._load(key)
            responder = stored.responder
            if responder is None or stored.fault:
                responder = self._replaced(key, stored)
            self._ready[place] = replace(responder, checked_at=monotonic)
            return self._ready[place]

    def _replaced(self, key: AuthorityKey, stored: _Stored) -> Responder:
        """A new responder; the old one goes on while it holds and a new one cannot be had."""
        try:
            return self._rotate(key, stored.fault, instead_of=stored.serial)
        except (CertctlError, PKIError) as error:
            if stored.responder is not None:
                _log.error("ocsp_responder.not_rotated", issuer_id=key.issuer_id, error=str(error))
                return stored.responder
            if stored.fault in _KEY_FAULTS:
                cause = {"key": stored.fault, "cause": str(error)}
                raise ResponderKeyUnusable(log=cause) from error
            raise

    def rotate(
        self, key: AuthorityKey, *, cause: str, actor: Actor = SYSTEM, request_id: str = ""
    ) -> Responder:
        """Replace the responder now (operator or loop); emits ``ocsp_responder.rotated``."""
        with self._lock:
            responder = self._rotate(
                key, cause, instead_of=None, actor=actor, request_id=request_id
            )
            self._ready[key.issuer_id, key.ca_key_id] = responder
            return responder

    def refresh(self) -> int:
        """Rotate what is due or broken (the CRL loop's tick); returns how many.

        One that cannot be rotated does not stop the others.
        """
        rotated = 0
        for key in self._authorities.authority_keys():
            if key.private_key is None:
                continue
            stored = self._load(key)
            if not stored.serial or not stored.fault:
                continue
            try:
                self.rotate(key, cause=stored.fault)
            except (CertctlError, PKIError) as error:
                _log.error("ocsp_responder.not_rotated", issuer_id=key.issuer_id, error=str(error))
                continue
            rotated += 1
        return rotated

    def fault_of(self, key: AuthorityKey) -> str:
        """Why the stored responder of a CA key will be replaced at its next use; "" if it holds."""
        return self._load(key).fault

    def path_of(self, key: AuthorityKey) -> Path | None:
        """Where the key file of a CA key's responder lies (RSP-2), or None in database mode."""
        if self._key_dir is None or self._signer is not None:
            return None
        current = self._authorities.find_current(key.issuer_id)
        if current is not None and current.ca_key_id == key.ca_key_id:
            return self._key_dir / f"{key.issuer_id}.key"
        return self._key_dir / f"{key.issuer_id}.{key.ca_key_id[:16]}.key"

    def _row(self, uow: Uow, key: AuthorityKey) -> Row[Any] | None:
        return uow.first(
            sa.select(t).where(t.c.issuer_id == key.issuer_id, t.c.ca_key_id == key.ca_key_id)
        )

    def _load(self, key: AuthorityKey) -> _Stored:
        """Every check of RSP-3 on what is stored."""
        with self._units.read() as uow:
            row = self._row(uow, key)
        if row is None:
            return _Stored(fault="no responder yet")

        def useless(fault: str) -> _Stored:
            return _Stored(fault=fault, serial=row.serial_number)

        try:
            certificate = parse_certificate(row.cert_pem)
            certificate.verify_directly_issued_by(key.certificate)
        except Exception:  # noqa: BLE001 - any defect of the row means a new responder
            return useless("its certificate is not from this CA")
        if not _is_responder(certificate):
            return useless("its certificate is no responder certificate")
        now = self._units.clock.now()
        end = certificate.not_valid_after_utc
        is_last = end >= key.not_after  # nothing that this CA signs can end later
        if certificate.not_valid_before_utc > now:
            return useless("not valid yet")
        if end <= now and not is_last:
            return useless("it has ended")
        identity = _identity(row.key_path)
        private, fault = self._private_key(key, row)
        if private is None:
            return useless(fault)
        if spki_sha256(private.public_key()) != spki_sha256(certificate.public_key()):
            return useless(_MISMATCH)
        responder = Responder(
            serial=row.serial_number,
            certificate=certificate,
            key=private,
            not_after=end,
            key_path=row.key_path,
            checked_at=self._units.clock.monotonic(),
            key_file=identity,
        )
        _NOT_AFTER.labels(key.issuer_id, key.ca_key_id).set(end.timestamp())
        is_due = not is_last and now + min(self._grace, self._validity / 2) >= end
        return _Stored(
            fault="within its grace" if is_due else "",
            serial=row.serial_number,
            responder=responder,
        )

    def _private_key(self, key: AuthorityKey, row: Row[Any]) -> tuple[SigningKey | None, str]:
        if row.key_path.startswith(_DB):
            try:
                pem = self._keyring.open(
                    Purpose.RESPONDER_KEY,
                    row.key_enc or "",
                    table="ocsp_responder_certs",
                    column="key_enc",
                    row_id=f"{key.issuer_id}/{key.ca_key_id}",
                )
                return load_private_key_pem(pem), ""
            except (SealBroken, UnknownKeyId, PKIError):
                return None, _SEALED
        if not row.key_path.startswith("/"):
            return self._signers_key(key, row.key_path)
        path = Path(row.key_path)
        try:
            mode = path.stat().st_mode
            pem = path.read_bytes()
        except OSError:
            return None, _UNREADABLE
        if mode & _PRIVATE:
            return None, _READABLE
        try:
            return load_private_key_pem(pem), ""
        except PKIError:
            return None, _NO_KEY

    def _signers_key(self, key: AuthorityKey, ref: str) -> tuple[SigningKey | None, str]:
        """The key that the signer keeps; one that is in use is not asked for again."""
        used = self._ready.get((key.issuer_id, key.ca_key_id))
        if used is not None and used.key_path == ref:
            return used.key, ""
        if self._signer is None:
            return None, _AWAY
        try:
            return self._signer().load(ref), ""
        except CertctlError as error:
            _log.warning("ocsp_responder.key_not_at_hand", key=ref, error=error.detail)
            return None, _AWAY

    def _new_key(self, key: AuthorityKey) -> tuple[SigningKey, str]:
        """A key for the next certificate, and its reference where a signer keeps it.

        A signer's key is used again: tokens are small, and nobody would take the old ones out.
        """
        if self._signer is None:
            return generate(KeyAlgorithm.ECDSA_P256), ""
        with self._units.read() as uow:
            row = self._row(uow, key)
        if row is not None and not row.key_path.startswith(("/", _DB)):
            private, _ = self._signers_key(key, row.key_path)
            if private is not None:
                return private, row.key_path
        made = self._signer().generate(KeyAlgorithm.ECDSA_P256, f"ocsp/{key.ca_key_id}")
        return made.key, made.ref

    def _rotate(
        self,
        key: AuthorityKey,
        cause: str,
        *,
        instead_of: str | None,
        actor: Actor = SYSTEM,
        request_id: str = "",
    ) -> Responder:
        """New key to a temporary file → certificate → row and ledger → rename (RSP-2).

        With ``instead_of``, the responder that another process put in the place of that serial
        meanwhile is taken as it is (RSP-5).
        """
        if key.private_key is None:
            raise ResponderNotConfigured(log={"cause": "the CA key is not at hand"})
        private, ref = self._new_key(key)
        target = self.path_of(key)
        certificate = self._certify(key, private)
        staged = self._stage(target, private) if target is not None else None
        try:
            with self._units.begin(actor, request_id=request_id) as uow:
                before = self._locked(uow, key)
                if instead_of is not None and before not in {None, instead_of}:
                    raise _Overtaken  # noqa: TRY301 - it ends the transaction
                self._store(uow, key, certificate, private, ref or target, cause, before)
                if staged is not None and target is not None:
                    # Renamed inside the transaction: a crash in between leaves a pair that does
                    # not match, which the next use sees and replaces (RSP-3).
                    staged.replace(target)
        except _Overtaken:
            found = self._load(key).responder
            if found is not None:
                return found
            return self._rotate(key, cause, instead_of=None, actor=actor, request_id=request_id)
        except OSError as error:
            raise ResponderNotConfigured(log={"path": str(target), "cause": str(error)}) from error
        finally:
            if staged is not None:
                staged.unlink(missing_ok=True)
        _log.info("ocsp_responder.rotated", issuer_id=key.issuer_id, cause=cause)
        self.on_rotated(key.issuer_id)
        path = ref or str(target or _DB)
        end = certificate.not_valid_after_utc
        _NOT_AFTER.labels(key.issuer_id, key.ca_key_id).set(end.timestamp())
        return Responder(
            serial=canonical(certificate.serial_number),
            certificate=certificate,
            key=private,
            not_after=certificate.not_valid_after_utc,
            key_path=path,
            checked_at=self._units.clock.monotonic(),
            key_file=_identity(path),
        )

    def _certify(self, key: AuthorityKey, private: SigningKey) -> x509.Certificate:
        now = self._units.clock.now()
        return build_responder(
            public_key=private.public_key(),
            issuer=key.certificate,
            key=key.key,
            serial=self._authorities.new_serial(),
            # Of a CA that has ended the answers go on (02 CA-5); nothing ends after the CA does.
            not_before=min(now, key.not_after) - _BACKDATE,
            not_after=now + self._validity,
        )

    def _locked(self, uow: Uow, key: AuthorityKey) -> str | None:
        """The serial in the row, which no other process makes or replaces until this one ends."""
        uow.lock_table(t)
        serial: str | None = uow.scalar(
            sa.select(t.c.serial_number).where(
                t.c.issuer_id == key.issuer_id, t.c.ca_key_id == key.ca_key_id
            )
        )
        return serial

    def _store(  # noqa: PLR0917 - one call, names equal to the arguments
        self,
        uow: Uow,
        key: AuthorityKey,
        certificate: x509.Certificate,
        private: SigningKey,
        target: Path | str | None,
        cause: str,
        before: str | None,
    ) -> None:
        serial = canonical(certificate.serial_number)
        self._authorities.record_issued(
            uow,
            issuer_id=key.issuer_id,
            ca_key_id=key.ca_key_id,
            serial=serial,
            kind=LedgerKind.OCSP_RESPONDER,
            subject=certificate.subject.rfc4514_string(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint_sha256=fingerprint_sha256(certificate),
        )
        sealed = None
        if target is None:
            sealed = self._keyring.seal(
                Purpose.RESPONDER_KEY,
                private_key_pem(private),
                table="ocsp_responder_certs",
                column="key_enc",
                row_id=f"{key.issuer_id}/{key.ca_key_id}",
            )
        values = {
            "cert_subject": certificate.subject.rfc4514_string(),
            "serial_number": serial,
            "not_before": certificate.not_valid_before_utc,
            "not_after": certificate.not_valid_after_utc,
            "created_at": uow.now,
            "key_path": str(target) if target is not None else _DB,
            "cert_pem": to_pem(certificate),
            "key_alg": KeyAlgorithm.ECDSA_P256.value,
            "key_enc": sealed,
            "rotated_from": before,
            "updated_at": uow.now,
        }
        uow.execute(
            uow.insert(t)
            .values(issuer_id=key.issuer_id, ca_key_id=key.ca_key_id, **values)
            .on_conflict_do_update(index_elements=[t.c.issuer_id, t.c.ca_key_id], set_=values)
        )
        uow.emit(
            ResponderRotated(
                resource_id=key.issuer_id,
                ca_key_id=key.ca_key_id,
                serial_number=serial,
                rotated_from=before,
                cause=cause,
            )
        )
        uow.wake("pki")

    def _stage(self, target: Path, private: SigningKey) -> Path:
        staged = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if target.parent.stat().st_mode & _PRIVATE:
                target.parent.chmod(0o700)
            descriptor = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(private_key_pem(private))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise ResponderNotConfigured(log={"path": str(target), "cause": str(error)}) from error
        return staged


def _identity(key_path: str) -> tuple[int, int, int] | None:
    """What changes with a key file (RSP-4); None of a key that lies elsewhere."""
    if not key_path.startswith("/"):
        return None
    try:
        found = os.stat(key_path)  # noqa: PTH116 - at each signature; a Path costs twice the call
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_responder(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage
