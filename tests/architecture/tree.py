"""What the architecture tests look at: the tracked files and the modules of the repository."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


@cache
def pyproject() -> dict[str, Any]:
    """The parsed ``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def package_folders() -> tuple[Path, ...]:
    """The folders of the import packages that the wheel ships."""
    listed = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return tuple(ROOT / name for name in listed)


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that git knows and that is there (so also one that is added but not committed)."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())


def product_files() -> Iterator[Path]:
    """The Python files that the wheel ships."""
    for folder in package_folders():
        yield from sorted(folder.rglob("*.py"))


@cache
def product_modules() -> tuple[ModuleType, ...]:
    """Every module that the wheel ships, imported, but those that are programs when imported."""
    names: list[str] = []
    for folder in package_folders():
        names.append(folder.name)
        names += [
            found.name
            for found in pkgutil.walk_packages([str(folder)], prefix=f"{folder.name}.")
            if ".versions" not in found.name
            and found.name != "certctl_migrations.env"
            and not found.name.endswith(".__main__")
        ]
    return tuple(importlib.import_module(name) for name in names)


def relative(path: Path) -> str:
    """``path`` as it is written in the repository."""
    return path.relative_to(ROOT).as_posix()
