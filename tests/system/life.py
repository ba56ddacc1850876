"""A host with nginx and an agent, both as processes of their own, beside an installed server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import sqlalchemy as sa

from tests.frontends.agent.webserver import Nginx
from tests.frontends.server.running import environment
from tests.machine import PATIENCE_SECONDS, eventually
from tests.system.installed import PROGRAM, Served, rows

OPEN = {"Pending", "Running", "AwaitingCSR", "AwaitingApproval", "AwaitingIssuer"}


@dataclass(slots=True)
class Host:
    """One enrolled machine.

    Attributes:
        server: Its control plane.
        client: The administrator's client there.
        state_dir: The agent's directory.
        policy: What the host allows.
        agent_id: Who the agent is.
        process: The running agent, if it runs.
    """

    server: Served
    client: httpx.Client
    state_dir: Path
    policy: Path
    agent_id: str = ""
    process: subprocess.Popen[bytes] | None = None

    def enroll(self, name: str) -> None:
        """Make a token with the command line of the server, and use it with that of the host."""
        made = self.server.certctl("--json", "agents", "token", "create", "hosts", "--uses", "1")
        ca = self.state_dir.with_name("ca-copy.crt")
        ca.write_bytes((self.server.directory / "ca.crt").read_bytes())
        subprocess.run(
            [
                str(PROGRAM), "agent", "enroll", "--server", self.server.url,
                "--ca-bundle", str(ca), "--token", json.loads(made)["token"],
                "--name", name, "--state-dir", str(self.state_dir),
            ],
            env=self._environment(), check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (found,) = rows(self.client, "/agents")
        self.agent_id = found["id"]

    def start(self) -> None:
        """Run the agent."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    str(PROGRAM), "agent", "run", "--state-dir", str(self.state_dir),
                    "--policy-file", str(self.policy), "--poll-interval", "0.2",
                    "--heartbeat-interval", "1",
                ],
                env=self._environment(), stdout=output, stderr=output,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, in whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def log(self) -> Path:
        """What the agent says."""
        return self.state_dir.with_name("agent.log")

    def _environment(self) -> dict[str, str]:
        kept = environment(self.state_dir, self.server.running.port)
        return {name: text for name, text in kept.items() if not name.startswith("CERTCTL_")}

    def target(self, site: Nginx, **changes: Any) -> str:
        """A target for a TLS server of this host."""
        settings = []
        for name, value in {**site.config, **changes}.items():
            text = value if isinstance(value, str) else json.dumps(value)
            settings += ["--set", f"{name}={text}"]
        made = self.server.certctl(
            "--json", "targets", "create", site.name, "--kind", "nginx", "--agent", self.agent_id,
            *settings,
        )  # fmt: skip
        return str(json.loads(made)["id"])

    def certificate(self, site: Nginx, **members: Any) -> str:
        """A certificate without a request: whoever gets it makes the key."""
        body = {"name": site.name, "common_name": site.host, "sans": ["127.0.0.1"], **members}
        answer = self.client.post("/certificates", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def serve_by(self, site: Nginx, certificate_id: str, **changes: Any) -> None:
        """Link the certificate to a new target and wait until nginx serves it."""
        target_id = self.target(site, **changes)
        self.server.certctl("targets", "link", certificate_id, target_id)
        eventually(lambda: self.is_settled(site, certificate_id, 1), what="the first deployment")

    def renew(self, certificate_id: str) -> str:
        """Ask for a renewal; the id of its job."""
        answer = self.client.post(f"/certificates/{certificate_id}/renew", json={})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_ids"][0])

    def versions(self, certificate_id: str) -> list[dict[str, Any]]:
        """The versions, newest first."""
        return rows(self.client, f"/certificates/{certificate_id}/versions")

    def deployments(self, certificate_id: str) -> list[dict[str, Any]]:
        """The attempts to deploy it, newest first."""
        return rows(self.client, f"/certificates/{certificate_id}/deployments")

    def jobs(self, **query: str) -> list[dict[str, Any]]:
        """Jobs."""
        return rows(self.client, "/jobs", **query)

    def is_settled(self, site: Nginx, certificate_id: str, versions: int) -> bool:
        """Whether nginx serves the newest of so many versions, and nothing is left to do."""
        found = self.versions(certificate_id)
        return (
            len(found) == versions
            and site.served() == found[0]["fingerprint_sha256"]
            and not site.is_reloading()
            and not is_busy(self.jobs(certificate_id=certificate_id))
        )


def is_busy(jobs: Sequence[dict[str, Any]]) -> bool:
    """Whether something is open, or failed and will be tried again."""
    return any(
        job["status"] in OPEN or (job["status"] == "Failed" and job["next_attempt_at"] is not None)
        for job in jobs
    )


@contextmanager
def host(server: Served, policy: Path, folder: Path) -> Iterator[Host]:
    """An enrolled host whose agent runs."""
    with server.client() as client:
        made = Host(server, client, folder / "agent", policy)
        made.enroll("web-1")
        made.start()
        try:
            yield made
        finally:
            made.kill()


Moment = Callable[[dict[str, str]], bool]
"""Judges the newest job of each type by its state."""


class Watch:
    """Looks at jobs in the database itself: the server, which is about to be killed, is not asked."""

    def __init__(self, server: Served) -> None:
        url = server.running.settings.get("DATABASE_URL")
        self._is_sqlite = url is None
        url = url or f"sqlite:///{server.directory / 'certctl.db'}"
        self._engine = sa.create_engine(
            url.replace("postgresql://", "postgresql+psycopg://"),
            isolation_level="AUTOCOMMIT",
            # A server that is held up in the middle of a write holds up whoever looks.
            connect_args={"timeout": PATIENCE_SECONDS} if self._is_sqlite else {},
        )

    @contextmanager
    def at(self, certificate_id: str, moment: Moment) -> Iterator[dict[str, str]]:
        """A block at the first moment of that kind; on SQLite the server cannot go on meanwhile."""
        begin = sa.text("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
        pause, until = threading.Event(), monotonic() + 2 * PATIENCE_SECONDS
        with self._engine.connect() as connection:
            while monotonic() < until:
                connection.execute(begin)
                try:
                    found = self._statuses(connection, certificate_id)
                    if moment(found):
                        yield found
                        return
                finally:
                    connection.execute(sa.text("ROLLBACK"))
                pause.wait(0.001)  # others have to write, too
        message = "the moment did not come"
        raise AssertionError(message)

    @staticmethod
    def _statuses(connection: sa.Connection, certificate_id: str) -> dict[str, str]:
        statement = sa.text(
            "SELECT type, status FROM jobs WHERE certificate_id = :id ORDER BY created_at, id"
        )
        rows = connection.execute(statement, {"id": certificate_id})
        return {row.type: row.status for row in rows}

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def needs_root() -> bool:
    """Whether this run cannot make the policy file of an agent."""
    return os.geteuid() != 0
