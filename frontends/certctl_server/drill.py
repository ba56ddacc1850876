"""``certctl dr drill``: restore a backup into a fresh place and prove that it works (02 DR-24).

Nothing of the running installation is touched: the backup goes into an empty database, the files
into an empty folder, and no background work runs, so nobody is told of what happens there.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy.engine import make_url

from certctl_core.contracts.options import Command
from certctl_core.deploy.commands import CommandRunner
from certctl_core.deploy.policy import Policy
from certctl_core.kernel.actors import system_actor
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Redactor
from certctl_core.lifecycle.authorities import LOCAL_ISSUER_ID
from certctl_core.pki.keys import KeyAlgorithm, generate
from certctl_core.pki.x509 import split_pem, to_pem
from certctl_core.values import dataclass
from certctl_server.exits import Exit, StartFailure
from certctl_server.files import DRILL_FILE, write_atomically

if TYPE_CHECKING:
    from certctl_core.app import Core
    from certctl_core.kernel.clock import Clock
    from certctl_core.kernel.config import Settings

_ACTOR = system_actor("drill")
_FILES = ("keyring", "ca", "secrets")
"""What of a data directory a restore needs; the rest is made anew."""

_CACHES = ("crl_cache", "ocsp_response_cache", "ocsp_responder_certs")
_SQLITE = b"SQLite format 3\0"
_CUSTOM_DUMP = b"PGDMP"
_PKI = "/.well-known/pki/"
_LIMIT = timedelta(hours=4)
"""Restoring a large database takes its time."""


class DrillFailed(Exception):
    """A step did not do what it should; the text says what came instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that was taken.

    Attributes:
        name: What was done.
        seconds: How long it took.
        detail: What came of it.
        ok: Whether it is what should come of it.
    """

    name: str
    seconds: float
    detail: str
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is restored where.

    Attributes:
        backup: A copy of an SQLite database, or a dump of PostgreSQL (custom format or SQL).
        into: An empty folder, or one that is not there yet.
        files: The data directory, or its backup, that belongs to the database.
        keeps: Leave the folder there at the end.
        pg_restore / psql: The programs for a dump of PostgreSQL.
        name: Of the certificate that is issued; made up when empty.
        profile_id: What it is issued under; the default profile when empty.
    """

    backup: Path
    into: Path
    files: Path
    keeps: bool = False
    pg_restore: str = "pg_restore"
    psql: str = "psql"
    name: str = ""
    profile_id: str = ""

    def overrides(self, database_url: str | None) -> dict[str, str]:
        """The settings of the copy, by name: nothing of it leads back."""
        found = {
            "DATA_DIR": str(self.into),
            "OCSP_RESPONDER_KEY_DIR": str(self.into / "ocsp-responder-keys"),
            "CRL_EXPORT_DIR": str(self.into / "crls"),
            "PRINT_FIRST_ADMIN": "false",
        }
        if database_url is not None:
            return found | {"DATABASE_URL": database_url}
        return found | {"DATABASE_URL": f"sqlite:///{self.into / 'certctl.db'}"}

    def is_sqlite(self) -> bool:
        """Whether the backup is a copy of an SQLite database.

        Raises:
            StartFailure: It cannot be read.
        """
        try:
            return self.begins_with(_SQLITE)
        except OSError as error:
            problem = f"{self.backup} cannot be read: {error.strerror}"
            raise StartFailure(Exit.CONFIG, [problem]) from error

    def begins_with(self, magic: bytes) -> bool:
        """Whether the backup begins with these bytes."""
        with self.backup.open("rb") as file:
            return file.read(len(magic)) == magic

    def prepare(self) -> None:
        """Make the folder and copy the files that belong to the database.

        Raises:
            StartFailure: The folder is not empty.
        """
        if self.into.exists() and any(self.into.iterdir()):
            problem = f"{self.into} is not empty: a drill needs a fresh place"
            raise StartFailure(Exit.CONFIG, [problem])
        self.into.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FILES:
            source = self.files / name
            if source.is_dir():
                shutil.copytree(source, self.into / name)
                (self.into / name).chmod(0o700)
            elif source.exists():
                shutil.copy2(source, self.into / name)


class Drill:
    """One rehearsal.

    Args:
        plan: What is restored where.
        settings: Of the copy.
        clock: The time.
        say: Told each step when it is over.
    """

    def __init__(
        self, plan: Plan, settings: Settings, *, clock: Clock, say: Callable[[Step], None]
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._clock = clock
        self._say = say
        self.steps: list[Step] = []
        self._started = clock.monotonic()

    def run(self) -> bool:
        """Take every step up to the first that fails; whether none did."""
        try:
            with self._step("restore the database") as done:
                done(self._restore())
            with self._step("bring the schema up to date") as done:
                core = self._open()
                done(f"revision {self._revision(core)}")
            with closing(core):
                self._prove(core)
        except DrillFailed:
            return False
        finally:
            if not self._plan.keeps:
                shutil.rmtree(self._plan.into, ignore_errors=True)
        return True

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return round(self._clock.monotonic() - self._started, 2)

    @contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time one step; a failure in it is told and ends the drill."""
        started = self._clock.monotonic()
        said: list[str] = []

        def tell(detail: str, *, ok: bool) -> None:
            seconds = round(self._clock.monotonic() - started, 2)
            step = Step(name=name, seconds=seconds, detail=detail, ok=ok)
            self.steps.append(step)
            self._say(step)

        try:
            yield said.append
        except DrillFailed as error:
            tell(str(error), ok=False)
            raise
        except CertctlError as error:
            tell(f"{error.detail} {error.hint}".strip(), ok=False)
            raise DrillFailed from error
        except StartFailure as error:
            tell(str(error), ok=False)
            raise DrillFailed from error
        except (OSError, sqlite3.Error) as error:
            tell(str(error), ok=False)
            raise DrillFailed from error
        tell("; ".join(said), ok=True)

    # -- restoring ----------------------------------------------------------------------------

    def _restore(self) -> str:
        if self._plan.is_sqlite():
            return self._copy_sqlite()
        url = make_url(self._settings.database.dsn.reveal())
        self._require_empty()
        custom = self._plan.begins_with(_CUSTOM_DUMP)
        name, path = url.database or "", str(self._plan.backup)
        if custom:
            program = [self._plan.pg_restore, "--no-owner", "--no-acl", "--exit-on-error"]
            self._run([*program, "-d", name, path], env=_postgres(url))
        else:
            program = [self._plan.psql, "-q", "-v", "ON_ERROR_STOP=1"]
            self._run([*program, "-d", name, "-f", path], env=_postgres(url))
        return f"{self._plan.backup.stat().st_size:,} bytes"

    def _copy_sqlite(self) -> str:
        target = self._settings.database.sqlite_path
        assert target is not None  # noqa: S101 - the plan has said so
        source = sqlite3.connect(f"file:{self._plan.backup}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        target.chmod(0o600)
        if verdict != "ok":
            problem = f"the backup is damaged: {verdict}"
            raise DrillFailed(problem)
        return f"{target.stat().st_size:,} bytes"

    def _require_empty(self) -> None:
        from certctl_core.app.core import open_database

        statement = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        with (
            closing(open_database(self._settings, role="drill")) as database,
            database.read() as connection,
        ):
            count = connection.scalar(sa.text(statement))
        if count:
            problem = f"the database has {count} tables: a drill restores into an empty one"
            raise DrillFailed(problem)

    def _open(self) -> Core:
        from certctl_core.app import Core as Opened

        core = Opened.open(self._settings, clock=self._clock, boot=False, role="drill")
        try:
            with core.units.begin(_ACTOR) as uow:
                for table in _CACHES:
                    uow.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - our own names
            core.boot()
        except BaseException:
            core.close()
            raise
        return core

    @staticmethod
    def _revision(core: Core) -> str:
        return str(import_module("certctl_migrations").revisions(core.database).current)

    # -- proving ------------------------------------------------------------------------------

    def _prove(self, core: Core) -> None:
        with self._step("count what came back") as done:
            listed = core.call("certificates.list", query={"page_size": 1}).total
            with core.units.read() as uow:
                revoked = uow.scalar(sa.text("SELECT count(*) FROM certificate_revocations"))
            done(f"{listed} certificates, {revoked} revocations")
        with self._step("verify the audit log") as done:
            report = core.rooms.audit.verify(core.units, full=True)
            if not report.ok:
                problem = "the log does not hold; see certctl audit verify"
                raise DrillFailed(problem)
            done(f"{report.tree_size} entries")
        with self._step("issue a certificate") as done:
            name = self._plan.name or f"drill-{secrets.token_hex(4)}.example.test"
            issued = core.issue(
                _request(name),
                name=f"drill {secrets.token_hex(4)}",
                certificate_profile_id=self._plan.profile_id or None,
            )
            leaf = split_pem(issued.certificate_pem)[0]
            done(f"{issued.certificate.common_name} from {leaf.issuer.rfc4514_string()}")
        with tempfile.TemporaryDirectory(prefix="certctl-drill-") as name:
            folder = Path(name)
            roots = "".join(core.rooms.authorities.trust_anchors(LOCAL_ISSUER_ID))
            (folder / "roots.pem").write_text(roots)
            (folder / "leaf.pem").write_text(issued.certificate_pem)
            (folder / "chain.pem").write_text(issued.chain_pem or roots)
            signer = core.rooms.authorities.signing_key(LOCAL_ISSUER_ID)
            (folder / "ca.pem").write_text(to_pem(signer.certificate))
            self._judge(core, folder, issued.certificate.id)

    def _judge(self, core: Core, folder: Path, certificate_id: str) -> None:
        """What OpenSSL says of the certificate before and after its revocation."""
        trust = ["-CAfile", str(folder / "roots.pem"), "-untrusted", str(folder / "chain.pem")]
        leaf = str(folder / "leaf.pem")
        with self._step("openssl verify") as done:
            self._run(["openssl", "verify", *trust, leaf])
            done("the chain holds")
        with self._step("OCSP of the new certificate") as done:
            done(self._ocsp(core, folder, wanted="good"))
        with self._step("revoke it") as done:
            core.call(
                "certificates.revoke",
                path={"certificate_id": certificate_id},
                body={"reason": "cessationOfOperation"},
            )
            done("cessationOfOperation")
        with self._step("OCSP of the revoked certificate") as done:
            done(self._ocsp(core, folder, wanted="revoked"))
        with self._step("CRL with the revoked certificate") as done:
            crl = folder / "crl.der"
            crl.write_bytes(_ask(core, f"crl/{LOCAL_ISSUER_ID}"))
            said = self._run(
                ["openssl", "crl", "-inform", "DER", "-in", str(crl), "-CAfile",
                 str(folder / "ca.pem"), "-noout"]
            )  # fmt: skip
            if "verify OK" not in said:
                problem = f"openssl does not verify the CRL: {said}"
                raise DrillFailed(problem)
            serial = split_pem((folder / "leaf.pem").read_text())[0].serial_number
            entries = x509.load_der_x509_crl(crl.read_bytes())
            if entries.get_revoked_certificate_by_serial_number(serial) is None:
                problem = "the CRL does not have the certificate"
                raise DrillFailed(problem)
            done(f"{len(entries)} entries")

    def _ocsp(self, core: Core, folder: Path, *, wanted: str) -> str:
        pair = ["-issuer", str(folder / "ca.pem"), "-cert", str(folder / "leaf.pem")]
        request, response = folder / "request.der", folder / "response.der"
        self._run(["openssl", "ocsp", *pair, "-reqout", str(request), "-no_nonce"])
        response.write_bytes(_ask(core, f"ocsp/{LOCAL_ISSUER_ID}", request.read_bytes()))
        said = self._run(
            ["openssl", "ocsp", *pair, "-respin", str(response), "-CAfile",
             str(folder / "roots.pem"), "-no_nonce"]
        )  # fmt: skip
        if "Response verify OK" not in said or f"leaf.pem: {wanted}" not in said:
            problem = f"openssl says of the answer: {said}"
            raise DrillFailed(problem)
        return f"openssl says {wanted}"

    def _run(self, words: list[str], *, env: Mapping[str, str] | None = None) -> str:
        command = Command(words)
        runner = CommandRunner(
            policy=Policy(),
            built_in=[command],
            redactor=Redactor(),
            clock=self._clock,
            timeout=_LIMIT,
        )
        result = runner(command, env=env)
        if result.exit_status != 0:
            problem = f"{words[0]} failed ({result.exit_status}): {result.output}"
            raise DrillFailed(problem)
        return result.output


def note(directory: Path, drill: Drill, *, ok: bool, at: str) -> None:
    """Note a drill that went well where ``certctl doctor`` looks for it."""
    if not ok or not directory.is_dir():
        return
    record = {"at": at, "seconds": drill.seconds, "steps": [step.name for step in drill.steps]}
    write_atomically(directory / DRILL_FILE, json.dumps(record) + "\n", mode=0o600)


def _request(name: str) -> str:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(generate(KeyAlgorithm.ECDSA_P256), SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return request.public_bytes(Encoding.PEM).decode()


def _ask(core: Core, path: str, body: bytes = b"") -> bytes:
    """What the public paths answer, without a socket."""
    status: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST" if body else "GET",
        "PATH_INFO": _PKI + path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/ocsp-request" if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }

    def start(said: str, _headers: object, _error: object = None) -> Callable[[bytes], object]:
        status.append(said)
        return lambda _data: None

    answer = b"".join(core.pki.wsgi(environ, start))
    if not status or not status[0].startswith("200"):
        problem = f"{path} answers {status[0] if status else 'nothing'}"
        raise DrillFailed(problem)
    return answer


def _postgres(url: sa.URL) -> dict[str, str]:
    """How libpq's programs reach the database: not on the command line, where others see it."""
    host = url.query.get("host") or url.host or ""
    found = {
        "PGHOST": host if isinstance(host, str) else host[0],
        "PGPORT": str(url.port or url.query.get("port") or ""),
        "PGUSER": url.username or "",
        "PGPASSWORD": str(url.password or ""),
        "PGSSLMODE": str(url.query.get("sslmode") or ""),
        "PGSSLROOTCERT": str(url.query.get("sslrootcert") or ""),
    }
    return {name: value for name, value in found.items() if value}
