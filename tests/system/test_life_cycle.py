"""A certificate's life in real time: installed commands, a real nginx, deaths in the middle."""

from __future__ import annotations

import base64
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.core.notifications.conftest import Received, Receiver, receiver, receiver_of
from tests.frontends.agent.webserver import Nginx, running_nginx
from tests.machine import PATIENCE_SECONDS, eventually
from tests.system.conftest import database_settings
from tests.system.installed import Served, run, served
from tests.system.life import Host, Watch, host, is_busy, needs_root

__all__ = ["receiver", "receiver_of"]

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("system"),
    pytest.mark.skipif(needs_root(), reason="the policy file of an agent belongs to root"),
]
Tool = Callable[[str], str]
LIFETIME = timedelta(seconds=150)
RENEW_AT_PERCENT = 33
"""From its due time to its end lies more than one round of the renewal loop, whenever that begins."""
QUICK = {
    "SCHEDULER_RENEWAL_CHECK_INTERVAL": "1m",  # the shortest there is
    "SCHEDULER_RETRY_INTERVAL": "1s",
    "JOB_TIMEOUT_INTERVAL": "1s",
    "JOB_LEASE": "10s",
    "NOTIFY_WORKER_INTERVAL": "1s",
}


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server of the test's own, with loops that run as often as they may."""
    engine: str = getattr(request, "param", "sqlite")
    chosen = request.config.getoption("--databases")
    if chosen and engine not in chosen.split(","):
        pytest.skip(f"not on {engine} in this run")
    settings = dict(QUICK)
    if "receiver" in request.fixturenames:
        at: Receiver = request.getfixturevalue("receiver")
        settings["OUTBOUND_ALLOW"] = httpx.URL(at.url).netloc.decode()
    with (
        database_settings(engine, request) as database,
        served(tmp_path / "data", **settings, **database) as running,
    ):
        yield running


@pytest.fixture
def sites(
    tmp_path: Path, tool: Tool, request: pytest.FixtureRequest
) -> Iterator[tuple[Nginx, ...]]:
    """The TLS servers of one nginx."""
    names = getattr(request, "param", ("web",))
    with running_nginx(tool("nginx"), tmp_path / "nginx", *names) as found:
        yield found


def test_a_certificate_is_made_deployed_and_renewed_by_itself(
    server: Served, sites: tuple[Nginx, ...], tmp_path: Path, tool: Tool
) -> None:
    (site,) = sites
    before = site.served()
    with host(server, site.policy(), tmp_path) as web:
        profile = web.client.post(
            "/profiles",
            json={
                "name": "a minute",
                "max_ttl_seconds": int(LIFETIME.total_seconds()),
                "default_validity_seconds": int(LIFETIME.total_seconds()),
                "allow_short_lived": True,
            },
        )
        assert profile.status_code == 201, profile.text
        policy = web.client.post(
            "/renewal-policies", json={"name": "early", "renew_at_percent": RENEW_AT_PERCENT}
        )
        assert policy.status_code == 201, policy.text
        certificate_id = web.certificate(
            site,
            certificate_profile_id=profile.json()["id"],
            renewal_policy_id=policy.json()["id"],
        )
        web.serve_by(site, certificate_id)

        (first,) = web.versions(certificate_id)
        assert site.served() != before
        assert_openssl_accepts(tool("openssl"), server, site, first)
        assert_key_stays(web, certificate_id)

        eventually(
            lambda: web.is_settled(site, certificate_id, 2),
            seconds=LIFETIME.total_seconds(),
            what="the renewal, without anybody acting",
        )
        second, same = web.versions(certificate_id)
        assert same == first | {"is_current": False}
        assert second["serial_number"] != first["serial_number"]
        assert second["spki_sha256"] != first["spki_sha256"]
        assert_openssl_accepts(tool("openssl"), server, site, second)
        assert_in_time(first, second)

        jobs = web.jobs(certificate_id=certificate_id)
        assert sorted(job["type"] for job in jobs) == [
            "Deployment", "Deployment", "Issuance", "Renewal",
        ]  # fmt: skip
        assert {job["status"] for job in jobs} == {"Completed"}
        assert [row["outcome"] for row in web.deployments(certificate_id)] == ["deployed"] * 2
        with signed_in(server) as browser:
            path = f"/ui/certificates/{certificate_id}"
            text = browser.get(path, params={"tab": "versions"}).text
            for version in (first, second):
                assert version["id"] in text
            text = browser.get(path, params={"tab": "deployments"}).text
            for row in web.deployments(certificate_id):
                assert row["fingerprint_sha256"] in text
        assert web.stop() == 0


def assert_openssl_accepts(
    openssl: str, server: Served, site: Nginx, version: dict[str, Any]
) -> None:
    """What nginx serves is this version, and OpenSSL trusts it through ``ca.crt``."""
    said = run(
        openssl, "s_client", "-connect", f"127.0.0.1:{site.port}", "-servername", site.host,
        "-CAfile", server.directory / "ca.crt", "-verify_hostname", site.host,
        "-verify_return_error",
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    leaf = server.directory.with_name("served.pem")
    leaf.write_text(said[said.index("-----BEGIN CERT") : said.index("-----END CERT")])
    with leaf.open("a") as out:
        out.write("-----END CERTIFICATE-----\n")
    serial = run(openssl, "x509", "-in", leaf, "-noout", "-serial")
    found = serial.strip().partition("=")[2].lower().lstrip("0")
    assert found == version["serial_number"].lstrip("0")


def assert_key_stays(web: Host, certificate_id: str) -> None:
    """The key is a file of the agent, 0600, and in no file of the server."""
    (path,) = (web.state_dir / "keys" / certificate_id).glob("*.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    secrets = (scalar, scalar.hex().encode(), base64.b64encode(der)[:60])
    directory = web.server.directory
    files = [item for item in directory.rglob("*") if item.is_file()]
    assert any(item.name.startswith("certctl.db") for item in files)
    for item in (*files, web.server.running.log):
        content = item.read_bytes()
        assert not any(secret in content for secret in secrets), item
        if item.name.startswith("certctl.db"):
            assert b"PRIVATE KEY" not in content


def assert_in_time(first: dict[str, Any], second: dict[str, Any]) -> None:
    """After the policy's share of the lifetime, and before its end."""
    begins, ends = (datetime.fromisoformat(first[name]) for name in ("not_before", "not_after"))
    renewed = datetime.fromisoformat(second["created_at"])
    assert begins + (ends - begins) * RENEW_AT_PERCENT / 100 < renewed < ends


@contextmanager
def signed_in(server: Served) -> Iterator[httpx.Client]:
    """The administrator in the web interface."""
    trusted = ssl.create_default_context(cafile=str(server.directory / "ca.crt"))
    with httpx.Client(
        base_url=server.url, verify=trusted, trust_env=False, timeout=PATIENCE_SECONDS
    ) as browser:
        form, headers = {"api_key": server.running.key}, {"Origin": server.url}
        answer = browser.post("/login", data=form, headers=headers)
        assert answer.status_code == 303, answer.text
        yield browser


def _answered(_statuses: dict[str, str]) -> bool:
    return True


def _taken(statuses: dict[str, str]) -> bool:
    return statuses["Renewal"] != "AwaitingCSR"


def _issued(statuses: dict[str, str]) -> bool:
    return statuses["Renewal"] == "Completed"


def _deploying(statuses: dict[str, str]) -> bool:
    return _issued(statuses) and statuses["Deployment"] != "Pending"


#: What a renewal may be at its site's moment: only "taken" can be missed, it lasts milliseconds.
ANY = frozenset(("AwaitingCSR", "Running", "Completed"))
RENEWING = dict.fromkeys(("answered", "issued", "deploying"), ANY) | {"taken": {"Running"}}
MOMENTS = {"answered": _answered, "taken": _taken, "issued": _issued, "deploying": _deploying}


@pytest.mark.parametrize("sites", [("agent", *MOMENTS)], indirect=True, ids=["sites"])
def test_what_is_killed_in_the_middle_ends_well(
    server: Served, sites: tuple[Nginx, ...], tmp_path: Path
) -> None:
    pause, begun = tmp_path / "pause", tmp_path / "begun"
    script = sites[0].slow_reload(pause, begun)
    with host(server, sites[0].policy(script), tmp_path) as web:
        made = {site: web.certificate(site) for site in sites}
        for site in sites:
            changes = {"reload_command": str(script)} if site is sites[0] else {}
            web.serve_by(site, made[site], **changes)

        kill_agent_while_it_reloads(web, made[sites[0]], pause, begun)
        watch, renewals = Watch(server), dict.fromkeys(sites, 1)
        for site in sites[1:]:
            while kill_server_at(watch, web, site, made[site]) not in RENEWING[site.name]:
                # Issued between two looks: the moment is gone, and another renewal has one too.
                await_settled(web, site, made[site], renewals[site])
                renewals[site] += 1
                assert renewals[site] < 8, "the request was never seen with its issuer"
        watch.close()

        for site in sites:
            await_settled(web, site, made[site], renewals[site])
        for site in sites:
            jobs = [version["job_id"] for version in web.versions(made[site])]
            assert len(set(jobs)) == len(jobs) == renewals[site] + 1
        assert not is_busy(web.jobs())
        outcomes = [row["outcome"] for row in web.deployments(made[sites[0]])]
        assert outcomes == ["deployed", "rolled_back", "deployed"]
        assert not list((web.state_dir / "journal").glob("*.json"))
        server.certctl("audit", "verify", "--local", "--full")
        assert web.stop() == 0
    assert server.running.stop() == 0


def kill_server_at(watch: Watch, web: Host, site: Nginx, certificate_id: str) -> str:
    """Renew, kill the server at the site's moment, start it again: what the renewal was then."""
    web.renew(certificate_id)
    with watch.at(certificate_id, MOMENTS[site.name]) as statuses:
        web.server.kill()
    web.server.start_again()
    return statuses["Renewal"]


def await_settled(web: Host, site: Nginx, certificate_id: str, renewals: int) -> None:
    """All of its renewals are served, and nothing is left to do."""
    eventually(
        lambda: web.is_settled(site, certificate_id, renewals + 1),
        seconds=120,
        what=f"{site.name}: {web.jobs(certificate_id=certificate_id)}",
    )


def kill_agent_while_it_reloads(web: Host, certificate_id: str, pause: Path, begun: Path) -> None:
    """The new pair is in place, nginx has not been told yet: that is when the agent dies."""
    begun.unlink()
    pause.touch()
    web.renew(certificate_id)
    eventually(begun.exists, what="the reload")
    web.kill()
    pause.unlink()
    web.start()


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_configuration_that_nginx_refuses_is_rolled_back_and_told(
    server: Served, sites: tuple[Nginx, ...], receiver: Receiver, tmp_path: Path
) -> None:
    (site,) = sites
    with host(server, site.policy(), tmp_path) as web:
        body = {"name": "hook", "kind": "webhook", "config": {"url": receiver.url}}
        notifier = web.client.post("/notifiers", json=body)
        assert notifier.status_code == 201, notifier.text
        secret = notifier.json()["generated_secrets"]["secret"]
        certificate_id = web.certificate(site)
        web.serve_by(site, certificate_id)
        before = site.served()

        site.break_configuration()
        web.renew(certificate_id)
        told = message(receiver, 1)
        row, job = last(web, certificate_id)
        assert (row["outcome"], row["error_code"]) == ("failed_precheck", "baseline_broken")
        assert failed_stage(job) == "BASELINE"
        assert site.served() == before
        assert told.is_signed_with(secret)

        site.mend_configuration()
        site.pin_key()
        web.renew(certificate_id)
        told = message(receiver, 2)
        row, job = last(web, certificate_id)
        assert (row["outcome"], row["error_code"]) == ("rolled_back", "validate_failed")
        assert row["rollback"]["ok"]
        assert (job["status"], job["error_code"]) == ("Failed", "validate_failed")
        assert failed_stage(job) == "VALIDATE"
        assert "key values mismatch" in job["last_error"]
        site.await_serving(before)
        assert told.is_signed_with(secret)
        said = told.json()
        assert said["certificate"]["id"] == certificate_id
        serials = {version["serial_number"] for version in web.versions(certificate_id)}
        assert said["certificate"]["serial"] in serials
        assert said["data"]["outcome"] == "rolled_back"
        assert said["data"]["job_id"] == job["id"]

        site.mend_configuration()
        server.certctl("jobs", "retry", job["id"])
        eventually(lambda: web.is_settled(site, certificate_id, 3), what="the mended deployment")


def message(receiver: Receiver, number: int) -> Received:
    """That message about a failed deployment, when it has come."""

    def found() -> list[Received]:
        return [item for item in receiver.received if item.json()["type"] == "deployment.failed"]

    eventually(lambda: len(found()) == number, what=f"message {number}")
    return found()[-1]


def last(web: Host, certificate_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest deployment and its job."""
    row = web.deployments(certificate_id)[0]
    return row, web.client.get(f"/jobs/{row['job_id']}").json()


def failed_stage(job: dict[str, Any]) -> str:
    """The stage that the job names as the one that failed."""
    (name,) = [stage["name"] for stage in job["result"]["stages"] if not stage["ok"]]
    return str(name)
