"""From options to one server with one credential."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import expandvars
from pathlib import Path
from typing import Any

import click
from certctl_client.errors import ClientFileUnusable
from certctl_client.http import check_url
from certctl_client.settings import CLIENT_FILE, ClientSettings, read_client_file

from certctl_core.values import dataclass

DEFAULT_URL = "https://localhost:8443"
_MAX_KEY = 4096
USUAL_PLACES = ("/var/lib/certctl", "$XDG_DATA_HOME/certctl", "~/.local/share/certctl")
"""Where ``certctl serve`` puts its data when nobody says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Values that one place gives; ``file`` is the client.toml that stands behind its data_dir."""

    url: str | None
    api_key: str | None
    ca_path: Path | None
    file: ClientSettings | None


def resolve(given: Mapping[str, Any], environment: Mapping[str, Any]) -> ClientSettings:
    """The server to ask and the credential to use.

    Order: single options, the ``--data-dir`` option, single variables, ``CERTCTL_DATA_DIR``, the
    usual data directories. The key and the CA of a ``client.toml`` are used only for the server it
    names, so that an address given elsewhere never gets a key that is not meant for it.

    Raises:
        ClientFileUnusable: A named data directory has no usable ``client.toml``.
        BadServerURL: The address is not usable.
        click.UsageError: The file with the API key cannot be read, or is empty; a relative
            ``CERTCTL_DATA_DIR``, which the server refuses, too.
    """
    directory = environment.get("data_dir")
    if directory and not Path(directory).is_absolute():
        message = f"CERTCTL_DATA_DIR is not an absolute path (found {str(directory)!r})."
        raise click.UsageError(message)
    sources = [_source(given), _source(environment)]
    explicit = next((s.url for s in sources if s.url), None)
    files = [s.file for s in sources if s.file is not None]
    if explicit is None and not files:
        files = _usual_files()
    url = check_url(_first_url(sources, files))
    matching = [file for file in files if check_url(file.url) == url]
    api_key, ca_path = None, None
    for source in sources:
        own = source.file if source.file in matching else None
        api_key = api_key or source.api_key or (own.api_key if own else None)
        ca_path = ca_path or source.ca_path or (own.ca_path if own else None)
    for file in matching:
        api_key = api_key or file.api_key
        ca_path = ca_path or file.ca_path
    return ClientSettings(url=url, api_key=api_key, ca_path=ca_path)


def _source(values: Mapping[str, Any]) -> _Source:
    directory = values.get("data_dir")
    ca_path = values.get("ca_bundle")
    needs_file = not (values.get("server") and _has_key(values) and ca_path)
    return _Source(
        url=values.get("server"),
        api_key=_api_key(values),
        ca_path=Path(ca_path) if ca_path else None,
        file=read_client_file(Path(directory)) if directory and needs_file else None,
    )


def _first_url(sources: list[_Source], files: list[ClientSettings]) -> str:
    for source in sources:
        if source.url:
            return source.url
        if source.file is not None:
            return source.file.url
    return files[0].url if files else DEFAULT_URL


def _usual_files() -> list[ClientSettings]:
    for place in USUAL_PLACES:
        directory = Path(expandvars(place)).expanduser()
        try:
            if (directory / CLIENT_FILE).is_file():
                return [read_client_file(directory)]
        except (OSError, ClientFileUnusable):
            continue  # somebody else's: not for us
    return []


def _has_key(values: Mapping[str, Any]) -> bool:
    return bool(values.get("api_key") or values.get("api_key_file"))


def _api_key(values: Mapping[str, Any]) -> str | None:
    if values.get("api_key"):
        return str(values["api_key"]).strip()
    if not values.get("api_key_file"):
        return None
    path = Path(values["api_key_file"])
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(_MAX_KEY + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not plain text"
        message = f"The API key file {path} cannot be read: {reason}."
        raise click.UsageError(message) from error
    if not text or len(text) > _MAX_KEY or len(text.split()) != 1:
        message = f"The API key file {path} must hold one API key and nothing else."
        raise click.UsageError(message)
    return text
