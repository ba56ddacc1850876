"""SIGHUP: what may change while the server runs, and what only a restart brings (08 §2.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.frontends.server.running import Running, started
from tests.machine import eventually

pytestmark = pytest.mark.xdist_group("server")
_FIRST = "ci:first-key-of-the-configuration:admin"
_SECOND = "other:second-key-of-the-configuration:viewer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reload")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    """A server whose settings lie in files that can change."""
    for name, text in (("level", "info"), ("keys", _FIRST), ("threads", "4")):
        (folder / name).write_text(text + "\n")
    settings = {
        "LOG_LEVEL_FILE": str(folder / "level"),
        "API_KEYS_NAMED_FILE": str(folder / "keys"),
        "HTTP_THREADS_FILE": str(folder / "threads"),
        "OUTBOUND_CA_BUNDLE": str(folder / "trust.pem"),
    }
    trustme.CA().cert_pem.write_to_path(folder / "trust.pem")
    with started(folder / "data", **settings) as running:
        yield running


def _hang_up(server: Running) -> None:
    before = server.text().count("server.reload")
    server.hang_up()
    eventually(lambda: server.text().count("server.reload") > before, what="a reload")


def test_configured_keys_make_no_first_key(server: Running) -> None:
    assert "API key" not in server.text()
    assert not (server.directory / "client.toml").exists()
    assert server.get("/api/v1/certificates", key=_FIRST.split(":")[1])[0] == 200


@pytest.mark.spec("08/BOOT-5")
def test_a_new_key_works_after_a_hang_up(server: Running, folder: Path) -> None:
    key = _SECOND.split(":")[1]
    assert server.get("/api/v1/certificates", key=key)[0] == 401

    (folder / "keys").write_text(f"{_FIRST},{_SECOND}\n")
    _hang_up(server)

    eventually(lambda: server.get("/api/v1/certificates", key=key)[0] == 200, what="the key works")


@pytest.mark.spec("02/TRUST-3", "02/DR-20")
def test_a_bad_trust_bundle_changes_nothing_and_a_mended_one_is_taken(
    server: Running, folder: Path
) -> None:
    bundle, key = folder / "trust.pem", _FIRST.split(":")[1]

    def shown() -> dict[str, Any]:
        _, body = server.get("/api/v1/admin/trust-bundles", key=key)
        (found,) = json.loads(body)["data"]
        return dict(found)

    before = shown()
    bundle.write_text("half a certi")
    server.hang_up()
    eventually(lambda: shown()["last_error"] is not None, what="the refusal")
    assert shown()["anchors"] == before["anchors"]
    eventually(lambda: bool(server.events("trust_bundle.reload_failed")), what="its line")
    refused = server.events("trust_bundle.reload_failed")[-1]
    assert (refused["code"], refused["path"]) == ("empty_bundle", str(bundle))

    trustme.CA(organization_name="Example New").cert_pem.write_to_path(bundle)
    server.hang_up()
    eventually(lambda: shown()["anchors"] != before["anchors"], what="the new pool")
    eventually(lambda: shown()["last_error"] is None, what="nothing is wrong any more")

    def changes() -> list[str]:
        _, body = server.get("/api/v1/audit?action=trust_bundle.reloaded", key=key)
        events = json.loads(body)["data"]
        return [event["actor"] for event in events if event["details"]["added"]]

    eventually(lambda: changes() == ["reload"], what="the one event of several processes")


@pytest.mark.spec("02/TRUST-3")
def test_the_log_says_when_every_worker_has_reloaded(server: Running, folder: Path) -> None:
    def ends() -> list[dict[str, Any]]:
        return server.events("server.reloaded")

    before = len(ends())
    server.hang_up()
    eventually(lambda: len(ends()) > before, what="the end of the reload")
    good = ends()[-1]
    assert (good["level"], good["workers"]) == ("info", 2), "a web worker and the background one"
    assert server.events("server.reloading")[-1]["ts"] <= good["ts"]

    bundle = folder / "trust.pem"
    mended = bundle.read_text()
    bundle.write_text("half a certi")
    before = len(ends())
    server.hang_up()
    eventually(lambda: len(ends()) > before, what="the end of the reload")
    bad = ends()[-1]
    assert (bad["level"], bad["workers"]) == ("warn", 2)
    assert bad["with_old_values"] == ["background", "web-1"]
    bundle.write_text(mended)
    server.hang_up()
    eventually(lambda: len(ends()) > before + 1, what="the end of the reload")
    assert ends()[-1]["level"] == "info"


def test_the_log_level_reaches_every_process(server: Running, folder: Path) -> None:
    (folder / "level").write_text("error\n")
    _hang_up(server)

    def is_quiet() -> bool:
        before = len(server.events("http.request"))
        server.get("/health")
        return len(server.events("http.request")) == before

    eventually(is_quiet, what="requests are not logged any more")
    (folder / "level").write_text("info\n")
    server.hang_up()
    eventually(lambda: not is_quiet(), what="requests are logged again")


def test_what_needs_a_restart_is_said(server: Running, folder: Path) -> None:
    (folder / "threads").write_text("6\n")
    _hang_up(server)

    eventually(lambda: bool(server.events("server.reload_needs_restart")), what="it is said")
    assert server.events("server.reload_needs_restart")[0]["settings"] == ["CERTCTL_HTTP_THREADS"]
    (folder / "threads").write_text("4\n")


def test_bad_settings_change_nothing(server: Running, folder: Path) -> None:
    (folder / "threads").write_text("many\n")
    _hang_up(server)

    eventually(lambda: bool(server.events("server.reload_refused")), what="it is refused")
    assert "CERTCTL_HTTP_THREADS" in server.events("server.reload_refused")[0]["problem"]
    assert server.is_ready()
    (folder / "threads").write_text("4\n")
