"""Starts that cannot go on: one message a problem, an exit code of their own, nothing left behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from tests.frontends.server.running import run_to_end
from tests.machine import free_port

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A data directory that is not there, and must not be there afterwards either."""
    yield tmp_path / "deep" / "data"
    assert not (tmp_path / "deep").exists()


@pytest.mark.spec("08/BOOT-6")
def test_every_bad_setting_is_named_at_once(directory: Path) -> None:
    done = run_to_end(
        directory, 70000, LOG_LEVEL="loud", HTTP_THREAD="4", API_KEYS_NAMED="a:secret"
    )

    assert done.returncode == 2
    for name in ("SERVER_PORT", "LOG_LEVEL", "HTTP_THREAD ", "API_KEYS_NAMED"):
        assert f"CERTCTL_{name}" in done.stderr
    assert "CERTCTL_HTTP_THREADS" in done.stderr  # what was meant
    assert "secret" not in done.stderr.replace("not a secret", "")
    assert "Traceback" not in done.stderr


def test_a_plugin_that_does_not_exist_is_named(directory: Path) -> None:
    done = run_to_end(directory, free_port(), PLUGINS_DISABLED="webhok")

    assert done.returncode == 2
    assert "CERTCTL_PLUGINS_DISABLED names 'webhok'" in done.stderr
    assert "Did you mean webhook?" in done.stderr


def test_a_busy_port_is_named_before_anything_is_made(directory: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = run_to_end(directory, port)

    assert done.returncode == 9
    assert f"CERTCTL_SERVER_PORT: 127.0.0.1:{port} cannot be bound" in done.stderr


def test_a_broken_ca_file_is_named(directory: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    trustme.CA().cert_pem.write_to_path(certificate)
    key.touch(0o600)
    trustme.CA().private_key_pem.write_to_path(key)
    done = run_to_end(directory, free_port(), CA_CERT_PATH=str(certificate), CA_KEY_PATH=str(key))

    assert done.returncode == 7
    assert str(tmp_path / "ca.") in done.stderr
    assert "Traceback" not in done.stderr
    assert "exit 7" in done.stderr


@pytest.mark.spec("02/TRUST-1")
def test_a_bad_trust_bundle_is_named(directory: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "trust.pem"
    bundle.write_text("no certificate")
    done = run_to_end(directory, free_port(), OUTBOUND_CA_BUNDLE=str(bundle))

    assert done.returncode == 2
    assert f"CERTCTL_OUTBOUND_CA_BUNDLE: The trust bundle {bundle} holds no" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_tls_pair_is_named(directory: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    pair = trustme.CA().issue_cert("127.0.0.1")
    pair.cert_chain_pems[0].write_to_path(certificate)
    key.touch(0o644)
    pair.private_key_pem.write_to_path(key)
    done = run_to_end(
        directory,
        free_port(),
        SERVER_TLS_CERT_PATH=str(certificate),
        SERVER_TLS_KEY_PATH=str(key),
    )

    assert done.returncode == 8
    assert f"the key file {key} has mode 0644" in done.stderr


@pytest.mark.spec("08/GUARD-3")
def test_a_start_that_would_let_nobody_in_is_refused(directory: Path) -> None:
    done = run_to_end(directory, free_port(), PRINT_FIRST_ADMIN="false")

    assert done.returncode == 6
    assert "CERTCTL_PRINT_FIRST_ADMIN is off, and there is no API key" in done.stderr
    assert "CERTCTL_BOOTSTRAP_TOKEN" in done.stderr


def test_an_unreachable_database_is_named(directory: Path) -> None:
    url = f"postgresql://certctl@127.0.0.1:{free_port()}/certctl"
    done = run_to_end(
        directory,
        free_port(),
        DATABASE_URL=url,
        DATABASE_CONNECT_TIMEOUT="1s",
        CONFIG_ENCRYPTION_KEY="a passphrase that is long enough for the test",
        SERVER_WORKERS="1",
    )

    assert done.returncode == 3
    assert "CERTCTL_DATABASE_URL" in done.stderr
    assert "refused" in done.stderr
    assert "Traceback" not in done.stderr
