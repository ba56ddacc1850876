"""The import rules hold, and each of them notices when it is broken (STYLE 2.4)."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, package_folders, pyproject, relative

_LINT = (
    "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
)


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import rules of ``folder`` on the packages in ``folder``.

    Without the cache: it keeps how a name was resolved while the module it means was not there.
    """
    roots = [folder, *(folder / name for name in ("plugins", "frontends", "migrations"))]
    return subprocess.run(
        [sys.executable, "-c", _LINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "COLUMNS": "200"},
        check=False,
        capture_output=True,
        text=True,
    )


def _rules(folder: Path = ROOT) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(folder / ".importlinter", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped packages and the rules."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / ".importlinter", folder)
    for package in package_folders():
        shutil.copytree(
            package,
            folder / relative(package),
            ignore=shutil.ignore_patterns("__pycache__", "static", "templates"),
        )
    return folder


def test_the_rules_hold() -> None:
    result = _lint(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_shipped_package_is_under_the_rules_and_measured() -> None:
    shipped = {folder.name for folder in package_folders()}
    rules = set(_rules()["importlinter"]["root_packages"].split())
    measured = set(pyproject()["tool"]["coverage"]["run"]["source_pkgs"])

    assert rules == shipped
    assert measured == shipped


def test_every_list_of_floors_and_rooms_is_exhaustive() -> None:
    floors = ["floors", "insight", "enrollment", "fleet", "lifecycle", "people", "contracts"]
    rules = _rules()

    for floor in [*floors, "kernel"]:
        assert rules[f"importlinter:contract:{floor}"].getboolean("exhaustive"), floor


@pytest.mark.parametrize("contract", ["contracts-stateless", "plugins"])
def test_every_stateful_room_of_the_kernel_is_forbidden(contract: str) -> None:
    # The linter refuses a module that does not exist, so a room is listed as soon as it does.
    stateful = {
        f"certctl_core.kernel.{room}"
        for room in ("audit", "db", "jobs", "scheduler")
        if (ROOT / "certctl_core" / "kernel" / room / "__init__.py").is_file()
    }
    listed = set(_rules()[f"importlinter:contract:{contract}"]["forbidden_modules"].split())

    assert stateful <= listed


@pytest.mark.parametrize(
    "module",
    [
        "certctl_core",
        "certctl_core.contracts",
        "certctl_core.deploy",
        "certctl_agent.main",
        "certctl_cli.main",
        "certctl_client",
    ],
)
def test_a_light_part_loads_no_server(module: str) -> None:
    # The linter reads imports; this runs them, with what __getattr__ may load late.
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())

    assert module in loaded
    assert loaded & {"certctl_core.app", "certctl_core.kernel.db", "sqlalchemy", "flask"} == set()


# contract, file, what is written into it, and files that must be there for it.
_BREAKS: dict[str, tuple[str, str, str]] = {
    "floor_looks_up": (
        "floors",
        "certctl_core/pki/serials.py",
        "import certctl_core.kernel.errors",
    ),
    "late_import_looks_up": (
        "floors",
        "certctl_core/pki/serials.py",
        "def late():\n    from certctl_core.kernel import errors",
    ),
    "unlisted_floor": ("floors", "certctl_core/utils.py", ""),
    "unlisted_room": ("lifecycle", "certctl_core/lifecycle/helpers.py", ""),
    "insight_room_looks_up": (
        "insight",
        "certctl_core/insight/notifications/__init__.py",
        "import certctl_core.insight.reports",
    ),
    "enrollment_room_looks_up": (
        "enrollment",
        "certctl_core/enrollment/trust_bundles/__init__.py",
        "import certctl_core.enrollment.acme",
    ),
    "fleet_room_looks_up": (
        "fleet",
        "certctl_core/fleet/agents/__init__.py",
        "import certctl_core.fleet.targets",
    ),
    "lifecycle_room_looks_up": (
        "lifecycle",
        "certctl_core/lifecycle/authorities/__init__.py",
        "import certctl_core.lifecycle.issuers",
    ),
    "lifecycle_sibling": (
        "lifecycle",
        "certctl_core/lifecycle/revocation/__init__.py",
        "import certctl_core.lifecycle.issuance",
    ),
    "people_room_looks_up": (
        "people",
        "certctl_core/people/access/__init__.py",
        "import certctl_core.people.identity",
    ),
    "contract_knows_host": (
        "contracts",
        "certctl_core/contracts/options/__init__.py",
        "import certctl_core.contracts.host",
    ),
    "kernel_room_looks_up": (
        "kernel",
        "certctl_core/kernel/errors.py",
        "import certctl_core.kernel.ids",
    ),
    "types_know_service": (
        "room",
        "certctl_core/lifecycle/profiles/types.py",
        "import certctl_core.lifecycle.profiles.service",
    ),
    "foreign_tables": (
        "private-tables",
        "certctl_core/lifecycle/certificates/service.py",
        "import certctl_core.lifecycle.profiles._tables",
    ),
    "frontend_reads_tables": (
        "private-tables",
        "frontends/certctl_flask/__init__.py",
        "import certctl_core.lifecycle.profiles._tables",
    ),
    "cycle": ("no-cycles", "certctl_core/api/one.py", "import certctl_core.api.two"),
    "core_uses_flask": ("core", "certctl_core/app/__init__.py", "import flask"),
    "core_uses_click": ("core", "certctl_core/api/__init__.py", "import click"),
    "core_uses_plugin": ("core", "certctl_core/app/__init__.py", "import certctl_issuers"),
    "core_uses_frontend": ("core", "certctl_core/app/__init__.py", "import certctl_client"),
    "contract_reaches_database": (
        "contracts-stateless",
        "certctl_core/contracts/host/__init__.py",
        "import sqlalchemy",
    ),
    "deploy_reaches_database_late": (
        "contracts-stateless",
        "certctl_core/deploy/__init__.py",
        "def late():\n    from certctl_core.kernel import db",
    ),
    "plugin_uses_room": (
        "plugins",
        "plugins/certctl_issuers/__init__.py",
        "import certctl_core.lifecycle",
    ),
    "plugin_uses_host": (
        "plugins",
        "plugins/certctl_targets/__init__.py",
        "import certctl_core.contracts.host",
    ),
    "plugin_uses_database": ("plugins", "plugins/certctl_signers/__init__.py", "import sqlalchemy"),
    "plugin_uses_plugin": (
        "plugin-independence",
        "plugins/certctl_issuers/__init__.py",
        "import certctl_signers",
    ),
    "plugin_file_uses_its_sibling": (
        "plugin-files",
        "plugins/certctl_issuers/one.py",
        "import certctl_issuers.two",
    ),
    "client_uses_cli": ("frontends", "frontends/certctl_client/__init__.py", "import certctl_cli"),
    "agent_uses_cli": ("frontends", "frontends/certctl_agent/__init__.py", "import certctl_cli"),
    "agent_carries_server": (
        "light-clients",
        "frontends/certctl_agent/__init__.py",
        "import certctl_core.app",
    ),
    "cli_carries_database_indirectly": (
        "light-clients",
        "frontends/certctl_cli/__init__.py",
        "import certctl_core.kernel.db.base",
    ),
    "pki_opens_socket": ("pure", "certctl_core/pki/serials.py", "import socket"),
    "rules_know_database": (
        "pure",
        "certctl_core/lifecycle/profiles/rules.py",
        "import sqlalchemy",
    ),
}
_NEEDED = {
    "certctl_core/insight/reports/__init__.py": "",
    "certctl_core/enrollment/acme/__init__.py": "",
    "certctl_core/fleet/targets/__init__.py": "",
    "certctl_core/lifecycle/issuers/__init__.py": "",
    "certctl_core/lifecycle/issuance/__init__.py": "",
    "certctl_core/people/identity/__init__.py": "",
    "certctl_core/api/two.py": "import certctl_core.api.one\n",
    "plugins/certctl_issuers/two.py": "",
}


@pytest.mark.parametrize("name", _BREAKS)
def test_a_broken_rule_is_noticed(name: str, copied_tree: Path) -> None:
    contract, file, text = _BREAKS[name]
    written: dict[Path, str | None] = {}
    for needed, content in {**_NEEDED, file: text}.items():
        path = copied_tree / needed
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before is not None and needed != file:
            continue
        written[path] = before
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(f"{before or ''}\n{content}\n", encoding="utf-8")
    try:
        result = _lint(copied_tree)
    finally:
        for path, before in written.items():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(before, encoding="utf-8")
    title = _rules(copied_tree)[f"importlinter:contract:{contract}"]["name"]

    assert f"{title} BROKEN" in result.stdout, result.stdout + result.stderr


def test_every_rule_has_a_break() -> None:
    rules = {name.rpartition(":")[2] for name in _rules().sections() if ":contract:" in name}

    assert {contract for contract, _, _ in _BREAKS.values()} == rules
