"""The state directory: who the agent is, its credential, the CA of its server.

::

    agent.json    id, name and server; the sign that the agent is enrolled
    credential    the bearer key, 0600
    ca.pem        the CA of the server, if one was given
    keys/         private keys by certificate
    reports/      reports that the server has not taken yet
    backups/ journal/ locks/ targets/ work/    of the deploy transaction
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from certctl_client.http import check_url

from certctl_agent.errors import (
    AgentAlreadyEnrolled,
    AgentAlreadyRunning,
    AgentNotEnrolled,
    CredentialExposed,
    StateUnusable,
)
from certctl_agent.files import is_private, private_directory, read_private, write_private
from certctl_core.kernel.ids import is_id
from certctl_core.kernel.secrets import Secret

DEFAULT_STATE_DIR = Path("/var/lib/certctl-agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the agent is.

    Attributes:
        agent_id: Given by the server.
        name: Unique among the server's active agents.
        server_url: ``https://host[:port]``.
    """

    agent_id: str
    name: str
    server_url: str


class StateDirectory:
    """The files of one agent.

    Args:
        path: Created with mode 0700.

    Raises:
        StateUnusable: It cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = private_directory(path.absolute())

    @property
    def credential_path(self) -> Path:
        """Where the bearer key lies."""
        return self.path / "credential"

    @property
    def ca_path(self) -> Path | None:
        """The CA to trust instead of the machine's, or None."""
        path = self.path / "ca.pem"
        return path if path.exists() else None

    def identity(self) -> Identity:
        """Who the agent is.

        Raises:
            AgentNotEnrolled: Nobody yet.
            StateUnusable: The file is damaged.
        """
        path = self.path / "agent.json"
        data = read_private(path)
        if data is None:
            raise AgentNotEnrolled(state_dir=str(self.path))
        try:
            identity = Identity(**json.loads(data))
            check_url(identity.server_url)
        except (ValueError, TypeError) as error:
            raise StateUnusable(path=str(path), reason="it is damaged") from error
        if not is_id(identity.agent_id):
            raise StateUnusable(path=str(path), reason="it names no agent")
        return identity

    def is_enrolled(self) -> bool:
        """Whether there is an agent and its credential."""
        return (self.path / "agent.json").exists() and self.credential_path.exists()

    def require_vacant(self) -> None:
        """Refuse to put a second agent here.

        Raises:
            AgentAlreadyEnrolled: There is one.
        """
        if self.is_enrolled():
            raise AgentAlreadyEnrolled(state_dir=str(self.path), agent_id=self.identity().agent_id)

    def keep_ca(self, source: Path) -> None:
        """Copy the server's CA, so that the agent does not depend on where it came from.

        Raises:
            StateUnusable: It cannot be read or written.
        """
        try:
            data = source.read_bytes()
        except OSError as error:
            raise StateUnusable(path=str(source), reason=error.strerror or "unreadable") from error
        write_private(self.path / "ca.pem", data)

    def keep(self, identity: Identity, credential: Secret) -> None:
        """Store a new agent: the credential first, then the sign that it is complete (AGT-07).

        Raises:
            StateUnusable: The file system refuses.
        """
        write_private(self.credential_path, credential.reveal().encode() + b"\n")
        text = json.dumps(asdict(identity), indent=2)
        write_private(self.path / "agent.json", text.encode() + b"\n")

    def credential(self, path: Path | None = None) -> Secret:
        """The bearer key.

        Args:
            path: Another file than the one in this directory.

        Raises:
            AgentNotEnrolled: There is none.
            CredentialExposed: Others may read the file.
            StateUnusable: It cannot be read.
        """
        where = path or self.credential_path
        data = read_private(where)
        if data is None:
            raise AgentNotEnrolled(state_dir=str(self.path))
        if not is_private(where):
            raise CredentialExposed(path=str(where))
        return Secret(data.decode("utf-8", "replace").strip())

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep a second process from running the same agent.

        Raises:
            AgentAlreadyRunning: One does.
        """
        descriptor = os.open(self.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AgentAlreadyRunning(state_dir=str(self.path)) from error
            yield
        finally:
            os.close(descriptor)
