"""Schema migrations: one linear history for SQLite and PostgreSQL (spec 08 MIG-1 … MIG-4).

``upgrade`` takes one lock across the whole run, seed included; a second process waits for it and
then finds nothing to do. A database that is newer than the code is refused.
"""

from certctl_migrations.plan import Plan, Statement, Step, UnknownRevision, plan
from certctl_migrations.runner import (
    DatabaseNewerThanCode,
    DatabaseNotMigrated,
    Revisions,
    check,
    downgrade,
    known_revisions,
    revisions,
    upgrade,
)

__all__ = [
    "DatabaseNewerThanCode",
    "DatabaseNotMigrated",
    "Plan",
    "Revisions",
    "Statement",
    "Step",
    "UnknownRevision",
    "check",
    "downgrade",
    "known_revisions",
    "plan",
    "revisions",
    "upgrade",
]
