"""The agent's own files, and what it refuses before it opens a connection (07 §2, §4.1)."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from certctl_agent.errors import (
    AgentAlreadyEnrolled,
    AgentAlreadyRunning,
    AgentNotEnrolled,
    CredentialExposed,
    StateUnusable,
)
from certctl_agent.main import enroll, exit_status, run
from certctl_agent.outbox import Outbox
from certctl_agent.state import Identity, StateDirectory
from certctl_client.errors import APIError, BadServerURL, CABundleUnusable, ServerUnreachable

from certctl_core.deploy import PolicyUnsafe
from certctl_core.kernel.errors import CertctlError
from certctl_core.kernel.secrets import Secret


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """An agent that is enrolled at a server which is not there."""
    state = StateDirectory(tmp_path / "agent")
    identity = Identity(agent_id="ag-1", name="web-1", server_url="https://127.0.0.1:1")
    state.keep(identity, Secret("cca_" + "x" * 43))
    return state


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener that must not be called."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setblocking(False)
        yield server


def _was_called(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _run(state: StateDirectory, tmp_path: Path, **members: Any) -> int:
    return run(
        state_dir=state.path, policy_file=tmp_path / "no-policy.toml", log_level=None, **members
    )


@pytest.mark.spec("07/AGT-07")
def test_identity_and_credential_are_kept_privately(state: StateDirectory) -> None:
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.credential_path.stat().st_mode) == 0o600
    assert state.credential().reveal() == "cca_" + "x" * 43
    assert StateDirectory(state.path).identity().agent_id == "ag-1"
    with pytest.raises(AgentAlreadyEnrolled):
        state.require_vacant()


@pytest.mark.parametrize("defect", ["http", "policy", "ca", "credential", "nobody"])
def test_a_wrong_set_up_ends_with_status_2_and_no_connection(
    state: StateDirectory, tmp_path: Path, listener: socket.socket, defect: str
) -> None:
    port = listener.getsockname()[1]
    members: dict[str, Any] = {"server_url": f"https://127.0.0.1:{port}"}
    expected: type[CertctlError]
    match defect:
        case "http":
            members["server_url"] = f"http://127.0.0.1:{port}"
            expected = BadServerURL
        case "policy":
            policy = tmp_path / "policy.toml"
            policy.write_text("commands = []\n")
            policy.chmod(0o666)
            members["policy_file"] = policy
            expected = PolicyUnsafe
        case "ca":
            members["ca_bundle"] = tmp_path / "no-ca.pem"
            expected = CABundleUnusable
        case "credential":
            state.credential_path.chmod(0o644)
            expected = CredentialExposed
        case _:
            (state.path / "agent.json").unlink()
            expected = AgentNotEnrolled

    members = {"policy_file": tmp_path / "no-policy.toml", **members}
    with pytest.raises(expected) as refused:
        run(state_dir=state.path, log_level=None, **members)

    assert exit_status(refused.value) == 2
    assert not _was_called(listener)


@pytest.mark.spec("07/CMD-05")
def test_enrolling_over_http_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadServerURL) as refused:
        enroll(server_url="http://127.0.0.1:1", token="t", state_dir=tmp_path / "agent")

    assert exit_status(refused.value) == 2
    assert not (tmp_path / "agent").exists()


def test_an_enrollment_that_cannot_reach_the_server_leaves_no_agent(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))

    with pytest.raises(ServerUnreachable) as failed:
        enroll(server_url="https://127.0.0.1:1", token="t", state_dir=tmp_path / "a", ca_bundle=ca)

    assert exit_status(failed.value) == 1
    assert not StateDirectory(tmp_path / "a").is_enrolled()


def test_a_second_process_for_one_agent_is_refused(state: StateDirectory, tmp_path: Path) -> None:
    with state.claimed(), pytest.raises(AgentAlreadyRunning):
        _run(state, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agent_id": "../x", "name": "a"}'])
def test_a_damaged_identity_is_said_to_be_one(state: StateDirectory, text: str) -> None:
    (state.path / "agent.json").write_text(text)

    with pytest.raises(StateUnusable):
        state.identity()


class _Server:
    """A server that takes reports, or refuses them."""

    def __init__(self, error: CertctlError | None = None) -> None:
        self.error = error
        self.taken: list[tuple[str, Any]] = []

    def report(self, job_id: str, body: Any) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((job_id, body))


def test_a_report_survives_until_the_server_has_taken_it(tmp_path: Path) -> None:
    down: Any = _Server(ServerUnreachable(url="https://x", reason="down"))
    Outbox(tmp_path / "reports", down).put("job-1", {"status": "Completed"})
    with pytest.raises(ServerUnreachable):
        Outbox(tmp_path / "reports", down).deliver()

    up: Any = _Server()
    outbox = Outbox(tmp_path / "reports", up)
    assert outbox.job_ids() == ["job-1"]
    outbox.deliver()

    assert up.taken == [("job-1", {"status": "Completed"})]
    assert outbox.job_ids() == []


@pytest.mark.parametrize(
    ("status", "kept"), [(409, False), (404, False), (400, False), (401, True), (500, True)]
)
def test_a_report_that_is_refused_for_good_is_dropped(
    tmp_path: Path, status: int, kept: bool
) -> None:
    server: Any = _Server(APIError(status=status, document={"code": "x"}))
    outbox = Outbox(tmp_path / "reports", server)
    outbox.put("job-1", {"status": "Completed"})

    if kept:
        with pytest.raises(APIError):
            outbox.deliver()
    else:
        outbox.deliver()

    assert outbox.job_ids() == (["job-1"] if kept else [])
