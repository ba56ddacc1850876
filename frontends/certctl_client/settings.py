"""Where the server is and who asks: ``client.toml`` of a data directory, or single values."""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path

from certctl_client.errors import ClientFileUnusable
from certctl_core.values import dataclass

CLIENT_FILE = "client.toml"
"""Written by ``certctl serve`` into its data directory, mode 0600."""
_MEMBERS = {"url", "api_key", "ca_path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Everything that a connection needs.

    Attributes:
        url: ``https://host:port``, without a path.
        api_key: The bearer credential; None asks as nobody. Never shown in ``repr``.
        ca_path: PEM file with the CA that the server is checked with; None uses the machine's.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    ca_path: Path | None = None


def read_client_file(directory: Path) -> ClientSettings:
    """Read ``client.toml`` of a data directory.

    Returns:
        Its values; ``ca_path`` made absolute (a relative one counts from the directory).

    Raises:
        ClientFileUnusable: Missing, unreadable, not TOML, or with other members.
    """
    path = directory / CLIENT_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ClientFileUnusable(path=path, reason=reason) from error
    except ValueError as error:
        raise ClientFileUnusable(path=path, reason=f"it is not TOML: {error}") from error
    unknown = sorted(document.keys() - _MEMBERS)
    if unknown:
        reason = f"unknown member {', '.join(unknown)}"
        raise ClientFileUnusable(path=path, reason=reason)
    odd = [name for name, value in document.items() if not isinstance(value, str) or not value]
    if odd or "url" not in document:
        reason = f"{', '.join(odd) or 'url'} must be a text"
        raise ClientFileUnusable(path=path, reason=reason)
    ca_path = document.get("ca_path")
    return ClientSettings(
        url=document["url"],
        api_key=document.get("api_key"),
        ca_path=directory / ca_path if ca_path else None,
    )
