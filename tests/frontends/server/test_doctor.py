"""``certctl doctor`` and ``certctl dr drill`` (02 DR-17, DR-23, DR-24, DR-30)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from certctl_server import commands
from sqlalchemy.engine import make_url

from certctl_core import Core, Settings
from certctl_core.kernel.clock import SystemClock
from certctl_core.kernel.secrets import generate_keyring
from certctl_core.pki.keys import KeyAlgorithm, generate, private_key_pem
from certctl_core.pki.serials import new_serial
from certctl_core.pki.x509 import build_root, to_pem
from certctl_core.testing.factories import issue
from tests.core.revocation.support import Web

if TYPE_CHECKING:
    from certctl_core.testing.databases import PostgresDatabases

Said = pytest.CaptureFixture[str]
_BOXES = 11


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An installation on SQLite that has issued something."""
    with Core.open(tmp_path / "data") as core:
        issue(core, "web.example.test")
    return tmp_path / "data"


def environ(place: Path, **settings: str) -> dict[str, str]:
    known = {"CERTCTL_DATA_DIR": str(place), "PATH": os.environ["PATH"]}
    return known | {f"CERTCTL_{name}": value for name, value in settings.items()}


def doctor(
    place: Path, said: Said, *, code: int = 0, is_strict: bool = False, **settings: Any
) -> list[dict[str, Any]]:
    """The findings."""
    backups = settings.pop("backups", None)
    said.readouterr()
    found = commands.doctor(
        {},
        config_file=None,
        environ=environ(place, **settings),
        backups=backups,
        is_strict=is_strict,
        is_json=True,
    )
    document = json.loads(said.readouterr().out)
    assert found == code, document
    assert document["ok"] == (not any(row["status"] == "fail" for row in document["findings"]))
    rows: list[dict[str, Any]] = document["findings"]
    return rows


def of(rows: list[dict[str, Any]], **members: str) -> dict[str, Any]:
    """The one finding with these members."""
    (row,) = [row for row in rows if all(row[name] == value for name, value in members.items())]
    return row


class TestDoctor:
    @pytest.mark.spec("02/DR-30", "02/OPS-5")
    def test_every_box_of_the_checklist_is_answered(self, place: Path, capsys: Said) -> None:
        rows = doctor(place, capsys)
        boxes = dict.fromkeys(row["box"] for row in rows)
        assert len(boxes) == _BOXES + 1
        assert list(boxes)[-1] == "everything else"
        assert of(rows, what="database")["status"] == "ok"
        assert of(rows, what="backups")["status"] == "unseen"

    @pytest.mark.spec("02/DR-17")
    def test_files_are_named_with_presence_mode_and_expiry(self, place: Path, capsys: Said) -> None:
        rows = doctor(place, capsys)
        keyring = of(rows, path=str(place / "keyring"))
        assert (keyring["present"], keyring["mode"]) == (True, "0600")
        (ca_file,) = (place / "ca").iterdir()
        assert of(rows, path=str(ca_file))["mode"] == "0600"
        assert of(rows, box="CA valid for a year")["not_after"].endswith("Z")

    @pytest.mark.spec("02/DR-17")
    def test_a_key_that_others_may_read_is_a_failure(self, place: Path, capsys: Said) -> None:
        (ca_file,) = (place / "ca").iterdir()
        ca_file.chmod(0o644)
        found = of(doctor(place, capsys, code=1), path=str(ca_file))
        assert (found["status"], found["mode"]) == ("fail", "0644")
        assert found["hint"] == f"chmod go= {ca_file}"

    @pytest.mark.spec("02/DR-17")
    @pytest.mark.parametrize("lost", ["keyring", "ca", "certctl.db"])
    def test_what_is_lost_is_named_and_the_rest_is_looked_at(
        self, place: Path, capsys: Said, lost: str
    ) -> None:
        if lost == "ca":
            shutil.rmtree(place / "ca")
        else:
            (place / lost).unlink()
        rows = doctor(place, capsys, code=1)
        (failure, *_) = [row for row in rows if row["status"] == "fail"]
        assert lost in " ".join(row["detail"] for row in rows if row["status"] == "fail")
        assert failure["detail"]
        assert not (place / "certctl.db").exists() or lost != "certctl.db"
        assert len({row["box"] for row in rows}) >= 5

    @pytest.mark.spec("02/DR-19")
    def test_wrong_keys_are_a_finding_with_the_rows(self, place: Path, capsys: Said) -> None:
        rows = doctor(place, capsys, code=1, CONFIG_ENCRYPTION_KEYS=generate_keyring())
        found = of(rows, what="installation")
        assert "audit_keys" in found["detail"]

    @pytest.mark.spec("02/DR-23")
    def test_a_ca_that_ends_within_a_year_is_a_warning(self, tmp_path: Path, capsys: Said) -> None:
        now = SystemClock().now()
        key = generate(KeyAlgorithm.ECDSA_P256)
        ca = build_root(
            "Short CA",
            key,
            serial=new_serial(),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=300),
        )
        cert, key_file = tmp_path / "ca.crt", tmp_path / "ca.key"
        cert.write_text(to_pem(ca))
        key_file.write_bytes(private_key_pem(key))
        key_file.chmod(0o600)
        files: dict[str, Any] = {"CA_CERT_PATH": str(cert), "CA_KEY_PATH": str(key_file)}
        settings = Settings.for_directory(
            tmp_path / "data", ca_cert_path=str(cert), ca_key_path=str(key_file)
        )
        Core.open(settings).close()
        rows = doctor(tmp_path / "data", capsys, **files)
        found = of(rows, box="CA valid for a year")
        assert found["status"] == "warn"
        assert f"{now + timedelta(days=300):%Y-%m-%d}" in found["detail"]
        assert of(rows, path=str(key_file))["status"] == "ok"
        doctor(tmp_path / "data", capsys, code=1, is_strict=True, **files)

    @pytest.mark.spec("02/DR-30")
    def test_the_age_of_backups_is_looked_at(
        self, place: Path, capsys: Said, tmp_path: Path
    ) -> None:
        folder = tmp_path / "backups"
        folder.mkdir()
        assert of(doctor(place, capsys, code=1, backups=folder), what="newest backup")[
            "status"
        ] == ("fail")
        now = SystemClock().now().timestamp()
        for age in (0.5, 20, 40):
            file = folder / f"{age}.dump"
            file.touch()
            os.utime(file, (now - age * 86400, now - age * 86400))
        rows = doctor(place, capsys, backups=folder)
        assert of(rows, what="newest backup")["detail"] == "12 hours old"
        assert of(rows, what="oldest backup")["status"] == "ok"
        (folder / "40.dump").unlink()
        assert of(doctor(place, capsys, backups=folder), what="oldest backup")["status"] == "warn"

    @pytest.mark.spec("02/DR-22", "02/DR-18")
    def test_responders_show_their_rotation_and_a_lost_key_is_no_failure(
        self, place: Path, capsys: Said
    ) -> None:
        with Core.open(place) as core:
            assert Web(core).get("ocsp/iss-local/00").status == 200
        rows = doctor(place, capsys)
        made = of(rows, box="responder rotation")
        assert made["detail"].startswith("serial ")
        (key_file,) = (place / "ocsp-responder-keys").glob("*.key")
        key_file.unlink()
        assert of(doctor(place, capsys), path=str(key_file))["status"] == "warn"

    @pytest.mark.spec("02/DR-25")
    def test_a_copy_that_knows_more_than_the_database_is_a_failure(
        self, place: Path, capsys: Said, tmp_path: Path
    ) -> None:
        with Core.open(place) as core:
            crl = Web(core).get("crl/iss-local").body
            key_id = Web(core).key().ca_key_id
            with core.begin() as uow:
                uow.execute(sa.text("UPDATE crl_numbers SET last_number=1"))
        folder = tmp_path / "crls"
        folder.mkdir()
        copy = folder / f"iss-local.{key_id}.crl"
        copy.write_bytes(crl)
        found = of(doctor(place, capsys, code=1, CRL_EXPORT_DIR=str(folder)), path=str(copy))
        assert found["hint"] == f"certctl dr import-crl {copy}"

    def test_people_get_lines(self, place: Path, capsys: Said) -> None:
        assert commands.doctor({}, config_file=None, environ=environ(place)) == 0
        text = capsys.readouterr().out
        assert "CA certificate and key\n  ok      key of iss-local" in text
        assert text.rstrip().endswith("1 unseen")


def drill(place: Path, **arguments: Any) -> int:
    environment = environ(place, **arguments.pop("settings", {}))
    return commands.dr_drill({}, config_file=None, environ=environment, **arguments)


@pytest.fixture
def pg_program(tool: Callable[[str], str]) -> Callable[[str], str]:
    """A program of PostgreSQL that is not older than the server of this run."""
    found = find_spec("pgserver")
    programs = Path(found.origin if found and found.origin else "/").parent / "pginstall/bin"

    def find(name: str) -> str:
        own = programs / name
        return str(own) if own.exists() else tool(name)

    return find


class TestDrill:
    @pytest.mark.spec("02/DR-24", "02/DR-27")
    def test_a_copy_of_sqlite_is_restored_used_and_proven(
        self, place: Path, capsys: Said, tmp_path: Path, tool: Callable[[str], str]
    ) -> None:
        tool("openssl")
        backup, into = tmp_path / "backup.db", tmp_path / "fresh"
        program = tool("sqlite3")
        subprocess.run([program, place / "certctl.db", f".backup {backup}"], check=True)
        before = {path: path.stat().st_mtime_ns for path in (place / "ca").iterdir()}
        assert drill(place, backup=backup, into=into, is_json=True) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["ok"]
        steps = {step["name"]: step for step in document["steps"]}
        assert steps["OCSP of the revoked certificate"]["detail"] == "openssl says revoked"
        assert all(step["ok"] and step["seconds"] >= 0 for step in steps.values())
        assert not into.exists()
        assert {path: path.stat().st_mtime_ns for path in (place / "ca").iterdir()} == before
        with Core.open(place) as core:
            names = [row.common_name for row in core.call("certificates.list").data]
        assert names == ["web.example.test"]
        rows = doctor(place, capsys)
        assert of(rows, box="restore, each quarter")["status"] == "ok"
        assert of(rows, box="full drill, each year")["status"] == "ok"

    @pytest.mark.spec("02/DR-24")
    def test_the_certificate_can_be_one_that_the_rules_allow(
        self, place: Path, capsys: Said, tmp_path: Path
    ) -> None:
        with Core.open(place) as core:
            core.call(
                "profiles.create",
                body={
                    "id": "prof-own",
                    "name": "Own",
                    "required_san_patterns": [r".*\.internal\.example\.test"],
                },
            )
        for name, code in (("x.internal.example.test", 0), ("x.example.test", 1)):
            done = drill(
                place,
                backup=place / "certctl.db",
                into=tmp_path / "fresh",
                name=name,
                profile_id="prof-own",
            )
            assert done == code, capsys.readouterr().out

    @pytest.mark.spec("02/DR-24")
    def test_a_backup_without_its_key_fails_and_says_why(
        self, place: Path, capsys: Said, tmp_path: Path
    ) -> None:
        files = tmp_path / "files"
        files.mkdir()
        shutil.copytree(place / "ca", files / "ca")
        code = drill(place, backup=place / "certctl.db", into=tmp_path / "fresh", files=files)
        text = capsys.readouterr().out
        assert code == 1
        assert "FAILED" in text
        assert "No encryption key is configured" in text
        assert "The backup does not work as it is." in text
        assert not (place / "last-drill.json").exists()

    @pytest.mark.spec("02/DR-24")
    def test_a_damaged_backup_fails(self, place: Path, capsys: Said, tmp_path: Path) -> None:
        data = bytearray((place / "certctl.db").read_bytes())
        data[4096:12288] = b"\xff" * 8192
        backup = tmp_path / "backup.db"
        backup.write_bytes(data)
        assert drill(place, backup=backup, into=tmp_path / "fresh") == 1
        assert "FAILED" in capsys.readouterr().out

    def test_what_cannot_begin_is_refused(self, place: Path, capsys: Said, tmp_path: Path) -> None:
        full = tmp_path / "full"
        full.mkdir()
        (full / "file").touch()
        assert drill(place, backup=place / "certctl.db", into=full) == 2
        assert "is not empty" in capsys.readouterr().err
        dump = tmp_path / "x.dump"
        dump.write_bytes(b"PGDMP")
        assert drill(place, backup=dump, into=tmp_path / "fresh") == 2
        assert "needs --database-url" in capsys.readouterr().err

    @pytest.mark.spec("02/DR-24")
    @pytest.mark.parametrize("database_engine", ["postgres"])
    @pytest.mark.parametrize("form", ["custom", "plain"])
    def test_a_dump_of_postgres(
        self,
        blank_database_url: str,
        capsys: Said,
        tmp_path: Path,
        request: pytest.FixtureRequest,
        form: str,
    ) -> None:
        program: Callable[[str], str] = request.getfixturevalue("pg_program")
        keys = generate_keyring()
        url = blank_database_url.replace("postgresql+psycopg", "postgresql")
        settings = Settings.for_directory(
            tmp_path / "data", database_url=url, config_encryption_keys=keys
        )
        with Core.open(settings) as core:
            issue(core, "web.example.test")
        parts = make_url(url)
        dump = tmp_path / "backup.dump"
        subprocess.run(
            [program("pg_dump"), "--no-owner", "--no-acl", f"--format={form}", "-f", dump,
             "-h", str(parts.query.get("host") or parts.host), "-U", parts.username or "postgres",
             parts.database or ""],
            check=True,
        )  # fmt: skip
        databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
        known = {"DATABASE_URL": url, "CONFIG_ENCRYPTION_KEYS": keys}
        with databases.fresh(migrated=False) as fresh:
            arguments = {
                "backup": dump,
                "database_url": fresh.replace("postgresql+psycopg", "postgresql"),
                "pg_restore": program("pg_restore"),
                "psql": program("psql"),
                "settings": known,
            }
            code = drill(tmp_path / "data", into=tmp_path / "fresh", **arguments)
            text = capsys.readouterr().out
            assert code == 0, text
            assert "1 certificates, 0 revocations" in text
            assert "openssl says revoked" in text
            # A second time the database is not empty any more.
            code = drill(tmp_path / "data", into=tmp_path / "fresh", **arguments)
            assert code == 1
            assert "restores into an empty one" in capsys.readouterr().out


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each command sets up logging; what other tests want is put back."""
    import structlog

    before = structlog.get_config()
    yield
    structlog.configure(**before)
