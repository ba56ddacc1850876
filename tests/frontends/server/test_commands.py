"""The commands of the server's machine, called as the command line calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from certctl_server import commands

from tests.frontends.server.running import started
from tests.machine import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.xdist_group("server")
Said = pytest.CaptureFixture[str]


def _environ(directory: Path, **settings: str) -> dict[str, str]:
    own = {f"CERTCTL_{name}": value for name, value in settings.items()}
    return {"CERTCTL_DATA_DIR": str(directory), **own}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation whose database is there and empty."""
    environ = _environ(tmp_path / "data")
    assert commands.db_upgrade({}, config_file=None, environ=environ) == 0
    return environ


def test_importing_them_loads_nothing_heavy() -> None:
    code = (
        "import sys, certctl_server.commands;"
        "print([name for name in ('pydantic', 'sqlalchemy', 'flask', 'structlog', 'granian')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class TestConfig:
    @pytest.mark.spec("08/CFG-7")
    def test_check_names_every_problem(self, tmp_path: Path, capsys: Said) -> None:
        environ = _environ(tmp_path, SERVER_PORT="many", LOG_LEVEL="loud")

        assert commands.config_check({}, config_file=None, environ=environ) == 2
        problems = capsys.readouterr().err
        assert "CERTCTL_SERVER_PORT" in problems
        assert "CERTCTL_LOG_LEVEL" in problems

    @pytest.mark.spec("08/CFG-5")
    def test_a_plugin_that_does_not_exist_is_not_switched_off(
        self, tmp_path: Path, capsys: Said
    ) -> None:
        environ = _environ(tmp_path, PLUGINS_DISABLED="webhok,nginx,certctl:local,pager")

        assert commands.config_check({}, config_file=None, environ=environ) == 2
        said = capsys.readouterr().err
        assert "CERTCTL_PLUGINS_DISABLED names 'webhok'" in said
        assert "Did you mean webhook?" in said
        assert "names 'pager'" in said
        assert "nginx" not in said
        assert "local" not in said

    def test_unknown_plugins_are_a_warning_where_unknown_names_are_allowed(
        self, tmp_path: Path, capsys: Said
    ) -> None:
        environ = _environ(tmp_path, PLUGINS_DISABLED="pager", CONFIG_ALLOW_UNKNOWN="true")

        assert commands.config_check({}, config_file=None, environ=environ) == 0
        assert "warning: CERTCTL_PLUGINS_DISABLED names 'pager'" in capsys.readouterr().out

    def test_check_of_good_settings(self, tmp_path: Path) -> None:
        assert commands.config_check({}, config_file=None, environ=_environ(tmp_path)) == 0

    def test_a_missing_file_is_a_problem(self, tmp_path: Path, capsys: Said) -> None:
        missing = tmp_path / "no.toml"

        assert commands.config_check({}, config_file=missing, environ={}) == 2
        assert str(missing) in capsys.readouterr().err

    @pytest.mark.spec("08/CFG-7", "01/SET-01")
    def test_dump_masks_secrets_and_takes_them_out_of_the_environment(
        self, tmp_path: Path, capsys: Said
    ) -> None:
        token = "a-token-that-nobody-should-ever-see"
        environ = _environ(tmp_path, AGENT_BOOTSTRAP_TOKEN=token, SERVER_PORT="9443")

        assert commands.config_dump({}, config_file=None, environ=environ, is_json=True) == 0
        said = capsys.readouterr().out
        rows = {row["name"]: row for row in json.loads(said)["settings"]}
        assert rows["CERTCTL_SERVER_PORT"]["value"] == "9443"
        assert rows["CERTCTL_SERVER_PORT"]["source"] == "environment"
        assert token not in said
        assert "CERTCTL_AGENT_BOOTSTRAP_TOKEN" not in environ
        assert "CERTCTL_SERVER_PORT" in environ

    @pytest.mark.spec("08/CFG-7")
    def test_explain(self, tmp_path: Path, capsys: Said) -> None:
        environ = _environ(tmp_path)
        overrides = {"LISTEN": "127.0.0.1:9443"}

        assert (
            commands.config_explain(
                overrides, config_file=None, environ=environ, name="server_port"
            )
            == 0
        )
        said = capsys.readouterr().out
        assert "9443" in said
        assert "command line" in said
        assert commands.config_explain({}, config_file=None, environ=environ, name="nonsense") == 2

    @pytest.mark.spec("08/CFG-7")
    def test_schema_is_json(self, capsys: Said) -> None:
        assert commands.config_schema({}, config_file=None, environ={}) == 0
        assert json.loads(capsys.readouterr().out)["settings"]

    def test_a_generated_keyring_is_one(self, tmp_path: Path, capsys: Said) -> None:
        assert commands.keys_generate({}, config_file=None, environ={}) == 0
        keyring = capsys.readouterr().out.strip()
        environ = _environ(tmp_path, CONFIG_ENCRYPTION_KEYS=keyring)

        assert commands.config_check({}, config_file=None, environ=environ) == 0


class TestDatabase:
    @pytest.mark.spec("08/BOOT-2", "08/MIG-2")
    def test_upgrade_check_downgrade(
        self, tmp_path: Path, environ: dict[str, str], capsys: Said
    ) -> None:
        assert commands.db_check({}, config_file=None, environ=environ) == 0
        capsys.readouterr()
        assert commands.db_current({}, config_file=None, environ=environ, is_json=True) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["current"] == found["head"]

        assert commands.db_heads({}, config_file=None, environ={}) == 0
        assert capsys.readouterr().out.strip() == found["head"]
        assert commands.db_plan({}, config_file=None, environ=environ) == 0
        assert "Nothing is to be done" in capsys.readouterr().out

        assert commands.db_downgrade({}, config_file=None, environ=environ, revision="base") == 0
        capsys.readouterr()
        assert commands.db_plan({}, config_file=None, environ=environ) == 0
        planned = capsys.readouterr().out
        assert "-- 0001: Foundation" in planned
        assert "-- reversible: yes" in planned
        assert "CREATE TABLE agents" in planned
        assert commands.db_plan({}, config_file=None, environ=environ, revision="4711") == 4
        assert commands.db_check({}, config_file=None, environ=environ) == 4
        assert "db upgrade" in capsys.readouterr().err

    @pytest.mark.spec("08/BOOT-1")
    def test_a_check_of_a_start_writes_nothing(self, tmp_path: Path, capsys: Said) -> None:
        environ = _environ(tmp_path / "data", SERVER_PORT=str(free_port()))

        assert commands.serve({}, config_file=None, environ=environ, check=True) == 0
        assert "does not exist yet" in capsys.readouterr().out
        assert not (tmp_path / "data").exists()


class TestRunningInstallation:
    """What an administrator does beside a server, and after it."""

    def test_the_way_back_in(self, tmp_path: Path, capsys: Said) -> None:
        directory = tmp_path / "data"
        with started(directory) as running:
            environ = _environ(directory, SERVER_PORT=str(running.port))

            patience = timedelta(seconds=PATIENCE_SECONDS)
            asked = commands.healthcheck({}, config_file=None, environ=environ, timeout=patience)
            assert asked == 0
            assert "ready" in capsys.readouterr().out
            # Started with --listen, the port stands in client.toml only.
            elsewhere = _environ(directory)
            asked = commands.healthcheck({}, config_file=None, environ=elsewhere, timeout=patience)
            assert asked == 0
            capsys.readouterr()
            assert (
                commands.create_admin_key(
                    {},
                    config_file=None,
                    environ=environ,
                    name="way-back",
                    lifetime=timedelta(hours=1),
                    is_json=True,
                )
                == 0
            )
            key = json.loads(capsys.readouterr().out)["api_key"]
            assert running.get("/api/v1/certificates", key=key)[0] == 200

            capsys.readouterr()
            # Its ports are taken, by itself: no reason to keep quiet about the rest.
            assert commands.serve({}, config_file=None, environ=environ, check=True) == 0
            assert "CA: usable" in capsys.readouterr().out
            assert (
                commands.db_downgrade({}, config_file=None, environ=environ, revision="base") == 3
            )
            assert running.stop() == 0
        capsys.readouterr()

        assert commands.serve({}, config_file=None, environ=environ, check=True) == 0
        assert "CA: usable" in capsys.readouterr().out
        assert (
            commands.audit_verify({}, config_file=None, environ=environ, full=True, is_json=True)
            == 0
        )
        assert json.loads(capsys.readouterr().out)["ok"] is True
        assert commands.audit_verify({}, config_file=None, environ=environ) == 0
        said = capsys.readouterr().out
        assert re.search(r"^OK: +yes$", said, re.MULTILINE)
        assert re.search(r"^Tree size: +\d+$", said, re.MULTILINE)
        assert commands.healthcheck({}, config_file=None, environ=environ) == 1
        assert "does not answer" in capsys.readouterr().err

    @pytest.mark.spec("08/HLTH-2")
    def test_health_needs_a_trusted_certificate(self, capsys: Said) -> None:
        url = f"https://127.0.0.1:{free_port()}"

        assert commands.healthcheck({}, config_file=None, environ={}, url="http://x") == 1
        assert "https://" in capsys.readouterr().err
        assert commands.healthcheck({}, config_file=None, environ={}, url=url) == 1


def test_plugins_are_listed_without_a_server(tmp_path: Path, capsys: Said) -> None:
    environ = _environ(tmp_path)

    assert commands.plugins_list({}, config_file=None, environ=environ, is_json=True) == 0
    kinds = {row["kind"] for row in json.loads(capsys.readouterr().out)["plugins"]}
    assert {"file", "webhook"} <= kinds
