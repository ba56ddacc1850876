"""Profiles: what may be issued, kept and enforced fail-closed (spec 02 PROF-2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from certctl_core.kernel.db import RowView, Uow, paginate, recipe
from certctl_core.kernel.errors import Invalid, PreconditionFailed
from certctl_core.kernel.ids import Prefix, parse_id
from certctl_core.kernel.operations import Page, Resource
from certctl_core.lifecycle.profiles._tables import certificate_profiles as profiles
from certctl_core.lifecycle.profiles.errors import (
    DefaultProfileStays,
    ProfileInUse,
    ProfileNameTaken,
    ProfileNotFound,
)
from certctl_core.lifecycle.profiles.events import (
    ProfileCreated,
    ProfileDeleted,
    ProfileUpdated,
)
from certctl_core.lifecycle.profiles.rules import impossible
from certctl_core.lifecycle.profiles.schemas import (
    CreateProfile,
    ProfileBody,
    ProfileQuery,
    ProfileView,
)
from certctl_core.lifecycle.profiles.types import DEFAULT_PROFILE_ID

SORTS = {"created_at": profiles.c.created_at, "name": profiles.c.name}
_DEFAULT_VALIDITY_SECONDS = 90 * 86400


class ProfileService:
    """The profiles; reads for issuance come from memory and follow the topic ``profiles``."""

    def __init__(self) -> None:
        self._cache: dict[str, ProfileView] = {}
        self._usage: list[Callable[[Uow, str], int]] = []

    def add_usage_counter(self, count: Callable[[Uow, str], int]) -> None:
        """A higher room tells how many of its objects use a profile; deletion asks them all."""
        self._usage.append(count)

    def drop_cache(self) -> None:
        """Forget what is in memory (topic ``profiles``)."""
        self._cache = {}

    def get(self, uow: Uow, profile_id: str) -> ProfileView:
        """One profile.

        Raises:
            ProfileNotFound: No such id.
        """
        row = uow.first(sa.select(profiles).where(profiles.c.id == profile_id))
        if row is None:
            raise ProfileNotFound(profile_id=profile_id)
        return _view(row)

    def resolve(self, uow: Uow, profile_id: str | None) -> ProfileView:
        """The profile that governs an issuance; None means the default one. Served from memory.

        Raises:
            ProfileNotFound: It is gone: no profile, no issuance (PROF-2).
        """
        wanted = profile_id or DEFAULT_PROFILE_ID
        found = self._cache.get(wanted)
        if found is None:
            cache = self._cache
            found = self.get(uow, wanted)
            cache[wanted] = found
        return found

    def page(
        self, uow: Uow, query: ProfileQuery, *, scopes: list[Resource] | None = None
    ) -> Page[ProfileView]:
        """A page of profiles; ``scopes`` limits it to the profiles that the actor may see."""
        return paginate(
            uow,
            recipe(_selection, query, scopes),
            query=query,
            sorts=SORTS,
            id_column=profiles.c.id,
            view=_view,
        )

    def create(self, uow: Uow, body: CreateProfile) -> ProfileView:
        """Store a new profile; emits ``profile.created``.

        Raises:
            Invalid: The chosen id is not an id, or nothing could be issued under the profile.
            ProfileNameTaken: Name or id exists.
        """
        _require_possible(body)
        profile_id = parse_id(body.id) if body.id else uow.new_id(Prefix.PROFILE)
        values = body.model_dump(exclude={"id"})
        row = uow.first(
            uow.insert(profiles)
            .values(id=profile_id, version=1, created_at=uow.now, updated_at=uow.now, **values)
            .on_conflict_do_nothing()
            .returning(profiles)
        )
        if row is None:
            raise ProfileNameTaken
        uow.emit(ProfileCreated(resource_id=profile_id, profile_name=body.name))
        self._changed(uow)
        return _view(row)

    def update(
        self, uow: Uow, profile_id: str, body: ProfileBody, *, if_match: int | None = None
    ) -> ProfileView:
        """Replace the mutable part; emits ``profile.updated`` with a field diff.

        Raises:
            ProfileNotFound, PreconditionFailed, ProfileNameTaken: As their names say.
            Invalid: Nothing could be issued under the profile.
        """
        _require_possible(body)
        before = self.get(uow, profile_id)
        if if_match is not None and before.version != if_match:
            raise PreconditionFailed
        values = body.model_dump(exclude={"id"})
        taken = uow.scalar(
            sa.select(profiles.c.id).where(
                profiles.c.name == body.name, profiles.c.id != profile_id
            )
        )
        if taken is not None:
            raise ProfileNameTaken
        try:
            row = uow.first(
                sa.update(profiles)
                .where(profiles.c.id == profile_id, profiles.c.version == before.version)
                .values(version=before.version + 1, updated_at=uow.now, **values)
                .returning(profiles)
            )
        except sa.exc.IntegrityError as error:  # two writers, one name
            raise ProfileNameTaken from error
        if row is None:
            raise PreconditionFailed
        old = before.model_dump(include=set(values))
        changes = {name: [old[name], new] for name, new in values.items() if old[name] != new}
        if changes:
            uow.emit(ProfileUpdated(resource_id=profile_id, changes=changes))
        self._changed(uow)
        return _view(row)

    def delete(self, uow: Uow, profile_id: str) -> None:
        """Delete an unused profile; emits ``profile.deleted``.

        Raises:
            ProfileNotFound: No such id.
            ProfileInUse: Certificates refer to it.
            DefaultProfileStays: It is the default profile.
        """
        view = self.get(uow, profile_id)
        used = sum(count(uow, profile_id) for count in self._usage)
        if profile_id == DEFAULT_PROFILE_ID:
            raise DefaultProfileStays
        if used:
            raise ProfileInUse(certificates=used)
        try:
            uow.execute(sa.delete(profiles).where(profiles.c.id == profile_id))
        except sa.exc.IntegrityError as error:  # a certificate was bound to it meanwhile
            raise ProfileInUse(certificates=1) from error
        uow.emit(ProfileDeleted(resource_id=profile_id, profile_name=view.name))
        self._changed(uow)

    def seed(self, uow: Uow) -> None:
        """Make the default profile if it is missing (idempotent, at start)."""
        if uow.scalar(sa.select(profiles.c.id).where(profiles.c.id == DEFAULT_PROFILE_ID)) is None:
            self.create(
                uow,
                CreateProfile(
                    id=DEFAULT_PROFILE_ID,
                    name="Default",
                    description="TLS servers and clients: 90 days.",
                    default_validity_seconds=_DEFAULT_VALIDITY_SECONDS,
                    allowed_ekus=["serverAuth", "clientAuth"],
                ),
            )

    def _changed(self, uow: Uow) -> None:
        uow.touch("profiles")
        uow.wake("profiles")
        uow.after_commit(self.drop_cache)


def _selection(query: ProfileQuery, scopes: list[Resource] | None) -> sa.Select[Any]:
    statement = sa.select(profiles)
    if query.enabled is not None:
        statement = statement.where(profiles.c.enabled == query.enabled)
    if query.q:
        statement = statement.where(profiles.c.name.icontains(query.q, autoescape=True))
    if scopes is not None:
        ids = [scope.profile_id for scope in scopes if scope.profile_id]
        statement = statement.where(profiles.c.id.in_(ids))
    return statement


def _require_possible(body: ProfileBody) -> None:
    faults = impossible(body)
    if faults:
        raise Invalid(fields=faults)


_view = RowView(ProfileView)
