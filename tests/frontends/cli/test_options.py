"""Global options: any place, their order of precedence, and what never happens with a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from certctl_cli.connection import resolve

from tests.frontends.cli.conftest import Run
from tests.frontends.client.live import Live

A, B = "https://a.example.test:8443", "https://b.example.test:8443"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The data directory of server A."""
    (tmp_path / "client.toml").write_text(f'url = "{A}"\napi_key = "key-a"\nca_path = "a.crt"\n')
    return tmp_path


@pytest.mark.parametrize(
    "place", ["before", "between", "after"], ids=["before", "between", "after"]
)
def test_options_may_stand_anywhere(bare: Run, live: Live, place: str) -> None:
    options = ("--server", live.url, "--ca-bundle", str(live.ca_path), "--json")
    command = {
        "before": (*options, "certificates", "list"),
        "between": ("certificates", *options, "list"),
        "after": ("certificates", "list", *options),
    }[place]

    result = bare(*command, "--api-key", live.keys["viewer"])

    assert result.code == 0, result.err
    assert result.json["total"] >= 0


def test_a_data_directory_gives_all_three(directory: Path) -> None:
    found = resolve({"data_dir": str(directory)}, {})

    assert (found.url, found.api_key, found.ca_path) == (A, "key-a", directory / "a.crt")


@pytest.mark.parametrize(
    ("given", "environment", "url", "key"),
    [
        ({"server": B}, {"server": A}, B, None),
        ({}, {"server": B, "api_key": "e"}, B, "e"),
        ({"data_dir": "DIR"}, {"server": B}, A, "key-a"),
        ({}, {"server": B, "data_dir": "DIR"}, B, None),
        ({"server": A}, {"data_dir": "DIR"}, A, "key-a"),
        ({"server": f"{A}/"}, {"data_dir": "DIR"}, A, "key-a"),
        ({"data_dir": "DIR", "api_key": "mine"}, {}, A, "mine"),
        ({"data_dir": "DIR"}, {"api_key": "e"}, A, "key-a"),
        ({"server": B, "data_dir": "DIR"}, {}, B, None),
        ({}, {}, "https://localhost:8443", None),
    ],
)
def test_the_more_explicit_wins_and_keys_stay_with_their_server(  # noqa: PLR0917 - a row of a table
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    environment: dict[str, Any],
    url: str,
    key: str | None,
) -> None:
    monkeypatch.setattr("certctl_cli.connection.USUAL_PLACES", ())
    for values in (given, environment):
        if values.get("data_dir") == "DIR":
            values |= {"data_dir": str(directory)}

    found = resolve(given, environment)

    assert (found.url, found.api_key) == (url, key)


def test_a_usual_data_directory_is_found(bare: Run, live: Live, tmp_path: Path) -> None:
    usual = tmp_path / "home" / "certctl"
    usual.mkdir(parents=True)
    (usual / "client.toml").write_text((live.data_dir / "client.toml").read_text())

    result = bare("me", "--json")

    assert result.code == 0, result.err
    assert result.json["admin"]


def test_the_environment_is_read(
    bare: Run, live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(f"{live.keys['viewer']}\n")
    monkeypatch.setenv("CERTCTL_SERVER_URL", live.url)
    monkeypatch.setenv("CERTCTL_SERVER_CA_BUNDLE_PATH", str(live.ca_path))
    monkeypatch.setenv("CERTCTL_API_KEY_FILE", str(key))

    assert bare("me", "--json").json["roles"] == ["r-viewer"]
    monkeypatch.setenv("CERTCTL_API_KEY", live.keys["admin"])
    assert bare("me", "--json").json["admin"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "one API key"),
        ("two words", "one API key"),
        ("ü", "plain text"),
        ("x" * 5000, "one API key"),
    ],
    ids=["missing", "empty", "two_words", "not_ascii", "huge"],
)
def test_a_key_file_that_cannot_be_used_is_named(
    bare: Run, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)

    result = bare("me", "--api-key-file", str(path))

    assert result.code == 2
    assert str(path) in result.err
    assert reason in result.err


def test_plain_http_is_refused(bare: Run) -> None:
    result = bare("me", "--server", "http://localhost:8443")

    assert result.code == 2
    assert "https" in result.err


def test_a_named_data_directory_must_be_one(bare: Run, tmp_path: Path) -> None:
    result = bare("me", "--data-dir", str(tmp_path))

    assert result.code == 2
    assert "client.toml" in result.err
    assert "certctl serve" in result.err


def test_a_relative_data_directory_of_the_environment_is_refused_as_by_the_server(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line it is taken from the working directory, by both."""
    monkeypatch.chdir(directory.parent)
    with pytest.raises(click.UsageError, match="CERTCTL_DATA_DIR is not an absolute path"):
        resolve({}, {"data_dir": directory.name})
    assert resolve({"data_dir": directory.name}, {}).api_key == "key-a"
