"""Renewal policies: kept, resolved from memory, never deleted under a certificate."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from certctl_core.kernel.db import RowView, Uow, paginate, recipe
from certctl_core.kernel.errors import PreconditionFailed
from certctl_core.kernel.ids import parse_id
from certctl_core.kernel.operations import Page
from certctl_core.lifecycle.policies._tables import renewal_policies as policies
from certctl_core.lifecycle.policies.errors import (
    RenewalPolicyInUse,
    RenewalPolicyNameTaken,
    RenewalPolicyNotFound,
)
from certctl_core.lifecycle.policies.events import (
    RenewalPolicyCreated,
    RenewalPolicyDeleted,
    RenewalPolicyUpdated,
)
from certctl_core.lifecycle.policies.schemas import (
    CreateRenewalPolicy,
    RenewalPolicyBody,
    RenewalPolicyQuery,
    RenewalPolicyView,
)
from certctl_core.lifecycle.policies.types import DEFAULT_POLICY_ID

SORTS = {"created_at": policies.c.created_at, "name": policies.c.name}


class RenewalPolicyService:
    """Renewal policies; reads for issuance come from memory (topic ``policies``)."""

    def __init__(self) -> None:
        self._cache: dict[str, RenewalPolicyView] = {}
        self._usage: list[Callable[[Uow, str], int]] = []

    def add_usage_counter(self, count: Callable[[Uow, str], int]) -> None:
        """A higher room tells how many of its objects use a policy; deletion asks them all."""
        self._usage.append(count)

    def drop_cache(self) -> None:
        """Forget what is in memory (topic ``policies``)."""
        self._cache = {}

    def get(self, uow: Uow, renewal_policy_id: str) -> RenewalPolicyView:
        """One policy.

        Raises:
            RenewalPolicyNotFound: No such id.
        """
        row = uow.first(sa.select(policies).where(policies.c.id == renewal_policy_id))
        if row is None:
            raise RenewalPolicyNotFound(renewal_policy_id=renewal_policy_id)
        return _view(row)

    def resolve(self, uow: Uow, renewal_policy_id: str | None) -> RenewalPolicyView:
        """The policy that governs a certificate; None means the default one. From memory.

        Raises:
            RenewalPolicyNotFound: It is gone.
        """
        wanted = renewal_policy_id or DEFAULT_POLICY_ID
        found = self._cache.get(wanted)
        if found is None:
            cache = self._cache
            found = self.get(uow, wanted)
            cache[wanted] = found
        return found

    def all(self, uow: Uow) -> list[RenewalPolicyView]:
        """Every policy, in no order."""
        return [_view(row) for row in uow.execute(sa.select(policies))]

    def page(self, uow: Uow, query: RenewalPolicyQuery) -> Page[RenewalPolicyView]:
        """A page of policies."""
        return paginate(
            uow,
            recipe(_selection, query),
            query=query,
            sorts=SORTS,
            id_column=policies.c.id,
            view=_view,
        )

    def create(self, uow: Uow, body: CreateRenewalPolicy) -> RenewalPolicyView:
        """Store a new policy; its id comes from its name (spec 01 RP-01).

        Raises:
            Invalid: The chosen id is not an id.
            RenewalPolicyNameTaken: Name or id exists.
        """
        policy_id = parse_id(body.id) if body.id else self._slug(uow, body.name)
        row = uow.first(
            uow.insert(policies)
            .values(
                id=policy_id,
                version=1,
                created_at=uow.now,
                updated_at=uow.now,
                **body.model_dump(exclude={"id"}),
            )
            .on_conflict_do_nothing()
            .returning(policies)
        )
        if row is None:
            raise RenewalPolicyNameTaken
        uow.emit(RenewalPolicyCreated(resource_id=policy_id, policy_name=body.name))
        self._changed(uow)
        return _view(row)

    def update(
        self, uow: Uow, renewal_policy_id: str, body: RenewalPolicyBody, *, if_match: int | None
    ) -> RenewalPolicyView:
        """Replace the policy; emits ``renewal_policy.updated`` with a field diff.

        Raises:
            RenewalPolicyNotFound, RenewalPolicyNameTaken, PreconditionFailed: As named.
        """
        before = self.get(uow, renewal_policy_id)
        if if_match is not None and before.version != if_match:
            raise PreconditionFailed
        values = body.model_dump(exclude={"id"})
        other = policies.c.id != renewal_policy_id
        if uow.scalar(sa.select(policies.c.id).where(policies.c.name == body.name, other)):
            raise RenewalPolicyNameTaken
        try:
            row = uow.first(
                sa.update(policies)
                .where(policies.c.id == renewal_policy_id, policies.c.version == before.version)
                .values(version=before.version + 1, updated_at=uow.now, **values)
                .returning(policies)
            )
        except sa.exc.IntegrityError as error:  # two writers, one name
            raise RenewalPolicyNameTaken from error
        if row is None:
            raise PreconditionFailed
        old = before.model_dump(include=set(values))
        changes = {name: [old[name], new] for name, new in values.items() if old[name] != new}
        if changes:
            uow.emit(RenewalPolicyUpdated(resource_id=renewal_policy_id, changes=changes))
        self._changed(uow)
        return _view(row)

    def delete(self, uow: Uow, renewal_policy_id: str) -> None:
        """Delete an unused policy.

        Raises:
            RenewalPolicyNotFound: No such id.
            RenewalPolicyInUse: Certificates refer to it, or it is the default policy.
        """
        view = self.get(uow, renewal_policy_id)
        used = sum(count(uow, renewal_policy_id) for count in self._usage)
        if used or renewal_policy_id == DEFAULT_POLICY_ID:
            raise RenewalPolicyInUse(certificates=used)
        try:
            uow.execute(sa.delete(policies).where(policies.c.id == renewal_policy_id))
        except sa.exc.IntegrityError as error:  # a certificate was bound to it meanwhile
            raise RenewalPolicyInUse(certificates=1) from error
        uow.emit(RenewalPolicyDeleted(resource_id=renewal_policy_id, policy_name=view.name))
        self._changed(uow)

    def seed(self, uow: Uow) -> None:
        """Make the default policy if it is missing (idempotent, at start)."""
        if uow.scalar(sa.select(policies.c.id).where(policies.c.id == DEFAULT_POLICY_ID)) is None:
            self.create(uow, CreateRenewalPolicy(id=DEFAULT_POLICY_ID, name="Default"))

    def _slug(self, uow: Uow, name: str) -> str:
        base = "rp-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "policy")
        taken = set(
            uow.execute(sa.select(policies.c.id).where(policies.c.id.startswith(base))).scalars()
        )
        number, candidate = 2, base
        while candidate in taken:
            candidate, number = f"{base}-{number}", number + 1
        return candidate

    def _changed(self, uow: Uow) -> None:
        uow.touch("renewal_policies")
        uow.wake("policies")
        uow.after_commit(self.drop_cache)


def _selection(query: RenewalPolicyQuery) -> sa.Select[Any]:
    statement = sa.select(policies)
    if query.q:
        statement = statement.where(policies.c.name.icontains(query.q, autoescape=True))
    return statement


_view = RowView(RenewalPolicyView)
