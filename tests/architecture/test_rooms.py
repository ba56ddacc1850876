"""What a file of a room may do, beyond what its imports show (STYLE 2.2, 2.5)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import ROOT, product_files, relative

_CORE = ROOT / "certctl_core"
_FLOORS = {"kernel", "people", "lifecycle", "fleet", "enrollment", "insight"}
# A service may flush when it wants a constraint to speak; it never ends or opens a transaction.
_EDGE_ONLY = {"commit", "rollback", "begin"}


def _files(*names: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in product_files():
        inside = path.relative_to(_CORE).parts if path.is_relative_to(_CORE) else ()
        if len(inside) > 2 and inside[0] in _FLOORS - {"kernel"} and path.name in names:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_there_are_rooms_to_look_at() -> None:
    assert list(_files("service.py"))


def test_services_and_rules_leave_the_transaction_to_the_edge() -> None:
    found = [
        f"{relative(path)}:{node.lineno} {node.func.attr}()"
        for path, tree in _files("service.py", "rules.py", "_store.py", "operations.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _EDGE_ONLY
    ]

    assert found == []


def test_operations_declare_and_decide_nothing() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path, tree in _files("operations.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Try | ast.While | ast.For | ast.With)
    ]

    assert found == [], "a business decision belongs to the service"


def test_rooms_read_no_clock_at_import() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path, tree in _files("types.py", "rules.py", "events.py", "schemas.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"utcnow", "today", "monotonic"}
    ]

    assert found == []
