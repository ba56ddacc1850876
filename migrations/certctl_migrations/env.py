"""Alembic's environment: one transaction a revision, on the connection the runner gives."""

from __future__ import annotations

from alembic import context

from certctl_core.app.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transaction_per_migration=True,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
