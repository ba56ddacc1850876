"""What the agent tells of its host."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from urllib.parse import urlsplit

from certctl_core.kernel.release import VERSION

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def hostname() -> str:
    """The host's name."""
    return socket.gethostname() or "localhost"


def facts(server_url: str) -> dict[str, str]:
    """Version, host name, system, architecture and the address towards the server."""
    return {
        "version": VERSION[:64],
        "hostname": hostname()[:255],
        "os": platform.system().lower()[:64],
        "architecture": platform.machine()[:64],
        "ip_address": local_address(server_url),
    }


def local_address(server_url: str) -> str:
    """The local address that leads to the server; empty when there is no way.

    A UDP socket is connected to it, which sends nothing (AGT-21).
    """
    parts = urlsplit(server_url)
    try:
        found = socket.getaddrinfo(parts.hostname or "", parts.port or 443, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except (OSError, IndexError):
        return ""


def boot_id() -> str:
    """The id of this boot of the machine; empty where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()[:64]
    except OSError:
        return ""
