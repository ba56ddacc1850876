"""One certificate's life with a real agent, a real server and a real nginx (07 §4 to §11)."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certctl_agent import AgentAlreadyEnrolled, enroll, run
from certctl_client.errors import APIError

from certctl_core.kernel.actors import Actor, ActorType
from tests.frontends.agent.webserver import Nginx, running_nginx
from tests.frontends.client.live import Live, live_installation
from tests.machine import eventually

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the policy file of an agent belongs to root"
)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A whole installation behind TLS; its loops run only when the test calls them."""
    with live_installation(tmp_path) as live:
        yield live


@pytest.fixture
def nginx(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Nginx]:
    """A real nginx that serves somebody else's certificate so far."""
    with running_nginx(tool("nginx"), tmp_path / "nginx", "web") as (nginx,):
        yield nginx


@dataclass(slots=True, kw_only=True)
class Home:
    """An enrolled agent that can be run in a thread."""

    live: Live
    state_dir: Path
    agent_id: str
    policy_file: Path

    @contextmanager
    def running(self, **members: Any) -> Iterator[list[int]]:
        """Run it; the list gets its exit status."""
        stop, ended = threading.Event(), list[int]()
        arguments: dict[str, Any] = {
            "state_dir": self.state_dir,
            "policy_file": self.policy_file,
            "poll_interval": 0.2,
            "heartbeat_interval": 0.2,
            "log_level": None,
            "stop": stop,
            **members,
        }
        thread = threading.Thread(target=lambda: ended.append(run(**arguments)))
        thread.start()
        try:
            yield ended
        finally:
            stop.set()
            thread.join(90)
        assert not thread.is_alive()


def _call(live: Live, name: str, **parts: Any) -> Any:
    return live.core.call(name, **parts)


def _home(live: Live, tmp_path: Path, policy_file: Path) -> Home:
    token = _call(live, "enrollment_tokens.create", body={"label": "t"}).token
    identity = enroll(
        server_url=live.url,
        token=token,
        state_dir=tmp_path / "agent",
        ca_bundle=live.ca_path,
        name="web-1",
    )
    return Home(
        live=live,
        state_dir=tmp_path / "agent",
        agent_id=identity.agent_id,
        policy_file=policy_file,
    )


def _target(home: Home, config: dict[str, Any]) -> str:
    body = {"name": "nginx", "kind": "nginx", "agent_id": home.agent_id, "config": config}
    return str(_call(home.live, "targets.create", body=body).id)


def _certificate(live: Live) -> str:
    body = {"common_name": "web.example.test", "sans": ["127.0.0.1"]}
    return str(_call(live, "certificates.create", body=body).id)


def _link(live: Live, certificate_id: str, target_id: str) -> None:
    path = {"certificate_id": certificate_id, "target_id": target_id}
    _call(live, "certificates.link_target", path=path, body={})


def _outcomes(live: Live, certificate_id: str) -> list[str]:
    page = _call(live, "certificates.deployments", path={"certificate_id": certificate_id})
    return [row.outcome.value for row in reversed(page.data)]


def _current(live: Live, certificate_id: str) -> Any:
    page = _call(live, "certificates.versions", path={"certificate_id": certificate_id})
    return page.data[0]


@pytest.mark.spec("07/KEY-01", "07/AGT-30", "01/AGP-05", "07/AGT-34")
def test_a_certificate_is_made_deployed_renewed_and_the_agent_retired(
    live: Live, nginx: Nginx, tmp_path: Path
) -> None:
    home = _home(live, tmp_path, nginx.policy())
    before = nginx.served()
    target_id = _target(home, nginx.config)
    certificate_id = _certificate(live)
    with home.running() as ended:
        test_job = _call(live, "targets.test", path={"target_id": target_id}).job_id
        _link(live, certificate_id, target_id)
        eventually(lambda: _outcomes(live, certificate_id) == ["deployed"], what="deployment")

        first = _current(live, certificate_id)
        nginx.await_serving(first.fingerprint_sha256)
        assert first.fingerprint_sha256 != before
        assert first.agent_id == home.agent_id
        chain = _call(live, "issuers.ca_chain", path={"issuer_id": "iss-local"}).certificates
        assert "BEGIN CERTIFICATE" in chain[0]
        eventually(
            lambda: _call(live, "jobs.get", path={"job_id": test_job}).status == "Completed",
            what="test",
        )
        view = _call(live, "targets.get", path={"target_id": target_id})
        assert view.test_status == "success", view.last_result

        _call(live, "certificates.renew", path={"certificate_id": certificate_id}, body={})
        eventually(
            lambda: _outcomes(live, certificate_id) == ["deployed", "deployed"], what="renewal"
        )
        second = _current(live, certificate_id)
        nginx.await_serving(second.fingerprint_sha256)
        assert second.fingerprint_sha256 != first.fingerprint_sha256
        assert second.spki_sha256 != first.spki_sha256

        agent = _call(live, "agents.get", path={"agent_id": home.agent_id})
        eventually(
            lambda: (
                "nginx"
                in _call(live, "agents.get", path={"agent_id": home.agent_id}).capabilities.get(
                    "targets", ()
                )
            ),
            what="heartbeat",
        )
        assert agent.name == "web-1"
        query = {"force": True, "reason": "done"}
        _call(live, "agents.retire", path={"agent_id": home.agent_id}, query=query)
        eventually(lambda: ended == [0], what="the agent's end")

    keys = sorted((tmp_path / "agent" / "keys" / certificate_id).glob("*.key"))
    assert len(keys) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    with live.core.units.read() as uow:
        from sqlalchemy import text

        for table in ("jobs", "deployments", "issuer_orders", "certificate_versions"):
            assert "PRIVATE KEY" not in str(uow.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608


@pytest.mark.spec("07/VER-01", "07/DEP-01", "07/JOB-08")
def test_a_wrong_endpoint_is_rolled_back_and_reported(
    live: Live, nginx: Nginx, tmp_path: Path
) -> None:
    home = _home(live, tmp_path, nginx.policy())
    config = nginx.config
    before = nginx.served()
    config["verify"] = {"endpoint": live.url.removeprefix("https://"), "attempts": 1}
    target_id = _target(home, config)
    certificate_id = _certificate(live)
    with home.running():
        _link(live, certificate_id, target_id)
        eventually(lambda: bool(_outcomes(live, certificate_id)), what="report")

    (row,) = _call(live, "certificates.deployments", path={"certificate_id": certificate_id}).data
    assert (row.outcome, row.error_code) == ("rolled_back", "verify_failed")
    assert row.verification["status"] == "failed"
    nginx.await_serving(before)
    job = _call(live, "jobs.get", path={"job_id": row.job_id})
    assert (job.status, job.next_attempt_at is not None) == ("Failed", True)


@pytest.mark.spec("07/CMD-04", "07/CMD-05")
def test_what_the_host_does_not_allow_is_reported_and_not_done(live: Live, tmp_path: Path) -> None:
    home = _home(live, tmp_path, tmp_path / "no-policy.toml")
    config = {"cert_path": "/etc/cron.d/web.crt", "key_path": "/etc/ssl/private/k.pem"}
    target_id = _target(home, config)
    certificate_id = _certificate(live)
    with home.running():
        _link(live, certificate_id, target_id)
        eventually(lambda: bool(_outcomes(live, certificate_id)), what="report")

    (row,) = _call(live, "certificates.deployments", path={"certificate_id": certificate_id}).data
    assert (row.outcome, row.error_code) == ("failed_precheck", "policy_denied")


_PROGRAM = """
import sys
from pathlib import Path
from certctl_agent import run
sys.exit(run(state_dir=Path(sys.argv[1]), policy_file=Path(sys.argv[2]),
             poll_interval=0.2, heartbeat_interval=0.2))
"""


@contextmanager
def _process(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    log = home.state_dir.with_name("agent.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(home.state_dir), str(home.policy_file)],
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A deployment whose reload takes as long as the file ``pause`` is there."""

    home: Home
    certificate_id: str
    target_id: str
    pause: Path
    begun: Path


def _slow(live: Live, nginx: Nginx, tmp_path: Path) -> Slow:
    pause, begun = tmp_path / "pause", tmp_path / "begun"
    pause.touch()
    script = nginx.slow_reload(pause, begun)
    policy = nginx.policy(script)
    home = _home(live, tmp_path, policy)
    target_id = _target(home, {**nginx.config, "reload_command": str(script)})
    certificate_id = _certificate(live)
    _link(live, certificate_id, target_id)
    return Slow(
        home=home, certificate_id=certificate_id, target_id=target_id, pause=pause, begun=begun
    )


@pytest.mark.spec("07/AGT-35")
def test_a_signal_lets_the_running_deployment_finish(
    live: Live, nginx: Nginx, tmp_path: Path
) -> None:
    slow = _slow(live, nginx, tmp_path)
    with _process(slow.home) as process:
        eventually(slow.begun.exists, what="reload")
        process.send_signal(signal.SIGTERM)
        slow.pause.unlink()
        assert process.wait(60) == 0

    assert _outcomes(live, slow.certificate_id) == ["deployed"]
    nginx.await_serving(_current(live, slow.certificate_id).fingerprint_sha256)


@pytest.mark.spec("07/DEP-16", "07/AGT-37")
def test_an_agent_that_is_killed_in_the_middle_settles_at_its_next_start(
    live: Live, nginx: Nginx, tmp_path: Path
) -> None:
    slow = _slow(live, nginx, tmp_path)
    home, certificate_id, target_id = slow.home, slow.certificate_id, slow.target_id
    pause = slow.pause
    with _process(home) as process:
        eventually(slow.begun.exists, what="reload")
        process.send_signal(signal.SIGKILL)
        process.wait()
    pause.unlink()

    with _process(home) as process:
        eventually(
            lambda: bool(_outcomes(live, certificate_id)), what="report of the interrupted job"
        )
        first = _outcomes(live, certificate_id)[0]
        assert first == "rolled_back"
        with live.core.begin() as uow:
            job = _call(live, "jobs.list", query={"target_id": target_id}).data[0]
            live.core.rooms.jobs.retry(uow, job.id)
        eventually(lambda: _outcomes(live, certificate_id)[-1] == "deployed", what="second attempt")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    nginx.await_serving(_current(live, certificate_id).fingerprint_sha256)
    assert not list((home.state_dir / "journal").glob("*.json"))
    assert not [path for path in (nginx.folder / "tls").iterdir() if ".certctl-" in path.name]


@pytest.mark.spec("07/AGT-07")
def test_an_agent_with_a_token_enrolls_itself_at_its_first_start(
    live: Live, tmp_path: Path
) -> None:
    from certctl_core.kernel.secrets import Secret

    token = _call(live, "enrollment_tokens.create", body={"label": "t"}).token
    home = Home(
        live=live,
        state_dir=tmp_path / "agent",
        agent_id="",
        policy_file=tmp_path / "no-policy.toml",
    )
    arguments = {
        "enrollment_token": Secret(token),
        "server_url": live.url,
        "ca_bundle": live.ca_path,
        "name": "db-1",
    }
    for _ in range(2):
        with home.running(**arguments):
            eventually(
                lambda: [row.name for row in _call(live, "agents.list").data] == ["db-1"],
                what="enrollment",
            )

    text = "".join(path.read_text() for path in home.state_dir.glob("*.json"))
    assert token not in text
    with pytest.raises(AgentAlreadyEnrolled):
        enroll(server_url=live.url, token="x", state_dir=home.state_dir, ca_bundle=live.ca_path)


def test_a_token_that_does_not_do_leaves_no_agent(live: Live, tmp_path: Path) -> None:
    with pytest.raises(APIError) as refused:
        enroll(
            server_url=live.url,
            token="ctl_enrl_" + "0" * 64,
            state_dir=tmp_path / "agent",
            ca_bundle=live.ca_path,
        )

    assert (refused.value.status, refused.value.code) == (401, "invalid_enrollment_token")
    assert not (tmp_path / "agent" / "credential").exists()


@pytest.mark.spec("07/AGT-12")
def test_the_key_of_one_agent_opens_no_route_of_another_over_the_wire(
    live: Live, tmp_path: Path
) -> None:
    home = _home(live, tmp_path, tmp_path / "no-policy.toml")
    key = (home.state_dir / "credential").read_text().strip()
    token = _call(live, "enrollment_tokens.create", body={"label": "t"}).token
    other = enroll(
        server_url=live.url,
        token=token,
        state_dir=tmp_path / "other",
        ca_bundle=live.ca_path,
        name="web-2",
    )
    from certctl_client.http import HTTP

    statuses = []
    with HTTP(live.url, api_key=key, ca_path=live.ca_path, attempts=1) as http:
        for method, path, body in (
            ("POST", f"/api/v1/agents/{other.agent_id}/heartbeat", {}),
            ("GET", f"/api/v1/agents/{other.agent_id}/work", None),
            ("GET", "/api/v1/certificates", None),
            ("GET", f"/api/v1/agents/{home.agent_id}/work", None),
        ):
            statuses.append(http.send(method, path, body=body, accept={403}).status)

    assert statuses == [403, 403, 403, 200]
    actor = Actor(type=ActorType.AGENT, id=home.agent_id)
    assert live.core.keys.authenticate(key).id == actor.id
