"""The error tree as one vocabulary: every leaf can be told apart and shown to a person."""

from __future__ import annotations

import inspect
import re
import string
from collections import Counter

import pytest

from certctl_core.kernel import errors
from certctl_core.kernel.errors import HTTP_STATUS, CertctlError, ErrorKind
from tests.architecture.tree import product_modules


def _all_errors() -> list[type[CertctlError]]:
    product_modules()
    found: list[type[CertctlError]] = []
    queue = [CertctlError]
    while queue:
        branch = queue.pop()
        queue += branch.__subclasses__()
        if branch.__module__.startswith("certctl_"):
            found.append(branch)
    return sorted(set(found), key=lambda error: (error.__module__, error.__name__))


_ERRORS = _all_errors()
_LEAVES = [
    error for error in _ERRORS if error.__module__ != errors.__name__ and not error.__subclasses__()
]


def _name(error: type[CertctlError]) -> str:
    return f"{error.__module__}.{error.__name__}"


_GENERAL = {
    error.code: error.kind
    for error in _ERRORS
    if error.__module__ == errors.__name__ and error is not CertctlError
}


def test_codes_are_unique() -> None:
    counts = Counter(error.code for error in _LEAVES if error.code not in _GENERAL)

    assert {code for code, count in counts.items() if count > 1} == set()


@pytest.mark.spec("01/API-07")
@pytest.mark.parametrize("leaf", _LEAVES, ids=_name)
def test_a_general_code_keeps_its_kind(leaf: type[CertctlError]) -> None:
    assert _GENERAL.get(leaf.code, leaf.kind) == leaf.kind


@pytest.mark.parametrize("leaf", _LEAVES, ids=_name)
def test_a_leaf_owns_its_code_and_its_sentence(leaf: type[CertctlError]) -> None:
    assert "code" in vars(leaf) or leaf.code in _GENERAL
    assert "text" in vars(leaf)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", leaf.code)
    assert isinstance(leaf.kind, ErrorKind)
    assert inspect.getdoc(leaf)


@pytest.mark.parametrize("error", _ERRORS, ids=_name)
def test_an_error_is_a_sentence_for_a_person(error: type[CertctlError]) -> None:
    fields = [field for _, field, _, _ in string.Formatter().parse(error.text) if field is not None]

    assert error.text[0].isupper() or error.text.startswith(("{", "certctl"))
    assert error.text.endswith((".", "}"))
    assert all(re.fullmatch(r"[a-z_]+", field) for field in fields), fields
    assert not error.hint or error.hint.endswith((".", "`", "'"))


@pytest.mark.parametrize("error", _ERRORS, ids=_name)
def test_extra_members_of_a_problem_do_not_hide_the_standard_ones(
    error: type[CertctlError],
) -> None:
    standard = {"type", "title", "status", "detail", "instance", "code", "request_id", "fields"}

    assert not standard & set(error.members)


def test_every_kind_has_an_http_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorKind)
    assert all(400 <= status <= 599 for status in HTTP_STATUS.values())
