"""The event vocabulary: one tag per class, written alike, complete enough for an audit row."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from certctl_core.kernel.events import Event
from tests.architecture.tree import product_modules


def _shipped() -> list[type[Event]]:
    product_modules()
    return [
        event for event in Event.catalogue.values() if event.__module__.startswith("certctl_core.")
    ]


_EVENTS = _shipped()


def test_the_walk_finds_events() -> None:
    assert _EVENTS


@pytest.mark.parametrize("event", _EVENTS, ids=lambda event: event.tag)
def test_an_event_says_what_happened_to_what(event: type[Event]) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+", event.tag)
    assert event.resource_type
    assert event.category
    assert inspect.getdoc(event)
    assert dataclasses.is_dataclass(event)


@pytest.mark.parametrize("event", _EVENTS, ids=lambda event: event.tag)
def test_an_event_carries_no_secret(event: type[Event]) -> None:
    suspicious = re.compile(r"secret|password|token$|private|credential$|api_key$")

    assert [item.name for item in dataclasses.fields(event) if suspicious.search(item.name)] == []
