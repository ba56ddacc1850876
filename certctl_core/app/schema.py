"""Every table of the product on one ``MetaData``: for migrations and their drift check only."""

from __future__ import annotations

import importlib

from sqlalchemy.engine import Connection

from certctl_core.kernel import audit
from certctl_core.kernel.db import metadata
from certctl_core.lifecycle import revocation

_ROOMS = (
    "kernel.db",
    "kernel.jobs",
    "kernel.scheduler",
    "kernel.audit",
    "people.access",
    "people.identity",
    "lifecycle.authorities",
    "lifecycle.issuers",
    "lifecycle.hierarchy",
    "lifecycle.profiles",
    "lifecycle.policies",
    "lifecycle.blocked_keys",
    "lifecycle.certificates",
    "lifecycle.issuance",
    "lifecycle.revocation",
    "fleet.agents",
    "fleet.targets",
    "fleet.deployments",
    "insight.notifications",
)

for _room in _ROOMS:
    importlib.import_module(f"certctl_core.{_room}._tables")


def create_triggers(connection: Connection) -> None:
    """Make the database's own guards: append-only audit tables, notice of changes by hand."""
    for room in (audit, revocation):
        room.create_triggers(connection)


__all__ = ["create_triggers", "metadata"]
