"""Private keys on this host: pending until there is a certificate, then kept (spec 07 §5).

``<key_dir>/<certificate id>/<SPKI SHA-256>.key`` is PKCS#8 PEM with mode 0600. Beside a pending key
lies ``<SPKI SHA-256>.pending`` with the job and its request, which is sent again after a crash.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certctl_agent.errors import KeyDirectoryRefused, KeyUnsupported, StateUnusable
from certctl_agent.files import private_directory, read_private, shred, write_private
from certctl_agent.requests import make_request
from certctl_core.deploy import IdRefused, KeyMissing
from certctl_core.kernel.clock import Clock
from certctl_core.kernel.ids import is_id
from certctl_core.pki.errors import KeyRejected
from certctl_core.pki.keys import (
    KeyAlgorithm,
    SigningKey,
    generate,
    load_private_key_pem,
    private_key_pem,
    spki_sha256,
)
from certctl_core.pki.names import GeneralName

SUPERSEDED_KEPT = 2
PENDING_KEPT = timedelta(days=7)
_SPKI = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingKey:
    """A key that waits for its certificate.

    Attributes:
        spki: SHA-256 of its SubjectPublicKeyInfo, hex.
        job_id: The job that asked for it.
        csr_pem: The request that was made for it.
        is_reused: The key serves already: a refused request does not end it.
    """

    spki: str
    job_id: str
    csr_pem: str
    is_reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a job asks for.

    Attributes:
        algorithm: The public name of the key algorithm, e.g. ``ECDSA-P256``.
        names: Subject alternative names.
        common_name: Of the subject.
        must_staple: Whether to ask for the TLS feature.
        reuse_key: Whether to keep the key of the present version (KEY-10).
    """

    algorithm: str
    names: Sequence[GeneralName]
    common_name: str
    must_staple: bool = False
    reuse_key: bool = False


class KeyStore:
    """The private keys of this agent.

    Args:
        path: Their directory; 0700.
        clock: For the age of pending keys.

    Raises:
        KeyDirectoryRefused: It is the root directory or belongs to somebody else.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        resolved = path.absolute()
        if resolved == Path(resolved.anchor):
            raise KeyDirectoryRefused(path=str(path), reason="it is the root of the file system")
        try:
            self.path = private_directory(resolved).resolve()
        except StateUnusable as error:
            reason = str(error.data.get("reason"))
            raise KeyDirectoryRefused(path=str(path), reason=reason) from error

    def request(self, certificate_id: str, job_id: str, wanted: Wanted) -> PendingKey:
        """The pending key and request of a job; made once, the same again after a crash.

        Raises:
            IdRefused: The certificate's id could leave the directory.
            KeyUnsupported: This host cannot make such a key.
            StateUnusable: The file system refuses.
        """
        directory = self._directory(certificate_id)
        for path in sorted(directory.glob("*.pending")):
            known = self._read_pending(path)
            if known is not None and known.job_id == job_id:
                return known
        key = self._reused(directory) if wanted.reuse_key else None
        is_reused = key is not None
        if key is None:
            key = _generate(wanted.algorithm)
            name = f"{spki_sha256(key.public_key())}.key"
            write_private(directory / name, private_key_pem(key))
        csr_pem = make_request(
            key,
            names=wanted.names,
            common_name=wanted.common_name,
            must_staple=wanted.must_staple,
        )
        pending = PendingKey(
            spki=spki_sha256(key.public_key()),
            job_id=job_id,
            csr_pem=csr_pem,
            is_reused=is_reused,
        )
        members = {name: getattr(pending, name) for name in ("job_id", "csr_pem", "is_reused")}
        write_private(directory / f"{pending.spki}.pending", json.dumps(members).encode())
        return pending

    def promote(self, certificate_id: str, spki: str) -> None:
        """A certificate for the key exists: it is pending no longer (KEY-06)."""
        directory = self._directory(certificate_id)
        mark = directory / f"{_checked(spki)}.pending"
        if mark.exists():
            mark.unlink()
            at = self._clock.now().timestamp()
            os.utime(directory / f"{spki}.key", (at, at))

    def discard(self, certificate_id: str, spki: str) -> None:
        """The request was refused: the next one gets another key, unless this one is in use."""
        directory = self._directory(certificate_id)
        mark = directory / f"{_checked(spki)}.pending"
        pending = self._read_pending(mark)
        mark.unlink(missing_ok=True)
        if pending is not None and not pending.is_reused:
            shred(directory / f"{spki}.key")

    def load(self, certificate_id: str, spki: str) -> bytes:
        """The key of a version, PEM.

        Raises:
            KeyMissing: It is not on this host.
            IdRefused: The certificate's id could leave the directory.
        """
        data = read_private(self._directory(certificate_id) / f"{_checked(spki)}.key")
        if data is None:
            raise KeyMissing
        return data

    def prune(self, certificate_id: str, *, current: str) -> int:
        """Shred superseded keys but the last two; returns how many (KEY-07).

        Args:
            certificate_id: Whose.
            current: SPKI digest of the key that was just deployed.
        """
        directory = self._directory(certificate_id)
        settled = [
            path
            for path in directory.glob("*.key")
            if path.stem != current and not path.with_suffix(".pending").exists()
        ]
        settled.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in settled[SUPERSEDED_KEPT:]:
            shred(path)
        return len(settled[SUPERSEDED_KEPT:])

    def sweep(self) -> int:
        """Shred keys that have waited for a certificate for more than a week; returns how many."""
        removed = 0
        limit = (self._clock.now() - PENDING_KEPT).timestamp()
        for mark in sorted(self.path.glob("*/*.pending")):
            if mark.stat().st_mtime < limit:
                self.discard(mark.parent.name, mark.stem)
                removed += 1
        return removed

    def _directory(self, certificate_id: str) -> Path:
        if not is_id(certificate_id):
            raise IdRefused(what="certificate")
        directory = private_directory(self.path / certificate_id)
        if directory.resolve().parent != self.path:
            raise IdRefused(what="certificate")
        return directory

    def _read_pending(self, path: Path) -> PendingKey | None:
        data = read_private(path)
        if data is None or not path.with_suffix(".key").exists():
            return None
        try:
            document = json.loads(data)
            return PendingKey(
                spki=path.stem,
                job_id=str(document["job_id"]),
                csr_pem=str(document["csr_pem"]),
                is_reused=bool(document["is_reused"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def _reused(self, directory: Path) -> SigningKey | None:
        settled = [
            path for path in directory.glob("*.key") if not path.with_suffix(".pending").exists()
        ]
        if not settled:
            return None
        newest = max(settled, key=lambda path: path.stat().st_mtime)
        data = read_private(newest)
        return None if data is None else load_private_key_pem(data)


def _generate(algorithm: str) -> SigningKey:
    try:
        return generate(KeyAlgorithm(algorithm))
    except (ValueError, KeyRejected) as error:
        raise KeyUnsupported(name=algorithm[:64]) from error


def _checked(spki: str) -> str:
    if not _SPKI.fullmatch(spki):
        raise IdRefused(what="key")
    return spki
