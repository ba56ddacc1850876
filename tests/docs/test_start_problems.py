"""Every way in which a start fails here is on the page for it, under the number it ends with."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certctl_server.exits import HELP_PAGE, Exit

from tests.docs.pages import PATIENCE_SECONDS, ROOT, anchors
from tests.machine import free_port

pytestmark = pytest.mark.timeout(PATIENCE_SECONDS + 60)
_CERTCTL = str(Path(sys.executable).with_name("certctl"))
_NOWHERE = "/nowhere/some.pem"


def shown(code: int) -> list[str]:
    """The messages that the page shows under ``Exit N``."""
    text = (ROOT / HELP_PAGE).read_text(encoding="utf-8")
    section = text.partition(f"## Exit {code}\n")[2].partition("\n## ")[0]
    block = section.partition("```text\n")[2].partition("```")[0]
    return block.splitlines()


def failed_start(data_dir: Path, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Start certctl, which must not work; the exit code and the lines about problems."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CERTCTL_")}
    done = subprocess.run(
        [_CERTCTL, "serve", "--data-dir", str(data_dir), *arguments],
        env={**kept, "CERTCTL_SERVER_PORT": str(free_port()), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    problems = [
        line.removeprefix("  - ") for line in done.stderr.splitlines() if line.startswith("  - ")
    ]
    return done.returncode, problems


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as the library leaves it."""
    from certctl_core import Core

    place = tmp_path_factory.mktemp("installed") / "data"
    Core.open(place).close()
    return place


@pytest.fixture
def data_dir(installed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(installed, tmp_path / "data"))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def is_shown(code: int, problem: str) -> bool:
    patterns = (".*".join(map(re.escape, line.split("…"))) for line in shown(code))
    return any(re.fullmatch(pattern, problem) for pattern in patterns)


def expect(code: Exit, found: tuple[int, list[str]]) -> None:
    assert found[0] == code, found[1]
    assert found[1]
    assert [problem for problem in found[1] if not is_shown(code, problem)] == []


def test_every_number_has_a_section() -> None:
    wanted = {f"exit-{int(code)}" for code in Exit if code not in {Exit.OK, Exit.INTERRUPTED}}

    assert wanted == {name for name in anchors(ROOT / HELP_PAGE) if name.startswith("exit-")}


def test_bad_settings(data_dir: Path) -> None:
    found = failed_start(data_dir, CERTCTL_HTTP_THREADS="0", CERTCTL_NO_SUCH_THING="1")

    expect(Exit.CONFIG, found)
    assert len(found[1]) == 2


def test_postgres_without_keys(data_dir: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    expect(Exit.CONFIG, failed_start(data_dir, "--database", url))


def test_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expect(Exit.CONFIG, failed_start(tmp_path / "file"))


def test_database_that_does_not_answer(data_dir: Path) -> None:
    keys = (data_dir / "keyring").read_text().strip()
    found = failed_start(
        data_dir,
        *("--database", "postgresql://nobody@127.0.0.1:1/none"),
        CERTCTL_DATABASE_CONNECT_TIMEOUT="1s",
        CERTCTL_CONFIG_ENCRYPTION_KEYS=keys,
    )
    expect(Exit.DATABASE, found)


def test_database_that_was_never_migrated(tmp_path: Path) -> None:
    expect(Exit.SCHEMA, failed_start(tmp_path / "data", CERTCTL_MIGRATE_ON_START="false"))


def test_keyring_that_is_gone(data_dir: Path) -> None:
    (data_dir / "keyring").unlink()
    expect(Exit.KEYRING, failed_start(data_dir))


def test_keyring_of_another_installation(data_dir: Path) -> None:
    from certctl_core.kernel.secrets import generate_keyring

    keys = generate_keyring()
    expect(Exit.KEYRING, failed_start(data_dir, CERTCTL_CONFIG_ENCRYPTION_KEYS=keys))


def test_ca_key_that_is_gone(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "ca")
    expect(Exit.AUTHORITY, failed_start(data_dir))


def test_ca_file_that_is_not_there(data_dir: Path) -> None:
    paths = {"CERTCTL_CA_CERT_PATH": _NOWHERE, "CERTCTL_CA_KEY_PATH": _NOWHERE}
    expect(Exit.AUTHORITY, failed_start(data_dir, **paths))


def test_a_token_that_cannot_be_had(tmp_path: Path) -> None:
    token = {"CERTCTL_SIGNER_CA": "pkcs11", "CERTCTL_PKCS11_MODULE": "/nowhere/library.so"}
    expect(Exit.AUTHORITY, failed_start(tmp_path / "data", **token))


def test_server_certificate_that_is_not_there(data_dir: Path) -> None:
    paths = {"CERTCTL_SERVER_TLS_CERT_PATH": _NOWHERE, "CERTCTL_SERVER_TLS_KEY_PATH": _NOWHERE}
    expect(Exit.TLS, failed_start(data_dir, **paths))


def test_port_that_is_taken(data_dir: Path, taken: int) -> None:
    expect(Exit.BIND, failed_start(data_dir, CERTCTL_SERVER_PORT=str(taken)))
