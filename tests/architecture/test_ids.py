"""Id prefixes live in one table, and nothing else makes an id (spec 01 API-05)."""

from __future__ import annotations

import ast
import re
from datetime import timedelta

import pytest

from certctl_core.kernel.ids import Prefix, is_id, new_id
from certctl_core.testing.fakes import EPOCH
from tests.architecture.tree import product_files, relative


@pytest.mark.spec("01/API-05")
@pytest.mark.parametrize("prefix", Prefix)
def test_an_id_is_prefix_and_ulid(prefix: Prefix) -> None:
    made = new_id(prefix, at=EPOCH)

    assert re.fullmatch(rf"{prefix.value}-[0-9a-hjkmnp-tv-z]{{26}}", made)
    assert is_id(made)


@pytest.mark.spec("01/API-05")
def test_no_two_kinds_share_a_prefix() -> None:
    assert len({prefix.value for prefix in Prefix}) == len(Prefix.__members__)
    assert all(re.fullmatch(r"[a-z]{1,4}", prefix.value) for prefix in Prefix)


@pytest.mark.spec("01/API-04")
def test_later_ids_sort_later() -> None:
    moments = [EPOCH + timedelta(milliseconds=step) for step in range(20)]
    made = [new_id(Prefix.CERTIFICATE, at=moment) for moment in moments]

    assert made == sorted(made)


@pytest.mark.spec("01/API-04")
def test_what_is_made_in_one_millisecond_keeps_its_order() -> None:
    made = [new_id(Prefix.AUDIT_EVENT, at=EPOCH) for _ in range(1000)]

    assert made == sorted(made)
    assert len({name[-8:] for name in made}) == len(made)


def test_no_other_module_makes_an_id() -> None:
    heads = {f"{prefix.value}-" for prefix in Prefix}
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in product_files()
        if not path.as_posix().endswith("kernel/ids.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        and isinstance(node.values[0], ast.Constant)
        and node.values[0].value in heads
    ]

    assert found == []
