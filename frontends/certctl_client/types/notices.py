"""Notifiers and routes."""

from __future__ import annotations

from typing import TypedDict

from certctl_client.types.lifecycle import Configured


class Notifier(Configured):
    """One configured notifier."""


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
