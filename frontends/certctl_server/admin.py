"""What administrators do on the server's machine: database, settings, keys, audit, health.

Each method is one command: it returns an exit code and prints; nothing here is imported by a server.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.observability import configure
from certctl_server.exits import Exit, StartFailure, say
from certctl_server.first_start import CA_FILE, served_url
from certctl_server.loading import Source, check_plugin_names
from certctl_server.sqlite_lock import SQLiteLock

if TYPE_CHECKING:
    from certctl_core.app import Core
    from certctl_core.kernel.config import Settings
    from certctl_core.kernel.db import Database
    from certctl_server.drill import Plan, Step

Row = Mapping[str, Any]


class Admin:
    """The commands of one call.

    Args:
        overrides / config_file / environ: As of :class:`Source`.
        is_json: Results as one JSON document.
        out / err: Where results and problems go; stdout and stderr when None.
    """

    def __init__(
        self,
        overrides: Mapping[str, str],
        config_file: Path | None,
        environ: MutableMapping[str, str],
        *,
        is_json: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self._source = Source(overrides, config_file, environ)
        self._is_json = is_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._clock = SystemClock()

    # -- starting -----------------------------------------------------------------------------

    def check(self) -> int:
        """Everything that a start needs but the ports, without writing (BOOT-1)."""
        return self._run(self._check)

    def _check(self) -> int:
        from certctl_server.boot import check
        from certctl_server.tls import TLSPair

        settings = self._settings()
        self._lines([f"warning: {warning}" for warning in check_plugin_names(settings)])
        self._lines(check(settings, clock=self._clock, pair=TLSPair.of(settings)))
        return Exit.OK

    # -- database -----------------------------------------------------------------------------

    def upgrade(self, revision: str) -> int:
        """Bring the schema up to a revision."""
        return self._run(lambda: self._upgrade(revision))

    def _upgrade(self, revision: str) -> int:
        from certctl_server.boot import migrate

        settings = self._settings(seals=False)
        with _alone(settings):
            migrate(settings, clock=self._clock, revision=revision)
        self._lines([f"The database is at revision {self._revisions(settings).current}."])
        return Exit.OK

    def downgrade(self, revision: str) -> int:
        """Take the schema back."""
        return self._run(lambda: self._downgrade(revision))

    def _downgrade(self, revision: str) -> int:
        settings = self._settings(seals=False)
        with _alone(settings), self._database(settings) as database:
            import_module("certctl_migrations").downgrade(database, revision)
        self._lines([f"The database is at revision {self._revisions(settings).current}."])
        return Exit.OK

    def check_schema(self) -> int:
        """Whether the schema is this release's."""
        return self._run(self._check_schema)

    def _check_schema(self) -> int:
        settings = self._settings(seals=False)
        with self._database(settings) as database:
            found = import_module("certctl_migrations").check(database)
        self._lines([f"The database is at revision {found.current}, as this release needs."])
        return Exit.OK

    def current(self) -> int:
        """The revision of the database and of the code."""
        return self._run(self._current)

    def _current(self) -> int:
        found = self._revisions(self._settings(seals=False))
        self._form({"current": found.current, "head": found.head})
        return Exit.OK

    def heads(self) -> int:
        """The newest revision of the code."""
        return self._run(self._heads)

    def _heads(self) -> int:
        head = import_module("certctl_migrations").known_revisions()[-1]
        if self._is_json:
            self._document({"heads": [head]})
        else:
            self._lines([head])
        return Exit.OK

    def plan(self, revision: str) -> int:
        """What an upgrade would do."""
        return self._run(lambda: self._plan(revision))

    def _plan(self, revision: str) -> int:
        with self._database(self._settings(seals=False)) as database:
            found = import_module("certctl_migrations").plan(database, revision=revision)
        if self._is_json:
            self._document(asdict(found))
            return Exit.OK
        self._lines([f"-- The database is at {found.current or 'no revision'}."])
        for step in found.steps:
            back = f"no: {step.irreversible}" if step.irreversible else "yes"
            self._lines(["", f"-- {step.revision}: {step.title}", f"-- reversible: {back}"])
            for statement in step.statements:
                self._lines([f"-- lock: {statement.lock}", statement.sql])
        if not found.steps:
            self._lines([f"-- Nothing is to be done for {found.target}."])
        return Exit.OK

    def _revisions(self, settings: Settings) -> Any:
        with self._database(settings) as database:
            return import_module("certctl_migrations").revisions(database)

    # -- credentials --------------------------------------------------------------------------

    def create_admin_key(self, name: str, *, lifetime: timedelta | None) -> int:
        """An administrator's key, made straight in the database."""
        return self._run(lambda: self._create_admin_key(name, lifetime))

    def _create_admin_key(self, name: str, lifetime: timedelta | None) -> int:
        from certctl_core.kernel.actors import system_actor
        from certctl_core.people.identity import CreateAPIKey

        with self._core() as core:
            expires_at = self._clock.now() + lifetime if lifetime is not None else None
            body = CreateAPIKey(
                name=name,
                role_ids=["r-admin"],
                expires_at=expires_at,
                no_expiry=lifetime is None,
            )
            with core.units.begin(system_actor("admin-command")) as uow:
                view = core.rooms.keys.create(uow, body)
        self._form(
            {
                "id": view.id,
                "name": view.name,
                "api_key": view.key_value,
                "expires_at": view.expires_at.isoformat() if view.expires_at else None,
            }
        )
        return Exit.OK

    def keys_generate(self) -> int:
        """A fresh value for CERTCTL_CONFIG_ENCRYPTION_KEYS."""
        from certctl_core.kernel.secrets import generate_keyring

        self._lines([generate_keyring()])
        return Exit.OK

    # -- settings -----------------------------------------------------------------------------

    def config_check(self) -> int:
        """Every problem of the settings."""
        return self._run(self._config_check)

    def _config_check(self) -> int:
        settings = self._settings()
        warnings = (*settings.warnings, *check_plugin_names(settings))
        self._lines([f"warning: {warning}" for warning in warnings])
        self._lines(["The configuration can be used."])
        return Exit.OK

    def config_dump(self) -> int:
        """Every setting with value and source."""
        return self._run(self._config_dump)

    def _config_dump(self) -> int:
        shown = self._settings().dump()
        if self._is_json:
            rows = [
                {"name": line.name, "value": line.value, "source": line.source} for line in shown
            ]
            self._document({"settings": rows})
        else:
            self._lines([f"{line.name}={line.value}  # {line.source}" for line in shown])
        return Exit.OK

    def config_explain(self, name: str) -> int:
        """All about one setting."""
        return self._run(lambda: self._config_explain(name))

    def _config_explain(self, name: str) -> int:
        from certctl_core.kernel.config import UnknownSetting

        try:
            found = self._settings().explain(name)
        except UnknownSetting as error:
            raise StartFailure.of(Exit.CONFIG, error) from error
        spec = found.spec
        self._form(
            {
                "name": spec.env_name,
                "description": spec.description,
                "type": spec.type_text,
                "bounds": spec.bounds,
                "default": spec.default_text,
                "example": spec.example,
                "toml_key": spec.toml_key,
                "live": spec.live,
                "secret": spec.is_secret,
                "value": found.value,
                "source": found.source,
            }
        )
        return Exit.OK

    def config_schema(self) -> int:
        """The settings as JSON."""
        from certctl_core.kernel.config.docs import settings_schema

        self._document(settings_schema())
        return Exit.OK

    # -- plugins, audit, health ---------------------------------------------------------------

    def plugins_list(self) -> int:
        """The plugins of this environment."""
        return self._run(self._plugins_list)

    def _plugins_list(self) -> int:
        from certctl_core.contracts.host.registry import Registry

        disabled = self._settings().plugins.disabled
        found = [asdict(info) for info in Registry.load(disabled=disabled).describe()]
        if self._is_json:
            self._document({"plugins": found})
            return Exit.OK
        for plugin in found:
            state = "" if plugin["available"] else f"  unavailable: {plugin['error']}"
            self._lines([f"{plugin['hook']}  {plugin['kind']}  {plugin['distribution']}{state}"])
        return Exit.OK

    def audit_verify(self, *, full: bool) -> int:
        """Verify the log in the database."""
        return self._run(lambda: self._audit_verify(full=full))

    def _audit_verify(self, *, full: bool) -> int:
        with self._core() as core:
            report = core.rooms.audit.verify(core.units, full=full)
        self._form(report.model_dump(mode="json"))
        return Exit.OK if report.ok else Exit.INTERNAL

    def audit_verify_export(self, export: Path, *, key: str, checkpoint: Path | None) -> int:
        """Verify an export without a database."""
        return self._run(lambda: self._audit_verify_export(export, key, checkpoint))

    def _audit_verify_export(self, export: Path, key: str, checkpoint: Path | None) -> int:
        from certctl_core.kernel.audit import verify_export

        note = checkpoint.read_text() if checkpoint is not None else None
        with export.open("rb") as lines:
            report = verify_export(lines, note, key)
        self._form(
            {
                "rows": report.rows,
                "first_seq": report.first_seq,
                "last_seq": report.last_seq,
                "origin": report.origin,
                "tree_size": report.tree_size,
                "is_truncated": report.is_truncated,
            }
        )
        return Exit.OK

    def doctor(self, *, backups: Path | None, is_strict: bool) -> int:
        """Whether a disaster could be survived."""
        return self._run(lambda: self._doctor(backups, is_strict=is_strict))

    def _doctor(self, backups: Path | None, *, is_strict: bool) -> int:
        from certctl_server import doctor

        settings = self._settings()
        findings = doctor.Doctor(
            settings,
            now=self._clock.now(),
            open_core=partial(self._open_core, settings),
            backups=backups,
        ).look()
        if self._is_json:
            self._document(doctor.document(findings))
        else:
            self._lines(list(doctor.lines(findings)))
        bad = {doctor.Status.FAIL} | ({doctor.Status.WARN} if is_strict else set())
        return Exit.INTERNAL if any(item.status in bad for item in findings) else Exit.OK

    def drill_from(
        self,
        *,
        backup: Path,
        into: Path,
        files: Path | None,
        database_url: str | None,
        words: Mapping[str, str],
        keeps: bool,
    ) -> int:
        """Restore a backup into a fresh place and prove that it works."""

        def run() -> int:
            from certctl_server.drill import Plan

            source = files.absolute() if files is not None else self._settings().data_dir
            plan = Plan(backup=backup, into=into, files=source, keeps=keeps, **words)
            return self._drill(plan, database_url)

        return self._run(run)

    def _drill(self, plan: Plan, database_url: str | None) -> int:
        from certctl_server import drill

        if not plan.is_sqlite() and database_url is None:
            problem = "a dump of PostgreSQL needs --database-url, an empty database to restore into"
            raise StartFailure(Exit.CONFIG, [problem])
        if plan.is_sqlite() and database_url is not None:
            problem = "a copy of an SQLite database is restored into --into; drop --database-url"
            raise StartFailure(Exit.CONFIG, [problem])
        real = self._settings().data_dir
        settings = self._source.changed(plan.overrides(database_url)).load_for_start()
        plan.prepare()
        run = drill.Drill(plan, settings, clock=self._clock, say=self._say_step)
        ok = run.run()
        at = self._clock.now().isoformat()
        drill.note(real, run, ok=ok, at=at)
        if self._is_json:
            steps = [asdict(step) for step in run.steps]
            self._document({"ok": ok, "seconds": run.seconds, "at": at, "steps": steps})
        else:
            end = "The backup works." if ok else "The backup does not work as it is."
            self._lines([f"{end} {run.seconds:.1f} s in all."])
        return Exit.OK if ok else Exit.INTERNAL

    def _say_step(self, step: Step) -> None:
        if not self._is_json:
            sign = "ok" if step.ok else "FAILED"
            self._lines([f"{step.seconds:8.2f} s  {sign:6}  {step.name}: {step.detail}"])
            self._out.flush()

    def healthcheck(self, url: str | None, *, ca: Path | None, timeout: timedelta) -> int:
        """Whether a server is ready."""
        return self._run(lambda: self._healthcheck(url, ca, timeout))

    def _healthcheck(self, url: str | None, ca: Path | None, timeout: timedelta) -> int:
        if url is None or ca is None:
            settings = self._settings()
            url = url or served_url(settings)
            own = settings.data_dir / CA_FILE
            ca = ca or (own if own.exists() else None)
        try:
            status, body = _ask(url, ca, timeout.total_seconds())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._err.write(f"{url} does not answer: {error}\n")
            return Exit.INTERNAL
        self._lines([body])
        return Exit.OK if status == http.client.OK else Exit.INTERNAL

    # -- shared -------------------------------------------------------------------------------

    def _run(self, command: Callable[[], int]) -> int:
        try:
            return command()
        except StartFailure as failure:
            say(failure, self._err)
            return failure.exit_code
        except (CertctlError, OSError) as error:
            self._err.write(f"certctl: {_sentence(error)}\n")
            return Exit.INTERNAL

    def _settings(self, *, seals: bool = True) -> Settings:
        settings = self._source.load_for_start(seals=seals)
        configure(level="warn", form=settings.logging.format, clock=self._clock, stream=self._err)
        return settings

    @contextmanager
    def _database(self, settings: Settings) -> Iterator[Database]:
        from certctl_server.boot import failures, reach_database

        with (
            failures(settings),
            closing(reach_database(settings, clock=self._clock, role="admin")) as database,
        ):
            yield database

    @contextmanager
    def _core(self) -> Iterator[Core]:
        """A core on a database that is there and up to date; nothing is started."""
        from certctl_core.app import Core

        settings = self._settings()
        with self._database(settings) as database:
            import_module("certctl_migrations").check(database)
            core = Core(settings, clock=self._clock, database=database, role="admin")
            try:
                yield core
            finally:
                core.close()

    def _open_core(self, settings: Settings) -> Core:
        """As ``_core``, for who closes it by itself, together with its database."""
        from certctl_core.app import Core
        from certctl_core.app.core import open_database
        from certctl_server.boot import failures

        path = settings.database.sqlite_path
        if path is not None and not path.exists():
            raise StartFailure(Exit.DATABASE, [f"the database {path} is not there"])
        with failures(settings):
            database = open_database(settings, role="admin")
            try:
                import_module("certctl_migrations").check(database)
                return Core(settings, clock=self._clock, database=database, role="admin")
            except BaseException:
                database.close()
                raise

    def _lines(self, lines: Sequence[str]) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))

    def _document(self, document: object) -> None:
        self._out.write(json.dumps(document, indent=2) + "\n")

    def _form(self, fields: Row) -> None:
        if self._is_json:
            self._document(fields)
            return
        shown = [(_title(name), value) for name, value in fields.items() if value not in {None, ""}]
        width = max(len(title) for title, _ in shown)
        self._lines([f"{title:{width}} {_text(value)}" for title, value in shown])


def _title(name: str) -> str:
    """``tree_size`` → ``Tree size:``, as the commands that ask a server write it."""
    words = name.removeprefix("is_").split("_")
    first = words[0].upper() if words[0] in {"api", "toml", "ok"} else words[0].capitalize()
    return " ".join([first, *words[1:]]) + ":"


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Not beside a server on the same SQLite file."""
    lock = SQLiteLock.take(settings)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _ask(url: str, ca: Path | None, timeout: float) -> tuple[int, str]:
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname is None:
        message = "its URL is not an https:// URL"
        raise ValueError(message)
    context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=timeout, context=context
    )
    with closing(connection):
        connection.request("GET", f"{parts.path.rstrip('/')}/ready")
        answer = connection.getresponse()
        return answer.status, answer.read(4096).decode(errors="replace")


def _sentence(error: Exception) -> str:
    if isinstance(error, CertctlError):
        return f"{error.detail} {error.hint}".strip()
    return str(error)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
