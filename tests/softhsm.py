"""A SoftHSM token for tests: made with ``softhsm2-util``, looked at with ``pkcs11-tool``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.machine import eventually

PIN = "471108150000"
OFFICER_PIN = "081547110000"

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_CLIENTS = (
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib64/pkcs11/p11-kit-client.so",
)


def softhsm_module() -> str | None:
    """The library of SoftHSM 2, where it is installed."""
    return next((path for path in _MODULES if Path(path).exists()), None)


def p11_kit_client() -> str | None:
    """The library that reaches a token in another process, where it is installed."""
    return next((path for path in _CLIENTS if Path(path).exists()), None)


@dataclass
class SoftHSM:
    """Tokens in a directory.

    Attributes:
        module: The library.
        directory: Holds configuration and tokens.
        label: The first token.
        pin: Its user PIN.
    """

    module: str
    directory: Path
    label: str = "certctl-test"
    pin: str = field(default=PIN, repr=False)

    def __post_init__(self) -> None:
        tokens = self.directory / "tokens"
        tokens.mkdir(parents=True)
        self.config_file.write_text(
            f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
            "slots.removable = false\n"
        )
        self.add_token(self.label)

    @property
    def config_file(self) -> Path:
        """What ``SOFTHSM2_CONF`` names."""
        return self.directory / "softhsm2.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that uses the token."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.config_file)}

    def add_token(self, label: str) -> None:
        """Initialise one more token with the same PIN."""
        self.run(
            "softhsm2-util", "--init-token", "--free", "--label", label,
            "--pin", self.pin, "--so-pin", OFFICER_PIN,
        )  # fmt: skip

    def pin_file(self, folder: Path) -> Path:
        """A file with the PIN, for the owner only."""
        path = folder / "token.pin"
        path.write_text(self.pin + "\n")
        path.chmod(0o600)
        return path

    def raw_config(self, **more: object) -> dict[str, Any]:
        """A configuration of the signer."""
        return {"module": self.module, "token": self.label, "pin": self.pin, **more}

    def run(self, *command: str) -> str:
        """Run a program on these tokens; it must succeed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def tool(self, *arguments: str, label: str | None = None) -> str:
        """What ``pkcs11-tool`` says, logged in."""
        return self.run(
            "pkcs11-tool", "--module", self.module, "--token-label", label or self.label,
            "--login", "--pin", self.pin, *arguments,
        )  # fmt: skip

    def log_out(self) -> None:
        """Log this process out: a login that is left over would vouch for a wrong PIN."""
        from certctl_signers.pkcs11.library import leave_library, use_library

        library = use_library(self.module)
        with library.calls() as generation:
            pass
        library.restart(generation)
        leave_library(library)

    @contextmanager
    def served(self, path: Path) -> Iterator[RemoteToken]:
        """The token in a process of its own, which can be killed and started again."""
        remote = RemoteToken(self, path)
        remote.start()
        try:
            yield remote
        finally:
            remote.kill()


@dataclass
class RemoteToken:
    """``p11-kit server`` in front of SoftHSM: the token as a network HSM would be."""

    hsm: SoftHSM
    path: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the client library wants to know."""
        return {"P11_KIT_SERVER_ADDRESS": f"unix:path={self.path}"}

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.path.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["p11-kit", "server", "--foreground", "--provider", self.hsm.module,
             "--name", str(self.path), f"pkcs11:token={self.hsm.label}"],
            env=self.hsm.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        eventually(self._listens, what="p11-kit server listens")

    def _listens(self) -> bool:
        """Whether it takes connections: the socket is there a moment earlier."""
        assert self.process is not None
        assert self.process.poll() is None, "p11-kit server ended"
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def kill(self) -> None:
        """Kill it with every connection that it serves."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
