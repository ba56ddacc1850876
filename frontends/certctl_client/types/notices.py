"""Notifiers and routes."""

from __future__ import annotations

from typing import Any, TypedDict

from certctl_client.types.lifecycle import Report


class Notifier(TypedDict):
    """One configured notifier; secrets show as ``{"set": true, …}``."""

    id: str
    name: str
    kind: str
    title: str
    config: dict[str, Any]
    capabilities: list[str]
    enabled: bool
    source: str
    state: str
    state_reason: str
    health: str
    test_status: str
    last_tested_at: str | None
    last_test_report: Report | None
    created_by: str
    created_at: str
    updated_at: str
    version: int


class CreatedNotifier(Notifier):
    """A new notifier, with the secrets that were made for it: shown this once."""

    generated_secrets: dict[str, str]


class RouteMatch(TypedDict):
    """Which events a route takes; an empty member always matches."""

    events: list[str]
    severities: list[str]
    environments: list[str]
    issuer_ids: list[str]
    profile_ids: list[str]


Route = TypedDict(
    "Route",
    {
        "id": str,
        "name": str,
        "priority": int,
        "enabled": bool,
        "match": RouteMatch,
        "notifiers": list[str],
        "continue": bool,
        "created_at": str,
        "updated_at": str,
        "version": int,
    },
)
"""One notification route."""


class PreviewedNotifier(TypedDict):
    """A notifier that would be used, and the route that leads there."""

    id: str
    name: str
    enabled: bool
    route_id: str
    route_name: str


class RoutePreview(TypedDict):
    """Who would be told."""

    severity: str
    is_stored: bool
    notifiers: list[PreviewedNotifier]
