"""What a built wheel says of itself (01 API-26, 08 BOOT-7): one stamp, shown everywhere."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from hatch_build import StampHook
from tests.frontends.server.running import environment
from tests.machine import PATIENCE_SECONDS, eventually, free_port
from tests.plugins_external.conftest import ROOT, outside

pytestmark = pytest.mark.timeout(600)  # each wheel takes seconds to build

MOMENT, EPOCH = "2026-03-01T12:00:00Z", "1772366400"
UNKNOWN = {"commit": None, "modified": None, "build_time": None}
_CERTCTL = "import sys; from certctl_cli.main import main; sys.exit(main())"


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    return subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env={**outside(), "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def copy_tree(target: Path) -> Path:
    """The files that a commit of this moment would hold."""
    names = git(
        ROOT, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-c", "-o", "--exclude-standard"
    )
    for name in filter(None, names.split("\0")):
        if name.startswith(("tests/", "docs/", "bench/")):  # not in a wheel, and not small
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError, IsADirectoryError):  # gone since it was listed
            shutil.copyfile(ROOT / name, target / name)
    return target


def committed(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")


def built(tree: Path, target: Path, *options: str, **variables: str) -> Path:
    """The wheel of a tree, made with the tools of this environment."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), *options],
        cwd=tree,
        env=outside() | {"SOURCE_DATE_EPOCH": EPOCH} | variables,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,) = target.glob("*.whl")
    return wheel


def unpacked(wheel: Path) -> Path:
    folder = wheel.with_suffix("")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def certctl(packages: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _CERTCTL, *arguments],
        cwd=packages.parent,
        env={**outside(), "PYTHONPATH": str(packages)},
        check=False,
        capture_output=True,
        text=True,
    ).stdout


def said(wheel: Path) -> dict[str, Any]:
    """What the command line of a wheel says of its own build."""
    client = json.loads(certctl(unpacked(wheel), "version", "--json"))["client"]
    return {name: client[name] for name in UNKNOWN}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A clean tree, the wheel that was built from its source distribution, its commit."""
    tree = copy_tree(tmp_path_factory.mktemp("release") / "tree")
    commit = committed(tree)
    wheel = built(tree, tree.parent / "out")
    assert git(tree, "status", "--porcelain") == ""  # a build leaves nothing behind
    return tree, wheel, commit


@pytest.mark.spec("01/API-26")
@pytest.mark.spec("08/BOOT-7")
def test_everything_that_shows_the_build_shows_the_same(
    release: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, wheel, commit = release
    packages = unpacked(wheel)
    version = wheel.name.split("-")[1]
    directory, port = tmp_path / "data", free_port()
    log = tmp_path / "log"
    settings = environment(directory, port, LOG_FORMAT="json", SERVER_WORKERS="1")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _CERTCTL, "serve"],
            cwd=tmp_path,
            env=settings | {"PYTHONPATH": str(packages)},
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        eventually(
            lambda: "server.ready" in log.read_text() or process.poll() is not None,
            seconds=2 * PATIENCE_SECONDS,
            what="ready",
        )
        assert process.poll() is None, log.read_text()
        told = tomllib.loads((directory / "client.toml").read_text())
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {told['api_key']}"},
            verify=ssl.create_default_context(cafile=str(directory / "ca.crt")),
            trust_env=False,
        ) as client:
            answer = client.get("/version").json()
            document = client.get("/openapi.json").json()
        shown = json.loads(certctl(packages, "--data-dir", str(directory), "version", "--json"))
    finally:
        process.kill()
        process.wait()

    build = {"commit": commit, "modified": False, "build_time": MOMENT}
    starting = next(
        json.loads(line) for line in log.read_text().splitlines() if '"server.starting"' in line
    )
    assert answer == {"version": version, **build, "python_version": answer["python_version"]}
    assert {name: starting[name] for name in ("version", *build)} == {"version": version, **build}
    assert document["info"]["version"] == version
    assert document["info"]["x-build"] == build
    assert shown["client"] == shown["server"] == answer
    assert certctl(packages, "--version") == (
        f"certctl {version} (commit {commit[:12]}, built {MOMENT})\n"
    )


def test_a_build_can_be_repeated_to_the_byte(
    release: tuple[Path, Path, str], tmp_path: Path
) -> None:
    tree, wheel, _ = release

    assert built(tree, tmp_path, "--wheel").read_bytes() == wheel.read_bytes()


@pytest.mark.spec("08/BOOT-7")
def test_a_changed_file_shows(release: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, _, commit = release
    tree = copy_tree(tmp_path / "tree")
    shutil.copytree(release[0] / ".git", tree / ".git")
    (tree / "plugins/certctl_issuers/forgotten.py").write_text('"""Not in the commit."""\n')
    elsewhere = {"GIT_DIR": str(ROOT / ".git")}  # as a hook of git sets it

    wheel = built(tree, tmp_path / "out", "--wheel", **elsewhere)

    assert said(wheel) == {"commit": commit, "modified": True, "build_time": MOMENT}
    assert f"(commit {commit[:12]}, modified, built " in certctl(unpacked(wheel), "--version")


@pytest.mark.spec("08/BOOT-7")
def test_without_git_the_commit_is_unknown(tmp_path: Path) -> None:
    committed(copy_tree(tmp_path))
    inside = copy_tree(tmp_path / "vendored" / "tree")  # the commit around it is not its own

    wheel = built(inside, tmp_path / "out", "--wheel")

    assert said(wheel) == {**UNKNOWN, "build_time": MOMENT}


@pytest.mark.spec("08/BOOT-7")
@pytest.mark.parametrize("kind", ["sdist", "git"])
def test_what_was_not_built_claims_nothing(
    release: tuple[Path, Path, str], tmp_path: Path, kind: str
) -> None:
    tree = release[0]
    if kind == "sdist":
        (archive,) = release[1].parent.glob("*.tar.gz")
        # Python's own way has a filter since 3.11.4, and warns without one since 3.12.
        subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
        tree = tmp_path / archive.name.removesuffix(".tar.gz")
    places = (tree, tree / "frontends")

    done = subprocess.run(
        [sys.executable, "-c", _CERTCTL, "--version"],
        cwd=tmp_path,
        env={**outside(), "PYTHONPATH": os.pathsep.join(map(str, places))},
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.startswith("certctl ")
    assert "(" not in done.stdout


def test_an_editable_installation_is_not_stamped(release: tuple[Path, Path, str]) -> None:
    tree = release[0]
    hook = StampHook(str(tree), {}, cast("Any", None), cast("Any", None), str(tree), "wheel")
    data: dict[str, Any] = {"force_include": {}}

    hook.initialize("editable", data)
    hook.finalize("editable", data, "")

    assert data == {"force_include": {}}


@pytest.mark.spec("08/BOOT-7")
def test_without_a_fixed_time_it_is_that_of_the_build(
    release: tuple[Path, Path, str], tmp_path: Path
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=release[0],
        env={name: value for name, value in outside().items() if name != "SOURCE_DATE_EPOCH"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")

    assert before <= datetime.fromisoformat(said(wheel)["build_time"]) <= datetime.now(UTC)
