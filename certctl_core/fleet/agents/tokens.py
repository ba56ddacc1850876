"""Enrollment tokens: who may bring new agents, how many, from where (AGT-03, AGT-05, AGT-06)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Row

from certctl_core.fleet.agents._store import hash_key
from certctl_core.fleet.agents._tables import agent_enrollment_tokens as tokens
from certctl_core.fleet.agents.errors import EnrollmentTokenInvalid, EnrollmentTokenNotFound
from certctl_core.fleet.agents.events import EnrollmentTokenCreated, EnrollmentTokenRevoked
from certctl_core.fleet.agents.rules import is_name_allowed, is_source_allowed
from certctl_core.fleet.agents.schemas import (
    CreateEnrollmentToken,
    EnrollmentTokenQuery,
    EnrollmentTokenView,
    NewEnrollmentTokenView,
)
from certctl_core.fleet.agents.types import TOKEN_PREFIX
from certctl_core.kernel.db import Uow, paginate
from certctl_core.kernel.ids import Prefix
from certctl_core.kernel.operations import Page
from certctl_core.kernel.secrets import Secret

BOOTSTRAP_TOKEN_ID = "bootstrap"  # noqa: S105 - a name
_log = structlog.get_logger("certctl.agents")
c = tokens.c
_SHOWN = [c[name] for name in EnrollmentTokenView.model_fields]
TOKEN_SORTS: dict[str, sa.ColumnElement[Any]] = {
    "created_at": c.created_at,
    "expires_at": c.expires_at,
    "label": c.label,
}


class EnrollmentTokens:
    """The enrollment tokens.

    Args:
        bootstrap_tokens: The fleet-wide tokens of the settings: the one in use, and the former one
            as long as hosts may still come with it (02 DR-30).
    """

    def __init__(self, *, bootstrap_tokens: Iterable[Secret | None] = ()) -> None:
        self._bootstrap = [hash_key(token.reveal()) for token in bootstrap_tokens if token]

    def create(self, uow: Uow, body: CreateEnrollmentToken) -> NewEnrollmentTokenView:
        """Make a token; its value is in this answer only. Emits ``enrollment_token.created``."""
        value = f"{TOKEN_PREFIX}{secrets.token_hex(32)}"
        token_id = uow.new_id(Prefix.ENROLLMENT_TOKEN)
        row = uow.first(
            sa.insert(tokens)
            .values(
                id=token_id,
                token_hash=hash_key(value),
                label=body.label,
                max_uses=body.max_uses,
                uses=0,
                agent_labels=body.agent_labels,
                name_pattern=body.name_pattern,
                source_cidrs=body.source_cidrs,
                created_by=uow.actor.id,
                created_at=uow.now,
                expires_at=uow.now + timedelta(seconds=body.expires_in_seconds),
            )
            .returning(*_SHOWN)
        )
        assert row is not None  # noqa: S101 - an INSERT returns its row or raises
        uow.emit(
            EnrollmentTokenCreated(resource_id=token_id, label=body.label, max_uses=body.max_uses)
        )
        uow.touch("agent_enrollment_tokens")
        return NewEnrollmentTokenView(token=value, **_view(row).model_dump())

    def page(self, uow: Uow, query: EnrollmentTokenQuery) -> Page[EnrollmentTokenView]:
        """A page of tokens, usable ones unless all are asked for."""
        statement = sa.select(*_SHOWN)
        if not query.include_ended:
            statement = statement.where(
                c.revoked_at.is_(None), c.expires_at > uow.now, c.uses < c.max_uses
            )
        if query.q:
            statement = statement.where(c.label.icontains(query.q, autoescape=True))
        return paginate(uow, statement, query=query, sorts=TOKEN_SORTS, id_column=c.id, view=_view)

    def revoke(self, uow: Uow, token_id: str) -> None:
        """Switch a token off; emits ``enrollment_token.revoked``. Repeating it changes nothing.

        Raises:
            EnrollmentTokenNotFound: No such id.
        """
        row = uow.first(
            sa.update(tokens)
            .where(c.id == token_id, c.revoked_at.is_(None))
            .values(revoked_at=uow.now)
            .returning(c.label)
        )
        if row is not None:
            uow.emit(EnrollmentTokenRevoked(resource_id=token_id, label=row.label))
            uow.touch("agent_enrollment_tokens")
        elif uow.scalar(sa.select(c.id).where(c.id == token_id)) is None:
            raise EnrollmentTokenNotFound(token_id=token_id)

    def redeem(
        self, uow: Uow, token: Secret, *, name: str, source_address: str
    ) -> tuple[str, dict[str, str]]:
        """Use a token once, in the transaction that makes the agent.

        Two parallel uses of a one-use token: the second finds no use left (AGT-05).

        Returns:
            The token's id and the labels that its agents get.

        Raises:
            EnrollmentTokenInvalid: For whatever reason; the caller does not learn which.
        """
        digest = hash_key(token.reveal())
        is_bootstrap = sum(hmac.compare_digest(digest, known) for known in self._bootstrap) > 0
        row = uow.first(
            sa.update(tokens)
            .where(
                c.token_hash == digest,
                c.revoked_at.is_(None),
                c.expires_at > uow.now,
                c.uses < c.max_uses,
            )
            .values(uses=c.uses + 1)
            .returning(c.id, c.agent_labels, c.name_pattern, c.source_cidrs)
        )
        if row is None:
            if is_bootstrap:
                return BOOTSTRAP_TOKEN_ID, {}
            _log.warning("enrollment.refused", source=source_address, reason="no usable token")
            raise EnrollmentTokenInvalid
        allowed = is_name_allowed(row.name_pattern, name)
        if not (allowed and is_source_allowed(row.source_cidrs, source_address)):
            reason = "foreign address" if allowed else "foreign name"
            _log.warning(
                "enrollment.refused", source=source_address, reason=reason, token_id=row.id
            )
            raise EnrollmentTokenInvalid
        uow.touch("agent_enrollment_tokens")
        return row.id, dict(row.agent_labels)


def _view(row: Row[Any]) -> EnrollmentTokenView:
    return EnrollmentTokenView.model_validate(row, from_attributes=True)
