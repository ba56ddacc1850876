"""Commands of server and agent, found by name and run with the right arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from certctl_cli.parts import GROUP, PartMissing, load_part

from certctl_core.kernel.ids import Prefix
from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live
from tests.machine import PATIENCE_SECONDS, eventually, free_port

_SCRIPT = "import sys; from certctl_cli.main import main; sys.exit(main())"


def _program(
    *arguments: str, script: str = _SCRIPT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it as a program: these commands change the process they run in."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CERTCTL_")}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=clean | environment,
    )


def test_a_library_that_the_server_lacks_is_named(tmp_path: Path) -> None:
    halted = f"import sys; sys.modules['flask'] = None; {_SCRIPT}"
    listen = f"127.0.0.1:{free_port()}"
    done = _program(
        "serve", "--data-dir", str(tmp_path / "data"), "--listen", listen, script=halted
    )

    assert done.returncode == 1
    assert "needs the package flask" in done.stderr
    assert "pip install 'certctl[server]'" in done.stderr


def test_every_part_can_be_loaded() -> None:
    parts = entry_points(group=GROUP)

    assert {part.name for part in parts} >= {"serve", "worker", "agent_run", "config_check"}
    assert all(callable(part.load()) for part in parts)


def test_a_part_that_is_not_installed_says_what_to_do() -> None:
    with pytest.raises(PartMissing) as missing:
        load_part("no_such_part")

    assert "no_such_part" in missing.value.detail
    assert "pip install" in missing.value.hint


def test_a_database_is_made_checked_and_shown(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    before = _program("db", "check", "--data-dir", directory)
    made = _program("--data-dir", directory, "db", "upgrade")
    after = _program("db", "check", CERTCTL_DATA_DIR=directory)
    current = _program("db", "current", "--json", "--data-dir", directory)

    assert before.returncode == 3, before.stderr
    assert made.returncode == 0, made.stderr
    assert after.returncode == 0
    assert '"head"' in current.stdout


def test_settings_are_checked_explained_and_dumped(tmp_path: Path) -> None:
    file = tmp_path / "certctl.toml"
    file.write_text("server_port = 9443\n")
    bad = _program("config", "check", CERTCTL_SERVER_PORT="many", CERTCTL_NONSENSE="1")

    assert _program("config", "check", "--config", str(file)).returncode == 0
    assert bad.returncode == 2
    assert "CERTCTL_SERVER_PORT" in bad.stderr + bad.stdout
    assert "CERTCTL_NONSENSE" in bad.stderr + bad.stdout
    explained = _program("config", "explain", "SERVER_PORT", "--config", str(file))
    assert "9443" in explained.stdout
    assert '"CERTCTL_SERVER_PORT"' in _program("config", "dump", "--json").stdout
    assert '"settings"' in _program("config", "schema").stdout
    assert _program("config", "keygen").stdout.strip()


def test_plugins_of_this_environment_need_no_server() -> None:
    result = _program("plugins", "list", "--local")

    assert result.returncode == 0
    assert "nginx" in result.stdout


def test_serve_is_checked_without_writing(tmp_path: Path) -> None:
    refused = _program("serve", "--check", "--listen", "nonsense")

    assert refused.returncode == 2
    assert _program("serve", "--check", "--migrate-only").returncode == 2
    assert "Traceback" not in refused.stderr


def test_an_export_of_the_audit_log_is_verified_with_its_key(
    certctl: Run, live: Live, tmp_path: Path
) -> None:
    live.core.rooms.audit.seal(live.core.units)
    export, key, note = (tmp_path / name for name in ("log.ndjson", "key", "note"))
    with live.client() as client:
        now = live.core.clock.now()
        query = {
            "from": (now - timedelta(days=1)).isoformat(),
            "to": (now + timedelta(days=1)).isoformat(),
        }
        export.write_bytes(client.response("audit.export", query=query).content)
        checkpoint = client.audit.checkpoint()
    key.write_text(checkpoint["key"])
    note.write_text(checkpoint["note"])
    arguments = ("audit", "verify", "--file", str(export), "--key", str(key))

    good = _program(*arguments, "--checkpoint", str(note), "--json")
    export.write_text(export.read_text().replace("profile.created", "profile.deleted"))
    bad = _program(*arguments, "--checkpoint", str(note))

    assert good.returncode == 0, good.stderr
    assert bad.returncode == 1
    assert certctl("audit", "verify", "--file", str(export)).code == 2
    assert certctl("audit", "verify", "--key", str(key)).code == 2


def test_an_agent_enrolls_and_runs_until_it_is_told_to_stop(
    bare: Run, live: Live, tmp_path: Path
) -> None:
    with live.client() as client:
        token = tmp_path / "token"
        token.write_text(client.enrollment_tokens.create("cli")["token"])
    where = ("--server", live.url, "--ca-bundle", str(live.ca_path))
    state = ("--state-dir", str(tmp_path / "state"))
    enrolled = bare(
        "agent", "enroll", *where, *state, "--token-file", str(token), "--name", "cli-agent",
        "--label", "rack=1", "--json",
    )  # fmt: skip
    assert enrolled.code == 0, enrolled.err
    agent_id = enrolled.json["id"]
    assert agent_id.startswith(Prefix.AGENT)
    again = bare("agent", "enroll", *where, *state, "--token-file", str(token))
    assert again.code == 2
    with live.client() as client:
        enrolled_at = client.agents.get(agent_id)["last_heartbeat_at"]

    policy = ("--policy-file", str(tmp_path / "none.toml"))
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, "agent", "run", *state, *policy,
         "--heartbeat-interval", "0.2", "--poll-interval", "0.2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with live.client() as client:

            def has_spoken() -> bool:
                assert process.poll() is None
                return client.agents.get(agent_id)["last_heartbeat_at"] != enrolled_at

            eventually(has_spoken, what="a heartbeat")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def test_an_agent_needs_a_token_and_https(bare: Run, tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    without = bare("agent", "enroll", *state, "--server", "https://127.0.0.1:1")
    plain = bare("agent", "enroll", *state, "--server", "http://127.0.0.1:1", "--token", "t")
    run = bare("agent", "run", *state)

    assert without.code == plain.code == run.code == 2
    assert "--token" in without.err
    assert "https" in plain.err
    assert not (tmp_path / "state" / "credential").exists()
