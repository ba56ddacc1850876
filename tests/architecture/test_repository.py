"""What holds for every tracked file: it speaks of the project alone and keeps no secret."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, package_folders, pyproject, relative, tracked_files

_TEXT = {
    ".py", ".md", ".toml", ".ini", ".cfg", ".txt", ".html", ".css", ".js", ".json", ".yaml",
    ".yml", ".sh", ".jinja", ".conf", ".service", "",
}  # fmt: skip
# A path of one machine, or the host of a registry, helps nobody else. In two halves each: this
# file is tracked too.
_MACHINE = re.compile(
    "(?:^|[\\s\"'`(=])(?:/wo" + "rk/|/tmp/ve" + "nv|/ro" + "ot/|/ho" + "me/[a-z]|/Us" + "ers/)"
    "|files\\.python" + "hosted|registry\\.npm" + "js|proxy\\.gol" + "ang|repo1?\\.mav" + "en"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")


def _text_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix in _TEXT and "vendor" not in path.parts]


def test_no_file_names_a_machine() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in _text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if _MACHINE.search(line)
    ]

    assert found == []


def test_no_private_key_is_tracked() -> None:
    found = [
        relative(path)
        for path in _text_files()
        if _PRIVATE_KEY.search(path.read_text(encoding="utf-8"))
    ]

    assert found == []
    assert not [
        relative(path) for path in tracked_files() if path.suffix in {".key", ".p12", ".pfx"}
    ]


def _test_modules() -> list[Path]:
    return [
        path
        for path in tracked_files()
        if path.parts[len(ROOT.parts)] == "tests" and re.fullmatch(r"test_\w+\.py", path.name)
    ]


@pytest.mark.parametrize("path", _test_modules(), ids=relative)
def test_every_test_module_asserts_something(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    checks = [
        node
        for node in nodes
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr in {"raises", "warns"})
        or (isinstance(node, ast.Name) and re.match(r"assert_|expect", node.id))
        # A shipped contract suite brings its assertions along.
        or (isinstance(node, ast.ClassDef) and any("Contract" in ast.dump(b) for b in node.bases))
    ]

    assert checks


def test_every_package_is_typed_and_says_what_it_is() -> None:
    for folder in package_folders():
        assert (folder / "py.typed").is_file(), relative(folder)
        docstring = ast.get_docstring(
            ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        )
        assert docstring, relative(folder)


def test_every_dependency_says_why_it_is_there() -> None:
    project = pyproject()["project"]
    extras = project["optional-dependencies"].values()
    listed = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    names = {re.split(r"[^A-Za-z0-9._-]", entry, maxsplit=1)[0].lower() for entry in listed}
    told = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").lower() + "".join(
        path.read_text(encoding="utf-8").lower() for path in (ROOT / "changelog.d").glob("*.md")
    )

    assert {name for name in names - {"certctl"} if f"`{name}`" not in told} == set()


def test_news_fragments_are_named_by_subject_and_type() -> None:
    types = {entry["directory"] for entry in pyproject()["tool"]["towncrier"]["type"]}
    odd = [
        path.name
        for path in (ROOT / "changelog.d").iterdir()
        if path.name not in {"README.md", "template.md.jinja"}
        and not re.fullmatch(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(sorted(types))})\.md", path.name)
    ]

    assert odd == []


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert pyproject()["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_folder_with_python_is_type_checked() -> None:
    checked = {name.split("/")[0] for name in pyproject()["tool"]["mypy"]["files"]}
    folders = {
        path.parts[len(ROOT.parts)]
        for path in tracked_files()
        if path.suffix == ".py" and path.parent != ROOT
    }

    # An example is a distribution of its own and is checked by its own test.
    assert folders - checked <= {"examples", "docs"}
