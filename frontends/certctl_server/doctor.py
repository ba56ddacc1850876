"""``certctl doctor``: would this installation survive the loss of its machine or of its database?

It looks at what a machine can see of the disaster-recovery checklist (02 DR-17, DR-23, DR-30), and
names what only people know. It changes nothing, and goes on where a part cannot be looked at.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from certctl_core.kernel.errors import CertctlError
from certctl_core.values import dataclass
from certctl_server.exits import StartFailure
from certctl_server.files import DRILL_FILE

if TYPE_CHECKING:
    from certctl_core.app import Core
    from certctl_core.kernel.config import Settings
    from certctl_core.lifecycle.authorities import AuthorityKey

_DAY = timedelta(days=1)
_YEAR = 365 * _DAY
_QUARTER = 92 * _DAY
_CA_KEY_AGE = 5 * _YEAR
_BACKUP_AGE = timedelta(hours=26)
_BACKUP_RETENTION = 30 * _DAY
_SIGNING_STATES = frozenset({"current", "previous", "member"})
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Status(StrEnum):
    """What came out of one look."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNSEEN = "unseen"


class Box(StrEnum):
    """The boxes of the checklist, in its order."""

    BACKUP = "database backup"
    CA = "CA certificate and key"
    RESPONDERS = "OCSP responder keys"
    TRUST = "trust anchors"
    SECRETS = "secrets of the settings"
    RESTORE = "restore, each quarter"
    CA_EXPIRY = "CA valid for a year"
    ROTATION = "responder rotation"
    DRILL = "full drill, each year"
    KEYS = "API keys and tokens, each year"
    CA_AGE = "CA key, each five years"
    OTHER = "everything else"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        box: The box of the checklist that it belongs to.
        status: ``unseen`` is what no machine can tell.
        what: The thing: a file, a key, a table.
        detail: What was found.
        hint: What to do; empty where nothing is to be done.
        path / present / mode / not_after: Of a file, where it is one.
    """

    box: Box
    status: Status
    what: str
    detail: str
    hint: str = ""
    path: str | None = None
    present: bool | None = None
    mode: str | None = None
    not_after: datetime | None = None


class Doctor:
    """Looks at one installation.

    Args:
        settings: Of the installation.
        now: The time.
        open_core: Opens it; raises where that is impossible.
        backups: Where backups of the database lie, if that can be seen from here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: datetime,
        open_core: Callable[[], Core],
        backups: Path | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._open_core = open_core
        self._backups = backups

    def look(self) -> list[Finding]:
        """Everything, in the order of the checklist."""
        found = [
            *self._look_at_backups(),
            *self._secrets(),
            *self._trust(),
            *self._drills(),
        ]
        try:
            core = self._open_core()
        except (CertctlError, StartFailure, OSError) as error:
            found += self._closed(error)
        else:
            try:
                found += self._inside(core)
            finally:
                core.close()
        order = list(Box)
        return sorted(found, key=lambda finding: order.index(finding.box))

    def _inside(self, core: Core) -> Iterator[Finding]:
        yield Finding(
            box=Box.OTHER,
            status=Status.OK,
            what="database",
            detail="it opens, its schema is this release's, and its sealed values open",
        )
        for key in core.rooms.authorities.authority_keys():
            yield from self._ca(key)
        yield from self._responders(core)
        yield from self._crls(core)
        yield from self._api_keys(core)

    def _closed(self, error: Exception) -> Iterator[Finding]:
        detail, hint = str(error), ""
        if isinstance(error, CertctlError):
            detail, hint = error.detail, error.hint
        yield Finding(
            box=Box.OTHER, status=Status.FAIL, what="installation", detail=detail, hint=hint
        )
        ca = self._settings.ca
        for path, is_secret in ((ca.cert_path, False), (ca.key_path, True)):
            if path is not None and str(path).startswith("/"):
                yield self._file(Box.CA, Path(str(path)), "CA", is_secret=is_secret)

    # -- files --------------------------------------------------------------------------------

    def _file(self, box: Box, path: Path, what: str, *, is_secret: bool, hint: str = "") -> Finding:
        """Presence, mode and expiry of one file."""
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            return Finding(
                box=box,
                status=Status.FAIL,
                what=what,
                detail=f"{path} is not there: {error.strerror}",
                hint=hint or "Put it back from the backup.",
                path=str(path),
                present=False,
            )
        ends = _ends(path)
        status, detail, advice = Status.OK, f"{path}, mode {mode:04o}", ""
        if is_secret and mode & _OTHERS:
            status, advice = Status.FAIL, f"chmod go= {path}"
            detail += ": others may read it"
        elif ends is not None and ends <= self._now:
            status, advice = Status.FAIL, "Replace it."
            detail += f", expired on {ends:%Y-%m-%d}"
        elif ends is not None:
            detail += f", until {ends:%Y-%m-%d}"
        return Finding(
            box=box,
            status=status,
            what=what,
            detail=detail,
            hint=advice,
            path=str(path),
            present=True,
            mode=f"{mode:04o}",
            not_after=ends,
        )

    # -- the boxes ----------------------------------------------------------------------------

    def _look_at_backups(self) -> Iterator[Finding]:
        if self._backups is None:
            yield Finding(
                box=Box.BACKUP,
                status=Status.UNSEEN,
                what="backups",
                detail="nobody said where they lie",
                hint="Give --backups DIR to have their age looked at.",
            )
            return
        try:
            times = sorted(
                datetime.fromtimestamp(entry.stat().st_mtime, tz=self._now.tzinfo)
                for entry in os.scandir(self._backups)
                if entry.is_file() and not entry.name.startswith(".")
            )
        except OSError as error:
            yield Finding(
                box=Box.BACKUP,
                status=Status.FAIL,
                what="backups",
                detail=f"{self._backups} cannot be listed: {error.strerror}",
                path=str(self._backups),
            )
            return
        age = self._now - times[-1] if times else None
        span = self._now - times[0] if times else None
        fresh = age is not None and age <= _BACKUP_AGE
        yield Finding(
            box=Box.BACKUP,
            status=Status.OK if fresh else Status.FAIL,
            what="newest backup",
            detail=f"{_words(age)} old" if age is not None else f"{self._backups} is empty",
            hint="" if fresh else "A backup each night: look at the job that makes them.",
            path=str(self._backups),
        )
        kept = span is not None and span >= _BACKUP_RETENTION - _DAY
        yield Finding(
            box=Box.BACKUP,
            status=Status.OK if kept else Status.WARN,
            what="oldest backup",
            detail=f"{_words(span)} old" if span is not None else "there is none",
            hint="" if kept else "Keep them for 30 days.",
            path=str(self._backups),
        )

    def _ca(self, key: AuthorityKey) -> Iterator[Finding]:
        name = f"{key.issuer_id} {key.certificate.subject.rfc4514_string()} ({key.state})"
        if str(key.state) not in _SIGNING_STATES:
            yield Finding(box=Box.CA, status=Status.OK, what=name, detail="it signs nothing")
            return
        path = self._key_path(key)
        if path is not None:
            yield self._file(Box.CA, path, f"key of {name}", is_secret=True)
        elif key.private_key is None:
            yield Finding(
                box=Box.CA,
                status=Status.FAIL,
                what=f"key of {name}",
                detail=f"the signer {key.signer} does not give it",
                hint="Look at the log of the server for the reason.",
            )
        yield self._ca_expiry(key, name)
        if str(key.state) == "current":
            age = self._now - max(key.first_seen_at, key.certificate.not_valid_before_utc)
            is_old = age > _CA_KEY_AGE
            yield Finding(
                box=Box.CA_AGE,
                status=Status.WARN if is_old else Status.OK,
                what=name,
                detail=f"the key is {_words(age)} old",
                hint="Rotate the CA key: docs/operator/disaster-recovery.md." if is_old else "",
            )

    def _key_path(self, key: AuthorityKey) -> Path | None:
        if key.signer != "file" or key.key_ref is None:
            return None
        return self._settings.data_dir / key.key_ref  # an absolute one replaces the directory

    def _ca_expiry(self, key: AuthorityKey, name: str) -> Finding:
        left = key.not_after - self._now
        status, hint = Status.OK, ""
        if left <= timedelta(0):
            status = Status.FAIL if str(key.state) == "current" else Status.OK
        elif left < _YEAR and str(key.state) != "previous":
            status, hint = Status.WARN, "Rotate the CA: what it signs cannot outlive it."
        ended = "ended" if left <= timedelta(0) else "ends"
        return Finding(
            box=Box.CA_EXPIRY,
            status=status,
            what=name,
            detail=f"{ended} on {key.not_after:%Y-%m-%d}",
            hint=hint,
            not_after=key.not_after,
        )

    def _responders(self, core: Core) -> Iterator[Finding]:
        folder = self._settings.ocsp.responder_key_dir
        in_files = self._settings.ocsp.responder_key_store == "file"
        rows = core.call("ocsp.state").responders
        if in_files and folder.exists():
            yield self._file(Box.RESPONDERS, folder, "folder of responder keys", is_secret=True)
        if not rows:
            for box in (Box.RESPONDERS, Box.ROTATION):
                detail = "there is none yet; the first request makes one from the CA"
                yield Finding(box=box, status=Status.OK, what="responders", detail=detail)
        for row in rows:
            name = f"responder of {row.issuer_id} {row.ca_key_id[:16]}"
            if row.key_path.startswith("/"):
                found = self._file(Box.RESPONDERS, Path(row.key_path), name, is_secret=True)
                if not found.present:  # not lost: made anew from the CA (DR-18)
                    yield Finding(
                        box=Box.RESPONDERS,
                        status=Status.WARN,
                        what=name,
                        detail=found.detail,
                        hint="The next OCSP request makes a new one from the CA.",
                        path=row.key_path,
                        present=False,
                    )
                else:
                    yield found
            late = row.not_after <= self._now
            yield Finding(
                box=Box.ROTATION,
                status=Status.FAIL if late else Status.OK,
                what=name,
                detail=f"serial {row.serial_number}, made on {row.created_at:%Y-%m-%d}, "
                f"until {row.not_after:%Y-%m-%d}",
                hint="Rotation does not happen: certctl ocsp rotate." if late else "",
                not_after=row.not_after,
            )

    def _crls(self, core: Core) -> Iterator[Finding]:
        folder = self._settings.crl.export_dir
        rows = core.call("crl.state").cache_rows
        with core.units.read() as uow:
            ahead = core.rooms.recovery.copies_ahead(uow, folder)
        for row in rows:
            late = row.next_update is not None and row.next_update <= self._now
            if late:
                yield Finding(
                    box=Box.OTHER,
                    status=Status.WARN,
                    what=f"CRL of {row.issuer_id} {row.ca_key_id[:16]}",
                    detail=f"it ended on {row.next_update:%Y-%m-%d %H:%M}",
                    hint="certctl crl regenerate",
                )
        if folder is None:
            yield Finding(
                box=Box.BACKUP,
                status=Status.WARN,
                what="copies of CRLs",
                detail="CERTCTL_CRL_EXPORT_DIR is not set: a restore loses newer revocations",
                hint="Set it to a folder that is not lost together with the database.",
            )
        for crl in ahead:
            yield Finding(
                box=Box.BACKUP,
                status=Status.FAIL,
                what="copies of CRLs",
                detail=f"{crl.path} has number {crl.number}, the database {crl.last_number}",
                hint=f"certctl dr import-crl {crl.path}",
                path=str(crl.path),
                present=True,
            )

    def _trust(self) -> Iterator[Finding]:
        """Every file that a setting names, besides the CA's own."""
        from certctl_core.kernel.config import specs

        named = 0
        for spec in specs().values():
            value = spec.value_in(self._settings)
            if spec.name.startswith("CA_") or not isinstance(value, Path):
                continue
            if not spec.name.endswith(("_PATH", "_FILE", "_BUNDLE")):
                continue
            named += 1
            is_secret = "KEY" in spec.name
            yield self._file(Box.TRUST, value, spec.env_name, is_secret=is_secret)
        if not named:
            yield Finding(
                box=Box.TRUST,
                status=Status.OK,
                what="trust anchors",
                detail="no setting names a file with any",
            )

    def _secrets(self) -> Iterator[Finding]:
        for line in self._settings.dump():
            name = line.name
            if not name.endswith(
                ("CONFIG_ENCRYPTION_KEYS", "CONFIG_ENCRYPTION_KEY", "AGENT_BOOTSTRAP_TOKEN")
            ):
                continue
            if line.value:
                yield Finding(
                    box=Box.SECRETS,
                    status=Status.OK,
                    what=name,
                    detail=f"is set ({line.source}); keep it in a separate secret manager",
                )
        keyring = self._settings.data_dir / "keyring"
        encryption = self._settings.encryption
        if encryption.keys is None and encryption.key is None:
            hint = "Without it the database cannot be opened: put it back from the backup."
            yield self._file(
                Box.SECRETS, keyring, "CERTCTL_CONFIG_ENCRYPTION_KEYS", is_secret=True, hint=hint
            )
        client = self._settings.data_dir / "client.toml"
        if client.exists():
            yield self._file(Box.SECRETS, client, "API key of the command line", is_secret=True)

    def _drills(self) -> Iterator[Finding]:
        path = self._settings.data_dir / DRILL_FILE
        try:
            last = datetime.fromisoformat(json.loads(path.read_text())["at"])
        except (OSError, ValueError, KeyError, TypeError):
            last = None
        for box, limit in ((Box.RESTORE, _QUARTER), (Box.DRILL, _YEAR + _DAY)):
            fresh = last is not None and self._now - last <= limit
            yield Finding(
                box=box,
                status=Status.OK if fresh else Status.WARN,
                what="certctl dr drill",
                detail="none was noted here"
                if last is None
                else f"the last one was {_words(self._now - last)} ago",
                hint="" if fresh else "certctl dr drill --backup FILE --into EMPTY-DIR",
            )

    def _api_keys(self, core: Core) -> Iterator[Finding]:
        old, count = [], 0
        cursor: str | None = None
        while True:
            page = core.call("api_keys.list", query={"page_size": 500, "cursor": cursor})
            for key in page.data:
                count += 1
                if self._now - key.created_at > _YEAR:
                    old.append(key.name)
            cursor = page.next_cursor
            if cursor is None:
                break
        names = ", ".join(sorted(old)[:10])
        yield Finding(
            box=Box.KEYS,
            status=Status.WARN if old else Status.OK,
            what="API keys",
            detail=f"{len(old)} of {count} are older than a year: {names}"
            if old
            else f"none of {count} is older than a year",
            hint="certctl keys rotate NAME; the old one goes on for its grace." if old else "",
        )
        if self._settings.agents.bootstrap_token is not None:
            yield Finding(
                box=Box.KEYS,
                status=Status.UNSEEN,
                what="CERTCTL_AGENT_BOOTSTRAP_TOKEN",
                detail="its age cannot be seen",
                hint="Change it once a year; CERTCTL_AGENT_BOOTSTRAP_TOKEN_PREVIOUS keeps the old one good.",
            )


def _ends(path: Path) -> datetime | None:
    """When the first of the certificates in a file ends; None for other files."""
    if path.is_dir():
        return None
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes()[: 1 << 20])
    except (OSError, ValueError):
        return None
    return min(certificate.not_valid_after_utc for certificate in found)


def _words(span: timedelta) -> str:
    days, hours = span.days, round(span.seconds / 3600)
    return f"{days} days" if days else f"{hours} hours"


def document(findings: list[Finding]) -> dict[str, object]:
    """The findings as a JSON document."""
    rows = []
    for finding in findings:
        row = asdict(finding)
        ends = finding.not_after
        row["not_after"] = None if ends is None else ends.isoformat().replace("+00:00", "Z")
        rows.append(row)
    return {
        "ok": all(finding.status is not Status.FAIL for finding in findings),
        "counts": {
            str(status): sum(finding.status is status for finding in findings) for status in Status
        },
        "findings": rows,
    }


def lines(findings: list[Finding]) -> Iterator[str]:
    """The findings for people, box by box."""
    box = None
    for finding in findings:
        if finding.box is not box:
            box = finding.box
            yield f"{'' if box is findings[0].box else chr(10)}{box.value}"
        yield f"  {finding.status.value:6}  {finding.what}: {finding.detail}"
        if finding.hint:
            yield f"          → {finding.hint}"
    counts = document(findings)["counts"]
    assert isinstance(counts, dict)  # noqa: S101 - made just above
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    yield f"\n{said}"
