"""Reports on jobs, kept on disk until the server has taken them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from certctl_client.errors import APIError

from certctl_agent.files import private_directory, read_private, write_private
from certctl_agent.server import GONE, UNAUTHORIZED, Server
from certctl_core.kernel.events import JSON
from certctl_core.kernel.ids import is_id

_log = structlog.get_logger("certctl.agent")
_KEPT = frozenset({UNAUTHORIZED, GONE, 403, 429})
_CLIENT_FAULT = range(400, 500)


class Outbox:
    """Reports that are to be delivered.

    A report is in the directory before it is sent, so that a crash between deployment and report
    loses nothing. One that the server refuses for good (a stale lease, a cancelled job) is dropped.

    Args:
        directory: Where they lie.
        server: Where they go.
    """

    def __init__(self, directory: Path, server: Server) -> None:
        self._directory = private_directory(directory)
        self._server = server
        self._lock = threading.Lock()

    def put(self, job_id: str, body: Mapping[str, JSON]) -> None:
        """Keep a report; one job has one.

        Raises:
            StateUnusable: The file system refuses.
        """
        if is_id(job_id):
            write_private(self._directory / f"{job_id}.json", json.dumps(dict(body)).encode())

    def job_ids(self) -> list[str]:
        """The jobs with a report that is not delivered."""
        return sorted(path.stem for path in self._directory.glob("*.json"))

    def deliver(self) -> None:
        """Send what is there.

        Raises:
            CertctlError: The server cannot take a report now; it and the rest stay.
        """
        with self._lock:
            for job_id in self.job_ids():
                self._send(job_id)

    def _send(self, job_id: str) -> None:
        path = self._directory / f"{job_id}.json"
        data = read_private(path)
        try:
            body = json.loads(data or b"")
        except ValueError:
            _log.warning("report.damaged", job_id=job_id)
            path.unlink(missing_ok=True)
            return
        try:
            self._server.report(job_id, body)
        except APIError as error:
            if error.status not in _CLIENT_FAULT or error.status in _KEPT:
                raise
            _log.warning("report.refused", job_id=job_id, code=error.code, status=error.status)
        path.unlink(missing_ok=True)
